//! Errors of Postgres and of the way to it, each placed in one of three reactions, told without any row's values.

use std::fmt;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

use crate::retry::Verdict;
use crate::sink::Failure;
use crate::sink::tls::{Trouble, trouble};

/// What went wrong, what is done about it, and a text for the operator.
///
/// The text may be logged: Postgres puts values into DETAIL always and into the message of data errors often, so the
/// first is never read and the second only for classes that name no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub verdict: Verdict,
    pub text: String,
    /// The connection is of no more use, and the others are probably not either.
    pub lost: bool,
}

impl Fault {
    pub fn retry(text: impl Into<String>) -> Self {
        Fault { verdict: Verdict::Retry, text: text.into(), lost: false }
    }

    pub fn stop(text: impl Into<String>) -> Self {
        Fault { verdict: Verdict::Stop, text: text.into(), lost: false }
    }

    /// A connection that broke: what was asked last may have been done or not.
    pub fn lost(text: impl Into<String>) -> Self {
        Fault { lost: true, ..Fault::retry(text) }
    }

    fn reject(text: impl Into<String>) -> Self {
        Fault { verdict: Verdict::Reject, text: text.into(), lost: false }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault.verdict {
            Verdict::Retry => Failure::Retry(fault.text),
            // Outside of a batch there is no row to reject: a statement of ours was refused.
            Verdict::Reject | Verdict::Stop => Failure::Stop(fault.text),
        }
    }
}

impl From<Error> for Fault {
    /// Every variant of the pinned sqlx stands here; its enum is open, and what a later version adds stops.
    fn from(error: Error) -> Fault {
        match error {
            Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => of_server(error),
                None => Fault::stop("an error that is not Postgres's"),
            },
            // After a handshake of TLS 1.3 the server still may refuse our certificate.
            Error::Io(error) => of_tls(&error.to_string())
                .unwrap_or_else(|| Fault::lost(format!("Postgres cannot be reached: {error}"))),
            // A stream that stops making sense (a proxy, a failover) is a broken connection.
            Error::Protocol(_) => Fault::lost("the connection to Postgres broke: it carried what is no answer"),
            Error::WorkerCrashed => Fault::lost("the connection to Postgres broke"),
            Error::BeginFailed => Fault::lost("Postgres did not begin a transaction"),
            Error::PoolTimedOut => Fault::retry("no connection to Postgres became free in time"),
            Error::PoolClosed => Fault::stop("the connections to Postgres are closed"),
            Error::Tls(error) => of_tls(&error.to_string()).unwrap_or_else(|| {
                Fault::lost(format!("TLS with Postgres failed ({error}): if it stays, check the server's ssl settings"))
            }),
            Error::Configuration(_) | Error::ConfigFile(_) => Fault::stop(URL_UNREADABLE),
            Error::Encode(_) => Fault::reject("a value cannot be sent to Postgres"),
            Error::Decode(_) => Fault::stop("a value from Postgres cannot be read"),
            Error::ColumnDecode { index, .. } => Fault::stop(format!(
                "a value from Postgres cannot be read (column {index}): NaN and infinity have no place here"
            )),
            Error::RowNotFound => Fault::stop("Postgres answered with no row where there is always one"),
            Error::TypeNotFound { type_name } => Fault::stop(format!("Postgres has no type {type_name}")),
            Error::ColumnIndexOutOfBounds { index, .. } => Fault::stop(format!("Postgres sent no column {index}")),
            Error::ColumnNotFound(name) => Fault::stop(format!("Postgres sent no column \"{name}\"")),
            Error::InvalidArgument(_) => Fault::stop("a statement was built with wrong arguments"),
            Error::InvalidSavePointStatement => Fault::stop("a transaction was begun inside another"),
            Error::AnyDriverError(_) => Fault::stop("sqlx used a driver that is not Postgres's"),
            _ => Fault::stop("an error of a kind that this version does not know"),
        }
    }
}

