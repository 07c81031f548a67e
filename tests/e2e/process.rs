//! The real binaries as child processes. What they say goes to files, printed when the test fails.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::stack::{Scenario, until};

/// A binary about to be started.
pub struct Program<'s> {
    scenario: &'s Scenario,
    name: String,
    command: Command,
}

/// A binary that was started, and ends with its scenario at the latest.
pub struct Started {
    pub name: String,
    pub pid: u32,
    /// Standard error.
    pub log: PathBuf,
    /// Standard output.
    pub out: PathBuf,
    child: Mutex<Child>,
}

impl Scenario {
    /// `consumer` with this scenario's configuration.
    pub fn consumer(&self) -> Program<'_> {
        self.program("consumer", env!("CARGO_BIN_EXE_consumer")).arg("--config").arg("rowferry.toml")
    }

    /// `cdcconsumer` with this scenario's configuration.
    pub fn cdcconsumer(&self) -> Program<'_> {
        self.program("cdcconsumer", env!("CARGO_BIN_EXE_cdcconsumer")).arg("--config").arg("rowferry.toml")
    }

    /// `cdcconsumer` to the end that the topics have now; it must succeed.
    pub async fn cdcconsumer_to_the_end(&self) -> Arc<Started> {
        let started = self.cdcconsumer().arg("--exit-when-caught-up").start();
        assert_eq!(started.exit_code(60).await, 0, "cdcconsumer --exit-when-caught-up");
        started
    }

    /// `consumer` to the end that the topics have now; it must succeed.
    pub async fn consumer_to_the_end(&self) -> Arc<Started> {
        let started = self.consumer().arg("--exit-when-caught-up").start();
        assert_eq!(started.exit_code(60).await, 0, "consumer --exit-when-caught-up");
        started
    }

    /// Any binary, working in the scenario's folder, with nothing of ours in its environment.
    pub fn program(&self, name: &str, path: &str) -> Program<'_> {
        let mut command = Command::new(path);
        command.current_dir(&self.dir).stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ROWFERRY_") {
                command.env_remove(variable);
            }
        }
        command.env("NO_COLOR", "1");
        Program { scenario: self, name: name.into(), command }
    }
}

impl Program<'_> {
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// `--set section.key=value`
    pub fn set(self, setting: &str) -> Self {
        self.arg("--set").arg(setting)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Works in the repository's folder in place of the scenario's.
    pub fn in_repository(mut self) -> Self {
        self.command.current_dir(crate::stack::REPOSITORY);
        self
    }

    pub fn start(mut self) -> Arc<Started> {
        let mut all = self.scenario.started.lock().unwrap();
        let file = |kind: &str| self.scenario.dir.join(format!("{}-{}.{kind}", all.len(), self.name));
        let (log, out) = (file("log"), file("out"));
        self.command.stderr(File::create(&log).unwrap()).stdout(File::create(&out).unwrap());
        let child = self.command.spawn().unwrap();
        let started = Arc::new(Started { name: self.name, pid: child.id(), log, out, child: Mutex::new(child) });
        all.push(started.clone());
        started
    }
}

impl Started {
    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Everything that it printed so far.
    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Sends a signal by its name: KILL, TERM, INT, STOP, CONT.
    pub fn signal(&self, name: &str) {
        assert!(self.signal_unless_ended(name), "{} has ended before {name} could be sent", self.name);
    }

    /// False when it has ended.
    pub fn signal_unless_ended(&self, name: &str) -> bool {
        // As long as the child was not waited for, its number belongs to nobody else.
        let mut child = self.child.lock().unwrap();
        let is_running = child.try_wait().unwrap().is_none();
        if is_running {
            let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().unwrap();
            assert!(sent.success());
        }
        is_running
    }

    pub fn status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// Waits for its end.
    pub async fn ended(&self, seconds_max: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds_max);
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} has not ended within {seconds_max} s", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for its end, which must not be by a signal.
    pub async fn exit_code(&self, seconds_max: u64) -> i32 {
        let status = self.ended(seconds_max).await;
        status.code().unwrap_or_else(|| panic!("{} ended by a signal: {status}", self.name))
    }

    /// Waits until it logs this.
    pub async fn logs(&self, text: &str, seconds_max: u64) {
        until(&format!("{} logs \"{text}\"", self.name), seconds_max, async || {
            let found = self.log().contains(text);
            assert!(found || self.is_running(), "{} ended without logging \"{text}\"", self.name);
            found
        })
        .await;
    }

    /// Memory in use (VmRSS), in bytes.
    pub fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Ends it at once, whatever state it is in.
    pub fn end(&self) {
        // Also when a test failed that held it: a second panic would end the whole binary.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
