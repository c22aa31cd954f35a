//! The ledger and the events: whatever stops a run, the next one leaves what an uninterrupted one does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use pitwatch_tests::{
    Finished, Mirror, Run, command, copy_folder, difference, files_of, latest, only_run, path,
    pitwatch, pitwatch_with, start,
};
use rusqlite::{Connection, types::Value as Cell};
use serde_json::Value;
use yaml_rust2::YamlLoader;

/// The steps at which a debug build ends by itself, in their order.
const STEPS: [&str; 8] = [
    "recovered",
    "cells",
    "files",
    "noted",
    "aside",
    "folder",
    "ledger",
    "latest",
];

/// The pipeline file of a mirror, looking as far as a day; the name stays, and with it the events' source.
fn until(mirror: &Mirror, day: &str) -> PathBuf {
    let path = mirror.pipeline(&[]);
    let text = fs::read_to_string(&path).unwrap();
    let line = "monitor_from = \"2021-07-01\"";
    assert!(text.contains(line));
    let text = text.replace(line, &format!("{line}\nmonitor_until = \"{day}\""));
    fs::write(&path, text).unwrap();
    path
}

/// Before the pit of the savanna, soon after it was reported, and the whole mirror.
const DAYS: [&str; 3] = ["2021-11-01", "2022-01-20", "2022-07-01"];

fn run(pipeline: &Path, out: &Path) -> Finished {
    pitwatch(&[&"run", &pipeline, &"--out", &out, &"--jobs", &"1"])
}

fn newest(out: &Path) -> Run {
    let latest = latest(out);
    let run = Run {
        folder: out.join(&latest.path),
    };
    run.check(&latest);
    run
}

fn events(run: &Run) -> Vec<Value> {
    let text = fs::read_to_string(run.folder.join("alerts.ndjson")).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn types(run: &Run) -> Vec<String> {
    let events = events(run).into_iter();
    events
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect()
}

/// All rows of all tables but what rests on the clock: the manifest's hash and the times of runs.
fn dump(out: &Path) -> BTreeMap<String, Vec<String>> {
    let connection = Connection::open(out.join("ledger.sqlite")).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'",
        )
        .unwrap();
    let tables: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut dump = BTreeMap::new();
    for table in tables {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table}"))
            .unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement
            .query_map([], |row| {
                let cells = columns.iter().enumerate().filter(|(_, name)| {
                    !["manifest_sha256", "started_at", "ended_at"].contains(&name.as_str())
                });
                let cells = cells
                    .map(|(index, name)| Ok(format!("{name}={:?}", row.get::<_, Cell>(index)?)));
                Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
            })
            .unwrap();
        let mut rows: Vec<String> = rows.map(Result::unwrap).collect();
        rows.sort();
        dump.insert(table, rows);
    }
    dump
}

/// Compares two ledgers table by table, so that a difference can be read.
fn assert_same_ledger(
    a: &BTreeMap<String, Vec<String>>,
    b: &BTreeMap<String, Vec<String>>,
    what: &str,
) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (table, rows) in a {
        let other: Vec<&String> = rows.iter().filter(|row| !b[table].contains(row)).collect();
        let first = other
            .first()
            .map(|row| row.chars().take(400).collect::<String>());
        assert_eq!(
            (rows.len(), first),
            (b[table].len(), None),
            "{what}: {table}"
        );
    }
}

