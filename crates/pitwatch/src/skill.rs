//! The limit of detection, measured: pits are drawn into copies of an area's own looks, detection runs as in a run, and
//! what it finds of them is counted. A run states what was measured.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use pitwatch_change::{ChangeMap, Kind};
use pitwatch_grid::{Cube, Day, LatticePixel, UtcTime, Window};
use pitwatch_report::{
    AreaSkill, DetectionLimit, DetectionRate, MeasuredOn, MinDetectable, OmittedShare, PitRow,
    SkillFile, TierSkill,
};
use pitwatch_scenes::storage::Hashes;
use pitwatch_sites::{Alert, Tier, Topsoil};

use crate::cell::bytes_per_pixel;
use crate::config::Pipeline;
use crate::detectable::{self, Interval, SizeClass};
use crate::exit::Problem;
use crate::inject::{self, Dice, Params, Pit, Sample};
use crate::progress::Progress;
use crate::run::{AreaResult, BASE_BYTES};
use crate::watch::{self, Watch, sha256};

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;
/// Times that the windows of a small area are used, at most.
const MAX_ROUNDS: u64 = 50;
/// Mapped pixels so far from a pit's own, in rows and columns, are still counted as its: two pixels of 20 m.
const MARGIN_PIXELS: i64 = 2;
/// Quarters of the year: every area has the same, and two of them are a half-year of official reports.
const SEASONS: [&str; 4] = ["Jan-Mar", "Apr-Jun", "Jul-Sep", "Oct-Dec"];
/// Decimals of areas in hectares and of shares.
const DECIMALS: i32 = 4;
/// The number of pits of area A goes with A⁻¹: log-uniform.
const LOG_UNIFORM: f64 = 1.0;

/// How skill is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Pits an area.
    pub(crate) n_pits: usize,
    pub(crate) seed: u64,
    /// Most bytes that the process may take.
    pub(crate) memory_bytes: usize,
}

/// What was measured of all areas.
pub(crate) struct Outcome {
    pub(crate) file: SkillFile,
    /// True if an area or a part of a scene failed.
    pub(crate) is_partial: bool,
}

/// Measures the skill of a pipeline on each of its areas.
///
/// # Errors
///
/// If the pipeline file says nothing of the pits to draw, or no area can be looked at.
pub(crate) fn measure(
    pipeline: &Pipeline,
    options: &Options,
    progress: &Progress,
) -> Result<Outcome> {
    let params = pipeline.skill.as_ref().ok_or_else(|| {
        anyhow!(
            "{}: there is no table [skill], which says which pits to draw; write one, such as that of pipelines/demo.toml (spectra = [[blue, green, red, nir, swir16, swir22], …], size_edges_m2 = [100.0, …] and so on, docs/cli.md)",
            pipeline.path.display()
        )
    }).context(Problem::Configuration)?;
    let mut areas = Vec::new();
    let mut failed = BTreeSet::new();
    for source in &pipeline.areas {
        let measured =
            watch::open(source, pipeline, false, &Hashes::default(), progress).and_then(|watch| {
                for warning in &watch.warnings {
                    progress.warn(warning);
                }
                measure_area(&watch, pipeline, params, options, progress, &mut failed)
            });
        match measured {
            Ok(area) => areas.push(area),
            Err(error)
                if pipeline.areas.len() == 1
                    || error.downcast_ref::<Problem>() == Some(&Problem::Configuration) =>
            {
                return Err(error);
            }
            Err(error) => {
                failed.insert(format!("{error:#}"));
            }
        }
    }
    for reason in &failed {
        progress.warn(reason);
    }
    if areas.is_empty() {
        return Err(anyhow!("no area could be looked at")).context(Problem::NoSource);
    }
    Ok(Outcome {
        file: SkillFile {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            areas,
        },
        is_partial: !failed.is_empty(),
    })
}

/// Writes what was measured, under a temporary name first.
///
/// # Errors
///
/// If the file cannot be written.
pub(crate) fn write(path: &Path, file: &SkillFile) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, file.to_json())
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A pit and what became of it.
struct Tried {
    class: usize,
    season: usize,
    area_m2: f64,
    opened: Day,
    at: LatticePixel,
    fate: Fate,
}

/// What detection made of a pit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The ground is not observable: neither for nor against.
    NotObservable,
    /// The ground was alerted without it: neither for nor against.
    AlertedBefore,
    /// Days from the opening to the alert and to the confirmation, and what was mapped.
    Assessed {
        alerted: Option<i32>,
        confirmed: Option<i32>,
        mapped_m2: f64,
    },
}

