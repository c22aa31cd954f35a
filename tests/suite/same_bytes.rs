//! The same mirror and pipeline file give the same bytes, however the work is cut, and through a kill.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use pitwatch_tests::{
    Mirror, Run, Spec, copy_folder, difference, latest, only_run, path, pitwatch, start,
};

/// Runs with further flags into a folder of its own.
fn run(pipeline: &Path, out: &Path, flags: &[&str]) -> Run {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"run", &pipeline, &"--out", &out];
    for flag in flags {
        arguments.push(flag);
    }
    pitwatch(&arguments).expect(0);
    only_run(out)
}

fn assert_same(a: &Run, b: &Run, what: &str) {
    assert_eq!(difference(a, b), Vec::<String>::new(), "{what}");
    assert_eq!(a.folder.file_name(), b.folder.file_name(), "{what}");
}

#[test]
fn a_rerun_gives_the_same_bytes() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let first = run(&pipeline, &mirror.folder().join("a"), &[]);
    let second = run(&pipeline, &mirror.folder().join("b"), &[]);
    assert_same(&first, &second, "another folder");
    let files = first.files();
    let again = run(&pipeline, &mirror.folder().join("a"), &[]);
    assert_eq!(again.files(), files, "the same folder");
}

#[test]
fn threads_cells_and_memory_move_no_byte() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[("all", &mirror.polygon([0.01, 0.01, 0.99, 0.99]))]);
    let expected = run(
        &pipeline,
        &mirror.folder().join("expected"),
        &["--jobs", "1"],
    );
    for flags in [
        &["--jobs", "2"][..],
        &["--jobs", "7", "--cell-size", "16"],
        &["--cell-size", "128"],
        &["--cell-size", "64", "--jobs", "2"],
        &["--cell-size", "32", "--jobs", "1"],
        &["--cell-size", "37"],
        &["--memory-limit", "64GiB"],
    ] {
        let out = mirror.folder().join(flags.join(""));
        assert_same(&run(&pipeline, &out, flags), &expected, &flags.join(" "));
    }
}

#[test]
fn the_least_memory_that_is_accepted_gives_the_same_bytes() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let expected = run(&pipeline, &mirror.folder().join("expected"), &[]);
    let out = mirror.folder().join("least");
    let refused = pitwatch(&[
        &"run",
        &pipeline,
        &"--out",
        &out,
        &"--memory-limit",
        &"1MiB",
    ])
    .expect(3)
    .says("--memory-limit is too small");
    // The message names the least size.
    let words: Vec<&str> = refused.stderr.split_whitespace().collect();
    let place = words.iter().position(|&word| word == "MiB").unwrap();
    let least: u64 = words[place - 1].parse().unwrap();
    assert!(!out.join("latest.json").exists());
    let limit = format!("{}MiB", least - 2);
    pitwatch(&[&"run", &pipeline, &"--out", &out, &"--memory-limit", &limit]).expect(3);
    let limit = format!("{least}MiB");
    assert_same(
        &run(&pipeline, &out, &["--memory-limit", &limit]),
        &expected,
        &limit,
    );
}

#[test]
fn the_demos_pits_are_the_same_in_cells_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(path("pipelines/demo.toml")).unwrap();
    let (start, rest) = text.split_once("[[areas]]\nid = \"demo-forest\"").unwrap();
    let rest = &rest[rest.find("[[areas]]").unwrap()..];
    let text = format!("{start}{rest}")
        .replace("../aoi", path("aoi").to_str().unwrap())
        .replace("demo/pits", path("pipelines/demo/pits").to_str().unwrap());
    let pipeline = folder.path().join("pits.toml");
    fs::write(&pipeline, text).unwrap();
    let expected = run(&pipeline, &folder.path().join("512"), &[]);
    for size in ["16", "32", "128", "256"] {
        let out = folder.path().join(size);
        assert_same(
            &run(&pipeline, &out, &["--cell-size", size]),
            &expected,
            size,
        );
    }
}

#[test]
fn the_order_of_items_in_the_catalog_moves_no_byte() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let expected = run(&pipeline, &mirror.folder().join("a"), &[]);
    mirror.edit_catalog(|catalog| {
        let links = catalog["links"].as_array_mut().unwrap();
        links.reverse();
        links.rotate_left(17);
    });
    let turned = run(&pipeline, &mirror.folder().join("b"), &[]);
    assert_same(&turned, &expected, "links in another order");
}

#[test]
fn a_mirror_and_its_pipeline_may_be_moved() {
    let mirror = Mirror::savanna();
    // A scene that fails, so that reasons that name files are compared as well.
    fs::remove_file(mirror.file(9, "B08.tif")).unwrap();
    fs::write(mirror.file(12, "item.json"), "{").unwrap();
    let pipeline = mirror.pipeline(&[("all", &mirror.polygon([0.1, 0.1, 0.9, 0.9]))]);
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("with a space/and é");
    copy_folder(mirror.folder(), &moved);
    let runs = [pipeline, moved.join("pipeline.toml")].map(|pipeline| {
        let out = pipeline.with_file_name("out");
        pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(4);
        only_run(&out)
    });
    assert_same(&runs[0], &runs[1], "another folder");
}

