//! A mirror in object storage is the same mirror: the same bytes, through kills and damage, and the same results from it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use pitwatch_tests::{
    BucketServer, Finished, KEYS, Mirror, Spec, difference, files_below, only_run,
};

/// Scenes on disk, a pipeline that fetches them, and a server with a bucket.
struct Case {
    scenes: Mirror,
    pipeline: String,
    server: BucketServer,
}

impl Case {
    fn new(test: &str, n_looks: usize) -> Option<Self> {
        let server = BucketServer::start(test)?;
        let scenes = Mirror::new(Spec {
            n_looks,
            ..Spec::default()
        });
        let pipeline = scenes.pipeline(&[("all", &scenes.polygon([0.01, 0.01, 0.99, 0.99]))]);
        let text = fs::read_to_string(&pipeline).unwrap();
        let text = text.replace(
            "catalog = \"mirror/collection.json\"",
            "sources = [\"disk\"]",
        ) + "\n[[scenes.source]]\nname = \"disk\"\nkind = \"static\"\nurl = \"mirror/collection.json\"\n";
        fs::write(&pipeline, text).unwrap();
        Some(Self {
            scenes,
            pipeline: pipeline.display().to_string(),
            server,
        })
    }

    fn folder(&self) -> PathBuf {
        self.scenes.folder().join("fetched")
    }

    fn fetch(&self, mirror: &str) -> Command {
        self.server
            .pitwatch(&["fetch", &self.pipeline, "--mirror", mirror])
    }

    /// Fetches into a folder.
    fn fetch_folder(&self) {
        done(&mut self.fetch(&self.folder().display().to_string()), 0);
    }

    #[track_caller]
    fn assert_same(&self, prefix: &str) {
        let (found, expected) = (self.server.objects(prefix), files_below(&self.folder()));
        let names = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
            files.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&found), names(&expected));
        for (name, bytes) in &expected {
            assert!(found[name] == *bytes, "{name}");
        }
    }
}

/// Runs a command to its end; whatever it says, it tells no key.
#[track_caller]
fn done(command: &mut Command, code: i32) -> Finished {
    let finished: Finished = command.output().unwrap().into();
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains("HIDDEN"), "{text}");
    }
    finished.expect(code)
}

#[test]
fn a_bucket_holds_the_same_bytes_as_a_folder_and_gives_the_same_run() {
    let Some(case) = Case::new(
        "a_bucket_holds_the_same_bytes_as_a_folder_and_gives_the_same_run",
        71,
    ) else {
        return;
    };
    let server = &case.server;
    case.fetch_folder();
    done(&mut case.fetch("s3://bucket/some/mirror"), 0);
    case.assert_same("some/mirror/");
    let folder = case.folder().display().to_string();
    let mut runs = Vec::new();
    for (name, mirror, flags) in [
        ("folder", folder.as_str(), &["--offline"][..]),
        ("bucket", "s3://bucket/some/mirror", &["--offline"]),
        ("searched", "s3://bucket/some/mirror", &[]),
    ] {
        let out = case.scenes.folder().join(name);
        let out_text = out.display().to_string();
        let mut arguments = vec![
            "run",
            &case.pipeline,
            "--mirror",
            mirror,
            "--out",
            &out_text,
        ];
        arguments.extend(flags);
        done(&mut server.pitwatch(&arguments), 0);
        runs.push(only_run(&out));
    }
    for run in &runs[1..] {
        assert_eq!(difference(run, &runs[0]), Vec::<String>::new());
        assert_eq!(run.folder.file_name(), runs[0].folder.file_name());
    }
    let manifest = fs::read_to_string(runs[1].folder.join("manifest.json")).unwrap();
    assert!(
        manifest.contains("\"s3://bucket/some/mirror/all\""),
        "{manifest}"
    );
    for text in [KEYS.0, KEYS.1, &server.endpoint()] {
        assert!(!manifest.contains(text), "{manifest}");
    }
    assert!(runs[0].alerts().len() == 1, "the pit is found");
}

