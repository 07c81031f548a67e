//! `cdcconsumer ctl`: asks a running `cdcconsumer` to pause, to go on, or to read again, through its admin server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rowferry::ops::admin::CDCCONSUMER;
use rowferry::ops::config::Config;
use rowferry::ops::config::admin::Listen;
use rowferry::ops::service::Exit;
use serde_json::json;

use crate::{refused, sections};

/// Asks a running cdcconsumer to pause, to go on, or to read again.
///
/// It is asked at `[cdcconsumer.admin] address` (127.0.0.1:9402 without one), with the token of that section. An instance
/// answers for the partitions that it owns: with several instances ask each.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Exit codes: 0 done; 1 it did not answer, or cannot do it now; 64 refused.

Examples:
  cdcconsumer ctl pause --topic cdc.public.orders
  cdcconsumer ctl resume --topic cdc.public.orders
  cdcconsumer ctl seek --to-beginning --topic cdc.public.orders"
)]
pub struct Flags {
    #[command(subcommand)]
    wish: Wish,
    /// Where it is asked, in place of the configured address.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    address: Option<String>,
    /// A file that has the token, in place of the configured one.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Read no more of it; what is in hand is finished. It lasts until `resume`, or until the process ends.
    #[command(after_help = "Examples:
  cdcconsumer ctl pause --topic cdc.public.orders
  cdcconsumer ctl pause --topic cdc.public.orders --partition 2
  cdcconsumer ctl pause --table orders")]
    Pause(Of),
    /// Go on with it.
    #[command(after_help = "Examples:
  cdcconsumer ctl resume --topic cdc.public.orders
  cdcconsumer ctl resume --table orders")]
    Resume(Of),
    /// Read it again from there, as `cdcconsumer seek` does in a stopped group: never over something newer. The instance
    /// leaves the group for a moment and joins it again.
    #[command(after_help = "Examples:
  cdcconsumer ctl seek --to-beginning --topic cdc.public.orders
  cdcconsumer ctl seek --to-offset 4711 --topic cdc.public.orders --partition 2")]
    Seek(Seek),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("of").required(true))]
struct Of {
    /// This topic.
    #[arg(long, value_name = "TOPIC", group = "of")]
    topic: Option<String>,
    /// Only this partition of it.
    #[arg(long, value_name = "P", requires = "topic", conflicts_with = "table")]
    partition: Option<i32>,
    /// Every topic that feeds this table. Other tables that they feed wait, too.
    #[arg(long, value_name = "TABLE", group = "of")]
    table: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
struct Seek {
    #[command(flatten)]
    of: Of,
    /// To the first records that are still there.
    #[arg(long, group = "to")]
    to_beginning: bool,
    /// To this offset of one partition: it is the next one to be read.
    #[arg(long, value_name = "N", group = "to", requires = "partition")]
    to_offset: Option<i64>,
    /// To the end, over all that is unread.
    #[arg(long, group = "to")]
    to_end: bool,
    /// Records that nobody has read may be passed over: their changes are lost.
    #[arg(long)]
    skip_records: bool,
}

/// A rebalance that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(config: &Config, flags: &Flags) -> Result<Exit, Exit> {
    let (consumer, _) = sections(config)?;
    let address = match (&flags.address, consumer.admin.listen(CDCCONSUMER.port_default)) {
        (Some(address), _) => address.clone(),
        (None, Listen::Near(address) | Listen::At(address)) => address.to_string(),
        (None, Listen::Off) => {
            return Err(refused("cdcconsumer.admin.address = \"off\": nothing can be asked; say --address HOST:PORT"));
        }
    };
    let token = match &flags.token_file {
        Some(file) => {
            let read = std::fs::read_to_string(file);
            read.map_err(|error| refused(&format!("{}: {error}", file.display())))?.trim().to_string()
        }
        None => consumer.admin.token.as_ref().map(|token| token.reveal().to_string()).ok_or_else(|| {
            refused("cdcconsumer.admin.token: there is none, and a change needs it; give one here and to what runs")
        })?,
    };
    let (path, body) = flags.wish.told();
    let asked =
        tokio::task::spawn_blocking(move || ask(&address, path, &token, &body).map_err(|error| (address, error)));
    match asked.await {
        Ok(Ok((200, told))) => {
            // Who closes standard output early still gets the exit code.
            let _ = std::io::stdout().write_all(told.as_bytes());
            Ok(Exit::Done)
        }
        Ok(Ok((503, told))) => {
            tracing::error!("{}", told.trim_end());
            Err(Exit::Failed)
        }
        Ok(Ok((_, told))) => Err(refused(told.trim_end())),
        Ok(Err((address, error))) => {
            tracing::error!("{address} does not answer: {error}; the log of what runs has its address");
            Err(Exit::Failed)
        }
        Err(panicked) => Err(refused(&panicked.to_string())),
    }
}

impl Wish {
    /// The path, and what is sent there.
    fn told(&self) -> (&'static str, String) {
        let of = |of: &Of| json!({"topic": of.topic, "partition": of.partition, "table": of.table});
        let (path, told) = match self {
            Wish::Pause(which) => ("/pause", of(which)),
            Wish::Resume(which) => ("/resume", of(which)),
            Wish::Seek(seek) => {
                let mut told = of(&seek.of);
                told["to"] = match seek.to_offset {
                    Some(offset) => offset.into(),
                    None if seek.to_beginning => "beginning".into(),
                    None => "end".into(),
                };
                told["skip_records"] = seek.skip_records.into();
                ("/seek", told)
            }
        };
        (path, told.to_string())
    }
}

/// Status code and body. Blocks its thread.
fn ask(address: &str, path: &str, token: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| std::io::Error::other("what answers is no admin server of ours"))?;
    Ok((code, body.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn told(line: &str) -> Option<(&'static str, Value)> {
        let line = Line::try_parse_from(format!("ctl {line}").split(' ')).ok()?;
        let (path, body) = line.flags.wish.told();
        Some((path, serde_json::from_str(&body).expect("JSON")))
    }

    #[test]
    fn what_is_sent_says_what_was_meant() {
        let of = |topic: Value, partition: Value, table: Value| json!({"topic": topic, "partition": partition, "table": table});
        assert_eq!(told("pause --topic t"), Some(("/pause", of("t".into(), Value::Null, Value::Null))));
        assert_eq!(told("resume --topic t --partition 3"), Some(("/resume", of("t".into(), 3.into(), Value::Null))));
        assert_eq!(told("pause --table users"), Some(("/pause", of(Value::Null, Value::Null, "users".into()))));
        let mut seek = of("t".into(), 3.into(), Value::Null);
        (seek["to"], seek["skip_records"]) = (17.into(), false.into());
        assert_eq!(told("seek --topic t --partition 3 --to-offset 17"), Some(("/seek", seek)));
        for unclear in [
            "pause",
            "pause --partition 3",
            "pause --topic t --table u",
            "pause --table u --partition 3",
            "seek --topic t",
            "seek --topic t --to-offset 17",
            "seek --topic t --to-end --to-beginning",
        ] {
            assert_eq!(told(unclear), None, "{unclear}");
        }
    }
}
