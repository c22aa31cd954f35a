//! What a run keeps for the next one saves time and moves no byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pitwatch_grid::Shape;
use pitwatch_tests::{Mirror, Run, Spec, binary, day, difference, latest, pitwatch};
use serde_json::Value;

/// A mirror of which the catalog shows some looks, and two folders that are run into in turn: one keeps its memos, the
/// other never has any.
struct Case {
    mirror: Mirror,
    pipeline: PathBuf,
    links: Vec<Value>,
}

impl Case {
    fn new() -> Self {
        Self::of(Mirror::savanna())
    }

    fn of(mirror: Mirror) -> Self {
        let pipeline = mirror.pipeline(&[("part", &mirror.polygon([0.05, 0.05, 0.9, 0.95]))]);
        let text = fs::read_to_string(mirror.catalog()).unwrap();
        let catalog: Value = serde_json::from_str(&text).unwrap();
        let mut links = catalog["links"].as_array().unwrap().clone();
        links.retain(|link| link["rel"] == "item");
        Self {
            mirror,
            pipeline,
            links,
        }
    }

    /// Lets the catalog show the looks of which this is true.
    fn show(&self, is_shown: impl Fn(usize) -> bool) {
        let shown: Vec<Value> = (0..self.links.len())
            .filter(|&look| is_shown(look))
            .map(|look| self.links[look].clone())
            .collect();
        self.mirror
            .edit_catalog(|catalog| catalog["links"] = shown.into());
    }

    fn out(&self, name: &str) -> PathBuf {
        self.mirror.folder().join(name)
    }

    fn run(&self, name: &str, flags: &[&str]) -> Run {
        let out = self.out(name);
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![
            &"run",
            &self.pipeline,
            &"--out",
            &out,
            &"--cell-size",
            &"48",
        ];
        for flag in flags {
            arguments.push(flag);
        }
        pitwatch(&arguments).expect(0);
        let folder = out.join(latest(&out).path);
        Run { folder }
    }

    /// Runs into both folders and compares; returns whether all cells were worked out from their memos.
    fn compare(&self, what: &str, flags: &[&str]) -> bool {
        let before = self.fits();
        let with = self.run("with", flags);
        let _ = fs::remove_dir_all(self.out("without").join("memo"));
        let without = self.run("without", &[]);
        assert_eq!(difference(&with, &without), Vec::<String>::new(), "{what}");
        assert_eq!(
            with.folder.file_name(),
            without.folder.file_name(),
            "{what}"
        );
        !before.is_empty() && before == self.fits()
    }

    /// The files of fits, which a full run makes anew.
    fn fits(&self) -> BTreeMap<PathBuf, u64> {
        files(&self.out("with").join("memo/part"), "fit")
            .into_iter()
            .map(|path| {
                let inode = fs::metadata(&path).unwrap().ino();
                (path, inode)
            })
            .collect()
    }
}

/// The files of a folder with an ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|is| is == ending))
        .collect();
    files.sort();
    files
}

#[test]
fn looks_that_come_one_by_one_give_the_bytes_of_a_full_run() {
    let case = Case::new();
    let n_looks = case.mirror.spec.n_looks;
    case.show(|look| look < 58);
    assert!(!case.compare("the first run", &[]));
    for (n_shown, flags) in [
        (59, &[][..]),
        (60, &["--jobs", "1"]),
        (61, &["--memory-limit", "64GiB"]),
        (64, &[]),
        (64, &[]),
        (n_looks, &[]),
    ] {
        case.show(|look| look < n_shown);
        assert!(
            case.compare(&format!("{n_shown} looks"), flags),
            "{n_shown} looks"
        );
    }
    // Each cell has a memo and a fit, and nothing is left of writing them.
    let folder = case.out("with").join("memo/part");
    let n_cells = files(&folder, "memo").len();
    assert!(n_cells >= 4, "{n_cells} cells");
    assert_eq!(files(&folder, "fit").len(), n_cells);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2 * n_cells);
}

#[test]
fn a_look_that_is_late_or_other_than_before_is_worked_into_all() {
    let case = Case::new();
    let n_looks = case.mirror.spec.n_looks;
    case.show(|look| look != 20 && look != 62 && look < n_looks - 1);
    assert!(!case.compare("the first run", &[]));
    case.show(|look| look != 20 && look < n_looks - 1);
    assert!(!case.compare("a late look of the monitoring", &[]));
    case.show(|look| look < n_looks - 1);
    assert!(!case.compare("a late look of the history", &[]));
    fs::copy(
        case.mirror.file(40, "B04.tif"),
        case.mirror.file(41, "B04.tif"),
    )
    .unwrap();
    case.show(|_| true);
    assert!(!case.compare("an old look processed again", &[]));
    case.show(|look| look < n_looks - 3);
    assert!(!case.compare("looks that are gone", &[]));
    case.show(|_| true);
    assert!(case.compare("looks that come back", &[]));
    let text = fs::read_to_string(&case.pipeline).unwrap();
    let changed = text.replace("departure_ndvi = 2.0", "departure_ndvi = 2.1");
    assert_ne!(changed, text);
    fs::write(&case.pipeline, changed).unwrap();
    assert!(!case.compare("another number in the pipeline file", &[]));
}

