//! Routes whose rows are not all in the target, or not all of them: `ttl`, `where`, soft deletes, and columns that no
//! row of the source has; and keys of every sort.

use std::path::PathBuf;

use crate::{Live, Verified, read};

/// The sample configuration with one more route, from the source's `things` to the target's.
struct Things {
    live: Live,
    config: PathBuf,
}

impl Things {
    async fn new(source: &str, target: &str, route: &str) -> Things {
        let mut live = Live::new().await;
        live.sql(&format!("{source}; GRANT SELECT ON things TO debezium; ALTER TABLE things REPLICA IDENTITY FULL"))
            .await;
        live.cql(target).await;
        let config = std::env::temp_dir().join(format!("{}.toml", live.name));
        let head = "\n[[cdcconsumer.routes]]\ntopic = \"things\"\ntable = \"things\"\nsource_table = \"things\"\n";
        std::fs::write(&config, format!("{}{head}{route}\n", read("rowferry.toml"))).unwrap();
        Things { live, config }
    }

    async fn verify(&self) -> Verified {
        self.live.verify(&["--config", self.config.to_str().unwrap(), "--table", "things"]).await
    }

    /// Expects these counts: equal, different, missing, extra, unsettled. Returns what else the line says.
    async fn expect(&self, counts: [u64; 5]) -> String {
        let verified = self.verify().await;
        assert_eq!(verified.counts("things"), counts, "{verified:?}");
        assert_eq!(verified.code, Some(i32::from(counts[1..] != [0; 4])), "{verified:?}");
        let line = verified.out.lines().find(|line| line.starts_with("things ")).unwrap();
        line.split_whitespace().skip(7).collect::<Vec<&str>>().join(" ")
    }

    async fn drop(self) {
        std::fs::remove_file(&self.config).unwrap();
        self.live.drop().await;
    }
}

#[tokio::test]
async fn rows_that_end_by_a_column_are_expected_until_they_do() {
    let things = Things::new(
        "CREATE TABLE things (id int PRIMARY KEY, until timestamptz, n text); \
         INSERT INTO things VALUES (1, NULL, 'a'), (2, now() + interval '1 day', 'b'), \
                (3, now() - interval '1 day', 'c'), (4, now(), 'd'), (5, 'infinity', 'e')",
        "CREATE TABLE @things (id int PRIMARY KEY, n text)",
        "source_key = [\"id\"]\nttl = { column = \"until\" }",
    )
    .await;
    for (id, n) in [(1, 'a'), (2, 'b'), (5, 'e')] {
        things.live.cql(&format!("INSERT INTO @things (id, n) VALUES ({id}, '{n}')")).await;
    }
    assert_eq!(things.expect([3, 0, 0, 0, 0]).await, "1 missing rows are not judged: they end at about this time");
    // It ended a day ago and is still there; another has time left and is gone; a third has time and is another.
    things.live.cql("INSERT INTO @things (id, n) VALUES (3, 'c')").await;
    things.live.cql("DELETE FROM @things WHERE id = 2").await;
    things.live.cql("INSERT INTO @things (id, n) VALUES (5, 'f')").await;
    things.expect([1, 1, 1, 1, 0]).await;
    things.drop().await;
}

#[tokio::test]
async fn rows_that_end_after_their_record_or_ask_for_the_op_are_judged_where_they_are() {
    for (setting, why) in [
        ("ttl = \"30d\"", "`ttl` counts from a record that is not known"),
        ("where = [\"op in ('r', 'c')\"]", "`where` asks for the op"),
    ] {
        let things = Things::new(
            "CREATE TABLE things (id int PRIMARY KEY, n text); INSERT INTO things VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            "CREATE TABLE @things (id int PRIMARY KEY, n text)",
            &format!("source_key = [\"id\"]\n{setting}"),
        )
        .await;
        things.live.cql("INSERT INTO @things (id, n) VALUES (1, 'a')").await;
        let told = things.expect([1, 0, 0, 0, 0]).await;
        assert_eq!(told, format!("2 missing rows are not judged: {why}"));
        things.live.cql("INSERT INTO @things (id, n) VALUES (2, 'other')").await;
        things.live.cql("INSERT INTO @things (id, n) VALUES (9, 'nobody')").await;
        things.expect([1, 1, 0, 1, 0]).await;
        things.drop().await;
    }
}

