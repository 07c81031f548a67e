//! Who of the group owns which partitions, as the group's coordinator tells.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use serde::Serialize;

use crate::kafka::Quiet;
use crate::kafka::access::Access;

/// A partition and the member that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub topic: String,
    pub partition: i32,
    /// The member's id; that of a static member begins with its `group_instance_id`.
    pub member: String,
    pub host: String,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Blocks its thread. While the group rebalances nobody owns anything.
pub fn owners(access: &Access, group_id: &str) -> KafkaResult<Vec<Owner>> {
    let consumer: BaseConsumer<Quiet> = access.client(&[]).create_with_context(Quiet)?;
    let groups = consumer.fetch_group_list(Some(group_id), REQUEST_TIMEOUT)?;
    let mut owners = Vec::new();
    for member in groups.groups().iter().filter(|group| group.name() == group_id).flat_map(|group| group.members()) {
        for (topic, partitions) in member.assignment().and_then(assignment).unwrap_or_default() {
            let (id, host) = (member.id(), member.client_host().trim_start_matches('/'));
            let owner = |partition| Owner { topic: topic.clone(), partition, member: id.into(), host: host.into() };
            owners.extend(partitions.into_iter().map(owner));
        }
    }
    Ok(owners)
}

/// Topics and partitions of an assignment in the form of Kafka's `ConsumerProtocolAssignment`: a version, a list of
/// topics with a list of numbers each, and what we have no use for. `None` when it is another thing.
fn assignment(bytes: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let mut rest = bytes;
    let _version = number::<2>(&mut rest)?;
    let mut topics = Vec::new();
    for _ in 0..number::<4>(&mut rest)? {
        let length = usize::try_from(number::<2>(&mut rest)?).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        let mut partitions = Vec::new();
        for _ in 0..number::<4>(&mut rest)? {
            partitions.push(number::<4>(&mut rest)?);
        }
        topics.push((std::str::from_utf8(name).ok()?.to_string(), partitions));
    }
    Some(topics)
}

/// A signed number of so many bytes, the highest first.
fn number<const BYTES: usize>(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, behind) = rest.split_at_checked(BYTES)?;
    *rest = behind;
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
    Some(bytes.iter().fold(sign, |number, byte| (number << 8) | i32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_what_is_none_is_nothing() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\x03\0\0\x01\x00\0\x02uv\0\0\0\0\xff\xff\xff\xff";
        let expected = vec![("t".to_string(), vec![3, 256]), ("uv".to_string(), vec![])];
        assert_eq!(assignment(bytes), Some(expected));
        assert_eq!(assignment(b"\0\0\xff\xff\xff\xff"), Some(vec![]), "no list");
        // The last four bytes are what we have no use for.
        for length in 0..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..length]), None, "cut after {length}");
        }
    }
}
