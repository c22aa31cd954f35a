use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use pitwatch_grid::{Band, UtcTime};
use pitwatch_scenes::net::Remote;
use pitwatch_scenes::storage::{Storage, told};

use crate::error::Defect;

const NO_SUCH_FILE: &str = "there is no such file";

/// One band's file of one scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Address of the file: a local path, a `file://` URL, or an address in the bucket of the mirror that is read.
    pub href: String,
    /// Which band it holds; `None` for the scene classification.
    pub band: Option<Band>,
    /// Digital numbers to add to each pixel, decided from the item's metadata (0 or -1000 for Sentinel-2).
    /// Not used for the scene classification.
    pub offset: i32,
    /// Reflectance per digital number, 1e-4 for Sentinel-2. Not used for the scene classification.
    pub scale: f64,
}

/// The files of one scene.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneFiles {
    /// Its identifier.
    pub id: String,
    /// When it was acquired.
    pub time: UtcTime,
    /// The pass of the satellite it is a part of. Scenes of one pass are one look.
    pub pass: String,
    /// Its bands and its scene classification, in any order.
    pub sources: Vec<Source>,
}

/// A store that files are read from: the file system, or the bucket of a mirror.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<dyn ObjectStore>);

/// One file, wherever it is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In the file system, or in the bucket of a mirror.
    Stored(Store, Path),
    /// At an address of a source.
    Remote(Remote, Arc<str>),
}

/// Where the files of scenes are: on disk, or in a mirror's bucket too.
pub(crate) struct Files {
    local: Store,
    mirror: Option<Storage>,
}

/// The start of a file and how long the file is.
pub(crate) struct Head {
    pub(crate) bytes: Bytes,
    pub(crate) size: u64,
}

/// Bytes between two pieces of a remote file that are fetched along rather than asked for apart: what a connection of
/// 100 Mbit/s receives in 10 ms, less than an answer takes.
const REMOTE_GAP_BYTES: u64 = 128 << 10;
/// Longest run of pieces that one request asks for.
const REMOTE_RUN_BYTES: u64 = 16 << 20;

impl Files {
    pub(crate) fn new(mirror: Option<&Storage>) -> Self {
        Self {
            local: Store::local(),
            mirror: mirror.cloned(),
        }
    }

    /// The file of an address.
    pub(crate) fn place(&self, href: &str) -> Result<Place, Defect> {
        let in_bucket = self.mirror.as_ref().and_then(|mirror| mirror.object(href));
        match in_bucket {
            Some((store, location)) => Ok(Place::Stored(Store(store), location)),
            None => Ok(Place::Stored(self.local.clone(), location_from_href(href)?)),
        }
    }
}

impl Store {
    pub(crate) fn local() -> Self {
        Self::of(Arc::new(LocalFileSystem::new()))
    }

    pub(crate) fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }

    async fn head(&self, location: &Path, length: u64) -> Result<Head, Defect> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..length)),
            ..GetOptions::default()
        };
        let answer = match self.0.get_opts(location, options).await {
            Ok(answer) => answer,
            // Any range of an empty file is an error, which does not say that the file is empty.
            Err(error) => {
                let meta = self.0.head(location).await.map_err(open_error)?;
                return if meta.size == 0 {
                    let bytes = Bytes::new();
                    Ok(Head { bytes, size: 0 })
                } else {
                    Err(open_error(error))
                };
            }
        };
        let size = answer.meta.size;
        let bytes = answer.bytes().await.map_err(open_error)?;
        Ok(Head { bytes, size })
    }
}

impl Place {
    /// The first bytes of a file, at most `length`.
    pub(crate) async fn head(&self, length: u64) -> Result<Head, Defect> {
        match self {
            Self::Stored(store, location) => store.head(location, length).await,
            Self::Remote(remote, href) => {
                let head = remote
                    .range(href, 0..length)
                    .await
                    .map_err(|error| Defect::Open(error.message))?;
                Ok(Head {
                    bytes: head.bytes,
                    size: head.total_bytes,
                })
            }
        }
    }

    /// Some bytes of a file, all of them or an error.
    pub(crate) async fn range(&self, range: Range<u64>) -> Result<Bytes, Defect> {
        let expected = range.end - range.start;
        let bytes = match self {
            Self::Stored(store, location) => store
                .0
                .get_range(location, range)
                .await
                .map_err(|error| Defect::Fetch(told(error).to_string()))?,
            Self::Remote(remote, href) => {
                let part = remote.range(href, range).await;
                part.map_err(|error| Defect::Fetch(error.message))?.bytes
            }
        };
        if bytes.len() as u64 == expected {
            Ok(bytes)
        } else {
            Err(Defect::Fetch(format!(
                "{} of {expected} bytes came",
                bytes.len()
            )))
        }
    }

