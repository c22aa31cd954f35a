//! The client against a server that misbehaves as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

/// What the server does with its n-th request: the target and the lines of the head in, true to go on out.
type Script = Box<dyn Fn(usize, &str, &BTreeMapHead, &mut TcpStream) + Send + Sync>;
type BTreeMapHead = std::collections::BTreeMap<String, String>;

struct Server {
    port: u16,
    n_requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let n_requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&n_requests);
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, count) = (Arc::clone(&script), Arc::clone(&count));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut stream = stream;
                    let mut first = String::new();
                    if reader.read_line(&mut first).unwrap_or(0) == 0 {
                        return;
                    }
                    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    let mut head = BTreeMapHead::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                            break;
                        }
                        if let Some((name, value)) = line.split_once(':') {
                            head.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                        }
                    }
                    let length = head
                        .get("content-length")
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0);
                    let mut body = vec![0; length];
                    let _ = reader.read_exact(&mut body);
                    let index = count.fetch_add(1, Ordering::SeqCst);
                    script(index, &target, &head, &mut stream);
                    let _ = stream.flush();
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        Self { port, n_requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn n(&self) -> usize {
        self.n_requests.load(Ordering::SeqCst)
    }

    fn access(&self) -> Access {
        Access {
            hosts: vec![format!("127.0.0.1:{}", self.port)],
            allow_private: true,
            allow_http: true,
        }
    }

    fn remote(&self) -> Remote {
        net().remote(self.access(), Signing::none()).unwrap()
    }
}

fn quick() -> Limits {
    Limits {
        attempts: 4,
        connect_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_millis(300),
        first_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        ..Limits::default()
    }
}

