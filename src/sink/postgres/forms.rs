//! Columns of a source table selected as JSON, in forms that the decoder of records reads: what a record says of a
//! value, said by Postgres. For `reselect`, and for `verify`.
//!
//! Where a record has a value in a form that nobody would choose (decimals and bits in Base64, a timestamp in one of
//! three units), Postgres says it in another form of the same value. So the two share the reading of a form only
//! where there is but one. What a connector loses on the way, as its settings say, is lost here too.

use crate::row::wire::{BytesForm, Unit, Wire};

/// A column as JSON text: the SQL, and the form that this JSON is in. `place` is the column as SQL names it.
///
/// `format` prints a value as replication does, where a cast to text would take the blanks from a char(n). Casts to
/// json find hstore's whatever schema its extension is in.
pub fn select(place: &str, wire: &Wire) -> (String, Wire) {
    let (item, form) = item(place, wire);
    // Not IS NULL, which is true of a composite value with nothing but nulls in it.
    (format!("CASE WHEN num_nulls({place}) = 0 THEN to_json({item})::text END"), form)
}

/// The expression that `to_json` makes JSON of; for a place that is not null.
fn item(place: &str, wire: &Wire) -> (String, Wire) {
    let seconds = format!("extract(epoch FROM {place})");
    match wire {
        // A bit prints 0 or 1.
        Wire::Bool => (format!("({place}::text IN ('true', '1'))"), Wire::Bool),
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 => (format!("{place}::int8"), wire.clone()),
        Wire::Float32 | Wire::Float64 => (place.into(), wire.clone()),
        // They have no NaN and no infinity: a record says null.
        Wire::Decimal { .. } | Wire::VariableScaleDecimal => {
            let text = format!("{place}::numeric::text");
            (format!("CASE WHEN {text} NOT IN ('NaN', 'Infinity', '-Infinity') THEN {text} END"), Wire::DecimalText)
        }
        Wire::DecimalText => (format!("{place}::numeric::text"), Wire::DecimalText),
        // All its digits: it becomes a float where it is read.
        Wire::DecimalFloat => (format!("{place}::numeric"), Wire::DecimalFloat),
        Wire::Text => (format!("format('%s', {place})"), Wire::Text),
        Wire::Uuid => (format!("{place}::text"), Wire::Uuid),
        Wire::Bytes(_) => (bytes(place), Wire::Bytes(BytesForm::Hex)),
        Wire::Bits { length: Some(_) } => (format!("{place}::text"), Wire::Text),
        Wire::Bits { length: None } => (format!("ltrim({place}::text, '0')"), Wire::Text),
        // An infinite date has no day: the numbers are those that Debezium writes for it.
        Wire::Date | Wire::IsoDate | Wire::CalendarDate => {
            (finite(place, &format!("{place} - date '1970-01-01'"), "-622191234", "-625821272"), Wire::Date)
        }
        Wire::Time { unit: Unit::Millis, .. } => (format!("floor({seconds} * 1000)"), wire.clone()),
        Wire::Time { .. } => (format!("trunc({seconds} * 1000000)"), Wire::Time { unit: Unit::Micros, decimals: 6 }),
        // The connector makes 00:00 of 24:00.
        Wire::IsoTime => {
            (format!("trunc({seconds} * 1000000) % 86400000000"), Wire::Time { unit: Unit::Micros, decimals: 6 })
        }
        Wire::LocalTimestamp { unit: Unit::Millis, .. } => {
            let millis = format!("floor({seconds} * 1000)");
            (finite(place, &millis, "9223372036825200", "-9223372036832400"), wire.clone())
        }
        Wire::LocalTimestamp { .. } | Wire::IsoTimestamp { .. } => {
            let micros =
                finite(place, &format!("trunc({seconds} * 1000000)"), "9223372036825200000", "-9223372036832400000");
            (micros, Wire::LocalTimestamp { unit: Unit::Micros, decimals: 6 })
        }
        Wire::ZonedTimestamp { .. } => (zoned_timestamp(place), wire.clone()),
        Wire::ZonedTime => (format!("({place} AT TIME ZONE 'UTC')::time::text || 'Z'"), Wire::ZonedTime),
        Wire::MicroDuration => {
            // A month counts 365.25 / 12 days.
            let (months, days, seconds) = interval(place);
            let sum = format!("trunc({months} * 2629800000000 + {days} * 86400000000 + {seconds} * 1000000)");
            (sum, Wire::MicroDuration)
        }
        Wire::Interval => {
            let (months, days, seconds) = interval(place);
            (format!("format('P%sM%sDT%sS', {months}, {days}, {seconds})"), Wire::Interval)
        }
        Wire::HstoreJson | Wire::HstoreMap => (format!("{place}::json"), Wire::HstoreMap),
        Wire::Point => (format!("json_build_object('x', {place}[0], 'y', {place}[1])"), Wire::Point),
        Wire::Geometry => (geometry(place), Wire::Geometry),
        Wire::Vector => (format!("{place}::text::json"), Wire::Vector),
        Wire::SparseVector => (sparse_vector(place), Wire::SparseVector),
        Wire::Array(of) => array(place, of),
    }
}

