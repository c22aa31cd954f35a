//! Bytes over a network: one client for catalogs and imagery, with rules on where it may go and a limit on everything.
//!
//! An answer is whole or an error. What may pass by itself (a dropped connection, a busy server) is tried again here, with
//! growing pauses and a budget; what does not is told by its kind. Addresses in errors never carry a query string, since
//! signatures stand there.

mod buffers;
mod guard;
mod sign;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, LOCATION, RANGE,
    RETRY_AFTER,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

pub use buffers::{Buffer, Buffers};
pub use guard::Access;
pub use sign::{S3Keys, Signing};

/// Redirects that are followed; browsers stop at 20, catalogs need one or two.
const MAX_REDIRECTS: usize = 5;
/// A unit of the semaphore that counts bytes in flight, which holds 32-bit numbers.
const BYTES_PER_PERMIT: usize = 1024;
/// Memory of answers that is kept for the next ones, as a part of the bytes in flight.
const SPARE_PART: usize = 4;
/// `Retry-After` is obeyed up to so many times the longest pause.
const RETRY_AFTER_LIMIT: u32 = 10;

/// How much is asked at a time, and how often again. None of it moves a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight.
    pub connections: usize,
    /// Bytes asked for and not yet received in whole.
    pub bytes_in_flight: usize,
    /// Tries of one request, the first included.
    pub attempts: u32,
    /// Further tries of all requests together, so that a dead server ends the work.
    pub retry_budget: u32,
    /// For a connection to stand.
    pub connect_timeout: Duration,
    /// Without a byte.
    pub stall_timeout: Duration,
    /// Before the second try; doubled for each further one.
    pub first_delay: Duration,
    /// The longest pause between tries.
    pub max_delay: Duration,
}

impl Default for Limits {
    /// 32 requests, 64 MiB, six tries within half a minute, 500 further tries in all.
    fn default() -> Self {
        Self {
            connections: 32,
            bytes_in_flight: 64 << 20,
            attempts: 6,
            retry_budget: 500,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(20),
        }
    }
}

/// Of which kind a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// May pass by itself: it was tried again until the tries were used up.
    Transient,
    /// Will not pass by itself: absent, forbidden.
    Permanent,
    /// The answer contradicts itself or the request.
    Corrupt,
    /// Against the rules on where a source may be asked, or larger than allowed.
    Refused,
}

/// A request that gave nothing. Its text names the address without its query string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {message}")]
pub struct NetError {
    /// Of which kind.
    pub kind: FaultKind,
    /// The server's status, if it answered.
    pub status: Option<u16>,
    /// The address, without query string, user and fragment.
    pub address: String,
    /// What is wrong.
    pub message: String,
    retry_after: Option<Duration>,
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranged {
    /// Those asked for; fewer where the file ends before.
    pub bytes: Bytes,
    /// Length of the whole file.
    pub total_bytes: u64,
}

/// What a receiver answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// HTTP status, whatever it says.
    pub status: u16,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// What was asked of the network so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests, tries and redirects included.
    pub requests: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
}

/// The limits, shared by all sources of a program.
#[derive(Debug, Clone)]
pub struct Net {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    connections: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    buffers: Buffers,
    retries_left: AtomicU32,
    requests: AtomicU64,
    received: AtomicU64,
}

/// One source's way to its files: rules, signatures and the shared limits.
#[derive(Debug, Clone)]
pub struct Remote {
    net: Net,
    client: reqwest::Client,
    access: Arc<Access>,
    signing: Arc<Signing>,
}

/// A request before it is tried.
struct Ask<'a> {
    method: Method,
    url: Url,
    range: Option<Range<u64>>,
    body: Option<&'a Value>,
    max_bytes: u64,
}

/// An answer in whole.
struct Answer {
    bytes: Bytes,
    /// Length of the whole file, if the server said.
    total_bytes: Option<u64>,
    /// First byte of the file that `bytes` starts with.
    start: u64,
    headers: HeaderMap,
}

