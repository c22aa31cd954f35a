//! A run's files: written beside their place, hashed, put in place at once, the manifest last; then the ledger, then `latest.json`.
//!
//! A run is published in steps, each on the disk before the next begins:
//!
//! 1. `runs/.RUN_ID.unfinished` is written, every file synced, `alerts.ndjson` among them (the difference between the
//!    ledger and the run), the manifest last.
//! 2. The ledger notes the name (`pending`). What is in place under it is moved to `runs/.RUN_ID.replaced`; the new
//!    folder is renamed to `runs/RUN_ID`.
//! 3. One transaction of the ledger enters the run, its state and its events, and takes the note away.
//! 4. `latest.json` is replaced. `.replaced` and `.work` are removed.
//!
//! Step 3 decides. Whoever is stopped before it is undone at the next start ([`open_ledger`]): the note says whose folder
//! goes, and what was moved aside comes back. Whoever is stopped after it is completed: `latest.json` is written
//! from the ledger. Either way the ledger, the folders and `latest.json` then say the same, and the cells that were
//! finished are used again. A folder that the ledger never noted is nobody's to remove: `pitwatch doctor` names it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use pitwatch_change::{Kind, PixelState};
use pitwatch_grid::{Day, LatticePixel, UtcTime, Window};
use pitwatch_imagery::{OverviewResampling, PaletteEntry, PixelType, RasterSpec, RasterWriter};
use pitwatch_report::{
    InputEntry, Latest, LookRow, LookStatus, Manifest, OutputFile, Overviews, RasterLayer, Skipped,
    raster_layers,
};
use pitwatch_scenes::{Expected, Look, OffsetCheck};
use pitwatch_sites::{Alert, Tier};

use crate::assess::Assessed;
use crate::cell::CellResult;
use crate::changes::{self, AreaFindings, AssessmentRow, RunFindings};
use crate::config::Pipeline;
use crate::exit::{DONE, PARTIAL, Problem};
use crate::ledger::{KnownRun, Ledger, RunEntry};
use crate::live::Refreshed;
use crate::progress::Progress;
use crate::public;
use crate::reviews::Reviewed;
use crate::run::{AreaResult, Options, Outcome};
use crate::watch::{Watch, file_sha256, sha256};

/// Holds the output folder for one run at a time.
///
/// # Errors
///
/// If another run holds it, or it cannot be made.
pub(crate) fn lock(out: &Path) -> Result<File> {
    fs::create_dir_all(out)
        .with_context(|| format!("cannot make the output folder {}", out.display()))
        .context(Problem::Configuration)?;
    let path = out.join(".lock");
    let file = File::create(&path)
        .with_context(|| format!("cannot write {}", path.display()))
        .context(Problem::Configuration)?;
    file.try_lock()
        .map_err(|_| {
            anyhow!(
                "{} is held by another run; wait for it, or give another --out",
                path.display()
            )
        })
        .context(Problem::Locked)?;
    Ok(file)
}

/// Ends the program at once at a named step, if `PITWATCH_CRASH_AT` names it: for tests, in debug builds alone.
pub(crate) fn crash_at(step: &str) {
    if cfg!(debug_assertions) && std::env::var_os("PITWATCH_CRASH_AT").is_some_and(|at| at == step)
    {
        std::process::abort();
    }
}

/// Opens the ledger of an output folder whose lock is held, and completes or undoes what a stopped run left.
///
/// A folder that has runs and no ledger, of a version before there was one or after the ledger was moved away, gets one
/// that names them. Of their alerts nothing is taken over: the next run tells all that it finds as new.
///
/// # Errors
///
/// If the ledger cannot be used, or the folder cannot be written.
pub(crate) fn open_ledger(out: &Path, progress: &Progress) -> Result<Ledger> {
    let mut ledger = Ledger::open(out)?;
    if ledger.is_new {
        let runs = runs_without_ledger(out)?;
        if !runs.is_empty() {
            progress.warn(&format!(
                "{} has {} runs and no ledger: one is begun, and the next run tells all alerts as new",
                out.display(),
                runs.len()
            ));
            ledger.import(&runs)?;
        }
    }
    recover(out, &ledger)?;
    crash_at("recovered");
    Ok(ledger)
}

/// The published runs of a folder without a ledger, the one of `latest.json` last.
fn runs_without_ledger(out: &Path) -> Result<Vec<(KnownRun, String)>> {
    let newest = latest_of(out).map(|latest| latest.run_id);
    let mut runs = Vec::new();
    for name in run_names(out)? {
        let path = out.join("runs").join(&name).join("manifest.json");
        let manifest = fs::read_to_string(&path)
            .ok()
            .and_then(|text| Some((Manifest::from_json(&text).ok()?, text)));
        if let Some((manifest, text)) = manifest {
            let run = KnownRun {
                run_id: name,
                previous_run: None,
                manifest_sha256: sha256(text.as_bytes()),
            };
            runs.push((manifest.ended, run, manifest.pipeline_sha256));
        }
    }
    runs.sort_by_key(|(ended, run, _)| {
        let is_newest = Some(&run.run_id) == newest.as_ref();
        (is_newest, *ended, run.run_id.clone())
    });
    Ok(runs
        .into_iter()
        .map(|(_, run, pipeline)| (run, pipeline))
        .collect())
}

