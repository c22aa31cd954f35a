use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::{Error, Result};

/// A moment in UTC.
pub type UtcTime = DateTime<Utc>;

/// A calendar day in UTC, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("the first of January exists");

impl Day {
    /// The day of a moment.
    #[must_use]
    pub fn of(time: UtcTime) -> Self {
        Self::from_date(time.date_naive())
    }

    /// Position in the year as an angle in radians, 0 on the first of January; a year has 365.2425 days.
    #[must_use]
    pub fn season_angle(self) -> f64 {
        f64::from(self.0) / 365.2425 * std::f64::consts::TAU
    }

    /// Day of the year, 1 to 366.
    #[must_use]
    pub fn ordinal(self) -> u32 {
        self.date().ordinal()
    }

    /// Month of the year, 1 to 12.
    #[must_use]
    pub fn month(self) -> u32 {
        self.date().month()
    }

    /// Calendar year.
    #[must_use]
    pub fn year(self) -> i32 {
        self.date().year()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "chrono's dates span 2^28 days"
    )]
    fn from_date(date: NaiveDate) -> Self {
        Self((date - EPOCH).num_days() as i32)
    }

    fn date(self) -> NaiveDate {
        EPOCH
            .checked_add_signed(TimeDelta::days(i64::from(self.0)))
            .unwrap_or(NaiveDate::MAX)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.date().format("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map(Self::from_date)
            .map_err(|_| Error::InvalidDay { text: text.into() })
    }
}

/// Reads an RFC 3339 time; a time without a zone is taken as UTC, as several catalogs write it.
///
/// # Errors
///
/// If the text is no time.
pub fn parse_time(text: &str) -> Result<UtcTime> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| {
            text.parse::<chrono::NaiveDateTime>()
                .map(|time| time.and_utc())
        })
        .map_err(|_| Error::InvalidTime { text: text.into() })
}

/// Writes a time in UTC with whole seconds: `2025-06-01T10:20:30Z`.
#[must_use]
pub fn format_time(time: UtcTime) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Days from `start` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    start: Day,
    end: Day,
}

impl Period {
    /// The days from `start` to `end`, both included.
    ///
    /// # Errors
    ///
    /// If `end` is before `start`.
    pub fn new(start: Day, end: Day) -> Result<Self> {
        if end < start {
            Err(Error::InvertedPeriod { start, end })
        } else {
            Ok(Self { start, end })
        }
    }

    /// First day.
    #[must_use]
    pub fn start(self) -> Day {
        self.start
    }

    /// Last day.
    #[must_use]
    pub fn end(self) -> Day {
        self.end
    }

    /// True if the day lies in the period.
    #[must_use]
    pub fn contains(self, day: Day) -> bool {
        (self.start..=self.end).contains(&day)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_it_was_read() {
        for text in ["1970-01-01", "2018-12-31", "2020-02-29", "1969-12-31"] {
            assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
        }
        assert_eq!("1970-01-02".parse::<Day>().unwrap(), Day(1));
        assert!("2018-13-01".parse::<Day>().is_err());
    }

    #[test]
    fn times_are_utc_and_whole_seconds() {
        let time = parse_time("2020-02-19T13:24:01.123+02:00").unwrap();
        assert_eq!(format_time(time), "2020-02-19T11:24:01Z");
        assert_eq!(Day::of(time).to_string(), "2020-02-19");
        assert_eq!(
            format_time(parse_time("2020-02-19T13:24:01").unwrap()),
            "2020-02-19T13:24:01Z"
        );
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn a_period_contains_both_its_ends() {
        let period = Period::new(Day(10), Day(20)).unwrap();
        assert!(period.contains(Day(10)) && period.contains(Day(20)) && !period.contains(Day(21)));
        assert!(Period::new(Day(2), Day(1)).is_err());
    }
}
