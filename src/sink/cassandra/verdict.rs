//! Every error of the driver, with what is done about it.
//!
//! The driver's enums are open, so each match here names every variant of the pinned version (scylla 1.9) and its last
//! arm stops: a new case must be placed by a person. No text carries what the server says about a *row*: its message
//! is repeated only where it speaks of a statement, a right or a login, and our statements hold markers, not values.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    MetadataFetchErrorKind, NewSessionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError, RequestError, TablesMetadataError, UdtMetadataError, UseKeyspaceError,
};

use crate::retry::Verdict;
use crate::sink::Failure;

/// An error with what is done about it and how it reads.
///
/// [`Verdict::Reject`] means that the server finds the request invalid. Whether that lies in the record or in the
/// setup is told by preparing the statement again (C9), which the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub verdict: Verdict,
    pub text: String,
}

impl Judged {
    fn retry(text: impl std::fmt::Display) -> Self {
        Judged { verdict: Verdict::Retry, text: format!("Cassandra: {text}") }
    }

    fn stop(text: impl std::fmt::Display) -> Self {
        Judged { verdict: Verdict::Stop, text: format!("Cassandra: {text}") }
    }

    fn fault(text: impl std::fmt::Display) -> Self {
        Judged::stop(format_args!("{text}: this is a fault of Rowferry or its driver, please report it"))
    }

    /// The failure of a call that carries no record: what is invalid there is the setup.
    pub fn into_failure(self) -> Failure {
        match self.verdict {
            Verdict::Retry => Failure::Retry(self.text),
            Verdict::Reject => Failure::Stop(format!(
                "{}: a table or a column may have changed, look at it and start again",
                self.text
            )),
            Verdict::Stop => Failure::Stop(self.text),
        }
    }
}

/// Judges what a write or a read ended with.
pub fn execution(error: &ExecutionError) -> Judged {
    match error {
        ExecutionError::LastAttemptError(attempt) => request(attempt),
        ExecutionError::ConnectionPoolError(pool) => connection_pool(pool),
        ExecutionError::PrepareError(error) => prepare(error),
        ExecutionError::RequestTimeout(after) => {
            Judged::retry(format_args!("no answer within {} ms", after.as_millis()))
        }
        ExecutionError::EmptyPlan => Judged::retry("no node to send to"),
        ExecutionError::SchemaAgreementError(error) => Judged::retry(error),
        ExecutionError::MetadataError(error) => metadata(error),
        ExecutionError::UseKeyspaceError(error) => use_keyspace(error),
        ExecutionError::BadQuery(_) => Judged::fault("a request could not be encoded"),
        _ => Judged::fault("the driver returned an error that this version does not know"),
    }
}

/// Whether a node says that it has no such keyspace, table or column, which no row can make it say: the words of
/// Cassandra 4 and 5, and of Scylla.
pub fn misses_schema(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, message)) = error else {
        return false;
    };
    ["does not exist", "unconfigured table", "Undefined column name", "Can't find a keyspace"]
        .iter()
        .any(|words| message.contains(words))
}

/// Judges what preparing a statement ended with. What is invalid here is the statement, so the table or its columns.
pub fn prepare(error: &PrepareError) -> Judged {
    match error {
        PrepareError::ConnectionPoolError(pool) => connection_pool(pool),
        PrepareError::AllAttemptsFailed { first_attempt } => match first_attempt {
            RequestAttemptError::DbError(DbError::Invalid, message) => Judged::stop(format_args!(
                "{message}: correct the table or the route, for the configuration and the keyspace have to agree"
            )),
            other => request(other),
        },
        PrepareError::PreparedStatementIdsMismatch => {
            Judged::retry("the nodes disagree about a statement, as they do while they are upgraded")
        }
        _ => Judged::fault("preparing failed in a way that this version does not know"),
    }
}

/// Judges one attempt at one node.
pub fn request(error: &RequestAttemptError) -> Judged {
    match error {
        RequestAttemptError::DbError(error, message) => database(error, message),
        RequestAttemptError::BrokenConnectionError(_) => Judged::retry("a connection broke"),
        RequestAttemptError::UnableToAllocStreamId => Judged::retry("too many requests on one connection"),
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            Judged::fault("a request could not be encoded")
        }
        RequestAttemptError::BodyExtensionsParseError(_)
        | RequestAttemptError::CqlResultParseError(_)
        | RequestAttemptError::CqlErrorParseError(_)
        | RequestAttemptError::UnexpectedResponse(_)
        | RequestAttemptError::NonfinishedPagingState => Judged::fault("an answer could not be read"),
        RequestAttemptError::RepreparedIdChanged { .. } | RequestAttemptError::RepreparedIdMissingInBatch => {
            Judged::stop("a prepared statement changed its identity, as it does when a node is upgraded: restart")
        }
        _ => Judged::fault("an attempt failed in a way that this version does not know"),
    }
}