/// The names in `runs/` that are not hidden, sorted; none if there is no such folder.
pub(crate) fn run_names(out: &Path) -> Result<Vec<String>> {
    names_in(&out.join("runs"), |name| !name.starts_with('.'))
}

fn names_in(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", folder.display()));
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        names.extend(
            entry
                .file_name()
                .into_string()
                .ok()
                .filter(|name| is_wanted(name)),
        );
    }
    names.sort_unstable();
    Ok(names)
}

/// What a stopped run left in an output folder: hidden folders of `runs/`, a `latest.json` that was not put in place.
pub(crate) fn leftovers(out: &Path) -> Result<Vec<PathBuf>> {
    let runs = out.join("runs");
    let hidden = names_in(&runs, |name| {
        name.starts_with('.') && (name.ends_with(".unfinished") || name.ends_with(".replaced"))
    })?;
    let mut left: Vec<PathBuf> = hidden.into_iter().map(|name| runs.join(name)).collect();
    left.extend(Some(out.join(TEMPORARY_LATEST)).filter(|path| path.exists()));
    Ok(left)
}

const TEMPORARY_LATEST: &str = ".latest.json.tmp";

/// Completes or undoes what a stopped run left.
fn recover(out: &Path, ledger: &Ledger) -> Result<()> {
    let runs = out.join("runs");
    if let Some(run_id) = ledger.intended()? {
        let place = runs.join(&run_id);
        let aside = runs.join(format!(".{run_id}.replaced"));
        // Between the note and the rename the folder in place may be the one that was there before.
        let was_published = ledger.run(&run_id)?;
        let is_old = was_published
            .as_ref()
            .is_some_and(|run| manifest_sha256(&place).as_ref() == Some(&run.manifest_sha256));
        if !is_old && (aside.exists() || was_published.is_none()) {
            remove(&place)?;
        }
        if aside.exists() && !place.exists() {
            fs::rename(&aside, &place)
                .with_context(|| format!("cannot move {} back", place.display()))?;
        }
        sync_folder(&runs)?;
        ledger.give_up()?;
    }
    for path in leftovers(out)? {
        remove(&path)?;
    }
    if let Some(run) = ledger.newest_run()? {
        let is_named = latest_of(out).is_some_and(|latest| {
            latest.run_id == run.run_id && latest.manifest_sha256 == run.manifest_sha256
        });
        let folder = runs.join(&run.run_id);
        if !is_named && manifest_sha256(&folder).as_ref() == Some(&run.manifest_sha256) {
            point_to(out, &run.run_id, run.manifest_sha256)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// SHA-256 of a run's manifest; `None` if it cannot be read.
pub(crate) fn manifest_sha256(folder: &Path) -> Option<String> {
    Some(sha256(&fs::read(folder.join("manifest.json")).ok()?))
}

/// What `latest.json` says; `None` if it is not there or says nothing.
pub(crate) fn latest_of(out: &Path) -> Option<Latest> {
    let text = fs::read_to_string(out.join("latest.json")).ok()?;
    Latest::from_json(&text).ok()
}

/// Brings a folder's names to the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    // A folder cannot be opened as a file elsewhere.
    if cfg!(unix) && path.exists() {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The folder of one run: a place to work in, and its final place.
pub(crate) struct RunFolder {
    out: PathBuf,
    run_id: String,
}

impl RunFolder {
    pub(crate) fn create(out: &Path, run_id: &str) -> Result<Self> {
        let folder = Self {
            out: out.to_owned(),
            run_id: run_id.to_owned(),
        };
        let work = folder.work();
        let unfinished = folder.unfinished();
        // Cells of this very run are kept; everything else that a killed run left is of no use.
        remove_others(&out.join(".work"), &work)?;
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        for path in [&work, &unfinished.join("rasters")] {
            fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(folder)
    }

    /// Where the results of cells are kept.
    pub(crate) fn cells_folder(&self, area_id: &str) -> Result<PathBuf> {
        let path = self.work().join(area_id);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    fn work(&self) -> PathBuf {
        self.out.join(".work").join(&self.run_id)
    }

    fn unfinished(&self) -> PathBuf {
        self.out
            .join("runs")
            .join(format!(".{}.unfinished", self.run_id))
    }

    fn aside(&self) -> PathBuf {
        self.out
            .join("runs")
            .join(format!(".{}.replaced", self.run_id))
    }

    pub(crate) fn finished(&self) -> PathBuf {
        self.out.join("runs").join(&self.run_id)
    }

    /// True if the newest published run is this one and nothing failed in it: what failed may be read now.
    pub(crate) fn is_published(&self) -> bool {
        let is_whole = || -> Option<bool> {
            let text = fs::read_to_string(self.finished().join("manifest.json")).ok()?;
            Some(Manifest::from_json(&text).ok()?.summary.get("n_failed") == Some(&0))
        };
        latest_of(&self.out).is_some_and(|latest| latest.run_id == self.run_id)
            && is_whole().unwrap_or(false)
    }

    /// The outcome of a run that had nothing to do.
    pub(crate) fn unchanged(&self, run_id: String) -> Result<Outcome> {
        fs::remove_dir_all(self.unfinished()).context("cannot remove the unfinished run")?;
        let _ = fs::remove_dir_all(self.out.join(".work"));
        Ok(Outcome {
            run_id,
            folder: self.finished(),
            alerts: Vec::new(),
            n_new_alerts: 0,
            is_unchanged: true,
            failed: Vec::new(),
            summary: BTreeMap::new(),
            reviewed: Reviewed::default(),
            detection_limits: Vec::new(),
        })
    }

    fn write(&self, name: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let path = self.unfinished().join(name);
        let mut bytes = Vec::new();
        write(&mut bytes).with_context(|| format!("cannot make {name}"))?;
        write_synced(&path, &bytes)
    }
}

/// Removes all entries of a folder but one.
fn remove_others(folder: &Path, keep: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten().filter(|entry| entry.path() != keep) {
        fs::remove_dir_all(entry.path())
            .with_context(|| format!("cannot remove {}", entry.path().display()))?;
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The pixels of alerts, with the days on which their evidence, or their object's, was complete.
pub(crate) struct Members(HashMap<LatticePixel, MemberDays>);

#[derive(Debug, Clone, Copy)]
struct MemberDays {
    kind: Kind,
    probability: f32,
    alert: Day,
    confirmed: Option<Day>,
}

impl Members {
    pub(crate) fn new(alerts: &[Alert]) -> Self {
        let mut members = HashMap::new();
        for alert in alerts {
            let times = alert
                .pixel_alert_datetimes
                .iter()
                .zip(&alert.pixel_confirmed_datetimes);
            for (at, (&reported, confirmed)) in alert.pixels.iter().zip(times) {
                let days = MemberDays {
                    kind: alert.kind,
                    probability: alert.probability as f32,
                    alert: Day::of(reported),
                    confirmed: confirmed.map(Day::of),
                };
                members.insert(*at, days);
            }
        }
        Self(members)
    }
}

/// Writes the eight rasters of an area, cell by cell.
pub(crate) fn write_rasters(
    run: &RunFolder,
    watch: &Watch,
    cells: &[Window],
    members: &Members,
    read_cell: impl Fn(Window) -> Result<CellResult>,
) -> Result<()> {
    let layers = raster_layers(&run.run_id, &watch.notice);
    let epsg = watch.geobox.crs().epsg();
    let mut writers = Vec::with_capacity(layers.len());
    for layer in &layers {
        let path = run
            .unfinished()
            .join("rasters")
            .join(format!("{}_{epsg}_{}.tif", watch.area_id, layer.name));
        writers.push(RasterWriter::create(&path, spec(watch, layer))?);
    }
    let [
        state,
        alert_date,
        confirmed_date,
        confidence,
        clear_looks,
        last_clear_date,
        before_rgb,
        after_rgb,
    ] = &mut writers[..]
    else {
        return Err(anyhow!("a run has eight rasters"));
    };
    for &cell in cells {
        let planes = planes(watch, cell, members, read_cell(cell)?)?;
        let n_pixels = cell.shape().n_pixels();
        state.write(0, cell, &planes.state)?;
        alert_date.write(0, cell, &planes.alert_date)?;
        confirmed_date.write(0, cell, &planes.confirmed_date)?;
        confidence.write(0, cell, &planes.confidence)?;
        clear_looks.write(0, cell, &planes.clear_looks)?;
        last_clear_date.write(0, cell, &planes.last_clear_date)?;
        for channel in 0..3 {
            let plane = channel * n_pixels..(channel + 1) * n_pixels;
            before_rgb.write(channel, cell, &planes.before_rgb[plane.clone()])?;
            after_rgb.write(channel, cell, &planes.after_rgb[plane])?;
        }
    }
    writers
        .into_iter()
        .try_for_each(|writer| Ok(writer.finish()?))
}

fn spec(watch: &Watch, layer: &RasterLayer) -> RasterSpec {
    let (pixel_type, n_bands) = match layer.name {
        "state" => (PixelType::U8, 1),
        "clear_looks" => (PixelType::U16, 1),
        "confidence" => (PixelType::F32, 1),
        "before_rgb" | "after_rgb" => (PixelType::U8, 3),
        _ => (PixelType::I32, 1),
    };
    let mut spec = RasterSpec::new(watch.geobox.clone(), pixel_type, n_bands);
    spec.nodata = layer.nodata;
    spec.palette = layer
        .palette
        .iter()
        .map(|entry| PaletteEntry {
            value: entry.value,
            rgba: entry.rgba,
            name: entry.label.to_owned(),
        })
        .collect();
    spec.tags = layer.tags.clone();
    spec.descriptions = if n_bands == 3 {
        ["red", "green", "blue"].map(str::to_owned).to_vec()
    } else {
        vec![layer.description.clone()]
    };
    spec.overviews = match layer.overviews {
        Overviews::Nearest => OverviewResampling::Nearest,
        Overviews::Average => OverviewResampling::Average,
        Overviews::Mode => OverviewResampling::Mode,
    };
    spec
}

struct Planes {
    state: Vec<u8>,
    alert_date: Vec<i32>,
    confirmed_date: Vec<i32>,
    confidence: Vec<f32>,
    clear_looks: Vec<u16>,
    last_clear_date: Vec<i32>,
    before_rgb: Vec<u8>,
    after_rgb: Vec<u8>,
}

/// What the rasters show of a cell: changed pixels only where they are part of an alert.
fn planes(watch: &Watch, cell: Window, members: &Members, result: CellResult) -> Result<Planes> {
    let observable =
        |&state: &u8| PixelState::from_code(state).is_some_and(PixelState::is_observable);
    let watched = |state: &u8| if observable(state) { 0 } else { -1 };
    let confidence = |state: &u8| if observable(state) { 0.0 } else { f32::NAN };
    let mut planes = Planes {
        alert_date: result.state.iter().map(watched).collect(),
        confirmed_date: result.state.iter().map(watched).collect(),
        confidence: result.state.iter().map(confidence).collect(),
        state: result.state,
        clear_looks: result.clear_looks,
        last_clear_date: result.last_clear_date,
        before_rgb: result.before_rgb,
        after_rgb: result.after_rgb,
    };
    let origin = watch.geobox.window(cell).lattice_origin();
    for pixel in &result.changed {
        let place = |offset: i64, length: usize| {
            usize::try_from(offset).ok().filter(|&place| place < length)
        };
        let row = place(pixel.at.row - origin.row, cell.height);
        let col = place(pixel.at.col - origin.col, cell.width);
        let (Some(row), Some(col)) = (row, col) else {
            return Err(anyhow!(
                "a cell's result has a pixel outside the cell; remove the folder .work and run again"
            ));
        };
        let index = row * cell.width + col;
        match members.0.get(&pixel.at) {
            Some(member) if member.kind == Kind::Excavation => {
                planes.alert_date[index] = member.alert.0;
                planes.confidence[index] = member.probability;
                planes.confirmed_date[index] = member.confirmed.map_or(0, |day| day.0);
                planes.state[index] = if member.confirmed.is_some() {
                    PixelState::Confirmed
                } else {
                    PixelState::Provisional
                } as u8;
            }
            Some(_) => {}
            None => planes.state[index] = PixelState::Stable as u8,
        }
    }
    Ok(planes)
}

/// Writes the tables and styles, puts the run in place and points to it.
#[expect(
    clippy::too_many_arguments,
    reason = "what a run made; a struct would be built here alone"
)]
pub(crate) fn publish(
    pipeline: &Pipeline,
    options: &Options,
    run: RunFolder,
    ledger: &mut Ledger,
    results: &[AreaResult],
    assessed: Option<&Assessed>,
    refreshed: &BTreeMap<String, Refreshed>,
    mut failed: Vec<Skipped>,
    progress: &Progress,
) -> Result<Outcome> {
    let run_id = run.run_id.as_str();
    let alerts: Vec<Alert> = results
        .iter()
        .flat_map(|result| result.alerts.iter().cloned())
        .collect();
    let sites: Vec<_> = results
        .iter()
        .flat_map(|result| result.sites.iter().cloned())
        .collect();
    let notice = joined_notices(results);
    let looks: Vec<Look> = results
        .iter()
        .flat_map(|result| {
            result
                .watch
                .looks(Some(&result.n_clear), &result.failures, result.n_pixels)
        })
        .collect();
    let rows: Vec<LookRow> = results
        .iter()
        .flat_map(|result| look_rows(&looks, result))
        .collect();

    run.write("alerts.geojson", |out| {
        Ok(pitwatch_report::write_alerts_geojson(
            out, &alerts, run_id, &notice,
        )?)
    })?;
    run.write("alerts.qml", |out| {
        Ok(out.write_all(pitwatch_report::alerts_qml().as_bytes())?)
    })?;
    run.write("sites.geojson", |out| {
        Ok(pitwatch_report::write_sites_geojson(
            out, &sites, run_id, &notice,
        )?)
    })?;
    run.write("sites.csv", |out| {
        Ok(pitwatch_report::write_sites_csv(out, &sites)?)
    })?;
    run.write("sites.qml", |out| {
        Ok(out.write_all(pitwatch_report::sites_qml().as_bytes())?)
    })?;
    run.write("evidence.csv", |out| {
        Ok(pitwatch_report::write_evidence_csv(out, &alerts)?)
    })?;
    let retractions: Vec<_> = results
        .iter()
        .flat_map(|result| result.retractions.iter().cloned())
        .collect();
    run.write("retractions.csv", |out| {
        Ok(pitwatch_report::write_retractions_csv(out, &retractions)?)
    })?;
    run.write("looks.csv", |out| {
        Ok(pitwatch_report::write_looks_csv(out, &rows)?)
    })?;
    if let Some(assessed) = assessed {
        write_assessed(&run, assessed, results, run_id, &notice)?;
    }

    let mut n_public_cells = 0;
    if let Some(params) = &pipeline.public {
        let folder = run.unfinished().join("public");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // The area that is seen least far decides for all; one without a look keeps everything back.
        let newest: Option<Vec<UtcTime>> = results.iter().map(newest_look).collect();
        let newest = newest.and_then(|looks| looks.into_iter().min());
        run.write(public::FILE, |out| {
            n_public_cells =
                pitwatch_report::write_public_cells_geojson(out, &alerts, params, newest, &notice)?;
            Ok(())
        })?;
    }

    let mut skipped = Vec::new();
    for result in results {
        for (what, reason) in &result.failures {
            failed.push(Skipped {
                what: what.clone(),
                reason: reason.clone(),
            });
        }
        for (scene, reason) in &result.watch.unopened {
            failed.push(Skipped {
                what: format!("scene {}", scene.id),
                reason: reason.clone(),
            });
        }
        for (scene, &look) in result.watch.scenes.iter().zip(&result.watch.look_of) {
            let verdict = &result.watch.offsets[look];
            if verdict.check == OffsetCheck::Contradicts {
                failed.push(Skipped {
                    what: format!("scene {}", scene.id),
                    reason: format!("quarantined: {}", verdict.ground),
                });
            }
        }
        for scene in result.watch.failed_of_record() {
            failed.push(Skipped {
                what: format!("scene {}", scene.scene_id),
                reason: scene.reason,
            });
        }
        for excluded in &result.watch.excluded {
            let entry = Skipped {
                what: format!("item {}", excluded.id),
                reason: excluded.reason.to_string(),
            };
            if excluded.reason.is_failure() {
                failed.push(entry)
            } else {
                skipped.push(entry)
            }
        }
    }
    let mut summary = summary(results, &alerts, &looks);
    summary.insert("n_failed".to_owned(), failed.len() as u64);
    let reviewed: Reviewed = results.iter().map(|result| result.reviewed).sum();
    summary.insert("n_reviewed_confirmed".to_owned(), reviewed.n_confirmed);
    summary.insert("n_reviewed_dismissed".to_owned(), reviewed.n_dismissed);
    let detection_limits: Vec<_> = results
        .iter()
        .map(|result| result.detection_limit.clone())
        .collect();
    let before = ledger.state()?;
    let n_new_alerts = alerts
        .iter()
        .filter(|alert| !before.alerts.contains_key(&alert.alert_id))
        .count();
    let published = ledger.run(run_id)?;
    let previous_run = match &published {
        Some(run) => run.previous_run.clone(),
        None => ledger.newest_run()?.map(|run| run.run_id),
    };
    let mut lines = ledger.lines(run_id)?;
    let changes = {
        let areas: Vec<_> = results
            .iter()
            .filter_map(|result| findings(pipeline, result))
            .collect();
        let verdicts = assessed.map_or_else(Vec::new, |assessed| verdicts(assessed, &notice));
        let mut told = serde_json::json!({
            "run_id": run_id,
            "previous_run": previous_run.as_deref(),
            "notice": notice,
        });
        // How the work was cut into cells is no finding.
        for (name, &count) in summary.iter().filter(|(name, _)| *name != "n_cells") {
            told[name] = count.into();
        }
        changes::compare(
            &before,
            &RunFindings {
                run_id,
                source: &source(&pipeline.path),
                areas: &areas,
                assessments: &verdicts,
                summary: told,
                recorded: &lines,
            },
        )?
    };
    for event in &changes.events {
        lines.push(event.to_json()?);
    }
    run.write("alerts.ndjson", |out| {
        Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}"))?)
    })?;
    let n_evidence = alerts.iter().filter(|alert| alert.evidence.is_some());
    let n_assessments = assessed.map_or(0, |assessed| assessed.assessments.len());
    let n_outlines = assessed.map_or(0, |assessed| assessed.outlines.iter().flatten().count());
    let n_rows = BTreeMap::from([
        ("assessments.csv", n_assessments),
        ("assessments.geojson", n_outlines),
        (
            "activity.csv",
            assessed.map_or(0, |assessed| assessed.months.len()),
        ),
        (
            "questionnaire.csv",
            assessed.map_or(0, |assessed| assessed.disagreements.len()),
        ),
        ("alerts.geojson", alerts.len()),
        ("alerts.ndjson", lines.len()),
        ("sites.geojson", sites.len()),
        ("evidence.csv", n_evidence.count()),
        ("retractions.csv", retractions.len()),
        ("looks.csv", rows.len()),
        (public::FILE, n_public_cells),
    ]);
    let manifest = Manifest {
        run_id: run_id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: options.started,
        ended: now(),
        pipeline_sha256: sha256(pipeline.text.as_bytes()),
        inputs: inputs(pipeline, results)?,
        files: hash_files(&run.unfinished(), &n_rows)?,
        summary: summary.clone(),
        detection_limits: detection_limits.clone(),
        false_alert_budgets: results
            .iter()
            .filter_map(|result| result.false_alert_budget.clone())
            .collect(),
        previous_run: previous_run.clone(),
        skipped: failed.iter().chain(&skipped).cloned().collect(),
        notice,
    };
    let text = manifest.to_json();
    write_synced(&run.unfinished().join("manifest.json"), text.as_bytes())?;
    sync_folder(&run.unfinished().join("rasters"))?;
    sync_folder(&run.unfinished().join("public"))?;
    sync_folder(&run.unfinished())?;
    crash_at("files");
    let in_place = published_before(&run, &manifest);
    if in_place.is_none() {
        ledger.intend(run_id)?;
        crash_at("noted");
        put_in_place(&run)?;
    }
    crash_at("folder");
    let manifest_sha256 = sha256(in_place.as_deref().unwrap_or(&text).as_bytes());
    ledger.commit(&RunEntry {
        run_id,
        previous_run: previous_run.as_deref(),
        pipeline_sha256: &manifest.pipeline_sha256,
        manifest_sha256: &manifest_sha256,
        started: manifest.started,
        ended: manifest.ended,
        exit_code: if failed.is_empty() { DONE } else { PARTIAL },
        looks: &rows,
        watermarks: results
            .iter()
            .filter_map(|result| {
                let area_id = result.watch.area_id.as_str();
                Some((area_id, &refreshed.get(area_id)?.watermarks))
            })
            .collect(),
        state: &changes.state,
        events: &changes.events,
    })?;
    crash_at("ledger");
    point_to(&options.out, run_id, manifest_sha256)?;
    crash_at("latest");
    let _ = fs::remove_dir_all(run.unfinished());
    let _ = fs::remove_dir_all(run.aside());
    let _ = fs::remove_dir_all(options.out.join(".work"));
    progress.detail(&format!("published {}", run.finished().display()));
    Ok(Outcome {
        run_id: run_id.to_owned(),
        folder: run.finished(),
        alerts,
        n_new_alerts,
        is_unchanged: false,
        failed,
        summary,
        reviewed,
        detection_limits,
    })
}

fn newest_look(result: &AreaResult) -> Option<UtcTime> {
    result.watch.reader.looks().last().map(|look| look.time)
}

/// What events are made of; `None` for an area without a look, of which nothing is said.
fn findings<'a>(pipeline: &Pipeline, result: &'a AreaResult) -> Option<AreaFindings<'a>> {
    Some(AreaFindings {
        area_id: &result.watch.area_id,
        epsg: result.watch.geobox.crs().epsg(),
        notice: &result.watch.notice,
        alerts: &result.alerts,
        retractions: &result.retractions,
        sites: &result.sites,
        monitor_from: pipeline.monitor_from,
        newest_look: newest_look(result)?,
        is_whole: result.failures.is_empty() && result.watch.unopened.is_empty(),
    })
}

/// What tells the events of a pipeline: `pitwatch/` and the name of its file, a URI-reference (RFC 3986, § 4.1).
fn source(pipeline: &Path) -> String {
    let name = pipeline
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let name = name.bytes().map(|byte| {
        if is_plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    format!("pitwatch/{}", name.collect::<String>())
}

/// The clock, which enters the manifest and the ledger's `runs` alone.
pub(crate) fn now() -> UtcTime {
    Utc::now()
}

fn joined_notices(results: &[AreaResult]) -> String {
    let mut notices: Vec<&str> = Vec::new();
    for result in results {
        if !notices.contains(&result.watch.notice.as_str()) {
            notices.push(&result.watch.notice);
        }
    }
    notices.join(" ")
}

/// The rows of `looks.csv` of one area; an item without a time is no look and stands in the manifest.
fn look_rows(looks: &[Look], result: &AreaResult) -> Vec<LookRow> {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let of_area = looks
        .iter()
        .filter(|look| look.area_id == result.watch.area_id);
    let rows = of_area.filter_map(|look| {
        let scene = result
            .watch
            .scenes
            .iter()
            .find(|scene| scene.id == look.scene_id && Some(scene.time) == look.time);
        let offsets = scene.map(|scene| {
            scene
                .assets
                .iter()
                .map(|(&band, asset)| (band, f64::from(asset.offset.digital_numbers)))
                .collect()
        });
        Some(LookRow {
            area_id: look.area_id.clone(),
            datetime: look.time?,
            platform: look.platform.clone(),
            relative_orbit: look.relative_orbit,
            tile: look.tile.clone(),
            scene_id: filled(&look.scene_id),
            source: filled(&look.source),
            processing_baseline: look.baseline.map(|baseline| baseline.to_string()),
            cloud_cover_percent: look.cloud_cover_percent,
            expected: look.expected.map(|expected| expected.to_string()),
            status: status(look),
            is_found: look.found,
            is_read: look.read,
            is_used: look.used,
            reason: filled(&look.reason),
            offset_digital_numbers: offsets.unwrap_or_default(),
            offset_ground: look.offset_ground.map(|ground| ground.to_string()),
            offset_check: look.offset_check.map(|check| check.to_string()),
            clear_share: look.clear_share,
            href: filled(&look.href),
        })
    });
    rows.collect()
}

fn status(look: &Look) -> LookStatus {
    if look.used {
        LookStatus::Used
    } else if look.read && look.offset_check == Some(OffsetCheck::Contradicts) {
        LookStatus::Quarantined
    } else if look.read {
        LookStatus::NotClear
    } else if look.failed {
        LookStatus::Failed
    } else if look.found {
        LookStatus::LeftOut
    } else if look.expected == Some(Expected::PlanUnknown) {
        LookStatus::PlanUnknown
    } else {
        LookStatus::NotFound
    }
}

fn summary(results: &[AreaResult], alerts: &[Alert], looks: &[Look]) -> BTreeMap<String, u64> {
    let count =
        |test: &dyn Fn(&Alert) -> bool| alerts.iter().filter(|alert| test(alert)).count() as u64;
    let of = |kind: Kind, tier: Tier| count(&|alert| alert.kind == kind && alert.tier == tier);
    BTreeMap::from([
        ("n_areas".to_owned(), results.len() as u64),
        (
            "n_cells".to_owned(),
            results.iter().map(|result| result.cells.len() as u64).sum(),
        ),
        (
            "n_looks".to_owned(),
            looks
                .iter()
                .filter(|look| !look.scene_id.is_empty())
                .count() as u64,
        ),
        (
            "n_looks_not_found".to_owned(),
            looks
                .iter()
                .filter(|look| look.scene_id.is_empty() && look.expected == Some(Expected::Yes))
                .count() as u64,
        ),
        (
            "n_looks_used".to_owned(),
            looks.iter().filter(|look| look.used).count() as u64,
        ),
        (
            "n_pixels".to_owned(),
            results.iter().map(|result| result.n_pixels).sum(),
        ),
        (
            "n_pixels_observable".to_owned(),
            results.iter().map(|result| result.n_observable).sum(),
        ),
        (
            "n_excavation_confirmed".to_owned(),
            of(Kind::Excavation, Tier::Confirmed),
        ),
        (
            "n_excavation_provisional".to_owned(),
            of(Kind::Excavation, Tier::Provisional),
        ),
        (
            "n_cleared_confirmed".to_owned(),
            of(Kind::Cleared, Tier::Confirmed),
        ),
        (
            "n_cleared_provisional".to_owned(),
            of(Kind::Cleared, Tier::Provisional),
        ),
        (
            "n_sites".to_owned(),
            results.iter().map(|result| result.sites.len() as u64).sum(),
        ),
    ])
}

fn inputs(pipeline: &Pipeline, results: &[AreaResult]) -> Result<Vec<InputEntry>> {
    let mut inputs = vec![InputEntry {
        role: "pipeline".into(),
        href: pipeline.path.display().to_string(),
        sha256: Some(sha256(pipeline.text.as_bytes())),
    }];
    if let Some(path) = pipeline.skill_file.as_deref().filter(|path| path.exists()) {
        inputs.push(InputEntry {
            role: "skill".into(),
            href: path.display().to_string(),
            sha256: Some(file_sha256(path)?),
        });
    }
    for area in &pipeline.areas {
        if let Some(path) = &area.file {
            let bytes =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            inputs.push(InputEntry {
                role: "area".into(),
                href: path.display().to_string(),
                sha256: Some(sha256(&bytes)),
            });
        }
    }
    for result in results {
        let watch = &result.watch;
        inputs.push(InputEntry {
            role: "catalog and pixels".into(),
            href: watch.catalog.clone(),
            sha256: Some(watch.inputs_sha256.clone()),
        });
    }
    Ok(inputs)
}

fn hash_files(folder: &Path, rows: &BTreeMap<&str, usize>) -> Result<Vec<OutputFile>> {
    let mut files = Vec::new();
    for name in ["", "rasters", "report", "public"] {
        // Pages are written where figures were compared only, the public feed where it is asked for.
        if !folder.join(name).is_dir() {
            continue;
        }
        let entries = fs::read_dir(folder.join(name))
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry.context("cannot list the run's folder")?.path();
            if !path.is_file() {
                continue;
            }
            // Rasters were written by a library that leaves them to the system's cache.
            File::open(&path)
                .and_then(|file| file.sync_all())
                .with_context(|| format!("cannot write {}", path.display()))?;
            let sha256 = file_sha256(&path)?;
            let bytes = fs::metadata(&path)
                .with_context(|| format!("cannot read {}", path.display()))?
                .len();
            let path = path
                .strip_prefix(folder)
                .unwrap_or(&path)
                .display()
                .to_string();
            let rows = rows.get(path.as_str()).map(|&rows| rows as u64);
            files.push(OutputFile {
                path,
                sha256,
                bytes,
                rows,
            });
        }
    }
    Ok(files)
}

/// Writes the comparison with reported figures: tables, map, SDMX, and a page for each comparison in `report/`.
/// The verdicts of a run, as events are told of them.
fn verdicts(assessed: &Assessed, notice: &str) -> Vec<AssessmentRow> {
    let row = |assessment| {
        let mut row = pitwatch_report::assessment_properties(assessment);
        row["notice"] = notice.into();
        AssessmentRow {
            subject: pitwatch_report::assessment_id(assessment),
            revision: 0,
            verdict: row["verdict"].as_str().unwrap_or_default().to_owned(),
            row,
            last_run: String::new(),
        }
    };
    assessed.assessments.iter().map(row).collect()
}

fn write_assessed(
    run: &RunFolder,
    assessed: &Assessed,
    results: &[AreaResult],
    run_id: &str,
    notice: &str,
) -> Result<()> {
    let Assessed {
        assessments,
        outlines,
        names,
        months,
        disagreements,
        warnings: _,
    } = assessed;
    let last_look = results
        .iter()
        .flat_map(|result| result.watch.reader.looks().last())
        .map(|look| Day::of(look.time))
        .max();
    run.write("assessments.csv", |out| {
        Ok(pitwatch_report::write_assessments_csv(out, assessments)?)
    })?;
    run.write("assessments.geojson", |out| {
        Ok(pitwatch_report::write_assessments_geojson(
            out,
            assessments,
            outlines,
            run_id,
            notice,
        )?)
    })?;
    run.write("assessments.qml", |out| {
        Ok(out.write_all(pitwatch_report::assessments_qml().as_bytes())?)
    })?;
    run.write("activity.csv", |out| {
        Ok(pitwatch_report::write_activity_csv(out, months)?)
    })?;
    run.write("questionnaire.csv", |out| {
        Ok(pitwatch_report::write_questionnaire_csv(
            out,
            disagreements,
        )?)
    })?;
    run.write("observations.csv", |out| {
        Ok(pitwatch_report::write_observations_csv(
            out,
            assessments,
            last_look,
        )?)
    })?;
    run.write("structure.xml", |out| {
        Ok(out.write_all(pitwatch_report::STRUCTURE_XML.as_bytes())?)
    })?;
    let folder = run.unfinished().join("report");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (assessment, name) in assessments.iter().zip(names) {
        let id = pitwatch_report::assessment_id(assessment).replace('/', "_");
        let limit = results
            .iter()
            .filter(|result| assessment.area_ids == [result.watch.area_id.as_str()])
            .map(|result| &result.detection_limit)
            .find(|limit| limit.is_measured);
        let context = pitwatch_report::PageContext {
            name,
            run_id,
            last_look,
            min_detectable_ha: limit.and_then(|limit| limit.min_detectable_ha),
            is_limit_measured: limit.is_some(),
            notice,
        };
        run.write(&format!("report/{id}.md"), |out| {
            let page = pitwatch_report::comparison_page(assessment, &context);
            Ok(out.write_all(page.as_bytes())?)
        })?;
    }
    Ok(())
}

/// The manifest's text of a run that is in place with the same bytes. It stays as it is, so that `latest.json` names a
/// whole run at every moment of a rerun.
fn published_before(run: &RunFolder, manifest: &Manifest) -> Option<String> {
    let folder = run.finished();
    let text = fs::read_to_string(folder.join("manifest.json")).ok()?;
    let published = Manifest::from_json(&text).ok()?;
    let same_times = Manifest {
        started: published.started,
        ended: published.ended,
        ..Manifest::from_json(&manifest.to_json()).ok()?
    };
    let is_whole = |file: &OutputFile| {
        file_sha256(&folder.join(&file.path)).is_ok_and(|sha256| sha256 == file.sha256)
    };
    (published == same_times && published.files.iter().all(is_whole)).then_some(text)
}

/// Moves the finished folder to its name; what had the name stays aside until the ledger has the run.
fn put_in_place(run: &RunFolder) -> Result<()> {
    let (from, to, aside) = (run.unfinished(), run.finished(), run.aside());
    let _ = fs::remove_dir_all(&aside);
    if to.exists() {
        fs::rename(&to, &aside).with_context(|| format!("cannot move {} aside", to.display()))?;
    }
    crash_at("aside");
    fs::rename(&from, &to)
        .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
    sync_folder(&run.out.join("runs"))
}

/// Points `latest.json` to the run.
fn point_to(out: &Path, run_id: &str, manifest_sha256: String) -> Result<()> {
    let latest = Latest {
        run_id: run_id.to_owned(),
        path: format!("runs/{run_id}"),
        manifest_sha256,
    };
    let temporary = out.join(TEMPORARY_LATEST);
    write_synced(&temporary, latest.to_json().as_bytes())?;
    fs::rename(&temporary, out.join("latest.json")).context("cannot replace latest.json")?;
    sync_folder(out)
}
