//! Areas as GeoJSON text.
//!
//! Source: RFC 7946, <https://www.rfc-editor.org/rfc/rfc7946>.

use geo::{LineString, MultiPolygon, Polygon};
use serde_json::Value;

use crate::{Error, Region, Result};

impl Region {
    /// The polygons of a GeoJSON text: a `FeatureCollection`, a `Feature` or a bare geometry, longitude and latitude.
    ///
    /// # Errors
    ///
    /// If it is no JSON, holds something else than polygons, is in another reference system, or as [`Region::new`]; the
    /// message tells what to do.
    pub fn from_geojson(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text)
            .map_err(|error| Error::InvalidRegion(format!("is not JSON: {error}")))?;
        if let Some(crs) = json.pointer("/crs/properties/name").and_then(Value::as_str)
            && !crs.contains("CRS84")
            && !crs.ends_with(":4326")
        {
            return refuse(format!(
                "is in {crs}; GeoJSON is longitude and latitude (RFC 7946): reproject it with ogr2ogr -t_srs EPSG:4326"
            ));
        }
        let mut polygons = Vec::new();
        collect(&json, &mut polygons)?;
        Self::new(MultiPolygon(polygons))
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::InvalidRegion(message.into()))
}

fn collect(json: &Value, polygons: &mut Vec<Polygon<f64>>) -> Result<()> {
    let members = |name: &str| {
        json.get(name)
            .and_then(Value::as_array)
            .ok_or_else(|| Error::InvalidRegion(format!("has no list {name:?}")))
    };
    match json.get("type").and_then(Value::as_str) {
        Some("FeatureCollection") => members("features")?
            .iter()
            .try_for_each(|feature| collect(feature, polygons)),
        Some("GeometryCollection") => members("geometries")?
            .iter()
            .try_for_each(|geometry| collect(geometry, polygons)),
        Some("Feature") => match json.get("geometry") {
            None | Some(Value::Null) => {
                refuse("has a feature without a geometry; draw a polygon or remove the feature")
            }
            Some(geometry) => collect(geometry, polygons),
        },
        Some("Polygon") => {
            polygons.push(polygon(members("coordinates")?)?);
            Ok(())
        }
        Some("MultiPolygon") => {
            for part in members("coordinates")? {
                polygons.push(polygon(part.as_array().ok_or_else(|| {
                    Error::InvalidRegion("has a polygon that is no list of rings".into())
                })?)?);
            }
            Ok(())
        }
        Some(other @ ("Point" | "MultiPoint" | "LineString" | "MultiLineString")) => refuse(
            format!("holds a {other}; an area is a Polygon or a MultiPolygon"),
        ),
        _ => refuse(
            "is not GeoJSON: \"type\" is neither FeatureCollection, Feature, Polygon nor MultiPolygon",
        ),
    }
}

fn polygon(rings: &[Value]) -> Result<Polygon<f64>> {
    let mut lines = Vec::new();
    for ring in rings {
        let positions = ring.as_array().ok_or_else(|| {
            Error::InvalidRegion("has a ring that is no list of positions".into())
        })?;
        let mut points = Vec::with_capacity(positions.len());
        for position in positions {
            let number = |axis: usize| position.get(axis).and_then(Value::as_f64);
            let (Some(x), Some(y)) = (number(0), number(1)) else {
                return refuse(format!(
                    "has a position that is not [longitude, latitude]: {position}"
                ));
            };
            points.push((x, y));
        }
        if points.len() < 4 {
            return refuse(format!(
                "has a ring of {} positions; a closed ring has at least 4",
                points.len()
            ));
        }
        lines.push(LineString::from(points));
    }
    let mut lines = lines.into_iter();
    let Some(exterior) = lines.next() else {
        return refuse("has a polygon without rings");
    };
    Ok(Polygon::new(exterior, lines.collect()))
}
