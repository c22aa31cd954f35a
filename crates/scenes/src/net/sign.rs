//! Signatures, made at the time of reading: tokens of Planetary Computer, keys of S3.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use pitwatch_grid::{UtcTime, parse_time};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::{FaultKind, NetError, Remote, server_time};

/// A token is asked for anew so long before it expires, so that none expires on its way.
const MARGIN: Duration = Duration::from_mins(5);
/// How long a signed address of S3 is valid.
const S3_VALID: Duration = Duration::from_hours(1);
/// Longest answer of a token service.
const MAX_TOKEN_BYTES: u64 = 1 << 16;

/// How a source's addresses become ones that may be read.
#[derive(Default)]
pub struct Signing(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    None,
    PlanetaryComputer {
        token_url: Url,
        tokens: Mutex<BTreeMap<String, Token>>,
    },
    S3 {
        /// Where buckets are, as `https://host/bucket/key`; `None` is AWS, `https://bucket.s3.region.amazonaws.com/key`.
        endpoint: Option<Url>,
        region: String,
        keys: Option<S3Keys>,
        buckets: Mutex<BTreeMap<String, Arc<AmazonS3>>>,
    },
}

/// Keys of an S3 account. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
}

struct Token {
    query: String,
    /// By the token service's clock.
    expires: UtcTime,
    /// The token service's clock minus this machine's, in seconds.
    skew_s: i64,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("S3Keys(hidden)")
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::None => "Signing::None",
            Kind::PlanetaryComputer { .. } => "Signing::PlanetaryComputer",
            Kind::S3 { .. } => "Signing::S3",
        })
    }
}

impl Signing {
    /// Addresses are read as they stand.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Blobs of Azure get a token of the service at `token_url`: `{token_url}/{account}/{container}`.
    ///
    /// Source: Planetary Computer, "Using tokens for data access".
    #[must_use]
    pub fn planetary_computer(token_url: Url) -> Self {
        Self(Kind::PlanetaryComputer {
            token_url,
            tokens: Mutex::default(),
        })
    }

    /// `s3://bucket/key` becomes an address of the endpoint, signed where there are keys (AWS Signature Version 4, query).
    #[must_use]
    pub fn s3(endpoint: Option<Url>, region: &str, keys: Option<S3Keys>) -> Self {
        Self(Kind::S3 {
            endpoint,
            region: region.to_owned(),
            keys,
            buckets: Mutex::default(),
        })
    }

    /// True if a refusal may mean that a signature is too old.
    pub(super) fn expires(&self) -> bool {
        match &self.0 {
            Kind::None => false,
            Kind::PlanetaryComputer { .. } => true,
            Kind::S3 { keys, .. } => keys.is_some(),
        }
    }

    /// The address to read.
    ///
    /// - `is_fresh`: do not use a token that is at hand.
    pub(super) async fn sign(
        &self,
        remote: &Remote,
        href: &str,
        is_fresh: bool,
    ) -> Result<Url, NetError> {
        let fault = |kind, message: &str| NetError::new(kind, href, message);
        let url = Url::parse(href)
            .map_err(|error| fault(FaultKind::Permanent, &format!("it is no address: {error}")))?;
        match &self.0 {
            Kind::S3 {
                endpoint,
                region,
                keys,
                buckets,
            } if url.scheme() == "s3" => {
                let bucket = url
                    .host_str()
                    .ok_or_else(|| fault(FaultKind::Permanent, "an s3 address without a bucket"))?;
                let Some(keys) = keys else {
                    return plain_s3(endpoint.as_ref(), region, bucket, url.path())
                        .ok_or_else(|| fault(FaultKind::Permanent, "it is no address of S3"));
                };
                let mut buckets = buckets.lock().await;
                let store = match buckets.get(bucket) {
                    Some(store) => Arc::clone(store),
                    None => {
                        let store =
                            open_bucket(endpoint.as_ref(), region, bucket, keys).map_err(|_| {
                                fault(
                                    FaultKind::Permanent,
                                    "the keys or the endpoint of S3 cannot be used",
                                )
                            })?;
                        buckets.insert(bucket.to_owned(), Arc::clone(&store));
                        store
                    }
                };
                drop(buckets);
                let path = Path::from_url_path(url.path())
                    .map_err(|_| fault(FaultKind::Permanent, "it is no path in a bucket"))?;
                store
                    .signed_url(reqwest::Method::GET, &path, S3_VALID)
                    .await
                    .map_err(|_| fault(FaultKind::Permanent, "it cannot be signed"))
            }
            // An address that came signed is taken at its word, until it is refused.
            Kind::PlanetaryComputer { token_url, tokens } if is_fresh || url.query().is_none() => {
                let Some((account, container)) = blob_of(&url, token_url) else {
                    return Ok(url);
                };
                let key = format!("{account}/{container}");
                // Held while a token is asked for, so that many readers ask once.
                let mut tokens = tokens.lock().await;
                let is_valid = |token: &Token| {
                    let now = local_now_s() + token.skew_s;
                    token.expires.timestamp() - i64::try_from(MARGIN.as_secs()).unwrap_or(0) > now
                };
                let query = match tokens.get(&key) {
                    Some(token) if !is_fresh && is_valid(token) => token.query.clone(),
                    _ => {
                        let token = ask_token(remote, token_url, &account, &container).await?;
                        let query = token.query.clone();
                        tokens.insert(key, token);
                        query
                    }
                };
                drop(tokens);
                let mut url = url;
                url.set_query(Some(&query));
                Ok(url)
            }
            _ => Ok(url),
        }
    }
}

