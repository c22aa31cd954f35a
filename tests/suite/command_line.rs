//! What the command line promises: help, exit codes, data on standard output, nothing written that was not asked for.

use std::fs;
use std::path::Path;

use pitwatch_tests::{Mirror, break_blocks, copy_folder, only_run, pitwatch};
use serde_json::Value;

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in ["run", "plan", "validate", "completions"] {
        let help = pitwatch(&[&command, &"--help"]).expect(0);
        assert!(help.stdout.contains("Example"), "{command}");
        assert!(
            help.stdout.contains(&format!("pitwatch {command} ")),
            "{command}"
        );
    }
    let help = pitwatch(&[&"--help"]).expect(0).stdout;
    for code in ["0 ", "2 ", "3 ", "4 ", "5 ", "6 ", "10 ", "75 ", "130 "] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(code)),
            "{code}"
        );
    }
}

#[test]
fn completions_and_version_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        let script = pitwatch(&[&"completions", &shell]).expect(0);
        assert!(script.stdout.contains("memory-limit"), "{shell}");
    }
    assert!(
        pitwatch(&[&"--version"])
            .expect(0)
            .stdout
            .starts_with("pitwatch 0.")
    );
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    for flags in [
        ["--monitor-from", "yesterday"],
        ["--monitor-from", "2021-13-01"],
        ["--no-such-flag", "1"],
        ["--cell-size", "15"],
        ["--cell-size", "9000"],
        ["--jobs", "0"],
        ["--memory-limit", "5 parsecs"],
        ["--since", "yesterday"],
    ] {
        let finished =
            pitwatch(&[&"run", &pipeline, &"--out", &out, &flags[0], &flags[1]]).expect(2);
        assert!(finished.stderr.contains(flags[0]), "{}", finished.stderr);
    }
    pitwatch(&[&"run", &pipeline]).expect(2).says("--out");
    pitwatch(&[&"dig"]).expect(2);
    assert!(!out.exists());
}

#[test]
fn plan_and_dry_run_write_nothing() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    let before = entries(&mirror);
    let plan = pitwatch(&[&"plan", &pipeline]).expect(0);
    assert!(
        plan.stdout.contains("71 (51 history, 20 monitoring)"),
        "{}",
        plan.stdout
    );
    let json = pitwatch(&[&"plan", &pipeline, &"--json"]).expect(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[0]["n_scenes"], 71);
    assert_eq!(json[0]["n_files_to_read"], 71 * 7);
    assert_eq!(json[0]["rasters"].as_array().unwrap().len(), 8);
    let dry = pitwatch(&[&"run", &pipeline, &"--out", &out, &"--dry-run"]).expect(0);
    assert_eq!(dry.stdout, plan.stdout);
    assert_eq!(entries(&mirror), before);
    // What the plan names is what a run writes.
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    let files = only_run(&out).files();
    for raster in json[0]["rasters"].as_array().unwrap() {
        assert!(files.contains_key(raster.as_str().unwrap()), "{raster}");
    }
}

fn entries(mirror: &Mirror) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(mirror.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn new_alerts_show_in_the_exit_code_once() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    let run = || pitwatch(&[&"run", &pipeline, &"--out", &out, &"--exit-code", &"--json"]);
    let json: Value = serde_json::from_str(&run().expect(10).stdout).unwrap();
    assert_eq!(
        (&json["n_alerts"], &json["n_new_alerts"]),
        (&1.into(), &1.into())
    );
    let json: Value = serde_json::from_str(&run().expect(0).stdout).unwrap();
    assert_eq!(
        (&json["n_alerts"], &json["n_new_alerts"]),
        (&1.into(), &0.into())
    );
}

