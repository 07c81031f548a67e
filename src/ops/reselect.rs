//! Answers what a moved row lacks, from the live source table.

use tokio::sync::mpsc;

use crate::change::{Reject, RejectClass};
use crate::format;
use crate::pipeline::reselect::{Answer, ReselectRequest, Unread};
use crate::row::Value;
use crate::sink::Failure;
use crate::sink::postgres::reselect::Reselected;
use crate::sink::postgres::{Postgres, Settings};

/// Answers until the last sender is gone, one request after another: rows move seldom. Connects when it is first
/// asked.
pub async fn run(settings: Settings, mut requests: mpsc::Receiver<ReselectRequest>) {
    let mut source: Option<Postgres> = None;
    while let Some(request) = requests.recv().await {
        let answer = answer(&settings, &mut source, &request).await;
        // Nobody listens when the asker's partition was revoked meanwhile.
        let _ = request.answer.send(answer);
    }
}

async fn answer(settings: &Settings, source: &mut Option<Postgres>, request: &ReselectRequest) -> Answer {
    let connected = match source.take() {
        Some(connected) => connected,
        None => Postgres::connect(settings.clone()).await.map_err(Unread::Failed)?,
    };
    let read = source.insert(connected).reselect(&request.table, &request.key, &request.columns).await;
    let columns = match read.map_err(|failure| Unread::Failed(about_source(failure)))? {
        Reselected::Row(columns) => columns,
        Reselected::Gone => return Ok(None),
        Reselected::Unreadable(why) => return Err(Unread::Refused(Reject::new(RejectClass::Unavailable, why))),
    };
    let values: Result<Vec<Value>, Reject> = request
        .columns
        .iter()
        .zip(columns)
        .map(|((name, _), (wire, json))| json.map_or(Ok(Value::Null), |json| format::value(name, &wire, &json)))
        .collect();
    values.map(Some).map_err(Unread::Refused)
}

fn about_source(failure: Failure) -> Failure {
    match failure {
        Failure::Retry(what) => Failure::Retry(format!("the source: {what}")),
        Failure::Stop(why) => Failure::Stop(format!("source.postgres.url: {why}")),
    }
}
