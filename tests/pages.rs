//! The pages of docs/ and the README: every link leads somewhere, and every page has its place in the book.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs is there");
    let paths = docs.map(|entry| entry.expect("an entry").path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    paths.filter(is_page).chain([Path::new(ROOT).join("README.md")]).collect()
}

/// A page without its fenced blocks, which are no text.
fn text(page: &Path) -> String {
    let whole = fs::read_to_string(page).expect("a page can be read");
    let mut inside = false;
    let outside = whole.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What stands between `](` and `)`.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_string())).collect()
}

/// A heading's anchor as GitHub and mdbook make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn has_anchor(page: &Path, asked: &str) -> bool {
    text(page)
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#').trim()) == asked)
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut looked_at = 0;
    for page in pages() {
        for link in links(&text(&page)).iter().filter(|link| !link.contains("://")) {
            looked_at += 1;
            let (file, asked) = link.split_once('#').map_or((link.as_str(), None), |(file, asked)| (file, Some(asked)));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            if !target.exists() || asked.is_some_and(|asked| !has_anchor(&target, asked)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(looked_at > 40, "links are written in another way: only {looked_at} were found");
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_book_has_every_page_once() {
    let listed = links(&text(&Path::new(ROOT).join("docs/SUMMARY.md")));
    let once: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(once.len(), listed.len(), "a page stands twice in docs/SUMMARY.md");
    let of_docs = pages().into_iter().filter(|page| page.parent().is_some_and(|folder| folder.ends_with("docs")));
    let names = of_docs.filter_map(|page| Some(page.file_name()?.to_str()?.to_string()));
    let missing: Vec<String> = names.filter(|name| name != "SUMMARY.md" && !once.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md has no {}", missing.join(", "));
}

#[test]
fn anchors_are_those_of_the_headings() {
    assert_eq!(anchor("What refusals mean"), "what-refusals-mean");
    assert_eq!(anchor("`[kafka]` and more"), "kafka-and-more");
}
