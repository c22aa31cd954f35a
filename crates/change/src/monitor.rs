//! The alert rule: what the looks after the history must show, and for how long.

use pitwatch_grid::Day;

use crate::history::{History, is_water};
use crate::series::{BLUE, N_SERIES, NDVI, RED, SWIR16, SWIR22, Series, Sight, quantile};
use crate::{Finding, Ground, Kind, N_GREEN_LEVELS, Params};

/// Days of a year, by which seasons recur.
const DAYS_PER_YEAR: f32 = 365.2425;

/// Most looks whose median can decide; [`Params::check`] holds it.
const MAX_MEDIAN_LOOKS: usize = 15;

/// Follows the looks after the first `n`, oldest first, and returns what stands at the end.
///
/// What is said at a look depends on that look and earlier ones alone.
pub(crate) fn follow(
    series: &mut Series,
    n: usize,
    history: &History,
    params: &Params,
) -> (Followed, Recent) {
    let mut recent = Recent::new(params.median_looks as usize);
    let mut followed = Followed::new(params);
    let mut before = n.checked_sub(1).map_or(0, |last| series.look[last]);
    let Series {
        look,
        day,
        regressors,
        values,
        green,
        nir,
        residual,
        scratch,
        ..
    } = series;
    let mut lowest = |now: Day| {
        let looks = day[..n].iter().copied().zip(residual.iter().copied());
        lowest_of_season(scratch, looks, now, params)
    };
    for t in n..look.len() {
        let expected = history.expected(&regressors[t]);
        let sight = Sight {
            value: std::array::from_fn(|k| values[k][t]),
            green: green[t],
            nir: nir[t],
        };
        if is_residual_cloud(&sight, &expected, params) {
            continue;
        }
        let seen = recent.push(RecentLook {
            look: look[t],
            before,
            seen: Seen::of(&sight, &expected),
        });
        before = look[t];
        if let Some(seen) = seen {
            followed.step(
                look[t],
                day[t],
                &recent,
                &seen,
                history,
                &mut lowest,
                params,
            );
        }
    }
    (followed, recent)
}

/// What is known of the two kinds of change at one pixel.
///
/// Excavation goes before cleared ground, since felling is often the step before digging.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Followed {
    pub(crate) excavation: Watch,
    pub(crate) cleared: Watch,
    /// What had alerted and was taken back.
    pub(crate) retracted: Vec<Finding>,
}

impl Followed {
    pub(crate) fn new(params: &Params) -> Self {
        Self {
            excavation: Watch::new(Kind::Excavation, params.provisional_looks),
            cleared: Watch::new(Kind::Cleared, params.cleared_looks),
            retracted: Vec::new(),
        }
    }

    /// True if a look without evidence changes nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.excavation.is_idle() && self.cleared.is_idle()
    }

    /// True if there is something to remember.
    pub(crate) fn is_kept(&self) -> bool {
        !self.is_idle() || !self.retracted.is_empty()
    }

    /// Takes in what the last looks show together.
    ///
    /// - `lowest`: the NDVI residual that few looks of the history lie below in the season of a day; `None` = no such look.
    #[expect(
        clippy::too_many_arguments,
        reason = "a look and what it is compared with; a struct would be built here alone"
    )]
    #[inline(always)]
    pub(crate) fn step(
        &mut self,
        look: u32,
        day: Day,
        recent: &Recent,
        seen: &Seen,
        history: &History,
        lowest: &mut dyn FnMut(Day) -> Option<f32>,
        params: &Params,
    ) {
        let Self {
            excavation,
            cleared,
            retracted,
        } = self;
        let evidence = if excavation.is_confirmed() {
            Evidence::NONE
        } else {
            excavation_evidence(day, history, seen, lowest, params)
        };
        let ground = |colors: &[f32; N_COLORS]| Ground::of(seen, colors, history, params);
        retracted.extend(excavation.step(look, day, evidence, recent, seen, &ground, params));
        let [ndvi, expected, residual] =
            [&seen.value, &seen.expected, &seen.residual].map(|series| series[NDVI]);
        excavation.step_green(look, day, ndvi, expected, residual, params);
        if excavation.is_confirmed() {
            return;
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
            retracted.extend(cleared.step(look, day, evidence, recent, seen, &ground, params));
        }
    }

    /// The change that stands, and what had alerted and was taken back.
    pub(crate) fn findings(self) -> (Option<Finding>, Vec<Finding>) {
        let (dug, lost) = (self.excavation.finding(), self.cleared.finding());
        let mut retracted = self.retracted;
        // Up to the alert of excavation the ground was said to be cleared.
        if let (Some(dug), Some(lost)) = (dug, lost)
            && lost.alert_look < dug.alert_look
        {
            retracted.push(Finding {
                confirmed_look: lost.confirmed_look.filter(|&look| look < dug.alert_look),
                retracted_look: Some(dug.alert_look),
                ..lost
            });
        }
        (dug.or(lost), retracted)
    }
}

