//! Reported figures: what is imported is kept, what cannot be is refused with its arithmetic, and what is odd is found.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use pitwatch_tests::{Finished, path, pitwatch};
use serde_json::Value;
use tempfile::TempDir;

const CIV: &str = "cote-divoire-2015-2023.csv";
const MISPRINT: &str = "cote-divoire-2019-q1-misprint.csv";

/// A store in a folder of its own.
struct Store {
    folder: TempDir,
}

impl Store {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.csv")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, file: &Path, flags: &[&str]) -> Finished {
        let store = self.path();
        let mut arguments: Vec<&dyn AsRef<OsStr>> =
            vec![&"stats", &"import", &file, &"--store", &store];
        for flag in flags {
            arguments.push(flag);
        }
        let finished = pitwatch(&arguments);
        let left = fs::read_dir(self.folder.path()).unwrap().any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains(".importing")
        });
        assert!(!left, "an import leaves nothing beside the store");
        finished
    }

    fn fixture(&self, name: &str) -> Finished {
        self.import(&path("tests/data/kp").join(name), &[])
    }

    fn findings(&self, flags: &[&str]) -> Vec<Value> {
        let store = self.path();
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"stats", &"check", &store, &"--json"];
        for flag in flags {
            arguments.push(flag);
        }
        serde_json::from_str(&pitwatch(&arguments).expect(0).stdout).unwrap()
    }
}

fn of<'a>(findings: &'a [Value], kind: &str) -> Vec<&'a Value> {
    findings
        .iter()
        .filter(|finding| finding["kind"] == kind)
        .collect()
}

fn arithmetic(finding: &Value) -> &str {
    finding["arithmetic"].as_str().unwrap()
}

