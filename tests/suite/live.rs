//! Areas whose scenes lie behind servers: what is looked at, and the proof of it.

#![expect(
    clippy::print_stdout,
    reason = "the numbers that docs/benchmarks.md gives"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pitwatch_tests::{Case, Form, World, day, difference, only_run, table};

const NORTH: &str = "pipelines/cote-divoire-north.toml";

/// Numbers that look random, from a seed (xorshift64*; Vigna, 2016, <https://doi.org/10.1145/2845077>).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }
}

#[test]
fn a_third_of_the_scenes_is_taken_away_and_missed() {
    let world = World::small(60);
    let case = Case::new(&[&world], &[Form::EarthSearch], NORTH);
    // The period is the world's: of the time before and after nothing is to be said.
    let last = world.spec.day(59);
    case.edit(
        "history_from = \"2021-11-01\"",
        &format!("history_from = \"2024-01-03\"\nmonitor_until = \"{last}\""),
    );
    case.edit(
        "monitor_from = \"2024-11-01\"",
        "monitor_from = \"2024-08-01\"",
    );
    let mut items = Vec::new();
    case.live.catalogs["earth-search"].edit(|all| items.clone_from(all));
    let mut n_removed = 0;
    let (mut n_listed, mut n_invented) = (0, 0);
    for seed in 1..=2 {
        let mut dice = Dice(seed * 7919);
        let mut removed = BTreeSet::new();
        case.live.catalogs["earth-search"].edit(|all| {
            all.clone_from(&items);
            while removed.len() < items.len() / 3 {
                let index = usize::try_from(dice.below(items.len() as u64)).unwrap();
                let item = &items[index];
                let text = |pointer: &str| item.pointer(pointer).unwrap().as_str().unwrap();
                removed.insert((
                    text("/properties/datetime")[..10].to_owned(),
                    text("/properties/platform").to_owned(),
                    text("/properties/grid:code")[5..].to_owned(),
                ));
                all.retain(|other| other["id"] != item["id"]);
            }
        });
        let out = case.folder().join(format!("out-{seed}"));
        let _ = fs::remove_dir_all(case.mirror());
        let finished = case.run("run", &["--out", out.to_str().unwrap()]).expect(0);
        let run = only_run(&out);
        let looks = table(&fs::read_to_string(run.folder.join("looks.csv")).unwrap());
        let listed: BTreeSet<_> = looks
            .iter()
            .filter(|look| look["found"] == "false" && look["expected"] == "yes")
            .inspect(|look| {
                assert!(
                    look["reason"].starts_with("expected, not found"),
                    "{look:?}"
                )
            })
            .map(|look| {
                (
                    look["datetime"][..10].to_owned(),
                    look["platform"].clone(),
                    look["tile"].clone(),
                )
            })
            .collect();
        n_removed += removed.len();
        n_listed += removed.intersection(&listed).count();
        n_invented += listed.difference(&removed).count();
        assert_eq!(looks.len(), 120, "seed {seed}");
        let calendar = pitwatch_tests::pitwatch(&[&"looks", &out]).expect(0);
        assert!(calendar.stdout.contains('x'), "{}", calendar.stdout);
        let n_missing = format!("{} more expected and not found", listed.len());
        assert!(finished.stdout.contains(&n_missing), "{}", finished.stdout);
    }
    println!(
        "{n_removed} of 240 scenes removed: {n_listed} listed as expected and not found, {n_invented} invented"
    );
    assert!(
        n_listed * 100 >= n_removed * 99,
        "{n_listed} of {n_removed}"
    );
    assert!(n_invented * 100 <= n_removed, "{n_invented} of {n_removed}");
}

