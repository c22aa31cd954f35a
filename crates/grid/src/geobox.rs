use crate::{Crs, Error, Point, Result, Shape, Window};

/// A north-up grid of square pixels on the ground: reference system, upper left corner, pixel size and shape.
///
/// Rows run south, columns run east. Sentinel-2 products are always north-up with square pixels
/// (Level-2A Product Specification), so no rotation is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct GeoBox {
    crs: Crs,
    origin: Point,
    resolution_m: f64,
    shape: Shape,
}

/// The place of a pixel on the lattice of its resolution: how many pixels east and south of the reference
/// system's origin. It does not depend on any area, cell or scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatticePixel {
    /// Rows south of y = 0 (negative in the northern half of most systems).
    pub row: i64,
    /// Columns east of x = 0.
    pub col: i64,
}

impl GeoBox {
    /// A geobox of its upper left corner, in meters of its reference system.
    ///
    /// # Errors
    ///
    /// If the resolution is not positive and finite, or the origin is not finite.
    pub fn new(crs: Crs, origin: Point, resolution_m: f64, shape: Shape) -> Result<Self> {
        if !(resolution_m.is_finite()
            && resolution_m > 0.0
            && origin.x.is_finite()
            && origin.y.is_finite())
        {
            return Err(Error::InvalidGeoBox {
                resolution_m,
                x: origin.x,
                y: origin.y,
            });
        }
        Ok(Self {
            crs,
            origin,
            resolution_m,
            shape,
        })
    }

    /// The reference system.
    #[must_use]
    pub fn crs(&self) -> &Crs {
        &self.crs
    }

    /// The upper left corner of the upper left pixel, in meters.
    #[must_use]
    pub fn origin(&self) -> Point {
        self.origin
    }

