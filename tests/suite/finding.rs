//! What was dug is found, and nothing else is.

use pitwatch_grid::Day;
use pitwatch_tests::{Mirror, Pit, Spec, day, only_run, pitwatch, revisit};

/// Codes of the `state` raster.
const STABLE: f64 = 1.0;
const CONFIRMED: f64 = 4.0;

fn date(value: &serde_json::Value) -> Day {
    day(&value.as_str().unwrap()[..10])
}

#[test]
fn a_pit_is_found_with_its_place_size_and_date() {
    let mirror = Mirror::savanna();
    let run = {
        let out = mirror.out();
        pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(0);
        only_run(&out)
    };
    let alerts = run.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    let (alert, pit) = (&alerts[0], &mirror.spec.pits[0]);
    assert_eq!(alert["kind"], "excavation");
    assert_eq!(alert["tier"], "confirmed");
    assert_eq!(alert["area_id"], "savanna");
    // One ring of pixels: the bands of 20 m see the ground about an edge as a mixture.
    let area_ha = alert["area_ha"].as_f64().unwrap();
    let ring_ha = |ring: f64| (pit.height as f64 + ring) * (pit.width as f64 + ring) / 100.0;
    assert!(
        ring_ha(-2.0) <= area_ha && area_ha <= ring_ha(2.0),
        "{area_ha} ha"
    );
    assert!(alert["area_ha_lo"].as_f64() < alert["area_ha_hi"].as_f64());

    // The looks on which the pit's ground was seen.
    let clear: Vec<Day> = (0..mirror.spec.n_looks)
        .filter(|&look| {
            !mirror
                .spec
                .is_cloudy(look, pit.row / 2 + 1, pit.col / 2 + 1)
        })
        .map(|look| mirror.spec.day(look))
        .collect();
    let first_after = clear.iter().find(|&&day| day >= pit.opened).unwrap();
    let last_before = clear.iter().rfind(|&&day| day < pit.opened).unwrap();
    let (start, end) = (date(&alert["start_datetime"]), date(&alert["end_datetime"]));
    assert!(
        (start.0 - last_before.0).abs() <= revisit() && (end.0 - first_after.0).abs() <= revisit(),
        "{start} to {end}, not {last_before} to {first_after}"
    );
    assert!(start < end);

    let [state, alert_date, confirmed_date, confidence] =
        ["state", "alert_date", "confirmed_date", "confidence"]
            .map(|name| run.raster(&format!("savanna_32630_{name}")));
    let n_alerted = state
        .values
        .iter()
        .filter(|&&state| state == CONFIRMED)
        .count();
    assert!((n_alerted as f64 - area_ha * 100.0).abs() < 0.5);
    for row in 0..state.height {
        for col in 0..state.width {
            let is_near = (pit.row - 1..=pit.row + pit.height).contains(&row)
                && (pit.col - 1..=pit.col + pit.width).contains(&col);
            if pit.covers(row, col) || !is_near {
                let expected = if is_near { CONFIRMED } else { STABLE };
                assert_eq!(state.at(row, col), expected, "row {row}, column {col}");
            }
            let is_alerted = state.at(row, col) == CONFIRMED;
            let (alerted, confirmed) = (alert_date.at(row, col), confirmed_date.at(row, col));
            if is_alerted {
                // The median of three looks needs two that show it, and waits out the clouds between.
                assert!(alerted >= f64::from(end.0) && confirmed > alerted);
                assert!(confidence.at(row, col) > 0.0);
            } else {
                assert_eq!([alerted, confirmed, confidence.at(row, col)], [0.0; 3]);
            }
        }
    }
    assert!(date(&alert["confirmed_datetime"]) > end);
}

