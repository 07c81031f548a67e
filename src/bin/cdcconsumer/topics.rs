//! Routes with topic patterns: resolved for the topics that are there, and again when new ones match.

use std::sync::Arc;
use std::time::Duration;

use rowferry::ops::config::pattern::expanded;
use rowferry::ops::config::{Cassandra, Config, Consumer};
use rowferry::ops::service::{self, Exit, Kind, Outside, about, until_begun};
use rowferry::plan::route::Routes;
use rowferry::sink::Failure;
use rowferry::sink::cassandra::cluster::Cluster;
use rowferry::sink::cassandra::{Cassandra as Sink, checkpoint};
use tokio::sync::watch;

use crate::{cassandra_settings, check, resolve, with_source};

/// Routes for the topics that are there, and the sink that they are resolved against.
struct Prepared {
    consumer: Consumer,
    routes: Arc<Routes>,
    sink: Sink,
}

/// Runs the routes. When a new topic matches a pattern, what runs is ended in order and begun again with it: partitions
/// are given back with their positions, as at a revoke, and the new topic starts at its beginning.
pub async fn run(
    config: &Config,
    consumer: &Consumer,
    target: &Cassandra,
    kind: Kind,
    outside: &Outside,
    mut shutdown: watch::Receiver<bool>,
) -> Result<anyhow::Result<Exit>, Exit> {
    let mut prepared = until_begun(&outside.meters, &shutdown, || prepare(config, consumer, target)).await?;
    loop {
        let (stop, stopped) = watch::channel(false);
        let Prepared { consumer: running, routes, sink } = prepared;
        let run = service::run(config, &running, kind, routes, sink, outside.clone(), stopped);
        tokio::pin!(run);
        let next = tokio::select! {
            ended = &mut run => return Ok(ended),
            // The channel is closed only after the signals' own thread has gone, and then there is nobody to listen to.
            _ = shutdown.wait_for(|asked| *asked) => None,
            next = news(config, consumer, target, &running) => Some(next),
        };
        // Nobody listens when the run has ended meanwhile.
        let _ = stop.send(true);
        let ended = run.await;
        match (next, &ended) {
            (Some(next), Ok(Exit::Done)) if !*shutdown.borrow() => {
                tracing::info!(topics = next.consumer.topics().len(), "going on with the new topics");
                prepared = next;
            }
            _ => return Ok(ended),
        }
    }
}

/// The configured routes with one for each topic that matches their patterns now. Asks Kafka only where there are some.
pub async fn of_topics(config: &Config, consumer: &Consumer) -> Result<Consumer, Failure> {
    if !has_patterns(consumer) {
        return Ok(consumer.clone());
    }
    let access = config.kafka.access();
    let listed = tokio::task::spawn_blocking(move || rowferry::kafka::topics::list(&access)).await;
    let mut topics = match listed {
        Ok(Ok(topics)) => topics,
        Ok(Err(error)) => return Err(Failure::Retry(format!("Kafka: {error}"))),
        Err(panicked) => return Err(Failure::Stop(format!("the Kafka client panicked: {panicked}"))),
    };
    topics.retain(|topic| *topic != config.kafka.dead_letter_topic);
    let routes = expanded(&consumer.routes, &topics);
    if routes.is_empty() {
        let patterns: Vec<&str> = consumer.routes.iter().map(|route| route.topics()).collect();
        return Err(Failure::Retry(format!("a topic that matches {}", patterns.join(" or "))));
    }
    Ok(Consumer { routes, ..consumer.clone() })
}

async fn prepare(config: &Config, consumer: &Consumer, target: &Cassandra) -> Result<Prepared, Failure> {
    prepare_for(config, of_topics(config, consumer).await?, target).await
}

async fn prepare_for(config: &Config, consumer: Consumer, target: &Cassandra) -> Result<Prepared, Failure> {
    let cluster = Cluster::connect(&cassandra_settings(target)).await.map_err(about("sink.cassandra"))?;
    let specs = with_source(config, &consumer.routes).await?;
    let routes = resolve(&specs, &cluster).await?;
    let checkpoints = cluster.checkpoints(&consumer.group_id).await?;
    if checkpoints.is_none() {
        tracing::warn!(
            "keyspace {} has no table {}: when another tool moves the group, its versions are lost, and `seek` has to \
             decide where it goes on; `cdcconsumer ddl` prints the table",
            target.keyspace,
            checkpoint::TABLE
        );
    }
    let sink = cluster.sink(&routes).await?.with_checkpoints(checkpoints);
    check::before_run(config, &consumer, &routes, &cluster).await?;
    Ok(Prepared { consumer, routes: Arc::new(routes), sink })
}

/// Waits for topics that match and are not read yet, until their routes can be resolved: what runs goes on meanwhile,
/// and a new topic that nothing fits is said and no reason to end it.
async fn news(config: &Config, consumer: &Consumer, target: &Cassandra, running: &Consumer) -> Prepared {
    let interval = Duration::from_secs(consumer.topics_interval_seconds);
    let known = running.topics();
    let mut said = String::new();
    loop {
        if !has_patterns(consumer) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(interval).await;
        let found = match of_topics(config, consumer).await {
            Ok(found) => found,
            // Whoever reads says that Kafka is away.
            Err(_) => continue,
        };
        let new: Vec<String> = found.topics().into_iter().filter(|topic| !known.contains(topic)).collect();
        if new.is_empty() {
            continue;
        }
        match prepare_for(config, found, target).await {
            Ok(prepared) => {
                tracing::info!("new topics match: {}", new.join(", "));
                return prepared;
            }
            Err(Failure::Stop(why) | Failure::Retry(why)) if why != said => {
                tracing::error!("{} is not read yet: {why}", new.join(", "));
                said = why;
            }
            Err(_) => {}
        }
    }
}

fn has_patterns(consumer: &Consumer) -> bool {
    consumer.routes.iter().any(|route| route.topic_pattern.is_some())
}
