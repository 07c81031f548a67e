//! The partitions that this process owns at the moment, and what stands in the way of owning more.

use std::collections::HashMap;

use rdkafka::TopicPartitionList;

use crate::kafka::partition::Partition;
use crate::ownership::Epoch;

/// The partitions that are ours, by topic and number.
#[derive(Debug, Default)]
pub struct Owned {
    partitions: HashMap<String, Vec<Option<Partition>>>,
    count: usize,
    /// Assignments of partitions so far.
    pub epoch: Epoch,
    /// An assignment could not be read: leave the group and join it again.
    pub rejoin: bool,
    /// The end has begun: what a rebalance still gives us goes to another when the group is left.
    pub is_closed: bool,
}

impl Owned {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn get_mut(&mut self, topic: &str, number: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(topic)?.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.partitions.values_mut().flatten().flatten()
    }

    pub fn insert(&mut self, partition: Partition) {
        let places = self.partitions.entry(partition.id.topic.to_string()).or_default();
        let Ok(at) = usize::try_from(partition.id.partition) else { return };
        if places.len() <= at {
            places.resize_with(at + 1, || None);
        }
        self.count += usize::from(places[at].replace(partition).is_none());
    }

    pub fn remove(&mut self, list: &TopicPartitionList) -> Vec<Partition> {
        let mut removed = Vec::new();
        for element in list.elements() {
            let place = usize::try_from(element.partition())
                .ok()
                .and_then(|at| self.partitions.get_mut(element.topic()).and_then(|places| places.get_mut(at)?.take()));
            removed.extend(place);
        }
        self.count -= removed.len();
        removed
    }

    pub fn drain(&mut self) -> Vec<Partition> {
        self.count = 0;
        self.partitions.drain().flat_map(|(_, places)| places).flatten().collect()
    }
}
