//! The examples of docs/modeling.md: every route is read by the real configuration code, and resolved against the CQL and
//! the SQL that stand beside it.

#![allow(clippy::unwrap_used)] // A test that meets an error is a test that fails.

use std::collections::BTreeMap;
use std::path::Path;

use rowferry::ops::config::pattern::expanded;
use rowferry::ops::config::routes::{Debezium, Route};
use rowferry::plan::route::{RouteSpec, Routes, TargetTable};
use rowferry::plan::source::{SourceFact, SourceFacts};
use rowferry::row::{Column, Kind};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    routes: Vec<Route>,
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/modeling.md")).unwrap()
}

/// The blocks of code of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

/// A CREATE TABLE: columns stand with their types.
struct Written {
    name: String,
    columns: Vec<(String, String)>,
    key: Vec<String>,
}

/// Every CREATE TABLE in a text.
fn tables(text: &str) -> Vec<Written> {
    let table = |statement: &str| -> Written {
        let (name, rest) = statement.split_once('(').unwrap();
        let body = &rest[..matching(rest)];
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for part in parts(body) {
            if let Some(of_key) = part.strip_prefix("PRIMARY KEY") {
                let names = of_key.split(['(', ')', ',']).map(str::trim).filter(|name| !name.is_empty());
                key = names.map(String::from).collect();
                continue;
            }
            let (name, kind) = part.split_once(' ').unwrap();
            if kind.ends_with(" PRIMARY KEY") {
                key = vec![name.to_string()];
            }
            let kind = kind.replace(" PRIMARY KEY", "").replace(" NOT NULL", "");
            columns.push((name.to_string(), kind));
        }
        Written { name: name.trim().into(), columns, key }
    };
    text.split("CREATE TABLE ").skip(1).map(table).collect()
}

/// Where the parenthesis that is open closes.
fn matching(text: &str) -> usize {
    let mut depth = 1;
    let close = |(_, c): &(usize, char)| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    };
    text.char_indices().find(close).unwrap().0
}

/// The parts between commas that stand in no parentheses.
fn parts(body: &str) -> Vec<String> {
    let mut depth = 0;
    let separated = body.chars().map(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 { '\u{1}' } else { c }
    });
    let separated: String = separated.collect();
    separated.split('\u{1}').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn kind(cql: &str) -> Kind {
    match cql {
        "uuid" => Kind::Uuid,
        "text" => Kind::Text,
        "bigint" => Kind::Int64,
        "decimal" => Kind::Decimal,
        "boolean" => Kind::Bool,
        "date" => Kind::Date,
        "timestamp" => Kind::TimestampMillis,
        other => panic!("no example has had a {other} yet"),
    }
}

fn targets(page: &str) -> BTreeMap<String, TargetTable> {
    let all = tables(&blocks(page, "cql").join("\n"));
    let target = |Written { name, columns, key }| {
        let columns = columns.into_iter().map(|(name, cql)| Column { name, kind: kind(&cql) }).collect();
        (name.clone(), TargetTable { name, columns, key })
    };
    all.into_iter().map(target).collect()
}

fn facts(page: &str, table: &str) -> SourceFacts {
    let sql = blocks(page, "sql").join("\n");
    let all = tables(&sql);
    let Written { name, columns, key } = all.into_iter().find(|written| written.name == table).unwrap();
    let fact = |(name, pg_type): (String, String)| {
        let out_of_line = pg_type == "text";
        SourceFact { name, pg_type, null_or_default: false, out_of_line }
    };
    let full_identity = sql.contains(&format!("ALTER TABLE {name} REPLICA IDENTITY FULL"));
    SourceFacts { table: name, columns: columns.into_iter().map(fact).collect(), key, full_identity }
}

fn specs(page: &str) -> Vec<RouteSpec> {
    let read = |block: String| -> Vec<Route> {
        let example: Example = toml::from_str(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let problems: Vec<String> = example.routes.iter().flat_map(Route::problems).collect();
        assert!(problems.is_empty(), "{problems:?}\n{block}");
        example.routes
    };
    let written: Vec<Route> = blocks(page, "toml").into_iter().flat_map(read).collect();
    let routes = expanded(&written, &["shop.public.notes_2026".into()]).into_iter();
    let spec = |route: Route| {
        let source = facts(page, route.source_table.as_deref().unwrap());
        RouteSpec { source: Some(source), ..route.spec(&Debezium::default()) }
    };
    routes.map(spec).collect()
}

#[test]
fn every_route_of_the_page_fits_its_table() {
    let page = page();
    let (targets, specs) = (targets(&page), specs(&page));
    assert_eq!(specs.len(), targets.len(), "one table for each route");
    // Each by itself, as the page shows them, and those of one topic together.
    for spec in &specs {
        let problems = Routes::resolve(std::slice::from_ref(spec), &targets).err().unwrap_or_default();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
    let orders: Vec<RouteSpec> = specs.into_iter().filter(|spec| spec.topic == "shop.public.orders").collect();
    let routes = Routes::resolve(&orders, &targets).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let moving: Vec<&str> =
        routes.routes.iter().filter(|route| route.moves).map(|route| route.table.as_str()).collect();
    assert_eq!(moving, ["orders_by_user", "orders_by_day", "open_orders_by_user"]);
}

#[test]
fn rows_that_move_need_what_the_page_says() {
    let page = page();
    let mut spec = specs(&page).into_iter().find(|spec| spec.table == "orders_by_user").unwrap();
    spec.source.as_mut().unwrap().full_identity = false;
    let problems = Routes::resolve(&[spec], &targets(&page)).unwrap_err().join("\n");
    assert!(problems.contains("REPLICA IDENTITY FULL"), "{problems}");
}