/// True if a look that the scene classification calls clear is haze or cloud: bluer than expected, and whiter than soil.
fn is_residual_cloud(sight: &Sight, expected: &[f32; N_SERIES], params: &Params) -> bool {
    let blue = sight.value[BLUE] - expected[BLUE];
    let red = sight.value[RED] - expected[RED];
    blue > params.cloud_blue_excess && blue > params.cloud_whiteness * red
}

/// Share of the way from an expected NDVI to bare ground's; 0 where bare ground is what the season brings.
fn bare_share(expected: f32, residual: f32, params: &Params) -> f32 {
    let way = expected - params.bare_ndvi;
    if way > params.arrival_way {
        -residual / way
    } else {
        0.0
    }
}

/// What the last clear looks show, each number the median over them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    value: [f32; N_SERIES],
    expected: [f32; N_SERIES],
    residual: [f32; N_SERIES],
    green: f32,
    nir: f32,
    bsi: f32,
    /// Bare soil index expected for the season. Near infrared follows from red and NDVI.
    expected_bsi: f32,
}

/// Colors by which one ground is told from another: blue, red, nir, swir16, swir22.
pub(crate) const N_COLORS: usize = 5;

/// Numbers of a [`Seen`].
const N_SEEN: usize = 3 * N_SERIES + 4;

impl Seen {
    pub(crate) fn of(sight: &Sight, expected: &[f32; N_SERIES]) -> Self {
        let value = sight.value;
        let expected_nir =
            expected[RED] * (1.0 + expected[NDVI]) / (1.0 - expected[NDVI]).max(f32::EPSILON);
        Self {
            value,
            expected: *expected,
            residual: std::array::from_fn(|k| value[k] - expected[k]),
            green: sight.green,
            nir: sight.nir,
            bsi: sight.bsi(),
            expected_bsi: crate::index::bsi(
                expected[BLUE],
                expected[RED],
                expected_nir,
                expected[SWIR16],
            ),
        }
    }

    /// Share of the way from the expected NDVI to bare ground's; 0 where bare ground is what the season brings.
    fn bare_share(&self, params: &Params) -> f32 {
        bare_share(self.expected[NDVI], self.residual[NDVI], params)
    }

    fn colors(&self) -> [f32; N_COLORS] {
        let [blue, red, swir16, swir22] = [BLUE, RED, SWIR16, SWIR22].map(|k| self.value[k]);
        [blue, red, self.nir, swir16, swir22]
    }

