use pitwatch_grid::Day;
use serde::Deserialize;

/// Days in a month, the mean of the Gregorian calendar.
const DAYS_PER_MONTH: f64 = 365.2425 / 12.0;

/// How long after a pit was dug its gravel is washed and reported: a trapezoid of months.
///
/// The density rises from `from_months` to `mode_from_months`, is level to `mode_to_months` and falls to `to_months`.
/// Where the two modes are equal it is a triangle. Gravel is dug and piled in the dry season and washed in the rains.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// Least lag, months.
    pub from_months: f64,
    /// First of the likeliest lags, months.
    pub mode_from_months: f64,
    /// Last of the likeliest lags, months.
    pub mode_to_months: f64,
    /// Greatest lag, months.
    pub to_months: f64,
    /// Months by which the kernel is moved either way to see whether a verdict is stable.
    pub stable_months: f64,
}

impl Lag {
    /// Whether the months are in order.
    pub(crate) fn is_valid(&self) -> bool {
        let Self {
            from_months: a,
            mode_from_months: b,
            mode_to_months: c,
            to_months: d,
            stable_months,
        } = *self;
        [a, b, c, d, stable_months].iter().all(|m| m.is_finite())
            && a <= b
            && b <= c
            && c <= d
            && a < d
            && stable_months >= 0.0
    }

    /// The kernel moved by so many months.
    #[must_use]
    pub fn shifted(self, months: f64) -> Self {
        Self {
            from_months: self.from_months + months,
            mode_from_months: self.mode_from_months + months,
            mode_to_months: self.mode_to_months + months,
            to_months: self.to_months + months,
            ..self
        }
    }

    /// The share of what was dug that is reported within so many months, 0 to 1.
    #[must_use]
    pub fn cdf(self, months: f64) -> f64 {
        let (a, b, c, d) = (
            self.from_months,
            self.mode_from_months,
            self.mode_to_months,
            self.to_months,
        );
        let height = 2.0 / (d - a + c - b);
        if months <= a {
            0.0
        } else if months < b {
            height * (months - a).powi(2) / (2.0 * (b - a))
        } else if months <= c {
            height * (0.5 * (b - a) + months - b)
        } else if months < d {
            1.0 - height * (d - months).powi(2) / (2.0 * (d - c))
        } else {
            1.0
        }
    }

    /// The share of what was dug on a day that is reported in a period, 0 to 1.
    #[must_use]
    pub fn share_in(self, dug: Day, period: (Day, Day)) -> f64 {
        let months = |day: i32| f64::from(day - dug.0) / DAYS_PER_MONTH;
        self.cdf(months(period.1.0 + 1)) - self.cdf(months(period.0.0))
    }

    /// The same for digging that took place somewhere between two days, each equally likely.
    #[must_use]
    pub fn mean_share_in(self, dug: (Day, Day), period: (Day, Day)) -> f64 {
        let n_days = (dug.1.0 - dug.0.0).max(0) + 1;
        let sum: f64 = (0..n_days)
            .map(|day| self.share_in(Day(dug.0.0 + day), period))
            .sum();
        sum / f64::from(n_days)
    }

    /// First and last day on which digging feeds the period.
    #[must_use]
    pub fn digging_days(self, period: (Day, Day)) -> (Day, Day) {
        #[expect(clippy::cast_possible_truncation, reason = "months within centuries")]
        let days = |months: f64| (months * DAYS_PER_MONTH).round() as i32;
        (
            Day(period.0.0 - days(self.to_months)),
            Day(period.1.0 - days(self.from_months)),
        )
    }

    /// Of the digging days that feed a period, each weighted by its share, the part that was watched, 0 to 1.
    #[must_use]
    pub fn watched_share(self, watched: &[(Day, Day)], period: (Day, Day)) -> f64 {
        let (first, last) = self.digging_days(period);
        let (mut all, mut seen) = (0.0, 0.0);
        for day in (first.0..=last.0).map(Day) {
            let share = self.share_in(day, period);
            all += share;
            if watched.iter().any(|&(from, to)| from <= day && day <= to) {
                seen += share;
            }
        }
        if all > 0.0 { seen / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Lag = Lag {
        from_months: 0.0,
        mode_from_months: 4.0,
        mode_to_months: 6.0,
        to_months: 12.0,
        stable_months: 1.0,
    };

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    /// Height 2 / (12 + 2) = 1/7: 2/7 before month 4, 2/7 to month 6, 3/7 after.
    #[test]
    fn the_trapezoid_has_the_areas_of_its_parts() {
        assert!((LAG.cdf(4.0) - 2.0 / 7.0).abs() < 1e-12);
        assert!((LAG.cdf(6.0) - 4.0 / 7.0).abs() < 1e-12);
        assert!((LAG.cdf(9.0) - (1.0 - 3.0 / 28.0)).abs() < 1e-12);
        assert_eq!((LAG.cdf(-1.0), LAG.cdf(12.0)), (0.0, 1.0));
    }

    #[test]
    fn what_is_dug_is_reported_once() {
        let dug = day("2022-02-01");
        let years = [
            (day("2021-01-01"), day("2021-12-31")),
            (day("2022-01-01"), day("2022-12-31")),
            (day("2023-01-01"), day("2023-12-31")),
        ];
        let shares = years.map(|year| LAG.share_in(dug, year));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(shares[0], 0.0);
        assert!(shares[1] > 0.98, "{shares:?}");
    }

    /// Everything that feeds a year is dug from the start of the year before on.
    #[test]
    fn a_year_is_fed_by_two_years_of_digging() {
        let year = (day("2022-01-01"), day("2022-12-31"));
        assert_eq!(
            LAG.digging_days(year),
            (day("2021-01-01"), day("2022-12-31"))
        );
        let all = [(day("2021-01-01"), day("2022-12-31"))];
        assert!((LAG.watched_share(&all, year) - 1.0).abs() < 1e-9);
        let halves = [
            LAG.watched_share(&[(day("2021-01-01"), day("2021-12-31"))], year),
            LAG.watched_share(&[(day("2022-01-01"), day("2022-12-31"))], year),
        ];
        assert!((halves[0] + halves[1] - 1.0).abs() < 1e-9);
        // The mean lag is 5.57 months: 5.57 / 12 of the digging lies in the year before.
        assert!((halves[0] - 0.464).abs() < 0.005, "{halves:?}");
        assert_eq!(LAG.watched_share(&[], year), 0.0);
    }
}
