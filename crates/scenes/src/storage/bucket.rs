//! A bucket of an object store.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read};
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::buffered::BufWriter;
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use url::Url;

use super::{Listing, hex};

/// Objects that are read or removed at a time.
const IN_FLIGHT: usize = 32;
/// Objects that are written at a time; each holds two parts in memory, 64 MiB in all.
const UPLOADS: usize = 4;
/// Longest object that is sent in one request; longer ones are sent in parts of this size (S3 takes parts of 5 MiB and more).
const PART_BYTES: usize = 8 << 20;
/// Bytes that are read from disk at a time.
const PIECE_BYTES: usize = 1 << 20;
/// How long a request is tried again while the store does not answer.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest that one request may take: a part of 8 MiB at 30 kB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(5);
/// Threads that wait for the store.
const THREADS: usize = 2;

/// All objects of a bucket below a prefix.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Scheme and bucket, `s3://bucket`.
    root: Arc<str>,
    prefix: Path,
    uploads: Arc<Semaphore>,
    /// Where this machine remembers what it holds.
    pub(super) state_folder: Option<PathBuf>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bucket({})", self.address(""))
    }
}

impl Bucket {
    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        Self {
            store: Arc::new(object_store::memory::InMemory::new()),
            root: "memory://test".into(),
            prefix: Path::from("prefix"),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            state_folder: None,
        }
    }

    pub(super) fn open(url: &Url, variables: &[(String, String)]) -> Result<Self, String> {
        const FORMS: &str = "a mirror is a folder, or an address such as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
        let name = url
            .host_str()
            .filter(|name| !name.is_empty())
            .ok_or(FORMS)?;
        // Requests are made over TLS with the provider that the first caller in the process has chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = runtime().map_err(|error| error.to_string())?;
        let connector = SpawnedReqwestConnector::new(runtime);
        let retry = RetryConfig {
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        let store: object_store::Result<Arc<dyn ObjectStore>> = match url.scheme() {
            "s3" => {
                let mut builder = AmazonS3Builder::new().with_client_options(client_options());
                for (key, value) in configuration("AWS_", variables) {
                    builder = builder.with_config(key, value);
                }
                let builder = builder.with_bucket_name(name).with_retry(retry);
                let built = builder.with_http_connector(connector).build();
                built.map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let mut builder =
                    GoogleCloudStorageBuilder::new().with_client_options(client_options());
                for (key, value) in configuration("GOOGLE_", variables) {
                    builder = builder.with_config(key, value);
                }
                let builder = builder.with_bucket_name(name).with_retry(retry);
                let built = builder.with_http_connector(connector).build();
                built.map(|store| Arc::new(store) as _)
            }
            "az" => {
                let mut builder =
                    MicrosoftAzureBuilder::new().with_client_options(client_options());
                for (key, value) in configuration("AZURE_", variables) {
                    builder = builder.with_config(key, value);
                }
                let builder = builder.with_container_name(name).with_retry(retry);
                let built = builder.with_http_connector(connector).build();
                built.map(|store| Arc::new(store) as _)
            }
            _ => return Err(FORMS.into()),
        };
        let variable = |name: &str| {
            let (_, value) = variables.iter().find(|(key, _)| key == name)?;
            (!value.is_empty()).then(|| PathBuf::from(value))
        };
        let state = variable("XDG_STATE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".local").join("state")));
        Ok(Self {
            store: store.map_err(|error| message_of(&error))?,
            root: format!("{}://{name}", url.scheme()).into(),
            prefix: Path::from_url_path(url.path()).map_err(|error| error.to_string())?,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            state_folder: state.map(|folder| folder.join("pitwatch")),
        })
    }

    pub(super) fn join(&self, name: &str) -> Self {
        Self {
            prefix: self.key(name),
            ..self.clone()
        }
    }

    pub(super) fn address(&self, name: &str) -> String {
        let key = self.key(name);
        // Of what is encoded in a path, names have the percent sign alone; a prefix may have more.
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/!$&'()*+,;=:@".contains(&byte);
        let mut address = format!("{}/", self.root);
        for byte in key.as_ref().bytes() {
            if plain(byte) {
                address.push(char::from(byte));
            } else {
                address.push_str(&format!("%{byte:02X}"));
            }
        }
        address.trim_end_matches('/').to_owned()
    }

    pub(super) fn object(&self, address: &str) -> Option<(Arc<dyn ObjectStore>, Path)> {
        let path = address.strip_prefix(&*self.root)?.strip_prefix('/')?;
        Some((Arc::clone(&self.store), Path::from_url_path(path).ok()?))
    }

    pub(super) fn name_of(&self, address: &str) -> Option<String> {
        let (_, key) = self.object(address)?;
        let parts: Vec<_> = key.prefix_match(&self.prefix)?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Some(parts.join("/"))
    }

    /// The key of a file. Names are made of plain letters by their writers, so that none is refused.
    pub(super) fn key(&self, name: &str) -> Path {
        let joined = format!("{}/{name}", self.prefix);
        Path::parse(joined.trim_matches('/')).unwrap_or_else(|_| Path::from(joined))
    }

    pub(super) fn list(&self) -> io::Result<Listing> {
        let found = self.objects()?;
        let mut listing = Listing::from([(String::new(), Default::default())]);
        for (key, n_bytes) in found {
            let parts: Vec<String> = match key.prefix_match(&self.prefix) {
                Some(parts) => parts.map(|part| part.as_ref().to_owned()).collect(),
                None => continue,
            };
            let (folder, name) = match &parts[..] {
                [name] => (String::new(), name),
                [folder, name] => (folder.clone(), name),
                _ => continue,
            };
            if !name.starts_with('.') && !folder.starts_with('.') {
                listing
                    .entry(folder)
                    .or_default()
                    .insert(name.clone(), n_bytes);
            }
        }
        Ok(listing)
    }

    fn objects(&self) -> io::Result<Vec<(Path, u64)>> {
        let bucket = self.clone();
        wait(async move {
            let listed = bucket.store.list(Some(&bucket.prefix));
            let found: Vec<_> = listed.try_collect().await.map_err(told)?;
            Ok(found
                .into_iter()
                .map(|meta| (meta.location, meta.size))
                .collect())
        })?
    }

    pub(super) fn folders(&self) -> io::Result<Vec<String>> {
        let bucket = self.clone();
        wait(async move {
            let listed = bucket.store.list_with_delimiter(Some(&bucket.prefix));
            let listed = listed.await.map_err(told)?;
            let names = listed.common_prefixes.iter().filter_map(Path::filename);
            Ok(names
                .filter(|name| !name.starts_with('.'))
                .map(str::to_owned)
                .collect())
        })?
    }

    pub(super) fn get_all(&self, names: &[String]) -> Vec<io::Result<Vec<u8>>> {
        self.each(names, async |bucket: Self, key: Path| {
            let bytes = bucket.store.get(&key).await.map_err(told)?.bytes().await;
            Ok(bytes.map_err(told)?.to_vec())
        })
    }

    pub(super) fn hash_all(&self, names: &[String]) -> Vec<io::Result<(u64, String)>> {
        self.each(names, async |bucket: Self, key: Path| {
            let mut pieces = bucket.store.get(&key).await.map_err(told)?.into_stream();
            let (mut hash, mut length) = (Sha256::new(), 0);
            while let Some(piece) = pieces.try_next().await.map_err(told)? {
                length += piece.len() as u64;
                hash.update(&piece);
            }
            Ok((length, hex(&hash.finalize())))
        })
    }

    /// Asks for many objects, some at a time.
    fn each<T, F>(
        &self,
        names: &[String],
        ask: impl Fn(Self, Path) -> F + Send + Sync + 'static,
    ) -> Vec<io::Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let keys: Vec<Path> = names.iter().map(|name| self.key(name)).collect();
        let bucket = self.clone();
        let all = wait(async move {
            let asked = futures::stream::iter(keys).map(|key| ask(bucket.clone(), key));
            asked.buffered(IN_FLIGHT).collect::<Vec<_>>().await
        });
        match all {
            Ok(all) => all,
            Err(error) => names
                .iter()
                .map(|_| Err(io::Error::other(error.to_string())))
                .collect(),
        }
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (bucket, key) = (self.clone(), self.key(name));
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        wait(async move {
            let put = bucket.store.put(&key, payload).await;
            put.map(|_| ()).map_err(told)
        })?
    }

    pub(super) fn put_file(&self, name: &str, from: &FilePath) -> io::Result<()> {
        let (bucket, key) = (self.clone(), self.key(name));
        let mut file = File::open(from)?;
        wait(async move {
            let _turn = bucket.uploads.acquire().await;
            let mut writer =
                BufWriter::with_capacity(bucket.store, key, PART_BYTES).with_max_concurrency(1);
            let written: io::Result<()> = async {
                loop {
                    let mut piece = Vec::with_capacity(PIECE_BYTES);
                    (&mut file)
                        .take(PIECE_BYTES as u64)
                        .read_to_end(&mut piece)?;
                    if piece.is_empty() {
                        return Ok(());
                    }
                    writer.put(piece.into()).await.map_err(told)?;
                }
            }
            .await;
            match written {
                // The object is there from here on, or not at all.
                Ok(()) => writer.shutdown().await.map_err(unwrapped),
                Err(error) => {
                    let _ = writer.abort().await;
                    Err(error)
                }
            }
        })?
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let (bucket, key) = (self.clone(), self.key(name));
        wait(async move { bucket.store.delete(&key).await.map_err(told) })?
    }

    pub(super) fn remove_all(&self) -> io::Result<()> {
        let keys: Vec<Path> = self.objects()?.into_iter().map(|(key, _)| key).collect();
        let bucket = self.clone();
        wait(async move {
            let removed = futures::stream::iter(keys).map(|key| {
                let store = Arc::clone(&bucket.store);
                async move {
                    match store.delete(&key).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                        Err(error) => Err(told(error)),
                    }
                }
            });
            removed
                .buffer_unordered(IN_FLIGHT)
                .try_collect::<()>()
                .await
        })?
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(10))
        .with_timeout(REQUEST_TIMEOUT)
        .with_user_agent(object_store::HeaderValue::from_static(concat!(
            "pitwatch/",
            env!("CARGO_PKG_VERSION")
        )))
}

