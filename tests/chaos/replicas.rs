//! What every replica says: from one that is asked alone a row may be missing for a while, and none may hold a row, or
//! a newer value, that the others would have to give way to.

use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;

use crate::stack::Scenario;

/// From here on the scenario's reads need the answers of all three replicas, and what any of them holds counts.
pub async fn ask_every_replica(scenario: &mut Scenario) {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::All)
        .request_timeout(Some(Duration::from_secs(60)))
        .build();
    let builder = SessionBuilder::new().known_node("127.0.0.1:9042");
    let session = builder.default_execution_profile_handle(profile.into_handle()).build().await;
    scenario.cassandra = session.unwrap();
}
