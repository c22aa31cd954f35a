//! The alert rule: what the looks after the history must show, and for how long.

use pitwatch_grid::Day;

use crate::history::{History, is_water};
use crate::series::{BLUE, N_SERIES, NDVI, RED, SWIR16, SWIR22, Series, quantile};
use crate::{Finding, Kind, Params};

/// Days of a year, by which seasons recur.
const DAYS_PER_YEAR: f32 = 365.2425;

/// Most looks whose median can decide; [`Params::check`] holds it.
const MAX_MEDIAN_LOOKS: usize = 15;

/// Follows the looks after the first `n`, oldest first, and returns the change that stands at the end.
///
/// Excavation goes before cleared ground, since felling is often the step before digging. What is said at a look
/// depends on that look and earlier ones alone.
pub(crate) fn follow(
    series: &mut Series,
    n: usize,
    history: &History,
    params: &Params,
) -> Option<Finding> {
    let mut recent = Recent::new(params.median_looks as usize);
    let mut excavation = Watch::new(Kind::Excavation, params.provisional_looks);
    let mut cleared = Watch::new(Kind::Cleared, params.cleared_looks);
    let mut before = n.checked_sub(1).map_or(0, |last| series.look[last]);
    for t in n..series.len() {
        let expected = history.expected(&series.regressors[t]);
        if is_residual_cloud(series, t, &expected, params) {
            continue;
        }
        let Some(seen) = recent.push(series, t, &expected, before) else {
            before = series.look[t];
            continue;
        };
        before = series.look[t];
        let evidence = excavation_evidence(series, n, t, history, &seen, params);
        excavation.step(
            series.look[t],
            series.day[t],
            evidence,
            &recent,
            &seen,
            params,
        );
        if excavation.is_confirmed() {
            break;
        }
        // Where no canopy is expected, its absence says nothing.
        if seen.expected[NDVI] > params.canopy_ndvi {
            let drop = seen.expected[NDVI] - seen.value[NDVI];
            let is_lost = drop > params.cleared_drop
                && drop > params.cleared_departure * history.canopy_scale;
            let evidence = Evidence {
                weight: if is_lost { 1.0 } else { 0.0 },
                is_core: is_lost,
            };
            cleared.step(
                series.look[t],
                series.day[t],
                evidence,
                &recent,
                &seen,
                params,
            );
        }
    }
    excavation
        .finding(params)
        .or_else(|| cleared.finding(params))
}

/// True if a look that the scene classification calls clear is haze or cloud: bluer than expected, and whiter than soil.
fn is_residual_cloud(
    series: &Series,
    t: usize,
    expected: &[f32; N_SERIES],
    params: &Params,
) -> bool {
    let blue = series.values[BLUE][t] - expected[BLUE];
    let red = series.values[RED][t] - expected[RED];
    blue > params.cloud_blue_excess && blue > params.cloud_whiteness * red
}

/// What the last clear looks show, each number the median over them.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    value: [f32; N_SERIES],
    expected: [f32; N_SERIES],
    residual: [f32; N_SERIES],
    green: f32,
    nir: f32,
    bsi: f32,
    /// Bare soil index expected for the season. Near infrared follows from red and NDVI.
    expected_bsi: f32,
}

/// Numbers of a [`Seen`].
const N_SEEN: usize = 3 * N_SERIES + 4;

impl Seen {
    fn of(series: &Series, t: usize, expected: &[f32; N_SERIES]) -> Self {
        let value: [f32; N_SERIES] = std::array::from_fn(|k| series.values[k][t]);
        let expected_nir =
            expected[RED] * (1.0 + expected[NDVI]) / (1.0 - expected[NDVI]).max(f32::EPSILON);
        Self {
            value,
            expected: *expected,
            residual: std::array::from_fn(|k| value[k] - expected[k]),
            green: series.green[t],
            nir: series.nir[t],
            bsi: series.bsi(t),
            expected_bsi: crate::index::bsi(
                expected[BLUE],
                expected[RED],
                expected_nir,
                expected[SWIR16],
            ),
        }
    }

    fn to_array(self) -> [f32; N_SEEN] {
        let mut array = [0.0; N_SEEN];
        array[..N_SERIES].copy_from_slice(&self.value);
        array[N_SERIES..2 * N_SERIES].copy_from_slice(&self.expected);
        array[2 * N_SERIES..3 * N_SERIES].copy_from_slice(&self.residual);
        array[3 * N_SERIES..].copy_from_slice(&[self.green, self.nir, self.bsi, self.expected_bsi]);
        array
    }

    fn from_array(array: &[f32; N_SEEN]) -> Self {
        let part = |start: usize| std::array::from_fn(|k| array[start + k]);
        let [green, nir, bsi, expected_bsi] = std::array::from_fn(|k| array[3 * N_SERIES + k]);
        Self {
            value: part(0),
            expected: part(N_SERIES),
            residual: part(2 * N_SERIES),
            green,
            nir,
            bsi,
            expected_bsi,
        }
    }