/// The variables of a store, as its `from_env` takes them.
fn configuration<'a, K: FromStr>(
    start: &str,
    variables: &'a [(String, String)],
) -> impl Iterator<Item = (K, &'a str)> {
    variables
        .iter()
        .filter(move |(name, _)| name.starts_with(start))
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
}

/// The threads that wait for object stores: one set for the process, which outlives every reader and writer.
pub(super) fn runtime() -> io::Result<Handle> {
    static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*runtime {
        return Ok(runtime.handle().clone());
    }
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("bucket")
        .enable_all()
        .build()?;
    Ok(runtime.insert(started).handle().clone())
}

/// Waits for work on those threads.
pub(super) fn wait<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = std::sync::mpsc::channel();
    runtime()?.spawn(async move {
        // The receiver is gone only if its thread has ended.
        let _ = done.send(work.await);
    });
    result
        .recv()
        .map_err(|_| io::Error::other("the request was given up"))
}

/// What a store said, as an error of the file it was asked for, without what keys and signatures may stand in.
#[must_use]
pub fn told(error: object_store::Error) -> io::Error {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let kind = match &error {
        NotFound { .. } if !is_of_bucket(&error.to_string()) => ErrorKind::NotFound,
        PermissionDenied { .. } | Unauthenticated { .. } => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, message_of(&error))
}