#[test]
fn whatever_moves_a_byte_moves_the_name_of_the_run() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let first = run(&pipeline, &mirror.folder().join("0"), &[]);
    let edits: [(&str, &dyn Fn()); 4] = [
        ("an item's cloud cover", &|| {
            mirror.edit_item(3, |item| {
                item["properties"]["eo:cloud_cover"] = 1.25.into();
            });
        }),
        ("the notice", &|| {
            mirror.edit_catalog(|catalog| {
                catalog["pitwatch:notice"] = "Another notice".into();
            });
        }),
        ("one pixel file", &|| {
            fs::copy(mirror.file(5, "B04.tif"), mirror.file(6, "B04.tif")).unwrap();
        }),
        ("an item that is left out by rule", &|| {
            mirror.edit_item(8, |item| {
                item["properties"]["processing:level"] = "L1C".into();
            });
        }),
    ];
    let mut before = first;
    let mut wrong = Vec::new();
    for (index, (what, edit)) in edits.into_iter().enumerate() {
        edit();
        let after = run(
            &pipeline,
            &mirror.folder().join((index + 1).to_string()),
            &[],
        );
        let changed = difference(&before, &after);
        if !changed.is_empty() && before.folder.file_name() == after.folder.file_name() {
            wrong.push(format!("{what}: {changed:?}"));
        }
        before = after;
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Checks what a reader may rely on at any moment.
fn check_published(out: &Path) {
    let Ok(entries) = fs::read_dir(out.join("runs")) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
            let manifest = pitwatch_report::Manifest::from_json(&manifest).unwrap();
            for file in manifest.files {
                let size = fs::metadata(path.join(&file.path)).unwrap().len();
                assert_eq!(size, file.bytes, "{name}/{}", file.path);
            }
        }
    }
    if out.join("latest.json").exists() {
        let latest = latest(out);
        let folder = out.join(&latest.path);
        Run { folder }.check(&latest);
    }
}

#[test]
fn a_run_that_was_killed_is_completed_by_the_next_with_the_same_bytes() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let older = mirror.folder().join("older.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&older, text.replace("2021-07-01", "2021-08-01")).unwrap();
    // What a run tells rests on what the run before told.
    let whole_out = mirror.folder().join("expected");
    pitwatch(&[&"run", &older, &"--out", &whole_out]).expect(0);
    let began = Instant::now();
    pitwatch(&[&"run", &pipeline, &"--out", &whole_out]).expect(0);
    let whole = began.elapsed();
    let folder = whole_out.join(latest(&whole_out).path);
    let expected = Run { folder };
    let out = mirror.folder().join("killed");
    pitwatch(&[&"run", &older, &"--out", &out]).expect(0);
    let published = latest(&out);
    let mut n_killed = 0;
    for part in 1..=7 {
        let mut child = start(&[&"run", &pipeline, &"--out", &out, &"--cell-size", &"16"]);
        sleep(whole.mul_f64(f64::from(part) / 6.0));
        // SIGKILL on Unix: no destructor runs.
        child.kill().unwrap();
        n_killed += i32::from(!child.wait().unwrap().success());
        check_published(&out);
        if !expected_is_published(&out, &expected) {
            assert_eq!(latest(&out), published);
        }
    }
    assert!(n_killed >= 3, "{n_killed} runs of {whole:?} were killed");
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    check_published(&out);
    let folder = out.join(latest(&out).path);
    assert_same(&Run { folder }, &expected, "after kills");
    let left: Vec<_> = fs::read_dir(out.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty() && !out.join(".work").exists(), "{left:?}");
}

fn expected_is_published(out: &Path, expected: &Run) -> bool {
    Some(latest(out).run_id.as_str()) == expected.folder.file_name().and_then(|name| name.to_str())
}

#[test]
fn a_rerun_that_is_killed_leaves_the_published_run_valid() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let out = mirror.out();
    let began = Instant::now();
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    let whole = began.elapsed();
    for part in [5, 9, 10, 11, 12, 13, 14] {
        let mut child = start(&[&"run", &pipeline, &"--out", &out]);
        sleep(whole.mul_f64(f64::from(part) / 13.0));
        child.kill().unwrap();
        child.wait().unwrap();
        check_published(&out);
    }
}

#[test]
fn a_second_run_into_the_same_folder_is_turned_away() {
    let mirror = Mirror::new(Spec {
        id: "savanna",
        ..Spec::default()
    });
    let pipeline = mirror.pipeline(&[]);
    let out = mirror.out();
    fs::create_dir_all(&out).unwrap();
    // The lock of a run that is still at work.
    let lock = fs::File::create(out.join(".lock")).unwrap();
    lock.lock().unwrap();
    pitwatch(&[&"run", &pipeline, &"--out", &out])
        .expect(75)
        .says("held by another run");
    drop(lock);
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);

    // Two at once: one publishes, the other is turned away or comes after it.
    let children = [(); 2].map(|()| start(&[&"run", &pipeline, &"--out", &out]));
    let mut codes = children.map(|child| child.wait_with_output().unwrap().status.code());
    codes.sort_unstable();
    assert!(
        codes == [Some(0), Some(75)] || codes == [Some(0), Some(0)],
        "{codes:?}"
    );
    let _ = only_run(&out);
}
