//! Runs at set times: what is asked of the sources, what is told of a run, how it stops, and a year of it.

#![expect(
    clippy::print_stdout,
    reason = "the figures of the year, which docs/operations.md gives"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pitwatch_tests::{
    Case, Fault, Finished, Form, Mirror, Reply, Request, Run, Server, World, command, difference,
    latest, only_run, path, pitwatch,
};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

const NORTH: &str = "pipelines/cote-divoire-north.toml";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Numbers that look random, from a seed (xorshift64*; Vigna, 2016, <https://doi.org/10.1145/2845077>).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % n
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// The pipeline of a world of [`World::year`], monitored after its history.
fn case(world: &World) -> Case {
    let case = Case::new(&[world], &[Form::EarthSearch], NORTH);
    let spec = &world.spec;
    let (first, from) = (spec.day(0), spec.day(World::YEAR_HISTORY));
    let last = spec.day(spec.n_looks - 1);
    case.edit(
        "history_from = \"2021-11-01\"",
        &format!("history_from = \"{first}\"\nmonitor_until = \"{last}\""),
    );
    case.edit(
        "monitor_from = \"2024-11-01\"",
        &format!("monitor_from = \"{from}\""),
    );
    case
}

fn folder_of(out: &Path) -> Run {
    Run {
        folder: out.join(latest(out).path),
    }
}

fn text(out: &Path) -> &str {
    out.to_str().unwrap()
}

/// From when on items were asked for by their publication, search by search.
fn asked_from(asked: &[Map<String, Value>]) -> Vec<Option<String>> {
    let from = |query: &Map<String, Value>| {
        Some(query.get("query")?["updated"]["gte"].as_str()?.to_owned())
    };
    asked.iter().map(from).collect()
}

#[test]
fn only_what_was_published_since_the_last_run_is_asked_for() {
    let world = World::year(12);
    let case = case(&world);
    let catalog = &case.live.catalogs["earth-search"];
    let out = case.folder().join("out");
    let run = |rest: &[&str]| {
        let mut all = vec!["--out", text(&out)];
        all.extend(rest);
        case.run("run", &all)
    };
    let mut all = Vec::new();
    catalog.edit(|items| {
        all.clone_from(items);
        // The newest looks are not there yet, and one of the history is late.
        items.truncate(items.len() - 8);
        items.remove(60);
    });
    let late = {
        let mut late = all[60].clone();
        late["properties"]["updated"] = json!("2026-02-14T08:00:00Z");
        late
    };
    let newest = |items: &[Value]| items.last().unwrap()["properties"]["updated"].clone();
    let known = newest(&all[..all.len() - 8]);
    let overlap = |updated: &Value| {
        let day: pitwatch_grid::Day = updated.as_str().unwrap()[..10].parse().unwrap();
        format!("{}T18:00:00Z", pitwatch_grid::Day(day.0 - 10))
    };

    // The first run asks for all; without the flag every run does.
    run(&["--since", "last"]).expect(0);
    let asked = catalog.asked();
    assert!(!asked.is_empty() && asked_from(&asked).iter().all(Option::is_none));
    run(&[]).expect(0);
    assert!(asked_from(&catalog.asked()).iter().all(Option::is_none));
    let n_whole = case.live.server.counts().n_bytes;

    // The second asks for what was published since, with an overlap, and finds nothing.
    case.live.server.reset_counts();
    run(&["--since", "last"]).expect(0);
    let asked = asked_from(&catalog.asked());
    assert_eq!(asked, [Some(overlap(&known))]);
    let n_since = case.live.server.counts().n_bytes;
    assert!(n_since * 5 < n_whole, "{n_since} of {n_whole} bytes");

    // What a stopped run has seen is asked for again: the watermark moves with the run's transaction.
    catalog.edit(|items| {
        items.clone_from(&all);
        items[60] = late.clone();
    });
    for step in ["cells", "files", "folder"] {
        let stopped = case
            .command("run", &["--out", text(&out), "--since", "last"])
            .env("PITWATCH_CRASH_AT", step)
            .output()
            .unwrap();
        assert_eq!(stopped.status.code(), None, "{step}");
        let asked = asked_from(&catalog.asked());
        assert_eq!(asked, [Some(overlap(&known))], "{step}");
    }
    run(&["--since", "last"]).expect(0);
    assert_eq!(asked_from(&catalog.asked()), [Some(overlap(&known))]);
    run(&["--since", "last"]).expect(0);
    // The late item is the newest that was published.
    assert_eq!(
        asked_from(&catalog.asked()),
        [Some("2026-02-04T08:00:00Z".to_owned())]
    );

    // It is as if all had been there from the start.
    let fresh = fresh(&case, "fresh");
    assert_eq!(
        apart_from_events(&folder_of(&out), &fresh),
        Vec::<String>::new()
    );

    // A source that does not take the question is asked for all; so is one whose answers are gone or damaged.
    case.live
        .server
        .fault("/search", 1, Fault::Status(400, Vec::new()));
    run(&["--since", "last"]).expect(0);
    let asked = asked_from(&catalog.asked());
    assert!(
        !asked.is_empty() && asked.iter().all(Option::is_none),
        "{asked:?}"
    );
    let kept = case.mirror().join("year/searched.earth-search.json.gz");
    for damage in [0, 1] {
        let bytes = fs::read(&kept).unwrap();
        match damage {
            0 => fs::remove_file(&kept).unwrap(),
            _ => fs::write(&kept, &bytes[..bytes.len() / 2]).unwrap(),
        }
        run(&["--since", "last"]).expect(0);
        assert!(asked_from(&catalog.asked()).iter().all(Option::is_none));
    }
    run(&["--since", "last"]).expect(0);
    assert!(asked_from(&catalog.asked()).iter().all(Option::is_some));

    // An answer without what was told before and must be in it is not trusted: all is asked for.
    catalog.edit(|items| {
        items.remove(60);
    });
    run(&["--since", "last"]).expect(0);
    let asked = asked_from(&catalog.asked());
    assert!(
        asked.len() > 1 && asked[0].is_some() && asked[1..].iter().all(Option::is_none),
        "{asked:?}"
    );

    // Another question is asked in full: of another period, after the days that the pipeline sets.
    case.edit("full_search_days = 30", "full_search_days = 0");
    run(&["--since", "last"]).expect(0);
    assert!(asked_from(&catalog.asked()).iter().all(Option::is_none));
    case.edit("full_search_days = 0", "full_search_days = 30");
    case.edit(
        "history_from = \"2024-01-03\"",
        "history_from = \"2024-01-01\"",
    );
    run(&["--since", "last"]).expect(0);
    assert!(asked_from(&catalog.asked()).iter().all(Option::is_none));
    case.edit("publication_overlap_days = 10", "");
    run(&["--since", "last"])
        .expect(3)
        .says("full_search_days needs publication_overlap_days beside it");
}

/// A run over all that there is, into a folder and a mirror of its own.
fn fresh(case: &Case, name: &str) -> Run {
    let out = case.folder().join(name);
    let mirror = case.folder().join(format!("{name}-mirror"));
    let mut run = command(&[&"run", &case.pipeline, &"--out", &out]);
    run.arg("--sources")
        .arg(&case.sources)
        .arg("--mirror")
        .arg(mirror)
        .env("PITWATCH_RETRY_MS", "2");
    Finished::from(run.output().unwrap()).expect(0);
    only_run(&out)
}

/// What differs between two runs but what was told of them: that depends on what was known before.
fn apart_from_events(a: &Run, b: &Run) -> Vec<String> {
    let mut differing = difference(a, b);
    differing.retain(|name| name != "alerts.ndjson");
    differing
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_run_that_is_asked_to_stop_finishes_the_cell_and_the_next_goes_on() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let catalog = mirror.catalog();
    let run = |out: &Path| {
        let mut run = command(&[&"run", &pipeline, &"--catalog", &catalog, &"--out", &out]);
        run.args(["--cell-size", "16", "--jobs", "1"]);
        run
    };
    let whole = mirror.folder().join("whole");
    Finished::from(run(&whole).output().unwrap()).expect(0);

    let out = mirror.out();
    let n_cells = || {
        let work = fs::read_dir(out.join(".work"))
            .into_iter()
            .flatten()
            .flatten();
        let areas = work.flat_map(|run| fs::read_dir(run.path()).into_iter().flatten().flatten());
        let files =
            areas.flat_map(|area| fs::read_dir(area.path()).into_iter().flatten().flatten());
        files
            .filter(|file| {
                file.path()
                    .extension()
                    .is_some_and(|ending| ending == "cell")
            })
            .count()
    };
    let mut n_stopped = 0;
    for name in ["TERM", "INT"] {
        let child = run(&out).spawn().unwrap();
        let n_before = n_cells();
        wait_until("no cell is made", || n_cells() > n_before);
        signal(&child, name);
        let stopped: Finished = child.wait_with_output().unwrap().into();
        // It may have been done already.
        if stopped.code == Some(0) {
            continue;
        }
        n_stopped += 1;
        stopped.expect(130).says("stopped as asked");
        assert!(n_cells() > n_before);
        assert!(!out.join("latest.json").exists());
    }
    assert!(n_stopped > 0, "no run could be stopped");
    Finished::from(run(&out).output().unwrap()).expect(0);
    assert_eq!(
        difference(&folder_of(&out), &folder_of(&whole)),
        Vec::<String>::new()
    );
}

#[test]
fn a_fetch_that_is_asked_to_stop_keeps_what_it_has() {
    let world = World::year(12);
    let case = case(&world);
    case.live.server.set_latency(Duration::from_millis(40));
    let n_scenes = || {
        let folder = case.mirror().join("year");
        let scenes = fs::read_dir(folder).into_iter().flatten().flatten();
        scenes.filter(|entry| entry.path().is_dir()).count()
    };
    let child = case
        .command("fetch", &["--connections", "2"])
        .spawn()
        .unwrap();
    wait_until("no scene is fetched", || n_scenes() > 4);
    signal(&child, "TERM");
    let asked = Instant::now();
    let stopped: Finished = child.wait_with_output().unwrap().into();
    stopped.expect(130).says("the next run goes on from there");
    assert!(asked.elapsed() < Duration::from_secs(20));
    let n_kept = n_scenes();
    assert!(n_kept < world.spec.n_looks, "stopped too late");
    case.live.server.set_latency(Duration::ZERO);
    let finished = case.run("fetch", &["--json"]).expect(0);
    let told: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert!(told[0]["n_kept"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(told[0]["n_failed"], 0);
}

#[test]
fn a_watch_runs_at_its_times_and_goes_on_after_a_failure() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let (catalog, out) = (mirror.catalog(), mirror.out());
    let metrics = mirror.folder().join("pitwatch.prom");
    let watch = |cron: &str| {
        let mut watch = command(&[&"watch", &pipeline, &"--catalog", &catalog, &"--out", &out]);
        watch
            .args([
                "--cron",
                cron,
                "--now",
                "--log-format",
                "json",
                "--metrics-file",
            ])
            .arg(&metrics);
        watch
    };
    let refused: Finished = watch("at three").output().unwrap().into();
    refused.expect(3).says("such as");
    assert!(!out.exists());

    let child = watch("* * * * * *").spawn().unwrap();
    wait_until("no run is published", || out.join("latest.json").exists());
    let aside = mirror.folder().join("aside.json");
    fs::rename(&catalog, &aside).unwrap();
    let code = || {
        figures(&metrics)
            .get("pitwatch_last_run_exit_code")
            .copied()
    };
    wait_until("no run fails", || code() == Some(5.0));
    fs::rename(&aside, &catalog).unwrap();
    wait_until("no run succeeds again", || code() == Some(0.0));
    signal(&child, "TERM");
    let stopped: Finished = child.wait_with_output().unwrap().into();
    // 130 if it was within a run.
    assert!([Some(0), Some(130)].contains(&stopped.code), "{stopped:?}");
    let messages: Vec<Value> = stopped
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (level, part) in [
        ("info", "the next run is at"),
        ("error", "the run ended with 5"),
        ("info", "nothing new"),
    ] {
        let is_it = |message: &Value| {
            message["level"] == level
                && message["message"].as_str().unwrap().contains(part)
                && message["time"].as_str().unwrap().ends_with('Z')
        };
        assert!(messages.iter().any(is_it), "{part}: {}", stopped.stderr);
    }
    assert!(stopped.stdout.contains("is published already"));
}

/// The figures of a file of metrics by name and labels; checks its form.
fn figures(path: &Path) -> BTreeMap<String, f64> {
    let Ok(text) = fs::read_to_string(path) else {
        return BTreeMap::new();
    };
    assert!(text.ends_with('\n'));
    let mut told = BTreeSet::new();
    let mut figures = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let words: Vec<&str> = rest.splitn(3, ' ').collect();
            assert!(["HELP", "TYPE"].contains(&words[0]), "{line}");
            assert!(words[0] == "HELP" || words[2] == "gauge", "{line}");
            told.insert((words[0].to_owned(), words[1].to_owned()));
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let bare = name.split('{').next().unwrap().to_owned();
        assert!(bare.starts_with("pitwatch_"), "{line}");
        for what in ["HELP", "TYPE"] {
            assert!(told.contains(&(what.to_owned(), bare.clone())), "{line}");
        }
        let is_new = figures.insert(name.to_owned(), value.parse().unwrap());
        assert!(is_new.is_none(), "{line}");
    }
    figures
}

#[test]
fn metrics_tell_of_every_run_also_of_one_that_fails() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let (catalog, out) = (mirror.catalog(), mirror.out());
    let metrics = mirror.folder().join("pitwatch.prom");
    let run = || {
        pitwatch(&[
            &"run",
            &pipeline,
            &"--catalog",
            &catalog,
            &"--out",
            &out,
            &"--metrics-file",
            &metrics,
        ])
    };
    run().expect(0);
    let first = figures(&metrics);
    assert_eq!(first["pitwatch_last_run_exit_code"], 0.0);
    assert!(first["pitwatch_last_run_duration_seconds"] > 0.0);
    let last = first["pitwatch_last_success_timestamp_seconds"];
    assert_eq!(last, first["pitwatch_last_run_timestamp_seconds"]);
    let area = "{area=\"savanna\"}";
    let look = first[&format!("pitwatch_area_last_look_timestamp_seconds{area}")];
    // The last of the 71 looks, 10 days apart.
    let newest = mirror.read_item(mirror.monitoring().end - 1);
    let newest = newest["properties"]["datetime"].as_str().unwrap();
    let newest = chrono::DateTime::parse_from_rfc3339(newest).unwrap();
    assert_eq!(look, newest.timestamp() as f64);
    let hours = first[&format!("pitwatch_area_hours_since_last_look{area}")];
    assert!((hours - (last - look) / 3600.0).abs() < 0.01);
    let n_looks: f64 = first
        .iter()
        .filter(|(name, _)| name.starts_with("pitwatch_looks{"))
        .map(|(_, n)| n)
        .sum();
    assert!(n_looks >= 71.0);
    assert_eq!(first["pitwatch_alerts{standing=\"confirmed\"}"], 1.0);
    assert!(
        !first
            .keys()
            .any(|name| name.starts_with("pitwatch_deliveries"))
    );

    // Every figure that an alerting rule names is there, but for those of deliveries.
    let rules = fs::read_to_string(path("deploy/prometheus/pitwatch.rules.yml")).unwrap();
    let named: BTreeSet<&str> = rules
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("pitwatch_"))
        .collect();
    assert!(named.len() > 4);
    for name in named {
        let is_there = first.keys().any(|key| key.split('{').next() == Some(name));
        assert!(is_there || name == "pitwatch_deliveries", "{name}");
    }

    fs::rename(&catalog, mirror.folder().join("aside.json")).unwrap();
    run().expect(5);
    let second = figures(&metrics);
    assert_eq!(second["pitwatch_last_run_exit_code"], 5.0);
    assert_eq!(second["pitwatch_last_success_timestamp_seconds"], last);
    assert!(second["pitwatch_last_run_timestamp_seconds"] > last);
    let doctor = pitwatch(&[&"doctor", &out]).expect(0);
    assert!(
        doctor.stdout.contains("area savanna: the newest look: 20"),
        "{}",
        doctor.stdout
    );
}

