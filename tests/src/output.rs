//! Outputs of runs, read back by what others wrote where there is such a thing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gdal::Dataset;
use pitwatch_report::{Latest, Manifest};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The folder of a published run.
#[derive(Debug)]
pub struct Run {
    /// `OUT/runs/RUN_ID`.
    pub folder: PathBuf,
}

/// A raster read by GDAL.
#[derive(Debug)]
pub struct Raster {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// West edge, pixel width, 0, north edge, 0, minus pixel height.
    pub transform: [f64; 6],
    /// EPSG code.
    pub epsg: i32,
    /// Value of pixels without data.
    pub nodata: Option<f64>,
    /// Pixels of the first band, rows from north to south.
    pub values: Vec<f64>,
}

impl Raster {
    /// A file's raster, read by GDAL.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let dataset = Dataset::open(path).unwrap();
        let band = dataset.rasterband(1).unwrap();
        let (width, height) = dataset.raster_size();
        let values = band
            .read_as::<f64>((0, 0), (width, height), (width, height), None)
            .unwrap();
        Self {
            width,
            height,
            transform: dataset.geo_transform().unwrap(),
            epsg: dataset.spatial_ref().unwrap().auth_code().unwrap(),
            nodata: band.no_data_value(),
            values: values.data().to_vec(),
        }
    }

    /// The value of a pixel.
    #[must_use]
    pub fn at(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.width + col]
    }
}

/// What `latest.json` says.
#[must_use]
pub fn latest(out: &Path) -> Latest {
    Latest::from_json(&fs::read_to_string(out.join("latest.json")).unwrap()).unwrap()
}

/// The run of an output folder, after checking that it is the only one, whole, and that `latest.json` names it.
///
/// # Panics
///
/// If anything of this is not so.
#[must_use]
pub fn only_run(out: &Path) -> Run {
    let latest = latest(out);
    let runs: Vec<PathBuf> = fs::read_dir(out.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(runs, [out.join("runs").join(&latest.run_id)]);
    let run = Run {
        folder: out.join(&latest.path),
    };
    run.check(&latest);
    run
}

impl Run {
    /// Checks that the manifest is the one that `latest.json` names, and names each file with its bytes and no other.
    ///
    /// # Panics
    ///
    /// If it is not so.
    pub fn check(&self, latest: &Latest) {
        let manifest = fs::read(self.folder.join("manifest.json")).unwrap();
        assert_eq!(sha256(&manifest), latest.manifest_sha256);
        let manifest = self.manifest();
        assert_eq!(manifest.run_id, latest.run_id);
        let files = self.files();
        let named: Vec<&str> = manifest
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(files.keys().collect::<Vec<_>>(), named);
        for file in &manifest.files {
            assert_eq!(file.sha256, sha256(&files[&file.path]), "{}", file.path);
            assert_eq!(file.bytes, files[&file.path].len() as u64, "{}", file.path);
        }
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let text = fs::read_to_string(self.folder.join("manifest.json")).unwrap();
        Manifest::from_json(&text).unwrap()
    }

    /// Every file but the manifest by its path below the run's folder.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["", "rasters/", "report/", "public/"] {
            let Ok(entries) = fs::read_dir(self.folder.join(folder)) else {
                continue;
            };
            for entry in entries {
                let entry = entry.unwrap();
                let name = format!("{folder}{}", entry.file_name().to_string_lossy());
                if entry.file_type().unwrap().is_file() && name != "manifest.json" {
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    }

    /// Properties of the features of `alerts.geojson`.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        let features = self.features("alerts.geojson");
        features
            .into_iter()
            .map(|feature| feature["properties"].clone())
            .collect()
    }

    /// The features of a file.
    #[must_use]
    pub fn features(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        json["features"].as_array().unwrap().clone()
    }

    /// The rows of `looks.csv` by column.
    #[must_use]
    pub fn looks(&self) -> Vec<BTreeMap<String, String>> {
        table(&fs::read_to_string(self.folder.join("looks.csv")).unwrap())
    }

    /// The row of `looks.csv` of a scene.
    #[must_use]
    pub fn look(&self, id: &str) -> BTreeMap<String, String> {
        let mut rows = self.looks().into_iter().filter(|row| row["scene_id"] == id);
        rows.next()
            .unwrap_or_else(|| panic!("{id} is not in looks.csv"))
    }

    /// The reason that the manifest has for leaving something out.
    #[must_use]
    pub fn skipped(&self, what: &str) -> Option<String> {
        let skipped = self.manifest().skipped;
        let mut entries = skipped.into_iter().filter(|entry| entry.what == what);
        entries.next().map(|entry| entry.reason)
    }

    /// A raster by the end of its name, such as `demo-pits_3035_state`, read by GDAL.
    #[must_use]
    pub fn raster(&self, name: &str) -> Raster {
        Raster::open(&self.folder.join(format!("rasters/{name}.tif")))
    }
}

/// The files in which two runs differ, manifests apart.
#[must_use]
pub fn difference(a: &Run, b: &Run) -> Vec<String> {
    let (a, b) = (a.files(), b.files());
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names
        .into_iter()
        .filter(|&name| a.get(name) != b.get(name))
        .cloned()
        .collect()
}

/// The rows of a CSV file (RFC 4180) by column.
#[must_use]
pub fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let row = rows.last_mut().unwrap();
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                row.last_mut().unwrap().push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            other => row.last_mut().unwrap().push(other),
        }
    }
    rows.retain(|row| row.len() > 1);
    let header = rows.remove(0);
    rows.into_iter()
        .map(|row| header.iter().cloned().zip(row).collect())
        .collect()
}

/// SHA-256 of bytes as 64 hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All files below a folder by their paths in it, but those of locks.
#[must_use]
pub fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn visit(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, files);
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    if folder.is_dir() {
        visit(folder, folder, &mut files);
    }
    files
}
