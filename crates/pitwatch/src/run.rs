//! The line itself: scenes, imagery, change, sites, report; one call a stage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use pitwatch_change::ChangedPixel;
use pitwatch_grid::{Day, LatticePixel, UtcTime, Window};
use pitwatch_report::{DetectionLimit, FalseAlertBudget, Skipped};
use pitwatch_scenes::storage::Hashes;
use pitwatch_sites::{Alert, Known, Retraction, Review, Site, Topsoil};
use sha2::{Digest as _, Sha256};

use crate::assess;
use crate::cell::{CellResult, CellWork, bytes_per_pixel, merge_failures, replay_from};
use crate::changes;
use crate::config::{AreaSource, Pipeline};
use crate::exit::Problem;
use crate::false_area::Replayed;
use crate::ledger::{self, Ledger};
use crate::live::{self, NetworkOptions, Refreshed};
use crate::memo::Memos;
use crate::places::{self, Places};
use crate::progress::Progress;
use crate::publish::{self, RunFolder};
use crate::reviews::Reviewed;
use crate::skill::{self, Measured};
use crate::stop;
use crate::watch::{self, Watch, sha256};

/// Square meters in a square kilometer.
const M2_PER_KM2: f64 = 1e6;
/// Days in a year, by which rates are counted.
const DAYS_PER_YEAR: f64 = 365.25;

/// How a run goes, none of which moves a result.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) out: PathBuf,
    /// Pixels a side of a cell.
    pub(crate) cell_pixels: usize,
    /// Most bytes that the process may take.
    pub(crate) memory_bytes: usize,
    /// Cells at a time.
    pub(crate) jobs: usize,
    /// Do nothing if the newest published run already says it.
    pub(crate) only_if_new: bool,
    pub(crate) started: UtcTime,
    /// How live areas are fetched; `None` looks at what the mirror has.
    pub(crate) network: Option<NetworkOptions>,
}

/// What a run made.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) run_id: String,
    pub(crate) folder: PathBuf,
    pub(crate) alerts: Vec<Alert>,
    /// Alerts that the run published before did not have.
    pub(crate) n_new_alerts: usize,
    /// True if the run of this id was published already and nothing was done.
    pub(crate) is_unchanged: bool,
    /// What failed; the rest is published.
    pub(crate) failed: Vec<Skipped>,
    pub(crate) summary: BTreeMap<String, u64>,
    /// What reviewers said of the alerts of the run's areas, so far.
    pub(crate) reviewed: Reviewed,
    /// How small a pit could have been seen, an entry an area.
    pub(crate) detection_limits: Vec<DetectionLimit>,
}

/// An area with all that was found in it.
pub(crate) struct AreaResult {
    pub(crate) watch: Watch,
    pub(crate) cells: Vec<Window>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) retractions: Vec<Retraction>,
    pub(crate) sites: Vec<Site>,
    pub(crate) n_clear: Vec<u64>,
    pub(crate) n_pixels: u64,
    pub(crate) n_observable: u64,
    /// Of the observable pixels, how many were last seen clear on each day.
    pub(crate) n_last_clear: BTreeMap<Day, u64>,
    /// What the replay of the history found; `None` where there was none.
    pub(crate) replayed: Option<Replayed>,
    pub(crate) failures: BTreeMap<String, String>,
    pub(crate) detection_limit: DetectionLimit,
    pub(crate) false_alert_budget: Option<FalseAlertBudget>,
    /// What reviewers said of the area's alerts when the run began.
    pub(crate) reviewed: Reviewed,
}

