//! Upkeep of an output folder: is it sound, its ledger copied and put back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pitwatch_grid::{UtcTime, format_time};
use serde::Serialize;

use crate::exit::Problem;
use crate::ledger::{self, Ledger};
use crate::publish;
use crate::validate;

/// How one thing about an output folder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Ok,
    /// Worth knowing; the next run goes on by itself.
    Note,
    /// A person has to do something.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What was looked at: `ledger`, `latest.json`, `run 20230508…`.
    pub(crate) what: String,
    pub(crate) health: Health,
    pub(crate) message: String,
    /// What to do about it; null if nothing is to be done.
    pub(crate) fix: Option<String>,
}

impl Check {
    fn new(what: &str, health: Health, message: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            health,
            message: message.into(),
            fix: None,
        }
    }

    fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn to_text(&self) -> String {
        let word = match self.health {
            Health::Ok => "ok    ",
            Health::Note => "note  ",
            Health::Broken => "BROKEN",
        };
        let fix = self
            .fix
            .as_ref()
            .map_or_else(String::new, |fix| format!("\n       fix: {fix}"));
        format!("{word} {}: {}{fix}", self.what, self.message)
    }
}

/// Statuses of looks whose pixels were read; the first had a clear one.
pub(crate) const LOOKED: [&str; 2] = ["used", "not_clear"];
/// Days after which a look is worth a word: the satellites pass every five days.
const RECENT_DAYS: i64 = 12;
const RUN_AGAIN: &str = "run the pipeline again";

/// Looks at everything in an output folder, and changes nothing.
///
/// # Errors
///
/// If there is no such folder.
pub(crate) fn doctor(out: &Path) -> Result<Vec<Check>> {
    if !out.is_dir() {
        return Err(anyhow!("{} is not a folder", out.display())).context(Problem::Configuration);
    }
    let mut checks = vec![lock(out), free_disk(out)?];
    let path = Ledger::path(out);
    if !path.exists() {
        let runs = publish::run_names(out)?;
        let check = if runs.is_empty() {
            Check::new("ledger", Health::Note, "there is none, and no run either")
                .with_fix("give the folder that pitwatch run --out writes to")
        } else {
            Check::new("ledger", Health::Broken, format!("there is none, and {} runs", runs.len()))
                .with_fix("put a backup in its place with pitwatch restore, or run: a new one is begun, and all alerts are told as new")
        };
        checks.push(check);
        checks.extend(runs.iter().map(|run_id| run_folder(out, run_id)));
        return Ok(checks);
    }
    match Ledger::open_existing(&path) {
        Ok(ledger) => {
            checks.push(match ledger.check_fully() {
                Ok(()) => Check::new(
                    "ledger",
                    Health::Ok,
                    format!("whole, version {}", ledger::VERSION),
                ),
                Err(error) => Check::new("ledger", Health::Broken, format!("{error:#}")).with_fix(
                    "put a backup in its place with pitwatch restore BACKUP OUT --overwrite",
                ),
            });
            let looked = runs(out, &ledger, &mut checks)
                .and_then(|()| newest_looks(&ledger, publish::now(), &mut checks));
            if let Err(error) = looked {
                checks.push(Check::new("ledger", Health::Broken, format!("{error:#}")));
            }
        }
        // The message says what to do.
        Err(error) => {
            checks.push(Check::new("ledger", Health::Broken, format!("{error:#}")));
            for run_id in publish::run_names(out)? {
                checks.push(run_folder(out, &run_id));
            }
        }
    }
    for path in publish::leftovers(out)? {
        checks.push(
            Check::new(
                "leftover",
                Health::Note,
                format!("{} is of a run that was stopped or goes on", path.display()),
            )
            .with_fix("none needed: the next run removes it"),
        );
    }
    Ok(checks)
}

