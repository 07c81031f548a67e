//! Stages at which a test holds the process, to end it exactly there.
//!
//! They exist with the feature `failpoints` alone, which no build for use has: without it [`reach`] does nothing, and
//! nothing is left of it when the code is compiled. With it, `FAILPOINT=written:3` in the environment holds the thread
//! that reaches [`Stage::Written`] for the third time, for ever, once it has said so on standard error. At
//! [`Stage::Decoding`] it panics, which nothing else can make it do.

use std::future::Future;

/// A place between two lines at which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A record was taken from the client.
    Polled,
    /// A record is being decoded.
    Decoding,
    /// A batch was decoded and planned, and nothing of it is written.
    Decoded,
    /// The server has a part of a batch, or all its statements and no COMMIT.
    BetweenStatements,
    /// COMMIT was sent to Postgres, and its answer was not read.
    Committing,
    /// A batch is durable, and the position has not moved.
    Written,
    /// Offsets are about to be committed to Kafka.
    BeforeCommit,
    /// Kafka has the offsets, and we do not know it yet.
    AfterCommit,
    /// Partitions were revoked, their workers have ended, and nothing is committed.
    Revoking,
    /// The broker has a dead letter, and nobody was told.
    DeadLettering,
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn reach(_: Stage) {}

#[cfg(feature = "failpoints")]
pub(crate) fn reach(stage: Stage) {
    if is_due(stage) {
        hold(stage);
    }
}

/// Polls the future once, so that what it sends is under way, and reaches the stage.
#[cfg(not(feature = "failpoints"))]
pub(crate) async fn during<F: Future>(_: Stage, future: F) -> F::Output {
    future.await
}

#[cfg(feature = "failpoints")]
pub(crate) async fn during<F: Future>(stage: Stage, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match futures::poll!(future.as_mut()) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => {
            reach(stage);
            future.await
        }
    }
}

/// Whether this is the visit that `FAILPOINT` names.
#[cfg(feature = "failpoints")]
fn is_due(stage: Stage) -> bool {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static AWAITED: LazyLock<Option<(String, usize)>> = LazyLock::new(|| {
        let named = std::env::var("FAILPOINT").ok()?;
        let (stage, visit) = named.split_once(':').unwrap_or((&named, "1"));
        Some((stage.into(), visit.parse().unwrap_or_else(|_| panic!("FAILPOINT is \"{named}\": want STAGE:VISIT"))))
    });
    static VISITS: AtomicUsize = AtomicUsize::new(0);
    let Some((awaited, visit)) = &*AWAITED else { return false };
    stage.name() == awaited && VISITS.fetch_add(1, Ordering::Relaxed) + 1 == *visit
}

#[cfg(feature = "failpoints")]
fn hold(stage: Stage) {
    assert!(stage != Stage::Decoding, "failpoint");
    eprintln!("failpoint {} reached", stage.name());
    loop {
        std::thread::park();
    }
}

impl Stage {
    /// As `FAILPOINT` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Polled => "polled",
            Stage::Decoding => "decoding",
            Stage::Decoded => "decoded",
            Stage::BetweenStatements => "between-statements",
            Stage::Committing => "committing",
            Stage::Written => "written",
            Stage::BeforeCommit => "before-commit",
            Stage::AfterCommit => "after-commit",
            Stage::Revoking => "revoking",
            Stage::DeadLettering => "dead-lettering",
        }
    }
}
