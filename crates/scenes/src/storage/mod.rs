//! Files by name, in a folder or in a bucket of an object store: where a mirror lies.
//!
//! A file is there whole or not at all. Names are parts joined by `/`; a part that starts with a dot is never listed. All
//! calls wait until they are done and may be made from any thread but one that runs asynchronous tasks.

mod bucket;
mod hashes;
mod lock;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use url::Url;

use crate::{Error, Result};
use bucket::Bucket;
pub use bucket::told;
pub use hashes::Hashes;
pub use lock::{Lock, Locking};

/// Ending of files that are not complete.
const UNFINISHED: &str = "part";

/// Lengths in bytes of the files of a place, by folder and name; its own files stand under the empty name.
pub type Listing = BTreeMap<String, BTreeMap<String, u64>>;

/// A folder, or all objects of a bucket below a prefix.
#[derive(Debug, Clone)]
pub struct Storage(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Folder(PathBuf),
    Bucket(Bucket),
}

impl Storage {
    /// A place by its path or address; nothing is asked yet.
    ///
    /// - `place`: a path, `file:///path`, or `s3://`, `gs://`, `az://` with `BUCKET/PREFIX`.
    /// - `variables`: names and values of the environment. Those that begin with `AWS_`, `GOOGLE_` and `AZURE_` say how the
    ///   store is reached, as `object_store` documents them for its `from_env`; of the others `XDG_STATE_HOME` and `HOME`
    ///   are used.
    ///
    /// # Errors
    ///
    /// If it is an address of another kind, holds keys or a query string, or the variables do not fit together.
    pub fn open(place: &Path, variables: &[(String, String)]) -> Result<Self> {
        let text = place.to_string_lossy();
        if !text.contains("://") {
            return Ok(Self::folder(place));
        }
        let refused = |message: String| Error::Storage {
            address: crate::net::bare(&text),
            message,
        };
        let url =
            Url::parse(&text).map_err(|error| refused(format!("it is no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "keys do not belong in an address; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
                    .into(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused(
                "an address of a mirror ends with its path; leave out what follows the ? or #"
                    .into(),
            ));
        }
        if url.scheme() == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| refused("it is no path of this machine".into()))?;
            return Ok(Self::folder(&path));
        }
        Bucket::open(&url, variables)
            .map(|bucket| Self(Kind::Bucket(bucket)))
            .map_err(refused)
    }