/// Runs a pipeline: finds the scenes, looks for change in each cell, makes alerts and sites, and publishes.
///
/// # Errors
///
/// If no area can be looked at, another run holds the output folder, or a result cannot be written.
pub(crate) fn run(pipeline: &Pipeline, options: &Options, progress: &Progress) -> Result<Outcome> {
    let _lock = publish::lock(&options.out)?;
    let mut ledger = publish::open_ledger(&options.out, progress)?;
    let mut failed = Vec::new();
    let compared = assess::read(pipeline)?;
    let places = places_of(pipeline)?;
    let hashes_path = options.out.join("memo/hashes");
    let hashes = Hashes::load(&hashes_path);
    let refreshed = refresh_areas(pipeline, options, &ledger, &hashes, progress, &mut failed)?;
    let mut watches = open_areas(pipeline, &refreshed, &hashes, progress, &mut failed)?;
    // What cannot be kept is read again by the next run.
    let _ = hashes.save(&hashes_path);
    for watch in &mut watches {
        if let Some(notice) = places
            .get(&watch.area_id)
            .and_then(|places| places.notice.as_ref())
        {
            watch.notice += &format!(" {notice}");
        }
    }
    let measured = skill::read(pipeline)?;
    let reviews = ledger.reviews()?;
    let before = ledger.state()?;
    let known: Vec<Vec<Known>> = watches
        .iter()
        .map(|watch| {
            changes::known(
                &before,
                &watch.area_id,
                pipeline.monitor_from,
                &watch.geobox,
            )
        })
        .collect();
    let named = named(
        pipeline,
        &watches,
        &measured,
        compared.as_ref(),
        &reviews,
        &known,
        &places,
    );
    let run_id = run_id(&watches, named, &ledger)?;
    let run_folder = RunFolder::create(&options.out, &run_id)?;
    if options.only_if_new && run_folder.is_published() {
        progress.say(&format!("nothing new: {run_id} is published already"));
        return run_folder.unchanged(run_id);
    }
    let mut results = Vec::new();
    for (watch, known) in watches.into_iter().zip(known) {
        let cells = detect_cells(&watch, pipeline, options, &run_folder, progress)?;
        stop::check()?;
        let mut result = gather(
            watch,
            cells,
            pipeline,
            &measured,
            &known,
            &reviews,
            &run_folder,
        )?;
        if let Some(places) = places.get(&result.watch.area_id) {
            places.describe(result.watch.geobox.crs(), &mut result.sites);
        }
        ledger::apply_reviews(&reviews, &mut result.alerts);
        result.reviewed = Reviewed::of_area(&reviews, &result.watch.area_id);
        results.push(result);
    }
    publish::crash_at("cells");
    skill::warn(&results, &measured, progress);
    let assessed = match &compared {
        Some(inputs) => Some(assess::assess(inputs, pipeline, &results)?),
        None => None,
    };
    let warnings = assessed.iter().flat_map(|assessed| &assessed.warnings);
    warnings.for_each(|warning| progress.warn(warning));
    stop::check()?;
    publish::publish(
        pipeline,
        options,
        run_folder,
        &mut ledger,
        &results,
        assessed.as_ref(),
        &refreshed,
        failed,
        progress,
    )
}

/// What lies around the sites of each area, by the area's name.
fn places_of(pipeline: &Pipeline) -> Result<BTreeMap<String, Places>> {
    let named = pipeline
        .areas
        .iter()
        .filter_map(|area| Some((area.id.clone()?, area)));
    named
        .map(|(id, area)| Ok((id, places::read(area)?)))
        .collect()
}

/// Brings the mirrors of live areas up to date; an area that fails is looked at as far as its mirror goes. Returns those
/// that were brought up to date.
fn refresh_areas(
    pipeline: &Pipeline,
    options: &Options,
    ledger: &Ledger,
    hashes: &Hashes,
    progress: &Progress,
    failed: &mut Vec<Skipped>,
) -> Result<BTreeMap<String, Refreshed>> {
    let mut areas = BTreeMap::new();
    let Some(network) = &options.network else {
        return Ok(areas);
    };
    let watermarks = ledger.watermarks()?;
    for source in pipeline.areas.iter().filter(|area| area.mirror.is_some()) {
        let known = source.id.as_ref().and_then(|id| watermarks.get(id));
        let known = known.filter(|_| options.only_if_new);
        match live::refresh(source, pipeline, network, known, hashes, progress) {
            Ok(refreshed) => {
                refreshed
                    .warnings
                    .iter()
                    .for_each(|warning| progress.warn(warning));
                for skipped in &refreshed.failed_sources {
                    progress.warn(&format!("{}: {}", skipped.what, skipped.reason));
                }
                progress.say(&refreshed.to_text());
                refreshed
                    .why_nothing_came()
                    .iter()
                    .for_each(|why| progress.warn(why));
                failed.extend(refreshed.failed_sources.iter().cloned());
                areas.insert(refreshed.area_id.clone(), refreshed);
            }
            Err(error) if pipeline.areas.len() == 1 || is_final(&error) => return Err(error),
            Err(error) => {
                let reason = format!("{error:#}");
                progress.warn(&reason);
                failed.push(Skipped {
                    what: area_name(source),
                    reason,
                });
            }
        }
    }
    Ok(areas)
}

