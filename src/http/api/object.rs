//! How an object is read: the fields that are wanted as they stand, the rest skipped, and what comes twice found out.

use std::{collections::HashSet, fmt};

use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::problem::shortened;

/// What a body is.
pub(super) enum Root<'a> {
    Object {
        given: Vec<(&'static str, &'a RawValue)>,
        duplicates: Vec<String>,
    },
    /// Something else, by the name that Python has for it.
    Other(&'static str),
}

pub(super) struct Object {
    pub(super) wanted: &'static [&'static str],
}

impl<'de> Visitor<'de> for Object {
    type Value = Root<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Root<'de>, A::Error> {
        let mut given: Vec<(&'static str, &'de RawValue)> = Vec::with_capacity(self.wanted.len());
        let mut others = HashSet::new();
        let mut duplicates = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            let wanted = self.wanted.iter().copied().find(|name| name.as_bytes() == key);
            let is_new = match wanted {
                Some(name) => {
                    let value = map.next_value()?;
                    let is_new = given.iter().all(|(known, _)| *known != name);
                    given.push((name, value));
                    is_new
                }
                None => {
                    map.next_value::<de::IgnoredAny>()?;
                    others.insert(key.clone())
                }
            };
            if !is_new {
                duplicates.push(shortened(&String::from_utf8_lossy(&key)).to_owned());
            }
        }
        Ok(Root::Object { given, duplicates })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Root<'de>, A::Error> {
        while items.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Root::Other("list"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Root<'de>, E> {
        Ok(Root::Other("bool"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Root<'de>, E> {
        Ok(Root::Other("int"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Root<'de>, E> {
        Ok(Root::Other("int"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Root<'de>, E> {
        Ok(Root::Other("float"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Root<'de>, E> {
        Ok(Root::Other("str"))
    }

    fn visit_unit<E>(self) -> Result<Root<'de>, E> {
        Ok(Root::Other("null"))
    }
}

/// A key as bytes: one that holds a lone surrogate is a key like any other.
struct Key(Vec<u8>);

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).map(Key)
    }
}

/// Takes a string as it is, whatever stands in it.
pub(super) struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }
}
