//! Areas of interest: one GeoJSON file an area, longitude and latitude.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use geo::{LineString, MultiPolygon, Polygon};
use pitwatch_grid::Region;
use serde_json::Value;

use crate::exit::Problem;

/// Reads the polygons of an area file: a `FeatureCollection`, a `Feature` or a bare geometry.
///
/// # Errors
///
/// A configuration problem that names the file and what to do.
pub(crate) fn read(path: &Path) -> Result<Region> {
    region_of(path)
        .with_context(|| format!("the area file {}", path.display()))
        .context(Problem::Configuration)
}

fn region_of(path: &Path) -> Result<Region> {
    let text =
        std::fs::read_to_string(path).context("cannot be read; name an existing GeoJSON file")?;
    let json: Value = serde_json::from_str(&text).context("is not JSON")?;
    if let Some(crs) = json.pointer("/crs/properties/name").and_then(Value::as_str)
        && !crs.contains("CRS84")
        && !crs.ends_with(":4326")
    {
        bail!(
            "is in {crs}; GeoJSON is longitude and latitude (RFC 7946): reproject it with ogr2ogr -t_srs EPSG:4326"
        );
    }
    let mut polygons = Vec::new();
    collect(&json, &mut polygons)?;
    Ok(Region::new(MultiPolygon(polygons))?)
}

fn collect(json: &Value, polygons: &mut Vec<Polygon<f64>>) -> Result<()> {
    let members = |name: &str| {
        json.get(name)
            .and_then(Value::as_array)
            .ok_or_else(|| anyhow!("has no list {name:?}"))
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
                bail!("has a feature without a geometry; draw a polygon or remove the feature")
            }
            Some(geometry) => collect(geometry, polygons),
        },
        Some("Polygon") => {
            polygons.push(polygon(members("coordinates")?)?);
            Ok(())
        }
        Some("MultiPolygon") => {
            for part in members("coordinates")? {
                polygons
                    .push(polygon(part.as_array().ok_or_else(|| {
                        anyhow!("has a polygon that is no list of rings")
                    })?)?);
            }
            Ok(())
        }
        Some(other @ ("Point" | "MultiPoint" | "LineString" | "MultiLineString")) => {
            bail!("holds a {other}; an area is a Polygon or a MultiPolygon")
        }
        _ => bail!(
            "is not GeoJSON: \"type\" is neither FeatureCollection, Feature, Polygon nor MultiPolygon"
        ),
    }
}

fn polygon(rings: &[Value]) -> Result<Polygon<f64>> {
    let mut lines = Vec::new();
    for ring in rings {
        let positions = ring
            .as_array()
            .ok_or_else(|| anyhow!("has a ring that is no list of positions"))?;
        let mut points = Vec::with_capacity(positions.len());
        for position in positions {
            let number = |axis: usize| position.get(axis).and_then(Value::as_f64);
            let (Some(x), Some(y)) = (number(0), number(1)) else {
                bail!("has a position that is not [longitude, latitude]: {position}")
            };
            points.push((x, y));
        }
        if points.len() < 4 {
            bail!(
                "has a ring of {} positions; a closed ring has at least 4",
                points.len()
            );
        }
        lines.push(LineString::from(points));
    }
    let mut lines = lines.into_iter();
    let Some(exterior) = lines.next() else {
        bail!("has a polygon without rings")
    };
    Ok(Polygon::new(exterior, lines.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Region> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("area.geojson");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn refused(text: &str) -> String {
        let error = read_text(text).unwrap_err();
        assert_eq!(crate::exit::code_of(&error), 3);
        let message = format!("{error:#}");
        assert!(message.contains("area.geojson"), "{message}");
        message
    }

    #[test]
    fn a_ring_may_wind_either_way_and_have_a_hole() {
        let outer = "[[0,0],[0,1],[1,1],[1,0],[0,0]]";
        let hole = "[[0.4,0.4],[0.6,0.4],[0.6,0.6],[0.4,0.6],[0.4,0.4]]";
        let region = read_text(&format!(
            r#"{{"type":"Polygon","coordinates":[{outer},{hole}]}}"#
        ))
        .unwrap();
        assert!(region.contains(pitwatch_grid::Point { x: 0.2, y: 0.2 }));
        assert!(!region.contains(pitwatch_grid::Point { x: 0.5, y: 0.5 }));
    }

    #[test]
    fn each_fault_of_an_area_is_named_with_what_to_do() {
        let square = |ring: &str| format!(r#"{{"type":"Polygon","coordinates":[[{ring}]]}}"#);
        assert!(refused(&square("[0,0],[1,1],[1,0],[0,1],[0,0]")).contains("mend it"));
        assert!(
            refused(&square(
                "[205000,985000],[206000,985000],[206000,986000],[205000,985000]"
            ))
            .contains("reproject")
        );
        assert!(refused(&square("[-179,0],[179,0],[179,1],[-179,0]")).contains("antimeridian"));
        assert!(refused(&square("[0,0],[1,1],[0,0]")).contains("at least 4"));
        assert!(refused(r#"{"type":"FeatureCollection","features":[]}"#).contains("empty"));
        assert!(refused(r#"{"type":"Point","coordinates":[0,0]}"#).contains("Polygon"));
        assert!(refused(r#"{"type":"Feature","geometry":null}"#).contains("without a geometry"));
        assert!(refused(r#"{"crs":{"properties":{"name":"urn:ogc:def:crs:EPSG::32630"}},"type":"Polygon","coordinates":[]}"#).contains("ogr2ogr"));
        assert!(refused("not json").contains("is not JSON"));
    }
}
