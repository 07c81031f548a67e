//! Which topic a name stands for: its id and its number of partitions (K8).
//!
//! A topic that is deleted and made anew keeps its name and gets another id. librdkafka does not notice and reads on
//! at an offset of the old one, and the crate's safe API has no id, so this module calls librdkafka itself.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_request_timeout,
    rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_name,
    rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id,
    rd_kafka_Uuid_base64str, rd_kafka_admin_op_t, rd_kafka_error_code, rd_kafka_event_DescribeTopics_result,
    rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_event_t, rd_kafka_queue_destroy, rd_kafka_queue_new,
    rd_kafka_queue_poll, rd_kafka_queue_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

/// What a topic's name stands for at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// In Kafka's own base64; `None` from brokers that know none (before 2.8).
    pub id: Option<String>,
    pub partitions: i32,
}

/// The topics that are there, by name. One that is not, or may not be seen, is left out.
pub type Identities = HashMap<String, Identity>;

/// A question that is under way. The client goes on meanwhile; it has to outlive the question.
pub struct Question<'c> {
    queue: NonNull<rd_kafka_queue_t>,
    client: PhantomData<&'c ()>,
}

/// Kafka's way to write that a topic has no id.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

impl<'c> Question<'c> {
    /// Asks for these topics. An error means that a name cannot be one of a topic.
    pub fn ask<C: ConsumerContext>(
        consumer: &'c BaseConsumer<C>,
        topics: &[&str],
        timeout: Duration,
    ) -> KafkaResult<Self> {
        let names = topics.iter().map(|name| CString::new(*name)).collect::<Result<Vec<CString>, _>>();
        let names = names.map_err(|_| KafkaError::AdminOp(RDKafkaErrorCode::InvalidTopic))?;
        let mut names: Vec<*const std::ffi::c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let client = consumer.client().native_ptr();
        // SAFETY: `client` lives as long as `consumer`, which is borrowed for as long as the queue lives. librdkafka
        // copies the names and the options before the call returns, and each object made here is destroyed once, the
        // queue by `drop`. A timeout that it does not take leaves its default.
        unsafe {
            let queue = NonNull::new(rd_kafka_queue_new(client)).ok_or(KafkaError::Canceled)?;
            let options = rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
            let asked = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            rd_kafka_DescribeTopics(client, asked, options, queue.as_ptr());
            rd_kafka_TopicCollection_destroy(asked);
            rd_kafka_AdminOptions_destroy(options);
            Ok(Question { queue, client: PhantomData })
        }
    }

    /// The answer, when it comes within this time. There is one answer to a question.
    pub fn answer(&self, timeout: Duration) -> Option<KafkaResult<Identities>> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive until `drop`. The event is ours from the poll until it is destroyed, and what is
        // read of it is copied before.
        unsafe {
            let event = NonNull::new(rd_kafka_queue_poll(self.queue.as_ptr(), timeout_ms))?;
            let read = read(event.as_ptr());
            rd_kafka_event_destroy(event.as_ptr());
            Some(read)
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `ask`, destroyed here alone, before the client that it belongs to.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Asks and waits for the answer. Brokers that cannot be asked know no ids, and then nothing is known.
pub fn describe<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    timeout: Duration,
) -> KafkaResult<Identities> {
    if topics.is_empty() {
        return Ok(Identities::new());
    }
    let timed_out = || Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    match Question::ask(consumer, topics, timeout)?.answer(2 * timeout).unwrap_or_else(timed_out) {
        Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => Ok(Identities::new()),
        answer => answer,
    }
}

/// SAFETY: `event` is an event that is alive.
unsafe fn read(event: *mut rd_kafka_event_t) -> KafkaResult<Identities> {
    // SAFETY: every pointer comes from librdkafka and belongs to the event; an event of another kind gives a null for
    // its result, and the counts say how long the arrays are.
    unsafe {
        match rd_kafka_event_error(event) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            error => return Err(KafkaError::AdminOp(error.into())),
        }
        let result = rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(KafkaError::Canceled);
        }
        let mut count = 0;
        let described = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut identities = Identities::with_capacity(count);
        for at in 0..count {
            if let Some((name, identity)) = read_topic(*described.add(at))? {
                identities.insert(name, identity);
            }
        }
        Ok(identities)
    }
}

/// SAFETY: `topic` is a description that is alive.
unsafe fn read_topic(topic: *const rd_kafka_TopicDescription_t) -> KafkaResult<Option<(String, Identity)>> {
    // SAFETY: as in `read`: everything belongs to the description, and texts end with a zero.
    unsafe {
        let error = rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            match RDKafkaErrorCode::from(rd_kafka_error_code(error)) {
                RDKafkaErrorCode::NoError => {}
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed => return Ok(None),
                // It has no leader just now, or the like.
                passing => return Err(KafkaError::AdminOp(passing)),
            }
        }
        let name = CStr::from_ptr(rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        let id = rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(topic));
        let id = (!id.is_null()).then(|| CStr::from_ptr(id).to_string_lossy().into_owned());
        let mut count = 0;
        rd_kafka_TopicDescription_partitions(topic, &mut count);
        let partitions = i32::try_from(count).unwrap_or(i32::MAX);
        Ok(Some((name, Identity { id: id.filter(|id| id != NO_ID), partitions })))
    }
}
