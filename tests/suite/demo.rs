//! The demo finds what is known to be there.

use std::collections::BTreeMap;
use std::fs;

use geo::{Contains, Coord, LineString, MultiPolygon, Point as GeoPoint, Polygon};
use pitwatch_grid::{Crs, Point};
use pitwatch_tests::{Raster, Run, only_run, path, pitwatch, table};
use serde_json::Value;

/// Codes of the `state` raster.
const CLEARED: f64 = 2.0;
const EXCAVATION: [f64; 2] = [3.0, 4.0];

/// A polygon in meters of the raster's reference system.
fn projected(geometry: &Value, crs: &Crs) -> MultiPolygon<f64> {
    let ring = |ring: &Value| -> LineString<f64> {
        let positions = ring.as_array().unwrap().iter().map(|position| {
            let number = |axis: usize| position[axis].as_f64().unwrap();
            let point = crs
                .crs_from_lonlat(Point {
                    x: number(0),
                    y: number(1),
                })
                .unwrap();
            Coord {
                x: point.x,
                y: point.y,
            }
        });
        LineString::new(positions.collect())
    };
    let polygons = geometry["coordinates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rings| {
            let mut rings = rings.as_array().unwrap().iter().map(ring);
            Polygon::new(rings.next().unwrap(), rings.collect())
        });
    MultiPolygon(polygons.collect())
}

/// The center of a pixel, in meters of the raster's reference system.
fn center(raster: &Raster, row: usize, col: usize) -> GeoPoint {
    let [west, width, _, north, _, height] = raster.transform;
    GeoPoint::new(
        west + (col as f64 + 0.5) * width,
        north + (row as f64 + 0.5) * height,
    )
}

/// The values of the pixels whose centers lie in a polygon.
fn values_in(raster: &Raster, polygon: &MultiPolygon<f64>) -> Vec<f64> {
    let mut values = Vec::new();
    for row in 0..raster.height {
        for col in 0..raster.width {
            let center = center(raster, row, col);
            if polygon.contains(&center) {
                values.push(raster.at(row, col));
            }
        }
    }
    values
}

fn truth(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(name)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["features"].as_array().unwrap().clone()
}

fn demo() -> (tempfile::TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    pitwatch(&[&"run", &path("pipelines/demo.toml"), &"--out", &out]).expect(0);
    let run = only_run(&out);
    (folder, run)
}

#[test]
fn the_demo_finds_the_fellings_and_the_pits() {
    let (_folder, run) = demo();
    let crs = Crs::from_epsg(3035).unwrap();

    let state = run.raster("demo-forest_3035_state");
    let (mut n_cleared, mut n_excavation) = (0, 0);
    let fellings = truth("pipelines/demo/forest/fellings.geojson");
    for felling in &fellings {
        let values = values_in(&state, &projected(&felling["geometry"], &crs));
        assert!(!values.is_empty());
        n_cleared += usize::from(values.contains(&CLEARED));
        n_excavation += usize::from(values.iter().any(|value| EXCAVATION.contains(value)));
    }
    println!(
        "demo-forest: {n_cleared} of {} fellings found as cleared ground, {n_excavation} as excavation",
        fellings.len()
    );
    assert!(n_cleared >= 20, "{n_cleared}");
    assert!(n_excavation <= 2, "{n_excavation}");

    let state = run.raster("demo-pits_3035_state");
    let pits = truth("pipelines/demo/pits/truth.geojson");
    let (mut n_found, mut missed) = (0, Vec::new());
    for pit in &pits {
        let properties = &pit["properties"];
        let values = values_in(&state, &projected(&pit["geometry"], &crs));
        let is_found = values.iter().any(|value| EXCAVATION.contains(value));
        n_found += usize::from(is_found);
        if !is_found && properties["area_px"].as_f64().unwrap() >= 5.0 {
            missed.push(properties["pit_id"].to_string());
        }
    }
    println!(
        "demo-pits: {n_found} of {} pits found as excavation",
        pits.len()
    );
    assert!(missed.is_empty(), "missed: {missed:?}");

    for area in ["demo-forest", "demo-pits"] {
        for kind in ["excavation", "cleared"] {
            let n_alerts = run
                .alerts()
                .iter()
                .filter(|alert| alert["area_id"] == area && alert["kind"] == kind)
                .count();
            println!("{area}: {n_alerts} alerts of {kind}");
        }
    }
}