    /// A folder, which need not exist.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self(Kind::Folder(path.to_owned()))
    }

    /// The path of a folder; `None` for a bucket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Folder(path) => Some(path),
            Kind::Bucket(_) => None,
        }
    }

    /// A place within.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(match &self.0 {
            Kind::Folder(path) => Kind::Folder(path.join(name)),
            Kind::Bucket(bucket) => Kind::Bucket(bucket.join(name)),
        })
    }

    /// Path or address of a file, or of the place itself for an empty name. It never holds keys.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        match &self.0 {
            Kind::Folder(path) if name.is_empty() => path.display().to_string(),
            Kind::Folder(path) => path.join(name).display().to_string(),
            Kind::Bucket(bucket) => bucket.address(name),
        }
    }

    /// The object of an address in this place's bucket, and the store that has it; `None` for a folder's files and for
    /// addresses elsewhere.
    #[must_use]
    pub fn object(
        &self,
        address: &str,
    ) -> Option<(Arc<dyn ObjectStore>, object_store::path::Path)> {
        match &self.0 {
            Kind::Folder(_) => None,
            Kind::Bucket(bucket) => bucket.object(address),
        }
    }

    /// The name of the file at an address in this place's part of its bucket; `None` for a folder's files and for addresses
    /// elsewhere.
    #[must_use]
    pub fn name_of(&self, address: &str) -> Option<String> {
        match &self.0 {
            Kind::Folder(_) => None,
            Kind::Bucket(bucket) => bucket.name_of(address),
        }
    }

    /// The files of the place and of the folders directly within; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    pub fn list(&self) -> io::Result<Listing> {
        match &self.0 {
            Kind::Folder(path) => list_folder(path),
            Kind::Bucket(bucket) => bucket.list(),
        }
    }

    /// Names of the folders directly within.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    pub fn folders(&self) -> io::Result<Vec<String>> {
        match &self.0 {
            Kind::Folder(path) => {
                let is_folder = |path: &PathBuf| path.is_dir();
                Ok(entries(path)?
                    .filter(is_folder)
                    .map(|path| name_of(&path))
                    .collect())
            }
            Kind::Bucket(bucket) => bucket.folders(),
        }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; others if it cannot be read.
    pub fn get(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut all = self.get_all(&[name.to_owned()]);
        all.pop().unwrap_or_else(|| Err(ErrorKind::NotFound.into()))
    }

    /// The bytes of many files, in their order. From a bucket some are asked for at a time.
    #[must_use]
    pub fn get_all(&self, names: &[String]) -> Vec<io::Result<Vec<u8>>> {
        match &self.0 {
            Kind::Folder(path) => names.iter().map(|name| fs::read(path.join(name))).collect(),
            Kind::Bucket(bucket) => bucket.get_all(names),
        }
    }

    /// Length in bytes and SHA-256 (64 hexadecimal digits) of many files, in their order, each read a piece at a time.
    ///
    /// - `known`: a folder's files that are as they were are not read.
    #[must_use]
    pub fn hash_all(&self, names: &[String], known: &Hashes) -> Vec<io::Result<(u64, String)>> {
        match &self.0 {
            Kind::Folder(path) => {
                let hashes = names.par_iter().map(|name| known.sha256(&path.join(name)));
                hashes.collect()
            }
            Kind::Bucket(bucket) => bucket.hash_all(names),
        }
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// If the disk or the store refuses.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(path) => write_whole(&path.join(name), bytes),
            Kind::Bucket(bucket) => bucket.put(name, bytes),
        }
    }

    /// Moves a file of this machine to its place: of a folder that must be on the same file system.
    ///
    /// # Errors
    ///
    /// If the disk or the store refuses; the file then stays where it is.
    pub fn put_file(&self, name: &str, from: &Path) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(path) => fs::rename(from, path.join(name)),
            Kind::Bucket(bucket) => {
                bucket.put_file(name, from)?;
                fs::remove_file(from)
            }
        }
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    ///
    /// If the disk or the store refuses.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let removed = match &self.0 {
            Kind::Folder(path) => fs::remove_file(path.join(name)),
            Kind::Bucket(bucket) => bucket.remove(name),
        };
        if_there(removed)
    }

    /// Removes a folder within, if it is there.
    ///
    /// # Errors
    ///
    /// If the disk or the store refuses.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(path) => if_there(fs::remove_dir_all(path.join(name))),
            Kind::Bucket(bucket) => bucket.join(name).remove_all(),
        }
    }

    /// Takes the place for writing until the lock is dropped; a folder is made where there is none.
    ///
    /// # Errors
    ///
    /// If another process holds it, or the disk or the store refuses.
    pub fn lock(&self) -> std::result::Result<Lock, Locking> {
        match &self.0 {
            Kind::Folder(path) => Lock::of_folder(path),
            Kind::Bucket(bucket) => Lock::of_bucket(bucket),
        }
    }
}

/// Where a file is written before it is complete.
#[must_use]
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// Length in bytes and SHA-256 (64 hexadecimal digits) of a file on disk, read a piece at a time.
///
/// # Errors
///
/// If it cannot be read.
pub fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((length, hex(&hash.finalize()))),
            n => {
                length += n as u64;
                hash.update(&piece[..n]);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = unfinished(path);
    let write = || -> io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })?;
    fs::rename(&part, path)
}