/// What an interrupted folder must be equal to in the end.
fn assert_as_uninterrupted(out: &Path, expected: &Path, what: &str) {
    let names = |out: &Path| -> BTreeSet<_> {
        fs::read_dir(out.join("runs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect()
    };
    assert_eq!(names(out), names(expected), "{what}");
    for name in names(expected) {
        let folder = |out: &Path| Run {
            folder: out.join("runs").join(&name),
        };
        let changed = difference(&folder(out), &folder(expected));
        assert_eq!(changed, Vec::<String>::new(), "{what}");
    }
    assert_eq!(latest(out).run_id, latest(expected).run_id, "{what}");
    assert_same_ledger(&dump(out), &dump(expected), what);
    assert!(!out.join(".work").exists(), "{what}");
    let said = pitwatch(&[&"doctor", &out]);
    assert_eq!(said.code, Some(0), "{what}: {}", said.stdout);
    // The looks are years ago.
    let mut notes = said
        .stdout
        .lines()
        .filter(|line| line.starts_with("note") && !line.starts_with("note   area"));
    assert_eq!(notes.next(), None, "{what}: {}", said.stdout);
}

/// Two steps of a mirror's history: what is published before, and what is published by the run that is stopped.
struct Steps {
    mirror: Mirror,
    expected: PathBuf,
    before: PathBuf,
    old: PathBuf,
    new: PathBuf,
}

fn steps() -> Steps {
    let mirror = Mirror::savanna();
    // A folder each, so that both files have one name.
    let [old, new] = [DAYS[1], DAYS[2]].map(|day| {
        let path = until(&mirror, day);
        let folder = mirror.folder().join(day);
        fs::create_dir_all(&folder).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("\"mirror/", "\"../mirror/");
        let path = folder.join("pipeline.toml");
        fs::write(&path, text).unwrap();
        path
    });
    let before = mirror.folder().join("before");
    run(&old, &before).expect(0);
    let expected = mirror.folder().join("expected");
    copy_folder(&before, &expected);
    run(&new, &expected).expect(0);
    Steps {
        mirror,
        expected,
        before,
        old,
        new,
    }
}

impl Steps {
    /// A copy of the folder as it was before the run that is stopped.
    fn out(&self, name: &str) -> PathBuf {
        let out = self.mirror.folder().join(name);
        copy_folder(&self.before, &out);
        out
    }

    /// What a reader finds at any moment: the old run or the new one, whole.
    fn check_either(&self, out: &Path, what: &str) {
        let run = newest(out);
        let is_known = [&self.before, &self.expected]
            .iter()
            .any(|known| latest(known).run_id == latest(out).run_id);
        assert!(is_known, "{what}: {}", run.folder.display());
    }
}

#[test]
fn a_run_that_ends_at_any_step_is_completed_or_undone_by_the_next() {
    let steps = steps();
    for step in STEPS {
        let out = steps.out(step);
        let crash = |pipeline: &Path| {
            pitwatch_with(
                &[("PITWATCH_CRASH_AT", step)],
                &[&"run", &pipeline, &"--out", &out],
            )
        };
        let ended = crash(&steps.new);
        if ended.code == Some(0) {
            println!("SKIP a_run_that_ends_at_any_step: the program is a release build");
            return;
        }
        steps.check_either(&out, step);
        run(&steps.new, &out).expect(0);
        assert_as_uninterrupted(&out, &steps.expected, step);
        // Stopped for good: the next run is another one, and finds nothing of it but what the ledger had taken.
        let out = steps.out(&format!("{step}-other"));
        let _ = pitwatch_with(
            &[("PITWATCH_CRASH_AT", step)],
            &[&"run", &steps.new, &"--out", &out],
        );
        run(&steps.old, &out).expect(0);
        if !["ledger", "latest"].contains(&step) {
            assert_as_uninterrupted(&out, &steps.before, step);
        }
    }
}

#[test]
fn a_published_run_that_is_made_anew_and_stopped_is_not_lost() {
    let steps = steps();
    for step in &STEPS[2..] {
        let out = steps.out(step);
        // What was published is damaged, so that it is replaced.
        let folder = newest(&out).folder;
        fs::write(folder.join("looks.csv"), "damaged").unwrap();
        let ended = pitwatch_with(
            &[("PITWATCH_CRASH_AT", step)],
            &[&"run", &steps.old, &"--out", &out],
        );
        if ended.code == Some(0) {
            println!("SKIP a_published_run_that_is_made_anew: the program is a release build");
            return;
        }
        run(&steps.old, &out).expect(0);
        newest(&out);
        assert_as_uninterrupted(&out, &steps.before, step);
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_what_an_uninterrupted_one_does() {
    let steps = steps();
    let timed = steps.out("timed");
    let began = Instant::now();
    run(&steps.new, &timed).expect(0);
    let whole = began.elapsed();
    let mut n_killed = 0;
    for round in 0..16_u32 {
        let out = steps.out(&format!("killed-{round}"));
        // Three kills a folder, at places that differ from round to round; half of them at the end, where files are put in place.
        for kill in 0..3_u32 {
            let share = f64::from((round * 3 + kill) * 29 % 48) / 48.0;
            let share = if kill == 2 { 0.75 + share / 4.0 } else { share };
            let mut child = start(&[&"run", &steps.new, &"--out", &out, &"--jobs", &"1"]);
            sleep(whole.mul_f64(share));
            child.kill().unwrap();
            n_killed += i32::from(!child.wait().unwrap().success());
            steps.check_either(&out, &format!("round {round}"));
        }
        run(&steps.new, &out).expect(0);
        assert_as_uninterrupted(&out, &steps.expected, &format!("round {round}"));
    }
    assert!(
        n_killed >= 16,
        "{n_killed} of 48 runs of {whole:?} were killed"
    );
}

#[test]
fn a_full_disk_leaves_the_old_run_and_the_next_completes() {
    let steps = steps();
    let disk = steps.mirror.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("SKIP a_full_disk: a small file system cannot be mounted here");
        return;
    }
    let try_all = || {
        let mut n_failed = 0;
        for free_kib in [0, 16, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024] {
            let out = disk.join("out");
            copy_folder(&steps.before, &out);
            let ballast = disk.join("ballast");
            fill(&ballast, &disk, free_kib);
            let mut program = command(&[&"run", &steps.new, &"--out", &out, &"--jobs", &"1"]);
            let ended: Finished = program.output().unwrap().into();
            n_failed += i32::from(ended.code != Some(0));
            steps.check_either(&out, &format!("{free_kib} KiB"));
            fs::remove_file(&ballast).unwrap();
            run(&steps.new, &out).expect(0);
            assert_as_uninterrupted(&out, &steps.expected, &format!("{free_kib} KiB"));
            fs::remove_dir_all(&out).unwrap();
        }
        n_failed
    };
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(try_all));
    let _ = Command::new("umount").arg("-l").arg(&disk).status();
    assert!(tried.unwrap() >= 4);
}

/// Writes a file that leaves so much of its file system free.
fn fill(ballast: &Path, disk: &Path, free_kib: usize) {
    let said = Command::new("df")
        .arg("-k")
        .arg("--output=avail")
        .arg(disk)
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let available: usize = said.lines().nth(1).unwrap().trim().parse().unwrap();
    fs::write(
        ballast,
        vec![1_u8; available.saturating_sub(free_kib) * 1024],
    )
    .unwrap();
}

#[test]
fn a_history_of_runs_is_told_once_and_validates() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    let mut told = Vec::new();
    let mut folders = Vec::new();
    for day in DAYS {
        run(&until(&mirror, day), &out).expect(0);
        told.extend(events(&newest(&out)));
        folders.push(newest(&out).manifest());
    }
    // A chain that a consumer can go back along.
    assert_eq!(folders[0].previous_run, None);
    for pair in folders.windows(2) {
        assert_eq!(pair[1].previous_run.as_ref(), Some(&pair[0].run_id));
    }
    let alert_id = newest(&out).alerts()[0]["alert_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let connection = Connection::open(out.join("ledger.sqlite")).unwrap();
    connection
        .execute(
            "INSERT INTO reviews (alert_id, review, reason, reviewer, reviewed_at)
             VALUES (?1, 'dismissed', 'a road', 'A. Reviewer', '2022-08-01T00:00:00Z')",
            [&alert_id],
        )
        .unwrap();
    drop(connection);
    run(&until(&mirror, DAYS[2]), &out).expect(0);
    let reviewed = newest(&out);
    assert_ne!(reviewed.manifest().run_id, folders[2].run_id);
    assert_eq!(
        types(&reviewed),
        ["pitwatch.alert.dismissed.v1", "pitwatch.run.completed.v1"]
    );
    let row = reviewed
        .alerts()
        .into_iter()
        .find(|alert| alert["alert_id"] == alert_id.as_str());
    assert_eq!(row.unwrap()["review"], "dismissed");
    told.extend(events(&reviewed));

    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for event in &told {
        let name = event["type"].as_str().unwrap();
        let file = name.strip_prefix("pitwatch.").unwrap();
        let schema = fs::read_to_string(path(&format!("docs/schemas/{file}.json"))).unwrap();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let errors: Vec<String> = jsonschema::draft202012::new(&schema)
            .unwrap()
            .iter_errors(event)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{event}");
        let subject = event["subject"].as_str().unwrap().to_owned();
        let revision = revisions.entry(subject).or_default();
        *revision += 1;
        assert_eq!(event["revision"], *revision);
        assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
        seen.insert(name.to_owned());
    }
    assert!(
        seen.contains("pitwatch.alert.created.v1") && seen.contains("pitwatch.alert.confirmed.v1")
    );
    // The outbox has the same, in the same order.
    let connection = Connection::open(out.join("ledger.sqlite")).unwrap();
    let mut statement = connection
        .prepare("SELECT event_id, body FROM events ORDER BY seq")
        .unwrap();
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    let kept: Vec<Value> = rows
        .map(|row| {
            let (id, body) = row.unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["id"], id.as_str());
            body
        })
        .collect();
    assert_eq!(kept, told);
}

#[test]
fn a_run_without_a_find_says_so() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    run(&until(&mirror, DAYS[0]), &out).expect(0);
    let events = events(&only_run(&out));
    assert_eq!(types(&only_run(&out)), ["pitwatch.run.completed.v1"]);
    assert_eq!(events[0]["data"]["properties"]["n_excavation_confirmed"], 0);
    // The newest look, not the clock.
    assert!(events[0]["time"].as_str().unwrap().starts_with("2021-1"));
}

