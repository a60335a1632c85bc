//! Stored numbers as JSON numbers.
//!
//! Numbers in the books are whole, or have at most 4 places; both are written without a search for the
//! shortest text. A decimal of at most 15 digits is the shortest text of the double next to it, because
//! no two such decimals share a double. So where `double` is the quotient of `n` and 10^4, which IEEE
//! division rounds correctly, and `n` has at most 15 digits, the text of `n` with the point put in is
//! exactly what the standard library prints.

use std::io::Write;

use bson::Decimal128;
use bson::raw::RawBsonRef;

use super::walk::Value;
use crate::model::Amount;

/// Writes a whole number.
pub(super) fn write_integer(whole: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
}

/// Writes a double. JSON has no NaN and no infinity, so they are null.
pub(super) fn write_double(double: f64, out: &mut Vec<u8>) {
    if let Some(whole) = whole(double) {
        write_integer(whole, out);
    } else if let Some(units) = units(double) {
        write_units(units, out);
    } else if double.is_finite() {
        // Neither a number nor a vector can fail.
        let _ = write!(out, "{double}");
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Writes a decimal as the double next to it.
pub(super) fn write_decimal(decimal: [u8; 16], out: &mut Vec<u8>) {
    match decimal_units(decimal) {
        Some(units) => write_units(units, out),
        None => write_double(Decimal128::from_bytes(decimal).to_string().parse().unwrap_or(f64::NAN), out),
    }
}

/// Writes a number rounded to 4 places if it is within an [`Amount`]'s range, and as it is if not;
/// says `false`, and writes nothing, if the value is no number.
pub(super) fn write_amount(value: Value<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Int32(whole) => write_integer(whole.into(), out),
        Value::Int64(whole) => write_integer(whole, out),
        Value::Double(double) => match whole(double) {
            Some(whole) => write_integer(whole, out),
            None => match units(double).or_else(|| rounded_units(double)) {
                Some(units) => write_units(units, out),
                None => write_double(rounded(RawBsonRef::Double(double)).unwrap_or(double), out),
            },
        },
        Value::Decimal128(decimal) => match decimal_units(decimal) {
            Some(units) => write_units(units, out),
            None => match rounded(RawBsonRef::Decimal128(Decimal128::from_bytes(decimal))) {
                Some(double) => write_double(double, out),
                None => write_decimal(decimal, out),
            },
        },
        _ => return false,
    }
    true
}

/// The way without short cuts: what an amount made of the value shows.
#[cold]
fn rounded(value: RawBsonRef<'_>) -> Option<f64> {
    Amount::from_bson(value).map(Amount::to_f64)
}

/// How many of a number's units, its ten-thousandths, make 1.
const UNITS: i64 = 10_000;
/// The smallest number of units that has more than 15 digits.
const TOO_MANY: u64 = 1_000_000_000_000_000;

/// The whole number that the double is, as far as doubles hold all whole numbers.
fn whole(double: f64) -> Option<i64> {
    const EXACT: u64 = 1 << 53;
    let whole = double as i64; // saturates, and is 0 for NaN
    (whole as f64 == double && whole.unsigned_abs() < EXACT).then_some(whole)
}

/// The units of a double that has at most 4 places and 15 digits.
fn units(double: f64) -> Option<i64> {
    let units = nearest(double * UNITS as f64);
    (units.unsigned_abs() < TOO_MANY && units as f64 / UNITS as f64 == double).then_some(units)
}

/// The units of a double rounded to 4 places, if it is plain which way it rounds.
///
/// Below 10^7 the product is less than 10^-4 units away from that of the double's shortest text, which is
/// what an amount rounds. So it is plain as long as the product keeps its distance from the half.
fn rounded_units(double: f64) -> Option<i64> {
    const PLAIN: f64 = 0.499;
    let product = double * UNITS as f64;
    let units = nearest(product);
    (double.abs() < 1e7 && (product - units as f64).abs() < PLAIN).then_some(units)
}

fn nearest(double: f64) -> i64 {
    (double + 0.5_f64.copysign(double)) as i64
}

/// The units of a decimal that has at most 4 places and 15 digits, read off its bits: a sign, an
/// exponent of 14 bits, and digits as a whole number. Other layouts are for special values.
fn decimal_units(decimal: [u8; 16]) -> Option<i64> {
    const DIGITS: u32 = 113;
    const ZERO_EXPONENT: i32 = 6176;
    let bits = u128::from_le_bytes(decimal);
    let digits = bits & ((1 << DIGITS) - 1);
    let places = ZERO_EXPONENT - (bits >> DIGITS & 0x3fff) as i32;
    if bits >> 125 & 0b11 == 0b11 || !(0..=4).contains(&places) || digits >= TOO_MANY.into() {
        return None;
    }
    let units = digits as u64 * 10_u64.pow(4 - places as u32);
    let signed = if bits >> 127 == 1 { -(units as i64) } else { units as i64 };
    (units < TOO_MANY).then_some(signed)
}

/// Writes units as a number: with a point, and no zeros at the end.
fn write_units(units: i64, out: &mut Vec<u8>) {
    let size = units.unsigned_abs();
    let (whole, mut places) = (size / UNITS as u64, (size % UNITS as u64) as u16);
    if units < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if places == 0 {
        return;
    }
    out.push(b'.');
    let mut place = 1000;
    while places > 0 {
        out.push(b'0' + (places / place) as u8);
        places %= place;
        place /= 10;
    }
}
