use std::fmt;
use std::sync::Arc;

use proj4rs::proj::Proj;

use crate::{Error, Point, Result};

/// A projected coordinate reference system, by its EPSG code.
///
/// Longitude and latitude are WGS 84 (EPSG:4326) in degrees. Datum shifts below a meter (ETRS89 to WGS 84) are
/// taken as zero, as the EPSG registry does for these systems.
#[derive(Clone)]
pub struct Crs {
    epsg: u32,
    projected: Arc<Proj>,
    geographic: Arc<Proj>,
}

impl Crs {
    /// The system of an EPSG code, such as 32630 for UTM zone 30 north.
    ///
    /// # Errors
    ///
    /// If the code is unknown, or is not a projected system in meters.
    pub fn from_epsg(epsg: u32) -> Result<Self> {
        let unknown = |reason: String| Error::UnknownCrs { epsg, reason };
        let code = u16::try_from(epsg).map_err(|_| unknown("not an EPSG code".into()))?;
        let projected = Proj::from_epsg_code(code).map_err(|error| unknown(error.to_string()))?;
        if projected.is_latlong() || (projected.to_meter() - 1.0).abs() > 0.0 {
            return Err(unknown(
                "it is not a projected system in meters; reproject the raster to UTM".into(),
            ));
        }
        let geographic = Proj::from_epsg_code(4326).map_err(|error| unknown(error.to_string()))?;
        Ok(Self {
            epsg,
            projected: Arc::new(projected),
            geographic: Arc::new(geographic),
        })
    }

    /// The UTM zone that contains a longitude and latitude, WGS 84.
    ///
    /// The exceptions over Norway and Svalbard are left out: Sentinel-2 tiles there keep their regular zones' codes
    /// in their metadata, and no area of interest lies there.
    ///
    /// # Errors
    ///
    /// If the point is beyond 84° north or 80° south.
    pub fn utm_of(lonlat: Point) -> Result<Self> {
        if !(-80.0..=84.0).contains(&lonlat.y) || !(-180.0..=180.0).contains(&lonlat.x) {
            return Err(Error::Project {
                epsg: 4326,
                x: lonlat.x,
                y: lonlat.y,
                reason: "outside the UTM zones".into(),
            });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=59 after the range check"
        )]
        let zone = (((lonlat.x + 180.0) / 6.0).floor().min(59.0) as u32) + 1;
        Self::from_epsg(if lonlat.y >= 0.0 { 32_600 } else { 32_700 } + zone)
    }

    /// The EPSG code.
    #[must_use]
    pub fn epsg(&self) -> u32 {
        self.epsg
    }

    /// Longitude and latitude in degrees of a projected point in meters.
    ///
    /// # Errors
    ///
    /// If the point is outside the projection's domain.
    pub fn lonlat_from_crs(&self, point: Point) -> Result<Point> {
        let mut coordinates = (point.x, point.y, 0.0);
        proj4rs::transform::transform(&self.projected, &self.geographic, &mut coordinates)
            .map_err(|error| self.project_error(point, error.to_string()))?;
        self.finite(
            point,
            Point {
                x: coordinates.0.to_degrees(),
                y: coordinates.1.to_degrees(),
            },
        )
    }

    /// Projected point in meters of a longitude and latitude in degrees.
    ///
    /// # Errors
    ///
    /// If the point is outside the projection's domain.
    pub fn crs_from_lonlat(&self, lonlat: Point) -> Result<Point> {
        let mut coordinates = (lonlat.x.to_radians(), lonlat.y.to_radians(), 0.0);
        proj4rs::transform::transform(&self.geographic, &self.projected, &mut coordinates)
            .map_err(|error| self.project_error(lonlat, error.to_string()))?;
        self.finite(
            lonlat,
            Point {
                x: coordinates.0,
                y: coordinates.1,
            },
        )
    }

    fn finite(&self, from: Point, to: Point) -> Result<Point> {
        if to.x.is_finite() && to.y.is_finite() {
            Ok(to)
        } else {
            Err(self.project_error(from, "no finite result".into()))
        }
    }

    fn project_error(&self, point: Point, reason: String) -> Error {
        Error::Project {
            epsg: self.epsg,
            x: point.x,
            y: point.y,
            reason,
        }
    }
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.epsg == other.epsg
    }
}

impl Eq for Crs {}

impl fmt::Debug for Crs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EPSG:{}", self.epsg)
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EPSG:{}", self.epsg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_comes_back_from_each_projection_in_use() {
        for (epsg, lon, lat) in [
            (32630, -5.6, 8.9),
            (32736, 32.3, -19.6),
            (3035, 22.0, 45.3),
            (32601, -179.5, 1.0),
        ] {
            let crs = Crs::from_epsg(epsg).unwrap();
            let there = crs.crs_from_lonlat(Point { x: lon, y: lat }).unwrap();
            let back = crs.lonlat_from_crs(there).unwrap();
            assert!(
                (back.x - lon).abs() < 1e-9 && (back.y - lat).abs() < 1e-9,
                "{epsg}: {back:?}"
            );
        }
    }

    /// The central meridian of zone 30 at the equator has the false easting by definition of UTM.
    #[test]
    fn the_central_meridian_has_the_false_easting() {
        let point = Crs::from_epsg(32630)
            .unwrap()
            .crs_from_lonlat(Point { x: -3.0, y: 0.0 })
            .unwrap();
        assert!((point.x - 500_000.0).abs() < 1e-6 && point.y.abs() < 1e-6);
    }

    #[test]
    fn a_geographic_or_unknown_system_is_refused() {
        assert!(Crs::from_epsg(4326).is_err());
        assert!(Crs::from_epsg(99_999_999).is_err());
    }

    #[test]
    fn the_zone_follows_the_longitude() {
        assert_eq!(
            Crs::utm_of(Point { x: -5.6, y: 8.9 }).unwrap().epsg(),
            32630
        );
        assert_eq!(
            Crs::utm_of(Point { x: 32.3, y: -19.6 }).unwrap().epsg(),
            32736
        );
        assert_eq!(
            Crs::utm_of(Point { x: 180.0, y: 0.0 }).unwrap().epsg(),
            32660
        );
        assert!(Crs::utm_of(Point { x: 0.0, y: 89.0 }).is_err());
    }
}