#[test]
fn a_damaged_memo_is_not_used() {
    let case = Case::new();
    let n_looks = case.mirror.spec.n_looks;
    case.show(|look| look < n_looks - 6);
    assert!(!case.compare("the first run", &[]));
    let folder = case.out("with").join("memo/part");
    for (step, (ending, place)) in [("memo", 0.5), ("memo", 0.0), ("fit", 0.0), ("fit", 0.1)]
        .into_iter()
        .enumerate()
    {
        for path in files(&folder, ending) {
            let mut bytes = fs::read(&path).unwrap();
            let at = (place * bytes.len() as f64) as usize;
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
        }
        case.show(|look| look < n_looks - 5 + step);
        assert!(!case.compare(&format!("{ending} damaged at {place}"), &[]));
    }
    // All records of pixels; only those that are needed are read.
    for path in files(&folder, "fit") {
        let mut bytes = fs::read(&path).unwrap();
        let from = bytes.len() / 4;
        bytes[from..].fill(0);
        fs::write(&path, bytes).unwrap();
    }
    case.show(|look| look < n_looks - 1);
    case.compare("records damaged", &[]);
    for path in files(&folder, "memo") {
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    }
    case.show(|_| true);
    assert!(!case.compare("cut short", &[]));
    fs::remove_dir_all(case.out("with").join("memo")).unwrap();
    case.compare("deleted", &[]);
}

/// Runs the program; returns processor seconds and bytes read, of which the kernel keeps account for children that ended.
fn cost(arguments: &[&str]) -> (f64, f64) {
    let script = r#""$@" > /dev/null || exit 1; times; grep rchar /proc/$$/io"#;
    let finished = Command::new("bash")
        .args(["-c", script, "cost"])
        .arg(binary())
        .args(arguments)
        .output()
        .unwrap();
    assert!(finished.status.success(), "{finished:?}");
    let text = String::from_utf8(finished.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let seconds = lines[1].split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    });
    let bytes = lines[2].split_whitespace().next_back().unwrap();
    (seconds.sum(), bytes.parse().unwrap())
}

/// What a run takes after one new date on a mirror of three years, with what the run before kept and without.
#[test]
#[ignore = "measures; docs/benchmarks.md gives the numbers and the command"]
fn what_a_new_date_costs() {
    let side = std::env::var("PITWATCH_SIDE").map_or(384, |side| side.parse().unwrap());
    let mirror = Mirror::new(Spec {
        id: "three-years",
        shape: Shape {
            height: side,
            width: side,
        },
        first_day: day("2019-07-01"),
        revisit_days: 5,
        n_looks: 219,
        ..Spec::default()
    });
    let case = Case::of(mirror);
    let n_looks = case.mirror.spec.n_looks;
    // Files that are two seconds old can be known again.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let (with, without) = (case.out("with"), case.out("without"));
    let run = |out: &Path| {
        let pipeline = case.pipeline.to_str().unwrap();
        cost(&[
            "run",
            pipeline,
            "--out",
            out.to_str().unwrap(),
            "--jobs",
            "1",
        ])
    };
    case.show(|look| look < n_looks - 1);
    let first = run(&with);
    run(&without);
    case.show(|_| true);
    fs::remove_dir_all(without.join("memo")).unwrap();
    let full = run(&without);
    let new_date = run(&with);
    let nothing_new = run(&with);
    let newest = |out: &Path| Run {
        folder: out.join(latest(out).path),
    };
    assert_eq!(
        difference(&newest(&with), &newest(&without)),
        Vec::<String>::new()
    );
    let n_bytes = |folder: &Path| -> u64 {
        let sizes = Command::new("du").arg("-sb").arg(folder).output().unwrap();
        let text = String::from_utf8(sizes.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    println!("{n_looks} looks of {side} × {side} pixels, one job");
    println!(
        "mirror {:.0} MB, kept for the next run {:.0} MB",
        n_bytes(&case.mirror.folder().join("mirror")) as f64 / 1e6,
        n_bytes(&with.join("memo")) as f64 / 1e6
    );
    println!("run                     CPU s   share     MB read   share");
    for (name, (seconds, bytes)) in [
        ("first run", first),
        ("new date, no memo", full),
        ("new date, memo", new_date),
        ("nothing new, memo", nothing_new),
    ] {
        println!(
            "{name:20} {seconds:8.2} {:6.1} % {:10.1} {:6.1} %",
            100.0 * seconds / full.0,
            bytes / 1e6,
            100.0 * bytes / full.1
        );
    }
}
