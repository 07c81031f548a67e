//! Sets, maps and user-defined types: replaced whole, and in the server's order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use rowferry::plan::write::Write;
use rowferry::row::{Float, Value};
use rowferry::sink::Outcome;
use rowferry::sink::cassandra::statement::{put_partition_key, token};
use scylla::value::CqlValue;
use uuid::Uuid;

use crate::live::{Live, decimal, text};

fn texts(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|item| text(item)).collect())
}

fn ints(ints: &[i64]) -> Value {
    Value::List(ints.iter().map(|int| Value::Int(*int)).collect())
}

/// Writes `first` at a version and `second` at the next of its key, in both orders, singly and in one batch, each
/// twice; every way must end with what was written last. Rows have ids from `id` on.
async fn check_replaced(live: &Live, mut id: i64, column: &str, values: &[Value; 2], expect: &Value) {
    let place = live.route("open").1.columns.iter().position(|found| found.name == column).unwrap();
    let orders: [&[usize]; 4] = [&[0, 1], &[1, 0], &[0, 1, 0, 1], &[1, 1, 0, 0]];
    for (order, is_batch) in orders.iter().flat_map(|order| [(order, false), (order, true)]) {
        id += 1;
        let named = |value: &Value| [("id", Value::Int(id)), (column, value.clone())];
        let write = |which: &usize| live.upsert("open", 11 + 2 * *which as i64, &named(&values[*which]));
        let writes: Vec<Write> = order.iter().map(write).collect();
        if is_batch {
            assert_eq!(live.write(writes).await, Outcome::Durable);
        } else {
            for write in writes {
                assert_eq!(live.write(vec![write]).await, Outcome::Durable);
            }
        }
        let row = live.scan("open").await.into_iter().find(|row| row[0] == Value::Int(id)).unwrap();
        assert_eq!(row[place], *expect, "{column}, order {order:?}, batch {is_batch}, {values:?}");
    }
}

#[tokio::test]
async fn whole_values_replace_what_was_there_in_any_order() {
    let live = Live::with_types(
        &["place (x int, y text)"],
        &["open (id bigint PRIMARY KEY, s set<text>, m map<text, int>, u place, f frozen<set<text>>)"],
    )
    .await;
    let map = |pairs: &[(&str, i64)]| Value::Map(pairs.iter().map(|(k, v)| (text(k), Value::Int(*v))).collect());
    let place = |x: Value, y: Value| Value::List(vec![x, y]);
    let (one, y) = (|| Value::Int(1), || text("y"));
    let cases = [
        ("s", texts(&["b", "a"]), texts(&["c"]), texts(&["c"])),
        ("s", texts(&["b", "a"]), texts(&["a", "c"]), texts(&["a", "c"])),
        ("s", texts(&["a"]), Value::Null, Value::Null),
        ("s", Value::Null, texts(&["a"]), texts(&["a"])),
        // Without elements there is nothing left of it: the server has no empty set that is not frozen.
        ("s", texts(&["a"]), texts(&[]), Value::Null),
        ("f", texts(&["a"]), texts(&[]), texts(&[])),
        ("m", map(&[("a", 1), ("b", 2)]), map(&[("b", 3)]), map(&[("b", 3)])),
        ("m", map(&[("a", 1)]), Value::Null, Value::Null),
        ("m", map(&[("a", 1)]), map(&[]), Value::Null),
        ("u", place(one(), y()), place(Value::Int(2), Value::Null), place(Value::Int(2), Value::Null)),
        ("u", place(one(), y()), place(Value::Null, text("z")), place(Value::Null, text("z"))),
        ("u", place(one(), y()), Value::Null, Value::Null),
        // Like an empty set: a type without any field is null.
        ("u", place(one(), y()), place(Value::Null, Value::Null), Value::Null),
    ];
    // Rows of their own: a write that one replica has not seen yet outlives a TRUNCATE.
    for (at, (column, first, second, expect)) in cases.into_iter().enumerate() {
        check_replaced(&live, 100 * at as i64, column, &[first, second], &expect).await;
    }
    live.drop().await;
}