/// How long ago each area was looked at: the figure that tells a watch that sees nothing from one that finds nothing.
fn newest_looks(ledger: &Ledger, now: UtcTime, checks: &mut Vec<Check>) -> Result<()> {
    let mut areas: BTreeMap<String, [Option<UtcTime>; 2]> = BTreeMap::new();
    for look in ledger.newest_looks()? {
        let [read, clear] = areas.entry(look.area_id).or_default();
        if LOOKED.contains(&look.status.as_str()) {
            *read = (*read).max(Some(look.newest));
        }
        if look.status == LOOKED[0] {
            *clear = Some(look.newest);
        }
    }
    for (area_id, [read, clear]) in areas {
        let said = |time: Option<UtcTime>| {
            time.map_or_else(
                || "none".to_owned(),
                |time| {
                    let hours = (now - time).num_hours();
                    format!("{}, {hours} hours ago", format_time(time))
                },
            )
        };
        let message = format!(
            "the newest look: {}; the newest with a clear pixel: {}",
            said(read),
            said(clear)
        );
        let is_recent = read.is_some_and(|time| (now - time).num_days() < RECENT_DAYS);
        let what = format!("area {area_id}");
        checks.push(if is_recent {
            Check::new(&what, Health::Ok, message)
        } else {
            Check::new(&what, Health::Note, message).with_fix(
                "none if the monitoring period is over; else see in looks.csv and the log why nothing came",
            )
        });
    }
    Ok(())
}

fn runs(out: &Path, ledger: &Ledger, checks: &mut Vec<Check>) -> Result<()> {
    let known = ledger.runs()?;
    let newest = known.last();
    if let Some(run_id) = ledger.intended()? {
        checks.push(
            Check::new(
                "ledger",
                Health::Note,
                format!("run {run_id} was stopped while it was published, or goes on"),
            )
            .with_fix("none needed: the next run undoes it"),
        );
    }
    for run in &known {
        let folder = out.join("runs").join(&run.run_id);
        let what = format!("run {}", run.run_id);
        let is_newest = Some(run) == newest;
        if !folder.exists() {
            checks.push(if is_newest {
                Check::new(&what, Health::Broken, "its folder is not there").with_fix(RUN_AGAIN)
            } else {
                Check::new(
                    &what,
                    Health::Note,
                    "its folder is not there; its events are in the ledger",
                )
            });
        } else if publish::manifest_sha256(&folder).as_ref() != Some(&run.manifest_sha256) {
            checks.push(
                Check::new(&what, Health::Broken, "its manifest is not the one the ledger has")
                    .with_fix("bring the folder back from a backup, or remove it if it is not the newest, and run again"),
            );
        } else {
            checks.push(run_folder(out, &run.run_id));
        }
    }
    for run_id in publish::run_names(out)? {
        if known.iter().all(|run| run.run_id != run_id) {
            checks.push(
                Check::new(
                    &format!("run {run_id}"),
                    Health::Note,
                    "the ledger does not know it: it is newer than the backup that was restored, or was put there by hand",
                )
                .with_fix("remove the folder once nobody reads it, and run again"),
            );
        }
    }
    let latest = publish::latest_of(out);
    checks.push(match (newest, latest) {
        (None, None) => Check::new("latest.json", Health::Note, "nothing is published yet"),
        (Some(run), Some(latest))
            if latest.run_id == run.run_id && latest.manifest_sha256 == run.manifest_sha256 =>
        {
            Check::new("latest.json", Health::Ok, format!("names {}", run.run_id))
        }
        (Some(run), latest) => {
            let named = latest.map_or_else(|| "no run".to_owned(), |latest| latest.run_id);
            Check::new(
                "latest.json",
                Health::Broken,
                format!(
                    "names {named}, and the ledger's newest run is {}",
                    run.run_id
                ),
            )
            .with_fix("run the pipeline again: it is written from the ledger at the start")
        }
        (None, Some(latest)) => Check::new(
            "latest.json",
            Health::Broken,
            format!("names {}, and the ledger has no run", latest.run_id),
        )
        .with_fix(RUN_AGAIN),
    });
    Ok(())
}

fn run_folder(out: &Path, run_id: &str) -> Check {
    let what = format!("run {run_id}");
    match validate::run_folder(&out.join("runs").join(run_id)) {
        Ok(said) => Check::new(&what, Health::Ok, said),
        Err(error) => Check::new(&what, Health::Broken, format!("{error:#}"))
            .with_fix("bring the folder back from a backup, or remove it and run again"),
    }
}

