//! Values with parts: arrays, hstore, vectors, and the structs of decimals, points, geometries and sparse vectors.

use std::fmt;

use bytestring::ByteString;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::change::Reject;
use crate::format::json::{Name, Skip};
use crate::format::logical::{Place, ValueSeed, numbers, out_of_range, wrong};
use crate::row::Value;
use crate::row::wire::{BytesForm, Wire};

static TEXT: Wire = Wire::Text;
static FLOAT: Wire = Wire::Float64;
static INTEGER: Wire = Wire::Int32;
static BASE64: Wire = Wire::Bytes(BytesForm::Base64);

/// An array with null elements, or the placeholder of an unchanged one.
pub fn array<'de, A: SeqAccess<'de>>(
    seed: ValueSeed<'_, 'de>,
    item: &Wire,
    mut elements: A,
) -> Result<Value, A::Error> {
    let mut items = Vec::new();
    loop {
        // Only a whole column has a placeholder, so only its elements are looked at.
        let place = match seed.place {
            Place::Column if items.is_empty() => Place::FirstItem,
            _ => Place::Inside,
        };
        let Some(value) = elements.next_element_seed(seed.inside(item, place))? else { break };
        if items.len() == 1 && items[0] == Value::Unavailable {
            let found = "a placeholder among other elements";
            items[0] = seed.placeholder.as_item(item).ok_or_else(|| seed.wrong(found))?;
        }
        items.push(value);
    }
    let unchanged = items == [Value::Unavailable] || seed.placeholder.is_octets(item, &items);
    Ok(if unchanged && seed.place == Place::Column { Value::Unavailable } else { Value::List(items) })
}

/// pgvector's vector and halfvec.
pub fn vector<'de, A: SeqAccess<'de>>(seed: ValueSeed<'_, 'de>, mut elements: A) -> Result<Value, A::Error> {
    let mut items = Vec::new();
    while let Some(value) = elements.next_element_seed(seed.inside(&FLOAT, Place::Inside))? {
        if value == Value::Null {
            return Err(seed.wrong("null among the numbers"));
        }
        items.push(value);
    }
    Ok(Value::List(items))
}

/// An hstore as an object of texts and nulls.
pub fn hstore<'de, A: MapAccess<'de>>(seed: ValueSeed<'_, 'de>, mut members: A) -> Result<Value, A::Error> {
    let mut pairs = Vec::new();
    while let Some(name) = members.next_key::<Name<'de>>()? {
        let key = Value::Text(seed.notes.share_name(name));
        pairs.push((key, members.next_value_seed(seed.inside(&TEXT, Place::Inside))?));
    }
    let unchanged = seed.place == Place::Column && seed.placeholder.is_pair(&pairs);
    Ok(if unchanged { Value::Unavailable } else { Value::Map(pairs) })
}

/// An hstore as an object that is written in a string.
pub fn hstore_of_text(text: &str) -> Result<Value, Reject> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(Value, Value)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts and nulls")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((Name(key), value)) = members.next_entry::<Name<'de>, Option<Name<'de>>>()? {
                let value = value.map_or(Value::Null, |Name(value)| Value::Text(ByteString::from(value.as_ref())));
                pairs.push((Value::Text(ByteString::from(key.as_ref())), value));
            }
            Ok(pairs)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let pairs = (&mut json).deserialize_map(Pairs).and_then(|pairs| json.end().map(|()| pairs));
    pairs.map(Value::Map).map_err(|_| wrong(&Wire::HstoreJson, "a string that is not an object of texts and nulls"))
}

/// `{"scale":2,"value":"MDk="}`
pub fn variable_scale_decimal<'de, A: MapAccess<'de>>(seed: ValueSeed<'_, 'de>, members: A) -> Result<Value, A::Error> {
    match parts(seed, [("scale", &INTEGER), ("value", &BASE64)], members)? {
        [Value::Int(scale), Value::Bytes(bytes)] => match i32::try_from(scale) {
            Ok(scale) => seed.finish(numbers::unscaled(seed.wire, &bytes, scale)),
            Err(_) => Err(seed.refuse(out_of_range(seed.wire))),
        },
        _ => Err(seed.wrong("an object without `scale` and `value`")),
    }
}

