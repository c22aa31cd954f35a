//! Pushes: a receiver may fail, stall, answer 500 after accepting and restart, and the program may be killed; nothing is
//! lost, what comes twice has the same id, and each subject's events come in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pitwatch_tests::{Fault, Finished, Reply, Request, Server, command, path, pitwatch_with};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=";

/// An output folder whose ledger has events, and a file of endpoints.
struct Outbox {
    folder: TempDir,
}

impl Outbox {
    /// Events by subject and revision, in their order.
    fn new(events: &[(&str, i64)]) -> Self {
        let outbox = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(outbox.out()).unwrap();
        let ledger = outbox.ledger();
        let mut version = 0;
        while let Ok(sql) = fs::read_to_string(path(&format!(
            "crates/pitwatch/src/ledger.v{}.sql",
            version + 1
        ))) {
            ledger.execute_batch(&sql).unwrap();
            version += 1;
        }
        ledger.pragma_update(None, "user_version", version).unwrap();
        ledger
            .execute(
                "INSERT INTO runs (run_id, pipeline_sha256, manifest_sha256, state) VALUES ('run', '', '', 'published')",
                [],
            )
            .unwrap();
        for (subject, revision) in events {
            outbox.add(subject, *revision);
        }
        outbox
    }

    fn add(&self, subject: &str, revision: i64) {
        let id = format!("id-{subject}-{revision}");
        let body = json!({"id": id, "subject": subject, "revision": revision, "place": "exact: 6.1234567 ü"});
        self.ledger()
            .execute(
                "INSERT INTO events (event_id, run_id, subject, revision, type, body)
                 VALUES (?1, 'run', ?2, ?3, 'pitwatch.alert.updated.v1', ?4)",
                params![id, subject, revision, body.to_string()],
            )
            .unwrap();
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn ledger(&self) -> Connection {
        let ledger = Connection::open(self.out().join("ledger.sqlite")).unwrap();
        ledger.busy_timeout(Duration::from_secs(20)).unwrap();
        ledger
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("endpoints.toml")
    }

    /// Writes the file of endpoints, with one that is asked at an address.
    fn point_to(&self, url: &str) {
        self.write(&format!(
            "url = \"{url}/hook?token=hidden\"\nsecrets = [\"env:HOOK_SECRET\"]\nallow_private = true\n"
        ));
    }

    fn write(&self, lines: &str) {
        let text = format!(
            "[[endpoint]]\nname = \"group\"\nfeed = \"group\"\nallow_http = true\ntimeout_seconds = 1\n{lines}"
        );
        fs::write(self.file(), text).unwrap();
    }

    fn deliver(&self) -> Finished {
        self.deliver_with(&[])
    }

    fn deliver_with(&self, variables: &[(&str, &str)]) -> Finished {
        let mut all = vec![("HOOK_SECRET", SECRET)];
        all.extend(variables);
        let finished = pitwatch_with(
            &all,
            &[
                &"alerts",
                &"deliver",
                &self.out(),
                &"--endpoints",
                &self.file(),
                &"--json",
            ],
        );
        // Neither a secret nor a token is ever said.
        for text in [&finished.stdout, &finished.stderr] {
            assert!(
                !text.contains("hidden") && !text.contains("MfKQ9r8"),
                "{text}"
            );
        }
        finished
    }

    fn alerts(&self, arguments: &[&str]) -> Finished {
        let out = self.out();
        let mut command = command(&[&"alerts", &arguments[0], &out]);
        command
            .args(&arguments[1..])
            .env("PITWATCH_REVIEWER", "ada");
        command.output().unwrap().into()
    }

    /// Lets the pauses of the schedule pass.
    fn make_due(&self) {
        let due = "UPDATE deliveries SET next_at = '2020-01-01T00:00:00Z' WHERE state = 'pending'";
        self.ledger().execute(due, []).unwrap();
    }

    fn ids(&self) -> BTreeSet<String> {
        let ledger = self.ledger();
        let mut statement = ledger.prepare("SELECT event_id FROM events").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// What a receiver took in, in the order of arrival.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Request>>>);

impl Inbox {
    fn take(&self, request: &Request) {
        self.0.lock().unwrap().push(request.clone());
    }

    fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests
            .map(|request| request.headers["webhook-id"].clone())
            .collect()
    }

    /// A receiver that takes in everything.
    fn receive(&self) -> Server {
        let inbox = self.clone();
        Server::start(move |request| {
            inbox.take(request);
            Reply::status(204)
        })
    }

    /// Nothing is missing, and what is left when repeated ids are dropped is in the order of each subject.
    fn check(&self, expected: &BTreeSet<String>) {
        let mut seen = BTreeSet::new();
        let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
        for request in self.requests() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(body["id"], *request.headers["webhook-id"]);
            assert_eq!(
                request.headers["content-type"],
                "application/cloudevents+json"
            );
            if seen.insert(request.headers["webhook-id"].clone()) {
                let revision = body["revision"].as_i64().unwrap();
                let last = revisions
                    .insert(body["subject"].as_str().unwrap().to_owned(), revision)
                    .unwrap_or(0);
                assert_eq!(revision, last + 1, "{body}");
            }
        }
        assert_eq!(&seen, expected);
    }
}

fn events() -> Vec<(&'static str, i64)> {
    let subjects = ["a", "b", "c", "d"];
    (1..=4)
        .flat_map(|revision| subjects.map(|subject| (subject, revision)))
        .collect()
}

#[test]
fn a_receiver_that_fails_in_all_ways_gets_everything_in_order() {
    let outbox = Outbox::new(&events());
    let inbox = Inbox::default();
    let elsewhere = Inbox::default();
    let other = elsewhere.receive();
    // Fails, fails after accepting, redirects, refuses: one request in two goes well.
    let start = |first: usize| {
        let (inbox, other) = (inbox.clone(), other.url());
        let n = Mutex::new(first);
        Server::start(move |request| {
            let mut n = n.lock().unwrap();
            *n += 1;
            match *n % 8 {
                1 => Reply::status(500),
                3 => {
                    inbox.take(request);
                    Reply::status(500)
                }
                5 => Reply::Text {
                    status: 307,
                    headers: vec![("Location".into(), format!("{other}/hook"))],
                    body: Vec::new(),
                },
                7 => Reply::status(404),
                _ => {
                    inbox.take(request);
                    Reply::status(202)
                }
            }
        })
    };
    let mut receiver = start(0);
    let mut n_starts = 0;
    loop {
        n_starts += 1;
        outbox.point_to(&receiver.url());
        let finished = outbox.deliver();
        if finished.code == Some(0) {
            break;
        }
        finished.expect(7);
        assert!(n_starts < 60, "not delivered after {n_starts} starts");
        // Without time passing, what waits is not sent again.
        outbox.make_due();
        match n_starts {
            // Stalls: each answer comes too late, though it was accepted.
            2 => receiver.set_latency(Duration::from_millis(1_400)),
            3 => receiver.set_latency(Duration::ZERO),
            // Is down for a while, and comes back at another address.
            4 => {
                let url = receiver.url();
                drop(receiver);
                outbox.point_to(&url);
                outbox.deliver().expect(7);
                outbox.make_due();
                receiver = start(n_starts);
            }
            _ => {}
        }
    }
    inbox.check(&outbox.ids());
    let n_received = inbox.ids().len();
    assert!(
        n_received > outbox.ids().len(),
        "nothing came twice: {n_received}"
    );
    // The redirect was not followed.
    assert_eq!(elsewhere.ids(), Vec::<String>::new());
    let ledger = outbox.ledger();
    let count = |sql: &str| -> i64 { ledger.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        count("SELECT count(*) FROM deliveries WHERE state = 'delivered'"),
        16
    );
    assert_eq!(
        count("SELECT count(*) FROM attempts WHERE outcome = 'delivered'"),
        16
    );
    assert!(count("SELECT count(*) FROM attempts WHERE status IS NULL") > 0);
    let log = outbox.alerts(&["log"]).expect(0).stdout;
    assert!(
        log.contains("404") && log.contains("307") && !log.contains("hidden"),
        "{log}"
    );
    // Nothing is left to do.
    let n = inbox.ids().len();
    outbox.deliver().expect(0);
    assert_eq!(inbox.ids().len(), n);
}

#[test]
fn what_is_due_later_waits_and_holds_up_its_subject_alone() {
    let outbox = Outbox::new(&[("a", 1), ("a", 2), ("b", 1)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    outbox.point_to(&receiver.url());
    receiver.fault(
        "/hook",
        1,
        Fault::Status(503, vec![("Retry-After".into(), "3600".into())]),
    );
    // A receiver that asks for rest gets it: nothing else is sent either.
    outbox.deliver().expect(7);
    assert_eq!(receiver.counts().n_requests, 1);
    outbox.deliver().expect(7);
    assert_eq!(inbox.ids(), ["id-b-1"]);
    let next_at: String = outbox
        .ledger()
        .query_row(
            "SELECT next_at FROM deliveries WHERE event_id = 'id-a-1'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let pause = pitwatch_grid::parse_time(&next_at).unwrap() - chrono::Utc::now();
    assert!((3_500..=3_600).contains(&pause.num_seconds()), "{next_at}");
    outbox.make_due();
    outbox.deliver().expect(0);
    assert_eq!(inbox.ids(), ["id-b-1", "id-a-1", "id-a-2"]);
}

#[test]
fn after_the_last_attempt_an_event_is_dead_until_it_is_replayed() {
    let outbox = Outbox::new(&[("a", 1), ("a", 2)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    outbox.point_to(&receiver.url());
    receiver.fault("/hook", 10, Fault::Status(500, Vec::new()));
    for _ in 0..9 {
        outbox.deliver().expect(7);
        outbox.make_due();
    }
    assert_eq!(receiver.counts().n_requests, 9);
    // The tenth attempt is the last one, and the next event of the subject is free.
    let finished = outbox.deliver().expect(7);
    let said: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(
        (&said[0]["n_dead"], &said[0]["n_pending"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(inbox.ids(), ["id-a-2"]);
    outbox.deliver().expect(7);
    outbox
        .alerts(&["replay", "--endpoint", "nobody", "--dead"])
        .expect(3)
        .says("known are: group");
    outbox
        .alerts(&["replay", "--endpoint", "group", "--dead"])
        .expect(0);
    outbox.deliver().expect(0);
    assert_eq!(inbox.ids(), ["id-a-2", "id-a-1"]);
    outbox
        .alerts(&["replay", "--endpoint", "group", "--from", "1"])
        .expect(0);
    outbox.deliver().expect(0);
    assert_eq!(inbox.ids()[2..], ["id-a-1", "id-a-2"]);
    let log = outbox.alerts(&["log"]).expect(0).stdout;
    assert!(log.contains("ada  replay  group"), "{log}");
}

#[test]
fn an_endpoint_that_is_gone_is_left_alone_until_it_is_enabled() {
    let outbox = Outbox::new(&[("a", 1)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    outbox.point_to(&receiver.url());
    receiver.fault("/hook", 1, Fault::Status(410, Vec::new()));
    outbox.deliver().expect(7);
    outbox.add("a", 2);
    let finished = outbox.deliver().expect(7);
    assert!(finished.stdout.contains("410"), "{}", finished.stdout);
    assert_eq!(receiver.counts().n_requests, 1);
    outbox.alerts(&["enable", "--endpoint", "group"]).expect(0);
    outbox.deliver().expect(0);
    inbox.check(&outbox.ids());
}

#[test]
fn private_addresses_and_secrets_in_the_file_are_refused() {
    let outbox = Outbox::new(&[("a", 1)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    for host in [
        receiver.url(),
        receiver.url().replace("127.0.0.1", "localhost"),
    ] {
        outbox.write(&format!(
            "url = \"{host}/hook\"\nsecrets = [\"env:HOOK_SECRET\"]\n"
        ));
        outbox.make_due();
        let finished = outbox.deliver().expect(7);
        assert!(finished.stderr.contains("private"), "{}", finished.stderr);
    }
    assert_eq!(receiver.counts().n_requests, 0);

    let url = format!("url = \"{}/hook\"\nallow_private = true\n", receiver.url());
    for (secrets, what) in [
        (format!("secrets = [\"{SECRET}\"]\n"), "env:NAME"),
        (format!("secrets = \"{SECRET}\"\n"), "line 8"),
        (format!("secret = \"{SECRET}\"\n"), "unknown field"),
        ("secrets = [\"env:NOT_SET\"]\n".into(), "NOT_SET"),
        ("secrets = [\"file:/nonexistent\"]\n".into(), "/nonexistent"),
        (
            "secrets = [\"credential:hook\"]\n".into(),
            "LoadCredential=hook",
        ),
    ] {
        outbox.write(&format!("{url}{secrets}"));
        outbox.deliver().expect(3).says(what);
    }
    assert_eq!(receiver.counts().n_requests, 0);
}

/// Checks requests with the reference library of Standard Webhooks for Python: true of a secret that the signature is of.
const VERIFY: &str = r#"
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
for request in json.load(sys.stdin):
    said = []
    for secret in sys.argv[1:]:
        try:
            body = Webhook(secret).verify(request["body"], request["headers"])
            said.append(body["id"] == request["headers"]["webhook-id"])
        except WebhookVerificationError:
            said.append(False)
    print(json.dumps(said))
"#;

#[test]
fn the_reference_library_of_another_language_verifies_both_secrets() {
    let python = path(".venv/bin/python");
    let has_library = Command::new(&python)
        .args(["-c", "import standardwebhooks"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_library {
        eprintln!(
            "SKIP the_reference_library_of_another_language_verifies_both_secrets: .venv has no standardwebhooks; run \
             scripts/setup --tests"
        );
        return;
    }
    let outbox = Outbox::new(&[("a", 1), ("b", 1)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    // The new secret from a credential of systemd, the old one from a file.
    let credentials = outbox.folder.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("hook"), format!("{SECRET}\n")).unwrap();
    let old = outbox.folder.path().join("old");
    fs::write(&old, OLD_SECRET).unwrap();
    outbox.write(&format!(
        "url = \"{}/hook\"\nallow_private = true\nsecrets = [\"credential:hook\", \"file:{}\"]\n",
        receiver.url(),
        old.display()
    ));
    let folder = credentials.display().to_string();
    outbox
        .deliver_with(&[("CREDENTIALS_DIRECTORY", &folder)])
        .expect(0);
    let mut requests: Vec<Value> = inbox
        .requests()
        .iter()
        .map(|request| {
            json!({"headers": request.headers, "body": String::from_utf8(request.body.clone()).unwrap()})
        })
        .collect();
    assert_eq!(requests.len(), 2);
    // One letter more, and no secret fits.
    let mut forged = requests[0].clone();
    forged["body"] = format!("{} ", forged["body"].as_str().unwrap()).into();
    requests.push(forged);
    let input = outbox.folder.path().join("requests.json");
    fs::write(&input, serde_json::to_string(&requests).unwrap()).unwrap();
    let output = Command::new(&python)
        .args([
            "-c",
            VERIFY,
            SECRET,
            OLD_SECRET,
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ])
        .stdin(fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "[true, true, false]",
            "[true, true, false]",
            "[false, false, false]"
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_delivery_that_is_killed_loses_nothing() {
    let outbox = Outbox::new(&events());
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    receiver.set_latency(Duration::from_millis(60));
    outbox.point_to(&receiver.url());
    for _ in 0..4 {
        let before = receiver.counts().n_requests;
        let (out, file) = (outbox.out(), outbox.file());
        let mut child = command(&[&"alerts", &"deliver", &out, &"--endpoints", &file]);
        let mut child = child.env("HOOK_SECRET", SECRET).spawn().unwrap();
        let start = Instant::now();
        while receiver.counts().n_requests < before + 3 && start.elapsed().as_secs() < 30 {
            sleep(Duration::from_millis(5));
        }
        // SIGKILL: nothing is written any more.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Once more at the worst moment: accepted, and not written down yet.
    let crashed = outbox.deliver_with(&[("PITWATCH_CRASH_AT", "sent")]);
    assert_eq!(crashed.code, None);
    outbox.deliver().expect(0);
    // Answers that nobody waits for any more are still given.
    sleep(Duration::from_millis(200));
    inbox.check(&outbox.ids());
    assert!(inbox.ids().len() > outbox.ids().len(), "{:?}", inbox.ids());
}

#[test]
fn one_delivery_at_a_time_holds_the_folder() {
    let outbox = Outbox::new(&[("a", 1)]);
    let inbox = Inbox::default();
    let receiver = inbox.receive();
    receiver.set_latency(Duration::from_millis(900));
    outbox.point_to(&receiver.url());
    let (out, file) = (outbox.out(), outbox.file());
    let mut first = command(&[&"alerts", &"deliver", &out, &"--endpoints", &file]);
    let mut first = first.env("HOOK_SECRET", SECRET).spawn().unwrap();
    let start = Instant::now();
    while receiver.counts().n_requests == 0 && start.elapsed().as_secs() < 30 {
        sleep(Duration::from_millis(5));
    }
    outbox.deliver().expect(75);
    assert!(first.wait().unwrap().success());
    inbox.check(&outbox.ids());
    let nowhere: &Path = Path::new("/nonexistent/out");
    let finished = pitwatch_with(
        &[("HOOK_SECRET", SECRET)],
        &[&"alerts", &"deliver", &nowhere, &"--endpoints", &file],
    );
    finished.expect(3);
}