    /// The upper median of each number. The looks are sorted number by number, all numbers of two looks in one step.
    fn median(looks: &[RecentLook]) -> Self {
        let mut sorted = [[0.0; N_SEEN]; MAX_MEDIAN_LOOKS];
        let sorted = &mut sorted[..looks.len()];
        for (array, look) in sorted.iter_mut().zip(looks) {
            *array = look.seen.to_array();
        }
        for end in (1..sorted.len()).rev() {
            for place in 0..end {
                let (low, high) = sorted.split_at_mut(place + 1);
                for (low, high) in low[place].iter_mut().zip(high[0].iter_mut()) {
                    (*low, *high) = (low.min(*high), low.max(*high));
                }
            }
        }
        Self::from_array(&sorted[sorted.len() / 2])
    }
}

/// The last clear looks, oldest first.
struct Recent {
    n_looks: usize,
    looks: Vec<RecentLook>,
}

#[derive(Debug, Clone, Copy)]
struct RecentLook {
    look: u32,
    /// The clear look before it.
    before: u32,
    seen: Seen,
}

impl Recent {
    fn new(n_looks: usize) -> Self {
        Self {
            n_looks,
            looks: Vec::with_capacity(n_looks),
        }
    }

    /// Adds a look; returns what the last looks show together, once there are enough.
    fn push(
        &mut self,
        series: &Series,
        t: usize,
        expected: &[f32; N_SERIES],
        before: u32,
    ) -> Option<Seen> {
        if self.looks.len() == self.n_looks {
            self.looks.remove(0);
        }
        self.looks.push(RecentLook {
            look: series.look[t],
            before,
            seen: Seen::of(series, t, expected),
        });
        (self.looks.len() == self.n_looks).then(|| Seen::median(&self.looks))
    }

    /// The first of the looks that shows what they show together rather than what was expected, and the clear look before it.
    fn first_change(&self, seen: &Seen, kind: Kind) -> (u32, u32) {
        let series: &[usize] = if kind == Kind::Cleared {
            &[NDVI]
        } else {
            &[NDVI, RED, SWIR16]
        };
        let is_changed = |look: &RecentLook| {
            let distance = |target: &dyn Fn(usize) -> f32| -> f32 {
                series
                    .iter()
                    .map(|&k| (look.seen.value[k] - target(k)).powi(2))
                    .sum()
            };
            distance(&|k| seen.value[k]) <= distance(&|k| look.seen.expected[k])
        };
        let first = self
            .looks
            .iter()
            .find(|look| is_changed(look))
            .or(self.looks.last());
        first.map_or((0, 0), |look| (look.before, look.look))
    }
}

/// What one look says about a kind of change.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    /// How many looks it counts for; 0 = it speaks against.
    weight: f32,
    /// True if it is plain enough to start an object.
    is_core: bool,
}

/// Departure from the pixel's own history *and* arrival at bare ground or water.
fn excavation_evidence(
    series: &mut Series,
    n: usize,
    t: usize,
    history: &History,
    seen: &Seen,
    params: &Params,
) -> Evidence {
    let none = Evidence {
        weight: 0.0,
        is_core: false,
    };
    let drop = -seen.residual[NDVI];
    let is_drop = drop > params.departure_ndvi * history.scale[NDVI];
    let is_shore = history.water_share > params.water_share;

    let is_pond = is_drop
        && is_water(seen.value[SWIR16], seen.green, seen.nir, params)
        && seen.residual[SWIR16] < -params.departure_ndvi * history.scale[SWIR16];
    if is_pond && !is_shore {
        return Evidence {
            weight: 1.0,
            is_core: true,
        };
    }

    let is_ground = seen.bsi > params.ground_bsi
        && seen.value[RED] > params.ground_red
        && seen.value[NDVI] < params.ground_ndvi;
    if !is_ground || is_shore {
        return none;
    }
    // The share of the way to bare ground has no meaning where bare ground is what the season brings.
    let way = seen.expected[NDVI] - params.bare_ndvi;
    let share = if way > params.arrival_way {
        drop / way
    } else {
        0.0
    };
    let is_core = share > params.core_share || seen.expected[NDVI] < params.dormant_ndvi;

    let color = [BLUE, RED, SWIR16, SWIR22]
        .iter()
        .map(|&k| history.excess(k, seen.value[k]).powi(2))
        .sum::<f32>()
        .sqrt();
    let is_new_color =
        color > params.departure_color && drop > -params.color_greening * history.scale[NDVI];
    if is_new_color {
        return Evidence {
            weight: 1.0,
            is_core,
        };
    }
    let has_arrived =
        is_drop && share > params.arrival_share && seen.value[NDVI] < history.range[NDVI][0];
    if has_arrived && is_new_for_season(series, n, t, history, seen, params) {
        let is_brighter = seen.residual[RED] > params.departure_red * history.scale[RED];
        return Evidence {
            weight: if is_brighter { 1.0 } else { params.dark_weight },
            is_core,
        };
    }
    none
}

