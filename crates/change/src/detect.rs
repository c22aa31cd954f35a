use pitwatch_grid::{Band, Cube, Day};
use rayon::prelude::*;

use crate::history::{History, TileFit};
use crate::lanes::{MAX_LOOKS, N_LANES};
use crate::mask::Observation;
use crate::series::{BLUE, RED, Series, median};
use crate::tile::{Looks, REFLECTANCE_SCALE, Tile};
use crate::{
    ChangeMap, Error, Kind, Params, PixelState, PixelVerdict, Result, Soil, lanes, monitor,
};

/// The bands that detection cannot do without.
pub const REQUIRED_BANDS: [Band; 5] = [Band::Blue, Band::Green, Band::Red, Band::Nir, Band::Swir16];

/// Looks for cleared ground and excavation at every pixel of a cube.
///
/// - `cube`: needs [`REQUIRED_BANDS`]; uses swir22 as further evidence of a departure in color where it is given.
/// - `monitor_from`: first day of the monitoring period; the looks before it are the history.
///
/// Rows are worked on in parallel; each pixel depends on its own series alone, so the number of threads, the window and
/// the order of work change nothing.
///
/// # Errors
///
/// If a required band or all history is missing, a parameter lies outside its range, or there are more than 32,767 looks.
pub fn detect(cube: &Cube, monitor_from: Day, params: &Params) -> Result<ChangeMap> {
    detect_until(cube, monitor_from, None, params)
}

/// As [`detect`], as if the looks from the day `until` on had not been made.
///
/// # Errors
///
/// As [`detect`].
pub fn detect_until(
    cube: &Cube,
    monitor_from: Day,
    until: Option<Day>,
    params: &Params,
) -> Result<ChangeMap> {
    let area = looks(cube, monitor_from, until, params)?;
    let n_tiles = cube.geobox().shape().n_pixels().div_ceil(N_LANES);
    let tiles: Vec<Vec<(PixelVerdict, Option<Soil>)>> = (0..n_tiles)
        .into_par_iter()
        .map_init(Work::default, |work, tile| {
            judge(&area, tile * N_LANES, work, params)
        })
        .collect();
    let (pixels, soils) = tiles.into_iter().flatten().unzip();
    Ok(ChangeMap {
        geobox: cube.geobox().clone(),
        pixels,
        soils,
    })
}

/// The looks of a cube, once it is known that they can be worked on.
pub(crate) fn looks<'a>(
    cube: &'a Cube,
    monitor_from: Day,
    until: Option<Day>,
    params: &Params,
) -> Result<Looks<'a>> {
    params.check()?;
    let looks = Looks::new(cube, monitor_from, until, params)?;
    if looks.n_history == 0 {
        return Err(Error::NoHistory { monitor_from });
    }
    if cube.days().len() > MAX_LOOKS {
        return Err(Error::TooManyLooks {
            n_looks: cube.days().len(),
            most: MAX_LOOKS,
        });
    }
    Ok(looks)
}

/// How often the ground was not seen, by the reason.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Unseen {
    pub(crate) clouded: u32,
    pub(crate) not_acquired: u32,
    pub(crate) failed: u32,
}

impl Unseen {
    pub(crate) fn count(&mut self, observation: Observation) {
        match observation {
            Observation::Clear => {}
            Observation::Cloud | Observation::Shadow | Observation::Snow => self.clouded += 1,
            Observation::NoData | Observation::NotAcquired => self.not_acquired += 1,
            Observation::ReadFailed | Observation::Quarantined => self.failed += 1,
        }
    }

    /// The reason that hid the ground most often; a failure before the others, since it can be mended.
    pub(crate) fn state(self) -> PixelState {
        if self.failed > 0 && self.failed >= self.clouded.max(self.not_acquired) {
            PixelState::ReadFailed
        } else if self.clouded >= self.not_acquired {
            PixelState::Clouded
        } else {
            PixelState::NotAcquired
        }
    }
}

/// What a thread works with, filled anew for each tile.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) tile: Tile,
    pub(crate) fit: TileFit,
    pub(crate) series: Series,
}