    /// The side of a pixel in meters.
    #[must_use]
    pub fn resolution_m(&self) -> f64 {
        self.resolution_m
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The ground that one pixel covers on the projected plane, in square meters.
    #[must_use]
    pub fn pixel_area_m2(&self) -> f64 {
        self.resolution_m * self.resolution_m
    }

    /// All of it as a window.
    #[must_use]
    pub fn full_window(&self) -> Window {
        Window {
            row: 0,
            col: 0,
            height: self.shape.height,
            width: self.shape.width,
        }
    }

    /// The geobox of a window of this one.
    #[must_use]
    pub fn window(&self, window: Window) -> Self {
        Self {
            crs: self.crs.clone(),
            origin: self.crs_from_pixel(window.row, window.col),
            resolution_m: self.resolution_m,
            shape: window.shape(),
        }
    }

    /// The upper left corner of a pixel, in meters. Row and column may be one past the end.
    #[must_use]
    pub fn crs_from_pixel(&self, row: usize, col: usize) -> Point {
        Point {
            x: self.origin.x + col as f64 * self.resolution_m,
            y: self.origin.y - row as f64 * self.resolution_m,
        }
    }

    /// The affine transform as GDAL writes it: `[x, width, 0, y, 0, -height]`.
    #[must_use]
    pub fn gdal_transform(&self) -> [f64; 6] {
        [
            self.origin.x,
            self.resolution_m,
            0.0,
            self.origin.y,
            0.0,
            -self.resolution_m,
        ]
    }

    /// The lattice coordinate of the upper left pixel.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "coordinates in meters are far below 2^53 pixels"
    )]
    pub fn lattice_origin(&self) -> LatticePixel {
        // A hundredth of a pixel absorbs the rounding of a transform written as decimal text.
        LatticePixel {
            row: (-self.origin.y / self.resolution_m + 0.01).floor() as i64,
            col: (self.origin.x / self.resolution_m + 0.01).floor() as i64,
        }
    }

    /// True if the pixels of both lie on one lattice: same system and resolution, corners a whole number of pixels apart.
    #[must_use]
    pub fn is_aligned(&self, other: &Self) -> bool {
        let whole = |offset: f64| (offset - offset.round()).abs() < 0.01;
        self.crs == other.crs
            && (self.resolution_m - other.resolution_m).abs() < 1e-9
            && whole((self.origin.x - other.origin.x) / self.resolution_m)
            && whole((self.origin.y - other.origin.y) / self.resolution_m)
    }

    /// Left, bottom, right and top edge in meters.
    #[must_use]
    pub fn bounds(&self) -> (Point, Point) {
        let corner = self.crs_from_pixel(self.shape.height, self.shape.width);
        (
            Point {
                x: self.origin.x,
                y: corner.y,
            },
            Point {
                x: corner.x,
                y: self.origin.y,
            },
        )
    }

    /// Cuts this geobox along the lattice lines that are multiples of `size` pixels from the reference system's origin,
    /// row by row. Every pixel lies in exactly one window; the windows at the edges are smaller.
    #[must_use]
    pub fn cells(&self, size: usize) -> Vec<Window> {
        let lattice = self.lattice_origin();
        let cuts = |start: i64, length: usize| -> Vec<(usize, usize)> {
            let mut cuts = Vec::new();
            let mut offset = 0;
            while offset < length {
                let within =
                    usize::try_from((start + offset as i64).rem_euclid(size as i64)).unwrap_or(0);
                let step = (size - within).min(length - offset);
                cuts.push((offset, step));
                offset += step;
            }
            cuts
        };
        let columns = cuts(lattice.col, self.shape.width);
        cuts(lattice.row, self.shape.height)
            .into_iter()
            .flat_map(|(row, height)| {
                columns.iter().map(move |&(col, width)| Window {
                    row,
                    col,
                    height,
                    width,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn geobox(x: f64, y: f64, height: usize, width: usize) -> GeoBox {
        GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point { x, y },
            10.0,
            Shape { height, width },
        )
        .unwrap()
    }

    #[test]
    fn a_window_of_a_window_lies_where_the_pixels_lie() {
        let part = geobox(205_000.0, 985_000.0, 100, 100).window(Window {
            row: 10,
            col: 20,
            height: 5,
            width: 5,
        });
        assert_eq!(
            part.origin(),
            Point {
                x: 205_200.0,
                y: 984_900.0
            }
        );
        assert_eq!(
            part.lattice_origin(),
            LatticePixel {
                row: -98_490,
                col: 20_520
            }
        );
    }

    #[test]
    fn half_a_pixel_off_is_not_aligned() {
        let a = geobox(205_000.0, 985_000.0, 10, 10);
        assert!(a.is_aligned(&geobox(205_070.0, 984_000.0, 5, 5)));
        assert!(!a.is_aligned(&geobox(205_005.0, 985_000.0, 10, 10)));
    }

    #[test]
    fn an_infinite_resolution_is_refused() {
        assert!(
            GeoBox::new(
                Crs::from_epsg(32630).unwrap(),
                Point { x: 0.0, y: 0.0 },
                f64::NAN,
                Shape::default()
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn cells_cover_every_pixel_once(x in -500i32..500, y in -500i32..500, height in 1usize..90, width in 1usize..90, size in 1usize..64) {
            let geobox = geobox(f64::from(x) * 10.0, f64::from(y) * 10.0, height, width);
            let mut seen = vec![0u8; height * width];
            for cell in geobox.cells(size) {
                prop_assert!(cell.height <= size && cell.width <= size);
                for row in cell.row..cell.row + cell.height {
                    for col in cell.col..cell.col + cell.width {
                        seen[row * width + col] += 1;
                    }
                }
                let first = geobox.window(cell).lattice_origin();
                prop_assert!(cell.row == 0 || first.row.rem_euclid(size as i64) == 0);
                prop_assert!(cell.col == 0 || first.col.rem_euclid(size as i64) == 0);
            }
            prop_assert!(seen.iter().all(|&n| n == 1));
        }
    }
}
