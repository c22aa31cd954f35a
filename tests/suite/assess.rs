//! A run whose pipeline names priors and reported figures ends in assessments.

use std::fs;

use pitwatch_tests::{only_run, path, pitwatch};

const CAPACITY: &str = r#"
[capacity]
priors_file = "PRIORS"
draws = 5000
seed = 1
coverage_floor = 0.5
site_correlation = 0.5
routes_apart = 5.0
false_discovery_rate = 0.1
min_reviewed_points = 300
max_changed_points_share = 0.1
replay_days = 365
min_reviewed_share = 0.5
min_clear_looks = 2
lag = { from_months = 0.0, mode_from_months = 4.0, mode_to_months = 6.0, to_months = 12.0, stable_months = 1.0 }
"#;

/// The demo's pits as if they lay in Séguéla, with real priors; returns pipeline text.
fn pipeline(reported: &str) -> String {
    let text = fs::read_to_string(path("pipelines/demo.toml")).unwrap();
    let end = text.find("[scenes]").unwrap();
    let areas = format!(
        "[[areas]]\nid = \"civ-seguela\"\nfile = \"{}\"\ncatalog = \"{}\"\n\n",
        path("aoi/demo-pits.geojson").display(),
        path("pipelines/demo/pits").display()
    );
    let capacity = CAPACITY.replace("PRIORS", &path("pipelines/priors.toml").to_string_lossy());
    let tail = text[end..].replacen("[skill]", &format!("{capacity}\n[skill]"), 1);
    format!("reported_file = \"{reported}\"\n\n{areas}{tail}")
}

#[test]
fn a_run_ends_in_assessments() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    let reported = path("pipelines/reported.csv");
    fs::write(&file, pipeline(&reported.to_string_lossy())).unwrap();
    let out = folder.path().join("out");
    let _ = pitwatch(&[&"run", &file, &"--out", &out, &"--offline"]).expect(0);
    let run = only_run(&out);
    let read = |name: &str| fs::read_to_string(run.folder.join(name)).unwrap();
    let table = read("assessments.csv");
    let country = table
        .lines()
        .find(|line| line.starts_with("CIV/2020,country"))
        .expect("Côte d'Ivoire's figure of 2020 is compared");
    // The omitted share was not measured and Tortiya not watched: what was dug is a lower bound, and 4,012 ct are more.
    assert!(
        country.contains(",not assessable,pits,") && country.contains(",4012.0,production,"),
        "{country}"
    );
    let page = read("report/CIV_2020.md");
    assert!(
        page.contains("Cannot tell") && page.starts_with("# Côte d'Ivoire, 2020\n"),
        "{page}"
    );
    assert!(read("structure.xml").contains("DSD_PITWATCH"));
    assert!(read("observations.csv").contains("PROD_CT,NAT,EST,_U,2020,4012"));
    let months = read("activity.csv");
    // Without a measured detection limit no month is called inactive.
    assert!(
        months.contains(",active,") && !months.contains(",inactive,"),
        "{months}"
    );
    assert!(read("manifest.json").contains("report/CIV_2020.md"));
    let map: serde_json::Value = serde_json::from_str(&read("assessments.geojson")).unwrap();
    assert!(!map["features"].as_array().unwrap().is_empty());
}

#[test]
fn a_bad_table_of_reported_figures_stops_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("reported.csv");
    let good = fs::read_to_string(path("pipelines/reported.csv")).unwrap();
    fs::write(
        &table,
        good.replacen("CIV,2020,production,4012,", "CIV,2020,production,-4012,", 1),
    )
    .unwrap();
    let file = folder.path().join("pipeline.toml");
    fs::write(&file, pipeline(&table.to_string_lossy())).unwrap();
    let out = folder.path().join("out");
    let _ = pitwatch(&[&"run", &file, &"--out", &out, &"--offline"])
        .expect(3)
        .says("carats is \"-4012\"");
    assert!(!out.join("runs").exists() || fs::read_dir(out.join("runs")).unwrap().next().is_none());
}
