//! Which passes of the satellites were to be expected: the proof that nothing is missing, or what is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use pitwatch_grid::{Day, Period, UtcTime};

use crate::Expected;

/// Days after which a satellite of Sentinel-2 is over the same place again (Sentinel-2 user handbook: 143 orbits).
const REPEAT_DAYS: i32 = 10;
/// A pass is expected where the satellite delivered its orbit so many days before or after: the 60 days around.
const AROUND_DAYS: i32 = 30;

/// An acquisition that a catalog knows, read or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPass {
    /// The satellite; passes of an `unknown` one expect nothing.
    pub platform: String,
    /// Relative orbit, 1 to 143. Of a pass whose orbit is not known nothing can be expected.
    pub relative_orbit: u16,
    /// MGRS tile.
    pub tile: String,
    /// When the ground was seen.
    pub time: UtcTime,
}

/// A pass over a tile that no catalog knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The satellite.
    pub platform: String,
    /// Relative orbit, 1 to 143.
    pub relative_orbit: u16,
    /// MGRS tile.
    pub tile: String,
    /// When the ground would have been seen, from the pass nearest in time.
    pub time: UtcTime,
    /// Whether it was to be expected.
    pub expected: Expected,
}

/// The passes that are missing, by time, satellite and tile.
///
/// A satellite passes every ten days over each tile that it ever delivered of one orbit. Such a pass is expected if the
/// satellite delivered the orbit, over any tile, in the 60 days around; otherwise the plan is not known: it may have been
/// off, or not tasked. Where a satellite was moved along its orbit, so that passes are no multiple of ten days apart, the
/// days before and after the move are told apart, and nothing is expected beyond either.
///
/// - `known`: all acquisitions over the area that any source has.
/// - `period`: only passes of its days are told.
#[must_use]
pub fn missing_passes(known: &[KnownPass], period: Period) -> Vec<Pass> {
    let mut tracks: BTreeMap<(&str, u16), Vec<&KnownPass>> = BTreeMap::new();
    for pass in known
        .iter()
        .filter(|pass| pass.platform.starts_with("sentinel-2"))
    {
        tracks
            .entry((&pass.platform, pass.relative_orbit))
            .or_default()
            .push(pass);
    }
    let mut missing = Vec::new();
    for ((platform, relative_orbit), passes) in tracks {
        let phase_of = |pass: &KnownPass| Day::of(pass.time).0.rem_euclid(REPEAT_DAYS);
        let phases: BTreeSet<i32> = passes.iter().map(|pass| phase_of(pass)).collect();
        for &phase in &phases {
            let of_phase: Vec<&KnownPass> = passes
                .iter()
                .copied()
                .filter(|pass| phase_of(pass) == phase)
                .collect();
            missing_of_phase(
                platform,
                relative_orbit,
                &of_phase,
                phases.len() > 1,
                period,
                &mut missing,
            );
        }
    }
    missing.sort_by(|a, b| {
        (a.time, &a.platform, &a.tile, a.relative_orbit).cmp(&(
            b.time,
            &b.platform,
            &b.tile,
            b.relative_orbit,
        ))
    });
    missing
}

/// The missing passes of one satellite and orbit whose days are a multiple of ten apart.
fn missing_of_phase(
    platform: &str,
    relative_orbit: u16,
    passes: &[&KnownPass],
    was_moved: bool,
    period: Period,
    missing: &mut Vec<Pass>,
) {
    let delivered: BTreeMap<i32, UtcTime> = passes
        .iter()
        .map(|pass| (Day::of(pass.time).0, pass.time))
        .collect();
    let mut by_tile: BTreeMap<&str, BTreeMap<i32, UtcTime>> = BTreeMap::new();
    for pass in passes {
        by_tile
            .entry(&pass.tile)
            .or_default()
            .insert(Day::of(pass.time).0, pass.time);
    }
    let (Some((&first, _)), Some((&last, _))) =
        (delivered.first_key_value(), delivered.last_key_value())
    else {
        return;
    };
    let beyond = AROUND_DAYS / REPEAT_DAYS * REPEAT_DAYS;
    for (tile, own) in by_tile {
        for day in (first - beyond..=last + beyond).step_by(REPEAT_DAYS as usize) {
            if own.contains_key(&day) || !period.contains(Day(day)) {
                continue;
            }
            let is_around = delivered
                .range(day - AROUND_DAYS..=day + AROUND_DAYS)
                .next()
                .is_some();
            let is_within = (first..=last).contains(&day);
            let Some(time) = nearest(&own, day) else {
                continue;
            };
            missing.push(Pass {
                platform: platform.to_owned(),
                relative_orbit,
                tile: tile.to_owned(),
                time,
                expected: if is_around && (is_within || !was_moved) {
                    Expected::Yes
                } else {
                    Expected::PlanUnknown
                },
            });
        }
    }
}

