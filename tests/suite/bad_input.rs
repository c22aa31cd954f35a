//! Every fault of the input gets an exit code and a message that names the file and says what to do, or a recorded skip.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use pitwatch_grid::{Crs, GeoBox, Point, Shape};
use pitwatch_tests::{Finished, Mirror, break_blocks, only_run, pitwatch, pixels};
use serde_json::{Value, json};

fn run(pipeline: &Path, out: &Path, flags: &[&str]) -> Finished {
    let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"run", &pipeline, &"--out", &out];
    for flag in flags {
        arguments.push(flag);
    }
    pitwatch(&arguments)
}

/// Checks that a run that was refused left nothing that looks like a result.
fn nothing_published(out: &Path) {
    assert!(!out.join("latest.json").exists());
    let n_runs = fs::read_dir(out.join("runs")).map_or(0, Iterator::count);
    assert_eq!(n_runs, 0);
}

fn refused(mirror: &Mirror, pipeline: &Path, code: i32, words: &[&str]) {
    let out = mirror.out();
    let finished = run(pipeline, &out, &[]).expect(code);
    for word in words {
        assert!(
            finished.stderr.contains(word),
            "{word:?} is not in: {}",
            finished.stderr
        );
    }
    assert_eq!(finished.stdout, "");
    nothing_published(&out);
}

#[test]
fn a_fault_of_the_pipeline_file_names_file_line_and_remedy() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let good = fs::read_to_string(&pipeline).unwrap();
    for (from, to, words) in [
        ("ridge = 1.0", "rigde = 1.0", &["rigde", "ridge"][..]),
        (
            "ridge = 1.0",
            "ridge = \"much\"",
            &["invalid type", "ridge = \"much\""],
        ),
        (
            "median_looks = 3",
            "median_looks = 3.5",
            &["invalid type", "median_looks"],
        ),
        ("median_looks = 3", "median_looks = 0", &["median_looks"]),
        ("ridge = 1.0", "ridge = -1.0", &["ridge"]),
        ("ridge = 1.0", "ridge = nan", &["ridge"]),
        (
            "max_cloud_cover_percent = 100.0",
            "max_cloud_cover_percent = 100.5",
            &["percentage, 0 to 100"],
        ),
        (
            "site_distance_m = 100.0",
            "site_distance_m = -1.0",
            &["meters, 0 or more"],
        ),
        (
            "monitor_from = \"2021-07-01\"",
            "monitor_from = \"July\"",
            &["monitor_from", "July"],
        ),
        (
            "monitor_from = \"2021-07-01\"",
            "monitor_from = \"2021-02-30\"",
            &["monitor_from", "2021-02-30"],
        ),
        (
            "\"swir22\"]",
            "\"swir23\"]",
            &["swir23", "is no band", "swir22"],
        ),
        ("\"swir22\"]", "\"red\"]", &["stands twice"]),
        ("\"swir16\", ", "", &["needs the band swir16"]),
        (
            "elongation = 0.0000",
            "elongation = 99.0",
            &["least.elongation is 99", "must not be above"],
        ),
        ("\n[sites]", "\n[site]", &["site"]),
        ("step = 0.1\n", "", &["step", "missing"]),
        ("ridge = 1.0", "", &["ridge", "missing"]),
        (
            "catalog = \"mirror/collection.json\"",
            "",
            &["no scenes are named", "catalog = "],
        ),
        (
            "[scenes]",
            "[[areas]]\nid = \"a/b\"\nfile = \"x\"\n[scenes]",
            &["names files", "a/b"],
        ),
        (
            "monitor_from = \"2021-07-01\"",
            "monitor_from = \"2021-07-01\"\nhistory_from = \"2021-08-01\"",
            &["must lie between"],
        ),
        (
            "monitor_from = \"2021-07-01\"",
            "monitor_from = \"2021-07-01\"\nhistory_from = \"2019-01-01\"\nmonitor_until = \"2018-01-01\"",
            &["before it starts"],
        ),
        ("[scenes]", "[scenes", &["TOML parse error"]),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        fs::write(&pipeline, &bad).unwrap();
        println!("{from:?} becomes {to:?}");
        let mut words = words.to_vec();
        words.push("pipeline.toml");
        // What is missing stands on no line, and what is wrong in a list on that of the list.
        let is_a_line = to.contains(" = ") && !to.contains('\n');
        let line = bad
            .lines()
            .position(|line| line.contains(to))
            .map(|line| format!("line {}", line + 1));
        if let Some(line) = line.as_deref().filter(|_| is_a_line) {
            words.push(line);
        }
        refused(&mirror, &pipeline, 3, &words);
        // `validate` says the same.
        let validated = pitwatch(&[&"validate", &pipeline]).expect(3);
        assert!(validated.stdout.contains(words[0]), "{}", validated.stdout);
    }
}

