//! Looks every minute whether the topics are still those that were assigned, and have as many partitions (K8).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::place::{made_anew, more_partitions};
use crate::kafka::rebalance::Context;
use crate::kafka::topic_id::{Identities, Question};
use crate::sink::Sink;

const INTERVAL: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The watch over the topics of one consumer. It asks without waiting, so that polling goes on.
pub struct TopicWatch<'c, S: Sink> {
    consumer: &'c BaseConsumer<Context<S>>,
    question: Option<Question<'c>>,
    ask_at: Instant,
}

/// Why all partitions of a topic have to stop.
struct Changed {
    why: String,
    /// Its offsets belong to another topic by now, so that none may be committed.
    made_anew: bool,
}

impl<'c, S: Sink> TopicWatch<'c, S> {
    pub fn new(consumer: &'c BaseConsumer<Context<S>>) -> Self {
        TopicWatch { consumer, question: None, ask_at: Instant::now() + INTERVAL }
    }

    /// Asks when it is time, and stops the topics that an answer finds changed.
    pub fn look(&mut self, now: Instant) {
        if let Some(question) = &self.question {
            if let Some(answer) = question.answer(Duration::ZERO) {
                self.question = None;
                match answer {
                    Ok(identities) => self.compare(&identities),
                    // Brokers that cannot be asked have no ids.
                    Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => {}
                    Err(error) => tracing::debug!("it is not known whether the topics are the same: {error}"),
                }
            }
        } else if now >= self.ask_at {
            self.ask_at = now + INTERVAL;
            let mut topics: Vec<String> =
                self.consumer.context().owned().iter_mut().map(|partition| partition.id.topic.to_string()).collect();
            topics.sort();
            topics.dedup();
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            if !topics.is_empty() {
                self.question = Question::ask(self.consumer, &topics, REQUEST_TIMEOUT).ok();
            }
        }
    }

    fn compare(&self, identities: &Identities) {
        let context = self.consumer.context();
        let settings = &context.settings;
        let mut changed: BTreeMap<String, Changed> = BTreeMap::new();
        for partition in context.owned().iter_mut() {
            let topic = &partition.id.topic;
            // A topic that is gone is not there to be read; it is looked at again when it is back.
            let (Some(then), Some(now)) = (partition.identity(), identities.get(&**topic)) else { continue };
            let another = then.id.as_ref().zip(now.id.as_ref()).filter(|(then, now)| then != now);
            let found = match another {
                Some((then, now)) => {
                    let why = made_anew(topic, &settings.group_id, settings.versions, then, now);
                    Changed { why, made_anew: true }
                }
                None if then.partitions != now.partitions => {
                    let why = more_partitions(topic, &settings.group_id, then.partitions, now.partitions);
                    Changed { why, made_anew: false }
                }
                None => continue,
            };
            changed.insert(topic.to_string(), found);
        }
        for (topic, Changed { why, made_anew }) in changed {
            context.stop_topic(self.consumer, &topic, &why, !made_anew);
        }
    }
}
