//! Exact decimal amounts: money, prices, quantities and stock.

use std::fmt;

use bson::raw::RawBsonRef;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An exact decimal with at most 4 decimal places, below 10^11 in size.
///
/// Within these bounds (15 significant digits) a double holds every value exactly on the way back, so
/// amounts are doubles at rest and on the wire and decimals only in between.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

/// A value that is no number, or not below 10^11 in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("below 100000000000 in size")]
pub struct OutOfRange;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    const PLACES: u32 = 4;
    /// Ten to the power of the places of a decimal.
    const UNITS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
    const LIMIT: Decimal = Decimal::from_parts(1_215_752_192, 23, 0, false, 0); // 10^11

    /// A whole amount, for defaults.
    pub const fn whole(value: u16) -> Self {
        Self(Decimal::from_parts(value as u32, 0, 0, false, 0))
    }

    /// Rounds to 4 places, half away from zero.
    pub fn from_decimal(value: Decimal) -> Result<Self, OutOfRange> {
        let rounded = value.round_dp_with_strategy(Self::PLACES, RoundingStrategy::MidpointAwayFromZero).normalize();
        if rounded.abs() < Self::LIMIT { Ok(Self(rounded)) } else { Err(OutOfRange) }
    }

    /// Rounds a double by its shortest text, which is what the sender meant: 0.30000000000000004 is
    /// 0.3, and 1.00005 is 1.0001 although the double lies a little below the half.
    pub fn from_f64(value: f64) -> Result<Self, OutOfRange> {
        if value.is_nan() || value.abs() >= 1e12 {
            return Err(OutOfRange);
        }
        // Most have no more than 4 places, and so 15 digits at most. Of those no two are the same double, so what
        // gives this double back is its shortest text.
        let units = (value * Self::UNITS[Self::PLACES as usize]).round();
        if units.abs() < 1e15 && units / Self::UNITS[Self::PLACES as usize] == value {
            return Self::from_decimal(Decimal::new(units as i64, Self::PLACES));
        }
        // The text never has an exponent. Digits past the 28th place are rounded away, far below ours.
        let exact: Decimal = value.to_string().parse().map_err(|_| OutOfRange)?;
        Self::from_decimal(exact)
    }

    /// Reads a JSON number.
    pub fn from_json(number: &serde_json::Number) -> Result<Self, OutOfRange> {
        match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Self::from_decimal(Decimal::from(whole)),
            (None, Some(double)) => Self::from_f64(double),
            (None, None) => Err(OutOfRange),
        }
    }

    /// Reads a stored number, whichever of BSON's number types an old record has; `None` for anything
    /// else, and for what is out of range.
    pub fn from_bson(value: RawBsonRef<'_>) -> Option<Self> {
        match value {
            RawBsonRef::Int32(whole) => Self::from_decimal(whole.into()).ok(),
            RawBsonRef::Int64(whole) => Self::from_decimal(whole.into()).ok(),
            RawBsonRef::Double(double) => Self::from_f64(double).ok(),
            RawBsonRef::Decimal128(decimal) => Self::from_f64(decimal.to_string().parse().ok()?).ok(),
            _ => None,
        }
    }

    /// The nearest double, from which [`Amount::from_f64`] gives the same amount back.
    pub fn to_f64(self) -> f64 {
        // Both have 15 digits at most and so are exact doubles, whose quotient is the double nearest to theirs.
        self.0.mantissa() as f64 / Self::UNITS[self.0.scale() as usize]
    }

    /// The JSON number: without a fraction where the amount is whole.
    pub fn to_json(self) -> serde_json::Value {
        let double = self.to_f64();
        if self.0.is_integer() { serde_json::Value::from(double as i64) } else { serde_json::Value::from(double) }
    }

    /// The exact sum of the products of pairs, rounded once at the end.
    pub fn sum_of_products(pairs: impl IntoIterator<Item = (Self, Self)>) -> Result<Self, OutOfRange> {
        let mut sum = Decimal::ZERO;
        for (one, other) in pairs {
            let product = one.0.checked_mul(other.0).ok_or(OutOfRange)?;
            sum = sum.checked_add(product).ok_or(OutOfRange)?;
        }
        Self::from_decimal(sum)
    }

    /// The sum of two amounts.
    pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        Self::from_decimal(self.0 + other.0)
    }

    /// The difference of two amounts.
    pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
        Self::from_decimal(self.0 - other.0)
    }
}