fn measure_area(
    watch: &Watch,
    pipeline: &Pipeline,
    params: &Params,
    options: &Options,
    progress: &Progress,
    failed: &mut BTreeSet<String>,
) -> Result<AreaSkill> {
    let looks: Vec<UtcTime> = watch.reader.looks().iter().map(|look| look.time).collect();
    let (first, last) = match (looks.first(), looks.last()) {
        (Some(&first), Some(&last)) => (Day::of(first), Day::of(last)),
        _ => {
            return Err(anyhow!("{}: there are no looks", watch.area_id))
                .context(Problem::NoSource);
        }
    };
    let opened = [
        pipeline.monitor_from,
        Day(last.0.saturating_sub_unsigned(params.days_before_end)),
    ];
    if opened[1] < opened[0] {
        return Err(anyhow!(
            "{}: no pit can be opened: the monitoring period goes from {} to {last}, and days_before_end = {} in [skill] leaves none of it; write fewer days",
            watch.area_id,
            pipeline.monitor_from,
            params.days_before_end
        ))
        .context(Problem::Configuration);
    }
    check_memory(watch, params, options)?;
    let sample = Sample {
        params,
        pixel_m2: watch.geobox.pixel_area_m2(),
        opened,
    };
    let measuring = Measuring {
        watch,
        pipeline,
        params,
        looks: &looks,
    };

    let mut windows = watch.geobox.cells(params.window_pixels);
    let area_seed = u64::from_str_radix(&sha256(watch.area_id.as_bytes())[..16], 16).unwrap_or(0);
    Dice::new(options.seed, &[area_seed]).shuffle(&mut windows);
    let bar = progress.bar(
        &format!("{}: draw pits", watch.area_id),
        options.n_pits as u64,
    );
    let mut tried: Vec<Tried> = Vec::new();
    let mut used = HashSet::new();
    let mut n_rounds = 0;
    for round in 0..MAX_ROUNDS {
        let before = tried.len();
        for &window in &windows {
            let n = params
                .pits_per_window
                .min(options.n_pits.saturating_sub(tried.len()));
            if n == 0 {
                break;
            }
            // The classes go round, so that each has about as many pits.
            let classes: Vec<usize> = (0..n)
                .map(|index| (tried.len() + index) % params.n_classes())
                .collect();
            let geobox = watch.geobox.window(window);
            let inside = match &watch.region {
                Some(region) => region.mask(&geobox)?,
                None => vec![true; window.shape().n_pixels()],
            };
            let origin = geobox.lattice_origin();
            let mut dice = Dice::new(
                options.seed,
                &[
                    area_seed,
                    origin.row.cast_unsigned(),
                    origin.col.cast_unsigned(),
                    round,
                ],
            );
            let pits = sample.draw(window.shape(), &inside, &classes, &mut dice);
            if pits.is_empty() {
                continue;
            }
            tried.extend(measuring.window(window, &inside, &pits, failed)?);
            used.insert((window.row, window.col));
            n_rounds = round + 1;
            bar.set(tried.len() as u64);
        }
        if tried.len() == before {
            break;
        }
    }
    bar.finish();
    if tried.len() < options.n_pits {
        progress.warn(&format!(
            "{}: {} pits found a place of {} that were asked for; the area is small for the sizes of [skill]",
            watch.area_id,
            tried.len(),
            options.n_pits
        ));
    }
    let measured_on = MeasuredOn {
        detection_sha256: pipeline.detection_sha256.clone(),
        skill_sha256: pipeline.skill_sha256.clone(),
        inputs_sha256: watch.inputs_sha256.clone(),
        bands: bands_of(watch),
        n_looks: looks.len(),
        first_look: first.to_string(),
        monitor_from: pipeline.monitor_from.to_string(),
        last_look: last.to_string(),
        opened_from: opened[0].to_string(),
        opened_until: opened[1].to_string(),
        seed: options.seed,
        n_windows: used.len(),
        n_rounds: usize::try_from(n_rounds).unwrap_or(usize::MAX),
    };
    Ok(summarize(watch, params, measured_on, &tried))
}

