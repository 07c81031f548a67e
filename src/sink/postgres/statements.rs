//! The statements of one table: their text, made once, and their running. Rows go as one array for each column, so
//! that a text does not depend on how many they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::row::{Column, Kind, Value};
use crate::sink::postgres::apply::{Current, Key, pick};
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::schema::{Parent, TablePlan};
use crate::sink::postgres::types::{bind_array, quote, quote_table, read_row, select_list, unnest};

/// Everything that is sent for a table. Identifiers are quoted by us, values are always bound: that is what the
/// `AssertSqlSafe`s below rely on.
pub struct Statements {
    columns: Vec<Column>,
    key: Vec<usize>,
    /// Columns that may be left out of an INSERT for their default to count.
    defaulted: Vec<usize>,
    table: String,
    flag: String,
    read: Arc<str>,
    update: Arc<str>,
    parents: Vec<ParentStatement>,
}

struct ParentStatement {
    columns: Vec<usize>,
    lock: Arc<str>,
}

impl Statements {
    pub fn new(plan: &TablePlan) -> Statements {
        let columns: Vec<Column> =
            plan.columns.iter().map(|column| Column { name: column.name.clone(), kind: column.kind.clone() }).collect();
        let defaulted = (0..columns.len()).filter(|at| plan.columns[*at].has_default).collect();
        let parents = plan
            .parents
            .iter()
            .map(|parent| ParentStatement { columns: parent.columns.clone(), lock: lock_parents(plan, parent).into() });
        Statements {
            key: plan.key.clone(),
            defaulted,
            table: quote_table(&plan.name),
            flag: quote(&plan.flag),
            read: read(plan).into(),
            update: update(plan).into(),
            parents: parents.collect(),
            columns,
        }
    }

    /// Locks the rows that foreign key number `parent` of these rows refers to, both those `named` by the batch and
    /// those that the rows with these `keys` have now, and returns the named and the present ones that exist.
    ///
    /// FOR SHARE, in key order and before the rows themselves: a transaction that changes a parent locks it first and
    /// may reach its children through triggers, so both take their locks in one order and rarely deadlock.
    pub async fn lock_parents(
        &self,
        connection: &mut PgConnection,
        parent: usize,
        named: &[Key],
        keys: &[Key],
    ) -> Result<Vec<Key>, Fault> {
        let parent = &self.parents[parent];
        let mut arguments = PgArguments::default();
        bind_keys(&mut arguments, self.kinds(&parent.columns), named)?;
        bind_keys(&mut arguments, self.kinds(&self.key), keys)?;
        let rows = fetch(connection, parent.lock.clone(), arguments).await?;
        let columns: Vec<Column> = parent.columns.iter().map(|at| self.columns[*at].clone()).collect();
        rows.iter().map(|row| read_row(row, &columns, 0)).collect()
    }

    /// The rows with these keys, locked FOR UPDATE in key order.
    pub async fn lock_rows(&self, connection: &mut PgConnection, keys: &[Key]) -> Result<HashMap<Key, Current>, Fault> {
        let mut arguments = PgArguments::default();
        bind_keys(&mut arguments, self.kinds(&self.key), keys)?;
        let rows = fetch(connection, self.read.clone(), arguments).await?;
        rows.iter()
            .map(|row| {
                let values = read_row(row, &self.columns, 0)?;
                let deleted = row.try_get(self.columns.len()).map_err(Fault::from)?;
                Ok((pick(&values, &self.key), Current { values, deleted }))
            })
            .collect()
    }

    /// Inserts rows, and returns how many: fewer when one of them is there already.
    pub async fn insert(&self, connection: &mut PgConnection, rows: &[Current]) -> Result<u64, Fault> {
        // A column that no record sent gets its default only by not being named: one statement for each such set.
        let mut by_omitted: BTreeMap<Vec<usize>, Vec<&Current>> = BTreeMap::new();
        for row in rows {
            let omitted = self.defaulted.iter().copied().filter(|at| !row.values[*at].is_sent()).collect();
            by_omitted.entry(omitted).or_default().push(row);
        }
        let mut inserted = 0;
        for (omitted, rows) in by_omitted {
            let sent: Vec<usize> = (0..self.columns.len()).filter(|at| !omitted.contains(at)).collect();
            let arguments = self.bind_rows(&sent, &rows)?;
            inserted += execute(connection, self.insert_text(&sent).into(), arguments).await?;
        }
        Ok(inserted)
    }