/// What could not be read may be readable now, so a run with failures is never "nothing new".
#[test]
fn since_last_tries_again_what_failed() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    break_blocks(&mirror.file(60, "B04.tif"));
    for _ in 0..2 {
        let run = pitwatch(&[&"run", &pipeline, &"--out", &out, &"--since", &"last"]).expect(4);
        assert!(
            !run.stdout.contains("is published already"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn since_last_does_nothing_on_an_unchanged_mirror() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    let run = || pitwatch(&[&"run", &pipeline, &"--out", &out, &"--since", &"last"]).expect(0);
    run();
    let published = only_run(&out);
    let manifest = published.folder.join("manifest.json");
    let time = || {
        [&published.folder, &manifest].map(|path| fs::metadata(path).unwrap().modified().unwrap())
    };
    let (before, text) = (time(), fs::read(&manifest).unwrap());
    let again = run();
    assert!(
        again.stdout.contains("is published already"),
        "{}",
        again.stdout
    );
    assert_eq!(time(), before);
    assert_eq!(fs::read(&manifest).unwrap(), text);
    let mut left: Vec<_> = fs::read_dir(out.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [published.folder.file_name().unwrap()]);

    // A newer look is a reason to run.
    fs::copy(mirror.file(69, "B04.tif"), mirror.file(70, "B04.tif")).unwrap();
    assert!(!run().stdout.contains("is published already"));
}

#[test]
fn data_go_to_standard_output_and_messages_to_standard_error() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    fs::write(mirror.file(3, "item.json"), "{").unwrap();
    let finished = pitwatch(&[&"-v", &"run", &pipeline, &"--out", &out, &"--json"]).expect(4);
    let json: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(json["failed"].as_array().unwrap().len(), 1);
    assert!(!finished.stderr.is_empty());
    // No colors and no progress bars where nobody looks.
    assert!(!finished.stderr.contains('\u{1b}') && !finished.stdout.contains('\u{1b}'));
    let quiet = pitwatch(&[&"--quiet", &"plan", &pipeline]).expect(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn validate_tells_an_output_that_was_changed() {
    let mirror = Mirror::savanna();
    let (pipeline, out) = (mirror.pipeline(&[]), mirror.out());
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    let run = only_run(&out);
    let whole = mirror.folder().join("whole");
    copy_folder(&out, &whole);
    pitwatch(&[&"validate", &whole, &pipeline, &mirror.catalog()]).expect(0);
    let name = run.folder.file_name().unwrap().to_owned();
    let mut wrong = Vec::new();
    type Change<'a> = &'a dyn Fn(&Path);
    let changes: [(&str, &str, Change); 6] = [
        (
            "a changed pixel",
            "rasters/savanna_32630_state.tif",
            &|path| {
                let mut bytes = fs::read(path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(path, bytes).unwrap();
            },
        ),
        ("a changed alert", "alerts.geojson", &|path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.replace("confirmed", "dismissed")).unwrap();
        }),
        ("a missing file", "looks.csv", &|path| {
            fs::remove_file(path).unwrap()
        }),
        ("a cut manifest", "manifest.json", &|path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, &text[..text.len() / 2]).unwrap();
        }),
        ("a changed manifest", "manifest.json", &|path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, text.replace("Synthetic", "Authentic")).unwrap();
        }),
        ("a cut latest.json", "../../latest.json", &|path| {
            fs::write(path, "{").unwrap()
        }),
    ];
    for (index, (what, file, change)) in changes.into_iter().enumerate() {
        let copy = mirror.folder().join(index.to_string());
        copy_folder(&whole, &copy);
        change(&copy.join("runs").join(&name).join(file));
        let verdict = pitwatch(&[&"validate", &copy]);
        if verdict.code != Some(6) {
            wrong.push(format!(
                "{what}: exit {:?}: {}",
                verdict.code, verdict.stdout
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let json = pitwatch(&[
        &"validate",
        &whole,
        &mirror.folder().join("absent"),
        &"--json",
    ])
    .expect(3);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json[0]["is_valid"], &json[1]["is_valid"]),
        (&true.into(), &false.into())
    );
}
