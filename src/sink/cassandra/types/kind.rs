//! Which kind a column has by its CQL type, or why it cannot be written.

use scylla::cluster::metadata::{CollectionType, ColumnType, NativeType};

use crate::row::Kind;

/// How values of a table's column are read and written, or why the column cannot be written, as the end of a
/// sentence.
///
/// Sets, maps and user-defined types need not be frozen: a whole one replaces what was there (C8).
pub fn kind_of(typ: &ColumnType<'_>) -> Result<Kind, String> {
    if let ColumnType::Collection { frozen: false, typ: CollectionType::List(_) } = typ {
        return Err(
            "is a list that is not frozen, which doubles when the same write arrives twice: make it frozen".into()
        );
    }
    kind_of_value(typ)
}

/// The same for a column of the primary key.
pub fn kind_of_key(typ: &ColumnType<'_>) -> Result<Kind, String> {
    expect_order(typ)?;
    kind_of(typ)
}

/// The same for a type that stands in a statement or a result, where nothing says whether it is frozen.
pub fn kind_of_value(typ: &ColumnType<'_>) -> Result<Kind, String> {
    let boxed = |typ: &ColumnType<'_>| kind_of_value(typ).map(Box::new);
    match typ {
        ColumnType::Native(native) => native_kind(native),
        ColumnType::Collection { typ: CollectionType::List(item), .. } => Ok(Kind::List(boxed(item)?)),
        ColumnType::Collection { typ: CollectionType::Set(item), .. } => {
            expect_order(item)?;
            Ok(Kind::Set(boxed(item)?))
        }
        ColumnType::Collection { typ: CollectionType::Map(key, value), .. } => {
            expect_order(key)?;
            Ok(Kind::Map(boxed(key)?, boxed(value)?))
        }
        ColumnType::Vector { typ: item, dimensions } => Ok(Kind::Vector(boxed(item)?, usize::from(*dimensions))),
        ColumnType::Tuple(items) => Ok(Kind::Tuple(items.iter().map(kind_of_value).collect::<Result<_, _>>()?)),
        ColumnType::UserDefinedType { definition, .. } => {
            let fields = definition.field_types.iter().map(|(name, typ)| Ok((name.to_string(), kind_of_value(typ)?)));
            Ok(Kind::Struct(fields.collect::<Result<_, String>>()?))
        }
        _ => Err(unknown()),
    }
}

fn native_kind(native: &NativeType) -> Result<Kind, String> {
    Ok(match native {
        NativeType::Ascii => Kind::Ascii,
        NativeType::BigInt => Kind::Int64,
        NativeType::Blob => Kind::Bytes,
        NativeType::Boolean => Kind::Bool,
        NativeType::Date => Kind::Date,
        NativeType::Decimal => Kind::Decimal,
        NativeType::Double => Kind::Float64,
        NativeType::Duration => Kind::Duration,
        NativeType::Float => Kind::Float32,
        NativeType::Inet => Kind::Inet,
        NativeType::Int => Kind::Int32,
        NativeType::SmallInt => Kind::Int16,
        NativeType::Text => Kind::Text,
        NativeType::Time => Kind::Time,
        NativeType::Timestamp => Kind::TimestampMillis,
        NativeType::Timeuuid => Kind::TimeUuid,
        NativeType::TinyInt => Kind::Int8,
        NativeType::Uuid => Kind::Uuid,
        NativeType::Varint => Kind::Integer,
        NativeType::Counter => {
            return Err("is a counter, which counts twice when the same write arrives twice: make it a bigint".into());
        }
        _ => return Err(unknown()),
    })
}

fn unknown() -> String {
    "has a type that this version does not know: make it one of CQL's own types".into()
}

/// Durations have no order. The server takes none in keys and sets, but overlooks those inside tuples and vectors.
fn expect_order(typ: &ColumnType<'_>) -> Result<(), String> {
    if holds_duration(typ) {
        return Err("has durations in a key or in a set, where they have no order: make them text".into());
    }
    Ok(())
}

fn holds_duration(typ: &ColumnType<'_>) -> bool {
    match typ {
        ColumnType::Native(native) => *native == NativeType::Duration,
        ColumnType::Collection { typ: CollectionType::List(item) | CollectionType::Set(item), .. }
        | ColumnType::Vector { typ: item, .. } => holds_duration(item),
        ColumnType::Collection { typ: CollectionType::Map(key, value), .. } => {
            holds_duration(key) || holds_duration(value)
        }
        ColumnType::Tuple(items) => items.iter().any(holds_duration),
        ColumnType::UserDefinedType { definition, .. } => {
            definition.field_types.iter().any(|(_, typ)| holds_duration(typ))
        }
        _ => false,
    }
}
