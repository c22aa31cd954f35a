//! Reviews and disclosure: what an analyst says comes back whole, and the public never gets an exact place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use pitwatch_tests::{Finished, Mirror, Reply, Run, Server, latest, path, pitwatch, pitwatch_with};
use serde_json::{Value, json};

const PUBLIC: &str = "\n[report.public]\ncell_degrees = 5.0\ndelay_days = 0\nmin_alerts = 2\n";

struct Published {
    mirror: Mirror,
    pipeline: PathBuf,
    out: PathBuf,
}

impl Published {
    fn new(more: &str) -> Self {
        let mirror = Mirror::savanna();
        let pipeline = mirror.pipeline(&[]);
        let text = fs::read_to_string(&pipeline).unwrap();
        fs::write(&pipeline, text + more).unwrap();
        let out = mirror.out();
        let published = Self {
            mirror,
            pipeline,
            out,
        };
        published.run();
        published
    }

    fn run(&self) -> Value {
        let finished =
            pitwatch(&[&"run", &self.pipeline, &"--out", &self.out, &"--json"]).expect(0);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    fn newest(&self) -> Run {
        Run {
            folder: self.out.join(latest(&self.out).path),
        }
    }

    fn alert_ids(&self) -> Vec<String> {
        let alerts = self.newest().alerts().into_iter();
        alerts
            .map(|alert| alert["alert_id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.mirror.folder().join(name)
    }

    fn export(&self, name: &str) -> PathBuf {
        let file = self.file(name);
        pitwatch(&[
            &"alerts",
            &"export",
            &self.out,
            &"--file",
            &file,
            &"--reviewer",
            &"ada",
        ])
        .expect(0);
        file
    }

    fn import(&self, file: &Path) -> (Finished, Value) {
        let finished = pitwatch(&[&"reviews", &"import", &self.out, &file, &"--json"]);
        let said = serde_json::from_str(&finished.stdout).unwrap_or_default();
        (finished, said)
    }

    fn list(&self) -> Value {
        let listed = pitwatch(&[&"alerts", &"list", &self.out, &"--json"]).expect(0);
        serde_json::from_str(&listed.stdout).unwrap()
    }
}

fn edit(file: &Path, edit: impl Fn(&mut Value)) {
    let mut json: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    for feature in json["features"].as_array_mut().unwrap() {
        edit(&mut feature["properties"]);
    }
    fs::write(file, json.to_string()).unwrap();
}

#[test]
fn a_dismissal_is_recorded_told_once_and_counted() {
    let published = Published::new("");
    let alert_id = published.alert_ids().remove(0);
    let out = &published.out;
    let dismiss = |more: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"alerts", &"dismiss", out, &alert_id];
        arguments.extend(more.iter().map(|more| more as &dyn AsRef<std::ffi::OsStr>));
        pitwatch_with(&[("PITWATCH_REVIEWER", "")], &arguments)
    };
    dismiss(&["--reason", "a field"])
        .expect(3)
        .says("--reviewer");
    dismiss(&["--reviewer", "ada"]).expect(3).says("--reason");
    let none = pitwatch(&[
        &"alerts",
        &"confirm",
        out,
        &"no-such-alert",
        &"--reviewer",
        &"ada",
    ]);
    none.expect(3).says("alerts list");
    assert_eq!(published.list()["precision"]["precision"], Value::Null);
    dismiss(&["--reviewer", "ada", "--reason", "a field"]).expect(0);

    let summary = published.run();
    assert_eq!(summary["precision"]["n_dismissed"], 1);
    assert_eq!(summary["precision"]["precision"], 0.0);
    assert_eq!(summary["precision"]["precision_lo"], 0.0);
    assert!(summary["precision"]["precision_hi"].as_f64().unwrap() > 0.5);
    let run = published.newest();
    assert_eq!(run.manifest().summary["n_reviewed_dismissed"], 1);
    let alerts = run.alerts();
    let alert = alerts
        .iter()
        .find(|alert| alert["alert_id"] == *alert_id)
        .unwrap();
    assert_eq!(alert["review"], "dismissed");
    let text = fs::read_to_string(run.folder.join("alerts.ndjson")).unwrap();
    assert_eq!(text.matches("pitwatch.alert.dismissed.v1").count(), 1);

    // The history stays, and says who and when.
    let shown = pitwatch(&[&"alerts", &"show", out, &alert_id])
        .expect(0)
        .stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["reviews"][0]["reviewer"], "ada");
    assert_eq!(shown["reviews"][0]["reason"], "a field");
    assert!(
        shown["reviews"][0]["reviewed_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert!(shown["events"].as_array().unwrap().len() >= 2);
}

#[test]
fn an_analyst_edits_the_layer_in_qgis_and_it_is_read_back() {
    let has_qgis = Command::new("/usr/bin/python3")
        .args(["-c", "import qgis.core"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_qgis {
        eprintln!(
            "SKIP an_analyst_edits_the_layer_in_qgis_and_it_is_read_back: no python3-qgis; run scripts/setup --tests"
        );
        return;
    }
    let published = Published::new("");
    let alert_id = published.alert_ids().remove(0);
    let file = published.export("reviews.geojson");
    let reason = "field, \"burnt\" – März";
    let edited = Command::new("/usr/bin/python3")
        .arg(path("tests/qgis/review.py"))
        .arg(&file)
        .args([&alert_id, "dismissed", reason, "Ada Ü."])
        .output()
        .unwrap();
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    let (finished, said) = published.import(&file);
    finished.expect(0);
    assert_eq!(said["n_imported"], 1);
    let listed = published.list();
    let rows = listed["alerts"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["alert_id"] == *alert_id)
        .unwrap();
    assert_eq!(
        (&row["review"], &row["reason"], &row["reviewer"]),
        (&json!("dismissed"), &json!(reason), &json!("Ada Ü."))
    );
    // Once more: it says what is there.
    let (finished, said) = published.import(&file);
    finished.expect(0);
    assert_eq!(said["n_imported"], 0);
    let log = pitwatch(&[&"alerts", &"log", &published.out])
        .expect(0)
        .stdout;
    assert!(log.contains("ada  export"), "{log}");
}

#[test]
fn unclear_rows_are_refused_one_by_one_and_the_others_are_taken() {
    let published = Published::new("");
    let ids = published.alert_ids();
    let file = published.export("reviews.geojson");
    pitwatch(&[
        &"alerts",
        &"export",
        &published.out,
        &"--file",
        &file,
        &"--reviewer",
        &"ada",
    ])
    .expect(3)
    .says("--overwrite");
    // Somebody is faster.
    pitwatch(&[
        &"alerts",
        &"confirm",
        &published.out,
        &ids[0],
        &"--reviewer",
        &"bob",
    ])
    .expect(0);
    edit(&file, |properties| {
        properties["review"] = "dismissed".into();
        properties["reason"] = "a field".into();
        properties["reviewer"] = "ada".into();
    });
    let (finished, said) = published.import(&file);
    finished.expect(3);
    let refused = said["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["alert_id"], *ids[0]);
    assert_eq!(refused[0]["column"], "review");
    assert!(refused[0]["message"].as_str().unwrap().contains("bob"));
    assert_eq!(
        said["n_imported"].as_u64().unwrap(),
        published.list()["alerts"].as_array().unwrap().len() as u64 - 1
    );

    let table = published.file("reviews.csv");
    let text = format!(
        "alert_id,review,reason,reviewer,review_id\nnowhere-1,confirmed,,ada,0\n{},perhaps,,ada,0\n,,,,\n",
        ids[0]
    );
    fs::write(&table, text).unwrap();
    let finished = pitwatch(&[&"reviews", &"import", &published.out, &table]).expect(3);
    for said in [
        "REFUSED line 2, nowhere-1, column alert_id",
        "REFUSED line 3",
        "column review: \"perhaps\" is no review",
        "0 imported",
    ] {
        assert!(finished.stdout.contains(said), "{}", finished.stdout);
    }
    fs::write(&table, "alert_id,review\n").unwrap();
    pitwatch(&[&"reviews", &"import", &published.out, &table])
        .expect(3)
        .says("reason");
}

/// All numbers and strings of a value.
fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| leaves(value, found)),
        Value::Object(values) => values.values().for_each(|value| leaves(value, found)),
        other => {
            found.insert(other.to_string());
        }
    }
}

#[test]
fn the_public_gets_no_exact_place_no_name_and_no_day() {
    let published = Published::new(PUBLIC);
    let run = published.newest();
    run.check(&latest(&published.out));
    pitwatch(&[&"validate", &published.out]).expect(0);
    let file = fs::read_to_string(run.folder.join("public/cells.geojson")).unwrap();
    let names: Vec<_> = fs::read_dir(run.folder.join("public")).unwrap().collect();
    assert_eq!(names.len(), 1);

    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let inbox = Arc::clone(&taken);
    let receiver = Server::start(move |request| {
        inbox
            .lock()
            .unwrap()
            .push(String::from_utf8(request.body.clone()).unwrap());
        Reply::status(200)
    });
    let endpoints = published.file("endpoints.toml");
    let text = format!(
        "[[endpoint]]\nname = \"press\"\nurl = \"{}/\"\nsecrets = [\"env:S\"]\nfeed = \"public\"\nallow_http = true\nallow_private = true\n",
        receiver.url()
    );
    fs::write(&endpoints, text).unwrap();
    let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    pitwatch_with(
        &[("S", secret)],
        &[
            &"alerts",
            &"deliver",
            &published.out,
            &"--endpoints",
            &endpoints,
        ],
    )
    .expect(0);
    let pushed = taken.lock().unwrap().clone();
    assert_eq!(pushed.len(), 1, "one event a run");
    let event: Value = serde_json::from_str(&pushed[0]).unwrap();
    assert_eq!(event["type"], "pitwatch.public.updated.v1");
    assert_eq!(event["data"], serde_json::from_str::<Value>(&file).unwrap());

    // Everything exact that the group has.
    let mut exact = BTreeSet::new();
    for feature in run.features("alerts.geojson") {
        leaves(&feature["geometry"]["coordinates"], &mut exact);
        for column in [
            "alert_id",
            "site_id",
            "start_datetime",
            "end_datetime",
            "confirmed_datetime",
        ] {
            leaves(&feature["properties"][column], &mut exact);
        }
    }
    exact.remove("null");
    assert!(exact.len() > 8);
    let run_id = latest(&published.out).run_id;
    for text in [&file, &pushed[0]] {
        let mut said = BTreeSet::new();
        leaves(&serde_json::from_str(text).unwrap(), &mut said);
        assert_eq!(
            said.intersection(&exact).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
        for secret in &exact {
            let bare = secret.trim_matches('"');
            assert!(bare.len() < 6 || !text.contains(bare), "{bare}");
        }
        assert!(!text.contains(&run_id));
    }
}
