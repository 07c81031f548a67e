//! The real binaries with a configuration of their own, and what they said.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const CONSUMER: &str = env!("CARGO_BIN_EXE_consumer");
pub const CDCCONSUMER: &str = env!("CARGO_BIN_EXE_cdcconsumer");
pub const PRODUCER: &str = env!("CARGO_BIN_EXE_producer");

/// How it ended, and all that it said. The code is `None` when it had to be ended.
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
}

/// Runs it until it ends, says `until`, or the time is over.
pub fn run(dir: &Path, program: &str, config: &str, flags: &[&str], until: Option<&str>) -> Ended {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let place = dir.join("runs");
    fs::create_dir_all(&place).unwrap();
    let file = |kind: &str| place.join(format!("{number}.{kind}"));
    fs::write(file("toml"), config).unwrap();
    let mut command = Command::new(program);
    command.current_dir(&place).stdin(Stdio::null()).arg("--config").arg(file("toml")).args(flags);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("ROWFERRY_") || name.starts_with("PG") {
            command.env_remove(&variable);
        }
    }
    let log = || File::options().create(true).append(true).open(file("log")).unwrap();
    command.env("NO_COLOR", "1").stdout(log()).stderr(log());
    wait(command.spawn().unwrap(), &file("log"), until)
}

fn wait(mut child: Child, log: &PathBuf, until: Option<&str>) -> Ended {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
        if let Some(status) = child.try_wait().unwrap() {
            let said = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
            return Ended { code: status.code(), said };
        }
        if until.is_some_and(|words| said.contains(words)) || Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return Ended { code: None, said };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