#[test]
fn a_value_that_must_come_from_a_flag_is_asked_for() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    let pipeline = pitwatch_tests::path("pipelines/simbench.toml");
    run(&pipeline, &out, &[]).expect(3).says("--monitor-from");
    run(&pipeline, &out, &["--monitor-from", "2021-07-01"])
        .expect(3)
        .says("--catalog");
    let catalog = mirror.catalog();
    let catalog = catalog.to_str().unwrap();
    run(&pipeline, &out, &["--catalog", catalog])
        .expect(3)
        .says("--monitor-from");
    nothing_published(&out);
    run(
        &pipeline,
        &out,
        &["--catalog", catalog, "--monitor-from", "2021-07-01"],
    )
    .expect(0);
    assert_eq!(only_run(&out).alerts().len(), 1);
}

#[test]
fn files_that_are_not_there_are_named() {
    let mirror = Mirror::savanna();
    let absent = mirror.folder().join("absent.toml");
    refused(&mirror, &absent, 3, &["absent.toml", "cannot read"]);
    let pipeline = mirror.pipeline(&[("a", "{}")]);
    fs::remove_file(mirror.folder().join("a.geojson")).unwrap();
    refused(
        &mirror,
        &pipeline,
        3,
        &["a.geojson", "name an existing GeoJSON file"],
    );
    let pipeline = mirror.pipeline(&[]);
    fs::remove_file(mirror.catalog()).unwrap();
    refused(
        &mirror,
        &pipeline,
        5,
        &["collection.json", "cannot read the catalog"],
    );
}

#[test]
fn a_fault_of_the_area_is_named_with_a_remedy() {
    let mirror = Mirror::savanna();
    let square = |ring: &str| format!(r#"{{"type":"Polygon","coordinates":[[{ring}]]}}"#);
    let cases: [(String, i32, &[&str]); 9] = [
        (
            square("[-5.27,8.90],[-5.26,8.91],[-5.26,8.90],[-5.27,8.91],[-5.27,8.90]"),
            3,
            &["mend it"],
        ),
        (
            square("[250000,985000],[251000,985000],[251000,986000],[250000,985000]"),
            3,
            &["reproject"],
        ),
        (
            square("[-179,0],[179,0],[179,1],[-179,0]"),
            3,
            &["antimeridian"],
        ),
        (
            r#"{"type":"FeatureCollection","features":[]}"#.into(),
            3,
            &["empty"],
        ),
        (
            r#"{"type":"Polygon","coordinates":[]}"#.into(),
            3,
            &["without rings"],
        ),
        (
            r#"{"type":"Point","coordinates":[-5.27,8.9]}"#.into(),
            3,
            &["Polygon"],
        ),
        ("not json".into(), 3, &["is not JSON"]),
        (
            square("[-5.27,8.9],[-5.27,8.9],[-5.27,8.9],[-5.27,8.9]"),
            3,
            &[],
        ),
        (
            mirror.polygon([5.0, 5.0, 6.0, 6.0]),
            5,
            &["outside the area", "collection.json"],
        ),
    ];
    for (text, code, words) in cases {
        let pipeline = mirror.pipeline(&[("a", &text)]);
        let mut words = words.to_vec();
        if code == 3 {
            words.push("a.geojson");
        }
        refused(&mirror, &pipeline, code, &words);
    }
}

#[test]
fn an_area_may_have_a_hole_and_wind_either_way() {
    let mirror = Mirror::savanna();
    let around = mirror.polygon([0.05, 0.05, 0.95, 0.95]);
    let plain = {
        let out = mirror.folder().join("plain");
        run(&mirror.pipeline(&[("a", &around)]), &out, &[]).expect(0);
        only_run(&out)
    };
    let mut json: Value = serde_json::from_str(&around).unwrap();
    json["coordinates"][0].as_array_mut().unwrap().reverse();
    let clockwise = {
        let out = mirror.folder().join("clockwise");
        run(&mirror.pipeline(&[("a", &json.to_string())]), &out, &[]).expect(0);
        only_run(&out)
    };
    assert_eq!(
        plain.files()["alerts.geojson"].len(),
        clockwise.files()["alerts.geojson"].len()
    );
    assert_eq!(
        plain.raster("a_32630_state").values,
        clockwise.raster("a_32630_state").values
    );

    // The hole lies over the pit.
    let hole: Value = serde_json::from_str(&mirror.polygon([0.55, 0.45, 0.8, 0.75])).unwrap();
    json["coordinates"]
        .as_array_mut()
        .unwrap()
        .push(hole["coordinates"][0].clone());
    let out = mirror.folder().join("hole");
    run(&mirror.pipeline(&[("a", &json.to_string())]), &out, &[]).expect(0);
    let holed = only_run(&out);
    assert!(holed.alerts().is_empty());
    let state = holed.raster("a_32630_state");
    let pit = &mirror.spec.pits[0];
    let before = plain.raster("a_32630_state");
    // The area's raster starts a few pixels into the scene's; its size tells by how much.
    let n = |values: &[f64]| values.iter().filter(|&&value| value == 0.0).count();
    assert!(n(&state.values) > n(&before.values) + pit.height * pit.width);
}

#[test]
fn a_catalog_that_gives_no_scene_is_no_source() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let good = fs::read(mirror.catalog()).unwrap();
    for (text, words) in [
        ("{", &["collection.json", "is not JSON"][..]),
        ("[]", &["collection.json", "is not STAC"]),
        (
            "{\"type\":\"Collection\",\"stac_version\":\"1.0.0\",\"links\":[]}",
            &["no items"],
        ),
    ] {
        fs::write(mirror.catalog(), text).unwrap();
        refused(&mirror, &pipeline, 5, words);
    }
    fs::write(mirror.catalog(), good).unwrap();
    // All scenes too cloudy by their metadata.
    for look in 0..mirror.spec.n_looks {
        mirror.edit_item(look, |item| {
            item["properties"]["eo:cloud_cover"] = 99.0.into()
        });
    }
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(
        &pipeline,
        text.replace("cover_percent = 100.0", "cover_percent = 90.0"),
    )
    .unwrap();
    refused(&mirror, &pipeline, 5, &["71 ×", "above the limit of 90 %"]);
    // None can be opened.
    fs::write(&pipeline, text).unwrap();
    for look in 0..mirror.spec.n_looks {
        fs::remove_file(mirror.file(look, "B04.tif")).unwrap();
    }
    refused(&mirror, &pipeline, 5, &["none of the 71 scenes", "B04.tif"]);
}

