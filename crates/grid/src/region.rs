use geo::{BoundingRect, Contains, LineString, MultiPolygon, Polygon, Validation};

use crate::{Crs, Error, GeoBox, Point, Result, Shape};

/// The ground to look at: polygons in longitude and latitude, WGS 84, valid, on one side of the antimeridian.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    lonlat: MultiPolygon<f64>,
}

impl Region {
    /// A region of polygons in degrees. Rings may wind either way; holes are kept.
    ///
    /// # Errors
    ///
    /// If it is empty, not longitude and latitude, not valid (a ring crosses itself), or spans the antimeridian.
    pub fn new(lonlat: MultiPolygon<f64>) -> Result<Self> {
        let Some(bounds) = lonlat
            .bounding_rect()
            .filter(|bounds| bounds.width() > 0.0 && bounds.height() > 0.0)
        else {
            return Err(Error::InvalidRegion(
                "the area is empty; draw a polygon around the ground to watch".into(),
            ));
        };
        let (min, max) = (bounds.min(), bounds.max());
        if [min.x, min.y, max.x, max.y]
            .iter()
            .any(|value| !value.is_finite())
        {
            return Err(Error::InvalidRegion(
                "a coordinate of the area is not a number".into(),
            ));
        }
        if min.x < -180.0 || max.x > 180.0 || min.y < -90.0 || max.y > 90.0 {
            return Err(Error::InvalidRegion(format!(
                "the area's coordinates ({}, {}) to ({}, {}) are not longitude and latitude; reproject it to EPSG:4326 (ogr2ogr -t_srs EPSG:4326)",
                min.x, min.y, max.x, max.y
            )));
        }
        if bounds.width() > 180.0 {
            return Err(Error::InvalidRegion(
                "the area spans the antimeridian; cut it at 180° into two areas, each with a file of its own".into(),
            ));
        }
        if let Some(error) = lonlat.validation_errors().into_iter().next() {
            return Err(Error::InvalidRegion(format!(
                "the area's geometry is not valid: {error}; mend it (in QGIS: Fix geometries)"
            )));
        }
        Ok(Self { lonlat })
    }

    /// The rectangle of a STAC bounding box: west, south, east, north in degrees.
    ///
    /// # Errors
    ///
    /// As [`Region::new`].
    pub fn from_bounds(west: f64, south: f64, east: f64, north: f64) -> Result<Self> {
        let ring = vec![
            (west, south),
            (east, south),
            (east, north),
            (west, north),
            (west, south),
        ];
        Self::new(MultiPolygon(vec![Polygon::new(
            LineString::from(ring),
            Vec::new(),
        )]))
    }

    /// The polygons in degrees.
    #[must_use]
    pub fn lonlat(&self) -> &MultiPolygon<f64> {
        &self.lonlat
    }

    /// West, south, east and north edge in degrees.
    #[must_use]
    pub fn bounds(&self) -> [f64; 4] {
        self.lonlat.bounding_rect().map_or([f64::NAN; 4], |bounds| {
            [
                bounds.min().x,
                bounds.min().y,
                bounds.max().x,
                bounds.max().y,
            ]
        })
    }

    /// The middle of the bounding box, in degrees.
    #[must_use]
    pub fn center(&self) -> Point {
        let [west, south, east, north] = self.bounds();
        Point {
            x: f64::midpoint(west, east),
            y: f64::midpoint(south, north),
        }
    }

    /// The smallest geobox on a lattice that has every pixel whose center lies in the region (at least one pixel).
    ///
    /// - `lattice`: any geobox of the lattice: its reference system, resolution and phase are taken.
    ///
    /// # Errors
    ///
    /// If a corner of the region cannot be projected.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lengths of an area in pixels, not negative by construction"
    )]
    pub fn geobox(&self, lattice: &GeoBox) -> Result<GeoBox> {
        let projected = self.projected(lattice.crs())?;
        let Some(bounds) = projected.bounding_rect() else {
            return Err(Error::InvalidRegion("the area is empty".into()));
        };
        let (origin, resolution) = (lattice.origin(), lattice.resolution_m());
        let left = ((bounds.min().x - origin.x) / resolution - 0.5).ceil();
        let right = ((bounds.max().x - origin.x) / resolution + 0.5).floor();
        let top = ((origin.y - bounds.max().y) / resolution - 0.5).ceil();
        let bottom = ((origin.y - bounds.min().y) / resolution + 0.5).floor();
        GeoBox::new(
            lattice.crs().clone(),
            Point {
                x: origin.x + left * resolution,
                y: origin.y - top * resolution,
            },
            resolution,
            Shape {
                height: (bottom - top).max(1.0) as usize,
                width: (right - left).max(1.0) as usize,
            },
        )
    }

    /// Which pixels of a geobox have their center inside the region, `(y, x)`.
    ///
    /// # Errors
    ///
    /// If a corner of the region cannot be projected.
    pub fn mask(&self, geobox: &GeoBox) -> Result<Vec<bool>> {
        let projected = self.projected(geobox.crs())?;
        let Shape { height, width } = geobox.shape();
        let mut mask = Vec::with_capacity(height * width);
        let half = geobox.resolution_m() / 2.0;
        for row in 0..height {
            let start = geobox.crs_from_pixel(row, 0);
            let crossings = row_crossings(&projected, start.y - half);
            let mut next = 0;
            for col in 0..width {
                let x = start.x + col as f64 * geobox.resolution_m() + half;
                while next < crossings.len() && crossings[next] < x {
                    next += 1;
                }
                mask.push(next % 2 == 1);
            }
        }
        Ok(mask)
    }

    /// True if a longitude and latitude lie inside.
    #[must_use]
    pub fn contains(&self, lonlat: Point) -> bool {
        self.lonlat.contains(&geo::Point::new(lonlat.x, lonlat.y))
    }

    /// The polygons in a projected system, their edges cut at most 0.01 degrees long first, so that a straight edge in
    /// degrees stays within centimeters of where it lies on the ground.
    fn projected(&self, crs: &Crs) -> Result<MultiPolygon<f64>> {
        const STEP_DEGREES: f64 = 0.01;
        let ring = |ring: &LineString<f64>| -> Result<LineString<f64>> {
            let mut points = Vec::new();
            for line in ring.lines() {
                let length = (line.end.x - line.start.x).hypot(line.end.y - line.start.y);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "at most 36,000 pieces of a line on the globe"
                )]
                let pieces = (length / STEP_DEGREES).ceil().max(1.0) as usize;
                for piece in 0..pieces {
                    let share = piece as f64 / pieces as f64;
                    let lonlat = Point {
                        x: line.start.x + share * (line.end.x - line.start.x),
                        y: line.start.y + share * (line.end.y - line.start.y),
                    };
                    let point = crs.crs_from_lonlat(lonlat)?;
                    points.push((point.x, point.y));
                }
            }
            if let Some(&first) = points.first() {
                points.push(first);
            }
            Ok(LineString::from(points))
        };
        let polygons = self.lonlat.iter().map(|polygon| {
            let holes = polygon
                .interiors()
                .iter()
                .map(ring)
                .collect::<Result<Vec<_>>>()?;
            Ok(Polygon::new(ring(polygon.exterior())?, holes))
        });
        Ok(MultiPolygon(polygons.collect::<Result<Vec<_>>>()?))
    }
}

