//! Points in time, to the millisecond, as databases and phones hold them.

use std::fmt;

use bson::DateTime;
use chrono::{NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A point in time with millisecond precision, within the years 1 to 9999 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(DateTime);

impl Timestamp {
    /// A point in time from the database or the clock.
    pub fn new(at: DateTime) -> Self {
        Self(at)
    }

    /// Reads `YYYY-MM-DD` (midnight UTC) or RFC 3339; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let at = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Ok(day) if text.len() == 10 => day.and_time(NaiveTime::MIN).and_utc(),
            _ => chrono::DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc),
        };
        let years = NaiveDate::from_ymd_opt(1, 1, 1)?..=NaiveDate::from_ymd_opt(9999, 12, 31)?;
        years.contains(&at.date_naive()).then(|| Self(DateTime::from_chrono(at)))
    }

    /// The time as databases hold it.
    pub fn date_time(self) -> DateTime {
        self.0
    }
}

/// Prints the form of the wire: `2025-01-12T00:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_chrono().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Timestamp::parse(text).map(|at| at.to_string())
    }

    #[test]
    fn days_are_midnight_utc_and_offsets_are_resolved() {
        assert_eq!(shown("2025-01-12").as_deref(), Some("2025-01-12T00:00:00.000Z"));
        assert_eq!(shown("2025-01-12T05:30:00+05:30").as_deref(), Some("2025-01-12T00:00:00.000Z"));
        assert_eq!(shown("2025-01-12T00:00:00.1239Z").as_deref(), Some("2025-01-12T00:00:00.123Z"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "2025-1-2",
            "+2025-01-12",
            "12-01-2025",
            "2025-02-30",
            "2025-01-12T00:00:00",
            "now",
            "10000-01-01",
            "0000-01-01",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(shown("9999-12-31T23:59:59-01:00"), None);
    }
}