#[test]
fn a_plan_tells_what_fetching_then_takes() {
    let world = World::small(24);
    let case = Case::new(&[&world], &[Form::EarthSearch], NORTH);
    case.live.server.set_latency(Duration::from_millis(5));
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let planned = json(&case.run("plan", &["--json"]).expect(0).stdout);
    assert!(!case.mirror().exists(), "a plan writes nothing");
    let plan = &planned[0]["fetch"];
    let fetched = json(&case.run("fetch", &["--json"]).expect(0).stdout);
    let size: usize = case
        .mirrored()
        .iter()
        .filter(|(name, _)| name.ends_with(".tif"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(plan["n_scenes_to_fetch"], 48);
    for (what, planned, taken, tolerance) in [
        (
            "requests",
            number(&plan["n_requests"]),
            number(&fetched[0]["n_requests"]),
            0.1,
        ),
        (
            "bytes",
            number(&plan["n_bytes"]),
            number(&fetched[0]["n_bytes"]),
            0.1,
        ),
        // Blocks are taken to be as dense everywhere as where the area is; here all they have lies in the area.
        ("disk", number(&plan["n_bytes_on_disk"]), size as f64, 0.7),
    ] {
        assert!(
            (planned / taken - 1.0).abs() < tolerance,
            "{what}: {planned} planned, {taken} taken"
        );
    }
    assert!(plan["duration_seconds"].as_u64().is_some());
    let text = case.run("plan", &[]).expect(0).stdout;
    assert!(
        text.contains("would fetch 0 scenes; 48 are in the mirror"),
        "{text}"
    );
    let text = case.run("plan", &["--offline"]).expect(0).stdout;
    assert!(text.contains("would read"), "{text}");
}

#[test]
fn scenes_that_are_published_late_join_whenever_they_were_taken() {
    let world = World::small(6);
    let case = Case::new(&[&world], &[Form::EarthSearch], NORTH);
    let catalog = &case.live.catalogs["earth-search"];
    let _ = case.run("fetch", &[]).expect(0);
    let whole = case.mirrored();
    fs::remove_dir_all(case.mirror()).unwrap();
    // The second look is published after the last; the third is published again.
    let mut late = Vec::new();
    catalog.edit(|items| late = items.drain(2..4).collect());
    let _ = case.run("fetch", &[]).expect(0);
    assert!(case.mirrored().len() < whole.len());
    catalog.edit(|items| items.splice(2..2, late).for_each(drop));
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stdout.contains("2 fetched, 10 were there"),
        "{}",
        finished.stdout
    );
    assert!(case.mirrored() == whole);
    catalog.edit(|items| {
        items[4]["properties"]["updated"] = "2024-06-01T00:00:00Z".into();
    });
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stdout.contains("1 fetched, 11 were there"),
        "{}",
        finished.stdout
    );
}

/// Number of files under a folder that a process may be writing to, its lock and what is half written apart.
fn count(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.path() {
            path if path.is_dir() => count(&path),
            path => usize::from(path.extension().is_some_and(|extension| extension != "tmp")),
        })
        .sum()
}

#[test]
fn a_fetch_killed_anywhere_goes_on_to_the_same_bytes() {
    let world = World::small(6);
    let case = Case::new(&[&world], &[Form::EarthSearch], NORTH);
    let _ = case.run("fetch", &[]).expect(0);
    let whole = case.mirrored();
    fs::remove_dir_all(case.mirror()).unwrap();
    // Slow enough to be hit in the middle.
    case.live.server.set_latency(Duration::from_millis(4));
    let mut dice = Dice(20_251_125);
    let (mut n_kills, mut n_partial) = (0, 0);
    while n_kills < 40 {
        let _ = fs::remove_dir_all(case.mirror());
        // Five kills on one mirror, each after more files than the one before; times would depend on the machine.
        let mut n_files = 0;
        for _ in 0..5 {
            n_files += dice.below(whole.len() as u64 / 4) as usize;
            let mut child = case
                .command("fetch", &["--connections", "4"])
                .spawn()
                .unwrap();
            while count(&case.mirror()) < n_files && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(dice.below(20)));
            let was_running = child.try_wait().unwrap().is_none();
            child.kill().unwrap();
            let _ = child.wait().unwrap();
            if was_running {
                n_kills += 1;
                let files = case.mirrored();
                n_partial += usize::from(!files.is_empty() && files.len() < whole.len());
            }
        }
        let _ = case.run("fetch", &[]).expect(0);
        let files = case.mirrored();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            whole.keys().collect::<Vec<_>>(),
            "after {n_kills} kills"
        );
        assert!(files == whole, "after {n_kills} kills");
    }
    println!(
        "{n_kills} kills, {n_partial} of them in the middle; made whole after every five, each time with the same bytes"
    );
    assert!(n_partial >= 10, "{n_partial} of {n_kills} hit the middle");
    let verify = pitwatch_tests::pitwatch(&[&"mirror", &"verify", &case.mirror()]).expect(0);
    assert!(verify.stdout.contains("0 damaged"), "{}", verify.stdout);
}