impl Work {
    /// Fills the tile from the pixel `first` on, and fits its history where a pixel of it has enough clear looks.
    pub(crate) fn fill(&mut self, looks: &Looks, first: usize, params: &Params) {
        self.tile.fill(looks, first);
        let history = self.tile.history();
        if lanes::count(history.masks.iter().copied())
            .to_array()
            .iter()
            .any(|&n| i64::from(n) >= i64::from(params.min_clear_history))
        {
            self.fit.fill(&history, params);
        }
    }
}

/// The verdicts on the pixels of the tile from `first` on, and their soils.
fn judge(
    looks: &Looks,
    first: usize,
    work: &mut Work,
    params: &Params,
) -> Vec<(PixelVerdict, Option<Soil>)> {
    work.fill(looks, first, params);
    let Work { tile, fit, series } = work;
    let end = (first + N_LANES).min(looks.cube.geobox().shape().n_pixels());
    (first..end)
        .map(|index| {
            let lane = index - first;
            let n = tile.gather(lane, &looks.dates, series);
            judge_pixel(looks, index, n, series, params, |series| {
                fit.history(lane, series, n, params)
            })
        })
        .collect()
}

/// The verdict on one pixel, and its soil.
///
/// - `series`: its clear looks, the first `n` of them history.
/// - `history`: fits them.
fn judge_pixel(
    looks: &Looks,
    index: usize,
    n: usize,
    series: &mut Series,
    params: &Params,
    history: impl FnOnce(&mut Series) -> History,
) -> (PixelVerdict, Option<Soil>) {
    let n_clear = series.len() - n;
    let mut verdict = PixelVerdict {
        state: PixelState::Stable,
        n_clear_history: n.try_into().unwrap_or(u16::MAX),
        n_clear: n_clear.try_into().unwrap_or(u16::MAX),
        last_clear: series.day.last().copied(),
        before_rgb: picture(series, last(0..n, params.picture_looks)),
        after_rgb: [0; 3],
        finding: None,
        retracted: Vec::new(),
    };
    let last = last(n..series.len(), params.median_looks);
    if n < params.min_clear_history as usize {
        verdict.state = short_history(looks, index);
        verdict.after_rgb = picture(series, last);
        return (verdict, None);
    }
    let history = history(series);
    let is_bare = history.median_ndvi < params.history_ndvi;
    let followed = (!is_bare).then(|| monitor::follow(series, n, &history, params));
    verdict.after_rgb = match &followed {
        Some((_, recent)) => picture(
            series,
            recent.looks.iter().map(|look| series.position(look.look)),
        ),
        None => picture(series, last),
    };
    verdict.state = if n_clear < params.min_clear_monitoring as usize {
        unseen(looks, index, looks.n_history..looks.dates.len()).state()
    } else if let Some((followed, _)) = followed {
        (verdict.finding, verdict.retracted) = followed.findings();
        match verdict.finding {
            None => PixelState::Stable,
            Some(finding) if finding.kind == Kind::Cleared => PixelState::Cleared,
            Some(finding) if finding.confirmed_look.is_some() => PixelState::Confirmed,
            Some(_) => PixelState::Provisional,
        }
    } else {
        PixelState::BareHistory
    };
    (verdict, history.soil(params))
}

/// The state of a pixel of too few clear looks in the history.
pub(crate) fn short_history(looks: &Looks, index: usize) -> PixelState {
    match unseen(looks, index, 0..looks.n_history).state() {
        PixelState::Clouded => PixelState::ShortHistory,
        other => other,
    }
}

/// How often a pixel was not seen in a range of looks.
pub(crate) fn unseen(looks: &Looks, index: usize, range: std::ops::Range<usize>) -> Unseen {
    let mut unseen = Unseen::default();
    for time in range {
        unseen.count(looks.observation(time, index));
    }
    unseen
}

/// The last places of a range, at most `n`.
pub(crate) fn last(range: std::ops::Range<usize>, n: u32) -> std::ops::Range<usize> {
    range.start.max(range.end.saturating_sub(n as usize))..range.end
}