fn net() -> Net {
    Net::new(quick())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

const FILE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// A right answer to a request for a part of the file.
fn part(head: &BTreeMapHead, stream: &mut TcpStream) {
    let range = head["range"].strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse::<usize>().unwrap().min(FILE.len() - 1);
    if first >= FILE.len() {
        send(
            stream,
            "416 Range Not Satisfiable",
            &format!(
                "Content-Range: bytes */{}\r\nContent-Length: 0\r\n",
                FILE.len()
            ),
            b"",
        );
        return;
    }
    let headers = format!(
        "Content-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n",
        FILE.len(),
        last + 1 - first
    );
    send(stream, "206 Partial Content", &headers, &FILE[first..=last]);
}

#[test]
fn a_part_of_a_file_is_exactly_that() {
    let server = Server::start(Box::new(|_, _, head, stream| part(head, stream)));
    let remote = server.remote();
    let got = wait(remote.range(&server.url("/f"), 4..10)).unwrap();
    assert_eq!((&got.bytes[..], got.total_bytes), (&FILE[4..10], 36));
    let got = wait(remote.range(&server.url("/f"), 30..100)).unwrap();
    assert_eq!((&got.bytes[..], got.total_bytes), (&FILE[30..], 36));
    let got = wait(remote.range(&server.url("/f"), 50..100)).unwrap();
    assert_eq!((got.bytes.len(), got.total_bytes), (0, 36));
}

#[test]
fn what_may_pass_by_itself_is_tried_again() {
    type Fault = fn(&BTreeMapHead, &mut TcpStream);
    let faults: [(&str, Fault); 8] = [
        ("503", |_, stream| {
            send(stream, "503 Busy", "Content-Length: 0\r\n", b"")
        }),
        ("500", |_, stream| {
            send(stream, "500 Broken", "Content-Length: 4\r\n", b"oops")
        }),
        ("429", |_, stream| {
            send(
                stream,
                "429 Slow",
                "Retry-After: 0\r\nContent-Length: 0\r\n",
                b"",
            )
        }),
        ("reset", |_, stream| {
            send(
                stream,
                "206 P",
                "Content-Range: bytes 4-9/36\r\nContent-Length: 6\r\n",
                b"45",
            );
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
        ("stall", |_, stream| {
            send(
                stream,
                "206 P",
                "Content-Range: bytes 4-9/36\r\nContent-Length: 6\r\n",
                b"45",
            );
            thread::sleep(Duration::from_millis(800));
        }),
        ("short", |_, stream| {
            send(
                stream,
                "206 P",
                "Content-Range: bytes 4-9/36\r\nContent-Length: 3\r\n",
                b"456",
            )
        }),
        ("wrong range", |_, stream| {
            send(
                stream,
                "206 P",
                "Content-Range: bytes 5-10/36\r\nContent-Length: 6\r\n",
                b"56789a",
            );
        }),
        ("no answer", |_, stream| {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }),
    ];
    for (name, fault) in faults {
        let server = Server::start(Box::new(move |n, _, head, stream| {
            if n < 2 {
                fault(head, stream)
            } else {
                part(head, stream)
            }
        }));
        let got = wait(server.remote().range(&server.url("/f"), 4..10)).unwrap();
        assert_eq!(&got.bytes[..], &FILE[4..10], "{name}");
        assert_eq!(server.n(), 3, "{name}");

        let server = Server::start(Box::new(move |_, _, head, stream| fault(head, stream)));
        let error = wait(server.remote().range(&server.url("/f"), 4..10)).unwrap_err();
        assert_eq!(error.kind, FaultKind::Transient, "{name}: {error}");
        assert_eq!(server.n(), 4, "{name}");
    }
}

#[test]
fn retry_after_is_obeyed() {
    let server = Server::start(Box::new(|n, _, head, stream| {
        if n == 0 {
            send(
                stream,
                "429 Slow",
                "Retry-After: 1\r\nContent-Length: 0\r\n",
                b"",
            );
        } else {
            part(head, stream);
        }
    }));
    let limits = Limits {
        max_delay: Duration::from_secs(1),
        ..quick()
    };
    let remote = Net::new(limits)
        .remote(server.access(), Signing::none())
        .unwrap();
    let start = std::time::Instant::now();
    wait(remote.range(&server.url("/f"), 0..4)).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_date_to_retry_after_is_read_by_the_servers_clock() {
    let mut headers = HeaderMap::new();
    headers.insert(DATE, "Mon, 01 Jan 2001 00:00:00 GMT".parse().unwrap());
    headers.insert(
        RETRY_AFTER,
        "Mon, 01 Jan 2001 00:00:07 GMT".parse().unwrap(),
    );
    assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
}

#[test]
fn a_dead_server_uses_up_a_budget_and_no_more() {
    let server = Server::start(Box::new(|_, _, _, stream| {
        send(stream, "503 Busy", "Content-Length: 0\r\n", b"")
    }));
    let limits = Limits {
        retry_budget: 5,
        ..quick()
    };
    let remote = Net::new(limits)
        .remote(server.access(), Signing::none())
        .unwrap();
    for _ in 0..10 {
        wait(remote.whole(&server.url("/f"), 100)).unwrap_err();
    }
    assert_eq!(server.n(), 15);
}

#[test]
fn what_does_not_pass_is_not_tried_again() {
    for (status, kind) in [
        ("404 None", FaultKind::Permanent),
        ("403 No", FaultKind::Permanent),
        ("410 Gone", FaultKind::Permanent),
    ] {
        let server = Server::start(Box::new(move |_, _, _, stream| {
            send(stream, status, "Content-Length: 0\r\n", b"")
        }));
        let error = wait(server.remote().whole(&server.url("/f"), 100)).unwrap_err();
        assert_eq!((error.kind, server.n()), (kind, 1), "{status}");
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_up_to_the_end_of_the_range() {
    let server = Server::start(Box::new(|_, _, _, stream| {
        send(
            stream,
            "200 OK",
            &format!("Content-Length: {}\r\n", FILE.len()),
            FILE,
        );
    }));
    let got = wait(server.remote().range(&server.url("/f"), 4..10)).unwrap();
    assert_eq!((&got.bytes[..], got.total_bytes), (&FILE[4..10], 36));
}

#[test]
fn redirects_are_followed_within_the_rules() {
    let server = Server::start(Box::new(|_, target, head, stream| match target {
        "/a" => send(
            stream,
            "302 Found",
            "Location: /f\r\nContent-Length: 0\r\n",
            b"",
        ),
        "/metadata" => {
            send(
                stream,
                "302 Found",
                "Location: http://169.254.169.254/latest\r\nContent-Length: 0\r\n",
                b"",
            );
        }
        "/other" => send(
            stream,
            "301 Moved",
            "Location: https://example.org/f\r\nContent-Length: 0\r\n",
            b"",
        ),
        "/file" => send(
            stream,
            "302 Found",
            "Location: file:///etc/passwd\r\nContent-Length: 0\r\n",
            b"",
        ),
        "/loop" => send(
            stream,
            "302 Found",
            "Location: /loop\r\nContent-Length: 0\r\n",
            b"",
        ),
        _ => part(head, stream),
    }));
    let remote = server.remote();
    let got = wait(remote.range(&server.url("/a"), 0..4)).unwrap();
    assert_eq!(&got.bytes[..], b"0123");
    for path in ["/metadata", "/other", "/file", "/loop"] {
        let error = wait(remote.range(&server.url(path), 0..4)).unwrap_err();
        assert_eq!(error.kind, FaultKind::Refused, "{path}: {error}");
    }
}

#[test]
fn names_that_lead_to_private_addresses_are_refused() {
    let access = Access {
        hosts: vec!["localhost".into()],
        allow_private: false,
        allow_http: true,
    };
    let remote = net().remote(access, Signing::none()).unwrap();
    let error = wait(remote.whole("http://localhost/", 10)).unwrap_err();
    assert_eq!(error.kind, FaultKind::Refused, "{error}");
}

#[test]
fn no_name_and_no_tls_are_errors_with_a_reason() {
    let server = Server::start(Box::new(|_, _, _, stream| {
        send(stream, "200 OK", "Content-Length: 0\r\n", b"")
    }));
    let access = Access {
        hosts: vec![
            "nohost.invalid".into(),
            format!("127.0.0.1:{}", server.port),
        ],
        allow_private: true,
        allow_http: false,
    };
    let remote = net().remote(access, Signing::none()).unwrap();
    for url in [
        "https://nohost.invalid/".to_owned(),
        format!("https://127.0.0.1:{}/", server.port),
    ] {
        let error = wait(remote.whole(&url, 10)).unwrap_err();
        assert_eq!(error.kind, FaultKind::Transient, "{error}");
        assert!(error.to_string().contains("no connection"), "{error}");
    }
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let server = Server::start(Box::new(|n, _, _, stream| {
        if n == 0 {
            send(stream, "200 OK", "Content-Length: 1000000\r\n", b"");
        } else {
            // Without a length.
            send(stream, "200 OK", "", &[0; 5000]);
        }
    }));
    for _ in 0..2 {
        let error = wait(server.remote().whole(&server.url("/f"), 100)).unwrap_err();
        assert_eq!(error.kind, FaultKind::Refused, "{error}");
    }
}

#[test]
fn a_token_is_kept_until_it_expires_and_asked_for_anew_when_refused() {
    let issued = Arc::new(Mutex::new(0));
    let count = Arc::clone(&issued);
    let server = Server::start(Box::new(move |_, target, head, stream| {
        if target.starts_with("/token/acc/box") {
            let mut n = count.lock().unwrap();
            *n += 1;
            let body =
                format!(r#"{{"msft:expiry":"2999-01-01T00:00:00Z","token":"sig=secret{n}"}}"#);
            send(
                stream,
                "200 OK",
                &format!("Content-Length: {}\r\n", body.len()),
                body.as_bytes(),
            );
        } else if target.contains(&format!("sig=secret{}", *count.lock().unwrap()))
            && !target.contains("secret1")
        {
            part(head, stream);
        } else {
            send(stream, "403 Expired", "Content-Length: 0\r\n", b"");
        }
    }));
    let token_url = server.url("/token").parse().unwrap();
    let remote = net()
        .remote(server.access(), Signing::planetary_computer(token_url))
        .unwrap();
    let file = server.url("/blob/acc/box/B04.tif");
    wait(async {
        // The first token is refused, the second is good and used again.
        for _ in 0..3 {
            assert_eq!(&remote.range(&file, 0..4).await.unwrap().bytes[..], b"0123");
        }
    });
    assert_eq!(*issued.lock().unwrap(), 2);
}

#[test]
fn a_token_near_its_end_by_the_servers_clock_is_asked_for_anew() {
    let server = Server::start(Box::new(move |_, target, head, stream| {
        if target.starts_with("/token") {
            // This machine's clock is ahead of the server's: by it the token expired long ago.
            let body = r#"{"msft:expiry":"2001-01-01T01:00:00Z","token":"sig=s"}"#;
            let headers = format!(
                "Date: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Length: {}\r\n",
                body.len()
            );
            send(stream, "200 OK", &headers, body.as_bytes());
        } else {
            part(head, stream);
        }
    }));
    let signing = Signing::planetary_computer(server.url("/token").parse().unwrap());
    let remote = net().remote(server.access(), signing).unwrap();
    let file = server.url("/blob/acc/box/B04.tif");
    wait(async {
        for _ in 0..3 {
            remote.range(&file, 0..4).await.unwrap();
        }
    });
    assert_eq!(server.n(), 4, "one token, three parts");
}

#[test]
fn no_error_names_a_signature() {
    let server = Server::start(Box::new(|_, _, _, stream| {
        send(
            stream,
            "403 sig=TOPSECRET",
            "Content-Length: 13\r\n",
            b"sig=TOPSECRET",
        );
    }));
    let remote = server.remote();
    for url in [
        server.url("/f?sig=TOPSECRET"),
        "http://user:TOPSECRET@127.0.0.1:9/f".to_owned(),
        "http://127.0.0.1:9/f?sig=TOPSECRET#TOPSECRET".to_owned(),
        "https://nohost.invalid/f?sig=TOPSECRET".to_owned(),
        "nothing?sig=TOPSECRET".to_owned(),
    ] {
        let error = wait(remote.range(&url, 0..4)).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("TOPSECRET"),
            "{error:?}"
        );
    }
    let keys = S3Keys {
        access_key_id: "TOPSECRET".into(),
        secret_access_key: "TOPSECRET".into(),
    };
    assert!(
        !format!("{keys:?} {:?}", Signing::s3(None, "x", Some(keys.clone()))).contains("TOPSECRET")
    );
}

#[test]
fn keys_sign_an_s3_address() {
    let server = Server::start(Box::new(|_, target, head, stream| {
        if target.starts_with("/eodata/a/B04.jp2?") && target.contains("X-Amz-Signature=") {
            part(head, stream);
        } else {
            send(stream, "403 No", "Content-Length: 0\r\n", b"");
        }
    }));
    let keys = S3Keys {
        access_key_id: "id".into(),
        secret_access_key: "secret".into(),
    };
    let signing = Signing::s3(Some(server.url("").parse().unwrap()), "default", Some(keys));
    let remote = net().remote(server.access(), signing).unwrap();
    let got = wait(remote.range("s3://eodata/a/B04.jp2", 0..4)).unwrap();
    assert_eq!(&got.bytes[..], b"0123");
}

#[test]
fn a_file_is_downloaded_whole() {
    let server = Server::start(Box::new(|n, _, head, stream| {
        if n == 0 {
            send(stream, "502 Bad", "Content-Length: 0\r\n", b"");
        } else {
            part(head, stream);
        }
    }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let length = wait(server.remote().download(&server.url("/f"), &path, 100)).unwrap();
    assert_eq!(length, 36);
    assert_eq!(std::fs::read(path).unwrap(), FILE);
    let error = wait(
        server
            .remote()
            .download(&server.url("/f"), &folder.path().join("g"), 10),
    )
    .unwrap_err();
    assert_eq!(error.kind, FaultKind::Refused);
}
