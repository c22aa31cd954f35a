//! What the fuzz target and its smoke test call: a text of any bytes, read as an area and laid on a lattice.

use crate::{Crs, GeoBox, Point, Region, Shape};

/// Pixels up to which the mask of an area is made.
const MAX_PIXELS: usize = 1 << 20;

/// Reads any bytes as an area file and finds its pixels of 10 m in zone 30 N.
///
/// Returns the number of pixels of its geobox; `None` if it is no area or too far away to be projected.
pub fn area(bytes: &[u8]) -> Option<usize> {
    let region = Region::from_geojson(std::str::from_utf8(bytes).ok()?).ok()?;
    let center = region.center();
    let _ = region.contains(center);
    let origin = Point {
        x: 199_980.0,
        y: 1_000_020.0,
    };
    let shape = Shape {
        height: 1,
        width: 1,
    };
    let lattice = GeoBox::new(Crs::from_epsg(32630).ok()?, origin, 10.0, shape).ok()?;
    let geobox = region.geobox(&lattice).ok()?;
    let Shape { height, width } = geobox.shape();
    let n_pixels = height.checked_mul(width)?;
    if n_pixels <= MAX_PIXELS {
        let mask = region.mask(&geobox).ok()?;
        assert_eq!(mask.len(), n_pixels, "a mask has a value a pixel");
    }
    Some(n_pixels)
}