fn database(error: &DbError, message: &str) -> Judged {
    match error {
        DbError::Unavailable { consistency, required, alive } => {
            Judged::retry(format_args!("Unavailable for {consistency} (needs {required}, alive {alive})"))
        }
        DbError::WriteTimeout { consistency, received, required, .. } => Judged::retry(format_args!(
            "WriteTimeout at {consistency} (needs {required}, {received} answered): the write may have happened"
        )),
        DbError::ReadTimeout { consistency, received, required, .. } => {
            Judged::retry(format_args!("ReadTimeout at {consistency} (needs {required}, {received} answered)"))
        }
        DbError::WriteFailure { consistency, required, numfailures, .. } => {
            Judged::retry(format_args!("WriteFailure at {consistency} (needs {required}, {numfailures} failed)"))
        }
        DbError::ReadFailure { consistency, required, numfailures, .. } => {
            Judged::retry(format_args!("ReadFailure at {consistency} (needs {required}, {numfailures} failed)"))
        }
        DbError::Overloaded => Judged::retry("Overloaded"),
        DbError::IsBootstrapping => Judged::retry("the node is still starting"),
        DbError::TruncateError => Judged::retry("a truncate is failing"),
        DbError::RateLimitReached { .. } => Judged::retry("the server's rate limit is reached"),
        DbError::Unprepared { .. } => Judged::retry("a node does not know the statement yet"),
        DbError::ServerError => Judged::retry("ServerError: see the server's log"),
        DbError::Invalid => Judged { verdict: Verdict::Reject, text: "Cassandra: refused as invalid".into() },
        // The server answers like this too when it cannot read its own tables of users and rights.
        DbError::AuthenticationError | DbError::Unauthorized if message.starts_with("Unable to perform auth") => {
            Judged::retry("it cannot read its users and rights just now")
        }
        DbError::AuthenticationError => {
            Judged::stop(format_args!("the login was refused ({message}): correct `user` and `password`"))
        }
        DbError::Unauthorized => Judged::stop(format_args!("{message}: grant the user SELECT and MODIFY on it")),
        DbError::SyntaxError => Judged::fault(format_args!("a statement was not understood ({message})")),
        DbError::ConfigError
        | DbError::AlreadyExists { .. }
        | DbError::FunctionFailure { .. }
        | DbError::ProtocolError
        | DbError::Other(_) => Judged::fault(error),
        _ => Judged::fault("the server returned an error that this version does not know"),
    }
}

/// Judges why no session came about.
pub fn new_session(error: &NewSessionError) -> Judged {
    match error {
        NewSessionError::MetadataError(error) => metadata(error),
        NewSessionError::FailedToResolveAnyHostname(names) => {
            Judged::retry(format_args!("no address for {}", names.join(", ")))
        }
        NewSessionError::EmptyKnownNodesList => Judged::stop("no node is named: set `nodes`"),
        NewSessionError::UseKeyspaceError(error) => use_keyspace(error),
        NewSessionError::IllegalConfig(text) => Judged::fault(text),
        _ => Judged::fault("connecting failed in a way that this version does not know"),
    }
}

/// Judges why the cluster's description was not read.
pub fn metadata(error: &MetadataError) -> Judged {
    match error {
        MetadataError::ConnectionPoolError(pool) => connection_pool(pool),
        MetadataError::FetchError(fetch) => match &fetch.error {
            MetadataFetchErrorKind::PrepareError(attempt) => request(attempt),
            MetadataFetchErrorKind::NextRowError(row) => next_row(row),
            MetadataFetchErrorKind::InvalidColumnType(_) | MetadataFetchErrorKind::SerializationError(_) => {
                Judged::fault(format_args!("{} has another shape than expected", fetch.table))
            }
            _ => Judged::fault("reading the cluster's description failed in a way that this version does not know"),
        },
        // A node that is joining may describe the cluster without itself or without tokens.
        MetadataError::Peers(error) => Judged::retry(error),
        MetadataError::Udts(UdtMetadataError::InvalidCqlType { typ, .. })
        | MetadataError::Tables(TablesMetadataError::InvalidCqlType { typ, .. }) => Judged::stop(format_args!(
            "the keyspace has a column of type {typ}, which the driver cannot read, and with it no other table there: \
             use CQL's own types, vectors of at most 65535 elements, and lower-case names for user-defined types"
        )),
        MetadataError::Keyspaces(error) => Judged::fault(error),
        MetadataError::Udts(error) => Judged::fault(error),
        MetadataError::Tables(error) => Judged::fault(error),
        MetadataError::ClientRoutes(error) => Judged::fault(error),
        _ => Judged::fault("reading the cluster's description failed in a way that this version does not know"),
    }
}

