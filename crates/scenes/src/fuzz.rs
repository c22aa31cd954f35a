//! What the fuzz targets and their smoke test call: everything that reads a text of others, without a network or a file.

use std::path::Path;

use pitwatch_grid::{Band, Day, Period, Region};

use crate::Query;
use crate::catalog::{Walk, sift};
use crate::search::{Request, read_page};

/// Reads any bytes as an item, a catalog or a collection of features, and as a page of an answer to a search.
///
/// Returns the number of scenes that were found.
pub fn stac(bytes: &[u8]) -> usize {
    let mut walk = Walk::default();
    let path = Path::new("mirror/item.json");
    let _ = walk.read_bytes(path, bytes, &Band::ALL);
    let asked = Request {
        url: "https://example.org/v1/search".into(),
        body: Some(serde_json::Map::new()),
    };
    if let Ok(page) = read_page(bytes, &asked) {
        for item in page.items {
            walk.read_item(item, path, None, &Band::ALL);
        }
        if let Some(next) = page.next {
            let _ = read_page(bytes, &next);
        }
    }
    walk.name_source("fuzz");
    let region = Region::from_bounds(-6.0, 8.0, 15.0, 50.0).ok();
    let query = Query {
        region: region.as_ref(),
        period: Period::new(Day(0), Day(40_000)).ok(),
        max_cloud_cover_percent: Some(80.0),
        bands: &Band::ALL,
    };
    sift(walk, &query).found.scenes.len()
}