/// True for what the next area would meet too: a file that a person must mend, a mirror that another process holds.
fn is_final(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<Problem>(),
        Some(Problem::Configuration | Problem::Locked | Problem::Interrupted)
    )
}

/// Opens every area that can be opened; the others are noted as failed.
fn open_areas(
    pipeline: &Pipeline,
    refreshed: &BTreeMap<String, Refreshed>,
    hashes: &Hashes,
    progress: &Progress,
    failed: &mut Vec<Skipped>,
) -> Result<Vec<Watch>> {
    let mut watches = Vec::new();
    for source in &pipeline.areas {
        stop::check()?;
        let refreshed = source.id.as_ref().and_then(|id| refreshed.get(id));
        let is_checked = refreshed.is_some_and(|refreshed| refreshed.is_checked);
        match watch::open(source, pipeline, is_checked, hashes, progress) {
            Ok(watch) => {
                watch
                    .warnings
                    .iter()
                    .for_each(|warning| progress.warn(warning));
                watches.push(watch);
            }
            // A file that a person must mend stops the run before any work.
            Err(error) if error.downcast_ref::<Problem>() == Some(&Problem::Configuration) => {
                return Err(error);
            }
            Err(error) if pipeline.areas.len() == 1 => return Err(error),
            Err(error) => {
                let reason = format!("{error:#}");
                progress.warn(&reason);
                failed.push(Skipped {
                    what: area_name(source),
                    reason,
                });
            }
        }
    }
    if watches.is_empty() {
        let reasons: Vec<String> = failed
            .iter()
            .map(|skipped| skipped.reason.clone())
            .collect();
        return Err(anyhow::anyhow!("{}", reasons.join("; "))).context(Problem::NoSource);
    }
    Ok(watches)
}

fn area_name(source: &AreaSource) -> String {
    format!("area {}", source.id.as_deref().unwrap_or("of the catalog"))
}

/// What a run's name is made of: inputs, pipeline file, measured skill, priors and figures, places, reviews, alerts of
/// earlier periods and version.
fn named(
    pipeline: &Pipeline,
    watches: &[Watch],
    measured: &Measured,
    compared: Option<&assess::Inputs>,
    reviews: &BTreeMap<String, Review>,
    known: &[Vec<Known>],
    places: &BTreeMap<String, Places>,
) -> String {
    let mut named = format!(
        "{}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        pipeline.text,
        pipeline.monitor_from
    );
    for watch in watches {
        named += &format!("\n{} {}", watch.area_id, watch.sha256());
    }
    if let Some(sha256) = &measured.sha256 {
        named += &format!("\nskill {sha256}");
    }
    if let Some(inputs) = compared {
        named += &format!("\ncapacity {}", inputs.sha256);
    }
    let known: Vec<String> = known
        .iter()
        .flatten()
        .map(|known| format!("{known:?}"))
        .collect();
    if !known.is_empty() {
        named += &format!("\nknown {}", sha256(known.join("\n").as_bytes()));
    }
    for (area_id, places) in places {
        if let Some(sha256) = &places.sha256 {
            named += &format!("\nplaces {area_id} {sha256}");
        }
    }
    let areas = watches.iter().map(|watch| watch.area_id.as_str());
    named + &ledger::named_reviews(reviews, areas)
}

