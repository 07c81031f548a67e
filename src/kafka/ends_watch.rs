//! Where those partitions end of which nothing is read now. The client learns an end by reading alone, and while a sink
//! or an operator holds a partition up is when its lag is looked at.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::kafka::rebalance::Context;
use crate::pipeline::TopicEndsRequest;
use crate::sink::Sink;

const INTERVAL: Duration = Duration::from_secs(5);

/// Asks without waiting, so that polling goes on.
pub struct EndsWatch {
    /// One round at a time.
    asked: Vec<Asked>,
    ask_at: Instant,
}

/// A topic that was asked for; the answer has the end of each of its partitions.
struct Asked {
    topic: String,
    answer: oneshot::Receiver<Vec<(i32, i64)>>,
}

impl EndsWatch {
    pub fn new() -> Self {
        EndsWatch { asked: Vec::new(), ask_at: Instant::now() + INTERVAL }
    }

    /// Takes what was answered, and asks when it is time.
    pub fn look<S: Sink>(&mut self, context: &Context<S>, now: Instant) {
        self.asked.retain_mut(|asked| match asked.answer.try_recv() {
            Ok(ends) => {
                tell(context, &asked.topic, &ends);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => false,
        });
        if now < self.ask_at || !self.asked.is_empty() {
            return;
        }
        self.ask_at = now + INTERVAL;
        let mut owned = context.owned();
        let unread = owned.iter_mut().filter(|partition| !partition.is_read());
        let topics: BTreeSet<String> = unread.map(|partition| partition.id.topic.to_string()).collect();
        drop(owned);
        for topic in topics {
            let (told, answer) = oneshot::channel();
            let request = TopicEndsRequest { topic: topic.clone(), answer: told };
            // When too many ask, it is asked again in the next round.
            if context.pipeline.topic_ends.try_send(request).is_ok() {
                self.asked.push(Asked { topic, answer });
            }
        }
    }
}

fn tell<S: Sink>(context: &Context<S>, topic: &str, ends: &[(i32, i64)]) {
    let mut owned = context.owned();
    for (number, end) in ends {
        if let Some(partition) = owned.get_mut(topic, *number).filter(|partition| !partition.is_read()) {
            partition.ends_at(*end);
        }
    }
}
