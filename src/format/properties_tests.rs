//! For every wire form: what Debezium would write is read back as it was. And nothing makes a decoder panic.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveTime};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::change::{Change, Decoded};
use crate::format::Decoder;
use crate::format::recordings_tests::{FLAT, PLAIN, SCHEMA, records};
use crate::format::source_rows_tests::types_shape;
use crate::record::Record;
use crate::row::wire::{BytesForm, Unit, Wire};
use crate::row::{Duration, Field, Float, Format, Shape, Value};

/// A value, its wire form, and its JSON.
type Case = (Wire, String, Value);

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn quoted(text: impl Into<String>) -> String {
    serde_json::Value::from(text.into()).to_string()
}

/// As Java prints a float: a number, or one of three texts.
fn float(number: f64, printed: String) -> String {
    match number {
        _ if number.is_nan() => "\"NaN\"".into(),
        f64::INFINITY => "\"Infinity\"".into(),
        f64::NEG_INFINITY => "\"-Infinity\"".into(),
        _ => printed,
    }
}

/// As Java prints a year: four digits at least, a plus beyond them.
fn iso_date(date: NaiveDate) -> String {
    let year = match date.year() {
        year @ 10_000.. => format!("+{year}"),
        year @ 0.. => format!("{year:04}"),
        year => format!("-{:04}", -year),
    };
    format!("{year}-{:02}-{:02}", date.month(), date.day())
}

fn clock(time: NaiveTime) -> String {
    time.format("%H:%M:%S%.f").to_string()
}

fn time_of(micros: i64) -> NaiveTime {
    let nanos = u32::try_from(micros % 1_000_000 * 1000).unwrap();
    NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(micros / 1_000_000).unwrap(), nanos).unwrap()
}

fn numbers() -> impl Strategy<Value = Case> {
    let decimal = |unscaled: i128, scale: i64| BigDecimal::new(unscaled.into(), scale);
    let base64 = |unscaled: i128| STANDARD.encode(BigInt::from(unscaled).to_signed_bytes_be());
    prop_oneof![
        any::<bool>().prop_map(|bit| (Wire::Bool, bit.to_string(), Value::Bool(bit))),
        any::<i8>().prop_map(|int| (Wire::Int8, int.to_string(), Value::Int(int.into()))),
        any::<i16>().prop_map(|int| (Wire::Int16, int.to_string(), Value::Int(int.into()))),
        any::<i32>().prop_map(|int| (Wire::Int32, int.to_string(), Value::Int(int.into()))),
        any::<i64>().prop_map(|int| (Wire::Int64, int.to_string(), Value::Int(int))),
        any::<u32>().prop_map(|bits| {
            let number = f32::from_bits(bits);
            (Wire::Float32, float(number.into(), format!("{number:?}")), Value::Float32(Float(number.into())))
        }),
        any::<u64>().prop_map(|bits| {
            let number = f64::from_bits(bits);
            (Wire::Float64, float(number, format!("{number:?}")), Value::Float64(Float(number)))
        }),
        any::<i64>().prop_map(|int| {
            let number = int as f64 / 100.0;
            (Wire::DecimalFloat, format!("{number:?}"), Value::Float64(Float(number)))
        }),
        (any::<i128>(), 0i32..40).prop_map(move |(unscaled, scale)| {
            (Wire::Decimal { scale }, quoted(base64(unscaled)), Value::Decimal(decimal(unscaled, scale.into())))
        }),
        (any::<i128>(), 0i32..40).prop_map(move |(unscaled, scale)| {
            let number = decimal(unscaled, scale.into());
            (Wire::Decimal { scale }, number.to_plain_string(), Value::Decimal(number))
        }),
        (any::<i128>(), 0i32..40).prop_map(move |(unscaled, scale)| {
            let json = json!({"scale": scale, "value": base64(unscaled)}).to_string();
            (Wire::VariableScaleDecimal, json, Value::Decimal(decimal(unscaled, scale.into())))
        }),
        (any::<i128>(), 0i64..40).prop_map(move |(unscaled, scale)| {
            let number = decimal(unscaled, scale);
            (Wire::DecimalText, quoted(number.to_plain_string()), Value::Decimal(number))
        }),
    ]
}

