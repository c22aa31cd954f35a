//! Servers that were not written here, started for a test: a STAC API (rustac) and S3 (moto).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The longest that a server may take to start, on a busy machine: moto loads for some seconds.
const START: Duration = Duration::from_mins(1);

/// A program of `.venv` that listens on a port of this machine; it ends with the value.
#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    /// What it says on standard output.
    log: PathBuf,
}

impl Server {
    /// Starts a program and waits until it listens.
    fn start(folder: &Path, name: &str, arguments: impl Fn(u16) -> Vec<String>) -> Self {
        // The port is free now; that another takes it before the program does is unlikely.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let log = folder.join(format!("{name}-{port}.log"));
        let errors = folder.join(format!("{name}-{port}.errors"));
        let child = Command::new(crate::path(".venv/bin").join(name))
            .args(arguments(port))
            .current_dir(crate::root())
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { child, port, log };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let has_ended = server.child.try_wait().unwrap().is_some();
            assert!(
                !has_ended && start.elapsed() < START,
                "{name} does not start: {}",
                fs::read_to_string(&errors).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True if the servers are installed; else a word about the test that is skipped.
#[must_use]
#[expect(clippy::print_stderr, reason = "how tests say that they are skipped")]
pub fn has_servers(test: &str) -> bool {
    let is_there = crate::path(".venv/bin/rustac").exists();
    if !is_there {
        eprintln!("SKIP {test}: .venv has no rustac; run scripts/setup --tests");
    }
    is_there
}

/// A STAC API of rustac that holds items in memory.
#[derive(Debug)]
pub struct StacApi(Server);

impl StacApi {
    /// Starts it with items, each with its collection's id.
    #[must_use]
    pub fn start(folder: &Path, items: &[Value]) -> Self {
        let path = folder.join("items.json");
        let features = json!({"type": "FeatureCollection", "features": items});
        fs::write(&path, features.to_string()).unwrap();
        Self(Server::start(folder, "rustac", |port| {
            let path = path.display().to_string();
            let address = format!("127.0.0.1:{port}");
            vec![
                "serve".into(),
                path,
                "--addr".into(),
                address,
                "--create-collections".into(),
            ]
        }))
    }

    /// Root of the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }
}

/// An S3 server of moto, whose signatures botocore checks (`tests/servers/s3.py`).
#[derive(Debug)]
pub struct S3(Server);

/// Who may read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBy {
    /// Anyone.
    Anyone,
    /// Those with the keys.
    KeysAlone,
}

impl S3 {
    /// The access key that it knows.
    pub const ACCESS_KEY: &str = "AKIAPITWATCHTEST";
    /// The secret to it.
    pub const SECRET_KEY: &str = "a/secret+of=the tests";
    /// Its region.
    pub const REGION: &str = "eu-test-1";

    /// Starts it without a bucket.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        Self(Server::start(folder, "python", |port| {
            vec![
                "tests/servers/s3.py".into(),
                port.to_string(),
                Self::ACCESS_KEY.into(),
                Self::SECRET_KEY.into(),
                Self::REGION.into(),
            ]
        }))
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) {
        self.send(&format!("/{bucket}"), ReadBy::KeysAlone, &[]);
    }

    /// Puts an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8], read_by: ReadBy) {
        self.send(&format!("/{bucket}/{key}"), read_by, bytes);
    }

    fn send(&self, path: &str, read_by: ReadBy, bytes: &[u8]) {
        let mut head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n",
            self.host(),
            bytes.len()
        );
        if read_by == ReadBy::Anyone {
            head += "x-amz-acl: public-read\r\n";
        }
        let _ = write!(head, "\r\n");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0.port)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }

    /// The reads so far: status, `signed` or `plain`, path.
    #[must_use]
    pub fn reads(&self) -> Vec<[String; 3]> {
        let text = fs::read_to_string(&self.0.log).unwrap();
        let parts = |line: &str| -> [String; 3] {
            let parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
            parts.try_into().unwrap()
        };
        text.lines().map(parts).collect()
    }
}
