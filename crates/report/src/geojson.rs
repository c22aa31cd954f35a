use std::io::Write;

use geo::{LineString, MultiPolygon};
use pitwatch_change::Kind;
use pitwatch_grid::{UtcTime, format_time};
use pitwatch_sites::{Alert, Cause, Nearest, Review, Site, SiteState, Tier};
use serde_json::{Value, json};

use crate::assessment::SEPARATOR;
use crate::looks::quoted;
use crate::{Error, Result};

/// Decimals of a coordinate in degrees: about a centimeter on the ground.
const COORDINATE_DECIMALS: i32 = 7;
/// Decimals of an area in hectares: a square meter.
const AREA_DECIMALS: i32 = 4;
/// Decimals of a probability or an index.
const INDEX_DECIMALS: i32 = 4;
/// Ten meters: a pixel.
const DISTANCE_DECIMALS: i32 = 2;

/// The columns of `alerts.geojson`, in their order.
///
/// `site_id`, `confirmed_datetime`, `min_detectable_ha` and the four indices may be null. A column that is null in every feature is left out of
/// that file: readers guess a column's type from its values, take an all-null column for text, and would see the type
/// change from run to run. A reader that misses one of these columns reads it as null.
pub const ALERT_COLUMNS: [&str; 22] = [
    "alert_id",
    "site_id",
    "area_id",
    "kind",
    "tier",
    "cause",
    "probability",
    "area_ha",
    "area_ha_lo",
    "area_ha_hi",
    "start_datetime",
    "end_datetime",
    "confirmed_datetime",
    "n_clear_history",
    "n_clear_since",
    "min_detectable_ha",
    "ndvi_before",
    "ndvi_after",
    "bsi_before",
    "bsi_after",
    "review",
    "notice",
];

/// The columns of `sites.geojson`, in their order; what is not known, or is not, is null.
pub const SITE_COLUMNS: [&str; 23] = [
    "site_id",
    "area_id",
    "state",
    "kind",
    "tier",
    "n_alerts",
    "excavation_area_ha",
    "cleared_area_ha",
    "start_datetime",
    "end_datetime",
    "first_alert_datetime",
    "last_alert_datetime",
    "last_growth_date",
    "last_clear_date",
    "merged_from",
    "split_from",
    "area_name",
    "country",
    "nearest_village",
    "village_km",
    "nearest_river",
    "river_km",
    "notice",
];

/// Writes `alerts.geojson`: one feature a line, in the order given.
///
/// RFC 7946: longitude and latitude with 7 decimals, always `MultiPolygon`, exterior rings counter-clockwise, flat
/// properties in the order of [`ALERT_COLUMNS`]. There is no `id` besides `alert_id`, since readers disagree on which of
/// the two they show. Without alerts it is a valid collection without features.
///
/// - `run_id`, `notice`: written beside the features; the notice is also a column.
///
/// # Errors
///
/// If `out` refuses, or a coordinate is not finite.
pub fn write_alerts_geojson(
    out: &mut impl Write,
    alerts: &[Alert],
    run_id: &str,
    notice: &str,
) -> Result<()> {
    let features = alerts
        .iter()
        .map(|alert| Feature {
            id: &alert.alert_id,
            outline: &alert.outline_lonlat,
            values: alert_values(alert, notice),
        })
        .collect();
    write_collection(
        out,
        &Header {
            file: "alerts.geojson",
            name: "alerts",
            run_id,
            notice,
        },
        &ALERT_COLUMNS,
        features,
    )
}

