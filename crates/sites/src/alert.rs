use std::collections::BTreeMap;

use geo::{LineString, MultiPolygon, Polygon};
use pitwatch_change::{ChangedPixel, Kind};
use pitwatch_grid::{GeoBox, LatticePixel, Point, UtcTime};
use serde::Deserialize;

use crate::label::{Object, find_objects};
use crate::trace::{n_outline_edges, outline};
use crate::{Error, Result};

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// Mean distance, in pixels, between a position that is uniform within half a pixel of an edge and that edge.
///
/// The traced outline runs along pixel edges, the true one somewhere within half a pixel of it: the mean of |u| for u
/// uniform on −½ to ½ is ¼.
const EDGE_UNCERTAINTY_PIXELS: f64 = 0.25;

/// What decides which objects are reported.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Minimum mapping unit of excavation: an object has at least so many pixels. 0 counts as 1.
    pub mmu_excavation_pixels: usize,
    /// Minimum mapping unit of cleared ground: an object has at least so many pixels. 0 counts as 1.
    pub mmu_cleared_pixels: usize,
    /// Alerts whose outlines are at most so far apart, in meters, belong to one site.
    pub site_distance_m: f64,
}

impl Params {
    fn mmu_pixels(&self, kind: Kind) -> usize {
        let mmu_pixels = match kind {
            Kind::Excavation => self.mmu_excavation_pixels,
            Kind::Cleared => self.mmu_cleared_pixels,
        };
        mmu_pixels.max(1)
    }
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Early evidence; may still be retracted.
    Provisional,
    /// Kept over time; what carats may rest on.
    Confirmed,
}

/// What brought the change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Dug ground.
    Pit,
    /// A fire.
    Burn,
    /// A field cleared or tilled.
    Field,
    /// A bar that a river laid bare.
    RiverBar,
    /// A road or a building.
    RoadOrBuilding,
    /// Not determined.
    Unknown,
}

/// What a reviewer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Review {
    /// Nobody has looked yet.
    Unreviewed,
    /// A reviewer agrees.
    Confirmed,
    /// A reviewer disagrees.
    Dismissed,
}

/// One connected object of newly cleared or newly dug ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Area, date of the alert and lattice coordinate of the first alerted pixel: `seguela-20230509-N98490E20520`.
    ///
    /// Date and pixel are those known when the object was first reported, so the name is stable under growth, under
    /// another cell size and under reruns. When objects grow together, the name reported first stays. `N98490` is lattice row
    /// −98490 (counted north from the reference system's origin; `S0` is row 0), `E20520` is column 20520 (`W1` is column −1).
    pub alert_id: String,
    /// The site it belongs to; `None` until [`find_sites`](crate::find_sites) has run.
    pub site_id: Option<String>,
    /// The area it was found in.
    pub area_id: String,
    /// Cleared or excavation.
    pub kind: Kind,
    /// Provisional or confirmed.
    pub tier: Tier,
    /// What brought it about.
    pub cause: Cause,
    /// Mean over the pixels of the probability that they are what the kind says, 0 to 1.
    pub probability: f64,
    /// Number of pixels times the pixel's area on the projected grid, in hectares.
    pub area_ha: f64,
    /// Area less the uncertainty of its edge, in hectares, 0 or more.
    ///
    /// The uncertainty is the length of the outline, holes included, times a quarter of a pixel: the mean distance of an
    /// edge that lies anywhere within half a pixel of the traced one. It says nothing of pixels missed or wrongly added.
    pub area_ha_lo: f64,
    /// Area plus the uncertainty of its edge, in hectares.
    pub area_ha_hi: f64,
    /// The last clear look before the change, at the pixels at which it was seen first (the earliest, if they differ).
    ///
    /// As the two other times of the change, it speaks of the pixels with which the object was first reported.
    pub start_datetime: UtcTime,
    /// The look that first showed the change at any of these pixels; it happened after `start_datetime` and no later.
    pub end_datetime: UtcTime,
    /// The look at which the object could first be reported: as many connected pixels as the minimum mapping unit, a core
    /// pixel among them, had their evidence complete.
    pub alert_datetime: UtcTime,
    /// The look at which as many of its pixels as the minimum mapping unit were confirmed; `None` = provisional.
    pub confirmed_datetime: Option<UtcTime>,
    /// Clear looks in the history period, median over the pixels (the lower of two middle values).
    pub n_clear_history: u16,
    /// Clear looks in the monitoring period, median over the pixels (the lower of two middle values).
    pub n_clear_since: u16,
    /// Area of the smallest object that can be reported, in hectares: the minimum mapping unit.
    ///
    /// A bound by construction; what is found of objects of that size is measured elsewhere.
    pub min_detectable_ha: f64,
    /// NDVI expected for the season, median over the pixels; NaN = not known.
    pub ndvi_before: f32,
    /// NDVI seen, median over the pixels; NaN = not known.
    pub ndvi_after: f32,
    /// Bare soil index expected for the season, median over the pixels; NaN = not known.
    pub bsi_before: f32,
    /// Bare soil index seen, median over the pixels; NaN = not known.
    pub bsi_after: f32,
    /// What a reviewer said.
    pub review: Review,
    /// The pixel that gave the alert its name.
    pub first_pixel: LatticePixel,
    /// All its pixels, by row and column. No pixel belongs to two alerts.
    pub pixels: Vec<LatticePixel>,
    /// For each pixel, the look at which it was first reported as part of an object, after its own alert or with it.
    pub pixel_alert_datetimes: Vec<UtcTime>,
    /// For each pixel, the look at which it and its object were confirmed; `None` = not yet.
    pub pixel_confirmed_datetimes: Vec<Option<UtcTime>>,
    /// Outline exact on pixel edges, in meters of the area's reference system; see [`outline`](crate::outline).
    pub outline: MultiPolygon<f64>,
    /// The outline in longitude and latitude, WGS 84 degrees, vertex by vertex; exteriors counter-clockwise.
    pub outline_lonlat: MultiPolygon<f64>,
}

