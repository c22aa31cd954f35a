//! A server on loopback that serves what a test tells it to, as slowly and as badly as it is told to.
//!
//! HTTP/1.1 with connections kept alive and single ranges (RFC 9110, section 14), the part of it that reading imagery
//! needs. What is answered is a function of the request ([`Server::start`]); latency, faults and counters stand between
//! the answer and the client.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes of a file that are in memory at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`, `POST` and so on.
    pub method: String,
    /// Path of the address, not decoded, from the first `/` on.
    pub path: String,
    /// What stands after the `?`, not decoded; empty if nothing does.
    pub query: String,
    /// Header fields by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a server answers when nothing goes wrong.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status, header fields and a body.
    Text {
        /// HTTP status.
        status: u16,
        /// Further header fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// A file, or the range of it that was asked for; 404 if it is not there.
    File(PathBuf),
}

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A status with header fields instead of the answer.
    Status(u16, Vec<(String, String)>),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// Nothing comes any more after so many bytes of the body.
    Stall(usize),
    /// The body ends so many bytes early, and the connection with it.
    Short(usize),
    /// `Content-Range` names another range than was sent.
    WrongRange,
    /// The whole file with status 200, as a server that knows no ranges answers.
    NoRanges,
    /// One bit in so many bytes of the body is another.
    Flip(usize),
    /// A redirect to an address.
    Redirect(String),
    /// A web page with status 200 or 206.
    Page,
    /// Other bytes, as if the file had them.
    Other(Vec<u8>),
}

/// A fault and the requests that it befalls.
#[derive(Debug, Clone)]
struct Rule {
    part: String,
    fault: Fault,
    n_left: u64,
}

/// What a server counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests received.
    pub n_requests: u64,
    /// Bytes of bodies sent.
    pub n_bytes: u64,
    /// Connections accepted.
    pub n_connections: u64,
    /// Most requests that were being answered at a time.
    pub max_in_flight: u64,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    latency_us: AtomicU64,
    clock_skew_s: AtomicU64,
    n_requests: AtomicU64,
    n_bytes: AtomicU64,
    n_connections: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<String>>,
}

/// A server on loopback; it ends with the value.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({})", self.url())
    }
}

impl Server {
    /// Starts a server on a free port.
    #[must_use]
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            latency_us: AtomicU64::new(0),
            clock_skew_s: AtomicU64::new(0),
            n_requests: AtomicU64::new(0),
            n_bytes: AtomicU64::new(0),
            n_connections: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            max_in_flight: AtomicU64::new(0),
            rules: Mutex::default(),
            log: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                // What is still going on ends with the runtime.
                tokio::spawn(async move { accept(&listener, &serving).await });
                let _ = stopped.await;
            });
        });
        Self {
            address: address.recv().unwrap(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Starts a server of the files of a folder.
    #[must_use]
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self::start(move |request| Reply::File(folder.join(request.path.trim_start_matches('/'))))
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Time from a request to the first byte of its answer.
    pub fn set_latency(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap();
        self.shared.latency_us.store(us, Ordering::Relaxed);
    }

    /// Seconds by which the server's clock is ahead, in the field `Date`.
    pub fn set_clock_skew(&self, seconds: u64) {
        self.shared.clock_skew_s.store(seconds, Ordering::Relaxed);
    }

    /// Lets a fault befall the next `n_times` requests whose path and query contain `part`. Faults of one request come in
    /// the order in which they were told.
    pub fn fault(&self, part: &str, n_times: u64, fault: Fault) {
        lock(&self.shared.rules).push(Rule {
            part: part.to_owned(),
            fault,
            n_left: n_times,
        });
    }

    /// Lets nothing go wrong any more.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What was counted since the start or the last [`Server::reset_counts`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        let shared = &self.shared;
        Counts {
            n_requests: shared.n_requests.load(Ordering::Relaxed),
            n_bytes: shared.n_bytes.load(Ordering::Relaxed),
            n_connections: shared.n_connections.load(Ordering::Relaxed),
            max_in_flight: shared.max_in_flight.load(Ordering::Relaxed),
        }
    }

    /// Counts from zero, and forgets the log.
    pub fn reset_counts(&self) {
        let shared = &self.shared;
        for counter in [
            &shared.n_requests,
            &shared.n_bytes,
            &shared.n_connections,
            &shared.max_in_flight,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        lock(&shared.log).clear();
    }

    /// The requests, as `METHOD path?query range`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Reply {
    /// JSON with status 200.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::typed("application/geo+json", value.to_string().into_bytes())
    }

    /// A body of a media type with status 200.
    #[must_use]
    pub fn typed(media_type: &str, body: Vec<u8>) -> Self {
        Self::Text {
            status: 200,
            headers: vec![("Content-Type".into(), media_type.into())],
            body,
        }
    }

    /// A status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Text {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        shared.n_connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            // A client that goes away is no fault of the server.
            let _ = converse(stream, &shared).await;
        });
    }
}

/// Answers the requests of one connection, until the client or a fault ends it.
async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(16 << 10, stream);
    while let Some(request) = receive(&mut stream).await? {
        let in_flight = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        shared.max_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        shared.n_requests.fetch_add(1, Ordering::Relaxed);
        let mut line = format!("{} {}", request.method, request.path);
        if !request.query.is_empty() {
            line += &format!("?{}", request.query);
        }
        if let Some(range) = request.headers.get("range") {
            line += &format!(" {range}");
        }
        let fault = shared.fault_of(&line);
        lock(&shared.log).push(line);
        let latency = Duration::from_micros(shared.latency_us.load(Ordering::Relaxed));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let outcome = shared.answer(stream.get_mut(), &request, fault).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !outcome? {
            return Ok(());
        }
    }
    Ok(())
}

async fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) if head.len() < MAX_HEAD_BYTES => head.push(byte),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: vec![0; length],
    };
    stream.read_exact(&mut request.body).await?;
    Ok(Some(request))
}

/// The bytes of an answer.
enum Content {
    Bytes(Vec<u8>),
    File(File),
}

impl Content {
    fn read(&self, from: usize, length: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes[from..from + length].to_vec()),
            Self::File(file) => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, from as u64)?;
                Ok(bytes)
            }
        }
    }
}

impl Shared {
    fn fault_of(&self, line: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.n_left > 0 && line.contains(&rule.part))?;
        rule.n_left -= 1;
        Some(rule.fault.clone())
    }

    /// Sends the answer; false if the connection is to be closed.
    async fn answer(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        fault: Option<Fault>,
    ) -> io::Result<bool> {
        let reply = match &fault {
            Some(Fault::Status(status, headers)) => Reply::Text {
                status: *status,
                headers: headers.clone(),
                body: b"told to fail".to_vec(),
            },
            Some(Fault::Redirect(to)) => Reply::Text {
                status: 302,
                headers: vec![("Location".into(), to.clone())],
                body: Vec::new(),
            },
            Some(Fault::Page) => Reply::typed(
                "text/html",
                b"<!DOCTYPE html><html><body>Please log in</body></html>".to_vec(),
            ),
            Some(Fault::Other(bytes)) => Reply::typed("image/tiff", bytes.clone()),
            _ => (self.handler)(request),
        };
        let (mut status, mut headers, content, total) = match reply {
            Reply::Text {
                status,
                headers,
                body,
            } => {
                let total = body.len();
                (status, headers, Content::Bytes(body), total)
            }
            Reply::File(path) => match File::open(&path).and_then(|file| {
                let meta = file.metadata()?;
                if meta.is_file() {
                    Ok((file, meta.len()))
                } else {
                    Err(io::Error::from(io::ErrorKind::NotFound))
                }
            }) {
                Ok((file, length)) => (
                    200,
                    Vec::new(),
                    Content::File(file),
                    usize::try_from(length).unwrap(),
                ),
                Err(_) => (
                    404,
                    Vec::new(),
                    Content::Bytes(b"no such file".to_vec()),
                    12,
                ),
            },
        };
        let mut range = 0..total;
        let asked = request.headers.get("range").filter(|_| status == 200);
        if let Some(asked) = asked.filter(|_| !matches!(fault, Some(Fault::NoRanges))) {
            match parse_range(asked, total) {
                Some(part) => {
                    status = 206;
                    let shift = usize::from(matches!(fault, Some(Fault::WrongRange)));
                    headers.push((
                        "Content-Range".into(),
                        format!(
                            "bytes {}-{}/{total}",
                            part.start + shift,
                            part.end - 1 + shift
                        ),
                    ));
                    range = part;
                }
                None => {
                    status = 416;
                    headers.push(("Content-Range".into(), format!("bytes */{total}")));
                    range = 0..0;
                }
            }
        }
        let length = range.len();
        let skew = Duration::from_secs(self.clock_skew_s.load(Ordering::Relaxed));
        let mut head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nDate: {}\r\n",
            reason(status),
            http_date(SystemTime::now() + skew)
        );
        for (name, value) in &headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let body_end = match &fault {
            Some(Fault::Reset(after) | Fault::Stall(after)) => (*after).min(length),
            Some(Fault::Short(by)) => length.saturating_sub(*by),
            _ => length,
        };
        let body_end = if request.method == "HEAD" {
            0
        } else {
            body_end
        };
        stream.write_all(head.as_bytes()).await?;
        let mut sent = 0;
        while sent < body_end {
            let n_bytes = (body_end - sent).min(CHUNK_BYTES);
            let mut bytes = content.read(range.start + sent, n_bytes)?;
            if let Some(Fault::Flip(every)) = &fault {
                for byte in bytes.iter_mut().skip(every / 2).step_by(*every) {
                    *byte ^= 1;
                }
            }
            stream.write_all(&bytes).await?;
            sent += n_bytes;
            self.n_bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
        }
        stream.flush().await?;
        match fault {
            Some(Fault::Reset(_)) => {
                // With nothing to linger for, closing sends a reset.
                stream.set_zero_linger()?;
                Ok(false)
            }
            Some(Fault::Short(_)) => Ok(false),
            Some(Fault::Stall(_)) => {
                // Until the client has had enough.
                let _ = stream.read_u8().await;
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

/// The part of `total` bytes that a field `Range` with one range asks for; `None` if there is nothing of it.
fn parse_range(text: &str, total: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(total)),
        (Ok(first), Err(_)) => (first, total),
        (Err(_), Ok(suffix)) => (total.saturating_sub(suffix), total),
        _ => return None,
    };
    (start < end).then_some(start..end)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Told",
    }
}

/// A date as RFC 9110, section 5.6.7, has it.
fn http_date(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = i64::try_from(since.as_secs()).unwrap();
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