/// Where a horizontal line crosses the rings of a polygon, ascending (even-odd rule).
fn row_crossings(polygons: &MultiPolygon<f64>, y: f64) -> Vec<f64> {
    let mut crossings = Vec::new();
    for polygon in polygons {
        for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
            for line in ring.lines() {
                if (line.start.y <= y) != (line.end.y <= y) {
                    crossings.push(
                        line.start.x
                            + (y - line.start.y) / (line.end.y - line.start.y)
                                * (line.end.x - line.start.x),
                    );
                }
            }
        }
    }
    crossings.sort_by(f64::total_cmp);
    crossings
}

#[cfg(test)]
mod tests {
    use geo::polygon;

    use super::*;

    fn lattice() -> GeoBox {
        GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point {
                x: 205_000.0,
                y: 985_000.0,
            },
            10.0,
            Shape {
                height: 400,
                width: 400,
            },
        )
        .unwrap()
    }

    #[test]
    fn a_hole_is_not_watched() {
        let square: Polygon<f64> = polygon!(
            exterior: [(x: -5.6, y: 8.8), (x: -5.5, y: 8.8), (x: -5.5, y: 8.9), (x: -5.6, y: 8.9)],
            interiors: [[(x: -5.57, y: 8.83), (x: -5.53, y: 8.83), (x: -5.53, y: 8.87), (x: -5.57, y: 8.87)]],
        );
        let region = Region::new(MultiPolygon(vec![square])).unwrap();
        let geobox = region.geobox(&lattice()).unwrap();
        let mask = region.mask(&geobox).unwrap();
        let Shape { height, width } = geobox.shape();
        for (row, col) in [
            (0, 0),
            (height / 2, width / 2),
            (height / 2, width / 10),
            (height / 3, width / 2),
            (height / 8, width / 2),
        ] {
            let corner = geobox.crs_from_pixel(row, col);
            let center = geobox
                .crs()
                .lonlat_from_crs(Point {
                    x: corner.x + 5.0,
                    y: corner.y - 5.0,
                })
                .unwrap();
            assert_eq!(
                mask[row * width + col],
                region.contains(center),
                "row {row} column {col}"
            );
        }
        let share = mask.iter().filter(|&&inside| inside).count() as f64 / mask.len() as f64;
        // 1 - 0.4² of a square that is slightly turned against the grid.
        assert!((share - 0.84).abs() < 0.03, "{share}");
    }

    #[test]
    fn a_region_that_is_a_lattice_rectangle_gets_that_geobox() {
        let lattice = lattice();
        let (min, max) = lattice.bounds();
        let corners = [
            (min.x, min.y),
            (max.x, min.y),
            (max.x, max.y),
            (min.x, max.y),
        ];
        let ring: Vec<_> = corners
            .iter()
            .map(|&(x, y)| lattice.crs().lonlat_from_crs(Point { x, y }).unwrap())
            .map(|point| (point.x, point.y))
            .collect();
        let region = Region::new(MultiPolygon(vec![Polygon::new(
            LineString::from(ring),
            vec![],
        )]))
        .unwrap();
        assert_eq!(region.geobox(&lattice).unwrap(), lattice);
        assert!(region.mask(&lattice).unwrap().iter().all(|&inside| inside));
    }

    #[test]
    fn what_is_no_area_is_refused_with_what_to_do() {
        let refused = |ring: Vec<(f64, f64)>| {
            Region::new(MultiPolygon(vec![Polygon::new(
                LineString::from(ring),
                vec![],
            )]))
            .unwrap_err()
            .to_string()
        };
        assert!(
            refused(vec![(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]).contains("not valid")
        );
        assert!(
            refused(vec![
                (205_000.0, 985_000.0),
                (206_000.0, 985_000.0),
                (206_000.0, 986_000.0)
            ])
            .contains("reproject")
        );
        assert!(refused(vec![(-179.0, 0.0), (179.0, 0.0), (179.0, 1.0)]).contains("antimeridian"));
        assert!(
            Region::new(MultiPolygon(vec![]))
                .unwrap_err()
                .to_string()
                .contains("empty")
        );
    }
}