fn list_folder(path: &Path) -> io::Result<Listing> {
    let files = |path: &Path| -> io::Result<BTreeMap<String, u64>> {
        let files = entries(path)?.filter(|path| path.is_file());
        Ok(files
            .map(|path| {
                (
                    name_of(&path),
                    fs::metadata(&path).map_or(0, |meta| meta.len()),
                )
            })
            .collect())
    };
    let mut listing = Listing::from([(String::new(), files(path)?)]);
    for folder in entries(path)?.filter(|path| path.is_dir()) {
        listing.insert(name_of(&folder), files(&folder)?);
    }
    Ok(listing)
}

/// What a folder holds, by name, hidden entries apart; nothing if it is not there.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(listed) => {
            for entry in listed {
                found.push(entry?.path());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    found.retain(|path| !name_of(path).starts_with('.'));
    found.sort();
    Ok(found.into_iter())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_an_address_without_secrets() {
        let open = |text: &str| Storage::open(Path::new(text), &[]);
        assert_eq!(open("mirror").unwrap().address("a/b"), "mirror/a/b");
        assert_eq!(
            open("file:///data/a%20b").unwrap().path(),
            Some(Path::new("/data/a b"))
        );
        let bucket = open("s3://bucket/some/prefix/").unwrap().join("area");
        assert_eq!(bucket.address(""), "s3://bucket/some/prefix/area");
        assert_eq!(
            bucket.address("a%2Fb/x.json"),
            "s3://bucket/some/prefix/area/a%252Fb/x.json"
        );
        let (_, path) = bucket
            .object("s3://bucket/some/prefix/area/a%252Fb/x.json")
            .unwrap();
        assert_eq!(path.as_ref(), "some/prefix/area/a%2Fb/x.json");
        let name = bucket.name_of("s3://bucket/some/prefix/area/a%252Fb/x.json");
        assert_eq!(name.as_deref(), Some("a%2Fb/x.json"));
        assert_eq!(bucket.name_of("s3://bucket/some/prefix/area2/x.json"), None);
        assert!(
            bucket
                .object("s3://another/some/prefix/area/x.json")
                .is_none()
        );
        assert_eq!(open("s3://bucket").unwrap().address("x"), "s3://bucket/x");
        for (wrong, fix) in [
            ("s3://key:secret@bucket/x", "AWS_SECRET_ACCESS_KEY"),
            ("s3://bucket/x?sig=secret", "leave out what follows"),
            ("ftp://host/x", "s3://BUCKET/PREFIX"),
            ("https://host/secret", "s3://BUCKET/PREFIX"),
            ("s3:///x", "s3://BUCKET/PREFIX"),
            ("s3://", "s3://BUCKET/PREFIX"),
        ] {
            let said = open(wrong).unwrap_err().to_string();
            assert!(said.contains(fix), "{said}");
            assert!(!said.contains(":secret") && !said.contains("sig"), "{said}");
        }
    }

    #[test]
    fn a_folder_lists_what_is_written_and_nothing_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let place = Storage::folder(folder.path());
        assert_eq!(place.join("absent").list().unwrap()[""], BTreeMap::new());
        fs::create_dir(folder.path().join("scene")).unwrap();
        place.put("scene/red.tif", b"abc").unwrap();
        place.put(".lock", b"").unwrap();
        place.put("collection.json", b"{}").unwrap();
        let listing = place.list().unwrap();
        assert_eq!(
            listing[""],
            BTreeMap::from([("collection.json".to_owned(), 2)])
        );
        assert_eq!(
            listing["scene"],
            BTreeMap::from([("red.tif".to_owned(), 3)])
        );
        assert_eq!(place.folders().unwrap(), ["scene"]);
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hashes = place.hash_all(
            &["scene/red.tif".to_owned(), "absent".to_owned()],
            &Hashes::default(),
        );
        assert_eq!(hashes[0].as_ref().unwrap(), &(3, sum.to_owned()));
        assert_eq!(hashes[1].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
        place.remove_folder("scene").unwrap();
        place.remove_folder("scene").unwrap();
        assert!(!place.list().unwrap().contains_key("scene"));
    }
}
