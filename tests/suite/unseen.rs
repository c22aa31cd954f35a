//! Cloud, failure and absence stay distinct, and none of them is "no change".

use pitwatch_tests::{Mirror, Raster, Run, break_blocks, clouded, only_run, pitwatch};

/// Codes of the `state` raster.
const SHORT_HISTORY: f64 = 6.0;
const CLOUDED: f64 = 7.0;
const NOT_ACQUIRED: f64 = 8.0;
const READ_FAILED: f64 = 9.0;

/// Checks that pixels of a state carry no date and no probability.
fn says_nothing(run: &Run, prefix: &str, state: &Raster, code: f64) {
    let of = |name: &str| run.raster(&format!("{prefix}_{name}"));
    let rasters = [of("alert_date"), of("confirmed_date"), of("confidence")];
    for (index, _) in (0..)
        .zip(&state.values)
        .filter(|(_, value)| **value == code)
    {
        assert_eq!(rasters[0].values[index], -1.0);
        assert_eq!(rasters[1].values[index], -1.0);
        assert!(rasters[2].values[index].is_nan());
    }
}

#[test]
fn ground_outside_every_scene_is_not_acquired() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[("half", &mirror.polygon([0.5, 0.2, 1.5, 0.8]))]);
    let out = mirror.out();
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    let run = only_run(&out);
    let state = run.raster("half_32630_state");
    let n = |code: f64| state.values.iter().filter(|&&value| value == code).count();
    assert!(
        n(NOT_ACQUIRED) > state.values.len() / 3,
        "{}",
        n(NOT_ACQUIRED)
    );
    assert_eq!(n(READ_FAILED) + n(CLOUDED) + n(SHORT_HISTORY), 0);
    says_nothing(&run, "half_32630", &state, NOT_ACQUIRED);
    // What the scenes do cover is judged.
    assert_eq!(run.alerts().len(), 1);
    let summary = run.manifest().summary;
    assert_eq!(
        summary["n_pixels"] - summary["n_pixels_observable"],
        n(NOT_ACQUIRED) as u64
    );
}

#[test]
fn a_period_under_cloud_is_not_observable_and_is_no_failure() {
    let mirror = Mirror::savanna();
    for look in mirror.monitoring() {
        clouded(&mirror, look);
    }
    let out = mirror.out();
    let finished = pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(0);
    assert!(
        finished.stdout.contains("0.0 % of the area"),
        "{}",
        finished.stdout
    );
    let run = only_run(&out);
    let state = run.raster("savanna_32630_state");
    assert!(state.values.iter().all(|&value| value == CLOUDED));
    says_nothing(&run, "savanna_32630", &state, CLOUDED);
    assert!(run.alerts().is_empty());
    assert_eq!(run.manifest().summary["n_pixels_observable"], 0);
    let look = run.look(&mirror.id(mirror.monitoring().start));
    assert_eq!(
        (look["read"].as_str(), look["used"].as_str()),
        ("true", "false")
    );
    assert_eq!(look["clear_share"], "0");
}

#[test]
fn files_that_cannot_be_read_are_failures_with_their_reasons() {
    let mirror = Mirror::savanna();
    // The headers stay whole, the pixels do not.
    for look in mirror.monitoring() {
        break_blocks(&mirror.file(look, "B04.tif"));
    }
    let out = mirror.out();
    pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(4);
    let run = only_run(&out);
    let state = run.raster("savanna_32630_state");
    let n_failed = state
        .values
        .iter()
        .filter(|&&value| value == READ_FAILED)
        .count();
    assert_eq!(n_failed, state.values.len());
    says_nothing(&run, "savanna_32630", &state, READ_FAILED);
    let id = mirror.id(mirror.monitoring().start);
    let look = run.look(&id);
    assert!(look["reason"].contains("unreadable"), "{look:?}");
    let n_told = run
        .manifest()
        .skipped
        .iter()
        .filter(|entry| entry.what.contains(&id) && entry.reason.contains("B04.tif"))
        .count();
    assert_eq!(n_told, 1);
}