#[test]
fn a_rerun_tells_nothing_and_a_return_to_older_inputs_is_a_run_of_its_own() {
    let steps = steps();
    let out = steps.out("out");
    let before = dump(&out);
    run(&steps.old, &out).expect(0);
    assert_same_ledger(&dump(&out), &before, "");
    run(&steps.new, &out).expect(0);
    run(&steps.old, &out).expect(0);
    let back = newest(&out);
    assert_ne!(latest(&out).run_id, latest(&steps.before).run_id);
    assert_eq!(
        back.manifest().previous_run,
        Some(latest(&steps.expected).run_id)
    );
    let known = newest(&steps.before);
    assert_eq!(back.alerts(), known.alerts());
    assert_eq!(fs::read_dir(out.join("runs")).unwrap().count(), 3);
}

#[test]
fn a_folder_of_runs_without_a_ledger_gets_one() {
    let steps = steps();
    let out = steps.out("out");
    fs::remove_file(out.join("ledger.sqlite")).unwrap();
    pitwatch(&[&"doctor", &out]).expect(6);
    run(&steps.new, &out)
        .expect(0)
        .says("no ledger: one is begun");
    let run = newest(&out);
    assert_eq!(
        run.manifest().previous_run,
        Some(latest(&steps.before).run_id)
    );
    let created = types(&run);
    let created = created
        .iter()
        .filter(|name| *name == "pitwatch.alert.created.v1");
    assert_eq!(created.count(), run.alerts().len());
    pitwatch(&[&"doctor", &out]).expect(0);
}

