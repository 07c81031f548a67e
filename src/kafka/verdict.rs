//! Every error code of the client, with what is done about it while records are read (K9).
//!
//! The crate's enum is open, so every code of the pinned version (librdkafka 2.12) is named, and one that is not stops:
//! a new code must be placed by a person.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::sink::Failure;

/// Judges what polling returned. [`Failure::Retry`]: the client goes on by itself.
pub fn polled(error: &KafkaError) -> Failure {
    let mend = match error.rdkafka_error_code() {
        Some(code) if PASSING.contains(&code) => return Failure::Retry(error.to_string()),
        Some(Code::TopicAuthorizationFailed) => {
            "grant the user that [kafka] names READ and DESCRIBE on the topics that are read"
        }
        Some(Code::GroupAuthorizationFailed) => "grant the user that [kafka] names READ and DESCRIBE on the group",
        Some(Code::ClusterAuthorizationFailed) => {
            "grant the user that [kafka] names what the brokers' log says it lacks"
        }
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState,
        ) => "correct sasl.mechanism, sasl.username and sasl.password",
        Some(Code::FencedInstanceId | Code::Fenced) => {
            "another member of the group has the same `group_instance_id`: give each its own"
        }
        Some(Code::InconsistentGroupProtocol) => {
            "the members of the group do not have the same `rebalance_protocol`: give all the same, and start them again"
        }
        Some(code) if FOR_GOOD.contains(&code) => "start again, and report it when it comes back",
        Some(_) | None => "this version does not know it: start again, and report it",
    };
    Failure::Stop(format!("{error}: {mend}"))
}

/// What ends by itself: brokers that come and go, leaders and coordinators that move, members that rebalance.
const PASSING: [Code; 78] = [
    Code::BrokerDestroy,
    Code::Fail,
    Code::BrokerTransportFailure,
    Code::Resolve,
    Code::MessageTimedOut,
    Code::UnknownPartition,
    Code::UnknownTopic,
    Code::AllBrokersDown,
    Code::OperationTimedOut,
    Code::QueueFull,
    Code::ISRInsufficient,
    Code::NodeUpdate,
    Code::WaitingForCoordinator,
    Code::InProgress,
    Code::PreviousInProgress,
    Code::AssignPartitions,
    Code::RevokePartitions,
    Code::State,
    Code::TimedOutQueue,
    Code::WaitCache,
    Code::Interrupted,
    Code::Partial,
    Code::Retry,
    Code::PurgeQueue,
    Code::PurgeInflight,
    Code::PollExceeded,
    Code::UnknownBroker,
    Code::AssignmentLost,
    Code::Noop,
    Code::Outdated,
    Code::NoOffset,
    Code::DestroyBroker,
    Code::UnknownGroup,
    Code::PartitionEOF,
    Code::Unknown,
    Code::UnknownTopicOrPartition,
    Code::LeaderNotAvailable,
    Code::NotLeaderForPartition,
    Code::RequestTimedOut,
    Code::BrokerNotAvailable,
    Code::ReplicaNotAvailable,
    Code::StaleControllerEpoch,
    Code::NetworkException,
    Code::CoordinatorLoadInProgress,
    Code::CoordinatorNotAvailable,
    Code::NotCoordinator,
    Code::NotEnoughReplicas,
    Code::NotEnoughReplicasAfterAppend,
    Code::IllegalGeneration,
    Code::UnknownMemberId,
    Code::RebalanceInProgress,
    Code::NotController,
    Code::OperationNotAttempted,
    Code::KafkaStorageError,
    Code::ReassignmentInProgress,
    Code::FetchSessionIdNotFound,
    Code::InvalidFetchSessionEpoch,
    Code::ListenerNotFound,
    Code::FencedLeaderEpoch,
    Code::UnknownLeaderEpoch,
    Code::StaleBrokerEpoch,
    Code::OffsetNotAvailable,
    Code::MemberIdRequired,
    Code::PreferredLeaderNotAvailable,
    Code::EligibleLeadersNotAvailable,
    Code::UnstableOffsetCommit,
    Code::ThrottlingQuotaExceeded,
    Code::UnknownTopicId,
    Code::FencedMemberEpoch,
    Code::UnreleasedInstanceId,
    Code::StaleMemberEpoch,
    Code::RebootstrapRequired,
    Code::TelemetryTooLarge,
    Code::UnknownSubscriptionId,
    Code::SSL,
    Code::LogDirNotFound,
    Code::GroupIdNotFound,
    Code::ConcurrentTransactions,
];

