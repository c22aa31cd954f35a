//! Pixels of another zone, resampled: classes by nearest neighbor, reflectance by cubic convolution.
//!
//! Source: Keys (1981), <https://doi.org/10.1109/TASSP.1981.1163711>, with a = −0.5.

use pitwatch_grid::{Crs, Cube, GeoBox, MISSING_REFLECTANCE, NOT_ACQUIRED, Point, Shape};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Pixels between places that are projected exactly; between them coordinates are interpolated. Over 160 m transverse
/// Mercator bends by less than a thousandth of a pixel (a test).
const STEP: usize = 16;
/// Pixels that the cubic kernel reaches beyond its middle.
const REACH: i64 = 2;

/// How the pixels of a window come from those of another lattice.
pub(crate) struct Warp {
    target: GeoBox,
    /// The part of the other lattice that is needed.
    source: GeoBox,
    /// Source row and column of the target's pixel centers at every step, row by row, in pixels from the source's corner.
    nodes: Vec<[f64; 2]>,
    n_across: usize,
}

impl Warp {
    /// Where the pixels of a window lie on another lattice; `None` if they cannot be projected there.
    ///
    /// - `lattice`: any geobox of the other lattice.
    pub(crate) fn new(target: &GeoBox, lattice: &GeoBox) -> Result<Option<Self>> {
        let Shape { height, width } = target.shape();
        let n_down = (height - 1).div_ceil(STEP) + 1;
        let n_across = (width - 1).div_ceil(STEP) + 1;
        let mut places = Vec::with_capacity(n_down * n_across);
        for row in 0..n_down {
            for col in 0..n_across {
                let corner = target.crs_from_pixel(row * STEP, col * STEP);
                let half = target.resolution_m() / 2.0;
                let center = Point {
                    x: corner.x + half,
                    y: corner.y - half,
                };
                match project(target.crs(), lattice.crs(), center) {
                    Some(place) => places.push(place),
                    None => return Ok(None),
                }
            }
        }
        let resolution = lattice.resolution_m();
        let position = |place: &Point| {
            [
                (lattice.origin().y - place.y) / resolution,
                (place.x - lattice.origin().x) / resolution,
            ]
        };
        let mut nodes: Vec<[f64; 2]> = places.iter().map(position).collect();
        let (mut least, mut most) = ([f64::MAX; 2], [f64::MIN; 2]);
        for node in &nodes {
            for axis in 0..2 {
                least[axis] = least[axis].min(node[axis]);
                most[axis] = most[axis].max(node[axis]);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "coordinates of a zone")]
        let [first_row, first_col] = least.map(|value| value.floor() as i64 - REACH - 1);
        #[expect(clippy::cast_possible_truncation, reason = "coordinates of a zone")]
        let [last_row, last_col] = most.map(|value| value.ceil() as i64 + REACH + 1);
        let length = |from: i64, to: i64| usize::try_from(to - from).unwrap_or(0);
        let origin = Point {
            x: lattice.origin().x + first_col as f64 * resolution,
            y: lattice.origin().y - first_row as f64 * resolution,
        };
        let shape = Shape {
            height: length(first_row, last_row),
            width: length(first_col, last_col),
        };
        let Ok(source) = GeoBox::new(lattice.crs().clone(), origin, resolution, shape) else {
            return Err(Error::OffLattice {
                window_crs: target.crs().to_string(),
                window_resolution_m: target.resolution_m(),
                lattice_crs: lattice.crs().to_string(),
                lattice_resolution_m: resolution,
            });
        };
        for node in &mut nodes {
            node[0] -= first_row as f64;
            node[1] -= first_col as f64;
        }
        Ok(Some(Self {
            target: target.clone(),
            source,
            nodes,
            n_across,
        }))
    }

    /// The part of the other lattice that is needed.
    pub(crate) fn source(&self) -> &GeoBox {
        &self.source
    }