/// Writes `sites.geojson`: one feature a line, in the order given, by the rules of [`write_alerts_geojson`].
///
/// - `run_id`, `notice`: written beside the features; the notice is also a column.
///
/// # Errors
///
/// If `out` refuses, or a coordinate is not finite.
pub fn write_sites_geojson(
    out: &mut impl Write,
    sites: &[Site],
    run_id: &str,
    notice: &str,
) -> Result<()> {
    let features = sites
        .iter()
        .map(|site| Feature {
            id: &site.site_id,
            outline: &site.outline_lonlat,
            values: site_values(site, notice),
        })
        .collect();
    write_collection(
        out,
        &Header {
            file: "sites.geojson",
            name: "sites",
            run_id,
            notice,
        },
        &SITE_COLUMNS,
        features,
    )
}

/// An alert as events carry it: a feature with every column of `alerts.geojson`, null where there is no value.
///
/// # Errors
///
/// If a coordinate is not finite.
pub fn alert_feature(alert: &Alert, notice: &str) -> Result<Value> {
    feature(
        &alert.alert_id,
        &alert.outline_lonlat,
        &ALERT_COLUMNS,
        alert_values(alert, notice),
    )
}

/// A site as events carry it: a feature with every column of `sites.geojson`.
///
/// # Errors
///
/// If a coordinate is not finite.
pub fn site_feature(site: &Site, notice: &str) -> Result<Value> {
    feature(
        &site.site_id,
        &site.outline_lonlat,
        &SITE_COLUMNS,
        site_values(site, notice),
    )
}

fn feature<const N: usize>(
    id: &str,
    outline: &MultiPolygon<f64>,
    columns: &[&str; N],
    values: [Value; N],
) -> Result<Value> {
    let coordinates =
        coordinates(outline).ok_or_else(|| Error::InfiniteCoordinate { id: id.to_owned() })?;
    let properties: serde_json::Map<String, Value> = columns
        .iter()
        .map(|&column| column.to_owned())
        .zip(values)
        .collect();
    Ok(json!({
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "MultiPolygon", "coordinates": coordinates},
    }))
}

/// Writes `sites.csv`: how each site grew, one line a site and quarter of a year in which ground was new to it.
///
/// Columns: `site_id`, `area_id`, `kind`, `season` (`2023-Q2`), `new_ha`, `new_ha_lo`, `new_ha_hi` (hectares, with the edge
/// uncertainty of the alerts), `total_ha` (hectares up to then). Format as of [`write_looks_csv`](crate::write_looks_csv).
///
/// # Errors
///
/// If `out` refuses.
pub fn write_sites_csv(out: &mut impl Write, sites: &[Site]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "sites.csv",
        source,
    };
    writeln!(
        out,
        "site_id,area_id,kind,season,new_ha,new_ha_lo,new_ha_hi,total_ha"
    )
    .map_err(refused)?;
    for site in sites {
        let mut total_ha = 0.0;
        for growth in &site.growth {
            total_ha += growth.area_ha;
            let (year, quarter) = growth.quarter;
            let [new, lo, hi, total] = [
                growth.area_ha,
                growth.area_ha_lo,
                growth.area_ha_hi,
                total_ha,
            ]
            .map(|area_ha| rounded(area_ha, AREA_DECIMALS));
            writeln!(
                out,
                "{},{},{},{year}-Q{quarter},{new},{lo},{hi},{total}",
                quoted(&site.site_id),
                quoted(&site.area_id),
                kind_name(site.kind)
            )
            .map_err(refused)?;
        }
    }
    Ok(())
}

fn alert_values(alert: &Alert, notice: &str) -> [Value; ALERT_COLUMNS.len()] {
    [
        json!(alert.alert_id),
        json!(alert.site_id),
        json!(alert.area_id),
        json!(kind_name(alert.kind)),
        json!(tier_name(alert.tier)),
        json!(cause_name(alert.cause)),
        number(alert.probability, INDEX_DECIMALS),
        number(alert.area_ha, AREA_DECIMALS),
        number(alert.area_ha_lo, AREA_DECIMALS),
        number(alert.area_ha_hi, AREA_DECIMALS),
        time(alert.start_datetime),
        time(alert.end_datetime),
        alert.confirmed_datetime.map_or(Value::Null, time),
        json!(alert.n_clear_history),
        json!(alert.n_clear_since),
        number(alert.min_detectable_ha, AREA_DECIMALS),
        number(f64::from(alert.ndvi_before), INDEX_DECIMALS),
        number(f64::from(alert.ndvi_after), INDEX_DECIMALS),
        number(f64::from(alert.bsi_before), INDEX_DECIMALS),
        number(f64::from(alert.bsi_after), INDEX_DECIMALS),
        json!(review_name(alert.review)),
        json!(notice),
    ]
}