/// What `deploy` has: units that systemd takes, and commands that the program takes.
#[test]
fn what_is_deployed_is_understood() {
    let deploy = path("deploy");
    let read = |name: &str| fs::read_to_string(deploy.join(name)).unwrap();
    let units = ["pitwatch@", "pitwatch-deliver@"];
    let mut commands = Vec::new();
    for unit in units {
        let text = read(&format!("systemd/{unit}.service"));
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        commands.push(start.unwrap().to_owned());
    }
    let mut n_times = 0;
    for line in read("cron/pitwatch").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with('#') || words.len() < 7 {
            continue;
        }
        n_times += 1;
        let times = words[..5].join(" ");
        let refused =
            pitwatch(&[&"watch", &"gone.toml", &"--out", &"gone", &"--cron", &times]).expect(3);
        assert!(refused.stderr.contains("gone.toml"), "{}", refused.stderr);
        assert_eq!(words[5], "pitwatch");
        let command = words[6..].iter().take_while(|word| **word != "2>&1");
        commands.push(command.copied().collect::<Vec<_>>().join(" "));
    }
    assert_eq!(n_times, 2);
    let job = &yaml_rust2::YamlLoader::load_from_str(&read("kubernetes/cronjob.yaml")).unwrap()[0];
    assert_eq!(job["kind"].as_str(), Some("CronJob"));
    assert_eq!(job["spec"]["concurrencyPolicy"].as_str(), Some("Forbid"));
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let shell = pod["containers"][0]["args"][0].as_str().unwrap();
    commands.push(shell.split(';').next().unwrap().to_owned());
    let rules =
        &yaml_rust2::YamlLoader::load_from_str(&read("prometheus/pitwatch.rules.yml")).unwrap()[0];
    let rules = rules["groups"][0]["rules"].as_vec().unwrap();
    assert!(rules.len() > 5);
    for rule in rules {
        assert!(rule["alert"].as_str().is_some() && rule["expr"].as_str().is_some());
        assert!(rule["annotations"]["summary"].as_str().is_some());
    }
    for command in commands {
        // The files are not there; were an argument not understood, it would end with 2.
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let all: Vec<&dyn AsRef<std::ffi::OsStr>> = words.iter().map(|word| word as _).collect();
        pitwatch(&all).expect(3);
    }

    let is_there = Command::new("systemd-analyze").arg("--version").output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        println!("SKIP what_is_deployed_is_understood: systemd-analyze is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = pitwatch_tests::binary();
    for unit in units {
        for ending in ["service", "timer"] {
            let text = read(&format!("systemd/{unit}.{ending}"));
            let text = text.replace("/usr/local/bin/pitwatch", program.to_str().unwrap());
            fs::write(folder.path().join(format!("{unit}.{ending}")), text).unwrap();
        }
    }
    for unit in units {
        for ending in ["service", "timer"] {
            let verified = Command::new("systemd-analyze")
                .args(["verify", "--man=no"])
                .arg(folder.path().join(format!("{unit}north.{ending}")))
                .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let of_ours: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("pitwatch"))
                .collect();
            assert!(
                verified.status.success() && of_ours.is_empty(),
                "{unit}{ending}: {said}"
            );
        }
    }
}

