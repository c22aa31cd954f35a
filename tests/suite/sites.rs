//! Sites keep their names when the monitoring period moves on.

use std::fs;

use pitwatch_tests::{Mirror, Run, latest, pitwatch};
use serde_json::Value;

fn sites(run: &Run) -> Vec<Value> {
    let features = run.features("sites.geojson");
    features
        .into_iter()
        .map(|feature| feature["properties"].clone())
        .collect()
}

#[test]
fn a_site_is_followed_into_the_next_period() {
    let mirror = Mirror::savanna();
    let pipeline = mirror.pipeline(&[]);
    let text = fs::read_to_string(&pipeline).unwrap();
    let out = mirror.out();
    let run = |monitor_from: &str, flags: [&str; 2]| {
        fs::write(&pipeline, text.replace("2021-07-01", monitor_from)).unwrap();
        pitwatch(&[&"run", &pipeline, &"--out", &out, &flags[0], &flags[1]]).expect(0);
        let run = Run {
            folder: out.join(latest(&out).path),
        };
        let growth = fs::read_to_string(run.folder.join("sites.csv")).unwrap();
        let events = fs::read_to_string(run.folder.join("alerts.ndjson")).unwrap();
        (sites(&run), run.alerts(), growth, events)
    };
    let (before, alerts, growth, _) = run("2021-07-01", ["--jobs", "1"]);
    assert!(!before.is_empty() && !alerts.is_empty());
    assert!(growth.lines().count() > before.len(), "{growth}");
    for site in &before {
        assert!(site["last_clear_date"].is_string(), "{site}");
    }
    // The pit lies in the history now: no alert, and a site all the same, with its ground and its last clear look.
    let (after, alerts, grown, events) = run("2022-06-01", ["--cell-size", "16"]);
    assert_eq!(alerts, Vec::<Value>::new());
    let named = |sites: &[Value]| {
        let columns = [
            "site_id",
            "n_alerts",
            "excavation_area_ha",
            "last_growth_date",
            "last_clear_date",
        ];
        let of_site = |site: &Value| columns.map(|column| site[column].clone());
        sites.iter().map(of_site).collect::<Vec<_>>()
    };
    assert_eq!(named(&after), named(&before));
    assert_eq!(grown, growth);
    assert!(
        !events.contains("retracted") && !events.contains("site.changed"),
        "nothing changed at the place: {events}"
    );
    // Back to the first period: what came after it is no part of it.
    let (again, _, grown, _) = run("2021-07-01", ["--jobs", "2"]);
    assert_eq!((again, grown), (before, growth));
}

#[test]
fn a_site_says_what_lies_around_it() {
    let mirror = Mirror::savanna();
    let spec_lonlat = |x: f64, y: f64| {
        // The area is at 250,000 m east and 985,000 m north of zone 30 N.
        let crs = pitwatch_grid::Crs::from_epsg(32630).unwrap();
        let at = crs.lonlat_from_crs(pitwatch_grid::Point { x, y }).unwrap();
        format!("[{}, {}]", at.x, at.y)
    };
    // The pit's western edge is at column 60, its northern at row 28.
    let (west, north) = (250_600.0, 984_720.0);
    let mut area: Value = serde_json::from_str(&mirror.polygon([0.0, 0.0, 1.0, 1.0])).unwrap();
    area = serde_json::json!({"type": "FeatureCollection", "features": [{
        "type": "Feature", "properties": {"name": "Savanna", "country": "Côte d'Ivoire"}, "geometry": area,
    }]});
    let write = |village: &str| {
        let text = format!(
            r#"{{"type": "FeatureCollection", "notice": "Names: nobody.", "features": [
            {{"type": "Feature", "properties": {{"name": "Far"}}, "geometry": {{"type": "Point", "coordinates": {}}}}},
            {{"type": "Feature", "properties": {{"name": "{village}"}}, "geometry": {{"type": "Point", "coordinates": {}}}}},
            {{"type": "Feature", "properties": {{"name": "Bou"}}, "geometry": {{"type": "LineString", "coordinates": [{}, {}]}}}}]}}"#,
            spec_lonlat(west - 5_000.0, north),
            spec_lonlat(west - 1_000.0, north - 40.0),
            spec_lonlat(west - 9_000.0, north + 250.0),
            spec_lonlat(west + 9_000.0, north + 250.0),
        );
        fs::write(mirror.folder().join("places.geojson"), text).unwrap();
    };
    write("Near");
    let pipeline = mirror.pipeline(&[("savanna", &area.to_string())]);
    let text = fs::read_to_string(&pipeline).unwrap();
    let file = "file = \"savanna.geojson\"";
    let with_places = text.replace(file, &format!("{file}\nplaces = \"places.geojson\""));
    assert!(with_places.contains("places"));
    fs::write(&pipeline, with_places).unwrap();
    let out = mirror.out();
    let run = || {
        pitwatch(&[&"run", &pipeline, &"--out", &out]).expect(0);
        let run = Run {
            folder: out.join(latest(&out).path),
        };
        (latest(&out).run_id, sites(&run))
    };
    let (first, found) = run();
    let site = &found[0];
    assert_eq!(site["area_name"], "Savanna");
    assert_eq!(site["country"], "Côte d'Ivoire");
    assert_eq!(site["nearest_village"], "Near");
    assert_eq!(site["nearest_river"], "Bou");
    let km = |name: &str| site[name].as_f64().unwrap();
    assert!((km("village_km") - 1.0).abs() < 0.03, "{site}");
    assert!((km("river_km") - 0.25).abs() < 0.03, "{site}");
    assert!(site["notice"].as_str().unwrap().ends_with("Names: nobody."));
    // What is said of a site is part of the run's name.
    write("Nearest");
    let (second, found) = run();
    assert_ne!(first, second);
    assert_eq!(found[0]["nearest_village"], "Nearest");
    fs::write(mirror.folder().join("places.geojson"), "{}").unwrap();
    pitwatch(&[&"run", &pipeline, &"--out", &out])
        .expect(3)
        .says("places.geojson");
}