/// An error of the writer, which wraps what the store said.
fn unwrapped(error: io::Error) -> io::Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => told(error),
        Err(error) => io::Error::new(error.kind(), plain(&error.to_string())),
    }
}

fn is_of_bucket(text: &str) -> bool {
    [
        "NoSuchBucket",
        "ContainerNotFound",
        "The specified bucket does not exist",
    ]
    .iter()
    .any(|code| text.contains(code))
}

/// What a store said and what to do, without the parts of an answer or an address in which keys and signatures stand.
fn message_of(error: &object_store::Error) -> String {
    use object_store::Error::{NotFound, NotImplemented, PermissionDenied, Unauthenticated};
    let text = error.to_string();
    match error {
        _ if is_of_bucket(&text) => {
            "there is no such bucket; create it, or mend the address".into()
        }
        NotFound { .. } => "there is no such object".into(),
        PermissionDenied { .. } | Unauthenticated { .. } => format!(
            "the store refuses the keys{}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_…, AZURE_… for its stores) to ones that may read and write there",
            code_of(&text)
        ),
        NotImplemented { operation, .. } => format!("the store cannot do this: {operation}"),
        _ if text.contains("builder error") && text.contains("http://") => {
            "the store's address is not https; set AWS_ALLOW_HTTP=true if that is meant".into()
        }
        _ if text.contains("redirect") => format!(
            "the bucket is of another region; set AWS_REGION{}",
            code_of(&text)
        ),
        // Where a machine of the cloud asks for keys, if none are set.
        _ if text.contains("169.254.169.254") => {
            "there are no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_…, AZURE_… for its stores), or AWS_SKIP_SIGNATURE=true to read what is public".into()
        }
        _ if text.contains("error sending request") => format!(
            "the store cannot be reached; see that AWS_ENDPOINT_URL is right: {}",
            plain(&text)
        ),
        _ => plain(&text),
    }
}

