//! Villages and rivers, and what an area's own file says of it: words by which a person finds a site.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use geo::{Distance, Euclidean, LineString, MultiPolygon};
use pitwatch_grid::{Crs, Point};
use pitwatch_sites::{Nearest, Site, Surroundings};
use serde_json::Value;

use crate::config::AreaSource;
use crate::exit::Problem;
use crate::watch::sha256;

const M_PER_KM: f64 = 1000.0;

/// What lies around an area's sites.
#[derive(Debug, Default)]
pub(crate) struct Places {
    area_name: Option<String>,
    country: Option<String>,
    villages: Vec<(String, Point)>,
    rivers: Vec<(String, Vec<Point>)>,
    /// Notice of whoever made the file of places.
    pub(crate) notice: Option<String>,
    /// SHA-256 of the file of places; of the area's file RUN_ID knows already.
    pub(crate) sha256: Option<String>,
}

/// Reads what an area's file says of it, and its file of places.
///
/// # Errors
///
/// A configuration problem that names the file of places, the feature and what to write instead.
pub(crate) fn read(source: &AreaSource) -> Result<Places> {
    let mut places = Places::default();
    if let Some(path) = &source.places {
        let context = || format!("the file of places {}", path.display());
        places = read_file(path)
            .with_context(context)
            .context(Problem::Configuration)?;
    }
    let word = |json: &Value, name: &str| {
        let value = json.pointer(&format!("/features/0/properties/{name}"))?;
        Some(value.as_str()?.to_owned())
    };
    // That it is an area is checked elsewhere.
    let of_area = source.file.as_ref().and_then(|path| fs::read(path).ok());
    if let Some(json) = of_area.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) {
        places.area_name = word(&json, "name");
        places.country = word(&json, "country");
    }
    Ok(places)
}

/// Checks a file of places, and says what it holds.
///
/// # Errors
///
/// A configuration problem that says what to write instead.
pub(crate) fn check(path: &Path) -> Result<String> {
    let places = read_file(path).context(Problem::Configuration)?;
    Ok(format!(
        "{} villages, {} lines of rivers",
        places.villages.len(),
        places.rivers.len()
    ))
}

fn read_file(path: &Path) -> Result<Places> {
    let text = fs::read(path).context("cannot be read; name an existing GeoJSON file")?;
    let json: Value = serde_json::from_slice(&text).context("is not JSON")?;
    let features = json
        .get("features")
        .and_then(Value::as_array)
        .context("has no features; write a FeatureCollection of points and lines")?;
    let mut places = Places {
        notice: json
            .get("notice")
            .and_then(Value::as_str)
            .map(str::to_owned),
        sha256: Some(sha256(&text)),
        ..Places::default()
    };
    for (index, feature) in features.iter().enumerate() {
        places
            .add(feature)
            .with_context(|| format!("feature {}", index + 1))?;
    }
    Ok(places)
}

impl Places {
    fn add(&mut self, feature: &Value) -> Result<()> {
        let name = feature
            .pointer("/properties/name")
            .and_then(Value::as_str)
            .filter(|name| !name.trim().is_empty())
            .context("has no name; write one as property \"name\"")?;
        let kind = feature.pointer("/geometry/type").and_then(Value::as_str);
        let coordinates = feature
            .pointer("/geometry/coordinates")
            .context("has no coordinates")?;
        match kind {
            Some("Point") => self.villages.push((name.to_owned(), point(coordinates)?)),
            Some("LineString") => self.rivers.push((name.to_owned(), line(coordinates)?)),
            Some("MultiLineString") => {
                for part in coordinates.as_array().context("has no lines")? {
                    self.rivers.push((name.to_owned(), line(part)?));
                }
            }
            _ => bail!(
                "is neither a Point (a village) nor a LineString or MultiLineString (a river)"
            ),
        }
        Ok(())
    }