fn bands_of(watch: &Watch) -> Vec<String> {
    watch
        .reader
        .bands()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Refuses a window that does not fit: a smaller one would draw other pits.
fn check_memory(watch: &Watch, params: &Params, options: &Options) -> Result<()> {
    let per_pixel = bytes_per_pixel(
        watch.reader.looks().len() + watch.reader.looks_beside(),
        watch.reader.bands().len(),
    );
    // Two maps of verdicts stand beside the cube.
    let needed =
        BASE_BYTES + watch.reader.scratch_bytes() + 2 * per_pixel * params.window_pixels.pow(2);
    if needed > options.memory_bytes {
        return Err(anyhow!(
            "{}: --memory-limit is too small; give at least {} MiB",
            watch.area_id,
            (needed >> 20) + 1
        ))
        .context(Problem::Configuration);
    }
    Ok(())
}

/// What all windows of an area share.
struct Measuring<'a> {
    watch: &'a Watch,
    pipeline: &'a Pipeline,
    params: &'a Params,
    looks: &'a [UtcTime],
}

impl Measuring<'_> {
    /// Detects in a window as it is and with pits in it, and says what became of each pit.
    fn window(
        &self,
        window: Window,
        inside: &[bool],
        pits: &[Pit],
        failed: &mut BTreeSet<String>,
    ) -> Result<Vec<Tried>> {
        let geobox = self.watch.geobox.window(window);
        let (mut cube, failures) = self.watch.reader.read(&geobox, &self.watch.quarantined)?;
        failed.extend(failures.into_iter().map(|failure| {
            format!(
                "scene {}: {}: {}",
                failure.scene, failure.href, failure.reason
            )
        }));
        let (before, alerts_before) = self.detect(&cube, inside)?;
        inject::inject(&mut cube, pits, self.params);
        let (_, alerts) = self.detect(&cube, inside)?;
        Ok(judge(
            pits,
            &before,
            &alerts_before,
            &alerts,
            self.watch.geobox.pixel_area_m2(),
        ))
    }

    /// The excavation alerts of a window, as a run finds them.
    fn detect(&self, cube: &Cube, inside: &[bool]) -> Result<(ChangeMap, Vec<Alert>)> {
        let mut map =
            pitwatch_change::detect(cube, self.pipeline.monitor_from, &self.pipeline.change)?;
        for (verdict, inside) in map.pixels.iter_mut().zip(inside) {
            if !inside {
                verdict.finding = None;
                verdict.retracted.clear();
            }
        }
        let changed: Vec<_> = map.changed_pixels().collect();
        let topsoil = topsoil(&map, inside);
        let mut alerts = pitwatch_sites::find_alerts(
            &self.watch.area_id,
            &self.watch.geobox,
            self.looks,
            &changed,
            &topsoil,
            &self.pipeline.sites,
        )?
        .alerts;
        alerts.retain(|alert| alert.kind == Kind::Excavation);
        Ok((map, alerts))
    }
}

/// The topsoil of a window, of the pixels inside the area. Near the window's edge less is known of it than in a run.
fn topsoil(map: &ChangeMap, inside: &[bool]) -> Topsoil {
    let mut topsoil = Topsoil::default();
    for (index, soil) in map.soils.iter().enumerate() {
        if let Some(soil) = soil.as_ref().filter(|_| inside[index]) {
            topsoil.add(map.place(index), soil);
        }
    }
    topsoil
}

