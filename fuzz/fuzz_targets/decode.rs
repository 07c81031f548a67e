//! What the targets share: a table with a column of nearly every form, and one record of arbitrary bytes.

use bytes::Bytes;
use rowferry::format::Decoder;
use rowferry::record::Record;
use rowferry::row::wire::{Modes, Wire};
use rowferry::row::{Field, Format, Shape, Unmapped};

const TYPES: [&str; 24] = [
    "int",
    "text",
    "numeric",
    "numeric(10,2)",
    "real",
    "float8",
    "date",
    "timestamp",
    "timestamp(3)",
    "timestamptz",
    "time",
    "timetz",
    "interval",
    "bytea",
    "bit(8)",
    "varbit",
    "uuid",
    "hstore",
    "point",
    "geometry",
    "vector",
    "sparsevec",
    "int[]",
    "text[]",
];

/// Decodes the bytes as key and value, split at the first zero byte. `known`: types are known without a block.
pub fn decode(format: Format, known: bool, data: &[u8]) {
    let wire = |name: &str| Wire::of_postgres(name, &Modes::default()).ok().filter(|_| known);
    let fields = TYPES.iter().enumerate();
    let fields = fields.map(|(at, name)| Field { name: format!("c{at}"), wire: wire(name), declared: false });
    let mut shape = Shape::new(format, fields.collect(), vec![0]);
    shape.unmapped = Unmapped::Warn { except: Vec::new() };
    shape.signal_table = Some(("public".into(), "signal".into()));
    let (key, value) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(0));
    let value = value.strip_prefix(&[0]).unwrap_or(value);
    let record = Record {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: Some(Bytes::copy_from_slice(key)),
        value: Some(Bytes::copy_from_slice(value)),
        headers: [].into(),
    };
    let mut decoder = Decoder::new(&shape, 1 << 20);
    // The second time a schema block is known.
    for _ in 0..2 {
        let _ = decoder.decode(&record);
    }
    let _ = (decoder.take_wires(), decoder.take_notices());
}