fn site_values(site: &Site, notice: &str) -> [Value; SITE_COLUMNS.len()] {
    let around = &site.surroundings;
    let name = |place: &Option<Nearest>| json!(place.as_ref().map(|place| &place.name));
    let distance = |place: &Option<Nearest>| {
        place.as_ref().map_or(Value::Null, |place| {
            number(place.distance_km, DISTANCE_DECIMALS)
        })
    };
    [
        json!(site.site_id),
        json!(site.area_id),
        json!(state_name(site.state)),
        json!(kind_name(site.kind)),
        json!(tier_name(site.tier)),
        json!(site.n_alerts),
        number(site.excavation_area_ha, AREA_DECIMALS),
        number(site.cleared_area_ha, AREA_DECIMALS),
        time(site.start_datetime),
        time(site.end_datetime),
        time(site.first_alert_datetime),
        time(site.last_alert_datetime),
        json!(site.last_growth.to_string()),
        site.last_clear
            .map_or(Value::Null, |day| json!(day.to_string())),
        if site.merged_from.is_empty() {
            Value::Null
        } else {
            json!(site.merged_from.join(SEPARATOR))
        },
        json!(site.split_from),
        json!(around.area_name),
        json!(around.country),
        name(&around.village),
        distance(&around.village),
        name(&around.river),
        distance(&around.river),
        json!(notice),
    ]
}

/// The word for a kind in files.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Excavation => "excavation",
        Kind::Cleared => "cleared",
    }
}

/// The word for a tier in files.
pub(crate) fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Provisional => "provisional",
        Tier::Confirmed => "confirmed",
    }
}

/// The word for a cause in files.
pub(crate) fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Pit => "pit",
        Cause::Burn => "burn",
        Cause::Field => "field",
        Cause::RiverBar => "river bar",
        Cause::RoadOrBuilding => "road or building",
        Cause::CloudResidue => "cloud residue",
        Cause::Unknown => "unknown",
    }
}

fn review_name(review: Review) -> &'static str {
    match review {
        Review::Unreviewed => "unreviewed",
        Review::Confirmed => "confirmed",
        Review::Dismissed => "dismissed",
    }
}

fn state_name(state: SiteState) -> &'static str {
    match state {
        SiteState::New => "new",
        SiteState::Active => "active",
        SiteState::Growing => "growing",
        SiteState::Dormant => "dormant",
        SiteState::Revegetating => "revegetating",
        SiteState::Reopened => "reopened",
    }
}

fn time(time: UtcTime) -> Value {
    Value::String(format_time(time))
}

/// A number with so many decimals; null if it is not finite.
pub(crate) fn number(value: f64, decimals: i32) -> Value {
    if value.is_finite() {
        json!(rounded(value, decimals))
    } else {
        Value::Null
    }
}

pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    // Adding zero turns −0 into 0.
    (value * factor).round() / factor + 0.0
}

pub(crate) struct Header<'a> {
    pub(crate) file: &'static str,
    pub(crate) name: &'a str,
    pub(crate) run_id: &'a str,
    pub(crate) notice: &'a str,
}

pub(crate) struct Feature<'a, const N: usize> {
    pub(crate) id: &'a str,
    pub(crate) outline: &'a MultiPolygon<f64>,
    pub(crate) values: [Value; N],
}

