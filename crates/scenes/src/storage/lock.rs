//! Who writes to a place.
//!
//! In a folder the operating system holds a lock on the file `.lock`, and lets go of it when the process ends.
//! In a bucket there is an object `.lock` that names its holder. It is made only where there is none, written again each
//! minute, and removed at the end; one that was not written for 20 minutes is taken over. What this machine holds is noted
//! in a locked file of the user's state folder too: a process that was killed leaves its note unlocked, so that the next
//! one on the machine need not wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::AbortHandle;

use super::bucket::{Bucket, runtime, told, wait};
use super::hex;

/// The lock's name.
const NAME: &str = ".lock";
/// How often a holder writes its lock again.
const REFRESH: Duration = Duration::from_mins(1);
/// When a lock that is not written again is void: stores refuse requests of clocks that are 15 minutes wrong, so that no two
/// machines disagree by more about its age.
const EXPIRY: Duration = Duration::from_mins(20);
/// Tries to take a lock that changes hands meanwhile.
const TRIES: usize = 3;

/// Held for writing until it is dropped.
#[derive(Debug)]
pub struct Lock(Held);

#[derive(Debug)]
enum Held {
    /// The operating system's.
    Folder {
        _file: File,
    },
    Bucket(Box<ObjectLock>),
}

/// Why a place could not be taken.
#[derive(Debug)]
pub enum Locking {
    /// Another process has it: who, since when, and what to do if it is dead; empty for a folder.
    Held(String),
    /// The disk or the store refuses.
    Refused(io::Error),
}

#[derive(Debug)]
struct ObjectLock {
    bucket: Bucket,
    refreshing: AbortHandle,
    is_lost: Arc<AtomicBool>,
    _note: Option<Note>,
}

/// What stands in the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    token: String,
    owner: String,
    since: String,
}

/// This machine's note of the tokens that it may hold.
#[derive(Debug)]
struct Note(File);

impl Lock {
    pub(super) fn of_folder(folder: &FilePath) -> Result<Self, Locking> {
        fs::create_dir_all(folder).map_err(Locking::Refused)?;
        let file = File::create(folder.join(NAME)).map_err(Locking::Refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Held::Folder { _file: file })),
            Err(_) => Err(Locking::Held(String::new())),
        }
    }

    pub(super) fn of_bucket(bucket: &Bucket) -> Result<Self, Locking> {
        let (note, earlier) = Note::open(bucket)?;
        let holder = Holder::new();
        if let Some(note) = &note {
            let tokens = earlier.iter().chain([&holder.token]);
            note.write(tokens).map_err(Locking::Refused)?;
        }
        let version = take(bucket, &holder, &earlier, EXPIRY)?;
        if let Some(note) = &note {
            note.write([&holder.token].into_iter())
                .map_err(Locking::Refused)?;
        }
        let is_lost = Arc::new(AtomicBool::new(false));
        let refreshing = refresh(bucket.clone(), holder, version, Arc::clone(&is_lost));
        let lock = ObjectLock {
            bucket: bucket.clone(),
            refreshing: runtime()
                .map_err(Locking::Refused)?
                .spawn(refreshing)
                .abort_handle(),
            is_lost,
            _note: note,
        };
        Ok(Self(Held::Bucket(Box::new(lock))))
    }

    /// False once another process has taken a bucket over, after the store was out of reach for long.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match &self.0 {
            Held::Folder { .. } => true,
            Held::Bucket(lock) => !lock.is_lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for ObjectLock {
    fn drop(&mut self) {
        self.refreshing.abort();
        if !self.is_lost.load(Ordering::Relaxed) {
            // What stays expires.
            let _ = self.bucket.remove(NAME);
        }
    }
}