/// Date of the newest look and twelve digits of the hash of what the run is named by.
///
/// A run that was published before another one has happened already: to come back to its inputs is another step of the
/// folder's history, with events and therefore a name of its own.
fn run_id(watches: &[Watch], mut named: String, ledger: &Ledger) -> Result<String> {
    let newest = watches
        .iter()
        .flat_map(|watch| watch.reader.looks().last())
        .map(|look| Day::of(look.time))
        .max();
    let date = newest.map_or_else(String::new, |day| day.to_string().replace('-', ""));
    let newest_run = ledger.newest_run()?.map(|run| run.run_id);
    loop {
        let run_id = format!("{date}{}", &sha256(named.as_bytes())[..12]);
        if newest_run.as_ref() == Some(&run_id) || ledger.run(&run_id)?.is_none() {
            return Ok(run_id);
        }
        named += &format!("\nafter {}", newest_run.as_deref().unwrap_or_default());
    }
}

/// Memory that is taken before any cell: the program, its libraries, file headers.
pub(crate) const BASE_BYTES: usize = 180 << 20;
/// Blocks smaller than this decode each stored block of a file many times over; fewer cells at a time is better.
const COMFORTABLE_PIXELS: usize = 128 * 128;

/// How many cells are worked on at a time, and what the block of each may take.
///
/// # Errors
///
/// If not even one pixel fits.
pub(crate) fn memory_plan(
    watch: &Watch,
    n_cells: usize,
    options: &Options,
) -> Result<(usize, usize)> {
    let per_pixel = bytes_per_pixel(
        watch.reader.looks().len() + watch.reader.looks_beside(),
        watch.reader.bands().len(),
    );
    let scratch = watch.reader.scratch_bytes();
    // A cell's result stands in memory beside its block.
    let result = options.cell_pixels * options.cell_pixels * 24;
    let block_bytes = |n: usize| {
        (options.memory_bytes.saturating_sub(BASE_BYTES) / n).saturating_sub(scratch + result)
    };
    let comfortable = (1..=options.jobs.min(n_cells).max(1))
        .rev()
        .find(|&n| block_bytes(n) / per_pixel >= COMFORTABLE_PIXELS);
    let n = comfortable.unwrap_or(1);
    let bytes = block_bytes(n);
    if bytes < per_pixel {
        let needed = (BASE_BYTES + scratch + result + per_pixel) >> 20;
        anyhow::bail!(
            "{}: --memory-limit is too small; give at least {} MiB or a smaller --cell-size",
            watch.area_id,
            needed + 1
        );
    }
    Ok((n, bytes))
}

/// Makes the result of every cell, several at a time, and returns the cells; a cell that fails is left without a file.
fn detect_cells(
    watch: &Watch,
    pipeline: &Pipeline,
    options: &Options,
    run: &RunFolder,
    progress: &Progress,
) -> Result<Cells> {
    let cells = watch.geobox.cells(options.cell_pixels);
    let folder = run.cells_folder(&watch.area_id)?;
    let (n_at_a_time, block_bytes) =
        memory_plan(watch, cells.len(), options).context(Problem::Configuration)?;
    progress.detail(&format!(
        "{}: {} cells, {n_at_a_time} at a time",
        watch.area_id,
        cells.len()
    ));
    let memos = memos(watch, pipeline, options);
    let work = CellWork {
        memos: Some(&memos),
        ..work(watch, pipeline, block_bytes, &folder)
    };
    let bar = progress.bar(&format!("{}: detect", watch.area_id), cells.len() as u64);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(BTreeMap::new());
    // Threads of their own, since a thread of rayon's pool that waits inside one cell may start the next.
    std::thread::scope(|scope| {
        for _ in 0..n_at_a_time {
            scope.spawn(|| {
                while let Some(&cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop::is_asked() {
                        break;
                    }
                    if let Err(error) = work.make(cell) {
                        let reason = format!("{error:#}");
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert((cell.row, cell.col), reason);
                    }
                    bar.step();
                }
            });
        }
    });
    bar.finish();
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Cells {
        cells,
        folder,
        failed,
    })
}

/// The cells of an area, where their results are, and which failed.
struct Cells {
    cells: Vec<Window>,
    folder: PathBuf,
    failed: BTreeMap<(usize, usize), String>,
}