/// What became of each pit: found is what an excavation alert touches at its core, at or after its opening.
fn judge(
    pits: &[Pit],
    before: &ChangeMap,
    alerts_before: &[Alert],
    alerts: &[Alert],
    pixel_m2: f64,
) -> Vec<Tried> {
    let origin = before.geobox.lattice_origin();
    let width = before.geobox.shape().width;
    let known: HashSet<LatticePixel> = alerts_before
        .iter()
        .flat_map(|alert| alert.pixels.iter().copied())
        .collect();
    let mut at: HashMap<LatticePixel, (&Alert, UtcTime)> = HashMap::new();
    for alert in alerts {
        for (&pixel, &time) in alert.pixels.iter().zip(&alert.pixel_alert_datetimes) {
            at.insert(pixel, (alert, time));
        }
    }
    let judged = pits.iter().map(|pit| {
        let core = pit.core();
        let place = |row: usize, col: usize| LatticePixel {
            row: origin.row + row as i64,
            col: origin.col + col as i64,
        };
        let places: Vec<LatticePixel> = core
            .iter()
            .map(|pixel| place(pixel.row, pixel.col))
            .collect();
        let n_observable = core
            .iter()
            .filter(|pixel| {
                before.pixels[pixel.row * width + pixel.col]
                    .state
                    .is_observable()
            })
            .count();
        let fate = if 2 * n_observable < core.len() {
            Fate::NotObservable
        } else if places.iter().any(|place| known.contains(place)) {
            Fate::AlertedBefore
        } else {
            let hits = || {
                places
                    .iter()
                    .filter_map(|place| at.get(place))
                    .filter(|(_, time)| Day::of(*time) >= pit.opened)
            };
            let days = |time: UtcTime| Day::of(time).0 - pit.opened.0;
            let alerted = hits().map(|&(_, time)| days(time)).min();
            // An object that was confirmed before it reached the pit confirms it when it does.
            let confirmed = hits()
                .filter_map(|&(alert, time)| {
                    Some(days(
                        alert
                            .confirmed_datetime
                            .filter(|_| alert.tier == Tier::Confirmed)?
                            .max(time),
                    ))
                })
                .min();
            let pixels: Vec<LatticePixel> = pit
                .pixels()
                .iter()
                .map(|pixel| place(pixel.row, pixel.col))
                .collect();
            let is_near = |pixel: &LatticePixel| {
                pixels.iter().any(|own| {
                    (own.row - pixel.row).abs() <= MARGIN_PIXELS
                        && (own.col - pixel.col).abs() <= MARGIN_PIXELS
                })
            };
            let n_mapped = at
                .keys()
                .filter(|pixel| !known.contains(pixel) && is_near(pixel))
                .count();
            Fate::Assessed {
                alerted,
                confirmed,
                mapped_m2: n_mapped as f64 * pixel_m2,
            }
        };
        let first = places.first().copied().unwrap_or(origin);
        Tried {
            class: pit.class,
            season: season_of(pit.opened),
            area_m2: pit.area_m2,
            opened: pit.opened,
            at: first,
            fate,
        }
    });
    judged.collect()
}

/// The quarter of the year, 0 to 3.
fn season_of(day: Day) -> usize {
    (day.month() as usize - 1) / 3
}

/// Counts the pits that were found at one tier.
struct Counted<'a> {
    params: &'a Params,
    tried: &'a [Tried],
    is_confirmed: bool,
}

impl Counted<'_> {
    /// Days to the decision; the outer `None` = neither for nor against.
    fn found(&self, pit: &Tried) -> Option<Option<i32>> {
        match pit.fate {
            Fate::Assessed {
                alerted, confirmed, ..
            } => Some(if self.is_confirmed {
                confirmed
            } else {
                alerted
            }),
            _ => None,
        }
    }

    fn count(&self, test: impl Fn(&Tried) -> bool) -> (usize, usize) {
        let outcomes: Vec<Option<i32>> = self
            .tried
            .iter()
            .filter(|pit| test(pit))
            .filter_map(|pit| self.found(pit))
            .collect();
        (outcomes.iter().flatten().count(), outcomes.len())
    }

    fn edges(&self, class: Option<usize>) -> [f64; 2] {
        let edges = &self.params.size_edges_m2;
        match class {
            Some(class) => [edges[class], edges[class + 1]],
            None => [edges[0], edges[edges.len() - 1]],
        }
    }

    fn rate(&self, class: Option<usize>, season: Option<usize>) -> DetectionRate {
        let (n_detected, n) = self.count(|pit| {
            class.is_none_or(|class| pit.class == class)
                && season.is_none_or(|season| pit.season == season)
        });
        let [from_ha, to_ha] = self.edges(class).map(hectares);
        let share = detectable::share(n_detected, n);
        DetectionRate {
            from_ha,
            to_ha,
            season: season.map(|season| SEASONS[season].to_owned()),
            n,
            n_detected,
            p: share.map(|share| rounded(share.value)),
            p_lo: share.map(|share| rounded(share.lo)),
            p_hi: share.map(|share| rounded(share.hi)),
        }
    }

    fn tier(&self, seed: u64) -> TierSkill {
        let n_classes = self.params.n_classes();
        let classes: Vec<SizeClass> = (0..n_classes)
            .map(|class| {
                let (n_detected, n) = self.count(|pit| pit.class == class);
                SizeClass {
                    edges_m2: self.edges(Some(class)),
                    n,
                    n_detected,
                }
            })
            .collect();
        let found = || {
            self.tried
                .iter()
                .filter_map(|pit| Some((pit, self.found(pit)??)))
        };
        let (mut mapped, mut dug) = (0.0, 0.0);
        for (pit, _) in found() {
            if let Fate::Assessed { mapped_m2, .. } = pit.fate {
                mapped += mapped_m2;
                dug += pit.area_m2;
            }
        }
        let mut dice = Dice::new(seed, &[u64::from(self.is_confirmed)]);
        let target = self.params.target_probability;
        let min = detectable::min_detectable_m2(&classes, target, &mut dice);
        let exponents = [LOG_UNIFORM, self.params.size_exponent];
        TierSkill {
            by_size: (0..n_classes)
                .map(|class| self.rate(Some(class), None))
                .collect(),
            by_season: (0..SEASONS.len())
                .map(|season| self.rate(None, Some(season)))
                .collect(),
            by_size_and_season: (0..n_classes)
                .flat_map(|class| (0..SEASONS.len()).map(move |season| (class, season)))
                .map(|(class, season)| self.rate(Some(class), Some(season)))
                .collect(),
            median_delay_days: detectable::median(
                found().map(|(_, days)| f64::from(days)).collect(),
            ),
            mapped_over_dug: (dug > 0.0).then(|| rounded(mapped / dug)),
            min_detectable: min_detectable(min, &classes, target),
            omitted_share: exponents
                .into_iter()
                .map(|size_exponent| {
                    let share = detectable::omitted_share(&classes, size_exponent, &mut dice);
                    OmittedShare {
                        size_exponent,
                        share: share.map(|share| rounded(share.value)),
                        share_lo: share.map(|share| rounded(share.lo)),
                        share_hi: share.map(|share| rounded(share.hi)),
                    }
                })
                .collect(),
        }
    }
}