    /// Updates rows by their keys, and returns how many.
    pub async fn update(&self, connection: &mut PgConnection, rows: &[Current]) -> Result<u64, Fault> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let arguments = self.bind_rows(&all, &rows.iter().collect::<Vec<_>>())?;
        execute(connection, self.update.clone(), arguments).await
    }

    fn kinds(&self, at: &[usize]) -> Vec<&Kind> {
        at.iter().map(|at| &self.columns[*at].kind).collect()
    }

    /// The columns at `sent`, then the flag.
    fn bind_rows(&self, sent: &[usize], rows: &[&Current]) -> Result<PgArguments, Fault> {
        let mut arguments = PgArguments::default();
        for at in sent {
            bind_array(&mut arguments, &self.columns[*at].kind, rows.iter().map(|row| &row.values[*at]))?;
        }
        let flags: Vec<Value> = rows.iter().map(|row| Value::Bool(row.deleted)).collect();
        bind_array(&mut arguments, &Kind::Bool, flags.iter())?;
        Ok(arguments)
    }

    /// Only the primary key may already be there: another unique constraint is the row's own fault, and must be said.
    fn insert_text(&self, sent: &[usize]) -> String {
        let mut names: Vec<String> = sent.iter().map(|at| quote(&self.columns[*at].name)).collect();
        names.push(self.flag.clone());
        let kinds = self.kinds(sent).into_iter().chain([&Kind::Bool]);
        let key: Vec<String> = self.key.iter().map(|at| quote(&self.columns[*at].name)).collect();
        format!(
            "INSERT INTO {} ({}) SELECT * FROM {} ON CONFLICT ({}) DO NOTHING",
            self.table,
            names.join(", "),
            unnest(kinds, 1, "u"),
            key.join(", ")
        )
    }
}

/// `t."id" = k.k0 AND …` for these columns of the plan.
fn matches_key(plan: &TablePlan, at: &[usize], alias: &str) -> String {
    let pairs: Vec<String> = at
        .iter()
        .enumerate()
        .map(|(place, at)| format!("t.{} = {alias}.{alias}{place}", quote(&plan.columns[*at].name)))
        .collect();
    pairs.join(" AND ")
}

fn key_kinds(plan: &TablePlan) -> impl Iterator<Item = &Kind> {
    plan.key.iter().map(|at| &plan.columns[*at].kind)
}

fn read(plan: &TablePlan) -> String {
    let columns = plan.columns.iter().map(|column| (column.name.as_str(), &column.kind));
    let order: Vec<String> = plan.key.iter().map(|at| format!("t.{}", quote(&plan.columns[*at].name))).collect();
    format!(
        "SELECT {}, coalesce(t.{}, false) FROM {} AS t JOIN {} ON {} ORDER BY {} FOR UPDATE OF t",
        select_list(columns, "t"),
        quote(&plan.flag),
        quote_table(&plan.name),
        unnest(key_kinds(plan), 1, "k"),
        matches_key(plan, &plan.key, "k"),
        order.join(", ")
    )
}

/// Sets every column but the key, from rows that were read under a lock in this transaction: a column that did not
/// change is written as it is. The flag is only ever set.
fn update(plan: &TablePlan) -> String {
    let kinds = plan.columns.iter().map(|column| &column.kind).chain([&Kind::Bool]);
    let mut sets: Vec<String> = plan
        .columns
        .iter()
        .enumerate()
        .filter(|(at, _)| !plan.key.contains(at))
        .map(|(at, column)| format!("{} = u.u{at}", quote(&column.name)))
        .collect();
    let flag = quote(&plan.flag);
    sets.push(format!("{flag} = t.{flag} OR u.u{}", plan.columns.len()));
    let keys: Vec<String> =
        plan.key.iter().map(|at| format!("t.{} = u.u{at}", quote(&plan.columns[*at].name))).collect();
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {}",
        quote_table(&plan.name),
        sets.join(", "),
        unnest(kinds, 1, "u"),
        keys.join(" AND ")
    )
}

fn lock_parents(plan: &TablePlan, parent: &Parent) -> String {
    let referenced: Vec<String> = parent.referenced.iter().map(|name| format!("p.{}", quote(name))).collect();
    let referring = parent.columns.iter().map(|at| (plan.columns[*at].name.as_str(), &plan.columns[*at].kind));
    // Read as the referring columns' kinds, which a foreign key allows to differ from those referred to.
    let selected: Vec<String> = referenced
        .iter()
        .zip(referring.clone())
        .map(|(name, (_, kind))| format!("{name}::{}", super::types::type_of(kind)))
        .collect();
    format!(
        "SELECT {} FROM {} AS p WHERE ({}) IN (SELECT * FROM {} UNION SELECT {} FROM {} AS t JOIN {} ON {}) \
         ORDER BY {} FOR SHARE OF p",
        selected.join(", "),
        quote_table(&parent.table),
        referenced.join(", "),
        unnest(referring.clone().map(|(_, kind)| kind), 1, "n"),
        select_list(referring, "t"),
        quote_table(&plan.name),
        unnest(key_kinds(plan), 1 + parent.columns.len(), "k"),
        matches_key(plan, &plan.key, "k"),
        referenced.join(", ")
    )
}

fn bind_keys(arguments: &mut PgArguments, kinds: Vec<&Kind>, keys: &[Key]) -> Result<(), Fault> {
    kinds
        .into_iter()
        .enumerate()
        .try_for_each(|(at, kind)| bind_array(arguments, kind, keys.iter().map(|key| &key[at])))
}

async fn fetch(connection: &mut PgConnection, text: Arc<str>, arguments: PgArguments) -> Result<Vec<PgRow>, Fault> {
    Ok(connection.fetch_all(sqlx::query_with(AssertSqlSafe(text), arguments)).await?)
}

async fn execute(connection: &mut PgConnection, text: Arc<str>, arguments: PgArguments) -> Result<u64, Fault> {
    Ok(connection.execute(sqlx::query_with(AssertSqlSafe(text), arguments)).await?.rows_affected())
}