/// The code in a store's answer, in brackets.
fn code_of(text: &str) -> String {
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code)
        .filter(|code| code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    code.map_or_else(String::new, |code| format!(" ({code})"))
}

/// A text without an answer's body and without the query strings of addresses.
fn plain(text: &str) -> String {
    let head = text
        .split('<')
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ' ']);
    let mut plain = String::new();
    for word in head.split_inclusive([' ', '(', '"']) {
        match (word.contains("://"), word.find('?')) {
            (true, Some(query)) => {
                plain.push_str(&word[..query]);
                plain.push_str(if word.ends_with(' ') { "… " } else { "…" });
            }
            _ => plain.push_str(word),
        }
    }
    plain + &code_of(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_told() {
        let text = "Generic S3 error: Client error with status 400: <Error><Code>Bad</Code><StringToSign>AKID</StringToSign></Error>";
        assert_eq!(
            plain(text),
            "Generic S3 error: Client error with status 400 (Bad)"
        );
        let text = "error sending request for url (https://a.blob.core.windows.net/c?sv=1&sig=AKID) after 2 s";
        assert_eq!(
            plain(text),
            "error sending request for url (https://a.blob.core.windows.net/c… after 2 s"
        );
    }

    #[test]
    fn objects_come_back_as_they_were_put_in_parts_or_whole() {
        let bucket = Bucket::in_memory();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let names = [
            "a/short".to_owned(),
            "a/long".to_owned(),
            "own".to_owned(),
            "no".to_owned(),
        ];
        let lengths = [5, 2 * PART_BYTES + 7, 0];
        for (name, length) in names.iter().zip(lengths) {
            let bytes: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            std::fs::write(&file, &bytes).unwrap();
            bucket.put_file(name, &file).unwrap();
            assert!(
                bucket.get_all(std::slice::from_ref(name))[0]
                    .as_ref()
                    .unwrap()
                    == &bytes
            );
            let hash = bucket
                .hash_all(std::slice::from_ref(name))
                .pop()
                .unwrap()
                .unwrap();
            assert_eq!(hash, super::super::hash_file(&file).unwrap());
        }
        assert_eq!(
            bucket.hash_all(&names)[3].as_ref().unwrap_err().kind(),
            ErrorKind::NotFound
        );
        bucket.put(".lock", b"x").unwrap();
        bucket.put("a/b/deeper", b"x").unwrap();
        let listing = bucket.list().unwrap();
        assert_eq!(listing[""].keys().collect::<Vec<_>>(), ["own"]);
        assert_eq!(listing["a"].keys().collect::<Vec<_>>(), ["long", "short"]);
        assert_eq!(bucket.folders().unwrap(), ["a"]);
        bucket.join("a").remove_all().unwrap();
        assert_eq!(bucket.list().unwrap().keys().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn variables_are_taken_by_their_full_names_only() {
        let variables = [("AWS_REGION", "x"), ("REGION", "y"), ("AWS_NONSENSE", "z")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let taken: Vec<(object_store::aws::AmazonS3ConfigKey, &str)> =
            configuration("AWS_", &variables).collect();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1, "x");
    }
}