/// A number where the value is finite, and what stands for both infinities.
fn finite(place: &str, number: &str, infinity: &str, negative: &str) -> String {
    format!(
        "CASE WHEN isfinite({place}) THEN {number} WHEN {place}::text = 'infinity' THEN {infinity} ELSE {negative} END"
    )
}

/// A bytea, or the text of a type that the connector does not know, which it sends as bytes. Only a bytea's text
/// begins with `\x`.
fn bytes(place: &str) -> String {
    format!(
        "encode(CASE WHEN left({place}::text, 2) = '\\x' THEN {place}::text::bytea \
                     ELSE convert_to({place}::text, 'UTF8') END, 'hex')"
    )
}

/// RFC 3339; the year 0 is 1 BC.
fn zoned_timestamp(place: &str) -> String {
    let utc = format!("({place} AT TIME ZONE 'UTC')");
    let year = format!("extract(year FROM {utc})");
    format!(
        "CASE WHEN NOT isfinite({place}) THEN {place}::text \
              WHEN {year} > 0 THEN to_char({utc}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
              ELSE '-' || lpad((-1 - {year})::text, 4, '0') || to_char({utc}, '-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END"
    )
}

/// Months, days and seconds of an interval.
fn interval(place: &str) -> (String, String, String) {
    let part = |name: &str| format!("extract({name} FROM {place})");
    (
        format!("({} * 12 + {})", part("year"), part("month")),
        part("day"),
        format!("({} * 3600 + {} * 60 + {})", part("hour"), part("minute"), part("second")),
    )
}

/// PostGIS prints EWKB in hexadecimal digits: a byte that says the order of bytes, a type with a flag for the SRID, and
/// the SRID. Its functions may be in a schema that is not searched.
fn geometry(place: &str) -> String {
    let text = format!("{place}::text");
    let bits = |from: [usize; 4]| {
        let digits: Vec<String> = from.iter().map(|at| format!("substr({text}, {at}, 2)")).collect();
        format!("('x' || {})::bit(32)::int", digits.join(" || "))
    };
    let is_little = format!("left({text}, 2) = '01'");
    let (flag, srid) = (
        format!("CASE WHEN {is_little} THEN {} ELSE {} END", bits([9, 7, 5, 3]), bits([3, 5, 7, 9])),
        format!("CASE WHEN {is_little} THEN {} ELSE {} END", bits([17, 15, 13, 11]), bits([11, 13, 15, 17])),
    );
    format!(
        "json_build_object('wkb', replace(encode(decode({text}, 'hex'), 'base64'), chr(10), ''), \
                           'srid', CASE WHEN ({flag}) & 536870912 <> 0 THEN {srid} END)"
    )
}

/// pgvector prints `{1:1.5,3:2}/5`.
fn sparse_vector(place: &str) -> String {
    let text = format!("{place}::text");
    format!(
        "format('{{\"dimensions\":%s,\"vector\":[%s]}}', split_part({text}, '/', 2), \
                regexp_replace(btrim(split_part({text}, '/', 1), '{{}}'), '([0-9]+):([^,]+)', '[\\1,\\2]', 'g'))::json"
    )
}

/// The connector makes a null of each inner array.
fn array(place: &str, of: &Wire) -> (String, Wire) {
    let (sql, form) = item("item", of);
    let items = format!(
        "CASE WHEN array_ndims({place}) > 1 \
              THEN (SELECT json_agg(NULL::int) FROM generate_series(1, array_length({place}, 1))) \
              ELSE (SELECT coalesce(json_agg(CASE WHEN num_nulls(item) = 0 THEN {sql} END ORDER BY at), '[]') \
                      FROM unnest({place}) WITH ORDINALITY AS items(item, at)) END"
    );
    (items, Wire::Array(Box::new(form)))
}