    /// Distance outside the pixel's own range of colors, in scales.
    fn new_color(&self, history: &History) -> f32 {
        [BLUE, RED, SWIR16, SWIR22]
            .iter()
            .map(|&k| history.excess(k, self.value[k]).powi(2))
            .sum::<f32>()
            .sqrt()
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
    pub(crate) fn median(looks: &[RecentLook]) -> Self {
        // Three looks, the usual number, are sorted without a buffer for more.
        if let [a, b, c] = looks {
            let mut sorted = [a, b, c].map(|look| look.seen.to_array());
            return Self::middle(&mut sorted);
        }
        let mut sorted = [[0.0; N_SEEN]; MAX_MEDIAN_LOOKS];
        let sorted = &mut sorted[..looks.len()];
        for (array, look) in sorted.iter_mut().zip(looks) {
            *array = look.seen.to_array();
        }
        Self::middle(sorted)
    }

    #[inline(always)]
    fn middle(sorted: &mut [[f32; N_SEEN]]) -> Self {
        for end in (1..sorted.len()).rev() {
            for place in 0..end {
                let (low, high) = sorted.split_at_mut(place + 1);
                for (low, high) in low[place].iter_mut().zip(high[0].iter_mut()) {
                    // No number is NaN, so that a comparison does where `min` and `max` would take three steps each.
                    let (a, b) = (*low, *high);
                    *low = if a < b { a } else { b };
                    *high = if a < b { b } else { a };
                }
            }
        }
        Self::from_array(&sorted[sorted.len() / 2])
    }
}

/// The last clear looks, oldest first.
pub(crate) struct Recent {
    pub(crate) n_looks: usize,
    pub(crate) looks: Vec<RecentLook>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RecentLook {
    pub(crate) look: u32,
    /// The clear look before it.
    pub(crate) before: u32,
    pub(crate) seen: Seen,
}

impl Recent {
    pub(crate) fn new(n_looks: usize) -> Self {
        Self {
            n_looks,
            looks: Vec::with_capacity(n_looks),
        }
    }

