use std::{borrow::Cow, fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An exact, non-negative decimal amount in the tenant's currency.
///
/// In JSON it is a number, read from its digits and never through a float: 2 x 49.99 is 99.98. Its serde
/// implementations work only with `serde_json` on text or bytes, because they need the digits as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

/// A number that is not an amount. Displays the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not a number at all.
    #[error("must be a number")]
    NotANumber,
    /// Below zero.
    #[error("must not be less than 0")]
    Negative,
    /// More decimal places than [`Money::MAX_DECIMALS`].
    #[error("must not have more than 6 decimal places")]
    TooPrecise,
    /// Above the largest amount that can be represented.
    #[error("must not be greater than 999999999999")]
    TooLarge,
}

impl Money {
    /// Zero.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// The most decimal places a price can have.
    pub const MAX_DECIMALS: u32 = 6;
    /// The largest price.
    const MAX_PRICE: Decimal = Decimal::from_parts(3_567_587_327, 232, 0, false, 0);

    /// Reads a price from the digits of a JSON number, exactly.
    pub fn parse_price(number: &str) -> Result<Self, InvalidMoney> {
        let money = Self::parse(number)?;
        if money.0 > Self::MAX_PRICE {
            Err(InvalidMoney::TooLarge)
        } else if money.0.scale() > Self::MAX_DECIMALS {
            Err(InvalidMoney::TooPrecise)
        } else {
            Ok(money)
        }
    }

    /// So many of the minor unit of a currency that has so many `decimals`; `None` when that cannot be represented.
    pub(crate) fn from_minor(minor: u64, decimals: u32) -> Option<Self> {
        let value = Decimal::try_from_i128_with_scale(minor.into(), decimals).ok()?;
        Some(Self(value.normalize()))
    }

    fn parse(number: &str) -> Result<Self, InvalidMoney> {
        let parsed = if number.contains(['e', 'E']) {
            Decimal::from_scientific(number)
        } else {
            Decimal::from_str_exact(number)
        };
        match parsed {
            Ok(value) if value.is_sign_negative() && !value.is_zero() => {
                Err(InvalidMoney::Negative)
            }
            Ok(value) => Ok(Self(value.abs().normalize())),
            Err(_) if number.starts_with('-') => Err(InvalidMoney::Negative),
            Err(_) if !number.starts_with(|c: char| c.is_ascii_digit()) => {
                Err(InvalidMoney::NotANumber)
            }
            // A number with more digits than a decimal holds, before or after the point.
            Err(_) if number.contains("e-") || number.contains("E-") => {
                Err(InvalidMoney::TooPrecise)
            }
            Err(rust_decimal::Error::Underflow) => Err(InvalidMoney::TooPrecise),
            Err(_) => Err(InvalidMoney::TooLarge),
        }
    }

    /// Whether it has at most 15 significant digits. A client that reads a JSON number as a double, as JavaScript does,
    /// gets such an amount exactly.
    pub fn fits_a_double(self) -> bool {
        let mut digits = self.0.mantissa().unsigned_abs();
        while digits >= 10_u128.pow(15) && digits.is_multiple_of(10) {
            digits /= 10;
        }
        digits < 10_u128.pow(15)
    }

    /// This amount `quantity` times; `None` when it cannot be represented.
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.0
            .checked_mul(Decimal::from(quantity))
            .map(|value| Self(value.normalize()))
    }

    /// The sum; `None` when it cannot be represented.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .map(|value| Self(value.normalize()))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;
    fn from_str(number: &str) -> Result<Self, InvalidMoney> {
        Self::parse(number)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "description": "An exact decimal amount." })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(money("49.99").times(2), Some(money("99.98")));
        assert_eq!(money("0.1").times(3).unwrap().to_string(), "0.3");
        assert_eq!(
            serde_json::to_string(&money("49.90").times(2).unwrap()).unwrap(),
            "99.8"
        );
    }

    #[test]
    fn prices_are_read_from_their_digits() {
        assert_eq!(Money::parse_price("1e2").unwrap().to_string(), "100");
        assert_eq!(Money::parse_price("-0").unwrap(), Money::ZERO);
        assert_eq!(
            Money::parse_price("999999999999").unwrap().to_string(),
            "999999999999"
        );
        for (bad, why) in [
            ("-1", InvalidMoney::Negative),
            ("-1e999", InvalidMoney::Negative),
            ("0.0000001", InvalidMoney::TooPrecise),
            ("1e-400", InvalidMoney::TooPrecise),
            (
                "0.00000000000000000000000000000000000001",
                InvalidMoney::TooPrecise,
            ),
            ("1000000000000", InvalidMoney::TooLarge),
            ("1e400", InvalidMoney::TooLarge),
            ("123456789012345678901234567890123", InvalidMoney::TooLarge),
            ("\"1\"", InvalidMoney::NotANumber),
            ("true", InvalidMoney::NotANumber),
            ("null", InvalidMoney::NotANumber),
        ] {
            assert_eq!(Money::parse_price(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn only_15_significant_digits_survive_a_double() {
        for exact in [
            "0",
            "0.3",
            "999999999999",
            "123456789.012345",
            "99999999999999900000",
        ] {
            assert!(money(exact).fits_a_double(), "{exact}");
        }
        for residue in [
            "0.30000000000000004",
            "999999999998999999",
            "1000000000.000001",
        ] {
            assert!(!money(residue).fits_a_double(), "{residue}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_a_double_is_read_from_one(digits in 0u64..1_000_000_000_000_000, scale in 0u32..7) {
            let exact = Money(Decimal::from_i128_with_scale(i128::from(digits), scale).normalize());
            prop_assert!(exact.fits_a_double());
            let double: f64 = exact.to_string().parse().unwrap();
            prop_assert_eq!(money(&double.to_string()), exact);
        }

        #[test]
        fn any_sum_of_cents_is_exact(cents in proptest::collection::vec((0u64..10_000_000_000, 1u32..1000), 1..50)) {
            let exact: u128 = cents.iter().map(|(c, q)| u128::from(*c) * u128::from(*q)).sum();
            let total = cents.iter().fold(Money::ZERO, |sum, (c, q)| {
                let price = Money::parse_price(&format!("{}.{:02}", c / 100, c % 100)).unwrap();
                sum.plus(price.times(*q).unwrap()).unwrap()
            });
            prop_assert_eq!(total, money(&format!("{}.{:02}", exact / 100, exact % 100)));
            let json = serde_json::to_string(&total).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), total);
        }
    }
}