#[test]
fn every_output_of_the_demo_carries_the_notice() {
    let (_folder, run) = demo();
    const NOTICE: &str = "Contains modified Copernicus Sentinel data 2015–2021";
    assert!(run.manifest().notice.contains(NOTICE));
    for (name, bytes) in run.files() {
        if name.ends_with(".tif") || name.ends_with(".geojson") {
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                text.contains("Contains modified Copernicus Sentinel data"),
                "{name}"
            );
        }
    }
    for alert in run.alerts() {
        assert!(alert["notice"].as_str().unwrap().contains(NOTICE));
    }
}

/// A copy of the demo's pipeline that ends on a day.
fn demo_until(folder: &std::path::Path, day: &str) -> std::path::PathBuf {
    let text = fs::read_to_string(path("pipelines/demo.toml")).unwrap();
    let absolute = |name: &str| path(name).display().to_string();
    let text = text
        .replace("../aoi/", &format!("{}/", absolute("aoi")))
        .replace("\"demo/", &format!("\"{}/", absolute("pipelines/demo")))
        .replace(
            "monitor_from =",
            &format!("monitor_until = \"{day}\"\nmonitor_from ="),
        );
    let pipeline = folder.join(format!("until-{day}.toml"));
    fs::write(&pipeline, text).unwrap();
    pipeline
}

/// No hindsight: what a run on the looks up to a day says is what the full run says of that day, retractions apart.
#[test]
fn a_run_up_to_a_day_says_what_the_full_run_says_of_that_day() {
    let (folder, full) = demo();
    let crs = Crs::from_epsg(3035).unwrap();
    let retractions = table(&fs::read_to_string(full.folder.join("retractions.csv")).unwrap());
    let day_of = |row: &BTreeMap<String, String>, column: &str| {
        let day = row[column].get(..10).and_then(|day| day.parse().ok());
        day.map(|pitwatch_grid::Day(day)| f64::from(day))
    };
    for day in ["2019-07-20", "2019-12-01", "2020-07-15", "2020-08-15"] {
        let out = folder.path().join(day);
        pitwatch(&[&"run", &demo_until(folder.path(), day), &"--out", &out]).expect(0);
        let early = only_run(&out);
        let last = f64::from(day.parse::<pitwatch_grid::Day>().unwrap().0);
        for area in ["demo-forest", "demo-pits"] {
            let raster = |run: &Run, layer: &str| run.raster(&format!("{area}_3035_{layer}"));
            // The confirmation that the run of the day had of the alert at a place was taken back later, and that is listed.
            let alerts = early.features("alerts.geojson");
            let is_taken_back = |raster: &Raster, row: usize, col: usize, confirmed: f64| {
                let at = center(raster, row, col);
                let there = alerts.iter().filter(|alert| {
                    alert["properties"]["area_id"] == *area
                        && projected(&alert["geometry"], &crs).contains(&at)
                });
                let ids: Vec<&str> = there
                    .filter_map(|alert| alert["properties"]["alert_id"].as_str())
                    .collect();
                retractions.iter().any(|row| {
                    ids.contains(&row["alert_id"].as_str())
                        && day_of(row, "confirmed_datetime").is_some_and(|day| day <= confirmed)
                        && day_of(row, "retracted_datetime").is_some_and(|day| day > last)
                })
            };
            let (full_alert, early_alert) =
                (raster(&full, "alert_date"), raster(&early, "alert_date"));
            let (full_confirmed, early_confirmed) = (
                raster(&full, "confirmed_date"),
                raster(&early, "confirmed_date"),
            );
            for row in 0..full_alert.height {
                for col in 0..full_alert.width {
                    let up_to = |value: f64| if value > last { 0.0 } else { value.max(0.0) };
                    let alert = up_to(full_alert.at(row, col));
                    let place = format!("{area} row {row} column {col} until {day}");
                    assert!(
                        alert == 0.0 || alert == early_alert.at(row, col),
                        "{place}: alert"
                    );
                    let confirmed = up_to(full_confirmed.at(row, col));
                    let confirmed_early = early_confirmed.at(row, col).max(0.0);
                    assert!(
                        confirmed == confirmed_early
                            || confirmed == 0.0
                                && is_taken_back(&early_confirmed, row, col, confirmed_early),
                        "{place}: confirmed on {confirmed}, and on {confirmed_early} in the run up to that day"
                    );
                }
            }
        }
    }
}
