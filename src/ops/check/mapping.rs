//! A route as a person reads it: each column with both types, what is checked of its values, and what is lost.

use std::fmt::Write as _;

use crate::plan::convert::{Fit, fit};
use crate::plan::feed::Feed;
use crate::plan::route::{RouteSpec, Routes, Topic};
use crate::row::Field;
use crate::row::wire::Wire;

/// The key, and one line for each column of the target. `wires` is what the topic's records say themselves.
pub fn mapping(spec: &RouteSpec, routes: &Routes, at: usize, wires: Option<&[Option<Wire>]>) -> String {
    let route = &routes.routes[at];
    let mut text = String::new();
    let key: Vec<&str> = route.key.iter().map(|at| route.columns[*at].name.as_str()).collect();
    let moves = if route.moves { "; rows move when it changes" } else { "" };
    // Writing to a String never fails.
    let _ = writeln!(text, "  key        {}{moves}", key.join(", "));
    let widest = route.columns.iter().map(|column| name(&column.name).chars().count()).max().unwrap_or_default();
    let topic = routes.topic(&route.topic);
    for (number, column) in route.columns.iter().enumerate() {
        let heading = if number == 0 { "columns" } else { "" };
        let told = column.feed.field().and_then(|at| wires?.get(at)?.as_ref());
        let wire = told.or_else(|| column.feed.wire(&topic?.shape));
        let from = feed_told(spec, topic, &column.feed, wire);
        let verdict = wire.map(|wire| fit(wire, &column.kind));
        let verdict = match verdict {
            None | Some(Fit::Exact) => String::new(),
            Some(Fit::Checked(what) | Fit::Never(what)) => format!(": {what}"),
            Some(Fit::Lossy(what)) if column.policy.lossy => format!(": {what}, which the route allows"),
            Some(Fit::Lossy(what)) => format!(": {what}"),
        };
        let _ = writeln!(text, "  {heading:<10} {:<widest$} {} ← {from}{verdict}", name(&column.name), column.kind);
    }
    if let Some(guard) = &route.guard {
        let (column, deletes) = (name(&guard.column), name(&guard.deletes_table));
        let kept = guard.deletes_ttl_seconds;
        let _ = writeln!(text, "  guard      {column} ← the source's position; of deletes in {deletes}, for {kept} s");
    }
    text
}

/// What feeds a column, and how that stands on the wire.
fn feed_told(spec: &RouteSpec, topic: Option<&Topic>, feed: &Feed, wire: Option<&Wire>) -> String {
    let as_sent = wire.map_or_else(|| "of a type that records say themselves".into(), Wire::to_string);
    let field = |fields: &[Field], at: usize| fields.get(at).map_or(String::new(), |field| field.name.clone());
    match feed {
        Feed::Constant(_) => "a constant".into(),
        Feed::Header(header) => format!("header \"{header}\", sent as {as_sent}"),
        Feed::Source(at) => {
            format!("source.{}, sent as {as_sent}", field(topic.map_or(&[], |topic| &topic.shape.source), *at))
        }
        Feed::Field(at) => {
            let source = field(topic.map_or(&[], |topic| &topic.shape.fields), *at);
            let pg_type = spec.types.get(&source).map(String::as_str);
            match pg_type.or_else(|| Some(spec.source.as_ref()?.column(&source)?.pg_type.as_str())) {
                Some(pg_type) => format!("{} {pg_type}, sent as {as_sent}", name(&source)),
                None => format!("{} {as_sent}", name(&source)),
            }
        }
    }
}

fn name(column: &str) -> String {
    if column.contains(' ') { format!("\"{column}\"") } else { column.into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::convert::Policy;
    use crate::plan::route::{RewindGuard, TargetTable};
    use crate::row::{Column, Kind};

    #[test]
    fn both_types_checks_and_losses_are_told() {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = vec![
            column("Place Id", Kind::Text),
            column("id", Kind::Int32),
            column("at", Kind::TimestampMillis),
            column("n", Kind::Decimal),
            column("s", Kind::Text),
        ];
        let key = vec!["Place Id".to_string(), "id".to_string()];
        let tables = BTreeMap::from([("a".to_string(), TargetTable { name: "a".into(), columns, key })]);
        let types = [("place", "text"), ("id", "int"), ("at", "timestamptz"), ("n", "numeric"), ("s", "enum")];
        let mut spec = RouteSpec::new("t", "a", &["id"]).typed(&types);
        spec.renamed.insert("Place Id".into(), "place".into());
        spec.policies.insert("at".into(), Policy { lossy: true, ..Policy::default() });
        let mut routes = Routes::resolve(std::slice::from_ref(&spec), &tables).expect("a route");
        let (column, deletes_table) = ("position".into(), "gone".into());
        routes.routes[0].guard = Some(RewindGuard { column, deletes_table, deletes_ttl_seconds: 60 });
        insta::assert_snapshot!(mapping(&spec, &routes, 0, None), @r#"
          key        Place Id, id; rows move when it changes
          columns    "Place Id" text ← place text, sent as text
                     id         int32 ← id int, sent as int32
                     at         timestamp in milliseconds ← at timestamptz, sent as timestamp: loses microseconds, which the route allows
                     n          decimal ← n numeric, sent as decimal with its scale
                     s          text ← s enum, sent as text
          guard      position ← the source's position; of deletes in gone, for 60 s
        "#);
    }
}