/// Element types with some of their values, no two alike.
fn elements() -> Vec<(&'static str, Vec<Value>)> {
    let numbers = |ints: &[i64]| ints.iter().map(|int| Value::Int(*int)).collect::<Vec<_>>();
    let all = |texts: &[&str]| texts.iter().map(|item| text(item)).collect::<Vec<_>>();
    let decimals = |texts: &[&str]| texts.iter().map(|text| decimal(text)).collect::<Vec<_>>();
    let blobs: [&[u8]; 5] = [&[], &[0], &[0, 0], &[0x7f], &[0x80]];
    let address = |address: IpAddr| Value::Inet(address);
    let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1.0e-30f32.into(), 1.5, f64::INFINITY, f64::NAN];
    let days = [i32::MIN, -1, 0, 1, i32::MAX].map(Value::Date).to_vec();
    let instants = [i64::MIN / 1000, -1, 0, 1, i64::MAX / 1000].map(|millis| Value::Timestamp(millis * 1000)).to_vec();
    vec![
        ("boolean", vec![Value::Bool(true), Value::Bool(false)]),
        ("tinyint", numbers(&[-128, -1, 0, 1, 127])),
        ("smallint", numbers(&[-32_768, -256, -1, 0, 1, 255, 256])),
        ("int", numbers(&[i32::MIN.into(), -1, 0, 1, i32::MAX.into()])),
        ("bigint", numbers(&[i64::MIN, -1, 0, 1, i64::MAX])),
        (
            "varint",
            decimals(&["-99999999999999999999", "-257", "-256", "-128", "0", "127", "128", "65536", "9000000000"]),
        ),
        (
            "decimal",
            decimals(&[
                "-1E+30",
                "-10.5",
                "-10.49",
                "-1E-5",
                "0",
                "1E-2000000000",
                "1E-5",
                "1.1",
                "10",
                "99",
                "1E+2",
                "100.5",
                "123456789012345678901234567890.5",
                "123456789012345678901234567890.51",
                "1E+300",
            ]),
        ),
        ("float", floats.map(|float| Value::Float32(Float(float))).to_vec()),
        ("double", floats.map(|float| Value::Float64(Float(float))).to_vec()),
        ("ascii", all(&["", "\0", "A", "AA", "B", "a", "\u{7f}"])),
        ("text", all(&["", "a", "ä", "z", "\u{7f}", "\u{ffff}", "😀"])),
        ("blob", blobs.map(|blob| Value::Bytes(blob.to_vec().into())).to_vec()),
        (
            "inet",
            vec![
                address(Ipv4Addr::new(1, 2, 3, 4).into()),
                address(Ipv4Addr::new(200, 0, 0, 1).into()),
                address(Ipv6Addr::LOCALHOST.into()),
                address(Ipv6Addr::new(0x0102, 0x0304, 0, 0, 0, 0, 0, 0).into()),
                address(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()),
            ],
        ),
        ("date", days),
        ("time", [0, 1, 86_399_999_999].map(Value::Time).to_vec()),
        ("timestamp", instants),
    ]
}

