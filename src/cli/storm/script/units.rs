//! Amounts as the load counts them: whole ten-thousandths, the finest that the API keeps (API.md, numbers).

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Deserializer};

/// An exact amount, price, quantity or stock.
///
/// It shares no code with the server's own arithmetic, which the audit is there to check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Units(i64);

impl Units {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    const PER_ONE: i64 = 10_000;

    /// A whole number.
    pub const fn whole(number: i64) -> Self {
        Self(number * Self::PER_ONE)
    }

    /// Hundredths.
    pub const fn cents(cents: i64) -> Self {
        Self(cents * Self::PER_ONE / 100)
    }

    /// A price times a quantity. The caller takes care that no more than 4 decimal places come of it.
    pub fn times(self, quantity: Self) -> Self {
        let product = i128::from(self.0) * i128::from(quantity.0);
        debug_assert_eq!(product % i128::from(Self::PER_ONE), 0, "an inexact product");
        Self((product / i128::from(Self::PER_ONE)) as i64)
    }

    /// About a half of it: to the cent below.
    pub fn half(self) -> Self {
        Self::cents(self.0 * 100 / Self::PER_ONE / 2)
    }
}

/// Prints the plain decimal, which is a JSON number as well: `12.5`, `100`, `-0.0001`.
impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.abs() / Self::PER_ONE, self.0.abs() % Self::PER_ONE);
        write!(f, "{sign}{whole}")?;
        match fraction {
            0 => Ok(()),
            f4 if f4 % 100 == 0 && f4 / 100 % 10 == 0 => write!(f, ".{}", f4 / 1000),
            f4 if f4 % 100 == 0 => write!(f, ".{:02}", f4 / 100),
            f4 => write!(f, ".{f4:04}"),
        }
    }
}

/// Reads a JSON number. A double holds every amount of the API exactly on the way back.
impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|number| Self((number * Self::PER_ONE as f64).round() as i64))
    }
}

impl Add for Units {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Units {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl SubAssign for Units {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Units {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn print_as_short_as_they_are() {
        let shown = |units: i64| Units(units).to_string();
        assert_eq!(
            [0, 1, 10, 100, 2_500, 10_000, 120_500].map(shown),
            ["0", "0.0001", "0.0010", "0.01", "0.25", "1", "12.05"]
        );
        assert_eq!(shown(125_000), "12.5");
        assert_eq!(shown(-1), "-0.0001");
    }

    #[test]
    fn multiply_exactly() {
        assert_eq!(Units::cents(1_299).times(Units::cents(75)), Units(97_425));
        assert_eq!(Units(97_425).half(), Units::cents(487));
    }

    proptest! {
        #[test]
        fn come_back_from_json(units in -999_999_999_999_999_i64..999_999_999_999_999) {
            let text = Units(units).to_string();
            prop_assert_eq!(serde_json::from_str::<Units>(&text).unwrap(), Units(units));
        }
    }
}