/// Makes `validator`'s `range` accept amounts.
impl validator::ValidateRange<Amount> for Amount {
    fn greater_than(&self, max: Amount) -> Option<bool> {
        Some(*self > max)
    }

    fn less_than(&self, min: Amount) -> Option<bool> {
        Some(*self < min)
    }
}

/// Prints the plain decimal: `12.5`, `100`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// At rest an amount is a double, as its siblings in existing databases are.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_f64())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(value: f64) -> String {
        Amount::from_f64(value).map_or_else(|e| e.to_string(), |a| a.to_string())
    }

    #[test]
    fn rounds_half_away_from_zero_to_four_places() {
        assert_eq!(amount(0.30000000000000004), "0.3");
        assert_eq!(amount(1.00005), "1.0001");
        assert_eq!(amount(-1.00005), "-1.0001");
        assert_eq!(amount(0.00004999), "0");
        assert_eq!(amount(1e-300), "0");
        assert_eq!(amount(-0.0), "0");
        assert_eq!(amount(12.50), "12.5");
    }

    #[test]
    fn is_below_ten_to_the_eleven() {
        assert_eq!(amount(99_999_999_999.999_9), "99999999999.9999");
        for value in [1e11, -1e11, 99_999_999_999.999_95, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(Amount::from_f64(value), Err(OutOfRange), "{value}");
        }
        assert_eq!(Amount::from_json(&serde_json::Number::from(u64::MAX)), Err(OutOfRange));
    }

    #[test]
    fn sums_products_exactly_and_rounds_once() {
        let pair = |a, b| (Amount::from_f64(a).unwrap(), Amount::from_f64(b).unwrap());
        assert_eq!(Amount::sum_of_products([pair(0.0001, 0.5), pair(0.0001, 0.5)]).unwrap().to_string(), "0.0001");
        assert_eq!(Amount::sum_of_products([pair(99_999_999_999.0, 99_999_999_999.0)]), Err(OutOfRange));
    }

    #[test]
    fn whole_amounts_print_without_a_fraction() {
        assert_eq!(Amount::whole(5).to_json().to_string(), "5");
        assert_eq!(Amount::from_f64(-2.5).unwrap().to_json().to_string(), "-2.5");
    }

    proptest! {
        #[test]
        fn survives_the_way_through_a_double(units in -999_999_999_999_999i64..=999_999_999_999_999) {
            let amount = Amount::from_decimal(Decimal::new(units, 4)).unwrap();
            prop_assert_eq!(Amount::from_f64(amount.to_f64()), Ok(amount));
            prop_assert_eq!(amount.to_f64(), amount.to_string().parse::<f64>().unwrap());
        }

        #[test]
        fn is_what_the_shortest_text_of_a_double_says(
            value in prop_oneof![-1e12..1e12, -1e3..1e3, (-1_000_000i64..1_000_000, 1u32..100_000).prop_map(|(a, b)| a as f64 / f64::from(b))],
            away in -2i64..=2,
        ) {
            let value: f64 = value;
            let neighbour = f64::from_bits(value.to_bits().saturating_add_signed(away));
            let by_text = |value: f64| Amount::from_decimal(value.to_string().parse().unwrap());
            for value in [neighbour, (neighbour * 1e4).round() / 1e4, (neighbour * 1e5).round() / 1e5] {
                prop_assert_eq!(Amount::from_f64(value), by_text(value), "{}", value);
            }
        }
    }
}