    /// Source row and column of a target pixel's center.
    fn position(&self, row: usize, col: usize) -> [f64; 2] {
        // The last node may lie beyond the last pixel, never before it.
        let (i, j) = (row / STEP, col / STEP);
        let (v, u) = (
            (row % STEP) as f64 / STEP as f64,
            (col % STEP) as f64 / STEP as f64,
        );
        let at = |i: usize, j: usize| self.nodes[i * self.n_across + j];
        let (below, right) = (i + usize::from(v > 0.0), j + usize::from(u > 0.0));
        let (a, b, c, d) = (at(i, j), at(i, right), at(below, j), at(below, right));
        [0, 1].map(|axis| {
            let top = a[axis] + (b[axis] - a[axis]) * u;
            let bottom = c[axis] + (d[axis] - c[axis]) * u;
            top + (bottom - top) * v
        })
    }

    /// One look of the source, on the target's pixels.
    ///
    /// A pixel has the class of the source pixel that its center lies in. Its reflectance is the cubic convolution of the
    /// 4 × 4 pixels around; where one of them is missing, that of the pixel that its center lies in.
    ///
    /// # Panics
    ///
    /// If the cube is not of the source.
    pub(crate) fn cube(&self, from: &Cube) -> Cube {
        assert_eq!(
            from.geobox().shape(),
            self.source.shape(),
            "a cube of the source"
        );
        let mut out = Cube::empty(
            self.target.clone(),
            from.days().to_vec(),
            from.bands().to_vec(),
        );
        let Shape { height, width } = self.target.shape();
        let (reflectance, classes) = out.planes_mut();
        let own = self.source.shape();
        let nearest = |[row, col]: [f64; 2]| -> Option<usize> {
            let inside = |value: f64, length: usize| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked"
                )]
                (value >= 0.0 && value < length as f64).then_some(value as usize)
            };
            Some(inside(row, own.height)? * own.width + inside(col, own.width)?)
        };
        classes
            .par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, out)| {
                for (col, out) in out.iter_mut().enumerate() {
                    *out = nearest(self.position(row, col))
                        .map_or(NOT_ACQUIRED, |index| from.classes(0)[index]);
                }
            });
        for (band, out) in reflectance.chunks_mut(height * width).enumerate() {
            let plane = from.plane(band, 0);
            out.par_chunks_mut(width)
                .enumerate()
                .for_each(|(row, out)| {
                    for (col, out) in out.iter_mut().enumerate() {
                        let position = self.position(row, col);
                        *out = nearest(position).map_or(MISSING_REFLECTANCE, |index| {
                            cubic(plane, own, position).unwrap_or(plane[index])
                        });
                    }
                });
        }
        out
    }
}

/// Cubic convolution at a place; `None` where a pixel of the 4 × 4 around is missing or outside.
fn cubic(plane: &[i16], shape: Shape, [row, col]: [f64; 2]) -> Option<i16> {
    // Values stand at the middle of their pixels.
    let (y, x) = (row - 0.5, col - 0.5);
    let (weights_y, weights_x) = (weights(y - y.floor()), weights(x - x.floor()));
    #[expect(clippy::cast_possible_truncation, reason = "within the plane")]
    let (first_row, first_col) = (y.floor() as i64 - 1, x.floor() as i64 - 1);
    let (first_row, first_col) = (
        usize::try_from(first_row).ok()?,
        usize::try_from(first_col).ok()?,
    );
    if first_row + 4 > shape.height || first_col + 4 > shape.width {
        return None;
    }
    let mut sum = 0.0;
    for (dy, weight_y) in weights_y.iter().enumerate() {
        let start = (first_row + dy) * shape.width + first_col;
        let mut across = 0.0;
        for (&value, weight_x) in plane[start..start + 4].iter().zip(&weights_x) {
            if value == MISSING_REFLECTANCE {
                return None;
            }
            across += f64::from(value) * weight_x;
        }
        sum += across * weight_y;
    }
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    Some(
        sum.round()
            .clamp(f64::from(MISSING_REFLECTANCE) + 1.0, f64::from(i16::MAX)) as i16,
    )
}