fn texts() -> impl Strategy<Value = Case> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        any::<String>().prop_map(|text| (Wire::Text, quoted(text.clone()), Value::Text(text.into()))),
        any::<u128>().prop_map(|bits| {
            let uuid = Uuid::from_u128(bits);
            (Wire::Uuid, quoted(uuid.to_string()), Value::Uuid(uuid))
        }),
        bytes().prop_map(|bytes| {
            (Wire::Bytes(BytesForm::Base64), quoted(STANDARD.encode(&bytes)), Value::Bytes(bytes.into()))
        }),
        bytes().prop_map(|bytes| {
            (Wire::Bytes(BytesForm::Base64UrlSafe), quoted(URL_SAFE.encode(&bytes)), Value::Bytes(bytes.into()))
        }),
        bytes().prop_map(|bytes| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (Wire::Bytes(BytesForm::Hex), quoted(digits), Value::Bytes(bytes.into()))
        }),
        "[01]{1,40}".prop_map(|bits| {
            let number = u64::from_str_radix(&bits, 2).unwrap().to_le_bytes();
            let length = number.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            let wire = Wire::Bits { length: u32::try_from(bits.len()).ok() };
            (wire, quoted(STANDARD.encode(&number[..length])), Value::Text(bits.into()))
        }),
    ]
}

fn temporals() -> impl Strategy<Value = Case> {
    let unit = || prop_oneof![Just((Unit::Millis, 1000)), Just((Unit::Micros, 1)), Just((Unit::Nanos, 1))];
    let count = |unit: Unit, micros: i64| match unit {
        Unit::Millis => micros / 1000,
        Unit::Micros => micros,
        Unit::Nanos => micros * 1000,
    };
    // The years of nanoseconds, and of chrono.
    let near = || -9_000_000_000_000_000i64..9_000_000_000_000_000;
    let far = || -210_866_803_200_000_000i64..8_000_000_000_000_000_000;
    prop_oneof![
        (-2_440_588i32..2_145_042_905).prop_map(|days| (Wire::Date, days.to_string(), Value::Date(days))),
        (-2_440_588i32..90_000_000).prop_map(|days| {
            let date = NaiveDate::from_epoch_days(days).unwrap();
            (Wire::IsoDate, quoted(iso_date(date) + "Z"), Value::Date(days))
        }),
        (0i32..2_900_000).prop_map(|days| {
            let date = NaiveDate::from_epoch_days(days).unwrap();
            (Wire::CalendarDate, quoted(iso_date(date)), Value::Date(days))
        }),
        (unit(), 0..=MICROS_PER_DAY).prop_map(move |((unit, step), micros)| {
            let micros = micros / step * step;
            (Wire::Time { unit, decimals: 6 }, count(unit, micros).to_string(), Value::Time(micros))
        }),
        (0..MICROS_PER_DAY)
            .prop_map(|micros| { (Wire::IsoTime, quoted(clock(time_of(micros)) + "Z"), Value::Time(micros)) }),
        (unit(), near()).prop_map(move |((unit, step), micros)| {
            let micros = micros / step * step;
            let wire = Wire::LocalTimestamp { unit, decimals: 6 };
            (wire, count(unit, micros).to_string(), Value::LocalTimestamp(micros))
        }),
        far().prop_map(|micros| {
            let instant = DateTime::from_timestamp_micros(micros).unwrap().naive_utc();
            let text = format!("{}T{}Z", iso_date(instant.date()), clock(instant.time()));
            (Wire::IsoTimestamp { decimals: 6 }, quoted(text), Value::LocalTimestamp(micros))
        }),
        (far(), -64_800i32..=64_800).prop_map(|(micros, east)| {
            let zone = FixedOffset::east_opt(east / 60 * 60).unwrap();
            let local = DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&zone);
            let text = format!("{}T{}{zone}", iso_date(local.date_naive()), clock(local.time()));
            (Wire::ZonedTimestamp { decimals: 6 }, quoted(text), Value::Timestamp(micros))
        }),
        (0..MICROS_PER_DAY, -64_800i64..=64_800).prop_map(|(micros, east)| {
            let zone = FixedOffset::east_opt(i32::try_from(east).unwrap()).unwrap();
            let utc = (micros - east * 1_000_000).rem_euclid(MICROS_PER_DAY);
            (Wire::ZonedTime, quoted(format!("{}{zone}", clock(time_of(micros)))), Value::ZonedTime(utc))
        }),
        any::<i64>().prop_map(|micros| {
            (Wire::MicroDuration, micros.to_string(), Value::Duration(Duration { months: 0, days: 0, micros }))
        }),
        (any::<i32>(), any::<i32>(), -3_000_000_000_000_000_000i64..3_000_000_000_000_000_000).prop_map(
            |(months, days, micros)| {
                let (seconds, fraction) = (micros / 1_000_000 % 60, micros.abs() % 1_000_000);
                let sign = if micros < 0 && seconds == 0 { "-" } else { "" };
                let clock =
                    format!("{}H{}M{sign}{seconds}.{fraction:06}S", micros / 3_600_000_000, micros / 60_000_000 % 60);
                let text = format!("P{}Y{}M{days}DT{clock}", months / 12, months % 12);
                (Wire::Interval, quoted(text), Value::Duration(Duration { months, days, micros }))
            }
        ),
    ]
}

