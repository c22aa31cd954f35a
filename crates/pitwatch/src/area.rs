//! Areas of interest: one GeoJSON file an area, longitude and latitude.

use std::path::Path;

use anyhow::{Context, Result};
use pitwatch_grid::Region;

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
    Ok(Region::from_geojson(&text)?)
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