/// The alerts of an area, by `alert_id`.
///
/// Pixels of one kind that share an edge or a corner are one object. An object is an alert if at least as many of its
/// pixels as the minimum mapping unit, one of them a core pixel, were connected and had alerted by some look; the rest
/// are no alert. What an alert says of a look rests on nothing that came later.
///
/// - `geobox`: the area's; gives the lattice, the reference system and the pixel size.
/// - `looks`: acquisition times of the area's time axis, ascending; findings refer to places in it.
/// - `pixels`: the findings of the whole area, from all cells and in any order.
///
/// # Errors
///
/// If a finding refers to a look that is not in `looks`, a pixel has two findings, or an outline cannot be brought to
/// longitude and latitude.
pub fn find_alerts(
    area_id: &str,
    geobox: &GeoBox,
    looks: &[UtcTime],
    pixels: &[ChangedPixel],
    params: &Params,
) -> Result<Vec<Alert>> {
    check(pixels, looks.len())?;
    let mut of_kind: BTreeMap<Kind, Vec<ChangedPixel>> = BTreeMap::new();
    for &pixel in pixels {
        of_kind.entry(pixel.finding.kind).or_default().push(pixel);
    }
    let mut alerts = Vec::new();
    for (kind, mut pixels) in of_kind {
        pixels.sort_unstable_by_key(|pixel| pixel.at);
        for object in find_objects(&pixels, params.mmu_pixels(kind)) {
            let members: Vec<ChangedPixel> =
                object.members.iter().map(|&index| pixels[index]).collect();
            alerts.push(describe(
                area_id, geobox, looks, kind, &object, &members, params,
            )?);
        }
    }
    alerts.sort_by(|a, b| a.alert_id.cmp(&b.alert_id));
    Ok(alerts)
}

fn check(pixels: &[ChangedPixel], n_looks: usize) -> Result<()> {
    let mut places: Vec<LatticePixel> = pixels.iter().map(|pixel| pixel.at).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
        let LatticePixel { row, col } = pair[0];
        return Err(Error::DuplicatePixel { row, col });
    }
    for ChangedPixel { at, finding, .. } in pixels {
        let looks = [
            Some(finding.alert_look),
            finding.confirmed_look,
            Some(finding.last_look_before),
            Some(finding.first_look_after),
        ];
        if let Some(look) = looks
            .into_iter()
            .flatten()
            .find(|&look| look as usize >= n_looks)
        {
            return Err(Error::UnknownLook {
                row: at.row,
                col: at.col,
                look,
                n_looks,
            });
        }
    }
    Ok(())
}