    /// Adds a look; returns what the last looks show together, once there are enough.
    #[inline(always)]
    fn push(&mut self, look: RecentLook) -> Option<Seen> {
        if self.looks.len() == self.n_looks {
            self.looks.remove(0);
        }
        self.looks.push(look);
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

impl Evidence {
    const NONE: Self = Self {
        weight: 0.0,
        is_core: false,
    };
}

impl Ground {
    /// - `seen`: what a look shows.
    /// - `colors`: blue, red, nir, swir16 and swir22, of it or over more looks.
    fn of(seen: &Seen, colors: &[f32; N_COLORS], history: &History, params: &Params) -> Self {
        let changes: [f32; N_COLORS] = std::array::from_fn(|k| {
            let [now, barest] =
                [colors[k], history.barest[k]].map(|value| value.max(params.noise_visible));
            (now / barest).ln()
        });
        let [blue, red, nir, swir16, swir22] = changes;
        let [now_blue, now_red, _, now_swir16, now_swir22] = *colors;
        let bound = |change: f32| change.clamp(-2.0, 2.0);
        // Above 0, so that a color that is given is not taken for one that is not.
        let ratio = |a: f32, b: f32| a.max(params.noise_visible) / b.max(params.noise_visible);
        // All 0 where the band is not given.
        let has_swir22 = history.barest[4] > 0.0;
        Self {
            red_change: bound(red),
            swir16_change: bound(swir16),
            red_over_swir16_change: bound(red - swir16),
            blue_over_red_change: bound(blue - red),
            nir_over_red_change: bound(nir - red),
            swir22_over_swir16_change: if has_swir22 {
                bound(swir22 - swir16)
            } else {
                0.0
            },
            ndvi_before: seen.expected[NDVI],
            ndvi_after: seen.value[NDVI],
            bsi_before: seen.expected_bsi,
            bsi_after: seen.bsi,
            red: now_red,
            red_over_swir16: now_red / now_swir16.max(params.noise_swir),
            blue_over_red: ratio(now_blue, now_red),
            swir22_over_swir16: if has_swir22 {
                ratio(now_swir22, now_swir16)
            } else {
                0.0
            },
            bare_share: seen.bare_share(params).clamp(-0.5, 1.5),
            brightening: (seen.value[RED].max(params.noise_visible)
                / seen.expected[RED].max(params.noise_visible))
            .ln()
            .clamp(-2.0, 2.0),
            above_barest: (seen.value[NDVI] - history.range[NDVI][0]).clamp(-0.3, 0.3),
            wet_share: history.wet_share,
        }
    }
}

/// Departure from the pixel's own history *and* arrival at bare ground or water.
fn excavation_evidence(
    day: Day,
    history: &History,
    seen: &Seen,
    lowest: &mut dyn FnMut(Day) -> Option<f32>,
    params: &Params,
) -> Evidence {
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
        return Evidence::NONE;
    }
    let share = seen.bare_share(params);
    let is_core = share > params.core_share || seen.expected[NDVI] < params.dormant_ndvi;

    let color = seen.new_color(history);
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
    // The drop must be deeper than what the history showed in the same season: fields that lie bare at shifting dates and
    // ground that burns in some years are told apart by it.
    let is_new_for_season = |lowest: Option<f32>| {
        lowest.is_none_or(|lowest| {
            seen.residual[NDVI] < lowest - params.season_margin * history.scale[NDVI]
        })
    };
    if has_arrived && is_new_for_season(lowest(day)) {
        let is_brighter = seen.residual[RED] > params.departure_red * history.scale[RED];
        return Evidence {
            weight: if is_brighter { 1.0 } else { params.dark_weight },
            is_core,
        };
    }
    Evidence::NONE
}

/// The NDVI residual below which a share `season_share` of the history lies in the season of a day; `None` where the history
/// has no look of that season.
///
/// - `looks`: days and residuals of the history.
pub(crate) fn lowest_of_season(
    scratch: &mut Vec<i32>,
    looks: impl Iterator<Item = (Day, f32)> + Clone,
    now: Day,
    params: &Params,
) -> Option<f32> {
    let season = |day: Day| (day.0 as f32).rem_euclid(DAYS_PER_YEAR);
    let now = season(now);
    let is_season = |day: Day| {
        let apart = (season(day) - now).abs();
        apart.min(DAYS_PER_YEAR - apart) <= params.season_days
    };
    let mut of_season = looks
        .filter(|&(day, _)| is_season(day))
        .map(|(_, residual)| residual)
        .peekable();
    of_season.peek()?;
    Some(quantile(scratch, of_season, params.season_share))
}

/// Follows one kind of change at one pixel from look to look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    pub(crate) kind: Kind,
    /// Looks in a row for a provisional alert.
    pub(crate) needed: f32,
    pub(crate) run: f32,
    pub(crate) n_without: u32,
    pub(crate) change: (u32, u32),
    /// The look of this run from which the evidence was plain enough to start an object.
    pub(crate) core_look: Option<u32>,
    pub(crate) alert: Option<Alerted>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alerted {
    pub(crate) look: u32,
    pub(crate) day: Day,
    pub(crate) change: (u32, u32),
    pub(crate) n_with: u32,
    pub(crate) n_looks: u32,
    pub(crate) at_alert: Ground,
    pub(crate) at_confirmation: Ground,
    /// Sums of the colors over the looks that showed the change, `n_with` of them.
    pub(crate) colors: [f32; N_COLORS],
    pub(crate) confirmed_look: Option<u32>,
    pub(crate) green: Green,
}

/// What green seasons after an alert have shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Green {
    /// Looks in a row that show the ground greened, and that show it bare.
    pub(crate) runs: [u32; 2],
    pub(crate) greened_look: Option<u32>,
    pub(crate) stayed_bare_look: Option<u32>,
    /// When each of [`Params::green_levels`] had been passed.
    pub(crate) greener_looks: [Option<u32>; N_GREEN_LEVELS],
}

impl Watch {
    pub(crate) fn new(kind: Kind, needed: f32) -> Self {
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

    /// True if nothing stands and no evidence runs. `n_without` and `change` then say nothing: a look with evidence sets them.
    fn is_idle(&self) -> bool {
        self.alert.is_none() && self.run == 0.0
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.alert
            .is_some_and(|alert| alert.confirmed_look.is_some())
    }

    /// Takes one look in; returns the finding that it takes back, if it does.
    ///
    /// - `ground`: what the look shows, with these colors.
    #[expect(
        clippy::too_many_arguments,
        reason = "a look and what was made of it; a struct would be built here alone"
    )]
    fn step(
        &mut self,
        look: u32,
        day: Day,
        evidence: Evidence,
        recent: &Recent,
        seen: &Seen,
        ground: &dyn Fn(&[f32; N_COLORS]) -> Ground,
        params: &Params,
    ) -> Option<Finding> {
        if self.is_confirmed() {
            return None;
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
                let ground = ground(&seen.colors());
                self.alert = Some(Alerted {
                    look,
                    day,
                    change: self.change,
                    n_with: 1,
                    n_looks: 1,
                    at_alert: ground,
                    at_confirmation: ground,
                    colors: seen.colors(),
                    confirmed_look: None,
                    green: Green::default(),
                });
            }
            None if !is_change => self.core_look = None,
            None => {}
            Some(alert) => {
                alert.n_looks += 1;
                alert.n_with += u32::from(is_change);
                if is_change {
                    let colors = alert.colors.iter_mut().zip(seen.colors());
                    colors.for_each(|(sum, color)| *sum += color);
                }
                let lasts =
                    i64::from(day.0) - i64::from(alert.day.0) >= i64::from(params.confirm_days);
                let is_steady = alert.n_with as f32 >= params.confirm_share * alert.n_looks as f32;
                if is_change && alert.n_with >= params.confirm_looks && lasts && is_steady {
                    alert.confirmed_look = Some(look);
                    let n_with = alert.n_with as f32;
                    alert.at_confirmation = ground(&alert.colors.map(|sum| sum / n_with));
                } else if self.n_without >= params.retract_looks {
                    let finding = self.finding();
                    self.alert = None;
                    self.core_look = None;
                    return finding.map(|finding| Finding {
                        retracted_look: Some(look),
                        ..finding
                    });
                }
            }
        }
        None
    }