fn min_detectable(
    area: Option<Interval>,
    classes: &[SizeClass],
    probability: f64,
) -> MinDetectable {
    let finite = |value: f64| value.is_finite().then(|| hectares(value));
    let is_smallest = classes
        .iter()
        .find(|class| class.n > 0)
        .is_some_and(|class| class.n_detected as f64 >= probability * class.n as f64);
    let verdict = match area {
        None => "not measured",
        Some(area) if area.value.is_infinite() => "not reached",
        Some(_) if is_smallest => "at most",
        Some(_) => "measured",
    };
    MinDetectable {
        probability,
        ha: area.and_then(|area| finite(area.value)),
        ha_lo: area.and_then(|area| finite(area.lo)),
        ha_hi: area.and_then(|area| finite(area.hi)),
        verdict: verdict.to_owned(),
    }
}

fn summarize(
    watch: &Watch,
    params: &Params,
    measured_on: MeasuredOn,
    tried: &[Tried],
) -> AreaSkill {
    let count = |test: &dyn Fn(&Fate) -> bool| tried.iter().filter(|pit| test(&pit.fate)).count();
    let tier = |is_confirmed: bool| {
        Counted {
            params,
            tried,
            is_confirmed,
        }
        .tier(measured_on.seed)
    };
    let row = |pit: &Tried| {
        let (outcome, alert_days, confirmed_days) = match pit.fate {
            Fate::NotObservable => ("not observable", None, None),
            Fate::AlertedBefore => ("alerted before", None, None),
            Fate::Assessed {
                alerted, confirmed, ..
            } => {
                let outcome = match (alerted, confirmed) {
                    (None, _) => "missed",
                    (Some(_), None) => "provisional",
                    (Some(_), Some(_)) => "confirmed",
                };
                (outcome, alerted, confirmed)
            }
        };
        PitRow {
            row: pit.at.row,
            col: pit.at.col,
            area_ha: hectares(pit.area_m2),
            opened: pit.opened.to_string(),
            outcome: outcome.to_owned(),
            alert_days,
            confirmed_days,
        }
    };
    AreaSkill {
        area_id: watch.area_id.clone(),
        n_pits: tried.len(),
        n_not_observable: count(&|fate| *fate == Fate::NotObservable),
        n_alerted_before: count(&|fate| *fate == Fate::AlertedBefore),
        n_assessed: count(&|fate| matches!(fate, Fate::Assessed { .. })),
        provisional: tier(false),
        confirmed: tier(true),
        pits: tried.iter().map(row).collect(),
        notice: watch.notice.clone(),
        measured_on,
    }
}

fn hectares(area_m2: f64) -> f64 {
    rounded(area_m2 / M2_PER_HA)
}

fn rounded(value: f64) -> f64 {
    let factor = 10_f64.powi(DECIMALS);
    (value * factor).round() / factor
}

/// The measured skill that a pipeline names.
pub(crate) struct Measured {
    /// SHA-256 of the file; of nothing if it is not there. `None` if the pipeline names none.
    pub(crate) sha256: Option<String>,
    /// What the file has for each area.
    areas: BTreeMap<String, AreaSkill>,
    version: String,
    /// Why there is nothing in it.
    absent: Option<String>,
}