fn uuids() -> Vec<(&'static str, Vec<Value>)> {
    let uuids = |texts: &[&str]| texts.iter().map(|text| Value::Uuid(Uuid::from_str(text).unwrap())).collect();
    let timeuuids = [
        "d2177dd0-eaa2-11de-a572-001b779c76e3",
        "d2177dd1-eaa2-11de-a572-001b779c76e3",
        "02177dd0-eaa3-11de-a572-001b779c76e3",
        "02177dd0-0000-11df-a572-001b779c76e3",
        "f2177dd0-ffff-1000-a572-001b779c76e3",
        "d2177dd0-eaa2-1fff-0072-001b779c76e3",
        "d2177dd0-eaa2-11de-2572-001b779c76e3",
        "d2177dd0-eaa2-11de-a572-001b779c76ff",
        "d2177dd0-eaa2-11de-a572-801b779c7600",
        "d2177dd0-eaa2-11de-7f72-001b779c7680",
    ];
    let others = [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "80000000-0000-4000-8000-000000000000",
        "7fffffff-0000-4000-8000-000000000000",
        "00000000-ffff-4000-0000-000000000000",
        "00000000-0000-7000-8000-000000000000",
    ];
    vec![("uuid", [uuids(&timeuuids), uuids(&others)].concat()), ("timeuuid", uuids(&timeuuids))]
}

fn nested_elements() -> Vec<(&'static str, Vec<Value>)> {
    let pair = |key: i64, value: &str| (Value::Int(key), text(value));
    let parts = |first: Value, second: Value| Value::List(vec![first, second]);
    let float = |float: f64| Value::Float32(Float(float));
    let tuples = || {
        vec![
            parts(Value::Null, Value::Null),
            parts(Value::Null, text("")),
            parts(Value::Int(-1), text("b")),
            parts(Value::Int(1), Value::Null),
            parts(Value::Int(1), text("a")),
        ]
    };
    vec![
        ("frozen<list<int>>", vec![ints(&[]), ints(&[-1, 5]), ints(&[1]), ints(&[1, 0]), ints(&[2])]),
        ("frozen<set<int>>", vec![ints(&[]), ints(&[3, -1]), ints(&[2, 1]), ints(&[1]), ints(&[2])]),
        (
            "frozen<map<int, text>>",
            vec![
                Value::Map(Vec::new()),
                Value::Map(vec![pair(2, "a"), pair(-1, "b")]),
                Value::Map(vec![pair(1, "b")]),
                Value::Map(vec![pair(1, "a"), pair(2, "a")]),
                Value::Map(vec![pair(1, "a")]),
            ],
        ),
        ("frozen<tuple<int, text>>", tuples()),
        ("frozen<place>", tuples()),
        (
            "vector<float, 2>",
            vec![parts(float(-0.5), float(1.0)), parts(float(0.5), float(-1.0)), parts(float(0.5), float(1.0))],
        ),
        ("vector<text, 2>", vec![texts(&["", "b"]), texts(&["a", "a"]), texts(&["a", "b"]), texts(&["aa", "a"])]),
        (
            "frozen<set<frozen<set<int>>>>",
            vec![Value::List(vec![ints(&[2, 1]), ints(&[1])]), Value::List(vec![ints(&[3, 1]), ints(&[1, 0])])],
        ),
    ]
}

const PLACE: &str = "place (x int, y text)";

/// The elements of a set, whether it is the value or the first part of a tuple that is.
fn elements_of(value: &Option<CqlValue>) -> &[CqlValue] {
    match value {
        Some(CqlValue::Set(items)) => items,
        Some(CqlValue::Tuple(parts)) => elements_of(&parts[0]),
        other => panic!("no set: {other:?}"),
    }
}

