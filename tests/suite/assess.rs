//! A run whose pipeline names priors and reported figures ends in assessments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pitwatch_tests::{Mirror, Pit, Spec, day, only_run, path, pitwatch, table};

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

/// Savanna with a field of pits: three in each of two seasons, and so many in the year before monitoring begins.
fn field(n_in_replay: usize) -> Mirror {
    let pit = |row: usize, col: usize, opened: &str| Pit {
        row,
        col,
        height: 8,
        width: 8,
        opened: day(opened),
    };
    let seasons = (0..6).map(|k| {
        let opened = if k < 3 { "2021-11-10" } else { "2022-11-10" };
        pit(8 + 12 * k, 60, opened)
    });
    let before = (0..n_in_replay).map(|k| pit(8 + 12 * k, 20, "2020-11-10"));
    Mirror::new(Spec {
        id: "field",
        n_looks: 95,
        pits: seasons.chain(before).collect(),
        ..Spec::default()
    })
}

/// A pipeline that watches it as the only field of a country; returns the file.
///
/// - `reported`: carats of 2022 and 2023.
/// - `head`: more lines of the file's head.
fn field_pipeline(mirror: &Mirror, reported: [f64; 2], head: &str) -> PathBuf {
    let mut priors: toml::Table = fs::read_to_string(path("pipelines/priors.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let areas = priors["area"].as_table_mut().unwrap();
    areas.retain(|id, _| id == "civ-seguela");
    let seguela = areas["civ-seguela"].as_table_mut().unwrap();
    seguela.retain(|key, _| key == "country" || key == "deposit");
    fs::write(mirror.folder().join("priors.toml"), priors.to_string()).unwrap();
    let mut table =
        "participant,period,measure,carats,value_usd,source,source_class,release_date,carats_rounding,note\n"
            .to_owned();
    for (year, carats) in [2022, 2023].into_iter().zip(reported) {
        table += &format!("CIV,{year},production,{carats},,a test,kp,,0.5,\n");
    }
    fs::write(mirror.folder().join("reported.csv"), table).unwrap();
    let file = mirror.pipeline(&[("civ-seguela", &mirror.polygon([0.02, 0.02, 0.98, 0.98]))]);
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replacen(
        "[skill]",
        &format!("{}\n[skill]", CAPACITY.replace("PRIORS", "priors.toml")),
        1,
    );
    fs::write(
        &file,
        format!("reported_file = \"reported.csv\"\n{head}{text}"),
    )
    .unwrap();
    file
}

/// The assessment of the country for 2023, by column.
fn of_2023(out: &Path) -> BTreeMap<String, String> {
    let run = latest_folder(out);
    let text = fs::read_to_string(run.join("assessments.csv")).unwrap();
    table(&text)
        .into_iter()
        .find(|row| row["assessment_id"] == "CIV/2023")
        .unwrap()
}

fn latest_folder(out: &Path) -> PathBuf {
    out.join(&pitwatch_tests::latest(out).path)
}

fn run(pipeline: &Path, out: &Path) -> pitwatch_tests::Finished {
    pitwatch(&[&"run", &pipeline, &"--out", &out, &"--offline"]).expect(0)
}

#[test]
fn a_quiet_replay_and_a_measured_omission_let_a_report_be_too_low_or_too_high() {
    let mirror = field(0);
    let plain = field_pipeline(&mirror, [1.0, 1.0], "");
    let skill = mirror.folder().join("skill.json");
    let _ = pitwatch(&[&"skill", &plain, &"--pits", &"200", &"--out", &skill]).expect(0);
    for (carats, verdict) in [(100.0, "below"), (1e6, "above")] {
        let pipeline = field_pipeline(&mirror, [carats, carats], "skill_file = \"skill.json\"\n");
        let out = mirror.folder().join(verdict);
        let _ = run(&pipeline, &out);
        let row = of_2023(&out);
        assert_eq!(row["verdict"], verdict, "{row:#?}");
        assert!(!row["false_ha"].is_empty() && !row["omitted_share"].is_empty());
        assert!(!row["flags"].contains("was not measured"), "{row:#?}");
        // The imagery ends in August 2023, and what was dug after July cannot be confirmed yet.
        assert!(
            row["reasons"].contains("was watched and observed"),
            "{row:#?}"
        );
        let observed: f64 = row["observed_share"].parse().unwrap();
        assert!(observed > 0.9, "{row:#?}");
    }
}

#[test]
fn a_noisy_replay_forbids_a_verdict_until_the_alerts_are_reviewed() {
    let mirror = field(6);
    let pipeline = field_pipeline(&mirror, [20.0, 5.0], "");
    let out = mirror.out();
    let _ = run(&pipeline, &out);
    let row = of_2023(&out);
    assert_eq!(row["verdict"], "not assessable", "{row:#?}");
    assert!(row["reasons"].contains("False-alarm area: "), "{row:#?}");
    assert!(row["flags"].contains("upper bound"), "{row:#?}");

    let mut alerts = only_run(&out).alerts();
    alerts.retain(|alert| alert["kind"] == "excavation" && alert["tier"] == "confirmed");
    // The largest of the second season first: it is dismissed.
    alerts.sort_by_key(|alert| {
        let is_second = alert["end_datetime"].as_str().unwrap() > "2022-09";
        (
            !is_second,
            (-1e4 * alert["area_ha"].as_f64().unwrap()) as i64,
        )
    });
    let ids: Vec<String> = alerts
        .iter()
        .map(|alert| alert["alert_id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() >= 6, "{ids:?}");
    let (dismissed, confirmed) = ids.split_first().unwrap();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"alerts", &"confirm", &out];
    confirmed.iter().for_each(|id| arguments.push(id));
    arguments.extend([&"--reviewer" as &dyn AsRef<std::ffi::OsStr>, &"ada"]);
    let _ = pitwatch(&arguments).expect(0);
    let _ = pitwatch(&[
        &"alerts",
        &"dismiss",
        &out,
        dismissed,
        &"--reviewer",
        &"ada",
        &"--reason",
        &"a field",
    ])
    .expect(0);
    let before: f64 = row["mapped_ha"].parse().unwrap();
    let _ = run(&pipeline, &out);
    let row = of_2023(&out);
    assert_eq!(row["verdict"], "below", "{row:#?}");
    assert!(!row["flags"].contains("upper bound"), "{row:#?}");
    // All alerts are reviewed: nothing is left to be false, and the dismissed one is out of the sum.
    assert_eq!(row["false_ha"].parse(), Ok(0.0), "{row:#?}");
    let after: f64 = row["mapped_ha"].parse().unwrap();
    assert!(after < before, "{after} {before}");
}

/// A table of reviewed points of the first season: 100 on its pits, all of them excavation, and 220 elsewhere.
fn points(mirror: &Mirror) -> String {
    let geobox = mirror.spec.geobox();
    let mut text =
        "area_id,season_from,longitude,latitude,stratum,excavation,reviewer,reviewed_on\n"
            .to_owned();
    let mut add = |row: usize, col: usize, stratum: &str, excavation: &str| {
        let place = geobox
            .crs()
            .lonlat_from_crs(geobox.crs_from_pixel(row, col))
            .unwrap();
        text += &format!(
            "civ-seguela,2021-07-01,{:.7},{:.7},{stratum},{excavation},ada,2024-02-01\n",
            place.x, place.y
        );
    };
    for k in 0..102 {
        // Inner pixels of the pits, so that it does not matter which of their edges were found.
        let (pit, place) = (k / 34, k % 34);
        add(
            9 + 12 * pit + place / 6,
            61 + place % 6,
            "excavation",
            "yes",
        );
    }
    for k in 0..220 {
        add(
            10 + 3 * (k / 11),
            5 + 3 * (k % 11),
            "other",
            if k == 0 { "yes" } else { "no" },
        );
    }
    text
}

#[test]
fn reviewed_points_take_the_place_of_probability_and_omitted_share() {
    let mirror = field(0);
    let pipeline = field_pipeline(&mirror, [5.0, 5.0], "");
    let capacity = "points_file = \"points.csv\"";
    let text = fs::read_to_string(&pipeline).unwrap();
    let named = text.replacen("[capacity]", &format!("[capacity]\n{capacity}"), 1);
    fs::write(&pipeline, &named).unwrap();
    let file = mirror.folder().join("points.csv");
    let table = points(&mirror);

    // A fault stops the run and the check before any work.
    fs::write(&file, table.replacen(",yes,", ",perhaps,", 1)).unwrap();
    for arguments in [
        &["validate", file.to_str().unwrap()][..],
        &["validate", pipeline.to_str().unwrap()],
        &[
            "run",
            pipeline.to_str().unwrap(),
            "--out",
            mirror.out().to_str().unwrap(),
        ],
    ] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            arguments.iter().map(|one| one as _).collect();
        let said = pitwatch(&arguments).expect(3);
        let fault = "points.csv:2:6: excavation is \"perhaps\"; write yes or no";
        assert!(
            format!("{}{}", said.stdout, said.stderr).contains(fault),
            "{said:?}"
        );
    }
    fs::write(&file, table.replacen(",8.", ",9.", 1)).unwrap();
    let said = pitwatch(&[&"validate", &pipeline]).expect(3).stdout;
    assert!(said.contains("lie outside civ-seguela"), "{said}");

    fs::write(&file, &table).unwrap();
    let _ = pitwatch(&[&"validate", &file]).expect(0);
    let _ = run(&pipeline, &mirror.out());
    let row = |year: &str| {
        let run = latest_folder(&mirror.out());
        let text = fs::read_to_string(run.join("assessments.csv")).unwrap();
        let rows = pitwatch_tests::table(&text);
        rows.into_iter()
            .find(|row| row["assessment_id"] == format!("CIV/{year}"))
            .unwrap()
    };
    let sampled = row("2022");
    assert_eq!(sampled["is_sample_adjusted"], "true", "{sampled:#?}");
    assert_eq!(sampled["omitted_share"], "", "{sampled:#?}");

    // Too few of them are named and not used, and the run has another name.
    let few: String = table
        .lines()
        .take(200)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&file, few).unwrap();
    let _ = run(&pipeline, &mirror.out()).says("199 reviewed points are fewer than");
    assert_eq!(row("2022")["is_sample_adjusted"], "false");
}

/// A depth that was measured and a trench of a dyke enter the sum, and the assessment says so.
#[test]
fn measured_depths_and_dykes_enter_the_sum() {
    let mirror = field(0);
    let pipeline = field_pipeline(&mirror, [20.0, 20.0], "");
    let text = fs::read_to_string(&pipeline).unwrap();
    let run_with = |more: &str, name: &str| {
        fs::write(&pipeline, format!("{text}\n{more}")).unwrap();
        let out = mirror.folder().join(name);
        let finished = run(&pipeline, &out);
        (of_2023(&out), out, finished.stderr)
    };
    let carats = |row: &BTreeMap<String, String>| -> f64 { row["implied_ct_p50"].parse().unwrap() };
    let (plain, out, _) = run_with("", "plain");
    let ids: Vec<String> = only_run(&out)
        .alerts()
        .iter()
        .map(|alert| alert["alert_id"].as_str().unwrap().to_owned())
        .collect();
    let depth = |id: &str, depth_m: &str| {
        format!(
            "[[capacity.depths]]\nalert_id = \"{id}\"\ndepth_m = {depth_m}\nsource = \"a test\"\n"
        )
    };
    let all = |depth_m: &str| ids.iter().map(|id| depth(id, depth_m)).collect::<String>();
    let (shallow, ..) = run_with(&all("[0.9, 1.0, 1.1]"), "shallow");
    let (deep, ..) = run_with(&all("[9.0, 10.0, 11.0]"), "deep");
    let ratio = carats(&deep) / carats(&shallow);
    assert!((8.0..12.0).contains(&ratio), "{ratio}");
    assert!(deep["flags"].contains("measured depths"), "{deep:#?}");
    assert!(!plain["flags"].contains("measured depths"), "{plain:#?}");

    let dyke = "[[capacity.dykes]]\narea_id = \"civ-seguela\"\nname = \"Bobi\"\ndeposit = \"kimberlite-dyke\"\n\
                length_m = [90, 100, 110]\nwidth_m = [0.5, 0.6, 0.8]\ndepth_m = [8, 10, 12]\n\
                dug = [\"2023-01-10\", \"2023-03-31\"]\nsource = \"a test\"\n";
    let (with_dyke, ..) = run_with(dyke, "dyke");
    assert!(carats(&with_dyke) > carats(&plain));
    assert!(with_dyke["flags"].contains("dyke trenches"));

    let (gone, _, said) = run_with(&depth("nobody", "[1.0, 2.0, 3.0]"), "gone");
    assert!(said.contains("nobody"), "{said}");
    assert_eq!(carats(&gone), carats(&plain));
    for (wrong, part) in [
        (dyke.replace("civ-seguela", "elsewhere"), "elsewhere"),
        (dyke.replace("kimberlite-dyke", "sand"), "sand"),
        (dyke.replace("2023-01-10", "2023-13-10"), "in order"),
        (dyke.replace("\"a test\"", "\" \""), "source"),
        (depth("a", "[3.0, 2.0, 1.0]"), "in order"),
    ] {
        fs::write(&pipeline, format!("{text}\n{wrong}")).unwrap();
        let refused = pitwatch(&[&"validate", &pipeline]);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert_eq!(refused.code, Some(3), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
}