fn describe(
    area_id: &str,
    geobox: &GeoBox,
    looks: &[UtcTime],
    kind: Kind,
    object: &Object,
    members: &[ChangedPixel],
    params: &Params,
) -> Result<Alert> {
    let time = |look: u32| looks[look as usize];
    let raised = object.raised;
    let alert_datetime = time(raised.look);
    let first_pixel = raised.first.1;
    let pixels: Vec<LatticePixel> = members.iter().map(|pixel| pixel.at).collect();

    let pixel_ha = geobox.pixel_area_m2() / M2_PER_HA;
    let area_ha = pixels.len() as f64 * pixel_ha;
    let edge_ha = n_outline_edges(&pixels) as f64 * EDGE_UNCERTAINTY_PIXELS * pixel_ha;
    let (first_seen, last_before) = raised.seen;
    let outline = outline(geobox, &pixels);
    let outline_lonlat = to_lonlat(geobox, &outline)?;

    let total: f64 = members
        .iter()
        .map(|pixel| f64::from(pixel.finding.probability))
        .sum();
    Ok(Alert {
        alert_id: format!(
            "{area_id}-{}-{}",
            alert_datetime.format("%Y%m%d"),
            lattice_name(first_pixel)
        ),
        site_id: None,
        area_id: area_id.to_owned(),
        kind,
        tier: if object.confirmed_look.is_some() {
            Tier::Confirmed
        } else {
            Tier::Provisional
        },
        cause: Cause::Unknown,
        probability: total / members.len() as f64,
        area_ha,
        area_ha_lo: (area_ha - edge_ha).max(0.0),
        area_ha_hi: area_ha + edge_ha,
        start_datetime: time(last_before),
        end_datetime: time(first_seen),
        alert_datetime,
        confirmed_datetime: object.confirmed_look.map(time),
        n_clear_history: median_count(members.iter().map(|pixel| pixel.n_clear_history)),
        n_clear_since: median_count(members.iter().map(|pixel| pixel.n_clear)),
        min_detectable_ha: params.mmu_pixels(kind) as f64 * pixel_ha,
        ndvi_before: median(members.iter().map(|pixel| pixel.finding.ndvi_before)),
        ndvi_after: median(members.iter().map(|pixel| pixel.finding.ndvi_after)),
        bsi_before: median(members.iter().map(|pixel| pixel.finding.bsi_before)),
        bsi_after: median(members.iter().map(|pixel| pixel.finding.bsi_after)),
        review: Review::Unreviewed,
        first_pixel,
        pixels,
        pixel_alert_datetimes: object
            .member_looks
            .iter()
            .map(|looks| looks.alert.map_or(alert_datetime, time))
            .collect(),
        pixel_confirmed_datetimes: object
            .member_looks
            .iter()
            .map(|looks| looks.confirmed.map(time))
            .collect(),
        outline,
        outline_lonlat,
    })
}

/// A lattice coordinate without signs: how many rows north or south and columns east or west of the system's origin.
pub(crate) fn lattice_name(pixel: LatticePixel) -> String {
    let name = |value: i64, positive: char, negative: char| {
        let letter = if value < 0 { negative } else { positive };
        format!("{letter}{}", value.unsigned_abs())
    };
    name(pixel.row, 'S', 'N') + &name(pixel.col, 'E', 'W')
}

/// An outline in longitude and latitude, WGS 84 degrees, vertex by vertex.
pub(crate) fn to_lonlat(geobox: &GeoBox, outline: &MultiPolygon<f64>) -> Result<MultiPolygon<f64>> {
    let ring = |ring: &LineString<f64>| -> Result<LineString<f64>> {
        let points = ring.points().map(|point| {
            let (x, y) = point.x_y();
            let lonlat = geobox
                .crs()
                .lonlat_from_crs(Point { x, y })
                .map_err(Error::Project)?;
            Ok((lonlat.x, lonlat.y))
        });
        Ok(LineString::from(points.collect::<Result<Vec<_>>>()?))
    };
    let polygons = outline.iter().map(|polygon| {
        let holes = polygon
            .interiors()
            .iter()
            .map(ring)
            .collect::<Result<Vec<_>>>()?;
        Ok(Polygon::new(ring(polygon.exterior())?, holes))
    });
    Ok(MultiPolygon(polygons.collect::<Result<Vec<_>>>()?))
}

