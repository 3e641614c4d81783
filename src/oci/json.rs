//! The one JSON writer of everything that is hashed, and the strict reader.
//!
//! Writing: object keys sorted by their bytes, no white space, no floats. Reading: an object with the same key
//! twice could be read in two ways (CVE-2021-41190 is of that family), so it is refused.

use std::fmt;

use serde::Serialize;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Error;

/// The canonical bytes of `document`.
///
/// # Panics
/// Never for the types of this crate: they hold no map with keys that are not strings.
pub fn canonical(document: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(document).unwrap_or(Value::Null);
    let mut bytes = Vec::new();
    write(&value, &mut bytes);
    bytes
}

// `serde_json::Map` is sorted unless some crate switches `preserve_order` on; sorting here does not depend on that.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (n, (key, member)) in members.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

/// Parses a document; the same key twice in one object is an error. `what` names it in messages.
pub fn parse(bytes: &[u8], what: &'static str) -> Result<Value, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let malformed = |error: serde_json::Error| Error::Malformed { what, reason: error.to_string() };
    let value = Strict.deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key `{}` appears twice", key.escape_debug())));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_text_is_escaped() {
        let value = parse(br#"{"b":[1,{"z":null,"a":"x\ny"}],"a":"\u00e9"}"#, "test").unwrap();
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            "{\"a\":\"é\",\"b\":[1,{\"a\":\"x\\ny\",\"z\":null}]}"
        );
    }

    #[test]
    fn two_readings_are_refused() {
        for bad in [&br#"{"layers":[],"layers":[1]}"#[..], b"{} {}", b"{\"a\":1", b"", &[b'['; 1000]] {
            assert!(parse(bad, "manifest").is_err());
        }
        let message = parse(br#"{"a":1,"a":2}"#, "manifest").unwrap_err().to_string();
        assert!(message.starts_with("malformed manifest: the key `a` appears twice"), "{message}");
    }
}