fn nested() -> impl Strategy<Value = Case> {
    let float = |number: f64| Value::Float64(Float(number));
    let finite = || any::<i32>().prop_map(|int| f64::from(int) / 8.0);
    let pairs = || prop::collection::btree_map(any::<String>(), prop::option::of(any::<String>()), 0..6);
    let map = |pairs: &std::collections::BTreeMap<String, Option<String>>| {
        let value = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| Value::Text(text.as_str().into()));
        Value::Map(pairs.iter().map(|(key, text)| (Value::Text(key.as_str().into()), value(text))).collect())
    };
    prop_oneof![
        pairs().prop_map(move |pairs| (Wire::HstoreMap, json!(pairs).to_string(), map(&pairs))),
        pairs().prop_map(move |pairs| (Wire::HstoreJson, quoted(json!(pairs).to_string()), map(&pairs))),
        (finite(), finite(), prop::option::of(any::<i32>())).prop_map(move |(x, y, srid)| {
            let json = json!({"x": x, "y": y, "wkb": "AQ==", "srid": srid}).to_string();
            let srid = srid.map_or(Value::Null, |srid| Value::Int(srid.into()));
            (Wire::Point, json, Value::Struct(vec![("x", float(x)), ("y", float(y)), ("srid", srid)]))
        }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let json = json!({"wkb": STANDARD.encode(&bytes), "srid": 4326}).to_string();
            (Wire::Geometry, json, Value::Struct(vec![("wkb", Value::Bytes(bytes.into())), ("srid", Value::Int(4326))]))
        }),
        prop::collection::vec(finite(), 0..9).prop_map(move |numbers| {
            (Wire::Vector, json!(numbers).to_string(), Value::List(numbers.into_iter().map(float).collect()))
        }),
        prop::collection::vec((any::<i16>(), finite()), 0..9).prop_map(move |pairs| {
            let json = json!({"dimensions": 9, "vector": pairs}).to_string();
            let map = pairs.into_iter().map(|(at, number)| (Value::Int(at.into()), float(number))).collect();
            (Wire::SparseVector, json, Value::Struct(vec![("dimensions", Value::Int(9)), ("vector", Value::Map(map))]))
        }),
    ]
}

/// One of the above, alone or twice in an array with a null between.
fn cases() -> impl Strategy<Value = Case> {
    let one = || prop_oneof![numbers(), texts(), temporals(), nested()];
    let in_array = |(wire, json, value): Case| {
        let items = vec![value.clone(), Value::Null, value];
        (Wire::Array(Box::new(wire)), format!("[{json},null,{json}]"), Value::List(items))
    };
    prop_oneof![one(), one().prop_map(in_array)]
}