/// Judges why a scan did not begin.
pub fn pager(error: &PagerExecutionError) -> Judged {
    match error {
        PagerExecutionError::PrepareError(error) => prepare(error),
        PagerExecutionError::NextPageError(error) => next_page(error),
        PagerExecutionError::SchemaAgreementError(error) => Judged::retry(error),
        PagerExecutionError::MetadataError(error) => metadata(error),
        PagerExecutionError::UseKeyspaceError(error) => use_keyspace(error),
        PagerExecutionError::SerializationError(_) => Judged::fault("a request could not be encoded"),
        _ => Judged::fault("a scan failed in a way that this version does not know"),
    }
}

/// Judges why a scan did not go on.
pub fn next_row(error: &NextRowError) -> Judged {
    match error {
        NextRowError::NextPageError(error) => next_page(error),
        // Its text is ours (read.rs): a column and a type.
        NextRowError::RowDeserializationError(error) => Judged::stop(error),
        _ => Judged::fault("a scan failed in a way that this version does not know"),
    }
}

fn next_page(error: &NextPageError) -> Judged {
    match error {
        NextPageError::RequestFailure(error) => match error {
            RequestError::LastAttemptError(attempt) => request(attempt),
            RequestError::ConnectionPoolError(pool) => connection_pool(pool),
            RequestError::RequestTimeout(after) => {
                Judged::retry(format_args!("no answer within {} ms", after.as_millis()))
            }
            RequestError::EmptyPlan => Judged::retry("no node to send to"),
            _ => Judged::fault("a page failed in a way that this version does not know"),
        },
        NextPageError::PartitionKeyError(_) => Judged::fault("a request could not be encoded"),
        NextPageError::ResultMetadataParseError(_) | NextPageError::TypeCheckError(_) => {
            Judged::fault("an answer could not be read")
        }
        _ => Judged::fault("a page failed in a way that this version does not know"),
    }
}

fn use_keyspace(error: &UseKeyspaceError) -> Judged {
    // Tables are always named with their keyspace, so USE is never sent.
    Judged::fault(format_args!("USE was sent ({error})"))
}

fn connection_pool(error: &ConnectionPoolError) -> Judged {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => connection(last_connection_error),
        ConnectionPoolError::Initializing => Judged::retry("connections are still being made"),
        ConnectionPoolError::NodeDisabledByHostFilter => Judged::fault(error),
        _ => Judged::fault("no connection, in a way that this version does not know"),
    }
}

fn connection(error: &ConnectionError) -> Judged {
    match error {
        ConnectionError::ConnectTimeout
        | ConnectionError::IoError(_)
        | ConnectionError::NoSourcePortForShard(_)
        | ConnectionError::TranslationError(_)
        | ConnectionError::BrokenConnection(_) => Judged::retry(format_args!("no connection ({error})")),
        ConnectionError::ConnectionSetupRequestError(setup) => connection_setup(setup.get_error()),
        ConnectionError::UseKeyspaceError(error) => use_keyspace(error),
        _ => Judged::fault("no connection, in a way that this version does not know"),
    }
}