#[test]
fn cote_divoire_exported_more_than_it_produced() {
    let store = Store::new();
    let _ = store.fixture(CIV).expect(0);
    let findings = store.findings(&[]);
    let [found] = of(&findings, "exports_above_production")[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(
        (&found["from"], &found["to"]),
        (&"2015".into(), &"2023".into())
    );
    let number = |name: &str| found["numbers"][name].as_f64().unwrap();
    assert!((number("exports_ct") - 70_677.35).abs() < 1e-6);
    assert!((number("production_ct") - 57_039.4).abs() < 1e-6);
    assert!((number("ratio") - 1.24).abs() < 0.005);
    let text = arithmetic(found);
    assert!(
        text.contains("70,677.35 / 57,039.4 = 1.24")
            && text.contains("stock on 2015-01-01 not known"),
        "{text}"
    );
    // What is known to have been in stock explains a part; 13,915.8 ct were lacking at the end of 2017.
    for (stock, n) in [("CIV@2015=6737", 1), ("CIV@2015=13916", 0)] {
        let findings = store.findings(&["--opening-stock", stock]);
        assert_eq!(
            of(&findings, "exports_above_production").len(),
            n,
            "{stock}"
        );
    }
    // And the years can be chosen: from 2018 to 2021 exports fit.
    let findings = store.findings(&["--from-year", "2020", "--to-year", "2020"]);
    assert!(of(&findings, "exports_above_production").is_empty());
}

#[test]
fn cote_divoires_goods_of_2019_have_two_values() {
    let store = Store::new();
    let _ = store.fixture(CIV).expect(0);
    let findings = store.findings(&[]);
    let [found] = of(&findings, "value_per_carat_jump")[..] else {
        panic!("{findings:?}")
    };
    let text = arithmetic(found);
    for part in ["56.38 US$/ct", "260 US$/ct", "4.61 times apart"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        store
            .findings(&["--value-factor", "5"])
            .iter()
            .all(|finding| finding["kind"] != "value_per_carat_jump")
    );
}

#[test]
fn a_quarter_above_its_year_is_refused_with_its_arithmetic() {
    let store = Store::new();
    let _ = store.fixture(CIV).expect(0);
    let before = store.text();
    let refused = store.fixture(MISPRINT).expect(3);
    for part in [
        "cote-divoire-2019-q1-misprint.csv:2:4",
        "impossible",
        "5,628.4 ct",
        "3,989",
        "nothing is imported",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(store.text(), before);
    // The other way round, and both in one import, it is the same.
    let other = Store::new();
    let _ = other.fixture(MISPRINT).expect(0);
    let _ = other.fixture(CIV).expect(3).says("impossible");
    let together = Store::new();
    let second = path("tests/data/kp").join(MISPRINT);
    let _ = together
        .import(
            &path("tests/data/kp").join(CIV),
            &[second.to_str().unwrap()],
        )
        .expect(3)
        .says("impossible");
    assert!(!together.path().exists());
    // A store that was written by hand is checked for it, too.
    let line = fs::read_to_string(&second)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    fs::write(
        store.path(),
        format!("{before}{}\n", line.trim_end_matches(",yes")),
    )
    .unwrap();
    assert_eq!(of(&store.findings(&[]), "parts_above_whole").len(), 1);
}

#[test]
fn two_official_figures_are_shown_as_such() {
    let store = Store::new();
    let _ = store.fixture("dr-congo-2016.csv").expect(0);
    let findings = store.findings(&[]);
    let [found] = of(&findings, "sources_differ")[..] else {
        panic!("{findings:?}")
    };
    let text = arithmetic(found);
    for part in [
        "two official figures",
        "23,207,000 ct (kp",
        "13,500,000 ct (national",
        "= 0.58",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let listed = pitwatch(&[
        &"stats",
        &"list",
        &store.path(),
        &"--country",
        &"DR Congo",
        &"--json",
    ])
    .expect(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|figure| figure["newest"] == true && figure["period"] == "2016")
    );
}

#[test]
fn a_figure_from_memory_is_refused() {
    let store = Store::new();
    let _ = store
        .fixture("recalled.csv")
        .expect(3)
        .says("recalled.csv:2:11: verified is \"no\"");
    assert!(!store.path().exists());
}

#[test]
fn every_row_of_the_fixtures_says_whether_it_was_verified() {
    for entry in fs::read_dir(path("tests/data/kp")).unwrap() {
        let file = entry.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if text.starts_with("participant,") {
            assert!(
                text.lines().next().unwrap().ends_with(",verified"),
                "{}",
                file.display()
            );
            assert!(
                text.lines()
                    .skip(1)
                    .all(|line| line.ends_with(",yes") || line.ends_with(",no")),
                "{}",
                file.display()
            );
        }
    }
}

#[test]
fn the_public_table_gives_the_same_figures_in_each_language() {
    let flags = [
        "--period",
        "2022",
        "--source",
        "first release",
        "--source-class",
        "kp",
        "--release-date",
        "2023-07-13",
    ];
    let texts: Vec<String> = [
        "production-2022-first-release.csv",
        "production-2022-french.csv",
    ]
    .iter()
    .map(|name| {
        let store = Store::new();
        let said = store
            .import(&path("tests/data/kp").join(name), &flags)
            .expect(0);
        assert!(
            said.stdout.contains("22 figures added to 0"),
            "{}",
            said.stdout
        );
        store.text()
    })
    .collect();
    assert_eq!(texts[0], texts[1]);
    assert!(
        texts[0].contains("\nCIV,2022,production,3904,,first release,kp,2023-07-13,0.5,\n"),
        "{}",
        texts[0]
    );
    // What is imported is what a run reads.
    let store = Store::new();
    fs::write(store.path(), &texts[0]).unwrap();
    let _ = pitwatch(&[&"validate", &store.path()]).expect(0);
}

#[test]
fn a_public_table_with_a_wrong_total_is_refused_whole() {
    let store = Store::new();
    let good = fs::read_to_string(path("tests/data/kp/production-2022-first-release.csv")).unwrap();
    let file = store.file(
        "wrong.csv",
        &good
            .replace("\"3,904\"", "\"3,804\"")
            .replace("\"Mali\"", "\"Malli\""),
    );
    let flags = [
        "--period",
        "2022",
        "--source",
        "x",
        "--source-class",
        "kp",
        "--release-date",
        "unknown",
    ];
    // The name goes first: without it the sum is another.
    let refused = store.import(&file, &flags).expect(3);
    assert!(
        refused
            .stderr
            .contains("wrong.csv:18:1: participant is \"Malli\"")
            && refused.stderr.contains("\"Mali\" (MLI)"),
        "{}",
        refused.stderr
    );
    let file = store.file("wrong.csv", &good.replace("\"3,904\"", "\"3,804\""));
    let refused = store.import(&file, &flags).expect(3);
    assert!(
        refused
            .stderr
            .contains("the total 120201460 of volume of production is 100 more"),
        "{}",
        refused.stderr
    );
    assert!(!store.path().exists());
    // What the table does not say must be said.
    let lacking = store.import(&file, &["--period", "2022"]).expect(3);
    assert!(
        lacking.stderr.contains("--source TEXT") && lacking.stderr.contains("--release-date"),
        "{}",
        lacking.stderr
    );
}

#[test]
fn a_vintage_is_kept_and_never_overwritten() {
    let store = Store::new();
    let head = "participant,period,measure,carats,value_usd,source,source_class,release_date,carats_rounding,note\n";
    let first = store.file(
        "first.csv",
        &format!("{head}LSO,2022,production,727737,,summary,kp,2023-07-13,0.5,\n"),
    );
    let _ = store.import(&first, &["--dry-run"]).expect(0);
    assert!(!store.path().exists(), "a dry run writes nothing");
    let _ = store.import(&first, &[]).expect(0);
    let after_first = store.text();
    let again = store.import(&first, &[]).expect(0);
    assert!(
        again.stdout.contains("nothing is changed"),
        "{}",
        again.stdout
    );
    assert_eq!(store.text(), after_first);
    // The same release with another figure: refused.
    let changed = format!(
        "{head}LSO,2022,production,1276000,,summary,kp,2023-07-13,500,\nGHA,2022,production,82500,,summary,kp,2023-07-13,0.5,\n"
    );
    let changed = store.file("changed.csv", &changed);
    let refused = store.import(&changed, &[]).expect(3);
    assert!(
        refused.stderr.contains("changed.csv:2:4") && refused.stderr.contains("never overwritten"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        store.text(),
        after_first,
        "Ghana's row is not imported either"
    );
    // A later release: kept beside the first. An older one that comes later is not the newest.
    for (day, carats) in [("2024-07-15", "1276000"), ("2023-01-01", "700000")] {
        let file = store.file(
            "later.csv",
            &format!("{head}LSO,2022,production,{carats},,summary,kp,{day},500,\n"),
        );
        let _ = store.import(&file, &[]).expect(0);
    }
    assert!(
        store.text().starts_with(&after_first),
        "what stands there stays"
    );
    let listed = pitwatch(&[&"stats", &"list", &store.path(), &"--json"]).expect(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let newest: Vec<f64> = listed
        .iter()
        .filter(|figure| figure["newest"] == true)
        .map(|figure| figure["carats"].as_f64().unwrap())
        .collect();
    assert_eq!((listed.len(), newest), (3, vec![1_276_000.0]));
    let findings = store.findings(&[]);
    let changes = of(&findings, "vintage_changed");
    assert_eq!(changes.len(), 2);
    assert!(
        arithmetic(changes[1]).contains("+548,263 ct = +75.3 %"),
        "{}",
        arithmetic(changes[1])
    );
}

#[test]
fn findings_set_the_exit_code_only_when_asked() {
    let starter = path("pipelines/reported.csv");
    let _ = pitwatch(&[&"stats", &"check", &starter]).expect(0);
    let _ = pitwatch(&[&"stats", &"check", &starter, &"--exit-code"]).expect(10);
    let _ = pitwatch(&[
        &"stats",
        &"check",
        &starter,
        &"--country",
        &"Guyana",
        &"--exit-code",
    ])
    .expect(0);
    let _ = pitwatch(&[&"stats", &"check", &"no-such-file.csv"])
        .expect(3)
        .says("no-such-file.csv");
    let _ = pitwatch(&[&"stats", &"check", &starter, &"--country", &"Atlantis"]).expect(2);
}

#[test]
fn imports_do_not_cross() {
    let store = Store::new();
    let aside = store.folder.path().join("store.csv.importing");
    fs::write(&aside, "").unwrap();
    let file = path("tests/data/kp").join(CIV);
    let _ = pitwatch(&[&"stats", &"import", &file, &"--store", &store.path()])
        .expect(75)
        .says("store.csv.importing");
    assert!(aside.exists() && !store.path().exists());
}
