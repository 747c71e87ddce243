use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Unparsable;

/// The code of a currency by ISO 4217: three capital letters. Nothing is converted or rounded by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub(crate) const RULE: &str = "must be an ISO 4217 currency code";

    /// The code.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("letters are UTF-8")
    }

    /// Whether the standard lists it, now or before.
    pub fn is_listed(self) -> bool {
        iso_currency::Currency::from_code(self.as_str()).is_some()
    }

    /// The decimals of its minor unit: 2 for cents. `None` if it has none, such as gold, or is not listed.
    pub(crate) fn decimals(self) -> Option<u32> {
        let exponent = iso_currency::Currency::from_code(self.as_str())?.exponent()?;
        Some(exponent.into())
    }

    /// All that the standard lists, now or before, in the order of the alphabet.
    pub(crate) fn listed() -> impl Iterator<Item = Self> {
        let letters = || b'A'..=b'Z';
        letters()
            .flat_map(move |a| letters().flat_map(move |b| letters().map(move |c| Self([a, b, c]))))
            .filter(|code| code.is_listed())
    }
}

impl FromStr for Currency {
    type Err = Unparsable;
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code @ [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z']) => Ok(Self(code)),
            _ => Err(Unparsable(Self::RULE)),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_three_capital_letters_and_listed_or_not() {
        for (code, is_listed) in [
            ("EUR", true),
            ("JPY", true),
            ("XCG", true),
            // Withdrawn, but refunds may have it.
            ("HRK", true),
            ("ZZZ", false),
        ] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!(currency.is_listed(), is_listed, "{code}");
            let json = serde_json::to_string(&currency).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Currency>(&json).unwrap(), currency);
        }
        for bad in ["", "eur", "EU", "EURO", "E1R", "\u{20ac}"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }
}