/// What does not, or cannot come of reading.
const FOR_GOOD: [Code; 81] = [
    Code::AutoOffsetReset,
    Code::OffsetOutOfRange,
    Code::LogTruncation,
    Code::BadMessage,
    Code::BadCompression,
    Code::CriticalSystemResource,
    Code::FileSystem,
    Code::InvalidArgument,
    Code::ExistingSubscription,
    Code::Conflict,
    Code::UnknownProtocol,
    Code::NotImplemented,
    Code::UnsupportedFeature,
    Code::KeySerialization,
    Code::ValueSerialization,
    Code::KeyDeserialization,
    Code::ValueDeserialization,
    Code::ReadOnly,
    Code::NoEnt,
    Code::Underflow,
    Code::InvalidType,
    Code::Fatal,
    Code::Inconsistent,
    Code::GaplessGuarantee,
    Code::NotConfigured,
    Code::Application,
    Code::InvalidDifferentRecord,
    Code::InvalidMessage,
    Code::InvalidMessageSize,
    Code::MessageSizeTooLarge,
    Code::OffsetMetadataTooLarge,
    Code::InvalidTopic,
    Code::MessageBatchTooLarge,
    Code::InvalidRequiredAcks,
    Code::InvalidGroupId,
    Code::InvalidSessionTimeout,
    Code::InvalidCommitOffsetSize,
    Code::InvalidTimestamp,
    Code::UnsupportedVersion,
    Code::TopicAlreadyExists,
    Code::InvalidPartitions,
    Code::InvalidReplicationFactor,
    Code::InvalidReplicaAssignment,
    Code::InvalidConfig,
    Code::InvalidRequest,
    Code::UnsupportedForMessageFormat,
    Code::PolicyViolation,
    Code::OutOfOrderSequenceNumber,
    Code::DuplicateSequenceNumber,
    Code::InvalidProducerEpoch,
    Code::InvalidTransactionalState,
    Code::InvalidProducerIdMapping,
    Code::InvalidTransactionTimeout,
    Code::TransactionCoordinatorFenced,
    Code::TransactionalIdAuthorizationFailed,
    Code::SecurityDisabled,
    Code::UnknownProducerId,
    Code::DelegationTokenAuthDisabled,
    Code::DelegationTokenNotFound,
    Code::DelegationTokenOwnerMismatch,
    Code::DelegationTokenRequestNotAllowed,
    Code::DelegationTokenAuthorizationFailed,
    Code::DelegationTokenExpired,
    Code::InvalidPrincipalType,
    Code::NonEmptyGroup,
    Code::TopicDeletionDisabled,
    Code::UnsupportedCompressionType,
    Code::GroupMaxSizeReached,
    Code::ElectionNotNeeded,
    Code::NoReassignmentInProgress,
    Code::GroupSubscribedToTopic,
    Code::InvalidRecord,
    Code::ProducerFenced,
    Code::ResourceNotFound,
    Code::DuplicateResource,
    Code::UnacceptableCredential,
    Code::InconsistentVoterSet,
    Code::InvalidUpdateVersion,
    Code::FeatureUpdateFailed,
    Code::PrincipalDeserializationFailure,
    Code::UnsupportedAssignor,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_waited_for_and_what_a_person_must_mend_stops() {
        let polled = |code| polled(&KafkaError::MessageConsumption(code));
        for passing in [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::UnknownTopicOrPartition, Code::SSL] {
            assert!(matches!(polled(passing), Failure::Retry(_)), "{passing:?}");
        }
        for (code, mend) in [
            (Code::TopicAuthorizationFailed, "READ and DESCRIBE on the topics"),
            (Code::GroupAuthorizationFailed, "READ and DESCRIBE on the group"),
            (Code::SaslAuthenticationFailed, "sasl.password"),
            (Code::FencedInstanceId, "group_instance_id"),
            (Code::InvalidMessage, "start again"),
        ] {
            let Failure::Stop(why) = polled(code) else { panic!("{code:?}") };
            assert!(why.contains(mend), "{why}");
        }
        assert!(matches!(super::polled(&KafkaError::NoMessageReceived), Failure::Stop(_)));
        assert!(PASSING.iter().all(|code| !FOR_GOOD.contains(code)));
    }
}
