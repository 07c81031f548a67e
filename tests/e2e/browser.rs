//! The page in a headless Chromium: what a person would see has to be what happens.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;

use crate::admin::address;
use crate::inputs::CANARY;
use crate::inputs::events::{event, user};
use crate::process::Started;
use crate::relay::Relay;
use crate::stack::{REPOSITORY, Scenario, run, until};
use crate::topics::Raw;

/// Debian's name of it, then those of others.
const PROGRAMS: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// One tab, spoken to in Chromium's DevTools protocol over two pipes, so that no port is taken.
struct Browser {
    to: pipe::Sender,
    from: BufReader<pipe::Receiver>,
    calls: u64,
    session: Value,
    /// Every address that it asked, and what it complained of.
    asked: Vec<String>,
    errors: Vec<String>,
    _started: Arc<Started>,
}

impl Browser {
    async fn open(scenario: &Scenario, url: &str) -> Browser {
        let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        let program =
            PROGRAMS.into_iter().find(is_there).expect("Chromium is missing: make test gets it, or install it");
        let [to, from] = ["browser.in", "browser.out"].map(|name| scenario.dir.join(name));
        let mut fifos = Command::new("mkfifo");
        fifos.args([&to, &from]);
        assert!(run(fifos).await.status.success());
        // Both at once, or opening one would wait for the other end.
        let pipes = pipe::OpenOptions::new().read_write(true).clone();
        let (sender, receiver) = (pipes.open_sender(&to).unwrap(), pipes.open_receiver(&from).unwrap());
        // It reads from 3 and writes to 4. Root has no sandbox, and the machine need not have room in /dev/shm.
        let flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe";
        let script = format!("exec {program} {flags} --user-data-dir=browser 3<browser.in 4>browser.out");
        let started = scenario.program("browser", "sh").arg("-c").arg(script).start();
        let from = BufReader::new(receiver);
        let (asked, errors) = (Vec::new(), Vec::new());
        let mut browser =
            Browser { to: sender, from, calls: 0, session: Value::Null, asked, errors, _started: started };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await["targetId"].take();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
        browser.session = attached["sessionId"].clone();
        for part in ["Network.enable", "Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(part, json!({})).await;
        }
        browser.resize(1280, 1000).await;
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_null() {
            call["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{call}\0").as_bytes()).await.unwrap();
        loop {
            let mut told = Vec::new();
            let read = tokio::time::timeout(ANSWER_TIMEOUT, self.from.read_until(0, &mut told)).await;
            assert!(read.is_ok_and(|read| read.unwrap() > 0), "the browser does not answer {method}");
            let mut told: Value = serde_json::from_slice(&told[..told.len() - 1]).unwrap();
            if told["id"] == self.calls {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].take();
            }
            self.hear(&told);
        }
    }

    fn hear(&mut self, event: &Value) {
        let of = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => self.asked.push(of["request"]["url"].as_str().unwrap().into()),
            Some("Runtime.exceptionThrown") => self.errors.push(of["exceptionDetails"].to_string()),
            // What the process could not answer during an outage is shown by the page itself.
            Some("Log.entryAdded") if of["entry"]["level"] == "error" && of["entry"]["source"] != "network" => {
                self.errors.push(of["entry"]["text"].to_string());
            }
            Some(_) | None => {}
        }
    }

    /// The value of an expression in the page.
    async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let told = self.call("Runtime.evaluate", asked).await;
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds, as it is seen; nothing when it is not.
    async fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await;
        text.as_str().unwrap().into()
    }

    async fn until_text(&mut self, selector: &str, part: &str) {
        let what = format!("{selector} has {part:?}");
        until(&what, 60, async || self.text(selector).await.contains(part)).await;
    }

    /// A number of the page, without what is written between its digits.
    async fn number(&mut self, selector: &str) -> u64 {
        let digits: String = self.text(selector).await.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    async fn rows(&mut self, selector: &str) -> u64 {
        self.value(&format!("document.querySelectorAll({selector:?}).length")).await.as_u64().unwrap()
    }

    async fn press(&mut self, key: &str) {
        let text = if key.len() == 1 { key } else { "" };
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "key": key, "text": text })).await;
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key })).await;
    }

    async fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    async fn prefers(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// For the docs, when `WRITE_DOCS=1`.
    async fn picture(&mut self, name: &str) {
        if std::env::var_os("WRITE_DOCS").is_some() {
            let told = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
            let bytes = BASE64_STANDARD.decode(told["data"].as_str().unwrap()).unwrap();
            std::fs::write(Path::new(REPOSITORY).join("docs").join(name), bytes).unwrap();
        }
    }
}