/// Makes the lock, or takes over one whose holder is dead, and returns its version.
///
/// - `earlier`: tokens of this machine whose holders have ended.
/// - `expiry`: age from which a lock is void.
fn take(
    bucket: &Bucket,
    holder: &Holder,
    earlier: &[String],
    expiry: Duration,
) -> Result<UpdateVersion, Locking> {
    let refused = |error: object_store::Error| Locking::Refused(told(error));
    let mut mode = PutMode::Create;
    for _ in 0..TRIES {
        match put(bucket, holder, mode) {
            Ok(version) => return Ok(version),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {}
            Err(error) => return Err(refused(error)),
        }
        let (found, modified, version) = match get(bucket) {
            Ok(found) => found,
            // Let go of meanwhile.
            Err(object_store::Error::NotFound { .. }) => {
                mode = PutMode::Create;
                continue;
            }
            Err(error) => return Err(refused(error)),
        };
        let age = SystemTime::now()
            .duration_since(modified.into())
            .unwrap_or_default();
        match found {
            // An answer that was lost on its way.
            Some(found) if found == *holder => return Ok(version),
            Some(found) if !earlier.contains(&found.token) && age < expiry => {
                return Err(Locking::Held(found.text(bucket, modified)));
            }
            None if age < expiry => {
                return Err(Locking::Held(format!(
                    "remove {} if nothing writes there",
                    bucket.address(NAME)
                )));
            }
            _ => mode = PutMode::Update(version),
        }
    }
    Err(Locking::Held("another process was faster".into()))
}

fn put(bucket: &Bucket, holder: &Holder, mode: PutMode) -> object_store::Result<UpdateVersion> {
    let (store, key, payload) = (
        Arc::clone(&bucket.store),
        bucket.key(NAME),
        holder.payload(),
    );
    waited(async move {
        let put = store
            .put_opts(&key, payload, PutOptions::from(mode))
            .await?;
        Ok(UpdateVersion::from(put))
    })
}

type Found = (Option<Holder>, DateTime<Utc>, UpdateVersion);

fn get(bucket: &Bucket) -> object_store::Result<Found> {
    let (store, key) = (Arc::clone(&bucket.store), bucket.key(NAME));
    waited(async move {
        let found = store.get(&key).await?;
        let meta = found.meta.clone();
        let version = UpdateVersion {
            e_tag: meta.e_tag,
            version: meta.version,
        };
        let holder = serde_json::from_slice(&found.bytes().await?).ok();
        Ok((holder, meta.last_modified, version))
    })
}

fn waited<T: Send + 'static>(
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> object_store::Result<T> {
    wait(work).unwrap_or_else(|error| {
        Err(object_store::Error::Generic {
            store: "bucket",
            source: Box::new(error),
        })
    })
}