/// Everything that a receiver took in, by the ids of the events; it fails in most ways at times.
#[derive(Clone, Default)]
struct Receiver {
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    fn serve(&self, seed: u64) -> Server {
        let (taken, dice) = (Arc::clone(&self.taken), Mutex::new(Dice(seed)));
        Server::start(move |request: &Request| {
            let mut dice = dice.lock().unwrap();
            if dice.percent(15) {
                return Reply::status(503);
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let id = request.headers["webhook-id"].clone();
            taken.lock().unwrap().push((id, body));
            // It took it in, and says that it did not.
            Reply::status(if dice.percent(15) { 500 } else { 204 })
        })
    }
}

/// Steps of a publication: program killed there.
const STEPS: [&str; 8] = [
    "recovered",
    "cells",
    "files",
    "noted",
    "folder",
    "ledger",
    "latest",
    "sent",
];

/// Lets the pauses between attempts pass.
fn make_due(out: &Path) {
    let ledger = Connection::open(out.join("ledger.sqlite")).unwrap();
    ledger.busy_timeout(Duration::from_secs(20)).unwrap();
    let due = "UPDATE deliveries SET next_at = '2020-01-01T00:00:00Z' WHERE state = 'pending'";
    ledger.execute(due, []).unwrap();
}

/// Runs every five days over a year of `n_steps` steps with late and reprocessed scenes, outages, crashes and a receiver
/// that fails, and compares the end with one run over all of it.
fn year(n_steps: usize, seed: u64) {
    let world = World::year(n_steps);
    let case = case(&world);
    let catalog = &case.live.catalogs["earth-search"];
    let mut dice = Dice(seed * 0x9E37_79B9 + 1);
    let n_tiles = world.tiles.len();
    let mut all: Vec<Value> = Vec::new();
    catalog.edit(|items| all.append(items));
    // When each item comes, and which of them come first with the pixels of the look before.
    let mut comes = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |what: &'static str| *counts.entry(what).or_default() += 1;
    for (place, item) in all.iter().enumerate() {
        let look = place / n_tiles;
        let own = (look + 1).saturating_sub(World::YEAR_HISTORY);
        let delay = match (look < World::YEAR_HISTORY, dice.below(100)) {
            (false, 0..20) => {
                count("late");
                1 + dice.below(6) as usize
            }
            // Of the history, too.
            (true, 0..3) => {
                count("late");
                2 + dice.below(n_steps as u64) as usize
            }
            _ => 0,
        };
        let step = (own + delay).min(n_steps);
        let mut item = item.clone();
        if dice.percent(8) && look > 0 && step < n_steps {
            count("reprocessed");
            let mut first = item.clone();
            first["assets"] = all[place - n_tiles]["assets"].clone();
            first["properties"]["s2:processing_baseline"] = json!("05.10");
            let again = (step + 1 + dice.below(4) as usize).min(n_steps);
            comes.push((step, first));
            item["properties"]["s2:processing_baseline"] = json!("05.11");
            comes.push((again, item));
        } else {
            comes.push((step, item));
        }
    }
    let out = case.folder().join("out");
    let receiver = Receiver::default();
    let server = receiver.serve(seed);
    let endpoints = case.folder().join("endpoints.toml");
    let endpoint = format!(
        "[[endpoint]]\nname = \"group\"\nurl = \"{}/hook\"\nsecrets = [\"env:HOOK\"]\nfeed = \"group\"\nallow_http = true\nallow_private = true\n",
        server.url()
    );
    fs::write(&endpoints, endpoint).unwrap();
    let start = Instant::now();
    for step in 1..=n_steps {
        // What is published at this step, with the day of the step.
        let today = world.spec.day(World::YEAR_HISTORY + step - 1);
        catalog.edit(|items| {
            for (_, item) in comes
                .iter()
                .filter(|(comes, _)| *comes == step || (step == 1 && *comes == 0))
            {
                let mut item = item.clone();
                item["properties"]["updated"] = json!(format!("{today}T20:00:00Z"));
                items.retain(|known| known["id"] != item["id"]);
                items.push(item);
            }
        });
        let is_last = step == n_steps;
        case.live.server.heal();
        let crash = STEPS[dice.below(STEPS.len() as u64) as usize];
        let mut is_crash = false;
        let fault = if is_last { 100 } else { dice.below(100) };
        match fault {
            0..8 => {
                count("outages");
                case.live
                    .server
                    .fault("/search", 10_000, Fault::Status(503, Vec::new()));
            }
            8..20 => {
                count("broken files");
                case.live
                    .server
                    .fault("B04", 60, Fault::Status(500, Vec::new()));
            }
            20..45 => {
                count("crashes");
                is_crash = true;
            }
            _ => {}
        }
        let mut run = case.command("run", &["--out", text(&out), "--since", "last"]);
        let mut deliver = command(&[&"alerts", &"deliver", &out, &"--endpoints", &endpoints]);
        deliver.env("HOOK", SECRET);
        if is_crash {
            run.env("PITWATCH_CRASH_AT", crash);
            deliver.env("PITWATCH_CRASH_AT", crash);
        }
        let run = run.output().unwrap();
        let code = run.status.code();
        // 5: at the first step of an outage nothing is mirrored yet.
        let is_meant = [Some(0), Some(4), Some(5)].contains(&code) || (is_crash && code.is_none());
        assert!(is_meant, "step {step}: {run:?}");
        if out.join("ledger.sqlite").exists() {
            make_due(&out);
            let code = deliver.output().unwrap().status.code();
            let is_meant = [Some(0), Some(7)].contains(&code) || (is_crash && code.is_none());
            assert!(is_meant, "step {step}: {code:?}");
        }
    }
    // What failed is tried again by the next run; the last one has nothing in its way.
    case.live.server.heal();
    case.run("run", &["--out", text(&out), "--since", "last"])
        .expect(0);
    for n_deliveries in 0.. {
        assert!(n_deliveries < 60, "not delivered");
        make_due(&out);
        let mut deliver = command(&[&"alerts", &"deliver", &out, &"--endpoints", &endpoints]);
        let delivered: Finished = deliver.env("HOOK", SECRET).output().unwrap().into();
        if delivered.code == Some(0) {
            break;
        }
        delivered.expect(7);
    }
    let elapsed = start.elapsed();

    // Every event exactly once after dropping ids that were seen, and each subject's in order.
    let ledger = Connection::open(out.join("ledger.sqlite")).unwrap();
    let mut statement = ledger
        .prepare("SELECT event_id, body FROM events ORDER BY seq")
        .unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    });
    let expected: BTreeMap<String, Value> = rows
        .unwrap()
        .map(Result::unwrap)
        .map(|(id, body)| (id, serde_json::from_str(&body).unwrap()))
        .collect();
    let mut seen = BTreeMap::new();
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut n_repeated = 0;
    for (id, body) in receiver.taken.lock().unwrap().iter() {
        if let Some(before) = seen.insert(id.clone(), body.clone()) {
            assert_eq!(&before, body);
            n_repeated += 1;
            continue;
        }
        let subject = body["subject"].as_str().unwrap().to_owned();
        let revision = body["revision"].as_u64().unwrap();
        let before = revisions.insert(subject, revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "{body}");
    }
    assert_eq!(seen, expected);

    // The same sites and alerts, byte for byte, as one run over the whole year finds.
    let once = fresh(&case, "once");
    let run = folder_of(&out);
    assert_eq!(apart_from_events(&run, &once), Vec::<String>::new());
    let (alerts, sites) = (
        run.features("alerts.geojson"),
        run.features("sites.geojson"),
    );
    assert!(!alerts.is_empty() && !sites.is_empty());
    // What was told last of each alert and site is what the run says.
    let standing = |type_part: &str, name: &str| -> BTreeSet<String> {
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        for body in expected.values() {
            let is_it = body["type"].as_str().unwrap().contains(type_part);
            let subject = body["subject"].as_str().unwrap().to_owned();
            let newer = last
                .get(&subject)
                .is_none_or(|before| before["revision"].as_u64() < body["revision"].as_u64());
            if is_it && newer {
                last.insert(subject, body.clone());
            }
        }
        let gone = |body: &&Value| {
            let state = &body["data"]["properties"]["state"];
            !body["type"].as_str().unwrap().contains("retracted")
                && *state != "retracted"
                && *state != "merged"
        };
        let named = last.values().filter(gone);
        named
            .map(|body| {
                body["data"]["properties"][name]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let of = |features: &[Value], name: &str| -> BTreeSet<String> {
        let named = features.iter();
        named
            .map(|feature| feature["properties"][name].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(standing(".alert.", "alert_id"), of(&alerts, "alert_id"));
    assert_eq!(standing(".site.", "site_id"), of(&sites, "site_id"));
    println!(
        "{n_steps} runs, seed {seed}: {counts:?}; {} events, {n_repeated} received more than once; {} alerts, {} sites; {:.1} s",
        expected.len(),
        alerts.len(),
        sites.len(),
        elapsed.as_secs_f64()
    );
}

#[test]
fn two_months_of_scheduled_runs_equal_one_run() {
    year(13, 2);
}

/// The long form: `cargo nextest run -p pitwatch-tests --run-ignored only a_year --success-output immediate`
#[test]
#[ignore = "73 runs take minutes; docs/operations.md has the command"]
fn a_year_of_scheduled_runs_equals_one_run() {
    for seed in 1..=3 {
        year(73, seed);
    }
}