fn work<'a>(
    watch: &'a Watch,
    pipeline: &'a Pipeline,
    block_bytes: usize,
    folder: &'a Path,
) -> CellWork<'a> {
    CellWork {
        reader: &watch.reader,
        quarantined: &watch.quarantined,
        pipeline,
        region: watch.region.as_ref(),
        geobox: &watch.geobox,
        block_bytes,
        folder,
        memos: None,
    }
}

/// Where the memos of an area are, and what they must rest on: all that moves a cell's result beside its looks.
fn memos(watch: &Watch, pipeline: &Pipeline, options: &Options) -> Memos {
    let replay_from = pipeline
        .replay_days()
        .map(|days| replay_from(pipeline.monitor_from, days));
    let rests_on = format!(
        "{} {:?} {} {replay_from:?} {:?} {:?} {:?}",
        env!("CARGO_PKG_VERSION"),
        pipeline.change,
        pipeline.monitor_from,
        watch.geobox,
        watch.reader.bands(),
        watch.region,
    );
    let folder = options.out.join("memo").join(&watch.area_id);
    Memos::new(
        folder,
        Sha256::digest(rests_on.as_bytes()).into(),
        watch.look_ids(),
    )
}

/// Joins the cells of an area: objects that cross their borders become one alert.
fn gather(
    watch: Watch,
    cells: Cells,
    pipeline: &Pipeline,
    measured: &Measured,
    known: &[Known],
    reviews: &BTreeMap<String, Review>,
    run: &RunFolder,
) -> Result<AreaResult> {
    let known_pixels: BTreeSet<LatticePixel> = known
        .iter()
        .flat_map(|known| known.pixels.iter().map(|&(at, _)| at))
        .collect();
    let mut last_clear = BTreeMap::new();
    let (mut changed, mut replayed) = (Vec::new(), Vec::new());
    let mut topsoil = Topsoil::default();
    let mut n_clear = vec![0; watch.reader.looks().len()];
    let (mut n_pixels, mut n_observable, mut n_replayed) = (0, 0, 0);
    let mut n_last_clear = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for &cell in &cells.cells {
        let result = read_cell(&watch, pipeline, &cells, cell)?;
        for (sum, count) in n_clear.iter_mut().zip(&result.n_clear) {
            *sum += count;
        }
        for (&state, &day) in result.state.iter().zip(&result.last_clear_date) {
            let state = pitwatch_change::PixelState::from_code(state);
            n_pixels += u64::from(state != Some(pitwatch_change::PixelState::Outside));
            if state.is_some_and(pitwatch_change::PixelState::is_observable) {
                n_observable += 1;
                *n_last_clear.entry(Day(day)).or_insert(0) += 1;
            }
        }
        let of_cell = watch.geobox.window(cell);
        let (origin, shape) = (of_cell.lattice_origin(), of_cell.shape());
        let until = origin.row + shape.height as i64;
        let first_of = |row| LatticePixel { row, col: i64::MIN };
        let old = known_pixels
            .range(first_of(origin.row)..first_of(until))
            .copied();
        for at in result.changed.iter().map(|pixel| pixel.at).chain(old) {
            let (row, col) = (at.row - origin.row, at.col - origin.col);
            if (0..shape.width as i64).contains(&col) {
                let day = result.last_clear_date[row as usize * shape.width + col as usize];
                if day > 0 {
                    last_clear.insert(at, Day(day));
                }
            }
        }
        merge_failures(&mut failures, result.failures);
        changed.extend(result.changed);
        topsoil.merge(&result.topsoil);
        replayed.extend(result.replayed);
        n_replayed += result.n_replayed;
    }
    let looks: Vec<UtcTime> = watch.reader.looks().iter().map(|look| look.time).collect();
    let (params, false_alert_budget) =
        within_budget(&watch, pipeline, &looks, &replayed, &topsoil, n_replayed)?;
    let replayed = if pipeline.capacity.is_some() && n_replayed > 0 {
        let found = pitwatch_sites::find_alerts(
            "replay",
            &watch.geobox,
            &looks,
            &replayed,
            &topsoil,
            &params,
        )?;
        let share = n_replayed as f64 / n_pixels.max(1) as f64;
        Replayed::new(&found.alerts, share, pipeline, known, reviews)
    } else {
        None
    };
    let pitwatch_sites::Found {
        mut alerts,
        retractions,
    } = pitwatch_sites::find_alerts(
        &watch.area_id,
        &watch.geobox,
        &looks,
        &changed,
        &topsoil,
        &params,
    )?;
    // What follows rests on the objects alone; of an area where much has changed these take most of the room.
    drop((changed, topsoil));
    let detection_limit = measured.limit(&watch, pipeline);
    skill::state(&mut alerts, &detection_limit);
    let sites = pitwatch_sites::follow(
        &watch.area_id,
        &watch.geobox,
        known,
        &mut alerts,
        &retractions,
        &last_clear,
        &pipeline.sites,
    )?;
    let members = publish::Members::new(&alerts);
    publish::write_rasters(run, &watch, &cells.cells, &members, |cell| {
        read_cell(&watch, pipeline, &cells, cell)
    })?;
    Ok(AreaResult {
        watch,
        cells: cells.cells,
        alerts,
        retractions,
        sites,
        n_clear,
        n_pixels,
        n_observable,
        n_last_clear,
        replayed,
        failures,
        detection_limit,
        false_alert_budget,
        reviewed: Reviewed::default(),
    })
}

