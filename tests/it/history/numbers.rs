//! The model's arithmetic: whole ten-thousandths, which is all that the contract asks for.

use serde_json::Value;

/// A JSON number as ten-thousandths, rounded half away from zero; `None` for anything else.
pub fn ten_thousandths(value: &Value) -> Option<i128> {
    let text = value.as_f64()?.to_string(); // the shortest text, never with an exponent
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let shown = format!("{whole}{fraction:0<5.5}").parse::<i128>().ok()?; // one digit more than is kept
    Some(sign * ((shown + 5) / 10))
}

/// The product of two amounts in hundred-millionths, rounded to ten-thousandths half away from zero.
pub fn rounded(hundred_millionths: i128) -> i128 {
    let size = (hundred_millionths.abs() + 5_000) / 10_000;
    size * hundred_millionths.signum()
}

/// Ten-thousandths as the answer prints them: whole numbers have no fraction.
pub fn json_number(ten_thousandths: i128) -> Value {
    if ten_thousandths % 10_000 == 0 {
        Value::from((ten_thousandths / 10_000) as i64)
    } else {
        Value::from(ten_thousandths as f64 / 10_000.0)
    }
}

#[test]
fn numbers_are_rounded_half_away_from_zero() {
    for (number, expected) in
        [(1.0, 10_000), (0.300_000_000_000_000_04, 3_000), (1.000_05, 10_001), (-1.000_05, -10_001), (0.000_049, 0)]
    {
        assert_eq!(ten_thousandths(&Value::from(number)), Some(expected), "{number}");
    }
    assert_eq!((rounded(15_000), rounded(-15_000), rounded(14_999)), (2, -2, 1));
    assert_eq!((json_number(25_000).to_string(), json_number(20_000).to_string()), ("2.5".into(), "2".into()));
}
