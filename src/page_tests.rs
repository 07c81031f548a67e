//! Tests only: pages of docs/ that are made from the code are what the code says.

use std::fs;

/// Asserts that the page has this text between its two marks; with WRITE_DOCS in the environment, writes it there.
pub fn expect_between(path: &str, begin: &str, end: &str, made: &str) {
    let page = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (before, rest) = page.split_once(begin).expect("the page has the place where it begins");
    let (_, after) = rest.split_once(end).expect("the page has the place where it ends");
    let made = format!("{before}{begin}{made}{end}{after}");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, &made).unwrap_or_else(|error| panic!("{path}: {error}"));
    } else {
        assert!(page == made, "{path} is not what the code does: WRITE_DOCS=1 cargo test --lib page_tests");
    }
}