/// True if the NDVI drop is deeper than what the history showed in the same season: fields that lie bare at shifting
/// dates and ground that burns in some years are told apart by it.
fn is_new_for_season(
    series: &mut Series,
    n: usize,
    t: usize,
    history: &History,
    seen: &Seen,
    params: &Params,
) -> bool {
    let Series {
        day,
        residual,
        scratch,
        ..
    } = series;
    let season = |day: Day| (day.0 as f32).rem_euclid(DAYS_PER_YEAR);
    let now = season(day[t]);
    let is_season = |day: Day| {
        let apart = (season(day) - now).abs();
        apart.min(DAYS_PER_YEAR - apart) <= params.season_days
    };
    let of_season = || {
        day[..n]
            .iter()
            .zip(residual.iter())
            .filter(|&(&day, _)| is_season(day))
            .map(|(_, &residual)| residual)
    };
    if of_season().next().is_none() {
        return true;
    }
    let lowest = quantile(scratch, of_season(), params.season_share);
    seen.residual[NDVI] < lowest - params.season_margin * history.scale[NDVI]
}

/// Follows one kind of change at one pixel from look to look.
struct Watch {
    kind: Kind,
    /// Looks in a row for a provisional alert.
    needed: f32,
    run: f32,
    n_without: u32,
    change: (u32, u32),
    /// The look of this run from which the evidence was plain enough to start an object.
    core_look: Option<u32>,
    alert: Option<Alerted>,
}

#[derive(Debug, Clone, Copy)]
struct Alerted {
    look: u32,
    day: Day,
    change: (u32, u32),
    n_with: u32,
    n_looks: u32,
    seen: Seen,
    confirmed_look: Option<u32>,
}

impl Watch {
    fn new(kind: Kind, needed: f32) -> Self {
        Self {
            kind,
            needed,
            run: 0.0,
            n_without: 0,
            change: (0, 0),
            core_look: None,
            alert: None,
        }
    }

    fn is_confirmed(&self) -> bool {
        self.alert
            .is_some_and(|alert| alert.confirmed_look.is_some())
    }

    fn step(
        &mut self,
        look: u32,
        day: Day,
        evidence: Evidence,
        recent: &Recent,
        seen: &Seen,
        params: &Params,
    ) {
        if self.is_confirmed() {
            return;
        }
        let is_change = evidence.weight > 0.0;
        if is_change {
            if self.run == 0.0 && self.alert.is_none() {
                self.change = recent.first_change(seen, self.kind);
            }
            self.run += evidence.weight;
            self.n_without = 0;
            self.core_look = self.core_look.or(evidence.is_core.then_some(look));
        } else {
            self.run = 0.0;
            self.n_without += 1;
        }
        match &mut self.alert {
            None if self.run >= self.needed => {
                let confirmed_look = None;
                self.alert = Some(Alerted {
                    look,
                    day,
                    change: self.change,
                    n_with: 1,
                    n_looks: 1,
                    seen: *seen,
                    confirmed_look,
                });
            }
            None if !is_change => self.core_look = None,
            None => {}
            Some(alert) => {
                alert.n_looks += 1;
                alert.n_with += u32::from(is_change);
                let lasts =
                    i64::from(day.0) - i64::from(alert.day.0) >= i64::from(params.confirm_days);
                let is_steady = alert.n_with as f32 >= params.confirm_share * alert.n_looks as f32;
                if is_change && alert.n_with >= params.confirm_looks && lasts && is_steady {
                    alert.confirmed_look = Some(look);
                    alert.seen = *seen;
                } else if self.n_without >= params.retract_looks {
                    self.alert = None;
                    self.core_look = None;
                }
            }
        }
    }

    fn finding(&self, params: &Params) -> Option<Finding> {
        self.alert.map(|alert| Finding {
            kind: self.kind,
            alert_look: alert.look,
            confirmed_look: alert.confirmed_look,
            last_look_before: alert.change.0,
            first_look_after: alert.change.1,
            probability: match (self.kind, alert.confirmed_look) {
                (Kind::Cleared, _) => params.probability_cleared,
                (Kind::Excavation, Some(_)) => params.probability_confirmed,
                (Kind::Excavation, None) => params.probability_provisional,
            },
            core_look: self.core_look.map(|look| look.max(alert.look)),
            ndvi_before: alert.seen.expected[NDVI],
            ndvi_after: alert.seen.value[NDVI],
            bsi_before: alert.seen.expected_bsi,
            bsi_after: alert.seen.bsi,
        })
    }
}