/// The median of the values that are not NaN, the mean of the two middle ones if their number is even; NaN if there are none.
fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f32::total_cmp);
    match values.len() {
        0 => f32::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f32::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The median of counts, the lower of the two middle ones if their number is even; 0 if there are none.
fn median_count(counts: impl Iterator<Item = u16>) -> u16 {
    let mut counts: Vec<u16> = counts.collect();
    counts.sort_unstable();
    counts
        .get(counts.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use geo::{Validation, Winding};
    use pitwatch_change::Finding;
    use pitwatch_grid::{Crs, Shape, parse_time};
    use proptest::prelude::*;

    use super::*;

    pub(crate) const PARAMS: Params = Params {
        mmu_excavation_pixels: 3,
        mmu_cleared_pixels: 3,
        site_distance_m: 50.0,
    };

    pub(crate) fn geobox() -> GeoBox {
        GeoBox::new(
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
        .unwrap()
    }

    /// Eight looks, five days apart.
    pub(crate) fn looks() -> Vec<UtcTime> {
        (1..=8)
            .map(|look| parse_time(&format!("2023-05-{:02}T10:48:29Z", look * 3)).unwrap())
            .collect()
    }

    /// A core pixel of excavation in row and column of the area, seen changed one look before its alert.
    pub(crate) fn pixel(row: i64, col: i64, alert_look: u32) -> ChangedPixel {
        let lattice = geobox().lattice_origin();
        ChangedPixel {
            at: LatticePixel {
                row: lattice.row + row,
                col: lattice.col + col,
            },
            finding: Finding {
                kind: Kind::Excavation,
                alert_look,
                confirmed_look: None,
                last_look_before: alert_look.saturating_sub(2),
                first_look_after: alert_look.saturating_sub(1),
                probability: 0.5,
                core_look: Some(0),
                ndvi_before: 0.6,
                ndvi_after: 0.1,
                bsi_before: -0.1,
                bsi_after: 0.2,
            },
            n_clear_history: 60,
            n_clear: 12,
        }
    }

    pub(crate) fn find(pixels: &[ChangedPixel]) -> Vec<Alert> {
        find_alerts("area", &geobox(), &looks(), pixels, &PARAMS).unwrap()
    }

    #[test]
    fn an_object_below_the_minimum_mapping_unit_is_no_alert() {
        let pixels = [pixel(0, 0, 3), pixel(1, 1, 3), pixel(2, 2, 3)];
        assert_eq!(find(&pixels[..2]), []);
        assert_eq!(find(&pixels).len(), 1);
    }

    #[test]
    fn an_object_without_a_core_pixel_is_no_alert() {
        let mut pixels = [
            pixel(0, 0, 3),
            pixel(0, 1, 3),
            pixel(0, 2, 3),
            pixel(0, 3, 5),
        ];
        for pixel in &mut pixels {
            pixel.finding.core_look = None;
        }
        assert_eq!(find(&pixels), []);
        pixels[3].finding.core_look = Some(0);
        let alerts = find(&pixels);
        assert_eq!(
            alerts[0].alert_datetime,
            looks()[5],
            "the core pixel came last"
        );
    }

    #[test]
    fn the_kinds_are_never_one_object() {
        let mut pixels: Vec<_> = (0..6).map(|col| pixel(0, col, 3)).collect();
        for pixel in &mut pixels[3..] {
            pixel.finding.kind = Kind::Cleared;
        }
        let kinds: Vec<_> = find(&pixels).iter().map(|alert| alert.kind).collect();
        assert_eq!(kinds, [Kind::Excavation, Kind::Cleared]);
        assert_eq!(find(&pixels[1..5]), [], "two pixels of each kind");
    }

    #[test]
    fn the_times_are_those_of_the_pixels_that_raised_the_alert() {
        let mut pixels = [
            pixel(0, 0, 4),
            pixel(0, 1, 2),
            pixel(0, 2, 3),
            pixel(0, 3, 7),
        ];
        pixels[3].finding.last_look_before = 0;
        pixels[3].finding.first_look_after = 0;
        let alert = &find(&pixels)[0];
        assert_eq!(alert.alert_datetime, looks()[4]);
        assert_eq!(alert.start_datetime, looks()[0]);
        assert_eq!(alert.end_datetime, looks()[1]);
        assert_eq!(alert.alert_id, "area-20230515-N98500E20501");
        assert_eq!(alert.pixels.len(), 4);
    }

    #[test]
    fn confirmation_waits_for_as_many_pixels_as_the_minimum_mapping_unit() {
        let mut pixels = [
            pixel(0, 0, 2),
            pixel(0, 1, 2),
            pixel(0, 2, 2),
            pixel(0, 3, 2),
        ];
        pixels[0].finding.confirmed_look = Some(4);
        pixels[1].finding.confirmed_look = Some(6);
        assert_eq!(find(&pixels)[0].tier, Tier::Provisional);
        pixels[3].finding.confirmed_look = Some(5);
        let alert = &find(&pixels)[0];
        assert_eq!(alert.tier, Tier::Confirmed);
        assert_eq!(alert.confirmed_datetime, Some(looks()[6]));
    }

    #[test]
    fn two_objects_that_grow_together_keep_the_name_reported_first() {
        let mut pixels = vec![pixel(5, 0, 3), pixel(5, 1, 3), pixel(5, 2, 3)];
        let first = find(&pixels)[0].alert_id.clone();
        // Two early pixels above, too few for an alert of their own until a bridge makes them part of the object.
        pixels.extend([
            pixel(1, 0, 1),
            pixel(2, 0, 1),
            pixel(3, 1, 6),
            pixel(4, 1, 6),
        ]);
        let alerts = find(&pixels);
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].alert_id, first);
        assert_eq!(alerts[0].pixels.len(), 7);
    }

    #[test]
    fn the_edge_uncertainty_of_one_pixel_is_its_whole_area() {
        let params = Params {
            mmu_excavation_pixels: 0,
            ..PARAMS
        };
        let alerts = find_alerts("area", &geobox(), &looks(), &[pixel(0, 0, 3)], &params).unwrap();
        assert_eq!(
            (
                alerts[0].area_ha_lo,
                alerts[0].area_ha,
                alerts[0].area_ha_hi
            ),
            (0.0, 0.01, 0.02)
        );
        assert_eq!(alerts[0].min_detectable_ha, 0.01);
    }

    #[test]
    fn medians_leave_out_what_is_missing() {
        assert_eq!(median([3.0, f32::NAN, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([1.0, 2.0].into_iter()), 1.5);
        assert!(median([f32::NAN].into_iter()).is_nan());
        assert_eq!(median_count([4, 1, 3, 2].into_iter()), 2);
    }

    #[test]
    fn cells_that_overlap_and_looks_that_do_not_exist_are_refused() {
        let refused = |pixels: &[ChangedPixel]| {
            find_alerts("area", &geobox(), &looks(), pixels, &PARAMS)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&[pixel(0, 0, 3), pixel(0, 0, 4)]).contains("must not overlap"));
        assert!(refused(&[pixel(0, 0, 8)]).contains("look 8, but the area has 8 looks"));
    }

    #[test]
    fn no_pixels_give_no_alerts() {
        assert_eq!(find(&[]), []);
    }

    #[test]
    fn coordinates_west_and_south_of_the_origin_have_names_without_signs() {
        assert_eq!(lattice_name(LatticePixel { row: 0, col: 0 }), "S0E0");
        assert_eq!(lattice_name(LatticePixel { row: -1, col: -1 }), "N1W1");
    }

    /// Pixels of a 9 × 9 patch with any looks, kinds and core marks.
    pub(crate) fn any_pixels() -> impl Strategy<Value = Vec<ChangedPixel>> {
        let any_pixel = (
            prop::bool::weighted(0.5),
            prop::bool::weighted(0.8),
            prop::bool::ANY,
            0u32..8,
            prop::option::of(0u32..8),
            0.0f32..1.0,
        );
        prop::collection::vec(any_pixel, 81).prop_map(|marks| {
            marks
                .into_iter()
                .enumerate()
                .filter(|(_, mark)| mark.0)
                .map(
                    |(index, (_, is_excavation, is_core, look, confirmed, probability))| {
                        let mut pixel = pixel(index as i64 / 9, index as i64 % 9, look);
                        if !is_excavation {
                            pixel.finding.kind = Kind::Cleared;
                        }
                        pixel.finding.core_look = is_core.then_some(look);
                        pixel.finding.confirmed_look = confirmed.filter(|&other| other >= look);
                        pixel.finding.probability = probability;
                        pixel
                    },
                )
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_cells_and_pixels_does_not_matter(pixels in any_pixels(), cut in 0usize..81, seed in 0usize..1000) {
            let mut shuffled = pixels.clone();
            shuffled.rotate_left(cut.min(pixels.len()));
            for index in 1..shuffled.len() {
                shuffled.swap(index, (index * 7919 + seed) % (index + 1));
            }
            prop_assert_eq!(find(&pixels), find(&shuffled));
        }

        #[test]
        fn objects_hold_what_they_must(pixels in any_pixels()) {
            let alerts = find(&pixels);
            let mut members: Vec<LatticePixel> = Vec::new();
            for alert in &alerts {
                prop_assert!(alert.pixels.len() >= 3);
                prop_assert!(alert.pixels.contains(&alert.first_pixel));
                prop_assert!((alert.area_ha - alert.pixels.len() as f64 * 0.01).abs() < 1e-12);
                prop_assert!(0.0 <= alert.area_ha_lo && alert.area_ha_lo < alert.area_ha && alert.area_ha < alert.area_ha_hi);
                prop_assert!(alert.start_datetime <= alert.end_datetime && alert.end_datetime <= alert.alert_datetime);
                prop_assert!(alert.confirmed_datetime.is_none_or(|time| time >= alert.alert_datetime));
                prop_assert!((0.0..=1.0).contains(&alert.probability));
                alert.outline.check_validation().unwrap();
                alert.outline_lonlat.check_validation().unwrap();
                for polygon in &alert.outline_lonlat {
                    prop_assert!(polygon.exterior().is_ccw() && polygon.interiors().iter().all(Winding::is_cw));
                }
                members.extend(&alert.pixels);
            }
            let n_members = members.len();
            members.sort_unstable();
            members.dedup();
            prop_assert_eq!(members.len(), n_members, "a pixel belongs to one alert");
            let mut ids: Vec<_> = alerts.iter().map(|alert| &alert.alert_id).collect();
            ids.dedup();
            prop_assert_eq!(ids.len(), alerts.len());
        }

        #[test]
        fn what_is_said_of_a_look_rests_on_nothing_later(pixels in any_pixels(), now in 0u32..8) {
            let known: Vec<_> = pixels.iter().copied().filter(|pixel| pixel.finding.alert_look <= now).map(|mut pixel| {
                pixel.finding.confirmed_look = pixel.finding.confirmed_look.filter(|&look| look <= now);
                pixel
            }).collect();
            let alerts = find(&pixels);
            let then = find(&known);
            for earlier in &then {
                let heir = alerts.iter().find(|alert| alert.pixels.contains(&earlier.first_pixel)).unwrap();
                if heir.alert_id == earlier.alert_id {
                    prop_assert_eq!(heir.start_datetime, earlier.start_datetime);
                    prop_assert_eq!(heir.end_datetime, earlier.end_datetime);
                } else {
                    prop_assert!(heir.alert_datetime <= earlier.alert_datetime, "it grew into one reported before");
                }
                prop_assert!(earlier.tier <= heir.tier);
            }
            for alert in alerts.iter().filter(|alert| alert.alert_datetime <= looks()[now as usize]) {
                prop_assert!(then.iter().any(|earlier| earlier.alert_id == alert.alert_id));
            }
        }

        #[test]
        fn a_shift_by_whole_pixels_moves_geometry_and_names_alone(pixels in any_pixels(), down in -200i64..200, right in -200i64..200) {
            let moved: Vec<_> = pixels.iter().map(|&pixel| ChangedPixel {
                at: LatticePixel { row: pixel.at.row + down, col: pixel.at.col + right },
                ..pixel
            }).collect();
            for (here, mut there) in find(&pixels).into_iter().zip(find(&moved)) {
                use geo::Translate;
                there.outline.translate_mut(right as f64 * -10.0, down as f64 * 10.0);
                prop_assert_eq!(&there.outline, &here.outline);
                for pixel in there.pixels.iter_mut().chain([&mut there.first_pixel]) {
                    pixel.row -= down;
                    pixel.col -= right;
                }
                there.outline_lonlat = here.outline_lonlat.clone();
                there.alert_id = here.alert_id.clone();
                prop_assert_eq!(there, here);
            }
        }
    }
}
