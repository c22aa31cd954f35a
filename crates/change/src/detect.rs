use pitwatch_grid::{Band, Cube, Day, MISSING_REFLECTANCE};
use rayon::prelude::*;

use crate::mask::{Observation, observation};
use crate::series::{BLUE, LookDate, RED, Reflectance, Series, median};
use crate::{
    ChangeMap, Error, Kind, Params, PixelState, PixelVerdict, Result, harmonic, history, monitor,
};

/// Reflectance is held × 10,000 in a [`Cube`].
const REFLECTANCE_SCALE: f32 = 1e-4;

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
/// If a required band or all history is missing, or a parameter lies outside its range.
pub fn detect(cube: &Cube, monitor_from: Day, params: &Params) -> Result<ChangeMap> {
    params.check()?;
    let mut bands = [0; REQUIRED_BANDS.len()];
    for (place, band) in bands.iter_mut().zip(REQUIRED_BANDS) {
        *place = cube.band_index(band).ok_or(Error::MissingBand {
            band: band.common_name(),
        })?;
    }
    let n_history = cube.days().partition_point(|&day| day < monitor_from);
    if n_history == 0 {
        return Err(Error::NoHistory { monitor_from });
    }
    let dates: Vec<LookDate> = cube
        .days()
        .iter()
        .map(|&day| LookDate {
            day,
            regressors: harmonic::regressors(day.season_angle()),
        })
        .collect();
    let area = Looks {
        cube,
        bands,
        swir22: cube.band_index(Band::Swir22),
        dates,
        n_history,
    };
    let shape = cube.geobox().shape();
    let rows: Vec<Vec<PixelVerdict>> = (0..shape.height)
        .into_par_iter()
        .map_init(Series::default, |series, row| {
            (row * shape.width..(row + 1) * shape.width)
                .map(|index| judge(&area, index, series, params))
                .collect()
        })
        .collect();
    Ok(ChangeMap {
        geobox: cube.geobox().clone(),
        pixels: rows.concat(),
    })
}

struct Looks<'a> {
    cube: &'a Cube,
    bands: [usize; REQUIRED_BANDS.len()],
    swir22: Option<usize>,
    dates: Vec<LookDate>,
    n_history: usize,
}

/// How often the ground was not seen, by the reason.
#[derive(Debug, Default, Clone, Copy)]
struct Unseen {
    clouded: u32,
    not_acquired: u32,
    failed: u32,
}

impl Unseen {
    fn count(&mut self, observation: Observation) {
        match observation {
            Observation::Clear => {}
            Observation::Cloud | Observation::Shadow | Observation::Snow => self.clouded += 1,
            Observation::NoData | Observation::NotAcquired => self.not_acquired += 1,
            Observation::ReadFailed | Observation::Quarantined => self.failed += 1,
        }
    }

    /// The reason that hid the ground most often; a failure before the others, since it can be mended.
    fn state(self) -> PixelState {
        if self.failed > 0 && self.failed >= self.clouded.max(self.not_acquired) {
            PixelState::ReadFailed
        } else if self.clouded >= self.not_acquired {
            PixelState::Clouded
        } else {
            PixelState::NotAcquired
        }
    }
}

/// The verdict on one pixel.
fn judge(looks: &Looks, index: usize, series: &mut Series, params: &Params) -> PixelVerdict {
    let mut unseen = [Unseen::default(); 2];
    let n = gather(looks, index, series, &mut unseen);
    let n_clear = series.len() - n;
    let mut verdict = PixelVerdict {
        state: PixelState::Stable,
        n_clear_history: n.try_into().unwrap_or(u16::MAX),
        n_clear: n_clear.try_into().unwrap_or(u16::MAX),
        last_clear: series.day.last().copied(),
        confidence: f32::NAN,
        before_rgb: picture(series, 0..n, params),
        after_rgb: picture(series, n..series.len(), params),
        finding: None,
    };
    let [before, after] = unseen;
    verdict.state = if n < params.min_clear_history as usize {
        match before.state() {
            PixelState::Clouded => PixelState::ShortHistory,
            other => other,
        }
    } else if n_clear < params.min_clear_monitoring as usize {
        after.state()
    } else {
        let history = history::fit(series, n, params);
        if history.median_ndvi < params.history_ndvi {
            PixelState::BareHistory
        } else {
            verdict.finding = monitor::follow(series, n, &history, params);
            match verdict.finding {
                None => PixelState::Stable,
                Some(finding) if finding.kind == Kind::Cleared => PixelState::Cleared,
                Some(finding) if finding.confirmed_look.is_some() => PixelState::Confirmed,
                Some(_) => PixelState::Provisional,
            }
        }
    };
    if verdict.state.is_observable() && verdict.state != PixelState::BareHistory {
        let excavation = verdict
            .finding
            .filter(|finding| finding.kind == Kind::Excavation);
        verdict.confidence = excavation.map_or(0.0, |finding| finding.probability);
    }
    verdict
}

/// Collects the clear looks of a pixel; returns how many of them are history.
fn gather(looks: &Looks, index: usize, series: &mut Series, unseen: &mut [Unseen; 2]) -> usize {
    series.clear();
    let n_pixels = looks.cube.geobox().shape().n_pixels();
    let n_looks = looks.dates.len();
    let (reflectance, classes) = (looks.cube.reflectance(), looks.cube.all_classes());
    let mut n = 0;
    for (time, date) in looks.dates.iter().enumerate() {
        let is_history = time < looks.n_history;
        let observation = observation(classes[time * n_pixels + index]);
        if observation != Observation::Clear {
            unseen[usize::from(!is_history)].count(observation);
            continue;
        }
        let value = |band: usize| reflectance[(band * n_looks + time) * n_pixels + index];
        let values = looks.bands.map(value);
        let swir22 = looks.swir22.map_or(0, value);
        if swir22 == MISSING_REFLECTANCE || values.contains(&MISSING_REFLECTANCE) {
            unseen[usize::from(!is_history)].count(Observation::NoData);
            continue;
        }
        let [blue, green, red, nir, swir16] =
            values.map(|value| f32::from(value) * REFLECTANCE_SCALE);
        let swir22 = f32::from(swir22) * REFLECTANCE_SCALE;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an area has far fewer than 2^32 looks"
        )]
        series.push(
            time as u32,
            date,
            Reflectance {
                blue,
                green,
                red,
                nir,
                swir16,
                swir22,
            },
        );
        n += usize::from(is_history);
    }
    n
}

/// Median red, green and blue × 10,000 of the last clear looks of a range of the series; 0 = none.
fn picture(series: &Series, range: std::ops::Range<usize>, params: &Params) -> [u16; 3] {
    let n_looks = range.len().min(params.picture_looks as usize);
    if n_looks == 0 {
        return [0; 3];
    }
    let last = range.end - n_looks..range.end;
    let mut scratch = Vec::with_capacity(n_looks);
    [&series.values[RED], &series.green, &series.values[BLUE]].map(|band| {
        let middle = median(&mut scratch, band[last.clone()].iter().copied());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of u16"
        )]
        let value = (middle / REFLECTANCE_SCALE).round().clamp(1.0, 65_535.0) as u16;
        value
    })
}