/// `{"x":1.5,"y":-2.0,"wkb":…,"srid":null}`; the WKB says nothing that x and y do not.
pub fn point<'de, A: MapAccess<'de>>(seed: ValueSeed<'_, 'de>, members: A) -> Result<Value, A::Error> {
    match parts(seed, [("x", &FLOAT), ("y", &FLOAT), ("srid", &INTEGER)], members)? {
        [x @ Value::Float64(_), y @ Value::Float64(_), srid] => {
            Ok(Value::Struct(vec![("x", x), ("y", y), ("srid", present(srid))]))
        }
        _ => Err(seed.wrong("an object without `x` and `y`")),
    }
}

/// `{"wkb":…,"srid":4326}`, with the bytes as they are sent.
pub fn geometry<'de, A: MapAccess<'de>>(seed: ValueSeed<'_, 'de>, members: A) -> Result<Value, A::Error> {
    match parts(seed, [("wkb", &BASE64), ("srid", &INTEGER)], members)? {
        [wkb @ Value::Bytes(_), srid] => Ok(Value::Struct(vec![("wkb", wkb), ("srid", present(srid))])),
        _ => Err(seed.wrong("an object without `wkb`")),
    }
}

/// `{"dimensions":4,"vector":[[1,1.0],[3,2.0]]}`
pub fn sparse_vector<'de, A: MapAccess<'de>>(seed: ValueSeed<'_, 'de>, mut members: A) -> Result<Value, A::Error> {
    let (mut dimensions, mut vector) = (None, None);
    while let Some(Name(name)) = members.next_key()? {
        let twice = match name.as_ref() {
            "dimensions" => {
                dimensions.replace(members.next_value_seed(seed.inside(&INTEGER, Place::Inside))?).is_some()
            }
            "vector" => vector.replace(members.next_value_seed(PairsSeed(seed))?).is_some(),
            _ => {
                members.next_value::<Skip>()?;
                false
            }
        };
        if twice {
            return Err(seed.wrong("a part that comes twice"));
        }
    }
    match (dimensions, vector) {
        (Some(dimensions @ Value::Int(_)), Some(vector)) => {
            Ok(Value::Struct(vec![("dimensions", dimensions), ("vector", Value::Map(vector))]))
        }
        _ => Err(seed.wrong("an object without `dimensions` and `vector`")),
    }
}

/// What an object has under these names. What is not there is absent, other members are passed over.
fn parts<'de, A: MapAccess<'de>, const N: usize>(
    seed: ValueSeed<'_, 'de>,
    names: [(&'static str, &'static Wire); N],
    mut members: A,
) -> Result<[Value; N], A::Error> {
    let mut values = [const { Value::Absent }; N];
    while let Some(Name(name)) = members.next_key()? {
        let Some(at) = names.iter().position(|(part, _)| *part == name) else {
            members.next_value::<Skip>()?;
            continue;
        };
        if values[at] != Value::Absent {
            return Err(seed.wrong("a part that comes twice"));
        }
        values[at] = members.next_value_seed(seed.inside(names[at].1, Place::Inside))?;
    }
    Ok(values)
}

fn present(value: Value) -> Value {
    if value == Value::Absent { Value::Null } else { value }
}

/// Reads the pairs in which the JSON converter writes a map whose keys are no texts.
struct PairsSeed<'a, 't>(ValueSeed<'a, 't>);

impl<'de> DeserializeSeed<'de> for PairsSeed<'_, 'de> {
    type Value = Vec<(Value, Value)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed<'_, 'de> {
    type Value = Vec<(Value, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pairs of an index and a number")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = elements.next_element_seed(PairSeed(self.0))? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct PairSeed<'a, 't>(ValueSeed<'a, 't>);

impl<'de> DeserializeSeed<'de> for PairSeed<'_, 'de> {
    type Value = (Value, Value);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairSeed<'_, 'de> {
    type Value = (Value, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index and a number")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
        let index = pair.next_element_seed(self.0.inside(&INTEGER, Place::Inside))?;
        let number = pair.next_element_seed(self.0.inside(&FLOAT, Place::Inside))?;
        match (index, number, pair.next_element::<Skip>()?) {
            (Some(index @ Value::Int(_)), Some(number @ Value::Float64(_)), None) => Ok((index, number)),
            _ => Err(self.0.wrong("a pair that is not an index and a number")),
        }
    }
}