fn connection_setup(error: &ConnectionSetupRequestErrorKind) -> Judged {
    match error {
        ConnectionSetupRequestErrorKind::DbError(error, message) => database(error, message),
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            Judged::stop("the server asks for a login: set `user` and `password`")
        }
        ConnectionSetupRequestErrorKind::BrokenConnection(_)
        | ConnectionSetupRequestErrorKind::UnableToAllocStreamId => Judged::retry(
            "a connection broke while it was made (if it stays, correct [sink.cassandra.tls]: nodes that want TLS \
                 break off without a word)",
        ),
        ConnectionSetupRequestErrorKind::StartAuthSessionError(_)
        | ConnectionSetupRequestErrorKind::AuthChallengeEvaluationError(_)
        | ConnectionSetupRequestErrorKind::AuthFinishError(_) => {
            Judged::stop("the server asks for a login of a kind that Rowferry does not know")
        }
        ConnectionSetupRequestErrorKind::CqlRequestSerialization(_)
        | ConnectionSetupRequestErrorKind::BodyExtensionsParseError(_)
        | ConnectionSetupRequestErrorKind::UnexpectedResponse(_)
        | ConnectionSetupRequestErrorKind::CqlSupportedParseError(_)
        | ConnectionSetupRequestErrorKind::CqlAuthenticateParseError(_)
        | ConnectionSetupRequestErrorKind::CqlAuthSuccessParseError(_)
        | ConnectionSetupRequestErrorKind::CqlAuthChallengeParseError(_)
        | ConnectionSetupRequestErrorKind::CqlErrorParseError(_) => {
            Judged::stop("what answers at `nodes` does not speak CQL version 4: correct `nodes`")
        }
        _ => Judged::fault("no connection, in a way that this version does not know"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::errors::{BrokenConnectionErrorKind, WriteType};
    use scylla::statement::Consistency;

    use super::*;

    fn check(error: DbError, message: &str, verdict: Verdict, text: &str) {
        let attempt = RequestAttemptError::DbError(error, message.into());
        let judged = execution(&ExecutionError::LastAttemptError(attempt));
        assert_eq!(judged, Judged { verdict, text: text.into() });
    }

    #[test]
    fn what_may_pass_is_waited_for() {
        let consistency = Consistency::LocalQuorum;
        check(
            DbError::Unavailable { consistency, required: 2, alive: 1 },
            "Cannot achieve consistency level LOCAL_QUORUM",
            Verdict::Retry,
            "Cassandra: Unavailable for LocalQuorum (needs 2, alive 1)",
        );
        check(
            DbError::WriteTimeout { consistency, received: 1, required: 2, write_type: WriteType::UnloggedBatch },
            "",
            Verdict::Retry,
            "Cassandra: WriteTimeout at LocalQuorum (needs 2, 1 answered): the write may have happened",
        );
        check(DbError::Overloaded, "", Verdict::Retry, "Cassandra: Overloaded");
        check(DbError::IsBootstrapping, "", Verdict::Retry, "Cassandra: the node is still starting");
        let broken = RequestAttemptError::BrokenConnectionError(BrokenConnectionErrorKind::ChannelError.into());
        assert_eq!(request(&broken), Judged::retry("a connection broke"));
        let timeout = execution(&ExecutionError::RequestTimeout(Duration::from_secs(2)));
        assert_eq!(timeout, Judged::retry("no answer within 2000 ms"));
        assert_eq!(execution(&ExecutionError::EmptyPlan).verdict, Verdict::Retry);
    }

    #[test]
    fn what_a_person_must_mend_stops() {
        check(
            DbError::Unauthorized,
            "User rowferry has no MODIFY permission on <table cdc.users> or any of its parents",
            Verdict::Stop,
            "Cassandra: User rowferry has no MODIFY permission on <table cdc.users> or any of its parents: \
             grant the user SELECT and MODIFY on it",
        );
        check(
            DbError::AuthenticationError,
            "Provided username x and/or password are incorrect",
            Verdict::Stop,
            "Cassandra: the login was refused (Provided username x and/or password are incorrect): correct `user` \
             and `password`",
        );
        for error in [DbError::SyntaxError, DbError::ConfigError, DbError::ProtocolError, DbError::Other(7)] {
            assert_eq!(database(&error, "").verdict, Verdict::Stop, "{error:?}");
        }
    }

    #[test]
    fn a_server_that_cannot_read_its_users_is_waited_for() {
        for error in [DbError::AuthenticationError, DbError::Unauthorized] {
            assert_eq!(database(&error, "Unable to perform authentication: timed out").verdict, Verdict::Retry);
        }
    }

    #[test]
    fn no_row_makes_a_node_say_that_it_has_no_table() {
        let says = |message: &str| {
            let attempt = RequestAttemptError::DbError(DbError::Invalid, message.into());
            misses_schema(&ExecutionError::LastAttemptError(attempt))
        };
        assert!(says("keyspace cdc does not exist"));
        assert!(says("table users does not exist"));
        assert!(says("Undefined column name dob in table cdc.users"));
        assert!(says("unconfigured table users"));
        assert!(!says("Key length of 65536 is longer than maximum of 65535"));
        assert!(!says("Batch too large"));
    }

    #[test]
    fn an_invalid_request_is_the_records_and_an_invalid_statement_the_setups() {
        let invalid = || RequestAttemptError::DbError(DbError::Invalid, "Undefined column name dob".into());
        let judged = request(&invalid());
        assert_eq!((judged.verdict, judged.text.as_str()), (Verdict::Reject, "Cassandra: refused as invalid"));
        let judged = prepare(&PrepareError::AllAttemptsFailed { first_attempt: invalid() });
        assert_eq!(judged.verdict, Verdict::Stop);
        assert!(judged.text.contains("Undefined column name dob"), "{}", judged.text);
    }

    #[test]
    fn what_the_server_says_about_a_row_is_not_repeated() {
        let secret = "value 4711 is not valid";
        for error in [DbError::Invalid, DbError::ServerError, DbError::Overloaded, DbError::ProtocolError] {
            assert!(!database(&error, secret).text.contains("4711"), "{error:?}");
        }
    }
}
