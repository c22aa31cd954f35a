use std::collections::BTreeMap;
use std::io::Write;

use geo::Centroid;
use pitwatch_change::Kind;
use pitwatch_grid::{Day, UtcTime};
use pitwatch_sites::{Alert, Review, Tier};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Error, Result};

/// The smallest side of a cell, in degrees: 5.6 km from south to north. In smaller ones a place could be searched.
const MIN_CELL_DEGREES: f64 = 0.05;
/// The largest side of a cell, in degrees: a tenth of the way from equator to pole is no place any more.
const MAX_CELL_DEGREES: f64 = 9.0;
/// In a cell with one alert, the cell's hectares would be that alert's.
const MIN_ALERTS: u64 = 2;
/// Corners of cells are written with 7 decimals, as all coordinates.
const DECIMALS: f64 = 1e7;

/// What the public is told: how coarsely and how late. The table `[report.public]` of a pipeline file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicParams {
    /// Side of a grid cell, in degrees of longitude and latitude. Cells begin at 0.
    pub cell_degrees: f64,
    /// Days from an alert's confirmation to the newest look before it may be counted.
    pub delay_days: u16,
    /// A cell with fewer alerts is left out.
    pub min_alerts: u64,
}

impl PublicParams {
    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// The key that is wrong, and what to write.
    pub fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        if !(MIN_CELL_DEGREES..=MAX_CELL_DEGREES).contains(&self.cell_degrees) {
            let message = format!(
                "cell_degrees is the side of a cell, {MIN_CELL_DEGREES} to {MAX_CELL_DEGREES} degrees, not {}",
                self.cell_degrees
            );
            return Err(("cell_degrees", message));
        }
        if self.min_alerts < MIN_ALERTS {
            let message = format!(
                "min_alerts is {MIN_ALERTS} or more, not {}: a cell with one alert tells that alert's hectares",
                self.min_alerts
            );
            return Err(("min_alerts", message));
        }
        Ok(())
    }

    /// The month before which alerts must have been confirmed to be counted, as year and month: that of the newest look
    /// less the delay. Whole months, so that the moment at which a count changes tells no more than a month.
    #[must_use]
    pub fn confirmed_before(&self, newest_look: UtcTime) -> (i32, u32) {
        let day = Day(Day::of(newest_look).0 - i32::from(self.delay_days));
        let text = day.to_string();
        let mut parts = text.rsplitn(3, '-').skip(1);
        let month = parts.next().and_then(|month| month.parse().ok());
        let year = parts.next().and_then(|year| year.parse().ok());
        (year.unwrap_or(0), month.unwrap_or(1))
    }
}

/// A grid cell and what is dug in it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cell {
    n_alerts: u64,
    area_ha: f64,
}

/// Writes `public/cells.geojson`: counts of confirmed excavation in grid cells, and nothing else.
///
/// A cell has the alerts whose centroid lies in it. There is no alert's name, place or outline, and no date but a month.
/// Counted are alerts of the confirmed tier that were confirmed before the month of [`PublicParams::confirmed_before`] and
/// that no reviewer dismissed. A cell with fewer than `min_alerts` is left out, and is in no other cell either: merged
/// cells would tell where it is not.
///
/// - `newest_look`: the newest look of the area that is seen least far; `None` if one has none, and then nothing is told.
/// - `notice`: notice of the imagery's license.
///
/// Returns the number of cells.
///
/// # Errors
///
/// If `out` refuses.
pub fn write_public_cells_geojson(
    out: &mut impl Write,
    alerts: &[Alert],
    params: &PublicParams,
    newest_look: Option<UtcTime>,
    notice: &str,
) -> Result<usize> {
    let before = newest_look.map(|look| params.confirmed_before(look));
    let mut cells: BTreeMap<(i64, i64), Cell> = BTreeMap::new();
    for alert in alerts {
        let is_told = alert.kind == Kind::Excavation
            && alert.tier == Tier::Confirmed
            && alert.review != Review::Dismissed
            && is_before(alert.confirmed_datetime, before);
        let Some(center) = alert.outline_lonlat.centroid().filter(|_| is_told) else {
            continue;
        };
        let index = |degrees: f64| (degrees / params.cell_degrees).floor() as i64;
        let cell = cells
            .entry((index(center.y()), index(center.x())))
            .or_default();
        cell.n_alerts += 1;
        cell.area_ha += alert.area_ha;
    }
    cells.retain(|_, cell| cell.n_alerts >= params.min_alerts);
    let features: Vec<Value> = cells
        .iter()
        .map(|(&(row, col), cell)| feature(row, col, *cell, params, notice))
        .collect();
    let collection = json!({
        "type": "FeatureCollection",
        "name": "cells",
        "confirmed_before": before.map(|(year, month)| format!("{year:04}-{month:02}")),
        "cell_degrees": params.cell_degrees,
        "delay_days": params.delay_days,
        "min_alerts": params.min_alerts,
        "caveat": "Places and dates are coarse on purpose. A cell that is not here has fewer alerts than min_alerts, was not \
                   looked at, or has none: it must not be read as zero.",
        "notice": notice,
        "features": features,
    });
    let mut text = serde_json::to_string(&collection).map_err(|source| Error::Parse {
        what: "the public cells",
        source,
    })?;
    text.push('\n');
    out.write_all(text.as_bytes())
        .map_err(|source| Error::Write {
            what: "public/cells.geojson",
            source,
        })?;
    Ok(cells.len())
}

fn is_before(confirmed: Option<UtcTime>, before: Option<(i32, u32)>) -> bool {
    let (Some(confirmed), Some((year, month))) = (confirmed, before) else {
        return false;
    };
    // ISO 8601: the order of the text is that of time.
    Day::of(confirmed).to_string() < format!("{year:04}-{month:02}-01")
}