impl Net {
    /// Shared limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let permits = (limits.bytes_in_flight / BYTES_PER_PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                connections: Arc::new(Semaphore::new(limits.connections.max(1))),
                bytes: Arc::new(Semaphore::new(permits)),
                buffers: Buffers::new(limits.bytes_in_flight / SPARE_PART),
                retries_left: AtomicU32::new(limits.retry_budget),
                requests: AtomicU64::new(0),
                received: AtomicU64::new(0),
                limits,
            }),
        }
    }

    /// A way to the files of one source.
    ///
    /// # Errors
    ///
    /// If the client cannot be made, for want of the system's certificates for example.
    pub fn remote(&self, access: Access, signing: Signing) -> Result<Remote, NetError> {
        // The first call in the process decides; a later one finds the same provider in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(guard::Resolver {
                allow_private: access.allow_private,
            })
            .connect_timeout(self.shared.limits.connect_timeout)
            .pool_max_idle_per_host(self.shared.limits.connections)
            .user_agent(concat!("pitwatch/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NetError {
                kind: FaultKind::Permanent,
                status: None,
                address: "network".into(),
                message: chain(&error),
                retry_after: None,
            })?;
        Ok(Remote {
            net: self.clone(),
            client,
            access: Arc::new(access),
            signing: Arc::new(signing),
        })
    }

    /// What was asked so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.shared.requests.load(Ordering::Relaxed),
            bytes: self.shared.received.load(Ordering::Relaxed),
        }
    }

    fn take_retry(&self) -> bool {
        self.shared
            .retries_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

impl Remote {
    /// Some bytes of a file: exactly those asked for, or fewer where the file ends before.
    ///
    /// # Errors
    ///
    /// If they cannot be had; what may pass by itself was tried again.
    pub async fn range(&self, href: &str, range: Range<u64>) -> Result<Ranged, NetError> {
        let max_bytes = range.end.saturating_sub(range.start);
        let answer = self
            .ask(Method::GET, href, Some(range.clone()), None, max_bytes)
            .await?;
        let skip = usize::try_from(range.start.saturating_sub(answer.start)).unwrap_or(usize::MAX);
        let bytes = answer.bytes.slice(skip.min(answer.bytes.len())..);
        let total_bytes = answer.total_bytes.ok_or_else(|| {
            NetError::new(
                FaultKind::Corrupt,
                href,
                "the server does not say how long the file is",
            )
        })?;
        Ok(Ranged { bytes, total_bytes })
    }

    /// A whole file, or an answer to a request.
    ///
    /// # Errors
    ///
    /// As [`Remote::range`]; also if it is longer than `max_bytes`.
    pub async fn whole(&self, href: &str, max_bytes: u64) -> Result<Bytes, NetError> {
        Ok(self
            .ask(Method::GET, href, None, None, max_bytes)
            .await?
            .bytes)
    }

    /// The answer to a request with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Remote::whole`].
    pub async fn post(&self, href: &str, body: &Value, max_bytes: u64) -> Result<Bytes, NetError> {
        Ok(self
            .ask(Method::POST, href, None, Some(body), max_bytes)
            .await?
            .bytes)
    }

    /// Hands a body over with one POST, and returns what the receiver answered, a redirect or a failure too.
    ///
    /// No redirect is followed, nothing is tried again, and the answer's body is not read.
    ///
    /// # Errors
    ///
    /// If the address is against the rules, or no answer came in time.
    pub async fn hand_over(
        &self,
        href: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Receipt, NetError> {
        let url = Url::parse(href)
            .map_err(|error| NetError::address(href, &format!("is no address: {error}")))?;
        let fault = |kind, message: &str| NetError::new(kind, url.as_str(), message);
        self.access
            .check(&url)
            .map_err(|message| fault(FaultKind::Refused, &message))?;
        let mut request = self.client.post(url.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.net.shared.requests.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(timeout, request.send()).await {
            Err(_) => Err(fault(FaultKind::Transient, "no answer in time")),
            Ok(Err(error)) => {
                let message = chain(&error);
                let kind = if message.contains(guard::PRIVATE) {
                    FaultKind::Refused
                } else {
                    FaultKind::Transient
                };
                Err(fault(kind, &message))
            }
            Ok(Ok(response)) => Ok(Receipt {
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
            }),
        }
    }

    /// Writes a whole file to disk, a piece at a time, and returns its length.
    ///
    /// # Errors
    ///
    /// As [`Remote::whole`]; also if the disk refuses.
    pub async fn download(&self, href: &str, path: &Path, max_bytes: u64) -> Result<u64, NetError> {
        /// Bytes asked for at a time, so that a dropped connection costs one piece.
        const PIECE_BYTES: u64 = 8 << 20;
        let refused = |error: std::io::Error| {
            NetError::new(
                FaultKind::Permanent,
                href,
                &format!("cannot write {}: {error}", path.display()),
            )
        };
        let mut file = tokio::fs::File::create(path).await.map_err(refused)?;
        let mut done = 0;
        loop {
            let piece = self.range(href, done..done + PIECE_BYTES).await?;
            if piece.total_bytes > max_bytes {
                return Err(too_large(href, max_bytes));
            }
            done += piece.bytes.len() as u64;
            file.write_all(&piece.bytes).await.map_err(refused)?;
            if done >= piece.total_bytes {
                file.flush().await.map_err(refused)?;
                return Ok(done);
            }
            if piece.bytes.is_empty() {
                return Err(NetError::new(
                    FaultKind::Corrupt,
                    href,
                    "the file ends before its stated length",
                ));
            }
        }
    }

    /// A request, signed anew if its signature is refused.
    async fn ask(
        &self,
        method: Method,
        href: &str,
        range: Option<Range<u64>>,
        body: Option<&Value>,
        max_bytes: u64,
    ) -> Result<Answer, NetError> {
        let mut is_fresh = false;
        loop {
            let url = self.signing.sign(self, href, is_fresh).await?;
            let ask = Ask {
                method: method.clone(),
                url,
                range: range.clone(),
                body,
                max_bytes,
            };
            match self.try_often(&ask).await {
                Err(error)
                    if matches!(error.status, Some(401 | 403))
                        && self.signing.expires()
                        && !is_fresh =>
                {
                    is_fresh = true;
                }
                other => return other,
            }
        }
    }

    async fn try_often(&self, ask: &Ask<'_>) -> Result<Answer, NetError> {
        let limits = &self.net.shared.limits;
        let mut attempt = 1;
        loop {
            let error = match self.try_once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.kind != FaultKind::Transient {
                return Err(error);
            }
            if attempt >= limits.attempts {
                return Err(error.tried(&format!("{attempt} tries")));
            }
            if !self.net.take_retry() {
                return Err(error.tried("the budget of further tries is used up"));
            }
            let pause = match error.retry_after {
                Some(pause) => pause.min(limits.max_delay * RETRY_AFTER_LIMIT),
                None => {
                    let full = limits
                        .first_delay
                        .saturating_mul(1 << (attempt - 1).min(16))
                        .min(limits.max_delay);
                    full.mul_f64(rand::random_range(0.5..1.0))
                }
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// One try, redirects followed.
    async fn try_once(&self, ask: &Ask<'_>) -> Result<Answer, NetError> {
        let shared = &self.net.shared;
        let _bytes = self.reserve(ask.max_bytes).await;
        let _connection = shared.connections.acquire().await;
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let fault = |kind, message: &str| NetError::new(kind, url.as_str(), message);
            self.access
                .check(&url)
                .map_err(|message| fault(FaultKind::Refused, &message))?;
            let mut request = self.client.request(ask.method.clone(), url.clone());
            if let Some(range) = &ask.range {
                request = request.header(
                    RANGE,
                    format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
                );
            }
            if let Some(body) = ask.body {
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_string());
            }
            if ask.range.is_none() {
                request = request.header(ACCEPT, "application/geo+json, application/json, */*");
            }
            shared.requests.fetch_add(1, Ordering::Relaxed);
            let sent = tokio::time::timeout(shared.limits.stall_timeout, request.send()).await;
            let mut response = match sent {
                Err(_) => return Err(fault(FaultKind::Transient, "no answer in time")),
                Ok(Err(error)) => {
                    let message = chain(&error);
                    let kind = if message.contains(guard::PRIVATE) {
                        FaultKind::Refused
                    } else {
                        FaultKind::Transient
                    };
                    return Err(fault(kind, &message));
                }
                Ok(Ok(response)) => response,
            };
            let status = response.status();
            if status.is_redirection() {
                let target = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|target| target.to_str().ok())
                    .and_then(|target| url.join(target).ok())
                    .ok_or_else(|| fault(FaultKind::Corrupt, "a redirect without a target"))?;
                url = target;
                continue;
            }
            if let Some(mut error) = refusal(status, response.headers(), &url) {
                // The body of an error is not read: it may be long, and it may repeat a signature.
                error.status = Some(status.as_u16());
                return Err(error);
            }
            return self.receive(ask, &url, &mut response).await;
        }
        Err(NetError::new(
            FaultKind::Refused,
            ask.url.as_str(),
            "too many redirects",
        ))
    }

    async fn receive(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        response: &mut reqwest::Response,
    ) -> Result<Answer, NetError> {
        let shared = &self.net.shared;
        let fault = |kind, message: &str| NetError::new(kind, url.as_str(), message);
        let headers = response.headers().clone();
        let number =
            |name| -> Option<u64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
        let status = response.status();
        let length = number(CONTENT_LENGTH);

        // Where in the file the body starts, how many bytes of it are wanted, and how long the file is.
        let (start, wanted, total_bytes) = match &ask.range {
            Some(range) if status == StatusCode::PARTIAL_CONTENT => {
                let (start, end, total) = headers
                    .get(CONTENT_RANGE)
                    .and_then(|value| content_range(value.to_str().ok()?))
                    .ok_or_else(|| {
                        fault(FaultKind::Transient, "a part of a file without its place")
                    })?;
                if start != range.start || end != range.end.min(total) {
                    return Err(fault(
                        FaultKind::Transient,
                        &format!(
                            "bytes {start} to {end} came instead of {} to {}",
                            range.start,
                            range.end.min(total)
                        ),
                    ));
                }
                (start, Some(end - start), Some(total))
            }
            Some(range) if status == StatusCode::RANGE_NOT_SATISFIABLE => {
                let total = headers
                    .get(CONTENT_RANGE)
                    .and_then(|value| value.to_str().ok()?.strip_prefix("bytes */")?.parse().ok());
                return Ok(Answer {
                    bytes: Bytes::new(),
                    total_bytes: total,
                    start: range.start,
                    headers,
                });
            }
            // The server sends the file from its start: what lies before the range is read and dropped.
            Some(range) => (
                0,
                Some(length.map_or(range.end, |length| length.min(range.end))),
                length,
            ),
            None => {
                if length.is_some_and(|length| length > ask.max_bytes) {
                    return Err(too_large(url.as_str(), ask.max_bytes));
                }
                (0, length, length)
            }
        };
        let skip = match &ask.range {
            Some(range) if status != StatusCode::PARTIAL_CONTENT => range.start,
            _ => 0,
        };
        let capacity = wanted.map_or(1 << 16, |wanted| {
            wanted.saturating_sub(skip).min(ask.max_bytes)
        });
        let capacity = usize::try_from(capacity).unwrap_or(0);
        let mut body = shared.buffers.take(capacity);
        body.clear();
        let mut received: u64 = 0;
        while wanted.is_none_or(|wanted| received < wanted) {
            let piece =
                match tokio::time::timeout(shared.limits.stall_timeout, response.chunk()).await {
                    Err(_) => return Err(fault(FaultKind::Transient, "the answer stalled")),
                    Ok(Err(error)) => {
                        let message = format!(
                            "the answer broke off after {received} bytes: {}",
                            chain(&error)
                        );
                        return Err(fault(FaultKind::Transient, &message));
                    }
                    Ok(Ok(None)) => break,
                    Ok(Ok(Some(piece))) => piece,
                };
            shared
                .received
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            let from = received;
            received += piece.len() as u64;
            let keep = wanted.map_or(piece.len() as u64, |wanted| {
                wanted.saturating_sub(from).min(piece.len() as u64)
            });
            let drop = skip.saturating_sub(from).min(keep);
            let part = |count: u64| {
                usize::try_from(count)
                    .unwrap_or(piece.len())
                    .min(piece.len())
            };
            body.extend_from_slice(&piece[part(drop)..part(keep)]);
            if body.len() as u64 > ask.max_bytes {
                return Err(too_large(url.as_str(), ask.max_bytes));
            }
        }
        if let Some(wanted) = wanted
            && received < wanted
            && (length.is_some() || status == StatusCode::PARTIAL_CONTENT)
        {
            return Err(fault(
                FaultKind::Transient,
                &format!("{received} of {wanted} bytes came"),
            ));
        }
        // A file shorter than the range, of which the server did not say the length.
        let total_bytes = total_bytes.or_else(|| {
            wanted
                .is_none_or(|wanted| received < wanted)
                .then_some(received)
        });
        Ok(Answer {
            bytes: Bytes::from_owner(body),
            total_bytes,
            start: start.max(skip),
            headers,
        })
    }

    async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let shared = &self.net.shared;
        let most = shared.limits.bytes_in_flight / BYTES_PER_PERMIT;
        let permits = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .div_ceil(BYTES_PER_PERMIT)
            .clamp(1, most.max(1));
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        Arc::clone(&shared.bytes)
            .acquire_many_owned(permits)
            .await
            .ok()
    }
}

impl NetError {
    fn new(kind: FaultKind, address: &str, message: &str) -> Self {
        Self {
            kind,
            status: None,
            address: bare(address),
            message: message.to_owned(),
            retry_after: None,
        }
    }

    pub(crate) fn address(address: &str, message: &str) -> Self {
        Self::new(FaultKind::Permanent, address, message)
    }

    pub(crate) fn corrupt(address: &str, message: &str) -> Self {
        Self::new(FaultKind::Corrupt, address, message)
    }

    fn tried(mut self, how_often: &str) -> Self {
        self.message = format!("{} ({how_often})", self.message);
        self
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
        })
    }
}