pub(crate) fn write_collection<const N: usize>(
    out: &mut impl Write,
    header: &Header<'_>,
    columns: &[&str; N],
    features: Vec<Feature<'_, N>>,
) -> Result<()> {
    let refused = |source| Error::Write {
        what: header.file,
        source,
    };
    let is_filled: Vec<bool> = (0..N)
        .map(|column| {
            features
                .iter()
                .any(|feature| !feature.values[column].is_null())
        })
        .collect();
    write!(
        out,
        "{{\"type\":\"FeatureCollection\",\"name\":{},\"run_id\":{},\"notice\":{},\"features\":[",
        json!(header.name),
        json!(header.run_id),
        json!(header.notice)
    )
    .map_err(refused)?;
    for (index, feature) in features.into_iter().enumerate() {
        let coordinates =
            coordinates(feature.outline).ok_or_else(|| Error::InfiniteCoordinate {
                id: feature.id.to_owned(),
            })?;
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}\n{{\"type\":\"Feature\",\"properties\":{{").map_err(refused)?;
        let mut comma = "";
        for ((column, value), _) in columns
            .iter()
            .zip(feature.values)
            .zip(&is_filled)
            .filter(|(_, is_filled)| **is_filled)
        {
            write!(out, "{comma}{}:{value}", json!(column)).map_err(refused)?;
            comma = ",";
        }
        write!(
            out,
            "}},\"geometry\":{{\"type\":\"MultiPolygon\",\"coordinates\":{coordinates}}}}}"
        )
        .map_err(refused)?;
    }
    out.write_all(b"\n]}\n").map_err(refused)
}

/// The coordinates of a MultiPolygon, exteriors counter-clockwise and holes clockwise; `None` if one is not finite.
fn coordinates(outline: &MultiPolygon<f64>) -> Option<Value> {
    let polygons = outline.iter().map(|polygon| {
        let exterior = ring(polygon.exterior(), true);
        let holes = polygon.interiors().iter().map(|hole| ring(hole, false));
        std::iter::once(exterior).chain(holes).collect()
    });
    polygons.collect::<Option<Vec<Value>>>().map(Value::Array)
}

fn ring(ring: &LineString<f64>, is_exterior: bool) -> Option<Value> {
    let mut points: Vec<[f64; 2]> = ring
        .points()
        .map(|point| {
            [
                rounded(point.x(), COORDINATE_DECIMALS),
                rounded(point.y(), COORDINATE_DECIMALS),
            ]
        })
        .collect();
    if points.iter().flatten().any(|value| !value.is_finite()) {
        return None;
    }
    if (twice_signed_area(&points) > 0.0) != is_exterior {
        points.reverse();
    }
    Some(json!(points))
}

