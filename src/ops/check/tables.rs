//! Findings about target tables: our rights, how long deletes are remembered, whose rows they hold.

use super::{Facts, Findings, Millis};

pub fn judge(facts: &Facts<'_>, findings: &mut Findings) {
    let mut tables: Vec<&str> = facts.routes.routes.iter().map(|route| route.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    for table in tables {
        judge_owners(facts, table, findings);
        let Some(told) = facts.tables.get(table) else { continue };
        if told.may_write == Some(false) {
            findings.problem(format!(
                "table \"{table}\" may not be written: GRANT MODIFY on it to the role that [sink.cassandra] names"
            ));
        }
        if told.may_read == Some(false) {
            findings.warning(format!(
                "table \"{table}\" may not be read, which `cdcconsumer verify` has to: GRANT SELECT on it to the role \
                 that [sink.cassandra] names"
            ));
        }
        if let Some(seconds) = told.ttl_seconds.filter(|seconds| *seconds > 0) {
            findings.warning(format!(
                "table \"{table}\" has default_time_to_live={seconds}: its rows vanish after that time although the \
                 source has them; set it to 0, unless that is meant"
            ));
        }
        judge_grace(facts, table, told.gc_grace_seconds, findings);
    }
    judge_guards(facts, findings);
}

/// V6: a guarded route reads its table and that of its deletes, and writes both.
fn judge_guards(facts: &Facts<'_>, findings: &mut Findings) {
    for route in &facts.routes.routes {
        let Some(guard) = &route.guard else { continue };
        for table in [&route.table, &guard.deletes_table] {
            let Some(told) = facts.tables.get(table) else { continue };
            if told.may_read == Some(false) {
                findings.problem(format!(
                    "route {}: its `rewind_guard` reads table \"{table}\", which may not be read: GRANT SELECT on it to \
                     the role that [sink.cassandra] names",
                    route.name()
                ));
            }
            if told.may_write == Some(false) && table == &guard.deletes_table {
                findings.problem(format!(
                    "route {}: its `rewind_guard` writes table \"{table}\", which may not be written: GRANT MODIFY on it \
                     to the role that [sink.cassandra] names",
                    route.name()
                ));
            }
        }
    }
}

/// C6: a delete that the table has forgotten cannot stop an older record that is read again.
fn judge_grace(facts: &Facts<'_>, table: &str, gc_grace_seconds: Option<i32>, findings: &mut Findings) {
    let Some(grace_ms) = gc_grace_seconds.map(|seconds| i64::from(seconds) * 1000) else { return };
    for topic in &facts.kafka.topics {
        let feeds = facts.routes.routes.iter().any(|route| route.table == table && route.topic == topic.name);
        let Some(settings) = topic.settings.as_ref().filter(|_| feeds) else { continue };
        let kept = match settings.retention_ms {
            Some(ms) if ms <= grace_ms && settings.cleanup_policy.contains("delete") => continue,
            Some(ms) if settings.cleanup_policy.contains("delete") => Millis(ms).to_string(),
            Some(_) | None => "for ever".into(),
        };
        findings.warning(format!(
            "table \"{table}\" remembers deletes for {} (gc_grace_seconds={}), and topic {} keeps records {kept}: when \
             older records are read again, rows that were deleted come back until their delete is read again too; \
             raise gc_grace_seconds above the topic's retention, or do not go back further than it",
            Millis(grace_ms),
            grace_ms / 1000,
            topic.name
        ));
    }
}

/// C10: one writer for each table, as far as this configuration shows it.
fn judge_owners(facts: &Facts<'_>, table: &str, findings: &mut Findings) {
    let routes: Vec<_> = facts.routes.routes.iter().filter(|route| route.table == table).collect();
    let Some((first, others)) = routes.split_first() else { return };
    if others.is_empty() {
        return;
    }
    let topics: Vec<&str> = routes.iter().map(|route| route.topic.as_str()).collect();
    let key = |name: &str| first.key.iter().any(|at| first.columns[*at].name == name);
    let is_shared =
        |name: &str| !key(name) && others.iter().any(|route| route.columns.iter().any(|column| column.name == name));
    let shared: Vec<&str> =
        first.columns.iter().map(|column| column.name.as_str()).filter(|name| is_shared(name)).collect();
    findings.warning(if shared.is_empty() {
        format!(
            "table \"{table}\" is fed by several routes ({}): a delete that comes by one of them removes the whole \
             row; keep it so only if no more than one of them deletes rows, or give each a table of its own",
            topics.join(", ")
        )
    } else {
        format!(
            "table \"{table}\" is fed by several routes ({}), which write the same columns ({}): where two of them \
             have a row with the same key, each write and delete hits the other's row; give each a table of its own",
            topics.join(", "),
            shared.join(", ")
        )
    });
}