/// The server sorts a set that is a column's value, which shows its order; inside a tuple it leaves one as it was sent,
/// which shows ours.
#[tokio::test]
async fn elements_stand_in_the_servers_order() {
    let types: Vec<(&str, Vec<Value>)> = [elements(), uuids(), nested_elements()].concat();
    let columns = |at: usize, typ: &str| format!("s{at:02} set<{typ}>, t{at:02} tuple<frozen<set<{typ}>>>");
    let columns: Vec<String> = types.iter().enumerate().map(|(at, (typ, _))| columns(at, typ)).collect();
    let table = format!("every (id int PRIMARY KEY, m tuple<frozen<map<bigint, int>>>, {})", columns.join(", "));
    let live = Live::with_types(&[PLACE], &[&table]).await;
    let pair = |key: i64| (Value::Int(key), Value::Int(1));
    let names: Vec<String> = (0..types.len()).flat_map(|at| [format!("s{at:02}"), format!("t{at:02}")]).collect();
    let tuple = |value: Value| Value::List(vec![value]);
    let mut named = vec![("id", Value::Int(1)), ("m", tuple(Value::Map(vec![pair(2), pair(-1), pair(1)])))];
    for ((_, values), names) in types.iter().zip(names.chunks(2)) {
        let backwards: Vec<Value> = values.iter().rev().cloned().collect();
        named.push((&names[0], Value::List(values.clone())));
        named.push((&names[1], tuple(Value::List(backwards))));
    }
    assert_eq!(live.write(vec![live.upsert("every", 11, &named)]).await, Outcome::Durable);
    let read = live.select(&names.join(", "), "every").await;
    for ((typ, values), pair) in types.iter().zip(read[0].chunks(2)) {
        let (theirs, ours) = (elements_of(&pair[0]), elements_of(&pair[1]));
        assert_eq!(theirs.len(), values.len(), "{typ}");
        // As text: NaN is no other NaN.
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{typ}");
    }
    let cql_pair = |key| (CqlValue::BigInt(key), CqlValue::Int(1));
    let sorted = CqlValue::Map(vec![cql_pair(-1), cql_pair(1), cql_pair(2)]);
    assert_eq!(live.select("m", "every").await, [[Some(CqlValue::Tuple(vec![Some(sorted)]))]]);

    // The server does leave it as it is, duplicates too.
    let cql = format!("INSERT INTO {}.every (id, t03) VALUES (2, ?)", live.keyspace);
    let set = CqlValue::Set([2, 1, 2].map(CqlValue::Int).to_vec());
    let backwards = CqlValue::Tuple(vec![Some(set)]);
    let session = live.cluster.session();
    session.execute_unpaged(&session.prepare(cql).await.unwrap(), (&backwards,)).await.unwrap();
    assert_eq!(live.select("t03", "every WHERE id = 2").await, [[Some(backwards)]]);
    live.drop().await;
}

#[tokio::test]
async fn nested_partition_keys_are_placed_where_the_cluster_keeps_them() {
    let null = || Value::Null;
    let keys: Vec<(&str, Value)> = vec![
        ("frozen<set<int>>", ints(&[3, -1, 2])),
        ("frozen<list<frozen<set<int>>>>", Value::List(vec![ints(&[3, -1, 2])])),
        ("frozen<map<int, text>>", Value::Map(vec![(Value::Int(2), text("")), (Value::Int(-2), text("a"))])),
        ("frozen<tuple<int, text>>", Value::List(vec![Value::Int(1), null()])),
        ("frozen<place>", Value::List(vec![null(), null()])),
        ("vector<text, 2>", texts(&["a", "bb"])),
        ("timeuuid", Value::Uuid(Uuid::from_str("d2177dd0-eaa2-11de-a572-001b779c76e3").unwrap())),
        ("decimal", decimal("1.50")),
    ];
    let tables: Vec<String> =
        keys.iter().enumerate().map(|(at, (typ, _))| format!("t{at} (k {typ} PRIMARY KEY)")).collect();
    let live = Live::with_types(&[PLACE], &tables.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (at, (typ, key)) in keys.iter().enumerate() {
        let table = format!("t{at}");
        assert_eq!(live.write(vec![live.upsert(&table, 11, &[("k", key.clone())])]).await, Outcome::Durable);
        let mut bytes = Vec::new();
        put_partition_key(live.route(&table).1, 1, std::slice::from_ref(key), &mut bytes).unwrap();
        let placed = CqlValue::BigInt(token(&bytes).value());
        assert_eq!(live.select("token(k)", &table).await, [[Some(placed)]], "{typ}");
    }
    live.drop().await;
}