/// Storage account and container of a blob: `https://ACCOUNT.blob.core.windows.net/CONTAINER/…`. On a host of another form
/// (a stand-in for the service) the first two parts of the path.
fn blob_of(url: &Url, token_url: &Url) -> Option<(String, String)> {
    let host = url.host_str()?;
    let mut segments = url.path_segments()?;
    if let Some(account) = host.strip_suffix(".blob.core.windows.net") {
        return Some((account.to_owned(), segments.next()?.to_owned()));
    }
    // The service's own pages and other hosts are read as they stand.
    if host != token_url.host_str()?
        || url.path().starts_with(token_url.path())
        || url.path().contains("/search")
    {
        return None;
    }
    (segments.next()? == "blob").then_some(())?;
    Some((segments.next()?.to_owned(), segments.next()?.to_owned()))
}

async fn ask_token(
    remote: &Remote,
    token_url: &Url,
    account: &str,
    container: &str,
) -> Result<Token, NetError> {
    let address = format!(
        "{}/{account}/{container}",
        token_url.as_str().trim_end_matches('/')
    );
    let wrong = |message: &str| NetError::new(FaultKind::Corrupt, &address, message);
    let url: Url = address
        .parse()
        .map_err(|_| wrong("the token service's address is none"))?;
    let ask = super::Ask {
        method: reqwest::Method::GET,
        url,
        range: None,
        body: None,
        max_bytes: MAX_TOKEN_BYTES,
    };
    // Not `ask`, which would sign this request too.
    let answer = Box::pin(remote.try_often(&ask)).await?;
    let value: Value = serde_json::from_slice(&answer.bytes)
        .map_err(|_| wrong("the token service sent no JSON"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let query = text("token").ok_or_else(|| wrong("the token service sent no token"))?;
    let expires = text("msft:expiry")
        .and_then(|text| parse_time(text).ok())
        .ok_or_else(|| wrong("the token service sent no time of expiry"))?;
    let skew_s = server_time(&answer.headers).map_or(0, |time| time.timestamp() - local_now_s());
    Ok(Token {
        query: query.trim_start_matches('?').to_owned(),
        expires,
        skew_s,
    })
}

fn local_now_s() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

fn open_bucket(
    endpoint: Option<&Url>,
    region: &str,
    bucket: &str,
    keys: &S3Keys,
) -> object_store::Result<Arc<AmazonS3>> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_access_key_id(&keys.access_key_id)
        .with_secret_access_key(&keys.secret_access_key)
        .with_allow_http(true);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    builder.build().map(Arc::new)
}

fn plain_s3(endpoint: Option<&Url>, region: &str, bucket: &str, path: &str) -> Option<Url> {
    match endpoint {
        Some(endpoint) => {
            let root = endpoint.as_str().trim_end_matches('/');
            Url::parse(&format!("{root}/{bucket}{path}")).ok()
        }
        None => Url::parse(&format!("https://{bucket}.s3.{region}.amazonaws.com{path}")).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_without_keys_is_a_plain_address() {
        let url = plain_s3(None, "us-west-2", "sentinel-cogs", "/a/B04.tif").unwrap();
        assert_eq!(
            url.as_str(),
            "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif"
        );
        let endpoint = "http://127.0.0.1:9000".parse().unwrap();
        let url = plain_s3(Some(&endpoint), "x", "eodata", "/a.jp2").unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:9000/eodata/a.jp2");
    }

    #[test]
    fn accounts_and_containers_are_read_from_blobs() {
        let service: Url = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
            .parse()
            .unwrap();
        let blob = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/30/P/a.tif"
            .parse()
            .unwrap();
        assert_eq!(
            blob_of(&blob, &service),
            Some(("sentinel2l2a01".into(), "sentinel2-l2".into()))
        );
        let other = "https://example.org/a/b".parse().unwrap();
        assert_eq!(blob_of(&other, &service), None);
    }
}