/// Reads the measured skill that a pipeline names.
///
/// # Errors
///
/// If the file cannot be read, or is none.
pub(crate) fn read(pipeline: &Pipeline) -> Result<Measured> {
    let mut measured = Measured {
        sha256: None,
        areas: BTreeMap::new(),
        version: String::new(),
        absent: None,
    };
    let Some(path) = &pipeline.skill_file else {
        return Ok(measured);
    };
    if !path.exists() {
        measured.sha256 = Some(sha256(b""));
        measured.absent = Some(format!("{} is not there", path.display()));
        return Ok(measured);
    }
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the measured skill {}", path.display()))
        .context(Problem::Configuration)?;
    let file = SkillFile::from_json(&text)
        .with_context(|| {
            format!(
                "{}: write it with pitwatch skill {} --out FILE",
                path.display(),
                pipeline.path.display()
            )
        })
        .context(Problem::Configuration)?;
    measured.sha256 = Some(sha256(text.as_bytes()));
    measured.version = file.version;
    measured.areas = file
        .areas
        .into_iter()
        .map(|area| (area.area_id.clone(), area))
        .collect();
    Ok(measured)
}

/// What the numbers of an area without a measured skill rest on.
const BY_CONSTRUCTION: &str = "by construction, not measured";

impl Measured {
    /// How small a pit could have been seen in an area: measured, where what was measured speaks of this detection.
    pub(crate) fn limit(&self, watch: &Watch, pipeline: &Pipeline) -> DetectionLimit {
        match self.of(watch, pipeline) {
            Ok(skill) => {
                let min = &skill.confirmed.min_detectable;
                let on = &skill.measured_on;
                DetectionLimit {
                    area_id: watch.area_id.clone(),
                    is_measured: true,
                    ground: format!(
                        "measured: confirmed with P {:.2} ({}), {} pits of {} drawn into the looks of {} to {}",
                        min.probability,
                        min.verdict,
                        skill.n_assessed,
                        skill.n_pits,
                        on.first_look,
                        on.last_look
                    ),
                    min_detectable_ha: min.ha,
                    min_detectable_ha_lo: min.ha_lo,
                    min_detectable_ha_hi: min.ha_hi,
                    p_detect: skill.confirmed.by_size.clone(),
                    p_detect_provisional: skill.provisional.by_size.clone(),
                    omitted_share: skill.confirmed.omitted_share.clone(),
                }
            }
            Err(reason) => {
                let pixels = pipeline.sites.mmu_excavation_pixels.max(1) as f64;
                DetectionLimit {
                    area_id: watch.area_id.clone(),
                    is_measured: false,
                    ground: match reason {
                        None => BY_CONSTRUCTION.to_owned(),
                        Some(reason) => format!("{BY_CONSTRUCTION}: {reason}"),
                    },
                    min_detectable_ha: Some(hectares(pixels * watch.geobox.pixel_area_m2())),
                    min_detectable_ha_lo: None,
                    min_detectable_ha_hi: None,
                    p_detect: Vec::new(),
                    p_detect_provisional: Vec::new(),
                    omitted_share: Vec::new(),
                }
            }
        }
    }

    /// What was measured of an area, or why it cannot be used; no reason where none was to be expected.
    fn of(
        &self,
        watch: &Watch,
        pipeline: &Pipeline,
    ) -> std::result::Result<&AreaSkill, Option<String>> {
        if self.sha256.is_none() {
            return Err(None);
        }
        if let Some(absent) = &self.absent {
            return Err(Some(absent.clone()));
        }
        let skill = self
            .areas
            .get(&watch.area_id)
            .ok_or_else(|| Some("skill_file has nothing of this area".to_owned()))?;
        let on = &skill.measured_on;
        if pipeline.sites.budget.is_some() {
            Err(Some(
                "a budget of false alerts sets another report_probability than skill_file was measured with".into(),
            ))
        } else if on.detection_sha256 != pipeline.detection_sha256 {
            Err(Some(
                "skill_file was measured with other numbers in [change] or [sites]".into(),
            ))
        } else if self.version != env!("CARGO_PKG_VERSION") {
            Err(Some(format!(
                "skill_file was measured by version {}",
                self.version
            )))
        } else if on.bands != bands_of(watch) {
            Err(Some(format!(
                "skill_file was measured on the bands {}",
                on.bands.join(", ")
            )))
        } else if skill.n_assessed == 0 {
            Err(Some("none of the pits of skill_file counts".into()))
        } else {
            Ok(skill)
        }
    }
}