fn record(value: Vec<u8>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(Bytes::from_static(br#"{"id":7}"#)),
        value: Some(value.into()),
        headers: [].into(),
    }
}

proptest! {
    #[test]
    fn what_debezium_writes_is_read_back((wire, json, value) in cases()) {
        let fields = vec![Field::known("id", Wire::Int32), Field::known("c", wire)];
        let row = format!(r#"{{"id":7,"c":{json}}}"#);
        let envelope = format!(r#"{{"before":null,"after":{row},"op":"c"}}"#);
        for (format, text) in [(Format::Envelope, envelope), (Format::Flat, row)] {
            let shape = Shape::new(format, fields.clone(), vec![0]);
            match Decoder::new(&shape, 1 << 20).decode(&record(text.into())) {
                Decoded::Change(Change { after: Some(after), .. }) => prop_assert_eq!(&after[1], &value, "{}", json),
                other => prop_assert!(false, "{json}: {other:?}"),
            }
        }
    }

    #[test]
    fn any_json_in_any_form_is_a_value_or_a_reject((wire, _, _) in cases(), (_, json, _) in cases()) {
        let fields = vec![Field::known("id", Wire::Int32), Field::known("c", wire)];
        let shape = Shape::new(Format::Flat, fields, vec![0]);
        let decoded = Decoder::new(&shape, 1 << 20).decode(&record(format!(r#"{{"id":7,"c":{json}}}"#).into()));
        prop_assert!(matches!(decoded, Decoded::Change(_) | Decoded::Reject(_)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), key in prop::collection::vec(any::<u8>(), 0..40)) {
        for format in [Format::Envelope, Format::Flat, Format::Event] {
            let record = Record { key: Some(key.clone().into()), ..record(bytes.clone()) };
            let _ = Decoder::new(&types_shape(format, false), 1 << 20).decode(&record);
        }
    }
}

/// How a recorded text is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    /// The beginning of one record and the end of another.
    Splice(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(at, from)| Damage::Splice(at, from)),
    ]
}

#[test]
fn damaged_recordings_never_panic() {
    let whole: Vec<Record> = [PLAIN, SCHEMA, FLAT].iter().flat_map(|recording| records(recording)).collect();
    let whole: Vec<Record> =
        whole.into_iter().filter(|record| record.value.is_some() && !record.topic.ends_with(".transaction")).collect();
    let decoders = [(Format::Envelope, false), (Format::Envelope, true), (Format::Flat, false), (Format::Event, false)];
    // They keep what they learn from damaged blocks, as they would in a process.
    let decoders = decoders.map(|(format, blocks)| Decoder::new(&types_shape(format, blocks), 1 << 20));
    let decoders = std::cell::RefCell::new(decoders);
    let index = || any::<prop::sample::Index>();
    proptest!(|(one in index(), other in index(), damage in damage(), in_key in prop::bool::weighted(0.2))| {
        let (one, other) = (one.get(&whole), other.get(&whole));
        let text = |record: &Record| if in_key { record.key.clone() } else { record.value.clone() }.unwrap_or_default();
        let mut bytes = text(one).to_vec();
        match damage {
            _ if bytes.is_empty() => {}
            Damage::Flip(at, byte) => *at.get_mut(&mut bytes) = byte,
            Damage::Cut(at) => bytes.truncate(at.index(one.bytes())),
            Damage::Splice(at, from) => {
                let tail = text(other);
                bytes.truncate(at.index(bytes.len()));
                bytes.extend_from_slice(&tail[from.index(tail.len() + 1)..]);
            }
        }
        let (key, value) = if in_key { (Some(bytes.into()), one.value.clone()) } else { (one.key.clone(), Some(bytes.into())) };
        let damaged = Record { key, value, ..one.clone() };
        for decoder in decoders.borrow_mut().iter_mut() {
            let _ = decoder.decode(&damaged);
            let _ = decoder.take_wires();
        }
    });
}
