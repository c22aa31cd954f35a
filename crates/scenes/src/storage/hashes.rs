//! Checksums of files that were read before and are as they were.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{hash_file, write_whole};

/// A file that was changed so shortly before it was read may be changed again within a tick of the file system's clock.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// First line of the file they are kept in.
const HEAD: &str = "pitwatch hashes 1";

/// SHA-256 of files by path, each with the length and the times that the file had.
///
/// A file of another length or time is read anew. Damage that leaves both as they are is not seen; a check without known
/// checksums sees it.
#[derive(Debug, Default)]
pub struct Hashes {
    files: Mutex<BTreeMap<PathBuf, Known>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    stamp: Stamp,
    sha256: String,
    is_used: bool,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq)]
struct Stamp {
    n_bytes: u64,
    modified_ns: u128,
    changed: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            n_bytes: metadata.len(),
            modified_ns: modified.as_nanos(),
            changed: changed(metadata),
        })
    }
}

/// When the file's entry last changed, which no program can set.
#[cfg(unix)]
fn changed(metadata: &Metadata) -> i128 {
    use std::os::unix::fs::MetadataExt as _;
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> i128 {
    0
}

impl Hashes {
    /// Those of a file that [`Hashes::save`] wrote; none where it is not there or damaged.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self {
            files: Mutex::new(parse(&text).unwrap_or_default()),
        }
    }

    /// Keeps those that were asked for, whole or not at all.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut text = format!("{HEAD}\n");
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, known) in files.iter().filter(|(_, known)| known.is_used) {
            // A name that is no text or has a line's end is read anew each time.
            if let Some(name) = file.to_str().filter(|name| !name.contains('\n')) {
                let Stamp {
                    n_bytes,
                    modified_ns,
                    changed,
                } = known.stamp;
                text += &format!(
                    "{} {n_bytes} {modified_ns} {changed} {name}\n",
                    known.sha256
                );
            }
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_whole(path, text.as_bytes())
    }

    /// Length in bytes and SHA-256 (64 hexadecimal digits) of a file, which is read where it is not as it was.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn sha256(&self, path: &Path) -> io::Result<(u64, String)> {
        let before = Stamp::of(&fs::metadata(path)?);
        let files = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stamp) = &before
            && let Some(known) = files().get_mut(path).filter(|known| known.stamp == *stamp)
        {
            known.is_used = true;
            return Ok((stamp.n_bytes, known.sha256.clone()));
        }
        let (n_bytes, sha256) = hash_file(path)?;
        let after = Stamp::of(&fs::metadata(path)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let is_settled = |stamp: &Stamp| {
            let settled = now.is_ok_and(|now| {
                let then = stamp
                    .modified_ns
                    .max(u128::try_from(stamp.changed).unwrap_or(0));
                then + SETTLED_AFTER.as_nanos() < now.as_nanos()
            });
            settled && stamp.n_bytes == n_bytes
        };
        if let Some(stamp) = before.filter(is_settled)
            && after.as_ref() == Some(&stamp)
        {
            let known = Known {
                stamp,
                sha256: sha256.clone(),
                is_used: true,
            };
            files().insert(path.to_owned(), known);
        }
        Ok((n_bytes, sha256))
    }
}

fn parse(text: &str) -> Option<BTreeMap<PathBuf, Known>> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return None;
    }
    let parse = |line: &str| {
        let mut parts = line.splitn(5, ' ');
        let sha256 = parts.next()?.to_owned();
        let stamp = Stamp {
            n_bytes: parts.next()?.parse().ok()?,
            modified_ns: parts.next()?.parse().ok()?,
            changed: parts.next()?.parse().ok()?,
        };
        let known = Known {
            stamp,
            sha256,
            is_used: false,
        };
        (known.sha256.len() == 64).then_some((PathBuf::from(parts.next()?), known))
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn known(hashes: &Hashes) -> usize {
        hashes.files.lock().unwrap().len()
    }

    #[test]
    fn a_file_that_may_still_change_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "a").unwrap();
        let hashes = Hashes::default();
        let first = hashes.sha256(&path).unwrap();
        assert_eq!((first.0, known(&hashes)), (1, 0));
        fs::write(&path, "b").unwrap();
        assert_ne!(hashes.sha256(&path).unwrap(), first);
    }

    #[test]
    fn what_is_remembered_comes_back_and_a_changed_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = (folder.path().join("a b"), folder.path().join("hashes"));
        fs::write(&path, "a").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap()).unwrap();
        let line = |sha256: &str, n_bytes: u64| {
            let Stamp {
                modified_ns,
                changed,
                ..
            } = stamp;
            let path = path.display();
            format!("{HEAD}\n{sha256} {n_bytes} {modified_ns} {changed} {path}\n")
        };
        let told = "0".repeat(64);
        fs::write(&kept, line(&told, 1)).unwrap();
        let hashes = Hashes::load(&kept);
        assert_eq!(hashes.sha256(&path).unwrap(), (1, told.clone()));
        hashes.save(&kept).unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), line(&told, 1));
        // Another length, another time, another file.
        fs::write(&kept, line(&told, 2)).unwrap();
        assert_ne!(Hashes::load(&kept).sha256(&path).unwrap().1, told);
        fs::write(&kept, line(&told, 1)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        assert_ne!(Hashes::load(&kept).sha256(&path).unwrap().1, told);
        fs::write(&kept, "cut sho").unwrap();
        assert_ne!(Hashes::load(&kept).sha256(&path).unwrap().1, told);
    }
}