/// About 300 users a second, for ever.
async fn make_users(scenario: &Scenario) {
    const PER_TURN: u64 = 30;
    let topic = scenario.topic("users");
    for turn in 100.. {
        let made = (0..PER_TURN).map(|at| event(&user(turn * PER_TURN + at, "somebody")));
        scenario.produce_all(&topic, &made.collect::<Vec<Raw>>()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const RATE: &str = "#charts figure:first-child strong";
const UPSERTS: &str = "#routes tr:last-child td:nth-child(4)";

/// 60 s. Under load, through an outage of Postgres and its end, with dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_happens_to_whoever_looks() {
    let scenario = Scenario::new("browser").await;
    let relay = Relay::before("127.0.0.1:5432").await;
    scenario.edit_config(|text| text.replace("127.0.0.1:5432", &relay.address));
    let started = scenario.consumer().start();
    let address = address(&started).await;
    let mut browser = Browser::open(&scenario, &format!("http://{address}/")).await;
    browser.until_text("#health", "Ready").await;
    assert_eq!(browser.text("h1 #binary").await, "consumer");

    tokio::select! {
        () = make_users(&scenario) => unreachable!(),
        () = load_and_an_outage(&mut browser, &relay) => {}
    }

    let topic = scenario.topic("users");
    let mut unknown = user(7, CANARY);
    unknown["event_type"] = "RENAME".into();
    let bad = [Raw::new("a", format!("{CANARY} no json")), Raw::new("b", "{"), event(&unknown)];
    scenario.produce_all(&topic, &bad.map(|raw| raw.to(0))).await;
    browser.until_text("#rejects", "not_json").await;
    browser.picture("page.png").await;
    dead_letters_are_filtered(&mut browser).await;
    keys_and_colours(&mut browser).await;
    assert!(browser.asked.len() > 10, "its requests are seen");
    let elsewhere: Vec<_> =
        browser.asked.iter().filter(|url| !url.starts_with(&format!("http://{address}/"))).collect();
    assert!(elsewhere.is_empty(), "it asks others: {elsewhere:?}");
    assert!(browser.errors.is_empty(), "{:?}", browser.errors);
    started.signal("TERM");
    assert_eq!(started.exit_code(25).await, 0);
    browser.until_text("#silent", "does not answer").await;
}

async fn load_and_an_outage(browser: &mut Browser, relay: &Relay) {
    until("the figures move", 60, async || {
        let before = browser.number(UPSERTS).await;
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        browser.number(UPSERTS).await > before && before > 0 && browser.number(RATE).await > 0
    })
    .await;
    assert!(browser.text("#changes").await.contains("users"), "the last changes are told");
    assert!(browser.rows("#rows tr").await == 8, "every partition is told");

    relay.cut();
    browser.until_text("#health", "Not ready").await;
    browser.until_text("#waits", "Postgres").await;
    until("the lag grows", 30, async || browser.number("#charts figure:nth-child(3) strong").await > 0).await;
    browser.picture("page-outage.png").await;
    relay.mend();
    browser.until_text("#health", "Ready").await;
    until("nothing is waited for", 30, async || browser.text("#waits").await.is_empty()).await;
}

async fn dead_letters_are_filtered(browser: &mut Browser) {
    browser.value("document.querySelector('#letters-ask').click()").await;
    until("all letters are told", 60, async || browser.rows("#letters tr").await == 3).await;
    browser.value("document.querySelector('#letters-filter').focus()").await;
    browser.type_text("not_json").await;
    until("two are of this reason", 10, async || browser.rows("#letters tr").await == 2).await;
    browser.type_text(" nowhere").await;
    until("none is of both", 10, async || browser.rows("#letters tr").await == 0).await;
    let whole = browser.value("document.documentElement.outerHTML").await;
    assert!(!whole.as_str().unwrap().contains(CANARY), "a value of a record is shown");
    browser.press("Escape").await;
}

async fn keys_and_colours(browser: &mut Browser) {
    browser.press("/").await;
    assert_eq!(browser.value("document.activeElement.id").await, "filter");
    browser.type_text("[2]").await;
    until("the partitions of this number", 10, async || browser.rows("#rows tr").await == 2).await;
    browser.press("Escape").await;
    browser.press("p").await;
    assert_eq!(browser.value("document.querySelector('#pause').getAttribute('aria-pressed')").await, "true");
    browser.press("p").await;
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).await;
        backs.push(browser.value("getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(backs[0], backs[1], "dark is another");
    browser.resize(400, 800).await;
    let wider = browser.value("document.documentElement.scrollWidth > window.innerWidth").await;
    assert_eq!(wider, false, "a narrow screen scrolls to the side");
}