/// Median red, green and blue × 10,000 of some looks of a series; 0 = none.
pub(crate) fn picture(
    series: &Series,
    places: impl ExactSizeIterator<Item = usize> + Clone,
) -> [u16; 3] {
    if places.len() == 0 {
        return [0; 3];
    }
    let mut scratch = Vec::with_capacity(places.len());
    [&series.values[RED], &series.green, &series.values[BLUE]].map(|band| {
        let middle = median(&mut scratch, places.clone().map(|place| band[place]));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of u16"
        )]
        let value = (middle / REFLECTANCE_SCALE).round().clamp(1.0, 65_535.0) as u16;
        value
    })
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{Crs, GeoBox, NOT_ACQUIRED, Point, READ_FAILED, Shape};
    use proptest::prelude::*;

    use super::*;

    const BANDS: [Band; 6] = [
        Band::Blue,
        Band::Green,
        Band::Red,
        Band::Nir,
        Band::Swir16,
        Band::Swir22,
    ];
    const FIRST: i32 = 17_700;
    const MONITOR_FROM: Day = Day(FIRST + 3 * 365);

    /// The numbers of every pipeline.
    fn params() -> Params {
        let table: toml::Table = include_str!("../../../pipelines/simbench.toml")
            .parse()
            .unwrap();
        table["change"].clone().try_into().unwrap()
    }

    /// Noise of a pixel and look, about −1 to 1, the same on every machine.
    fn noise(pixel: usize, time: usize, band: usize) -> f32 {
        let mut state = (pixel as u64 + 1) * 0x9E37_79B9
            + (time as u64 + 1) * 0x85EB_CA6B
            + (band as u64 + 1) * 0xC2B2_AE35;
        state ^= state >> 15;
        state = state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((state >> 40) as f32 / (1 << 24) as f32).mul_add(2.0, -1.0)
    }

    /// Reflectance of ground of which a share is green, the rest dry grass.
    fn savanna(green: f32) -> [f32; 6] {
        let leaf = [0.03, 0.06, 0.03, 0.40, 0.18, 0.08];
        let straw = [0.08, 0.11, 0.14, 0.24, 0.32, 0.22];
        std::array::from_fn(|k| green * leaf[k] + (1.0 - green) * straw[k])
    }

    const SUBSOIL: [f32; 6] = [0.10, 0.15, 0.25, 0.31, 0.42, 0.36];
    const ROCK: [f32; 6] = [0.20, 0.22, 0.25, 0.27, 0.30, 0.30];
    const POND: [f32; 6] = [0.07, 0.11, 0.10, 0.05, 0.02, 0.01];
    const CHAR: [f32; 6] = [0.03, 0.04, 0.05, 0.08, 0.15, 0.14];
    const CLOUD: [f32; 6] = [0.45, 0.45, 0.46, 0.50, 0.40, 0.30];

    /// A look every ten days over four and a half years at `width` pixels; `ground` says what a pixel is on a day after the
    /// monitoring began, `None` = savanna. Every fifth look is cloudy.
    fn cube(width: usize, ground: impl Fn(usize, i32) -> Option<[f32; 6]>) -> Cube {
        let days: Vec<Day> = (0..165).map(|look| Day(FIRST + look * 10)).collect();
        let geobox = GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point { x: 0.0, y: 0.0 },
            10.0,
            Shape { height: 1, width },
        )
        .unwrap();
        let mut cube = Cube::empty(geobox, days.clone(), BANDS.to_vec());
        for (time, day) in days.iter().enumerate() {
            let season = 0.5 - 0.5 * (day.season_angle().cos() as f32);
            for pixel in 0..width {
                let spectrum = if time % 5 == 0 {
                    CLOUD
                } else {
                    ground(pixel, day.0 - MONITOR_FROM.0).unwrap_or(savanna(0.1 + 0.8 * season))
                };
                for (band, value) in spectrum.into_iter().enumerate() {
                    let seen = value + 0.006 * noise(pixel, time, band);
                    cube.plane_mut(band, time)[pixel] = (seen * 10_000.0).round() as i16;
                }
                cube.classes_mut(time)[pixel] = if time % 5 == 0 { 9 } else { 4 };
            }
        }
        cube
    }

    /// Days from the start of the monitoring on which excavation was alerted and confirmed.
    fn days_of(cube: &Cube, verdict: &PixelVerdict) -> Option<(i32, Option<i32>)> {
        let day = |look: u32| cube.days()[look as usize].0 - MONITOR_FROM.0;
        let finding = verdict
            .finding
            .filter(|finding| finding.kind == Kind::Excavation)?;
        Some((day(finding.alert_look), finding.confirmed_look.map(day)))
    }

    #[test]
    fn untouched_savanna_is_stable() {
        let map = detect(&cube(50, |_, _| None), MONITOR_FROM, &params()).unwrap();
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.state == PixelState::Stable && pixel.finding.is_none())
        );
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.retracted.is_empty() && pixel.n_clear > 30)
        );
    }

    /// The median of three clear looks shows it with the second of them; clear looks are at most 20 days apart.
    #[test]
    fn a_pit_is_alerted_with_the_second_clear_look_and_confirmed_later() {
        for opened in [40, 150, 260] {
            let cube = cube(8, |_, day| (day >= opened).then_some(SUBSOIL));
            let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
            for pixel in &map.pixels {
                let (alert, confirmed) = days_of(&cube, pixel).expect("the pit is found");
                assert!(
                    (opened..=opened + 40).contains(&alert),
                    "opened {opened}, alert {alert}"
                );
                let confirmed = confirmed.expect("the pit is confirmed");
                assert!(
                    confirmed >= alert + params().confirm_days as i32 && confirmed <= alert + 90
                );
                let finding = pixel.finding.unwrap();
                let change = |look: u32| cube.days()[look as usize].0 - MONITOR_FROM.0;
                assert!(
                    change(finding.last_look_before) < opened
                        && change(finding.first_look_after) >= opened
                );
                assert!(
                    finding.core_look == Some(finding.alert_look)
                        && finding.at_alert.ndvi_after < 0.2
                        && finding.at_alert.bsi_after > finding.at_alert.bsi_before
                );
            }
        }
    }

    #[test]
    fn a_pond_is_excavation() {
        let cube = cube(4, |_, day| (day >= 150).then_some(POND));
        let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.state == PixelState::Confirmed)
        );
    }

    /// The scene classification calls the pit cloud in every look; of real cloud nothing comes.
    #[test]
    fn bright_ground_that_is_called_cloud_stays_visible() {
        let under = |spectrum: [f32; 6]| {
            let mut cube = cube(4, |_, day| (day >= 150).then_some(spectrum));
            let first = cube
                .days()
                .partition_point(|day| day.0 < MONITOR_FROM.0 + 150);
            for time in first..cube.days().len() {
                cube.classes_mut(time).fill(8);
            }
            detect(&cube, MONITOR_FROM, &params()).unwrap()
        };
        let states = |map: &ChangeMap| map.pixels.iter().map(|p| p.state).collect::<Vec<_>>();
        assert_eq!(states(&under(SUBSOIL)), [PixelState::Confirmed; 4]);
        assert_eq!(states(&under(CLOUD)), [PixelState::Stable; 4]);
    }

    #[test]
    fn levels_of_green_are_passed_by_weeds_and_not_by_spoil() {
        let season = |day: i32| 0.5 - 0.5 * (Day(MONITOR_FROM.0 + day).season_angle().cos() as f32);
        // Dug on day 40; the second pixel grows over from day 150 on.
        let cube = cube(2, |pixel, day| match day {
            ..40 => None,
            150.. if pixel == 1 => Some(savanna(0.1 + 0.8 * season(day))),
            _ => Some(SUBSOIL),
        });
        let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
        let passed: Vec<_> = map
            .pixels
            .iter()
            .map(|pixel| pixel.finding.expect("both are found").greener_looks)
            .collect();
        assert_eq!(passed[0], [None; 5]);
        let looks: Vec<u32> = passed[1].into_iter().flatten().collect();
        assert!(looks.len() > 2 && looks.is_sorted(), "{looks:?}");
        assert!(
            looks
                .iter()
                .all(|&look| cube.days()[look as usize].0 - MONITOR_FROM.0 >= 150)
        );
    }

    #[test]
    fn colors_at_the_confirmation_are_means_since_the_alert() {
        // Brightens by the day.
        let shade = |day: i32| 1.0 + (day - 150) as f32 / 200.0;
        let cube = cube(1, |_, day| {
            (day >= 150).then(|| SUBSOIL.map(|value| value * shade(day)))
        });
        let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
        let finding = map.pixels[0].finding.unwrap();
        let day = |look: u32| cube.days()[look as usize].0 - MONITOR_FROM.0;
        let last = SUBSOIL[2] * shade(day(finding.confirmed_look.unwrap()) - 10);
        let (alert, mean) = (finding.at_alert.red, finding.at_confirmation.red);
        assert!(
            alert + 0.01 < mean && mean + 0.01 < last,
            "{alert} {mean} {last}"
        );
    }

    #[test]
    fn a_history_that_was_bare_at_times_shows_its_soil() {
        let soil = |barest: [f32; 6]| {
            // The fields of the first month of each year of the history.
            let cube = cube(1, |_, day| {
                (day < 0 && (day + 1095) % 365 < 60).then_some(barest)
            });
            detect(&cube, MONITOR_FROM, &params()).unwrap().soils[0]
        };
        let bare = soil(SUBSOIL).expect("a bare field shows it");
        assert!(
            (bare.blue_over_red - (0.10_f32 / 0.25).ln()).abs() < 0.05,
            "{bare:?}"
        );
        assert_eq!(soil(POND), None);
        assert_eq!(soil(CHAR), None);
    }

    #[test]
    fn a_burn_that_greens_up_is_not_confirmed() {
        let cube = cube(8, |_, day| (150..200).contains(&day).then_some(CHAR));
        let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.state != PixelState::Confirmed)
        );
    }

    #[test]
    fn a_canopy_that_is_half_lost_is_cleared_and_not_dug() {
        let season = |day: i32| 0.5 - 0.5 * (Day(MONITOR_FROM.0 + day).season_angle().cos() as f32);
        let cube = cube(8, |_, day| {
            (day >= 100).then(|| savanna(0.1 + 0.45 * season(day)))
        });
        let map = detect(&cube, MONITOR_FROM, &params()).unwrap();
        assert!(map.pixels.iter().all(|pixel| {
            pixel
                .finding
                .is_none_or(|finding| finding.kind == Kind::Cleared)
        }));
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.state == PixelState::Cleared),
            "{:?}",
            map.pixels[0]
        );
    }

    #[test]
    fn ground_that_was_bare_before_is_said_to_be() {
        let mut bare = cube(2, |_, _| None);
        for time in 0..bare.days().len() {
            for (band, value) in ROCK.into_iter().enumerate() {
                bare.plane_mut(band, time).fill((value * 10_000.0) as i16);
            }
        }
        let map = detect(&bare, MONITOR_FROM, &params()).unwrap();
        assert!(
            map.pixels
                .iter()
                .all(|pixel| pixel.state == PixelState::BareHistory)
        );
    }

    #[test]
    fn each_reason_for_not_seeing_has_its_state() {
        let mut hidden = cube(6, |_, _| None);
        let n_history = hidden.days().partition_point(|&day| day < MONITOR_FROM);
        for time in 0..hidden.days().len() {
            let is_history = time < n_history;
            let classes = hidden.classes_mut(time);
            match is_history {
                true => classes[4] = 9,
                false => {
                    classes[0] = 8;
                    classes[1] = NOT_ACQUIRED;
                    classes[2] = READ_FAILED;
                    classes[3] = 3;
                }
            }
        }
        let map = detect(&hidden, MONITOR_FROM, &params()).unwrap();
        let states: Vec<PixelState> = map.pixels.iter().map(|pixel| pixel.state).collect();
        use PixelState::{Clouded, NotAcquired, ReadFailed, ShortHistory, Stable};
        assert_eq!(
            states,
            [
                Clouded,
                NotAcquired,
                ReadFailed,
                Clouded,
                ShortHistory,
                Stable
            ]
        );
        assert!(
            map.pixels[..5]
                .iter()
                .all(|pixel| !pixel.state.is_observable())
        );
    }

    #[test]
    fn a_cloudy_look_changes_no_pixel() {
        let clear = cube(8, |pixel, day| (pixel < 4 && day >= 150).then_some(SUBSOIL));
        let mut cloudy = clear.clone();
        for time in (0..clear.days().len()).step_by(5) {
            for band in 0..BANDS.len() {
                cloudy.plane_mut(band, time).fill(9_000);
            }
        }
        assert_eq!(
            detect(&clear, MONITOR_FROM, &params()).unwrap(),
            detect(&cloudy, MONITOR_FROM, &params()).unwrap()
        );
    }

    #[test]
    fn one_thread_and_many_say_the_same() {
        let cube = cube(64, |pixel, day| {
            (pixel % 3 == 0 && day >= 150).then_some(SUBSOIL)
        });
        let on = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            pool.install(|| detect(&cube, MONITOR_FROM, &params()).unwrap())
        };
        let (one, four) = (on(1), on(4));
        assert_eq!(format!("{one:?}"), format!("{four:?}"));
    }

    #[test]
    fn a_cube_without_a_required_band_or_history_is_refused() {
        let whole = cube(1, |_, _| None);
        assert!(matches!(
            detect(&whole, Day(FIRST), &params()),
            Err(Error::NoHistory { .. })
        ));
        let poor = Cube::empty(
            whole.geobox().clone(),
            whole.days().to_vec(),
            vec![Band::Red, Band::Nir],
        );
        assert!(matches!(
            detect(&poor, MONITOR_FROM, &params()),
            Err(Error::MissingBand { .. })
        ));
        let wrong = Params {
            ridge: f32::NAN,
            ..params()
        };
        assert!(matches!(
            detect(&whole, MONITOR_FROM, &wrong),
            Err(Error::Parameter { name: "ridge", .. })
        ));
    }

    /// The cube up to a look.
    fn until(cube: &Cube, n_looks: usize) -> Cube {
        let mut cut = Cube::empty(
            cube.geobox().clone(),
            cube.days()[..n_looks].to_vec(),
            cube.bands().to_vec(),
        );
        for time in 0..n_looks {
            for band in 0..cube.bands().len() {
                cut.plane_mut(band, time)
                    .copy_from_slice(cube.plane(band, time));
            }
            cut.classes_mut(time).copy_from_slice(cube.classes(time));
        }
        cut
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// No hindsight: what a run on the looks up to a day says is what the full run says of that day, retractions apart.
        #[test]
        fn a_run_up_to_a_day_says_what_the_full_run_says_of_it(opened in 20i32..400, lasts in 30i32..500, n_looks in 115usize..165) {
            let whole = cube(6, |pixel, day| {
                let opened = opened + 15 * pixel as i32;
                (opened..opened + lasts).contains(&day).then_some(if pixel % 2 == 0 { SUBSOIL } else { CHAR })
            });
            let cut = until(&whole, n_looks);
            let last = cut.days()[n_looks - 1].0 - MONITOR_FROM.0;
            let full = detect(&whole, MONITOR_FROM, &params()).unwrap();
            let early = detect(&cut, MONITOR_FROM, &params()).unwrap();
            for (full, early) in full.pixels.iter().zip(&early.pixels) {
                let full = days_of(&whole, full);
                let early = days_of(&cut, early);
                let confirmed = |days: Option<(i32, Option<i32>)>| days.and_then(|(_, confirmed)| confirmed).filter(|&day| day <= last);
                prop_assert_eq!(confirmed(full), confirmed(early));
                if let Some((alert, _)) = full.filter(|&(alert, _)| alert <= last) {
                    prop_assert_eq!(early.map(|(alert, _)| alert), Some(alert));
                }
            }
        }
    }
}