/// Runs a pipeline over worlds behind all three sources, and checks that the result is complete: every pit found, none
/// invented, every date accounted for, and the same without a network.
fn complete(worlds: &[World], model: &str) {
    let worlds: Vec<&World> = worlds.iter().collect();
    // All three sources answer; the first has everything.
    let empty = [Form::PlanetaryComputer, Form::Cdse];
    let case = Case::with(&worlds, &[Form::EarthSearch], &empty, model);
    // The pipeline file as it stands, over its full areas, is planned.
    let mirror = case.mirror();
    let full = pitwatch_tests::pitwatch(&[
        &"plan",
        &model,
        &"--sources",
        &case.sources,
        &"--mirror",
        &mirror,
    ])
    .expect(0);
    println!("{model}: {}", full.stdout);
    for what in ["requests  ", "bytes  ", "on disk", "time  "] {
        let n_areas = full.stdout.matches(what).count();
        assert_eq!(n_areas, worlds.len(), "{what}: {}", full.stdout);
    }
    let out = case.folder().join("out");
    let finished = case.run("run", &["--out", out.to_str().unwrap()]).expect(0);
    println!("{}", finished.stdout);
    for world in &worlds {
        assert!(
            finished.stderr.contains(world.spec.id),
            "{}",
            finished.stderr
        );
    }
    let run = only_run(&out);
    let looks = table(&fs::read_to_string(run.folder.join("looks.csv")).unwrap());
    let alerts: serde_json::Value =
        serde_json::from_slice(&fs::read(run.folder.join("alerts.geojson")).unwrap()).unwrap();
    let alerts = alerts["features"].as_array().unwrap();
    for world in &worlds {
        let id = world.spec.id;
        // A tile of the other area reaches over this one's, as tiles of two zones do.
        let own: BTreeSet<&str> = world.tiles.iter().map(|tile| tile.name).collect();
        let of_area: Vec<_> = looks
            .iter()
            .filter(|look| look["area_id"] == id && own.contains(look["tile"].as_str()))
            .collect();
        let known: BTreeSet<&str> = of_area
            .iter()
            .filter(|look| look["found"] == "true")
            .map(|look| &look["datetime"][..10])
            .collect();
        assert_eq!(
            known.len(),
            world.spec.n_looks,
            "{id}: every date is listed"
        );
        assert!(known.len() >= 60);
        let tiles: BTreeSet<&str> = of_area
            .iter()
            .filter(|look| look["used"] == "true")
            .map(|look| look["tile"].as_str())
            .collect();
        assert_eq!(tiles.len(), 2, "{id}: both tiles are used");
        // Outside the world's time passes are expected at most thirty days away.
        for look in of_area
            .iter()
            .filter(|look| look["expected"] == "yes" && look["found"] == "false")
        {
            let date = day(&look["datetime"][..10]);
            let (first, last) = (world.spec.day(0), world.spec.day(world.spec.n_looks - 1));
            let is_near = (first.0 - 30..first.0).contains(&date.0)
                || (last.0 + 1..=last.0 + 30).contains(&date.0);
            assert!(is_near, "{id}: {look:?}");
        }
        let confirmed: Vec<_> = alerts
            .iter()
            .filter(|alert| alert["properties"]["area_id"] == id)
            .collect();
        assert_eq!(confirmed.len(), world.spec.pits.len(), "{id}");
        let area_ha: f64 = confirmed
            .iter()
            .map(|alert| alert["properties"]["area_ha"].as_f64().unwrap())
            .sum();
        let truth: f64 = world
            .spec
            .pits
            .iter()
            .map(pitwatch_tests::Pit::area_ha)
            .sum();
        assert!(
            (area_ha / truth - 1.0).abs() < 0.1,
            "{id}: {area_ha} ha of {truth} ha"
        );
    }
    // Without a network, from the mirror alone: the same bytes.
    let offline = case.folder().join("offline");
    let requests = case.live.server.counts().n_requests;
    let _ = case
        .run("run", &["--offline", "--out", offline.to_str().unwrap()])
        .expect(0);
    assert_eq!(
        case.live.server.counts().n_requests,
        requests,
        "it used the network"
    );
    assert_eq!(difference(&run, &only_run(&offline)), Vec::<String>::new());
}

#[test]
fn northern_cote_divoire_runs_to_a_complete_result() {
    complete(&[World::seguela(), World::tortiya()], NORTH);
}

#[test]
fn marange_runs_to_a_complete_result() {
    complete(&[World::marange()], "pipelines/marange.toml");
}
