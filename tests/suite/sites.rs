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
