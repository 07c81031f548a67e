//! Every error code of the client, with what is done about it while records are read (K9).
//!
//! The crate's enum is open, so the match names every code of the pinned version (librdkafka 2.12), and its last arm
//! stops: a new code must be placed by a person.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::sink::Failure;

/// Judges what polling returned. [`Failure::Retry`]: the client goes on by itself.
pub fn polled(error: &KafkaError) -> Failure {
    let Some(code) = error.rdkafka_error_code() else { return Failure::Stop(format!("{error}: start again")) };
    match code {
        Code::BrokerDestroy
        | Code::Fail
        | Code::BrokerTransportFailure
        | Code::Resolve
        | Code::MessageTimedOut
        | Code::UnknownPartition
        | Code::UnknownTopic
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::QueueFull
        | Code::ISRInsufficient
        | Code::NodeUpdate
        | Code::WaitingForCoordinator
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::AssignPartitions
        | Code::RevokePartitions
        | Code::State
        | Code::TimedOutQueue
        | Code::WaitCache
        | Code::Interrupted
        | Code::Partial
        | Code::Retry
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::PollExceeded
        | Code::UnknownBroker
        | Code::AssignmentLost
        | Code::Noop
        | Code::Outdated
        | Code::NoOffset
        | Code::DestroyBroker
        | Code::UnknownGroup
        | Code::PartitionEOF
        | Code::Unknown
        | Code::UnknownTopicOrPartition
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::StaleControllerEpoch
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::NotController
        | Code::OperationNotAttempted
        | Code::KafkaStorageError
        | Code::ReassignmentInProgress
        | Code::FetchSessionIdNotFound
        | Code::InvalidFetchSessionEpoch
        | Code::ListenerNotFound
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::StaleBrokerEpoch
        | Code::OffsetNotAvailable
        | Code::MemberIdRequired
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        | Code::UnstableOffsetCommit
        | Code::ThrottlingQuotaExceeded
        | Code::UnknownTopicId
        | Code::FencedMemberEpoch
        | Code::UnreleasedInstanceId
        | Code::StaleMemberEpoch
        | Code::RebootstrapRequired
        | Code::TelemetryTooLarge
        | Code::UnknownSubscriptionId
        | Code::SSL
        | Code::LogDirNotFound
        | Code::GroupIdNotFound
        | Code::ConcurrentTransactions => Failure::Retry(error.to_string()),
        Code::TopicAuthorizationFailed => Failure::Stop(format!(
            "{error}: grant the user that [kafka] names READ and DESCRIBE on the topics that are read"
        )),
        Code::GroupAuthorizationFailed => {
            Failure::Stop(format!("{error}: grant the user that [kafka] names READ and DESCRIBE on the group"))
        }
        Code::ClusterAuthorizationFailed => {
            Failure::Stop(format!("{error}: grant the user that [kafka] names what the brokers' log says it lacks"))
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => {
            Failure::Stop(format!("{error}: correct sasl.mechanism, sasl.username and sasl.password"))
        }
        Code::FencedInstanceId | Code::Fenced => Failure::Stop(format!(
            "{error}: another member of the group has the same `group_instance_id`: give each its own"
        )),
        Code::AutoOffsetReset
        | Code::OffsetOutOfRange
        | Code::LogTruncation
        | Code::BadMessage
        | Code::BadCompression
        | Code::CriticalSystemResource
        | Code::FileSystem
        | Code::InvalidArgument
        | Code::ExistingSubscription
        | Code::Conflict
        | Code::UnknownProtocol
        | Code::NotImplemented
        | Code::UnsupportedFeature
        | Code::KeySerialization
        | Code::ValueSerialization
        | Code::KeyDeserialization
        | Code::ValueDeserialization
        | Code::ReadOnly
        | Code::NoEnt
        | Code::Underflow
        | Code::InvalidType
        | Code::Fatal
        | Code::Inconsistent
        | Code::GaplessGuarantee
        | Code::NotConfigured
        | Code::Application
        | Code::InvalidDifferentRecord
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::MessageSizeTooLarge
        | Code::OffsetMetadataTooLarge
        | Code::InvalidTopic
        | Code::MessageBatchTooLarge
        | Code::InvalidRequiredAcks
        | Code::InconsistentGroupProtocol
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::InvalidCommitOffsetSize
        | Code::InvalidTimestamp
        | Code::UnsupportedVersion
        | Code::TopicAlreadyExists
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidRequest
        | Code::UnsupportedForMessageFormat
        | Code::PolicyViolation
        | Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::InvalidProducerEpoch
        | Code::InvalidTransactionalState
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionTimeout
        | Code::TransactionCoordinatorFenced
        | Code::TransactionalIdAuthorizationFailed
        | Code::SecurityDisabled
        | Code::UnknownProducerId
        | Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenNotFound
        | Code::DelegationTokenOwnerMismatch
        | Code::DelegationTokenRequestNotAllowed
        | Code::DelegationTokenAuthorizationFailed
        | Code::DelegationTokenExpired
        | Code::InvalidPrincipalType
        | Code::NonEmptyGroup
        | Code::TopicDeletionDisabled
        | Code::UnsupportedCompressionType
        | Code::GroupMaxSizeReached
        | Code::ElectionNotNeeded
        | Code::NoReassignmentInProgress
        | Code::GroupSubscribedToTopic
        | Code::InvalidRecord
        | Code::ProducerFenced
        | Code::ResourceNotFound
        | Code::DuplicateResource
        | Code::UnacceptableCredential
        | Code::InconsistentVoterSet
        | Code::InvalidUpdateVersion
        | Code::FeatureUpdateFailed
        | Code::PrincipalDeserializationFailure
        | Code::UnsupportedAssignor => Failure::Stop(format!("{error}: start again, and report it when it comes back")),
        _ => Failure::Stop(format!("{error}: this version does not know it, please report it")),
    }
}

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
    }
}
