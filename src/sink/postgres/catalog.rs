//! What the catalog says of a source table, for routes: types as Debezium sees them, key, identity, storage.

use sqlx::postgres::PgRow;
use sqlx::{Executor as _, Row as _};

use crate::plan::source::{SourceFact, SourceFacts};
use crate::sink::Failure;
use crate::sink::postgres::Postgres;
use crate::sink::postgres::errors::Fault;
use crate::sink::postgres::types::quote_table;

/// Each column with the type under its domains. A domain over a domain is called by its own name, which no type has:
/// Debezium carries length and scale over one step only, so nobody can say how such values are written.
const COLUMNS: &str = "\
    WITH RECURSIVE step AS ( \
        SELECT attnum, attname, NOT attnotnull AND atthasdef AND attgenerated = '' AS null_or_default, \
               attlen = -1 AND attstorage IN ('x', 'e') AS out_of_line, \
               atttypid AS typid, atttypmod AS typmod, 0 AS depth \
          FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
        UNION ALL \
        SELECT s.attnum, s.attname, s.null_or_default, s.out_of_line, t.typbasetype, t.typtypmod, s.depth + 1 \
          FROM step s JOIN pg_type t ON t.oid = s.typid AND t.typtype = 'd' WHERE s.depth < 1) \
    SELECT DISTINCT ON (s.attnum) s.attname::text, s.null_or_default, s.out_of_line, \
           CASE WHEN t.typtype = 'e' THEN 'enum' WHEN t.typtype = 'c' THEN 'composite' \
                WHEN i.typtype = 'e' THEN 'enum[]' WHEN i.typtype = 'c' THEN 'composite[]' \
                WHEN coalesce(i.typtype, t.typtype) = 'd' THEN 'a domain over a domain, or an array of a domain' \
                WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN format_type(s.typid, s.typmod) \
                ELSE regexp_replace(format_type(s.typid, s.typmod), '^(\"[^\"]*\"|[^.\"(]*)[.]', '') END \
      FROM step s JOIN pg_type t ON t.oid = s.typid \
      LEFT JOIN pg_type i ON i.oid = t.typelem AND t.typcategory = 'A' \
     ORDER BY s.attnum, s.depth DESC";

const KEY: &str = "\
    SELECT a.attname::text FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at), pg_attribute a \
     WHERE i.indrelid = to_regclass($1) AND i.indisprimary AND k.at <= i.indnkeyatts \
       AND a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.at";

/// REPLICA IDENTITY FULL on the table, or on all its partitions.
const FULL_IDENTITY: &str = "\
    SELECT coalesce(bool_and(relreplident = 'f'), false) FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'r' \
        OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf)";

impl Postgres {
    /// Describes a table (`users`, `public.users`) as it is now; `None` when there is none.
    pub async fn source_facts(&self, table: &str) -> Result<Option<SourceFacts>, Failure> {
        let mut connection = self.connections.lease().await?;
        let name = quote_table(table);
        let columns = connection.fetch_all(sqlx::query(COLUMNS).bind(&name)).await.map_err(Fault::from)?;
        let key = connection.fetch_all(sqlx::query(KEY).bind(&name)).await.map_err(Fault::from)?;
        let identity = connection.fetch_one(sqlx::query(FULL_IDENTITY).bind(&name)).await.map_err(Fault::from)?;
        connection.give_back();
        if columns.is_empty() {
            return Ok(None);
        }
        let columns: Result<Vec<SourceFact>, sqlx::Error> = columns.iter().map(fact).collect();
        let key: Result<Vec<String>, sqlx::Error> = key.iter().map(|row| row.try_get(0)).collect();
        Ok(Some(SourceFacts {
            table: table.into(),
            columns: columns.map_err(Fault::from)?,
            key: key.map_err(Fault::from)?,
            full_identity: identity.try_get(0).map_err(Fault::from)?,
        }))
    }
}

fn fact(row: &PgRow) -> Result<SourceFact, sqlx::Error> {
    Ok(SourceFact {
        name: row.try_get(0)?,
        null_or_default: row.try_get(1)?,
        out_of_line: row.try_get(2)?,
        pg_type: row.try_get(3)?,
    })
}