#[test]
fn a_history_without_looks_is_too_short() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    run(
        &mirror.pipeline(&[]),
        &out,
        &["--monitor-from", "2018-01-01"],
    )
    .expect(3)
    .says("history is too short")
    .says("choose a later day");
    nothing_published(&out);
}

#[test]
fn a_band_that_no_scene_has_is_asked_for() {
    let mirror = Mirror::savanna();
    for look in 0..mirror.spec.n_looks {
        mirror.edit_item(look, |item| {
            item["assets"].as_object_mut().unwrap().remove("B11");
        });
    }
    let out = mirror.out();
    let finished = run(&mirror.pipeline(&[]), &out, &[]);
    assert!(
        matches!(finished.code, Some(3..=5)) && finished.stderr.contains("swir16"),
        "{finished:?}"
    );
}

#[test]
fn bad_scenes_end_no_run_and_are_told_with_their_reasons() {
    let grid = |epsg: u32, shape: Shape, x: f64| {
        let crs = Crs::from_epsg(epsg).unwrap();
        GeoBox::new(crs, Point { x, y: 985_000.0 }, 10.0, shape).unwrap()
    };
    let shape = Shape {
        height: 80,
        width: 96,
    };
    let small = Shape {
        height: 20,
        width: 24,
    };
    let plain = |shape: Shape| vec![2000_u16; shape.n_pixels()];
    type Break<'a> = &'a dyn Fn(&Mirror, usize);
    let red = |mirror: &Mirror, look: usize| mirror.file(look, "B04.tif");
    let cases: [(&str, Break, &str); 15] = [
        (
            "truncated raster",
            &|m, look| {
                let file = File::options().write(true).open(red(m, look)).unwrap();
                file.set_len(file.metadata().unwrap().len() * 6 / 10)
                    .unwrap();
            },
            "truncated",
        ),
        (
            "empty file",
            &|m, look| fs::write(red(m, look), "").unwrap(),
            "B04.tif",
        ),
        (
            "no TIFF",
            &|m, look| fs::write(red(m, look), "<html>404</html>".repeat(40)).unwrap(),
            "no TIFF",
        ),
        (
            "corrupt blocks",
            &|m, look| break_blocks(&red(m, look)),
            "B04.tif",
        ),
        (
            "wrong size",
            &|m, look| pixels(&red(m, look), &grid(32630, small, 250_000.0), &plain(small)),
            "another size",
        ),
        (
            "elsewhere",
            &|m, look| pixels(&red(m, look), &grid(32630, shape, 350_000.0), &plain(shape)),
            "elsewhere",
        ),
        (
            "off the lattice",
            &|m, look| pixels(&red(m, look), &grid(32630, shape, 250_003.0), &plain(shape)),
            "lattice",
        ),
        (
            "wrong CRS",
            &|m, look| pixels(&red(m, look), &grid(32631, shape, 250_000.0), &plain(shape)),
            "EPSG:32631",
        ),
        (
            "floating-point pixels",
            &|m, look| {
                pixels(
                    &red(m, look),
                    &grid(32630, shape, 250_000.0),
                    &vec![0.2_f32; shape.n_pixels()],
                )
            },
            "floating-point",
        ),
        (
            "missing file",
            &|m, look| fs::remove_file(red(m, look)).unwrap(),
            "B04.tif",
        ),
        (
            "missing classes",
            &|m, look| fs::remove_file(m.file(look, "SCL.tif")).unwrap(),
            "SCL.tif",
        ),
        (
            "no classification",
            &|m, look| {
                m.edit_item(look, |item| {
                    item["assets"].as_object_mut().unwrap().remove("SCL");
                })
            },
            "no scene classification",
        ),
        (
            "no geometry",
            &|m, look| m.edit_item(look, |item| item["geometry"] = Value::Null),
            "no geometry",
        ),
        (
            "no time",
            &|m, look| m.edit_item(look, |item| item["properties"]["datetime"] = Value::Null),
            "no time",
        ),
        (
            "broken item",
            &|m, look| fs::write(m.file(look, "item.json"), "{\"type\": \"Feature\",").unwrap(),
            "no STAC item",
        ),
    ];
    let mirror = Mirror::savanna();
    // One look each, none of them under a closed cloud.
    let clear = (5..).filter(|&look| !mirror.spec.is_cloudy(look, 20, 20));
    let broken: Vec<_> = clear
        .zip(cases)
        .map(|(look, case)| (look, mirror.id(look), case))
        .collect();
    for (look, _, (_, break_it, _)) in &broken {
        break_it(&mirror, *look);
    }
    let out = mirror.out();
    let finished = run(&mirror.pipeline(&[]), &out, &[]).expect(4);
    assert!(
        finished.stdout.contains("failed      15"),
        "{}",
        finished.stdout
    );
    let run = only_run(&out);
    let mut wrong = Vec::new();
    for (look, id, (name, _, word)) in &broken {
        let day = mirror.spec.day(*look).to_string().replace('-', "");
        let skipped = run.manifest().skipped;
        let told = skipped.iter().find(|entry| entry.what.contains(&day));
        if !told.is_some_and(|entry| entry.reason.contains(word)) {
            wrong.push(format!("{name}: manifest {told:?}"));
        }
        // An item without a time is no look.
        let is_dated = !matches!(*name, "no time" | "broken item");
        match run.looks().iter().find(|row| row["scene_id"] == *id) {
            Some(row) if is_dated && row["reason"].contains(word) => {}
            None if !is_dated => {}
            row => wrong.push(format!("{name}: looks.csv {row:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(run.manifest().skipped.len(), broken.len());
    // The pit is found all the same.
    assert_eq!(run.alerts().len(), 1);
}

#[test]
fn an_area_without_a_scene_does_not_keep_the_others_from_being_published() {
    let mirror = Mirror::savanna();
    let near = mirror.polygon([0.1, 0.1, 0.9, 0.9]);
    let far = mirror.polygon([5.0, 5.0, 6.0, 6.0]);
    let pipeline = mirror.pipeline(&[("far", &far), ("near", &near)]);
    let out = mirror.out();
    run(&pipeline, &out, &[]).expect(4).says("outside the area");
    let published = only_run(&out);
    assert_eq!(published.alerts().len(), 1);
    assert!(
        published
            .skipped("area far")
            .unwrap()
            .contains("outside the area")
    );
}

#[test]
fn the_id_of_a_catalog_cannot_lead_out_of_the_output_folder() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    for id in ["../../escaped", "a/b", "", "ghana north"] {
        mirror.edit_catalog(|catalog| catalog["id"] = json!(id));
        let out = mirror.out();
        let finished = run(&pipeline, &out, &[]);
        assert!(
            matches!(finished.code, Some(0 | 3 | 5)),
            "{id:?}: {finished:?}"
        );
        if finished.code == Some(0) {
            pitwatch(&[&"validate", &out]).expect(0);
            let run = only_run(&out);
            let n_rasters = run
                .files()
                .keys()
                .filter(|name| name.ends_with(".tif"))
                .count();
            assert_eq!(n_rasters, 8, "{id:?}");
        }
        let _ = fs::remove_dir_all(&out);
        let mut left: Vec<_> = fs::read_dir(mirror.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["mirror", "pipeline.toml"], "{id:?}");
    }
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named() {
    let mirror = Mirror::savanna();
    let out = mirror.folder().join("file");
    fs::write(&out, "").unwrap();
    run(&mirror.pipeline(&[]), &out, &[])
        .expect(3)
        .says("cannot make the output folder");
}
