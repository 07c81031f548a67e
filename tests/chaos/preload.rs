//! Small libraries in C that stand between a binary and its system: they lie about one thing and are built here.

use std::path::PathBuf;
use std::process::Command;

use crate::stack::{REPOSITORY, Scenario, run};

/// `tests/chaos/NAME.c`, ready to be named in LD_PRELOAD.
pub async fn build(scenario: &Scenario, name: &str) -> PathBuf {
    let library = scenario.dir.join(format!("{name}.so"));
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library);
    compile.arg(format!("{REPOSITORY}/tests/chaos/{name}.c")).arg("-ldl");
    let output = run(compile).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
