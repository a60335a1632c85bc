//! Text for a page.

use crate::cli::output::of_so_many;

/// The text as it may stand in elements and attributes of HTML and SVG.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What is no character of a page (HTML, 13.2.3.5) is shown as such.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A count with a thin gap between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count of something, with a thin gap between thousands.
pub fn many(count: u64, noun: &str) -> String {
    format!("{} {}", grouped(count), of_so_many(count, noun))
}

/// A number with the fraction that it has, and a thin gap between thousands.
pub fn plain(value: f64) -> String {
    if value >= 1_000.0 && value.fract() == 0.0 { grouped(value as u64) } else { format!("{value}") }
}

/// Milliseconds with as many digits as they are worth.
pub fn millis(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_become_markup() {
        assert_eq!(
            escaped("<script a='b'>\"&\u{0}\u{1b}é\n"),
            "&lt;script a=&#39;b&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}é\n"
        );
    }

    #[test]
    fn numbers_are_as_long_as_they_are_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!([1, 1_000].map(|count| many(count, "sync")), ["1 sync", "1\u{202f}000 syncs"]);
        assert_eq!([0.0, 0.5, 20.0, 1e4].map(plain), ["0", "0.5", "20", "10\u{202f}000"]);
        assert_eq!([0.0, 1.234, 45.67, 1_234.5].map(millis), ["0.00", "1.23", "45.7", "1\u{202f}235"]);
    }
}