fn feature(row: i64, col: i64, cell: Cell, params: &PublicParams, notice: &str) -> Value {
    let corner = |index: i64| (index as f64 * params.cell_degrees * DECIMALS).round() / DECIMALS;
    let (west, east) = (corner(col), corner(col + 1));
    let (south, north) = (corner(row), corner(row + 1));
    json!({
        "type": "Feature",
        "properties": {
            "n_alerts": cell.n_alerts,
            "area_ha": (cell.area_ha * 10.0).round() / 10.0,
            "notice": notice,
        },
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
    })
}

#[cfg(test)]
mod tests {
    use geo::{MultiPolygon, Rect, coord};
    use pitwatch_grid::parse_time;

    use super::*;
    use crate::geojson::tests::alerts_and_sites;

    const PARAMS: PublicParams = PublicParams {
        cell_degrees: 0.1,
        delay_days: 90,
        min_alerts: 2,
    };

    fn alert(lon: f64, lat: f64, confirmed: &str) -> Alert {
        let (alerts, _) = alerts_and_sites();
        let mut alert = alerts[0].clone();
        alert.alert_id = format!("secret-{lon}-{lat}");
        alert.kind = Kind::Excavation;
        alert.tier = Tier::Confirmed;
        alert.review = Review::Unreviewed;
        alert.area_ha = 1.2345;
        alert.confirmed_datetime = Some(parse_time(confirmed).unwrap());
        let half = 0.001_234_5;
        let rect = Rect::new(
            coord! {x: lon - half, y: lat - half},
            coord! {x: lon + half, y: lat + half},
        );
        alert.outline_lonlat = MultiPolygon::new(vec![rect.to_polygon()]);
        alert
    }

    fn told(alerts: &[Alert]) -> (String, Value) {
        let mut out = Vec::new();
        let look = parse_time("2023-06-15T10:00:00Z").unwrap();
        let n =
            write_public_cells_geojson(&mut out, alerts, &PARAMS, Some(look), "notice").unwrap();
        let text = String::from_utf8(out).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["features"].as_array().unwrap().len(), n);
        (text, json)
    }

    #[test]
    fn a_cell_has_the_number_and_hectares_of_its_old_confirmed_alerts() {
        let old = "2023-02-27T10:00:00Z";
        let mut alerts = vec![
            alert(-6.123_456_7, 8.055, old),
            alert(-6.187_654_3, 8.012_345_6, old),
            // In the next cell, alone: left out.
            alert(-6.223_456_7, 8.055, old),
            // 90 days before 15 June is 17 March, and 1 March counts no more.
            alert(-6.15, 8.05, "2023-03-01T00:00:00Z"),
        ];
        let mut other = alert(-6.15, 8.05, old);
        other.review = Review::Dismissed;
        alerts.push(other.clone());
        other.review = Review::Confirmed;
        other.tier = Tier::Provisional;
        alerts.push(other.clone());
        other.tier = Tier::Confirmed;
        other.kind = Kind::Cleared;
        alerts.push(other);
        let (text, json) = told(&alerts);
        assert_eq!(json["confirmed_before"], "2023-03");
        let features = json["features"].as_array().unwrap();
        assert_eq!(features.len(), 1);
        assert_eq!(features[0]["properties"]["n_alerts"], 2);
        // 2 × 1.2345 ha = 2.469 ha.
        assert_eq!(features[0]["properties"]["area_ha"], 2.5);
        assert_eq!(
            features[0]["geometry"]["coordinates"],
            json!([[
                [-6.2, 8.0],
                [-6.1, 8.0],
                [-6.1, 8.1],
                [-6.2, 8.1],
                [-6.2, 8.0]
            ]])
        );
        // Nothing of an alert itself.
        for alert in &alerts {
            assert!(!text.contains(&alert.alert_id));
            for point in alert
                .outline_lonlat
                .0
                .iter()
                .flat_map(|part| &part.exterior().0)
            {
                for degrees in [point.x, point.y] {
                    assert!(!text.contains(&format!("{degrees:.4}")), "{degrees}");
                }
            }
        }
        assert!(!text.contains("2023-02"));
    }

    #[test]
    fn without_a_look_nothing_is_told() {
        let alerts = [(); 3].map(|()| alert(1.0, 1.0, "2020-01-01T00:00:00Z"));
        let mut out = Vec::new();
        assert_eq!(
            write_public_cells_geojson(&mut out, &alerts, &PARAMS, None, "").unwrap(),
            0
        );
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["confirmed_before"], Value::Null);
    }

    #[test]
    fn the_month_is_that_of_the_newest_look_less_the_delay() {
        for (look, delay_days, month) in [
            ("2023-01-01T00:00:00Z", 0, (2023, 1)),
            ("2023-01-01T00:00:00Z", 1, (2022, 12)),
            ("2024-03-31T23:59:59Z", 31, (2024, 2)),
        ] {
            let params = PublicParams {
                delay_days,
                ..PARAMS
            };
            assert_eq!(params.confirmed_before(parse_time(look).unwrap()), month);
        }
    }

    #[test]
    fn cells_too_fine_or_with_one_alert_are_refused() {
        assert_eq!(PARAMS.check(), Ok(()));
        for (params, key) in [
            (
                PublicParams {
                    cell_degrees: 0.01,
                    ..PARAMS
                },
                "cell_degrees",
            ),
            (
                PublicParams {
                    cell_degrees: f64::NAN,
                    ..PARAMS
                },
                "cell_degrees",
            ),
            (
                PublicParams {
                    min_alerts: 1,
                    ..PARAMS
                },
                "min_alerts",
            ),
        ] {
            assert_eq!(params.check().unwrap_err().0, key);
        }
    }
}