#[test]
fn a_ledger_that_cannot_be_used_is_refused_with_what_to_do() {
    let steps = steps();
    let out = steps.out("out");
    let file = out.join("ledger.sqlite");
    let backup = steps.mirror.folder().join("backup.sqlite");
    pitwatch(&[&"backup", &out, &backup]).expect(0);
    pitwatch(&[&"backup", &out, &backup])
        .expect(3)
        .says("--overwrite");
    pitwatch(&[&"backup", &out, &backup, &"--overwrite"]).expect(0);
    let before = dump(&out);

    // Damaged in the middle.
    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    bytes[4096..length / 2].fill(0xAA);
    fs::write(&file, &bytes).unwrap();
    run(&steps.new, &out).expect(6).says("pitwatch restore");
    let said = pitwatch(&[&"doctor", &out, &"--json"]).expect(6);
    let checks: Value = serde_json::from_str(&said.stdout).unwrap();
    let ledger = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["what"] == "ledger");
    assert_eq!(ledger.unwrap()["health"], "broken");
    pitwatch(&[&"restore", &backup, &out])
        .expect(3)
        .says("--overwrite");
    pitwatch(&[&"restore", &file, &out, &"--overwrite"]).expect(6);
    pitwatch(&[&"restore", &backup, &out, &"--overwrite"]).expect(0);
    assert_same_ledger(&dump(&out), &before, "");

    // No database at all, and one of another program.
    fs::write(
        &file,
        "not a database, though long enough to have a header of one".repeat(40),
    )
    .unwrap();
    run(&steps.new, &out).expect(6).says("damaged");
    let other = steps.mirror.folder().join("other.sqlite");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1;")
        .unwrap();
    pitwatch(&[&"restore", &other, &out, &"--overwrite"])
        .expect(3)
        .says("no ledger of pitwatch");

    // Of a later version.
    pitwatch(&[&"restore", &backup, &out, &"--overwrite"]).expect(0);
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    run(&steps.new, &out).expect(3).says("version 99");

    pitwatch(&[&"restore", &backup, &out, &"--overwrite"]).expect(0);
    run(&steps.new, &out).expect(0);
    assert_as_uninterrupted(&out, &steps.expected, "restored");
}