    /// Several pieces of a file in as few requests as it takes. One that fails does not take the others with it.
    pub(crate) async fn ranges(&self, ranges: &[Range<u64>]) -> Vec<Result<Bytes, Defect>> {
        match self {
            Self::Stored(store, location) => {
                if let Ok(pieces) = store.0.get_ranges(location, ranges).await {
                    let is_whole = |(piece, range): (&Bytes, &Range<u64>)| {
                        piece.len() as u64 == range.end - range.start
                    };
                    if pieces.len() == ranges.len() && pieces.iter().zip(ranges).all(is_whole) {
                        return pieces.into_iter().map(Ok).collect();
                    }
                }
                let mut pieces = Vec::with_capacity(ranges.len());
                for range in ranges {
                    pieces.push(self.range(range.clone()).await);
                }
                pieces
            }
            Self::Remote(..) => {
                let runs = runs(ranges);
                let fetched = join_all(runs.iter().map(|run| self.range(run.clone()))).await;
                ranges
                    .iter()
                    .map(|range| {
                        let within =
                            |run: &Range<u64>| run.start <= range.start && range.end <= run.end;
                        let Some(index) = runs.iter().position(within) else {
                            return Err(Defect::Fetch("it was not asked for".into()));
                        };
                        let bytes = fetched[index].clone()?;
                        let at = |offset: u64| {
                            usize::try_from(offset - runs[index].start).unwrap_or(usize::MAX)
                        };
                        Ok(bytes.slice(at(range.start)..at(range.end)))
                    })
                    .collect()
            }
        }
    }
}

/// The requests that have all ranges: neighbors with small gaps between them become one.
pub(crate) fn runs(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match runs.last_mut() {
            Some(last)
                if range.start <= last.end.saturating_add(REMOTE_GAP_BYTES)
                    && range.end.max(last.end) - last.start <= REMOTE_RUN_BYTES =>
            {
                last.end = last.end.max(range.end);
            }
            _ => runs.push(range),
        }
    }
    runs
}

/// Where the store keeps the file of an address.
pub(crate) fn location_from_href(href: &str) -> Result<Path, Defect> {
    let path = match href.split_once("://") {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            percent_decoded(path).ok_or_else(|| {
                Defect::Address("it has a % that two hexadecimal digits do not follow".into())
            })?
        }
        Some((scheme, _)) => {
            return Err(Defect::Remote {
                scheme: scheme.to_owned(),
            });
        }
        None => href.to_owned(),
    };
    let path = absolute(FilePath::new(&path))?;
    Path::from_absolute_path(&path).map_err(|error| Defect::Address(error.to_string()))
}

/// The path from the root, without the steps up that the store does not take.
fn absolute(path: &FilePath) -> Result<PathBuf, Defect> {
    let steps_up = path
        .components()
        .any(|component| component == Component::ParentDir);
    let absolute = if steps_up {
        std::fs::canonicalize(path)
    } else {
        std::path::absolute(path)
    };
    absolute.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Defect::Open(NO_SUCH_FILE.into()),
        _ => Defect::Address(error.to_string()),
    })
}

fn open_error(error: object_store::Error) -> Defect {
    match error {
        object_store::Error::NotFound { .. } => Defect::Open(NO_SUCH_FILE.into()),
        other => Defect::Open(told(other).to_string()),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_the_network_is_refused_by_name() {
        for href in ["https://example.org/B04.tif", "s3://bucket/B04.tif"] {
            let scheme = href.split(':').next().unwrap();
            assert_eq!(
                location_from_href(href),
                Err(Defect::Remote {
                    scheme: scheme.into()
                })
            );
        }
    }

    #[test]
    fn neighbors_are_asked_for_together() {
        let gap = REMOTE_GAP_BYTES;
        let ranges = [
            500..900,
            0..400,
            900 + gap..1000 + gap,
            2000 + 2 * gap + 1..3000 + 2 * gap,
        ];
        assert_eq!(
            runs(&ranges),
            [0..1000 + gap, 2001 + 2 * gap..3000 + 2 * gap]
        );
        let far = REMOTE_RUN_BYTES;
        assert_eq!(runs(&[0..far, far..2 * far]).len(), 2);
    }

    #[test]
    fn a_url_and_a_path_of_one_file_are_one_place() {
        let path = location_from_href("/data/a b/B04.tif").unwrap();
        assert_eq!(location_from_href("file:///data/a%20b/B04.tif"), Ok(path));
        assert!(matches!(
            location_from_href("file:///data/100%/B04.tif"),
            Err(Defect::Address(_))
        ));
    }
}