/// Writes the lock again each minute, until it is found to be another's.
async fn refresh(
    bucket: Bucket,
    holder: Holder,
    mut version: UpdateVersion,
    is_lost: Arc<AtomicBool>,
) {
    let key: Path = bucket.key(NAME);
    loop {
        tokio::time::sleep(REFRESH).await;
        let options = PutOptions::from(PutMode::Update(version.clone()));
        match bucket.store.put_opts(&key, holder.payload(), options).await {
            Ok(put) => version = put.into(),
            Err(
                object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. },
            ) => {
                // A write whose answer was lost changes the version too.
                match bucket.store.get(&key).await {
                    Ok(found) => {
                        let found_version = UpdateVersion {
                            e_tag: found.meta.e_tag.clone(),
                            version: found.meta.version.clone(),
                        };
                        let bytes = found.bytes().await.unwrap_or_default();
                        if serde_json::from_slice::<Holder>(&bytes)
                            .is_ok_and(|found| found == holder)
                        {
                            version = found_version;
                            continue;
                        }
                        is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(object_store::Error::NotFound { .. }) => {
                        is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(_) => {}
                }
            }
            // Tried again in a minute; after too long another process may take it, which is seen then.
            Err(_) => {}
        }
    }
}

impl Holder {
    fn new() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() {
            "a machine"
        } else {
            host.trim()
        };
        let random: [u8; 16] = rand::random();
        Self {
            token: hex(&random),
            owner: format!("{host}, process {}", std::process::id()),
            since: stamp(SystemTime::now().into()),
        }
    }

    fn payload(&self) -> PutPayload {
        // Strings alone, which are always JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    fn text(&self, bucket: &Bucket, modified: DateTime<Utc>) -> String {
        let Self { owner, since, .. } = self;
        let expires = stamp(modified + EXPIRY);
        let address = bucket.address(NAME);
        format!("{owner}, since {since}; if it is dead, wait until {expires} or remove {address}")
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Note {
    /// The note of a bucket's place and the tokens in it; `None` where the user has no state folder that can be written.
    fn open(bucket: &Bucket) -> Result<(Option<Self>, Vec<String>), Locking> {
        let Some(folder) = &bucket.state_folder else {
            return Ok((None, Vec::new()));
        };
        let sum = hex(&Sha256::digest(bucket.address(NAME)));
        let path = folder.join(format!("mirror-{}.lock", &sum[..16]));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let Ok(mut file) = fs::create_dir_all(folder).and_then(|()| options.open(path)) else {
            return Ok((None, Vec::new()));
        };
        if file.try_lock().is_err() {
            return Err(Locking::Held("a process of this machine".into()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(Locking::Refused)?;
        Ok((Some(Self(file)), text.lines().map(str::to_owned).collect()))
    }

    fn write<'a>(&self, tokens: impl Iterator<Item = &'a String>) -> io::Result<()> {
        let text: String = tokens.map(|token| format!("{token}\n")).collect();
        let mut file = &self.0;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_held(taken: &Result<UpdateVersion, Locking>) -> bool {
        matches!(taken, Err(Locking::Held(_)))
    }

    #[test]
    fn a_lock_is_taken_over_from_the_dead_alone() {
        let bucket = Bucket::in_memory();
        let (first, second, third) = (Holder::new(), Holder::new(), Holder::new());
        take(&bucket, &first, &[], EXPIRY).unwrap();
        assert!(is_held(&take(&bucket, &second, &[], EXPIRY)));
        assert!(is_held(&take(
            &bucket,
            &second,
            &["another".into()],
            EXPIRY
        )));
        // The answer to the first try was lost.
        take(&bucket, &first, &[], EXPIRY).unwrap();
        // Its process is known to have ended.
        take(&bucket, &second, std::slice::from_ref(&first.token), EXPIRY).unwrap();
        assert_eq!(get(&bucket).unwrap().0, Some(second));
        // It was not written for too long.
        take(&bucket, &third, &[], Duration::ZERO).unwrap();
        assert_eq!(get(&bucket).unwrap().0, Some(third));
        bucket.put(NAME, b"what is this").unwrap();
        assert!(is_held(&take(&bucket, &first, &[], EXPIRY)));
    }

    #[test]
    fn a_dropped_lock_is_gone_and_a_lost_one_is_left_to_its_new_holder() {
        let bucket = Bucket::in_memory();
        let lock = Lock::of_bucket(&bucket).unwrap();
        assert!(lock.is_held() && Lock::of_bucket(&bucket).is_err());
        drop(lock);
        let lock = Lock::of_bucket(&bucket).unwrap();
        let Held::Bucket(object) = &lock.0 else {
            unreachable!("it is one of a bucket")
        };
        object.is_lost.store(true, Ordering::Relaxed);
        assert!(!lock.is_held());
        drop(lock);
        assert!(Lock::of_bucket(&bucket).is_err());
    }

    #[test]
    fn what_this_machine_held_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let mut bucket = Bucket::in_memory();
        bucket.state_folder = Some(folder.path().join("state"));
        let lock = Lock::of_bucket(&bucket).unwrap();
        let Err(Locking::Held(said)) = Lock::of_bucket(&bucket) else {
            unreachable!("it is held")
        };
        assert_eq!(said, "a process of this machine");
        // A killed process lets go of its note and leaves the object.
        let left = bucket.get_all(&[NAME.to_owned()]).pop().unwrap().unwrap();
        drop(lock);
        bucket.put(NAME, &left).unwrap();
        Lock::of_bucket(&bucket).unwrap();
    }
}