#[test]
fn doctor_names_what_is_wrong_and_changes_nothing() {
    let steps = steps();
    let run_id = latest(&steps.before).run_id;
    type Damage<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Damage, i32, &str); 5] = [
        (
            "file",
            &|out| fs::write(newest(out).folder.join("looks.csv"), "x").unwrap(),
            6,
            "has changed since the run",
        ),
        (
            "manifest",
            &|out| fs::write(newest(out).folder.join("manifest.json"), "{}").unwrap(),
            6,
            "not the one the ledger has",
        ),
        (
            "latest",
            &|out| fs::remove_file(out.join("latest.json")).unwrap(),
            6,
            "names no run",
        ),
        (
            "folder",
            &|out| fs::remove_dir_all(newest(out).folder).unwrap(),
            6,
            "its folder is not there",
        ),
        (
            "leftover",
            &|out| fs::create_dir(out.join("runs/.x.unfinished")).unwrap(),
            0,
            "the next run removes it",
        ),
    ];
    for (name, damage, code, says) in cases {
        let out = steps.out(name);
        damage(&out);
        let before = files_of(&out);
        let said = pitwatch(&[&"doctor", &out]).expect(code);
        assert!(said.stdout.contains(says), "{name}: {}", said.stdout);
        assert_eq!(
            files_of(&out).keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        run(&steps.old, &out).expect(0);
        pitwatch(&[&"doctor", &out]).expect(0);
        assert_eq!(latest(&out).run_id, run_id);
    }
    pitwatch(&[&"doctor", &steps.mirror.folder().join("nowhere")]).expect(3);
}

#[test]
fn the_description_of_the_events_names_every_type_and_its_schema() {
    let text = fs::read_to_string(path("docs/asyncapi.yaml")).unwrap();
    let document = &YamlLoader::load_from_str(&text).unwrap()[0];
    assert_eq!(document["asyncapi"].as_str(), Some("3.0.0"));
    let messages = document["components"]["messages"].as_hash().unwrap();
    let channel = document["channels"]["events"]["messages"]
        .as_hash()
        .unwrap();
    assert_eq!(
        messages.keys().collect::<Vec<_>>(),
        channel.keys().collect::<Vec<_>>()
    );
    let mut named = BTreeSet::new();
    for message in messages.values() {
        let name = message["name"].as_str().unwrap();
        let schema = message["payload"]["schema"]["$ref"].as_str().unwrap();
        let schema = fs::read_to_string(path("docs").join(schema)).unwrap();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        assert_eq!(schema["properties"]["type"]["const"], name);
        named.insert(name.to_owned());
    }
    let all = pitwatch_report::EventType::ALL.map(|event_type| event_type.name().to_owned());
    assert_eq!(named, BTreeSet::from(all));
    assert_eq!(
        fs::read_dir(path("docs/schemas")).unwrap().count(),
        named.len()
    );
    let document = fs::read_to_string(path("docs/events.md")).unwrap();
    assert!(named.iter().all(|name| document.contains(name.as_str())));
}