#[test]
fn the_eight_rasters_lie_on_the_grid_of_the_scenes() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    pitwatch(&[&"run", &mirror.pipeline(&[]), &"--out", &out]).expect(0);
    let run = only_run(&out);
    let geobox = mirror.spec.geobox();
    for (name, nodata) in [
        ("state", Some(0.0)),
        ("alert_date", Some(-1.0)),
        ("confirmed_date", Some(-1.0)),
        ("confidence", Some(f64::NAN)),
        ("clear_looks", Some(65_535.0)),
        ("last_clear_date", Some(-1.0)),
        ("before_rgb", Some(0.0)),
        ("after_rgb", Some(0.0)),
    ] {
        let raster = run.raster(&format!("savanna_32630_{name}"));
        assert_eq!((raster.height, raster.width), (80, 96), "{name}");
        assert_eq!(raster.transform, geobox.gdal_transform(), "{name}");
        assert_eq!(raster.epsg, 32630, "{name}");
        assert!(
            raster.nodata == nodata || raster.nodata.is_some_and(f64::is_nan),
            "{name}: {:?}",
            raster.nodata
        );
    }
    assert_eq!(
        run.files()
            .keys()
            .filter(|name| name.ends_with(".tif"))
            .count(),
        8
    );
    for path in [&out, &run.folder, &run.folder.join("alerts.geojson")] {
        pitwatch(&[&"validate", path]).expect(0);
    }
}

#[test]
fn pixels_outside_the_area_are_nodata_in_every_raster() {
    let mirror = Mirror::savanna();
    let out = mirror.out();
    let pipeline = mirror.pipeline(&[("west", &mirror.polygon([0.02, 0.02, 0.45, 0.98]))]);
    pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
    let run = only_run(&out);
    let raster = |name: &str| run.raster(&format!("west_32630_{name}"));
    let state = raster("state");
    let n_outside = state.values.iter().filter(|&&state| state == 0.0).count();
    assert!(n_outside > 0 && n_outside < state.values.len());
    for (name, nodata) in [
        ("alert_date", -1.0),
        ("confirmed_date", -1.0),
        ("last_clear_date", -1.0),
        ("clear_looks", 65_535.0),
    ] {
        for (state, value) in state.values.iter().zip(&raster(name).values) {
            assert_eq!(*state == 0.0, *value == nodata, "{name}");
        }
    }
    for (state, value) in state.values.iter().zip(&raster("confidence").values) {
        assert_eq!(*state == 0.0, value.is_nan());
    }
    assert_eq!(run.alerts(), Vec::<serde_json::Value>::new());
    let manifest = run.manifest();
    assert_eq!(
        manifest.summary["n_pixels"],
        (state.values.len() - n_outside) as u64
    );
}

/// Pits whose pixels lie in up to four cells at each of the cell sizes.
fn crossing() -> Spec {
    let opened = day("2021-10-20");
    let pit = |row, col, height, width| Pit {
        row,
        col,
        height,
        width,
        opened,
    };
    Spec {
        id: "crossing",
        has_clouds: false,
        pits: vec![pit(4, 4, 70, 4), pit(28, 28, 10, 40), pit(58, 60, 12, 12)],
        ..Spec::default()
    }
}

#[test]
fn objects_that_cross_cells_are_joined_and_keep_their_area() {
    let mirror = Mirror::new(crossing());
    let pipeline = mirror.pipeline(&[]);
    let truth: f64 = mirror.spec.pits.iter().map(Pit::area_ha).sum();
    for cell_size in ["512", "32", "16"] {
        let out = mirror.folder().join(cell_size);
        pitwatch(&[
            &"run",
            &pipeline,
            &"--out",
            &out,
            &"--cell-size",
            &cell_size,
        ])
        .expect(0);
        let run = only_run(&out);
        let alerts = run.alerts();
        assert_eq!(alerts.len(), 3, "cells of {cell_size}: {alerts:#?}");
        let area_ha: f64 = alerts
            .iter()
            .map(|alert| alert["area_ha"].as_f64().unwrap())
            .sum();
        let state = run.raster("crossing_32630_state");
        let n_pixels = state
            .values
            .iter()
            .filter(|&&state| state == CONFIRMED)
            .count();
        assert!((area_ha - n_pixels as f64 / 100.0).abs() < 1e-9);
        // All edges are even, so no pixel of 20 m is a mixture and the area is exact.
        assert!((area_ha - truth).abs() < 1e-9, "{area_ha} ha of {truth} ha");
    }
}