/// What the replay of the history cannot see.
const REPLAY_CAVEAT: &str = "all that the replay found is taken for false; fields, roads and buildings that are new \
                             come on top";
/// Why there is nothing to go by.
const NO_REPLAY: &str = "cannot tell: no ground could be observed in the replay, since the looks before it are too few; \
                         report_probability is that of the pipeline file, and the budget is not kept";

/// The numbers that objects are made with: where the pipeline file sets a budget of false alerts, the least probability of
/// an alert follows from the replay of the area's history.
///
/// A replay that saw no ground says nothing of false alerts, which is not the same as none.
fn within_budget(
    watch: &Watch,
    pipeline: &Pipeline,
    looks: &[UtcTime],
    replayed: &[ChangedPixel],
    topsoil: &Topsoil,
    n_replayed: u64,
) -> Result<(pitwatch_sites::Params, Option<FalseAlertBudget>)> {
    let mut params = pipeline.sites;
    let Some(budget) = params.budget else {
        return Ok((params, None));
    };
    let observable_km2 = n_replayed as f64 * watch.geobox.pixel_area_m2() / M2_PER_KM2;
    let mut stated = FalseAlertBudget {
        area_id: watch.area_id.clone(),
        false_alerts_per_100_km2_year: budget.false_alerts_per_100_km2_year,
        replay_from: replay_from(pipeline.monitor_from, budget.replay_days).to_string(),
        replay_until: pipeline.monitor_from.to_string(),
        observable_km2,
        n_all: None,
        n_alerts: None,
        n_taken_back: None,
        report_probability: params.report_probability,
        caveat: NO_REPLAY.to_owned(),
    };
    if n_replayed > 0 {
        let years = f64::from(budget.replay_days) / DAYS_PER_YEAR;
        let n_allowed = budget.false_alerts_per_100_km2_year * observable_km2 / 100.0 * years;
        let replay =
            pitwatch_sites::replay(&watch.geobox, looks, replayed, topsoil, &params, n_allowed)?;
        params.report_probability = replay.report_probability;
        params.confirm_probability = params.confirm_probability.max(replay.report_probability);
        stated.n_all = Some(replay.n_all as u64);
        stated.n_alerts = Some(replay.n_alerts as u64);
        stated.n_taken_back = Some(replay.n_taken_back as u64);
        stated.report_probability = replay.report_probability;
        stated.caveat = REPLAY_CAVEAT.to_owned();
    }
    Ok((params, Some(stated)))
}

fn read_cell(
    watch: &Watch,
    pipeline: &Pipeline,
    cells: &Cells,
    cell: Window,
) -> Result<CellResult> {
    let work = work(watch, pipeline, 0, &cells.folder);
    match cells.failed.get(&(cell.row, cell.col)) {
        Some(reason) => work.failed(cell, reason.clone()),
        None => work.read(cell),
    }
}
