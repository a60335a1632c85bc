//! Stored texts, ids and times as JSON strings.

use bson::DateTime;

use super::walk::Malformed;
use crate::model::Timestamp;

/// Writes a text with its quotes.
///
/// # Errors
/// [`Malformed::Utf8`].
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let seen = look(text);
    if seen & ESCAPED != 0 {
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Utf8)?;
        // Neither a string nor a vector can fail.
        let _ = serde_json::to_writer(out, text);
        return Ok(());
    }
    if seen & BEYOND_ASCII != 0 && std::str::from_utf8(text).is_err() {
        return Err(Malformed::Utf8);
    }
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
    Ok(())
}

/// The text has a byte that JSON strings cannot hold as it is.
const ESCAPED: u8 = 1;
/// The text has a byte above 127. (This is that very bit.)
const BEYOND_ASCII: u8 = 0x80;

/// What kinds of bytes there are, of all bytes at once: no branch for each, so that the compiler looks at many together.
fn look(text: &[u8]) -> u8 {
    let kinds = |byte: u8| (byte & BEYOND_ASCII) | u8::from(byte < b' ' || byte == b'"' || byte == b'\\');
    text.iter().fold(0, |seen, &byte| seen | kinds(byte))
}

/// Writes an id as 24 hex digits.
pub(super) fn write_object_id(id: &[u8; 12], out: &mut Vec<u8>) {
    let mut text = [b'"'; 26];
    for (digits, bytes) in text[1..25].as_chunks_mut().0.iter_mut().zip(id.as_chunks().0) {
        *digits = hex(*bytes);
    }
    out.extend_from_slice(&text);
}

/// Eight hex digits, all made at once in the bytes of one word.
#[inline]
fn hex(bytes: [u8; 4]) -> [u8; 8] {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let spread = u64::from(u32::from_le_bytes(bytes));
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (spread >> 4 | spread << 8) & (0x0f * EACH);
    // Six more than a digit from 10 on reaches the fifth bit.
    let letters = (halves + 6 * EACH) >> 4 & EACH;
    const LETTERS: u64 = (b'a' - b'0' - 10) as u64;
    (halves + u64::from(b'0') * EACH + letters * LETTERS).to_le_bytes()
}

/// Writes a time, in milliseconds since 1970, as [`Timestamp`] prints it.
pub(super) fn write_date_time(millis: i64, out: &mut Vec<u8>) {
    const DAY: i64 = 86_400_000;
    const YEAR_0: i64 = -719_528 * DAY;
    const YEAR_10_000: i64 = 2_932_897 * DAY;
    if !(YEAR_0..YEAR_10_000).contains(&millis) {
        // Years that have a sign, or that no calendar has.
        let text = Timestamp::new(DateTime::from_millis(millis)).to_string();
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let since_year_0 = (millis - YEAR_0) as u64;
    let (year, month, day) = date((since_year_0 / DAY as u64) as u32);
    let time = (since_year_0 % DAY as u64) as u32;

    let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
    let mut put = |at: usize, two: u32| {
        text[at] = b'0' + (two / 10) as u8;
        text[at + 1] = b'0' + (two % 10) as u8;
    };
    put(1, year / 100);
    put(3, year % 100);
    put(6, month);
    put(9, day);
    put(12, time / 3_600_000);
    put(15, time / 60_000 % 60);
    put(18, time / 1000 % 60);
    put(21, time % 1000 / 10);
    text[23] = b'0' + (time % 10) as u8;
    out.extend_from_slice(&text);
}

/// Year, month and day of a day counted from 0000-01-01, in the Gregorian calendar without end.
///
/// Years that begin in March have their leap day at the end, so that months have a formula.
fn date(day: u32) -> (u32, u32, u32) {
    const CYCLE: u32 = 146_097; // the days of 400 years
    // The first March begins on day 60; one cycle more keeps what is before it above 0.
    let day = day + CYCLE - 60;
    let (cycle, day) = (day / CYCLE, day % CYCLE);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let year = 400 * cycle + year;
    if month < 10 { (year - 400, month + 3, day_of_month) } else { (year - 399, month - 9, day_of_month) }
}