/// Weights of four neighbors for a place so far between the second and the third.
fn weights(t: f64) -> [f64; 4] {
    const A: f64 = -0.5;
    let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

fn project(from: &Crs, to: &Crs, place: Point) -> Option<Point> {
    to.crs_from_lonlat(from.lonlat_from_crs(place).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{Band, Day};

    use super::*;

    fn geobox(epsg: u32, x: f64, y: f64, height: usize, width: usize) -> GeoBox {
        let crs = Crs::from_epsg(epsg).unwrap();
        GeoBox::new(crs, Point { x, y }, 10.0, Shape { height, width }).unwrap()
    }

    /// A window at 6° W, 8.2° N in zone 29, and a lattice of zone 30.
    fn pair() -> (GeoBox, GeoBox) {
        (
            geobox(32629, 825_000.0, 907_000.0, 200, 300),
            geobox(32630, 0.0, 1_000_000.0, 1, 1),
        )
    }

    #[test]
    fn interpolated_places_are_those_projected() {
        let (target, lattice) = pair();
        let warp = Warp::new(&target, &lattice).unwrap().unwrap();
        let mut worst: f64 = 0.0;
        for row in (0..200).step_by(7) {
            for col in (0..300).step_by(7) {
                let corner = target.crs_from_pixel(row, col);
                let center = Point {
                    x: corner.x + 5.0,
                    y: corner.y - 5.0,
                };
                let exact = project(target.crs(), lattice.crs(), center).unwrap();
                let [y, x] = warp.position(row, col);
                let own = warp.source().origin();
                worst = worst.max((own.x + x * 10.0 - exact.x).abs() / 10.0);
                worst = worst.max((own.y - y * 10.0 - exact.y).abs() / 10.0);
            }
        }
        assert!(worst < 1e-3, "{worst} pixels");
    }

    #[test]
    fn a_smooth_field_keeps_its_values_and_gaps_stay_gaps() {
        let (target, lattice) = pair();
        let warp = Warp::new(&target, &lattice).unwrap().unwrap();
        let field = |crs: &Crs, place: Point| {
            let lonlat = crs.lonlat_from_crs(place).unwrap();
            3000.0 + 1500.0 * (lonlat.x * 300.0).sin() * (lonlat.y * 300.0).cos()
        };
        let mut cube = Cube::empty(warp.source().clone(), vec![Day(0)], vec![Band::Red]);
        let source = warp.source().clone();
        let width = source.shape().width;
        let center = |geobox: &GeoBox, row, col| {
            let corner = geobox.crs_from_pixel(row, col);
            Point {
                x: corner.x + 5.0,
                y: corner.y - 5.0,
            }
        };
        let gap = 100 * width + 150;
        let (reflectance, classes) = cube.planes_mut();
        for (index, value) in reflectance.iter_mut().enumerate() {
            *value =
                field(source.crs(), center(&source, index / width, index % width)).round() as i16;
        }
        classes.fill(4);
        reflectance[gap] = MISSING_REFLECTANCE;
        classes[gap] = 0;
        let out = warp.cube(&cube);
        let mut n_gaps = 0;
        for row in 0..200 {
            for col in 0..300 {
                let index = row * 300 + col;
                if out.classes(0)[index] == 0 {
                    n_gaps += 1;
                    assert_eq!(out.plane(0, 0)[index], MISSING_REFLECTANCE);
                    continue;
                }
                let expected = field(target.crs(), center(&target, row, col));
                let got = f64::from(out.plane(0, 0)[index]);
                // Beside the gap the nearest pixel stands in, up to half a pixel away.
                assert!((got - expected).abs() < 35.0, "{got} {expected}");
            }
        }
        assert!((1..=2).contains(&n_gaps), "{n_gaps}");
    }

    #[test]
    fn weights_sum_to_one() {
        for t in [0.0, 0.25, 0.5, 0.9] {
            assert!((weights(t).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert_eq!(weights(0.0), [0.0, 1.0, 0.0, 0.0]);
    }
}