#[test]
fn damage_in_a_bucket_is_found_and_fetched_again_and_what_is_unwanted_removed() {
    let test = "damage_in_a_bucket_is_found_and_fetched_again_and_what_is_unwanted_removed";
    let Some(case) = Case::new(test, 30) else {
        return;
    };
    let (server, mirror) = (&case.server, "s3://bucket/m");
    case.fetch_folder();
    done(&mut case.fetch(mirror), 0);
    let names = server.names("m/all/");
    let rasters: Vec<&String> = names
        .iter()
        .filter(|name| name.ends_with("red.tif"))
        .collect();
    let mut bytes = server.get(rasters[0]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    server.put(rasters[0], &bytes);
    server.put(rasters[1], &bytes[..last]);
    server.remove(rasters[2]);
    let found = done(&mut server.pitwatch(&["mirror", "verify", mirror]), 6);
    for (raster, what) in rasters
        .iter()
        .zip(["checksum", "instead of", "no such object"])
    {
        let line = format!("DAMAGED s3://bucket/{raster}: ");
        let told = found.stdout.lines().find(|text| text.starts_with(&line));
        assert!(told.unwrap().contains(what), "{}", found.stdout);
    }
    done(&mut case.fetch(mirror), 0).says("it is fetched again");
    case.assert_same("m/");
    let again = done(&mut case.fetch(mirror), 0);
    assert!(again.stdout.contains("0 fetched"), "{}", again.stdout);

    for stray in ["m/all/stray/red.tif", "m/all/searched.json.part"] {
        server.put(stray, b"x");
    }
    let item = names
        .iter()
        .find(|name| name.ends_with(".json") && name.matches('/').count() == 3);
    let beside = item.unwrap().replace(".json", ".old");
    server.put(&beside, b"x");
    let pruned = done(&mut server.pitwatch(&["mirror", "prune", mirror]), 0);
    assert!(
        pruned.stdout.contains("all: 3 removed"),
        "{}",
        pruned.stdout
    );
    case.assert_same("m/");
    // One area's part is a mirror to tend too.
    let one = done(
        &mut server.pitwatch(&["mirror", "verify", "s3://bucket/m/all"]),
        0,
    );
    assert!(one.stdout.starts_with("all: "), "{}", one.stdout);
}

#[test]
fn a_fetch_into_a_bucket_that_was_killed_is_completed_by_the_next() {
    let test = "a_fetch_into_a_bucket_that_was_killed_is_completed_by_the_next";
    let Some(case) = Case::new(test, 30) else {
        return;
    };
    case.fetch_folder();
    let n_all = files_below(&case.folder()).len();
    let mut n_killed = 0;
    for share in [0, 3, 5, 7, 9] {
        let mut child = case.fetch("s3://bucket/m").spawn().unwrap();
        let started = Instant::now();
        while case.server.names("m/").len() < (n_all * share / 10).max(1)
            && child.try_wait().unwrap().is_none()
        {
            assert!(started.elapsed() < Duration::from_secs(120), "it hangs");
            sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        n_killed += i32::from(!child.wait().unwrap().success());
        assert!(case.server.names("m/").len() < n_all, "killed too late");
    }
    assert_eq!(n_killed, 5);
    assert!(case.server.names("m/").contains(&"m/all/.lock".to_owned()));
    done(&mut case.fetch("s3://bucket/m"), 0);
    case.assert_same("m/");
}

#[test]
fn two_fetches_do_not_write_to_one_bucket() {
    let Some(case) = Case::new("two_fetches_do_not_write_to_one_bucket", 30) else {
        return;
    };
    let lock = "m/all/.lock";
    let mut first = case.fetch("s3://bucket/m").spawn().unwrap();
    let started = Instant::now();
    while !case.server.names("m/").contains(&lock.to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(60), "no lock");
        sleep(Duration::from_millis(5));
    }
    let elsewhere = case.scenes.folder().join("state");
    for state in [None, Some(&elsewhere)] {
        let mut second = case.fetch("s3://bucket/m");
        if let Some(state) = state {
            second.env("XDG_STATE_HOME", state);
        }
        done(&mut second, 75).says("is held by another fetch");
    }
    assert!(first.wait().unwrap().success());
    assert!(!case.server.names("m/").contains(&lock.to_owned()));

    // A process of another machine, of which nothing is known but its lock.
    let foreign = r#"{"token":"ab","owner":"barge, process 7","since":"2026-01-01T00:00:00Z"}"#;
    case.server.put(lock, foreign.as_bytes());
    done(&mut case.fetch("s3://bucket/m"), 75)
        .says("barge, process 7, since 2026-01-01T00:00:00Z; if it is dead, wait until ")
        .says("or remove s3://bucket/m/all/.lock");
    done(
        &mut case.server.pitwatch(&["mirror", "prune", "s3://bucket/m"]),
        75,
    );
    case.server.remove(lock);
    done(&mut case.fetch("s3://bucket/m"), 0);
}

#[test]
fn what_is_wrong_with_a_bucket_is_said_with_what_to_do() {
    let Some(case) = Case::new("what_is_wrong_with_a_bucket_is_said_with_what_to_do", 2) else {
        return;
    };
    for (mirror, fix) in [
        (
            "s3://absent-bucket/m",
            "there is no such bucket; create it, or mend the address",
        ),
        ("ftp://host/m", "s3://BUCKET/PREFIX"),
        ("s3://HIDDENA:HIDDENB@bucket/m", "in the environment"),
        (
            "s3://bucket/m?sig=HIDDEN",
            "leave out what follows the ? or #",
        ),
    ] {
        done(&mut case.fetch(mirror), 3).says(fix);
        done(&mut case.server.pitwatch(&["mirror", "verify", mirror]), 3).says(fix);
    }
    let plain = done(case.fetch("s3://bucket/m").env_remove("AWS_ALLOW_HTTP"), 3);
    assert!(
        plain.stderr.contains("AWS_ALLOW_HTTP=true"),
        "{}",
        plain.stderr
    );
    done(
        &mut case
            .server
            .pitwatch(&["mirror", "verify", "s3://bucket/empty"]),
        3,
    )
    .says("holds no area");
}