    /// Says of each site what lies around it.
    ///
    /// - `crs`: the reference system of the sites' outlines, in meters.
    ///
    /// A place that cannot be told in that reference system is none of its neighbours.
    pub(crate) fn describe(&self, crs: &Crs, sites: &mut [Site]) {
        let project = |point: Point| {
            let projected = crs.crs_from_lonlat(point).ok()?;
            Some(geo::Point::new(projected.x, projected.y))
        };
        let villages: Vec<(&str, geo::Point)> = self
            .villages
            .iter()
            .filter_map(|(name, at)| Some((name.as_str(), project(*at)?)))
            .collect();
        let rivers: Vec<(&str, LineString)> = self
            .rivers
            .iter()
            .filter_map(|(name, line)| {
                let line: Option<Vec<geo::Point>> = line.iter().map(|&at| project(at)).collect();
                Some((name.as_str(), LineString::from(line?)))
            })
            .collect();
        for site in sites {
            site.surroundings = Surroundings {
                area_name: self.area_name.clone(),
                country: self.country.clone(),
                village: nearest(&villages, &site.outline, &|polygon, village| {
                    Euclidean.distance(polygon, village)
                }),
                river: nearest(&rivers, &site.outline, &|polygon, river| {
                    Euclidean.distance(polygon, river)
                }),
            };
        }
    }
}

/// The nearest place; of two as near the one whose name comes first.
fn nearest<T>(
    places: &[(&str, T)],
    outline: &MultiPolygon,
    distance: &dyn Fn(&geo::Polygon, &T) -> f64,
) -> Option<Nearest> {
    places
        .iter()
        .filter_map(|(name, place)| {
            let parts = outline.iter().map(|polygon| distance(polygon, place));
            Some((parts.min_by(f64::total_cmp)?, *name))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)))
        .map(|(meters, name)| Nearest {
            name: name.to_owned(),
            distance_km: meters / M_PER_KM,
        })
}

fn point(coordinates: &Value) -> Result<Point> {
    let numbers: Option<Vec<f64>> = coordinates
        .as_array()
        .and_then(|values| values.iter().map(Value::as_f64).collect());
    let is_lonlat = |x: f64, y: f64| x.abs() <= 180.0 && y.abs() <= 90.0;
    match numbers.as_deref() {
        Some([x, y, ..]) if is_lonlat(*x, *y) => Ok(Point { x: *x, y: *y }),
        _ => Err(anyhow!(
            "{coordinates} is no longitude and latitude in degrees"
        )),
    }
}

fn line(coordinates: &Value) -> Result<Vec<Point>> {
    let points: Vec<Point> = coordinates
        .as_array()
        .context("has no line")?
        .iter()
        .map(point)
        .collect::<Result<_>>()?;
    if points.len() < 2 {
        bail!("has a line of fewer than two points");
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Places> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("places.geojson");
        fs::write(&path, text).unwrap();
        read(&AreaSource {
            id: None,
            file: None,
            catalog: "none".into(),
            mirror: None,
            places: Some(path),
        })
    }

    #[test]
    fn each_fault_of_a_file_of_places_is_named() {
        let feature = |properties: &str, geometry: &str| {
            format!(r#"{{"features":[{{"properties":{properties},"geometry":{geometry}}}]}}"#)
        };
        let point = r#"{"type":"Point","coordinates":[-6.5,8]}"#;
        for (text, part) in [
            ("none".to_owned(), "is not JSON"),
            ("{}".to_owned(), "FeatureCollection"),
            (feature("{}", point), "feature 1: has no name"),
            (feature(r#"{"name":" "}"#, point), "has no name"),
            (
                feature(r#"{"name":"a"}"#, r#"{"type":"Polygon","coordinates":[]}"#),
                "neither a Point",
            ),
            (
                feature(
                    r#"{"name":"a"}"#,
                    r#"{"type":"Point","coordinates":[205000,985000]}"#,
                ),
                "longitude and latitude",
            ),
            (
                feature(
                    r#"{"name":"a"}"#,
                    r#"{"type":"LineString","coordinates":[[0,0]]}"#,
                ),
                "fewer than two",
            ),
        ] {
            let error = of(&text).unwrap_err();
            assert_eq!(crate::exit::code_of(&error), 3);
            let said = format!("{error:#}");
            assert!(
                said.contains(part) && said.contains("places.geojson"),
                "{said}"
            );
        }
        let places = of(&feature(r#"{"name":"a"}"#, point)).unwrap();
        assert_eq!(places.villages.len(), 1);
    }
}