/// What a person has to mend about TLS.
fn of_tls(said: &str) -> Option<Fault> {
    Some(Fault::stop(match trouble(said)? {
        Trouble::Untrusted => {
            "the server's certificate is signed by no CA that is trusted here: name its CA's file as sslrootcert in the \
             Postgres url"
        }
        Trouble::WrongHost => {
            "the server's certificate is not for this host: connect by a name that it is for, or have one made for this \
             name"
        }
        Trouble::Expired => "the server's certificate, or its CA's, has expired: renew it",
        Trouble::NotYetValid => {
            "the server's certificate is not valid yet: correct the clock, here or where it was made"
        }
        Trouble::OwnCertificate => {
            "the server does not accept our certificate, or misses one: correct sslcert and sslkey in the Postgres url"
        }
        Trouble::NoTls => {
            "the server does not offer TLS: turn it on there (ssl = on), or write sslmode=disable into the Postgres url \
             where nobody can listen"
        }
    }))
}

/// Told instead of the parser's words, which repeat parts of the url.
pub const URL_UNREADABLE: &str =
    "the Postgres url cannot be read: it has the form postgres://user:password@host:port/database";

/// The verdict for a SQLSTATE (Postgres documentation, appendix A), and the mend where a person has to act.
fn of_server(error: &PgDatabaseError) -> Fault {
    let code = error.code();
    let said = format!("{} (SQLSTATE {code})", error.message());
    let class = code.get(..2).unwrap_or_default();
    match (class, code) {
        // A statement that took too long or was cancelled by hand; the connection lives.
        (_, "57014") => Fault::retry(said),
        // The connection, or the server, goes away. A standby: a failover is under way, its address not yet moved.
        ("08" | "57" | "58", _) | (_, "25006" | "25P03") => Fault::lost(said),
        // Deadlock and serialization, which the same transaction survives when run again; resources; locks.
        ("40" | "53" | "55", _) => Fault::retry(said),
        ("28", _) if error.message().contains("no encryption") => Fault::stop(format!(
            "{said}: the server wants TLS: write sslmode=verify-full into the Postgres url, or correct pg_hba.conf"
        )),
        ("28", _) if error.message().contains("client certificate") => {
            Fault::stop(format!("{said}: name one as sslcert, and its key as sslkey, in the Postgres url"))
        }
        ("28", _) => Fault::stop(format!("{said}: correct user and password in the Postgres url, or pg_hba.conf")),
        (_, "3D000") => Fault::stop(format!("{said}: create the database or correct its name in the Postgres url")),
        (_, "42501") => Fault::stop(format!("{said}: grant it to the user of the Postgres url")),
        (_, "42P01" | "42703" | "3F000") => {
            Fault::stop(format!("{said}: create it (postgres-schema.sql) and start again"))
        }
        // "cached plan must not change result type": a column's type is not what it was when we started.
        ("42", _) | (_, "0A000") => Fault::stop(format!("{said}: if the tables were changed, start again")),
        // The row's own fault, said by the server: bad data, a broken constraint, a trigger or view that refuses, a
        // value too big for an index.
        ("22" | "23" | "44" | "54", _) | (_, "P0001") => Fault::reject(refusal(error)),
        _ => Fault::stop(format!("Postgres answered with SQLSTATE {code}")),
    }
}

/// A refused row in words that hold names only.
fn refusal(error: &PgDatabaseError) -> String {
    let what = match error.code() {
        "23502" => "a null in a column that must not be null",
        "23503" => "a row that it refers to is missing",
        "23505" => "another row has the same unique values",
        "23514" => "a check is not met",
        "P0001" => "a trigger refused the row",
        code if code.starts_with("22") => "a value does not fit",
        _ => "the row was refused",
    };
    let mut text = format!("Postgres: {what} (SQLSTATE {})", error.code());
    for (word, name) in [("table", error.table()), ("column", error.column()), ("constraint", error.constraint())] {
        if let Some(name) = name {
            text.push_str(&format!(", {word} \"{name}\""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_of_the_client_are_placed() {
        let verdict = |error: Error| Fault::from(error).verdict;
        assert_eq!(verdict(Error::Io(io::ErrorKind::ConnectionRefused.into())), Verdict::Retry);
        assert_eq!(verdict(Error::Protocol("x".into())), Verdict::Retry);
        assert_eq!(verdict(Error::PoolTimedOut), Verdict::Retry);
        assert_eq!(verdict(Error::Encode("x".into())), Verdict::Reject);
        assert_eq!(verdict(Error::Configuration("x".into())), Verdict::Stop);
        assert_eq!(verdict(Error::RowNotFound), Verdict::Stop);
    }

    #[test]
    fn the_url_is_not_repeated() {
        let fault = Fault::from(Error::Configuration("postgres://me:secret@h/d".into()));
        assert!(!fault.text.contains("secret"), "{fault}");
    }
}