/// Says of each area whose measured skill is named and not used why that is so.
pub(crate) fn warn(results: &[AreaResult], measured: &Measured, progress: &Progress) {
    if measured.sha256.is_none() {
        return;
    }
    for limit in results
        .iter()
        .map(|result| &result.detection_limit)
        .filter(|limit| !limit.is_measured)
    {
        progress.warn(&format!(
            "{}: the smallest pit is {}; measure it with pitwatch skill PIPELINE --out FILE",
            limit.area_id, limit.ground
        ));
    }
}

/// States the measured limit in excavation alerts; NaN = reached at no size that was drawn.
pub(crate) fn state(alerts: &mut [Alert], limit: &DetectionLimit) {
    if limit.is_measured {
        for alert in alerts
            .iter_mut()
            .filter(|alert| alert.kind == Kind::Excavation)
        {
            alert.min_detectable_ha = limit.min_detectable_ha.unwrap_or(f64::NAN);
        }
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_change::{ChangedPixel, Finding, Ground, PixelState, PixelVerdict};
    use pitwatch_grid::{Crs, GeoBox, Point, Shape, parse_time};
    use pitwatch_sites::{CauseModel, TopsoilParams, Weights};

    use super::*;

    const SHAPE: Shape = Shape {
        height: 64,
        width: 64,
    };

    fn geobox() -> GeoBox {
        GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point {
                x: 205_000.0,
                y: 985_000.0,
            },
            10.0,
            SHAPE,
        )
        .unwrap()
    }

    fn looks() -> Vec<UtcTime> {
        ["2022-01-01", "2022-02-01", "2022-03-01", "2022-06-01"]
            .map(|day| parse_time(&format!("{day}T10:00:00Z")).unwrap())
            .to_vec()
    }

    fn map(state: PixelState) -> ChangeMap {
        let verdict = PixelVerdict {
            state,
            n_clear_history: 60,
            n_clear: 12,
            last_clear: None,
            retracted: Vec::new(),
            before_rgb: [0; 3],
            after_rgb: [0; 3],
            finding: None,
        };
        ChangeMap {
            geobox: geobox(),
            pixels: vec![verdict; SHAPE.n_pixels()],
            soils: vec![None; SHAPE.n_pixels()],
        }
    }

    /// A pit of the largest class opened on 2022-01-15.
    fn pit() -> Vec<Pit> {
        let table: toml::Table = include_str!("../../../pipelines/demo.toml")
            .parse()
            .unwrap();
        let params: Params = table["skill"].clone().try_into().unwrap();
        let opened: Day = "2022-01-15".parse().unwrap();
        let sample = Sample {
            params: &params,
            pixel_m2: 100.0,
            opened: [opened, opened],
        };
        sample.draw(
            SHAPE,
            &vec![true; SHAPE.n_pixels()],
            &[5],
            &mut Dice::new(1, &[]),
        )
    }

    /// Alerts at a pit's core, with the looks at which they were alerted and confirmed.
    fn alerts(pit: &Pit, alert_look: u32, confirmed_look: Option<u32>) -> Vec<Alert> {
        let origin = geobox().lattice_origin();
        let ground = Ground {
            ndvi_before: 0.6,
            ndvi_after: 0.1,
            ..Ground::default()
        };
        let finding = Finding {
            confirmed_look,
            core_look: Some(alert_look),
            ..Finding::new(Kind::Excavation, alert_look, (0, 0), ground)
        };
        let pixels: Vec<ChangedPixel> = pit
            .core()
            .iter()
            .map(|pixel| ChangedPixel {
                at: LatticePixel {
                    row: origin.row + pixel.row as i64,
                    col: origin.col + pixel.col as i64,
                },
                finding,
                n_clear_history: 60,
                n_clear: 12,
            })
            .collect();
        // Causes that weigh nothing: every object is a pit.
        let nothing = Weights::of_intercept(-20.0);
        let params = pitwatch_sites::Params {
            mmu_excavation_pixels: 2,
            mmu_cleared_pixels: 5,
            site_distance_m: 100.0,
            join_days: 90,
            report_probability: 0.0,
            confirm_probability: 0.5,
            retract_probability: 0.2,
            probability_cleared: 0.5,
            states: pitwatch_sites::SiteParams {
                new_days: 30,
                growing_days: 90,
                growing_share: 0.1,
                dormant_days: 365,
                revegetating_share: 0.5,
            },
            topsoil: TopsoilParams {
                distance_m: 250.0,
                noise: 0.03,
                half_trust_pixels: 5.0,
            },
            causes: CauseModel::alike(nothing),
            budget: None,
        };
        pitwatch_sites::find_alerts(
            "a",
            &geobox(),
            &looks(),
            &pixels,
            &Topsoil::default(),
            &params,
        )
        .unwrap()
        .alerts
    }

    fn fate(state: PixelState, before: &[Alert], after: &[Alert]) -> Fate {
        judge(&pit(), &map(state), before, after, 100.0)[0].fate
    }

    #[test]
    fn an_alert_at_the_core_after_the_opening_is_a_hit() {
        let pit = &pit()[0];
        // 17 days to the first of February, 137 to the first of June.
        let Fate::Assessed {
            alerted,
            confirmed,
            mapped_m2,
        } = fate(PixelState::Stable, &[], &alerts(pit, 1, Some(3)))
        else {
            panic!("it counts");
        };
        assert_eq!((alerted, confirmed), (Some(17), Some(137)));
        assert!((mapped_m2 - pit.core().len() as f64 * 100.0).abs() < 1e-9);
        let provisional = fate(PixelState::Stable, &[], &alerts(pit, 2, None));
        assert!(matches!(
            provisional,
            Fate::Assessed {
                alerted: Some(45),
                confirmed: None,
                ..
            }
        ));
    }

    #[test]
    fn an_alert_before_the_opening_or_none_is_a_miss() {
        let pit = &pit()[0];
        for found in [alerts(pit, 0, Some(0)), Vec::new()] {
            assert!(matches!(
                fate(PixelState::Stable, &[], &found),
                Fate::Assessed {
                    alerted: None,
                    confirmed: None,
                    ..
                }
            ));
        }
    }

    #[test]
    fn ground_that_is_alerted_anyway_or_not_observable_speaks_neither_way() {
        let pit = &pit()[0];
        let found = alerts(pit, 1, Some(3));
        assert_eq!(
            fate(PixelState::Stable, &found, &found),
            Fate::AlertedBefore
        );
        for state in [
            PixelState::Clouded,
            PixelState::BareHistory,
            PixelState::ShortHistory,
        ] {
            assert_eq!(fate(state, &[], &found), Fate::NotObservable);
        }
    }

    #[test]
    fn a_day_belongs_to_its_quarter() {
        for (day, season) in [
            ("2023-01-01", 0),
            ("2023-03-31", 0),
            ("2023-04-01", 1),
            ("2023-06-30", 1),
            ("2023-07-01", 2),
            ("2023-09-30", 2),
            ("2023-10-01", 3),
            ("2023-12-31", 3),
            ("2024-03-31", 0),
            ("2024-04-01", 1),
            ("2024-06-30", 1),
            ("2024-07-01", 2),
            ("2024-09-30", 2),
            ("2024-10-01", 3),
            ("2024-12-31", 3),
        ] {
            assert_eq!(season_of(day.parse().unwrap()), season, "{day}");
        }
    }

    #[test]
    fn pits_that_do_not_count_are_in_no_share() {
        let table: toml::Table = include_str!("../../../pipelines/demo.toml")
            .parse()
            .unwrap();
        let params: Params = table["skill"].clone().try_into().unwrap();
        let tried = |class: usize, fate: Fate| Tried {
            class,
            season: 1,
            area_m2: 500.0,
            opened: Day(0),
            at: LatticePixel { row: 0, col: 0 },
            fate,
        };
        let assessed = |alerted, confirmed| Fate::Assessed {
            alerted,
            confirmed,
            mapped_m2: 400.0,
        };
        let all = [
            tried(0, assessed(None, None)),
            tried(0, assessed(Some(10), None)),
            tried(0, Fate::NotObservable),
            tried(1, assessed(Some(20), Some(90))),
            tried(1, Fate::AlertedBefore),
        ];
        let tier = |is_confirmed| {
            Counted {
                params: &params,
                tried: &all,
                is_confirmed,
            }
            .tier(1)
        };
        let (early, sure) = (tier(false), tier(true));
        let counts = |tier: &TierSkill| {
            [0, 1].map(|class| (tier.by_size[class].n_detected, tier.by_size[class].n))
        };
        assert_eq!(counts(&early), [(1, 2), (1, 1)]);
        assert_eq!(counts(&sure), [(0, 2), (1, 1)]);
        assert_eq!(early.by_season[1].n, 3);
        assert_eq!(sure.median_delay_days, Some(90.0));
        assert_eq!(sure.mapped_over_dug, Some(0.8));
        // Four classes have no pit.
        assert_eq!(sure.omitted_share[0].share, None);
        assert_eq!(sure.by_size[5].p, None);
    }
}
