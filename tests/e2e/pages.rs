//! The commands of docs/tutorial.md and README.md, run as they stand there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stack::{REPOSITORY, Scenario, until};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(name)).unwrap()
}

/// The fenced blocks of a language, in their order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split_once("\n```").unwrap().0.to_string()).collect()
}

/// Where the scripts of the stack are: in this checkout, or in the one whose servers are used.
fn stack() -> PathBuf {
    match std::env::var_os("E2E_STACK_SERVER") {
        Some(server) => Path::new(&server).parent().unwrap().into(),
        None => Path::new(REPOSITORY).join("stack"),
    }
}

/// What is there already when a test runs.
const PREPARED: [&str; 3] = ["make up", "cargo build", "PATH=$PWD/target/debug:$PATH"];

/// A page's commands for a scenario: they work in its folder, with its names in the place of the page's.
fn script(scenario: &Scenario, page: &str, name: &str) -> String {
    let lines: Vec<String> = blocks(page, "sh").iter().flat_map(|block| block.lines()).map(str::to_string).collect();
    for prepared in PREPARED {
        assert!(lines.iter().any(|line| line == prepared), "the page has no `{prepared}` any more");
    }
    let left: Vec<String> = lines.into_iter().filter(|line| !PREPARED.contains(&line.as_str())).collect();
    let binaries = Path::new(env!("CARGO_BIN_EXE_cdcconsumer")).parent().unwrap();
    let stack = format!("{}/", stack().display());
    let script = left.join("\n").replace(name, &scenario.id).replace("stack/", &stack);
    let script = script.replace("./debezium-config.sh", &format!("{REPOSITORY}/debezium-config.sh"));
    format!("set -eu -o pipefail\nPATH={}:$PATH\n{script}\n", binaries.display())
}

/// Whether some line has all parts of this one, between its `…`, in their order. Blanks count once.
fn is_told(told: &[String], line: &str) -> bool {
    let has = |whole: &String| {
        let mut rest = whole.as_str();
        line.split('…').all(|part| match rest.split_once(part.trim()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    };
    told.iter().any(has)
}

fn single_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// 90 s. The tutorial from its table to its end, and what it says that one sees.
#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_does_what_it_says() {
    let scenario = Scenario::new("tutorial").await;
    scenario.expect_connector();
    scenario.expect_topic(&scenario.topic("public.books"));
    let tutorial = page("docs/tutorial.md");
    let path = scenario.dir.join("tutorial.sh");
    fs::write(&path, script(&scenario, &tutorial, "bookshop")).unwrap();
    let run = scenario.program("tutorial", "bash").arg(&path).start();
    let code = run.exit_code(400).await;
    let whole = format!("{}\n{}", run.out(), run.log());
    assert_eq!(code, 0, "{whole}");
    let told: Vec<String> = whole.lines().map(single_spaced).collect();
    let shown = blocks(&tutorial, "text").join("\n").replace("bookshop", &scenario.id);
    for line in shown.lines().map(single_spaced).filter(|line| !line.is_empty()) {
        assert!(is_told(&told, &line), "the tutorial shows a line that did not come: {line}\nin: {whole}");
    }
}

/// Commands of the README that no test runs, and why.
const ELSEWHERE: [&str; 2] = [
    // It empties the demo's tables, which no test touches.
    "make demo",
    // It runs this.
    "make test",
];

/// 40 s. The three binaries as the README starts them, on a scenario's names.
#[tokio::test(flavor = "multi_thread")]
async fn the_binaries_run_as_the_readme_starts_them() {
    let scenario = Scenario::new("readme").await;
    scenario.start_debezium().await;
    let readme = page("README.md");
    let commands: Vec<String> =
        blocks(&readme, "sh").iter().flat_map(|block| block.lines()).map(str::to_string).collect();
    let commands = commands.iter().map(|line| line.split('#').next().unwrap_or_default().trim());
    let commands: Vec<&str> = commands.filter(|command| !command.is_empty() && !ELSEWHERE.contains(command)).collect();
    let binaries: Vec<&str> =
        commands.iter().map(|command| command.strip_prefix("cargo run --bin ").expect(command)).collect();
    assert_eq!(binaries, ["producer", "consumer", "cdcconsumer"]);

    let producer = crate::path::producer(&scenario).start();
    assert_eq!(producer.exit_code(60).await, 0);
    let consumer = scenario.program("consumer", env!("CARGO_BIN_EXE_consumer")).start();
    let cdcconsumer = scenario.program("cdcconsumer", env!("CARGO_BIN_EXE_cdcconsumer")).start();
    until("rows arrive", 60, async || !scenario.cassandra_rows("orders").await.is_empty()).await;
    for started in [consumer, cdcconsumer] {
        started.signal("TERM");
        assert_eq!(started.exit_code(25).await, 0);
    }
}

/// 1 s. Each command that the README names between backquotes is there.
#[test]
fn the_commands_that_the_readme_names_are_there() {
    let readme = page("README.md");
    let named = readme.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("cdcconsumer "));
    let commands: Vec<Vec<&str>> = named
        .map(|command| {
            command.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect()
        })
        .collect();
    assert!(commands.len() > 6, "the README names them in another way: {commands:?}");
    for command in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_cdcconsumer")).args(&command).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// 1 s.
#[test]
fn a_line_is_found_by_its_parts_in_their_order() {
    let told = ["a written @17 by t:0:3".to_string()];
    assert!(is_told(&told, "written @… by t:…") && is_told(&told, "a written"));
    assert!(!is_told(&told, "by … written") && !is_told(&told, "written @18 …"));
}