/// When the ground is seen on a day, by the pass nearest to it.
fn nearest(known: &BTreeMap<i32, UtcTime>, day: i32) -> Option<UtcTime> {
    let before = known.range(..day).next_back();
    let after = known.range(day..).next();
    let (&of, &time) = match (before, after) {
        (Some(before), Some(after)) if day - before.0 <= after.0 - day => before,
        (before, after) => after.or(before)?,
    };
    time.checked_add_signed(TimeDelta::days(i64::from(day - of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, from a seed (xorshift64*; Vigna, 2016, <https://doi.org/10.1145/2845077>).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
        }
    }

    fn period(from: &str, until: &str) -> Period {
        Period::new(from.parse().unwrap(), until.parse().unwrap()).unwrap()
    }

    /// Three years of passes of two satellites over three tiles, of which two orbits see all or two; `is_off` takes out days.
    fn schedule(is_off: &dyn Fn(&str, i32) -> bool) -> Vec<KnownPass> {
        let start: Day = "2020-01-01".parse().unwrap();
        let mut passes = Vec::new();
        for (platform, phase) in [("sentinel-2a", 0), ("sentinel-2b", 5), ("sentinel-2c", 7)] {
            for (orbit, shift, tiles) in [
                (8, 0, &["29PQK", "29PQJ", "29NQJ"][..]),
                (51, 3, &["29PQK", "29PQJ"][..]),
            ] {
                for day in (start.0 + (phase + shift) % 10..start.0 + 1096).step_by(10) {
                    if is_off(platform, day - start.0) {
                        continue;
                    }
                    for (index, tile) in tiles.iter().enumerate() {
                        let seconds = i64::from(day) * 86_400
                            + 39_000
                            + index as i64 * 14
                            + i64::from(day % 7);
                        passes.push(KnownPass {
                            platform: platform.into(),
                            relative_orbit: orbit,
                            tile: (*tile).into(),
                            time: UtcTime::from_timestamp(seconds, 0).unwrap(),
                        });
                    }
                }
            }
        }
        passes
    }

    fn key(platform: &str, tile: &str, time: UtcTime) -> (String, String, i32) {
        (platform.into(), tile.into(), Day::of(time).0)
    }

    #[test]
    fn a_third_that_is_missing_is_expected_and_nothing_is_invented() {
        let period = period("2020-01-01", "2022-12-31");
        let (mut n_removed, mut n_expected, mut n_invented) = (0, 0, 0);
        for seed in 1..=20 {
            let mut dice = Dice(seed);
            let (removed, kept): (Vec<_>, Vec<_>) = schedule(&|_, _| false)
                .into_iter()
                .partition(|_| dice.below(3) == 0);
            let removed: BTreeSet<_> = removed
                .iter()
                .map(|pass| key(&pass.platform, &pass.tile, pass.time))
                .collect();
            let told: BTreeSet<_> = missing_passes(&kept, period)
                .iter()
                .filter(|pass| pass.expected == Expected::Yes)
                .map(|pass| key(&pass.platform, &pass.tile, pass.time))
                .collect();
            n_removed += removed.len();
            n_expected += removed.intersection(&told).count();
            n_invented += told.difference(&removed).count();
        }
        assert!(
            n_expected * 100 >= n_removed * 99,
            "{n_expected} of {n_removed}"
        );
        assert!(
            n_invented * 100 <= n_removed,
            "{n_invented} beside {n_removed}"
        );
    }

    #[test]
    fn a_satellite_that_was_off_for_months_has_an_unknown_plan() {
        let off = |platform: &str, day: i32| platform == "sentinel-2b" && (300..480).contains(&day);
        let missing = missing_passes(&schedule(&off), period("2020-01-01", "2022-12-31"));
        let count = |expected| {
            missing
                .iter()
                .filter(|pass| pass.expected == expected)
                .count()
        };
        // Three passes at either end of the gap lie within 30 days of a delivery; 5 tiles an orbit pair.
        assert_eq!(
            (count(Expected::Yes), count(Expected::PlanUnknown)),
            (30, 60)
        );
        assert!(missing.iter().all(|pass| pass.platform == "sentinel-2b"));
    }

    #[test]
    fn nothing_is_expected_of_a_satellite_beyond_its_move() {
        let mut passes: Vec<KnownPass> = schedule(&|platform, _| platform != "sentinel-2a");
        let moved: Day = "2021-01-01".parse().unwrap();
        for pass in &mut passes {
            if Day::of(pass.time) > moved {
                pass.time += TimeDelta::days(4);
            }
        }
        let missing = missing_passes(&passes, period("2020-01-01", "2022-12-31"));
        assert!(
            missing
                .iter()
                .all(|pass| pass.expected == Expected::PlanUnknown),
            "{missing:?}"
        );
    }

    #[test]
    fn passes_of_an_unknown_satellite_expect_nothing() {
        let mut passes = schedule(&|_, day| day == 20);
        passes
            .iter_mut()
            .for_each(|pass| pass.platform = "unknown".into());
        assert_eq!(
            missing_passes(&passes, period("2020-01-01", "2022-12-31")),
            []
        );
    }
}