#[tokio::test]
async fn constants_and_flags_are_compared_and_what_only_records_have_is_named() {
    let things = Things::new(
        "CREATE TABLE things (id int PRIMARY KEY, n text); INSERT INTO things VALUES (1, 'a'), (2, 'b')",
        "CREATE TABLE @things (site text, id int, n text, trace text, lsn bigint, gone boolean, PRIMARY KEY (site, id))",
        "source_key = [\"id\"]\nsoft_delete = \"gone\"\n\
         columns = { site = { constant = \"eu\" }, trace = { header = \"trace\" }, lsn = { source = \"lsn\" } }",
    )
    .await;
    let insert = "INSERT INTO @things (site, id, n, trace, lsn, gone) VALUES";
    for row in ["'eu', 1, 'a', 'x', 7, false", "'eu', 2, 'b', null, null, false", "'eu', 3, null, null, null, true"] {
        things.live.cql(&format!("{insert} ({row})")).await;
    }
    let told = things.expect([2, 0, 0, 0, 0]).await;
    assert_eq!(told, "not compared: lsn, trace (only records have it)", "columns that only records have");
    // A row that is said to be deleted and is not; one that is deleted and not said to be; one of another site.
    things.live.cql(&format!("{insert} ('eu', 2, 'b', null, null, true)")).await;
    things.live.cql(&format!("{insert} ('eu', 3, 'c', null, null, false)")).await;
    things.live.cql(&format!("{insert} ('us', 1, 'a', null, null, false)")).await;
    things.expect([1, 1, 0, 2, 0]).await;
    things.drop().await;
}

/// Keys that are found by texts: of an enum, a domain, a timestamp that has lost its microseconds, a padded text, and
/// what the source's types cannot be.
#[tokio::test]
async fn rows_are_found_by_keys_of_every_sort() {
    let things = Things::new(
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN small AS int CHECK (VALUE < 100); \
         CREATE TABLE things (m mood, s small, c char(4), at timestamptz, ts timestamp, d date, t time, \
                              b bytea, n numeric, f float8, PRIMARY KEY (m, s, c, at, ts, d, t, b, n, f)); \
         INSERT INTO things SELECT (ARRAY['sad', 'happy'])[1 + g % 2]::mood, g, 'c' || g, \
                timestamptz '2026-01-01 00:00:00.123456Z' + g * interval '1 s', timestamp '0044-03-15 00:00:00.001 BC', \
                date '0044-03-15 BC' + g, time '01:02:03.000004', decode('00ff', 'hex'), 1.50, \
                (ARRAY['NaN', '-Infinity', '1.1', '-0'])[1 + g % 4]::float8 FROM generate_series(1, 40) g",
        "CREATE TABLE @things (m text, s int, c text, at timestamp, ts timestamp, d date, t time, b blob, n decimal, \
                               f double, PRIMARY KEY ((m, s), c, at, ts, d, t, b, n, f))",
        "source_key = [\"m\", \"s\", \"c\", \"at\", \"ts\", \"d\", \"t\", \"b\", \"n\", \"f\"]\n\
         columns = { at = { lossy = true }, ts = { lossy = true } }",
    )
    .await;
    let row = |g: i32, m: &str| {
        let second = g % 60;
        let f = ["NaN", "-Infinity", "1.1", "-0.0"][(g % 4) as usize];
        // 15 March 44 BC and so many days more, of Cassandra's 2^31 at 1970.
        let day = i64::from(g) - 735_160 + (1 << 31);
        format!(
            "INSERT INTO @things (m, s, c, at, ts, d, t, b, n, f) VALUES ('{m}', {g}, '{:4}', \
                    '2026-01-01T00:00:{second:02}.123Z', -63517823999999, {day}, '01:02:03.000004', 0x00ff, 1.5, {f})",
            format!("c{g}")
        )
    };
    for g in 1..=40 {
        things.live.cql(&row(g, ["sad", "happy"][(g % 2) as usize])).await;
    }
    things.expect([40, 0, 0, 0, 0]).await;
    // No row of the source can have these: an enum's label and a domain's number that are none, a day before the first.
    things.live.cql(&row(41, "angry")).await;
    things.live.cql(&row(400, "sad")).await;
    things.live.cql(&row(1, "happy").replace("'2026-01-01T00:00:01.123Z'", "-300000000000000")).await;
    things.expect([40, 0, 0, 3, 0]).await;
    things.drop().await;
}