/// Twice the area a closed ring encloses, positive if it runs counter-clockwise.
///
/// Measured from the first point, so that small rings far from the origin lose no digits.
fn twice_signed_area(points: &[[f64; 2]]) -> f64 {
    let Some(&[x, y]) = points.first() else {
        return 0.0;
    };
    points
        .windows(2)
        .map(|pair| (pair[0][0] - x) * (pair[1][1] - y) - (pair[1][0] - x) * (pair[0][1] - y))
        .sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use geo::{Polygon, Validation, Winding};
    use pitwatch_change::{ChangedPixel, Finding, Ground};
    use pitwatch_grid::{Crs, GeoBox, LatticePixel, Point, Shape, parse_time};
    use pitwatch_sites::{
        CauseModel, Params, SiteParams, Topsoil, TopsoilParams, Weights, find_alerts, follow,
    };

    use super::*;

    /// A confirmed ring of excavation around a hole, and three cleared pixels beside it.
    pub(crate) fn alerts_and_sites() -> (Vec<Alert>, Vec<Site>) {
        let geobox = GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point {
                x: 205_000.0,
                y: 985_000.0,
            },
            10.0,
            Shape {
                height: 40,
                width: 40,
            },
        )
        .unwrap();
        let looks: Vec<_> = (1..9)
            .map(|day| parse_time(&format!("2023-05-0{day}T10:48:29.024Z")).unwrap())
            .collect();
        let pixel = |row: i64, col: i64, kind| ChangedPixel {
            at: LatticePixel {
                row: row - 98_500,
                col: col + 20_500,
            },
            finding: Finding {
                confirmed_look: (kind == Kind::Excavation).then_some(6),
                core_look: Some(0),
                ..Finding::new(
                    kind,
                    3,
                    (1, 2),
                    Ground {
                        ndvi_before: 0.61,
                        ndvi_after: 0.1,
                        bsi_before: -0.1,
                        bsi_after: f32::NAN,
                        ..Ground::default()
                    },
                )
            },
            n_clear_history: 60,
            n_clear: 12,
        };
        let mut pixels = Vec::new();
        for row in 0..3 {
            for col in 0..3 {
                if (row, col) != (1, 1) {
                    pixels.push(pixel(row, col, Kind::Excavation));
                }
            }
            pixels.push(pixel(row, 5, Kind::Cleared));
        }
        let weights = Weights::of_intercept(-3.0);
        let params = Params {
            mmu_excavation_pixels: 3,
            mmu_cleared_pixels: 3,
            site_distance_m: 100.0,
            join_days: 1000,
            report_probability: 0.1,
            confirm_probability: 0.5,
            retract_probability: 0.25,
            probability_cleared: 0.9,
            states: SiteParams {
                new_days: 30,
                growing_days: 90,
                growing_share: 0.1,
                dormant_days: 365,
                revegetating_share: 0.5,
            },
            topsoil: TopsoilParams {
                distance_m: 250.0,
                noise: 0.03,
                half_trust_pixels: 5.0,
            },
            causes: CauseModel::alike(weights),
            budget: None,
        };
        let mut alerts = find_alerts(
            "seguela",
            &geobox,
            &looks,
            &pixels,
            &Topsoil::default(),
            &params,
        )
        .unwrap()
        .alerts;
        let clear = std::collections::BTreeMap::new();
        let sites = follow("seguela", &geobox, &[], &mut alerts, &[], &clear, &params).unwrap();
        (alerts, sites)
    }

    const RUN_ID: &str = "20230508-0123456789ab";
    const NOTICE: &str = "Contains modified Copernicus Sentinel data 2023";

    fn alerts_text(alerts: &[Alert]) -> String {
        let mut out = Vec::new();
        write_alerts_geojson(&mut out, alerts, RUN_ID, NOTICE).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sites_text(sites: &[Site]) -> String {
        let mut out = Vec::new();
        write_sites_geojson(&mut out, sites, RUN_ID, NOTICE).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The columns of the first feature in the order of the text (a parsed map is sorted by name).
    fn columns(text: &str) -> Vec<String> {
        let parsed: Value = serde_json::from_str(text).unwrap();
        let properties = parsed["features"][0]["properties"].as_object().unwrap();
        let line = text.lines().nth(1).unwrap();
        let mut columns: Vec<String> = properties.keys().cloned().collect();
        columns.sort_by_key(|column| line.find(&format!("\"{column}\":")).unwrap());
        columns
    }

    #[test]
    fn alerts_are_flat_features_with_their_columns_in_order() {
        insta::assert_snapshot!(alerts_text(&alerts_and_sites().0));
    }

    #[test]
    fn sites_are_flat_features_with_their_columns_in_order() {
        insta::assert_snapshot!(sites_text(&alerts_and_sites().1));
    }

    #[test]
    fn a_column_without_values_is_left_out_and_no_other() {
        let (mut alerts, sites) = alerts_and_sites();
        let mut expected = ALERT_COLUMNS.to_vec();
        expected.retain(|&column| column != "bsi_after");
        assert_eq!(columns(&alerts_text(&alerts)), expected);
        for alert in &mut alerts {
            alert.confirmed_datetime = None;
        }
        expected.retain(|&column| column != "confirmed_datetime");
        let text = alerts_text(&alerts);
        assert_eq!(columns(&text), expected);
        assert!(!text.contains("null") && !text.contains("NaN"));
        let mut expected = SITE_COLUMNS.to_vec();
        let of_place = [
            "area_name",
            "country",
            "nearest_village",
            "village_km",
            "nearest_river",
            "river_km",
        ];
        expected.retain(|column| {
            !["last_clear_date", "merged_from", "split_from"].contains(column)
                && !of_place.contains(column)
        });
        assert_eq!(columns(&sites_text(&sites)), expected);
    }

    #[test]
    fn the_rings_that_are_read_back_are_valid_and_turn_the_right_way() {
        for text in [
            alerts_text(&alerts_and_sites().0),
            sites_text(&alerts_and_sites().1),
        ] {
            let parsed: Value = serde_json::from_str(&text).unwrap();
            let mut n_holes = 0;
            for feature in parsed["features"].as_array().unwrap() {
                assert!(feature.get("id").is_none());
                assert_eq!(feature["geometry"]["type"], "MultiPolygon");
                let polygons = feature["geometry"]["coordinates"].as_array().unwrap();
                for polygon in polygons {
                    let mut rings =
                        polygon.as_array().unwrap().iter().map(|ring| {
                            let points = ring.as_array().unwrap().iter();
                            LineString::from_iter(points.map(|point| {
                                (point[0].as_f64().unwrap(), point[1].as_f64().unwrap())
                            }))
                        });
                    let polygon = Polygon::new(rings.next().unwrap(), rings.collect());
                    assert!(polygon.exterior().is_ccw());
                    assert!(polygon.interiors().iter().all(Winding::is_cw));
                    n_holes += polygon.interiors().len();
                    polygon.check_validation().unwrap();
                }
            }
            assert_eq!(n_holes, 1);
        }
    }

    #[test]
    fn a_ring_that_runs_the_wrong_way_is_turned() {
        let (mut alerts, _) = alerts_and_sites();
        let text = alerts_text(&alerts);
        for alert in &mut alerts {
            for polygon in &mut alert.outline_lonlat {
                polygon.exterior_mut(|ring| ring.0.reverse());
                polygon.interiors_mut(|rings| rings.iter_mut().for_each(|ring| ring.0.reverse()));
            }
        }
        let turned: Value = serde_json::from_str(&alerts_text(&alerts)).unwrap();
        let straight: Value = serde_json::from_str(&text).unwrap();
        let first = |value: &Value| value["features"][0]["geometry"]["coordinates"][0][0].clone();
        let mut back = first(&turned);
        back.as_array_mut().unwrap().reverse();
        assert_ne!(first(&turned), back);
        assert_eq!(
            first(&turned).as_array().unwrap().len(),
            first(&straight).as_array().unwrap().len()
        );
        assert_eq!(first(&turned), first(&straight));
    }

    #[test]
    fn no_alerts_are_a_valid_collection_without_features() {
        for text in [alerts_text(&[]), sites_text(&[])] {
            let parsed: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(parsed["type"], "FeatureCollection");
            assert_eq!(parsed["features"], json!([]));
            assert_eq!(parsed["notice"], NOTICE);
        }
    }

    #[test]
    fn a_coordinate_that_is_not_finite_is_an_error_that_names_the_alert() {
        let (mut alerts, _) = alerts_and_sites();
        alerts[0].outline_lonlat.0[0].exterior_mut(|ring| ring.0[0].x = f64::NAN);
        let error = write_alerts_geojson(&mut Vec::new(), &alerts, RUN_ID, NOTICE).unwrap_err();
        assert!(error.to_string().contains(&alerts[0].alert_id));
    }
}