fn lock(out: &Path) -> Check {
    // Opened as it is, and let go at once.
    let is_held = File::open(out.join(".lock")).is_ok_and(|file| file.try_lock().is_err());
    if is_held {
        Check::new(
            "lock",
            Health::Note,
            "a run holds the folder; what it is writing may look unfinished",
        )
    } else {
        Check::new("lock", Health::Ok, "no run holds the folder")
    }
}

/// Compares the free disk with what the newest run takes: a run needs so much, and its cells beside it.
fn free_disk(out: &Path) -> Result<Check> {
    let Some(free) = free_bytes(out)? else {
        return Ok(Check::new(
            "disk",
            Health::Note,
            "its free space cannot be asked here",
        ));
    };
    let newest = publish::latest_of(out).map(|latest| out.join(latest.path));
    let needed = newest.map_or(0, |folder| 2 * bytes_below(&folder));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let said = format!(
        "{:.1} MB are free, twice the newest run is {:.1} MB",
        megabytes(free),
        megabytes(needed)
    );
    Ok(if free < needed {
        Check::new("disk", Health::Broken, said).with_fix(
            "free some space: remove folders of older runs, their events stay in the ledger",
        )
    } else {
        Check::new("disk", Health::Ok, said)
    })
}

#[cfg(unix)]
fn free_bytes(out: &Path) -> Result<Option<u64>> {
    let asked = rustix::fs::statvfs(out)
        .with_context(|| format!("cannot ask for the free space of {}", out.display()))?;
    Ok(Some(asked.f_bavail * asked.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_out: &Path) -> Result<Option<u64>> {
    Ok(None)
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Copies the ledger of an output folder into a file, while runs may go on.
///
/// # Errors
///
/// If there is no ledger, the file exists and is not to be overwritten, or the copy is not whole.
pub(crate) fn backup(out: &Path, file: &Path, is_overwriting: bool) -> Result<()> {
    refuse_existing(file, is_overwriting)?;
    let ledger = Ledger::open_existing(&Ledger::path(out))?;
    let temporary = temporary(file);
    copy(&ledger, &temporary)?;
    put(&temporary, file)
}

/// Puts a backup in the place of an output folder's ledger.
///
/// # Errors
///
/// If the backup is not whole or of a newer version, a run holds the folder, or there is a ledger that is not to be overwritten.
pub(crate) fn restore(file: &Path, out: &Path, is_overwriting: bool) -> Result<()> {
    let backup = Ledger::open_existing(file)?;
    backup
        .check_fully()
        .with_context(|| format!("{} is damaged", file.display()))
        .context(Problem::InvalidOutput)?;
    let _lock = publish::lock(out)?;
    let place = Ledger::path(out);
    refuse_existing(&place, is_overwriting)?;
    let temporary = temporary(&place);
    copy(&backup, &temporary)?;
    // A run that went on while the copy was made is none of this ledger's.
    Ledger::open_existing(&temporary)?.give_up()?;
    // The log of the ledger that goes must not be played onto the one that comes.
    for suffix in ["-wal", "-shm"] {
        let log = out.join(format!("{}{suffix}", ledger::FILE));
        if log.exists() {
            fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
        }
    }
    put(&temporary, &place)
}

fn refuse_existing(file: &Path, is_overwriting: bool) -> Result<()> {
    if file.exists() && !is_overwriting {
        return Err(anyhow!(
            "{} exists; give --overwrite to replace it",
            file.display()
        ))
        .context(Problem::Configuration);
    }
    Ok(())
}

fn temporary(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.tmp"))
}

/// Copies a ledger and checks the copy; what is not whole is removed.
fn copy(ledger: &Ledger, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_file(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let copied = || -> Result<()> {
        ledger.copy_to(to)?;
        Ledger::open_existing(to)?.check_fully()
    };
    if let Err(error) = copied() {
        let _ = fs::remove_file(to);
        bail!("cannot write {}: {error:#}", to.display());
    }
    Ok(())
}

fn put(temporary: &Path, file: &Path) -> Result<()> {
    File::open(temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(temporary, file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    publish::sync_folder(folder.unwrap_or(Path::new(".")))
}