#[test]
fn broken_blocks_are_told_the_same_way_however_the_work_is_cut() {
    let mirror = Mirror::savanna();
    let looks = mirror.monitoring();
    for name in ["B03.tif", "B08.tif"] {
        break_blocks(&mirror.file(looks.start + 2, name));
    }
    break_blocks(&mirror.file(4, "B11.tif"));
    let pipeline = mirror.pipeline(&[]);
    let mut runs = Vec::new();
    for size in ["512", "48", "16"] {
        let out = mirror.folder().join(size);
        pitwatch(&[&"run", &pipeline, &"--out", &out, &"--cell-size", &size]).expect(4);
        runs.push(only_run(&out));
    }
    for run in &runs[1..] {
        assert_eq!(
            pitwatch_tests::difference(run, &runs[0]),
            Vec::<String>::new()
        );
        assert_eq!(run.manifest().skipped, runs[0].manifest().skipped);
    }
}

#[test]
fn too_few_looks_before_the_period_are_a_short_history() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let out = mirror.out();
    // Five looks; the model needs twelve.
    let monitor_from = mirror.spec.day(5).to_string();
    pitwatch(&[
        &"run",
        &pipeline,
        &"--out",
        &out,
        &"--monitor-from",
        &monitor_from,
    ])
    .expect(0);
    let run = only_run(&out);
    let state = run.raster("savanna_32630_state");
    assert!(state.values.iter().all(|&value| value == SHORT_HISTORY));
    says_nothing(&run, "savanna_32630", &state, SHORT_HISTORY);
    assert!(run.alerts().is_empty());
}

#[test]
fn a_scene_whose_pixels_contradict_its_metadata_is_quarantined() {
    let mirror = Mirror::savanna();
    let looks = mirror.monitoring();
    let wrong: Vec<usize> = looks
        .clone()
        .filter(|&look| !overcast(&mirror, look))
        .take(1)
        .collect();
    let wrong = wrong[0];
    // The metadata says the offset is applied already, the pixels still hold it.
    mirror.edit_item(wrong, |item| {
        for (_, asset) in item["assets"].as_object_mut().unwrap() {
            if asset.get("raster:bands").is_some() {
                asset["raster:bands"][0]["offset"] = 0.into();
            }
        }
    });
    let out = mirror.out();
    pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(4);
    let run = only_run(&out);
    let id = mirror.id(wrong);
    let look = run.look(&id);
    assert_eq!(look["offset_check"], "contradicts", "{look:?}");
    assert_eq!(look["used"], "false");
    assert!(look["reason"].starts_with("quarantined"), "{look:?}");
    assert_eq!(look["offset_digital_numbers"], "0");
    let reason = run.skipped(&format!("scene {id}")).unwrap();
    assert!(reason.starts_with("quarantined"), "{reason}");
    let others: Vec<_> = run
        .looks()
        .into_iter()
        .filter(|row| row["scene_id"] != id)
        .collect();
    assert!(
        others
            .iter()
            .all(|row| row["offset_check"] != "contradicts")
    );
    let n_agree = others
        .iter()
        .filter(|row| row["offset_check"] == "agrees")
        .count();
    assert!(n_agree > others.len() / 2, "{n_agree} of {}", others.len());
    assert!(
        others
            .iter()
            .all(|row| row["offset_digital_numbers"] == "-1000")
    );
    // What the other looks say stands.
    assert_eq!(run.alerts().len(), 1);
}

fn overcast(mirror: &Mirror, look: usize) -> bool {
    (0..40).any(|row| (0..48).any(|col| mirror.spec.is_cloudy(look, row, col)))
}

#[test]
fn scenes_whose_pixels_agree_are_left_alone() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(0);
    let looks = only_run(&out).looks();
    assert_eq!(looks.len(), mirror.spec.n_looks);
    let n = |check: &str| {
        looks
            .iter()
            .filter(|row| row["offset_check"] == check)
            .count()
    };
    assert_eq!(n("contradicts"), 0);
    assert!(
        n("agrees") > looks.len() / 2,
        "{} of {}",
        n("agrees"),
        looks.len()
    );
    for row in &looks {
        assert!(
            row["href"].starts_with("20"),
            "relative to the catalog: {row:?}"
        );
    }
}
