//! A bucket on loopback: moto's S3 server, which others wrote.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::program::{binary, path, root};

/// The longest that the server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// moto asks for a signature and does not check it.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
/// Keys that must never be shown.
pub const KEYS: (&str, &str) = ("HIDDENID", "HIDDENKEY");

/// A server with one empty bucket, stopped with the value.
#[derive(Debug)]
pub struct BucketServer {
    process: Child,
    port: u16,
    state: tempfile::TempDir,
}

impl BucketServer {
    /// Starts it; `None`, and a line that says so, where it is not installed.
    ///
    /// - `test`: the name of the test.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    #[expect(
        clippy::print_stderr,
        reason = "scripts/test collects what was skipped"
    )]
    pub fn start(test: &str) -> Option<Self> {
        let program = path(".venv/bin/moto_server");
        if !program.exists() {
            eprintln!("SKIP {test}: .venv has no moto_server; run scripts/setup --tests");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let state = tempfile::tempdir().unwrap();
        let server = Self {
            process,
            port,
            state,
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < START, "moto_server does not start");
            sleep(Duration::from_millis(50));
        }
        assert_eq!(server.ask("PUT", "", b"").0, 200);
        Some(server)
    }

    /// Address of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The program with what it needs to reach the bucket, `s3://bucket`.
    #[must_use]
    pub fn pitwatch(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(root())
            .env_remove("RUST_BACKTRACE")
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", KEYS.0)
            .env("AWS_SECRET_ACCESS_KEY", KEYS.1)
            .env("XDG_STATE_HOME", self.state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Names of the objects below a prefix.
    ///
    /// # Panics
    ///
    /// If they cannot be listed.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().cloned().unwrap_or_default();
            let query = format!("?list-type=2&prefix={prefix}&start-after={after}");
            let (status, body) = self.ask("GET", &query, b"");
            assert_eq!(status, 200);
            let text = String::from_utf8(body).unwrap();
            let keys = text.split("<Key>").skip(1);
            names.extend(keys.map(|rest| rest.split("</Key>").next().unwrap().to_owned()));
            if !text.contains("<IsTruncated>true</IsTruncated>") {
                return names;
            }
        }
    }

    /// The bytes of the objects below a prefix, by the rest of their name.
    #[must_use]
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let rest = |name: &String| name[prefix.len()..].to_owned();
        let names = self.names(prefix);
        names
            .iter()
            .map(|name| (rest(name), self.get(name)))
            .collect()
    }

    /// The bytes of an object.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Vec<u8> {
        let (status, body) = self.ask("GET", &format!("/{name}"), b"");
        assert_eq!(status, 200, "{name}");
        body
    }

    /// Writes an object.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        assert_eq!(self.ask("PUT", &format!("/{name}"), bytes).0, 200, "{name}");
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) {
        self.ask("DELETE", &format!("/{name}"), b"");
    }

    fn ask(&self, method: &str, rest: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} /bucket{rest} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nAuthorization: {SIGNED}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The bytes of a folder's files, by their path below it; hidden ones are left out.
///
/// # Panics
///
/// If one cannot be read.
#[must_use]
pub fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