/// An address without what may hold a secret: its query string, fragment and user.
#[must_use]
pub fn bare(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let plain = &address[..end];
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..host_end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[host_end..])
        }
        None => plain.to_owned(),
    }
}

/// What a status says, if it is no success.
fn refusal(status: StatusCode, headers: &HeaderMap, url: &Url) -> Option<NetError> {
    if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return None;
    }
    let kind = match status.as_u16() {
        408 | 425 | 429 | 500 | 502 | 503 | 504 | 509 | 520..=530 => FaultKind::Transient,
        _ => FaultKind::Permanent,
    };
    let meaning = match status.as_u16() {
        401 | 403 => "access is refused",
        404 | 410 => "there is no such file",
        429 => "too many requests",
        500..=599 => "the server failed",
        _ => "the server refused",
    };
    let mut error = NetError::new(
        kind,
        url.as_str(),
        &format!("{meaning} (status {})", status.as_u16()),
    );
    error.retry_after = retry_after(headers);
    Some(error)
}

/// `Retry-After`, in seconds or as a date by the server's own clock (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    let now = server_time(headers)?;
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

/// The server's clock, else this machine's.
fn server_time(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let stated = headers
        .get(DATE)
        .and_then(|value| DateTime::parse_from_rfc2822(value.to_str().ok()?).ok());
    match stated {
        Some(stated) => Some(stated.with_timezone(&Utc)),
        None => {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .ok()?;
            DateTime::from_timestamp(i64::try_from(since.as_secs()).ok()?, 0)
        }
    }
}

/// First byte, the byte after the last, and the file's length, of `bytes 0-99/1234` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (
        first.trim().parse().ok()?,
        last.trim().parse().ok()?,
        total.trim().parse().ok()?,
    );
    (first <= last && last < total).then_some((first, last + 1, total))
}

fn too_large(address: &str, max_bytes: u64) -> NetError {
    NetError::new(
        FaultKind::Refused,
        address,
        &format!("it is longer than the {max_bytes} bytes that are allowed"),
    )
}

/// An error and what caused it, without addresses.
fn chain(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the transfer failed"
    };
    let mut text = what.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) && !message.contains("://") {
            text = format!("{text}: {message}");
        }
        cause = inner.source();
    }
    text
}