    /// Notes how green ground that alerted has become, and what a look in a green season says of it long enough after.
    ///
    /// - `ndvi`, `expected`, `residual`: medians over the last looks.
    pub(crate) fn step_green(
        &mut self,
        look: u32,
        day: Day,
        ndvi: f32,
        expected: f32,
        residual: f32,
        params: &Params,
    ) {
        let Some(alert) = &mut self.alert else { return };
        let levels = alert.green.greener_looks.iter_mut();
        for (passed, &level) in levels.zip(&params.green_levels) {
            *passed = passed.or((ndvi > level).then_some(look));
        }
        let is_green_season = expected - params.bare_ndvi > params.green_way;
        let is_after = i64::from(day.0) - i64::from(alert.day.0) >= i64::from(params.green_up_days);
        if !is_green_season || !is_after {
            return;
        }
        let share = bare_share(expected, residual, params);
        let green = &mut alert.green;
        let shown = [
            share < params.greened_share,
            share > params.stayed_bare_share,
        ];
        for (run, is_shown) in green.runs.iter_mut().zip(shown) {
            *run = if is_shown { *run + 1 } else { 0 };
        }
        let decided = |run: u32| (run >= params.green_looks).then_some(look);
        green.greened_look = green.greened_look.or(decided(green.runs[0]));
        green.stayed_bare_look = green.stayed_bare_look.or(decided(green.runs[1]));
    }

    fn finding(&self) -> Option<Finding> {
        self.alert.map(|alert| Finding {
            confirmed_look: alert.confirmed_look,
            greened_look: alert.green.greened_look,
            stayed_bare_look: alert.green.stayed_bare_look,
            greener_looks: alert.green.greener_looks,
            core_look: self.core_look.map(|look| look.max(alert.look)),
            at_confirmation: alert.at_confirmation,
            ..Finding::new(self.kind, alert.look, alert.change, alert.at_alert)
        })
    }
}
