//! Grouping: which rows travel in one request.
//!
//! What a write costs the cluster is the number of requests and of messages between replicas, so rows of one
//! partition go together, and then rows whose partitions live on the same nodes. Every row carries its own version,
//! so neither the order within a group nor the order of the groups matters. Pure.

use std::collections::HashMap;

/// The server warns about an unlogged batch from 11 partitions on, and counts keys.
pub const PARTITIONS_MAX: usize = 10;

/// The server warns about a batch of several partitions above 5 KiB (`batch_size_warn_threshold`) and refuses it
/// above ten times that.
pub const SHARED_BYTES_MAX: usize = 5 * 1024;

/// A batch of one partition is one mutation and has no such limit; these keep one request from holding up others.
pub const PARTITION_BYTES_MAX: usize = 64 * 1024;
pub const PARTITION_ROWS_MAX: usize = 128;

/// What grouping knows of a row.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The table (index of its route) and the bytes of the partition key.
    pub partition: (usize, &'a [u8]),
    /// Names the set of nodes that keep the partition. `None` when it is not known: such rows share a request only
    /// with their own partition.
    pub replicas: Option<u32>,
    /// What the server counts for the row.
    pub bytes: usize,
}

/// Puts every row into exactly one group, by index. Groups of one partition may be large; groups of several stay
/// below the server's warnings.
pub fn group(items: &[Item<'_>]) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let mut open: HashMap<u32, Shared> = HashMap::new();
    for part in parts(items) {
        match part.replicas {
            Some(replicas) if part.bytes < SHARED_BYTES_MAX => {
                let shared = open.entry(replicas).or_default();
                if !shared.has_room(&part) {
                    groups.push(std::mem::take(shared).rows);
                }
                shared.add(part);
            }
            _ => groups.push(part.rows),
        }
    }
    groups.extend(open.into_values().map(|shared| shared.rows));
    groups
}

/// Rows of one partition, within the limits of one request.
struct Part {
    replicas: Option<u32>,
    rows: Vec<usize>,
    bytes: usize,
}

/// A group that may still take further partitions of the same nodes.
#[derive(Default)]
struct Shared {
    rows: Vec<usize>,
    partitions: usize,
    bytes: usize,
}

impl Shared {
    fn has_room(&self, part: &Part) -> bool {
        self.partitions == 0 || (self.partitions < PARTITIONS_MAX && self.bytes + part.bytes < SHARED_BYTES_MAX)
    }

    fn add(&mut self, part: Part) {
        self.partitions += 1;
        self.bytes += part.bytes;
        self.rows.extend(part.rows);
    }
}

/// The rows by partition, in the order in which the partitions first appear.
fn parts(items: &[Item<'_>]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut current: HashMap<(usize, &[u8]), usize> = HashMap::with_capacity(items.len());
    for (row, item) in items.iter().enumerate() {
        let room = current.get(&item.partition).copied().filter(|at| {
            let part = &parts[*at];
            part.rows.len() < PARTITION_ROWS_MAX && part.bytes + item.bytes <= PARTITION_BYTES_MAX
        });
        match room {
            Some(at) => {
                parts[at].rows.push(row);
                parts[at].bytes += item.bytes;
            }
            None => {
                current.insert(item.partition, parts.len());
                parts.push(Part { replicas: item.replicas, rows: vec![row], bytes: item.bytes });
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(partition: &[u8], replicas: u32, bytes: usize) -> Item<'_> {
        Item { partition: (0, partition), replicas: Some(replicas), bytes }
    }

    fn check(items: &[Item<'_>], expect: &[&[usize]]) {
        let mut groups = group(items);
        groups.sort();
        assert_eq!(groups, expect);
    }

    #[test]
    fn rows_of_one_partition_travel_together() {
        check(&[item(b"a", 0, 5000), item(b"b", 0, 5000), item(b"a", 0, 5000)], &[&[0, 2], &[1]]);
    }

    #[test]
    fn partitions_on_the_same_nodes_share_a_request() {
        check(&[item(b"a", 0, 10), item(b"b", 1, 10), item(b"c", 0, 10), item(b"d", 1, 10)], &[&[0, 2], &[1, 3]]);
    }

    #[test]
    fn the_same_key_in_another_table_is_another_partition() {
        let other = Item { partition: (1, b"a"), replicas: Some(0), bytes: 5000 };
        check(&[item(b"a", 0, 5000), other], &[&[0], &[1]]);
    }

    #[test]
    fn partitions_on_unknown_nodes_share_nothing() {
        let unknown = |partition| Item { partition: (0, partition), replicas: None, bytes: 10 };
        check(&[unknown(b"a"), unknown(b"b"), unknown(b"a")], &[&[0, 2], &[1]]);
    }

    #[test]
    fn an_eleventh_partition_opens_the_next_group() {
        let keys: Vec<[u8; 1]> = (0..11).map(|key| [key]).collect();
        let items: Vec<Item<'_>> = keys.iter().map(|key| item(key, 0, 10)).collect();
        check(&items, &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[10]]);
    }

    #[test]
    fn a_partition_beyond_one_request_is_split() {
        let items = vec![item(b"a", 0, 1); PARTITION_ROWS_MAX + 1];
        assert_eq!(group(&items).iter().map(Vec::len).sum::<usize>(), PARTITION_ROWS_MAX + 1);
        check(&[item(b"a", 0, PARTITION_BYTES_MAX), item(b"a", 0, PARTITION_BYTES_MAX)], &[&[0], &[1]]);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_group_and_every_group_within_its_limits(
            rows in prop::collection::vec((0u8..40, 0u32..3, 1usize..6000), 0..400)
        ) {
            // The nodes follow from the partition, as they do on a ring.
            let keys: Vec<[u8; 1]> = rows.iter().map(|row| [row.0]).collect();
            let items: Vec<Item<'_>> = rows
                .iter()
                .zip(&keys)
                .map(|((key, _, bytes), partition)| item(partition, u32::from(key % 3), *bytes))
                .collect();
            let groups = group(&items);
            let mut seen: Vec<usize> = groups.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..items.len()).collect::<Vec<_>>());
            for rows in &groups {
                let mut partitions: Vec<_> = rows.iter().map(|row| items[*row].partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                let bytes: usize = rows.iter().map(|row| items[*row].bytes).sum();
                prop_assert!(rows.iter().all(|row| items[*row].replicas == items[rows[0]].replicas));
                prop_assert!(partitions.len() <= PARTITIONS_MAX);
                prop_assert!(partitions.len() == 1 || bytes < SHARED_BYTES_MAX);
                prop_assert!(rows.len() == 1 || bytes <= PARTITION_BYTES_MAX);
            }
        }
    }
}
