use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use pitwatch_grid::{Band, UtcTime};

use crate::error::Defect;

const NO_SUCH_FILE: &str = "there is no such file";

/// One band's file of one scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Address of the file: a local path, or a `file://` URL.
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
    /// Its bands and its scene classification, in any order.
    pub sources: Vec<Source>,
}

/// Where bytes come from. Object storage and HTTP can join here without a change elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<dyn ObjectStore>);

/// The start of a file and how long the file is.
pub(crate) struct Head {
    pub(crate) bytes: Bytes,
    pub(crate) size: u64,
}

impl Store {
    pub(crate) fn local() -> Self {
        Self(Arc::new(LocalFileSystem::new()))
    }

    /// The first bytes of a file, at most `length`.
    pub(crate) async fn head(&self, location: &Path, length: u64) -> Result<Head, Defect> {
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

    /// Some bytes of a file, all of them or an error.
    pub(crate) async fn range(&self, location: &Path, range: Range<u64>) -> Result<Bytes, Defect> {
        let expected = range.end - range.start;
        let bytes = self
            .0
            .get_range(location, range)
            .await
            .map_err(|error| Defect::Fetch(error.to_string()))?;
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
    pub(crate) async fn ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Vec<Result<Bytes, Defect>> {
        if let Ok(pieces) = self.0.get_ranges(location, ranges).await {
            let is_whole = |(piece, range): (&Bytes, &Range<u64>)| {
                piece.len() as u64 == range.end - range.start
            };
            if pieces.len() == ranges.len() && pieces.iter().zip(ranges).all(is_whole) {
                return pieces.into_iter().map(Ok).collect();
            }
        }
        let mut pieces = Vec::with_capacity(ranges.len());
        for range in ranges {
            pieces.push(self.range(location, range.clone()).await);
        }
        pieces
    }
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
        other => Defect::Open(other.to_string()),
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
    fn a_url_and_a_path_of_one_file_are_one_place() {
        let path = location_from_href("/data/a b/B04.tif").unwrap();
        assert_eq!(location_from_href("file:///data/a%20b/B04.tif"), Ok(path));
        assert!(matches!(
            location_from_href("file:///data/100%/B04.tif"),
            Err(Defect::Address(_))
        ));
    }
}
