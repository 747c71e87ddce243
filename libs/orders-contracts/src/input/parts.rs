//! The parts of a JSON value, each as its raw text. Reading stops where there are too many.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::printable;
use crate::unsaid::TWICE;

/// Reads the members of an object, at most so many. A duplicate name is an error.
pub(super) struct Members(pub(super) usize);

impl<'de> DeserializeSeed<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<Self::Value, D::Error> {
        object.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if members.len() == self.0 {
                let rule = format!("must not have more than {} properties", self.0);
                return Err(A::Error::custom(rule));
            }
            match members.entry(name) {
                Entry::Vacant(place) => _ = place.insert(raw),
                Entry::Occupied(first) => {
                    let shown = printable(first.key());
                    let rule = format!("{TWICE}{shown} twice");
                    return Err(A::Error::custom(rule));
                }
            }
        }
        Ok(members)
    }
}

/// Reads the elements of an array, at most so many.
pub(super) struct AtMost(pub(super) usize);

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, array: D) -> Result<Self::Value, D::Error> {
        array.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(raw) = array.next_element()? {
            if elements.len() == self.0 {
                let rule = format!("must contain no more than {} elements", self.0);
                return Err(A::Error::custom(rule));
            }
            elements.push(raw);
        }
        Ok(elements)
    }
}
