use std::collections::BTreeMap;

use geo::{LineString, MultiPolygon, Polygon};
use pitwatch_change::{ChangedPixel, Ground, Kind};
use pitwatch_grid::{Day, GeoBox, LatticePixel, Point, UtcTime};
use serde::Deserialize;

use crate::budget::Budget;
use crate::cause::{Cause, CauseModel, Evidence};
use crate::label::{Causes, Object, Rule, find_objects};
use crate::topsoil::{Topsoil, TopsoilParams};
use crate::trace::{n_outline_edges, outline};
use crate::{Error, Result, SiteParams};

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
    /// Pixels that touch are of one object if their alerts are at most so far apart. Days.
    pub join_days: i32,
    /// Least probability of a pit at which an object of excavation is reported, 0 to 1.
    pub report_probability: f64,
    /// Least probability of a pit at which an object of excavation is confirmed, 0 to 1.
    pub confirm_probability: f64,
    /// Probability of a pit below which a confirmation is taken back, 0 to 1.
    pub retract_probability: f64,
    /// Probability of an alert of cleared ground, 0 to 1: the share of such alerts that were true where truth is known.
    pub probability_cleared: f64,
    /// What the states of a site are told apart by.
    pub states: SiteParams,
    /// How the topsoil around an object is told.
    pub topsoil: TopsoilParams,
    /// The model of causes.
    pub causes: CauseModel,
    /// Where the user bounds the number of false alerts; it takes the place of `report_probability`.
    pub budget: Option<Budget>,
}

impl Params {
    fn rule(&self, kind: Kind) -> Rule<'_> {
        Rule {
            join_days: self.join_days,
            mmu_pixels: i64::try_from(self.mmu_pixels(kind)).unwrap_or(i64::MAX),
            causes: (kind == Kind::Excavation).then_some(Causes {
                model: &self.causes,
                report: self.report_probability,
                confirm: self.confirm_probability,
                retract: self.retract_probability,
            }),
        }
    }

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
    /// The site it belongs to; `None` until [`follow`](crate::follow) has run.
    pub site_id: Option<String>,
    /// The area it was found in.
    pub area_id: String,
    /// Cleared or excavation.
    pub kind: Kind,
    /// Provisional or confirmed.
    pub tier: Tier,
    /// What brought it about.
    pub cause: Cause,
    /// Probability that it is what its kind says, 0 to 1: of excavation that it is a pit.
    pub probability: f64,
    /// What speaks for its causes; `None` for cleared ground.
    pub evidence: Option<Evidence>,
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
    /// The look at which the object was first reported: as many connected pixels as the minimum mapping unit, a core pixel
    /// among them, had their evidence complete, and, of excavation, its probability of a pit was high enough.
    pub alert_datetime: UtcTime,
    /// The look at which it was confirmed, after a confirmation that was taken back that of the next; `None` = provisional.
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
    /// For each pixel, whether it has greened with a green season since.
    pub pixel_has_greened: Vec<bool>,
    /// Outline exact on pixel edges, in meters of the area's reference system; see [`outline`](crate::outline).
    pub outline: MultiPolygon<f64>,
    /// The outline in longitude and latitude, WGS 84 degrees, vertex by vertex; exteriors counter-clockwise.
    pub outline_lonlat: MultiPolygon<f64>,
}

/// An alert, or the confirmation of one, that later looks took back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retraction {
    /// The alert's name; it may stand again among the alerts if its confirmation alone was taken back.
    pub alert_id: String,
    /// The area it was found in.
    pub area_id: String,
    /// Cleared or excavation.
    pub kind: Kind,
    /// The look at which it was reported.
    pub alert_datetime: UtcTime,
    /// The look at which it had been confirmed; `None` = it was provisional.
    pub confirmed_datetime: Option<UtcTime>,
    /// The look at which it was taken back.
    pub retracted_datetime: UtcTime,
    /// True if the alert itself was taken back, false if its confirmation alone.
    pub is_alert: bool,
    /// The pixel that gave the alert its name.
    pub first_pixel: LatticePixel,
}

/// What was found in an area.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The alerts that stand, by `alert_id`.
    pub alerts: Vec<Alert>,
    /// What was said and taken back, by `alert_id` and time.
    pub retractions: Vec<Retraction>,
}

/// The alerts of an area, by `alert_id`.
///
/// Pixels of one kind that share an edge or a corner and alerted at most [`Params::join_days`] apart are one object. An
/// object is an alert if by some look at least as many of its pixels as the minimum mapping unit, one of them a core
/// pixel, stood, and, of excavation, its probability of a pit was at least [`Params::report_probability`]; the rest are
/// no alert. What an alert says of a look rests on nothing that came later; what was taken back is listed.
///
/// - `geobox`: the area's; gives the lattice, the reference system and the pixel size.
/// - `looks`: acquisition times of the area's time axis, ascending; findings refer to places in it.
/// - `pixels`: the findings of the whole area, from all cells and in any order.
/// - `topsoil`: the area's, from all cells.
///
/// # Errors
///
/// If a finding refers to a look that is not in `looks`, a pixel has two findings that stand, a number of `params.topsoil` is out of
/// its range, or an outline cannot be brought to longitude and latitude.
pub fn find_alerts(
    area_id: &str,
    geobox: &GeoBox,
    looks: &[UtcTime],
    pixels: &[ChangedPixel],
    topsoil: &Topsoil,
    params: &Params,
) -> Result<Found> {
    check(pixels, looks.len())?;
    params.topsoil.check()?;
    params.causes.check()?;
    let places = pixels.iter().map(|pixel| pixel.at);
    let around = topsoil.around(places, geobox.resolution_m(), &params.topsoil);
    let mut of_kind: BTreeMap<Kind, Vec<&ChangedPixel>> = BTreeMap::new();
    for pixel in pixels {
        of_kind.entry(pixel.finding.kind).or_default().push(pixel);
    }
    let days: Vec<i32> = looks.iter().map(|&time| Day::of(time).0).collect();
    let mut found = Found::default();
    for (kind, mut pixels) in of_kind {
        pixels.sort_unstable_by_key(|pixel| (pixel.at, pixel.finding.alert_look));
        let (objects, taken_back) = find_objects(&pixels, &days, &around, params.rule(kind));
        let time = |look: u32| looks[look as usize];
        for back in taken_back {
            let alert_datetime = time(back.raised.look);
            found.retractions.push(Retraction {
                alert_id: alert_id(area_id, alert_datetime, back.raised.first.1),
                area_id: area_id.to_owned(),
                kind,
                alert_datetime,
                confirmed_datetime: back.confirmed_look.map(time),
                retracted_datetime: time(back.look),
                is_alert: back.is_alert,
                first_pixel: back.raised.first.1,
            });
        }
        for object in objects {
            let members: Vec<ChangedPixel> =
                object.members.iter().map(|&index| *pixels[index]).collect();
            found.alerts.push(describe(
                area_id, geobox, looks, kind, &object, &members, params,
            )?);
        }
    }
    found.alerts.sort_by(|a, b| a.alert_id.cmp(&b.alert_id));
    found.retractions.sort();
    Ok(found)
}

fn alert_id(area_id: &str, alert_datetime: UtcTime, first_pixel: LatticePixel) -> String {
    format!(
        "{area_id}-{}-{}",
        alert_datetime.format("%Y%m%d"),
        lattice_name(first_pixel)
    )
}

fn check(pixels: &[ChangedPixel], n_looks: usize) -> Result<()> {
    let mut places: Vec<LatticePixel> = pixels
        .iter()
        .filter(|pixel| pixel.finding.retracted_look.is_none())
        .map(|pixel| pixel.at)
        .collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
        let LatticePixel { row, col } = pair[0];
        return Err(Error::DuplicatePixel { row, col });
    }
    for ChangedPixel { at, finding, .. } in pixels {
        let looks = [
            Some(finding.alert_look),
            finding.confirmed_look,
            finding.retracted_look,
            finding.greened_look,
            finding.stayed_bare_look,
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

    // The ground at the confirmation where there was one.
    let of_ground = |value: &dyn Fn(&Ground) -> f32| {
        median(
            members
                .iter()
                .map(|pixel| value(&pixel.finding.at_confirmation)),
        )
    };
    Ok(Alert {
        alert_id: alert_id(area_id, alert_datetime, first_pixel),
        site_id: None,
        area_id: area_id.to_owned(),
        kind,
        tier: if object.confirmed_look.is_some() {
            Tier::Confirmed
        } else {
            Tier::Provisional
        },
        cause: object
            .evidence
            .map_or(Cause::Unknown, |evidence| evidence.cause()),
        probability: object
            .evidence
            .map_or(params.probability_cleared, |evidence| evidence.pit()),
        evidence: object.evidence,
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
        ndvi_before: of_ground(&|ground| ground.ndvi_before),
        ndvi_after: of_ground(&|ground| ground.ndvi_after),
        bsi_before: of_ground(&|ground| ground.bsi_before),
        bsi_after: of_ground(&|ground| ground.bsi_after),
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
        pixel_has_greened: members
            .iter()
            .map(|pixel| pixel.finding.greened_look.is_some())
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
    use pitwatch_change::{Finding, Ground, Soil};
    use pitwatch_grid::{Crs, Shape, parse_time};
    use proptest::prelude::*;

    use super::*;
    use crate::cause::Weights;

    /// With causes that weigh nothing: every object is a pit.
    pub(crate) fn params() -> Params {
        let nothing = Weights::of_intercept(-20.0);
        Params {
            mmu_excavation_pixels: 3,
            mmu_cleared_pixels: 3,
            site_distance_m: 50.0,
            join_days: 1000,
            report_probability: 0.1,
            confirm_probability: 0.5,
            retract_probability: 0.25,
            probability_cleared: 0.5,
            states: SiteParams {
                new_days: 10,
                growing_days: 10,
                growing_share: 0.1,
                dormant_days: 365,
                revegetating_share: 0.5,
            },
            topsoil: TopsoilParams {
                distance_m: 100.0,
                noise: 0.1,
                half_trust_pixels: 1.0,
            },
            causes: CauseModel::alike(nothing),
            budget: None,
        }
    }

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
                core_look: Some(0),
                ..Finding::new(
                    Kind::Excavation,
                    alert_look,
                    (alert_look.saturating_sub(2), alert_look.saturating_sub(1)),
                    Ground {
                        ndvi_before: 0.6,
                        ndvi_after: 0.1,
                        bsi_before: -0.1,
                        bsi_after: 0.2,
                        red: 0.2,
                        red_over_swir16: 0.6,
                        ..Ground::default()
                    },
                )
            },
            n_clear_history: 60,
            n_clear: 12,
        }
    }

    pub(crate) fn find(pixels: &[ChangedPixel]) -> Vec<Alert> {
        find_all(pixels).0
    }

    pub(crate) fn find_all(pixels: &[ChangedPixel]) -> (Vec<Alert>, Vec<Retraction>) {
        let found = try_find(pixels, &params()).unwrap();
        (found.alerts, found.retractions)
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
    fn confirmation_of_cleared_ground_waits_for_as_many_pixels_as_the_minimum_mapping_unit() {
        let mut pixels = [
            pixel(0, 0, 2),
            pixel(0, 1, 2),
            pixel(0, 2, 2),
            pixel(0, 3, 2),
        ];
        for pixel in &mut pixels {
            pixel.finding.kind = Kind::Cleared;
        }
        pixels[0].finding.confirmed_look = Some(4);
        pixels[1].finding.confirmed_look = Some(6);
        assert_eq!(find(&pixels)[0].tier, Tier::Provisional);
        pixels[3].finding.confirmed_look = Some(5);
        let alert = &find(&pixels)[0];
        assert_eq!(alert.tier, Tier::Confirmed);
        assert_eq!(alert.confirmed_datetime, Some(looks()[6]));
    }

    /// Three pixels that alert at the second look and persist from the fifth.
    fn persistent() -> [ChangedPixel; 3] {
        [0, 1, 2].map(|col| {
            let mut pixel = pixel(0, col, 2);
            pixel.finding.confirmed_look = Some(5);
            pixel
        })
    }

    /// On ground around which no topsoil was seen.
    fn try_find(pixels: &[ChangedPixel], params: &Params) -> Result<Found> {
        find_alerts(
            "area",
            &geobox(),
            &looks(),
            pixels,
            &Topsoil::default(),
            params,
        )
    }

    fn find_with(pixels: &[ChangedPixel], params: &Params) -> Found {
        try_find(pixels, params).unwrap()
    }

    #[test]
    fn how_likely_a_pit_is_decides_whether_it_is_reported_and_confirmed() {
        // The odds of a field against a pit are those of the intercept: P(pit) is 0.88, 0.38 and 0.05.
        let at = |intercept: f64| {
            let mut params = params();
            params.causes.field.intercept = intercept;
            let found = find_with(&persistent(), &params);
            assert_eq!(found.retractions, []);
            found.alerts
        };
        let likely = &at(-2.0)[0];
        assert_eq!((likely.tier, likely.cause), (Tier::Confirmed, Cause::Pit));
        assert_eq!(likely.confirmed_datetime, Some(looks()[5]));
        assert!(
            likely
                .pixel_confirmed_datetimes
                .iter()
                .all(|&time| time == Some(looks()[5]))
        );
        let doubtful = &at(0.5)[0];
        assert_eq!(
            (doubtful.tier, doubtful.cause),
            (Tier::Provisional, Cause::Field)
        );
        assert_eq!(at(3.0), [], "below report_probability");
    }

    #[test]
    fn one_persistent_pixel_confirms_the_pixels_that_stand_with_it() {
        let mut pixels = persistent();
        pixels[1].finding.confirmed_look = None;
        pixels[2].finding.confirmed_look = None;
        let late = {
            let mut late = pixel(0, 3, 6);
            late.finding.confirmed_look = None;
            late
        };
        let alert = &find_with(&[pixels[0], pixels[1], pixels[2], late], &params()).alerts[0];
        let confirmed = Some(looks()[5]);
        assert_eq!(
            alert.pixel_confirmed_datetimes,
            [confirmed, confirmed, confirmed, None]
        );
    }

    #[test]
    fn ground_that_greens_like_a_field_takes_its_confirmation_back() {
        let mut params = params();
        params.causes.field.intercept = -3.0;
        params.causes.field.weights.greenest = 10.0;
        let mut pixels = persistent();
        for pixel in &mut pixels {
            pixel.finding.greener_looks[0] = Some(6);
        }
        let found = find_with(&pixels, &params);
        let (alert, back) = (&found.alerts[0], &found.retractions[0]);
        assert_eq!((alert.tier, alert.cause), (Tier::Provisional, Cause::Field));
        assert!(alert.pixel_confirmed_datetimes.iter().all(Option::is_none));
        assert_eq!(found.retractions.len(), 1);
        assert_eq!((&back.alert_id, back.is_alert), (&alert.alert_id, false));
        assert_eq!(
            (back.confirmed_datetime, back.retracted_datetime),
            (Some(looks()[5]), looks()[6])
        );
    }

    #[test]
    fn an_alert_whose_pixels_go_is_listed_as_taken_back() {
        let mut pixels = persistent();
        for pixel in &mut pixels {
            pixel.finding.confirmed_look = None;
            pixel.finding.retracted_look = Some(4);
        }
        let found = find_with(&pixels, &params());
        assert_eq!(found.alerts, []);
        assert_eq!(found.retractions.len(), 1);
        assert!(found.retractions[0].is_alert);
        assert_eq!(found.retractions[0].retracted_datetime, looks()[4]);
    }

    #[test]
    fn an_object_that_loses_its_middle_falls_apart() {
        let mut pixels: Vec<_> = (0..7).map(|col| pixel(0, col, 2)).collect();
        pixels[3].finding.retracted_look = Some(5);
        let found = find_with(&pixels, &params());
        let ids: Vec<_> = found
            .alerts
            .iter()
            .map(|alert| (alert.alert_id.as_str(), alert.pixels.len()))
            .collect();
        assert_eq!(
            ids,
            [
                ("area-20230509-N98500E20500", 3),
                ("area-20230509-N98500E20504", 3)
            ]
        );
        assert!(
            found
                .alerts
                .iter()
                .all(|alert| alert.alert_datetime == looks()[2])
        );
        // One that is too small by itself is taken back.
        let found = find_with(&pixels[..6], &params());
        assert_eq!((found.alerts.len(), found.retractions.len()), (1, 1));
        assert_eq!(found.retractions[0].alert_id, "area-20230509-N98500E20504");
        assert_eq!(found.retractions[0].retracted_datetime, looks()[5]);
    }

    #[test]
    fn no_two_parts_of_an_object_have_one_name() {
        let retracted = |mut pixel: ChangedPixel, look| {
            pixel.finding.retracted_look = Some(look);
            pixel
        };
        // The object is named by a pixel that is taken back, alerts again, and is then in the part that is another object.
        let pixels = [
            retracted(pixel(1, 4, 0), 3),
            pixel(0, 0, 1),
            pixel(0, 1, 1),
            pixel(0, 2, 1),
            retracted(pixel(0, 3, 1), 6),
            pixel(1, 4, 4),
            pixel(2, 5, 4),
            pixel(2, 6, 4),
        ];
        let alerts = find(&pixels);
        let names: Vec<_> = alerts
            .iter()
            .map(|alert| (alert.alert_id.as_str(), alert.pixels.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("area-20230506-N98498E20505", 3),
                ("area-20230506-N98499E20504", 3)
            ]
        );
    }

    #[test]
    fn what_is_dug_beside_an_old_pit_is_another_alert() {
        // Looks are three days apart.
        let pixels: Vec<_> = (0..6)
            .map(|col| pixel(0, col, if col < 3 { 1 } else { 6 }))
            .collect();
        let n_alerts = |join_days: i32| {
            find_with(
                &pixels,
                &Params {
                    join_days,
                    ..params()
                },
            )
            .alerts
            .len()
        };
        assert_eq!((n_alerts(14), n_alerts(15)), (2, 1));
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
            ..params()
        };
        let alerts = try_find(&[pixel(0, 0, 3)], &params).unwrap().alerts;
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

    /// Three pixels on the soil that the fields around show, and on another one.
    #[test]
    fn ground_that_is_like_the_topsoil_around_is_likelier_a_field() {
        let mut params = params();
        params.causes.field.intercept = 1.0;
        params.causes.field.weights.topsoil_distance = -2.0;
        params.report_probability = 0.0;
        let pixels = [0, 1, 2].map(|col| {
            let mut pixel = pixel(0, col, 2);
            pixel.finding.at_alert.blue_over_red = 0.5;
            pixel
        });
        let weighed = |topsoil: &Topsoil| {
            let found = find_alerts("area", &geobox(), &looks(), &pixels, topsoil, &params);
            found.unwrap().alerts[0].evidence.unwrap()
        };
        let around = |red: f32| {
            let mut topsoil = Topsoil::default();
            let soil = Soil {
                red: red.ln(),
                red_over_swir16: 0.6_f32.ln(),
                blue_over_red: 0.5_f32.ln(),
                swir22_over_swir16: 0.0,
            };
            for col in 0..20 {
                topsoil.add(pixel(9, col, 2).at, &soil);
            }
            topsoil
        };
        let [same, other, unknown] =
            [around(0.2), around(0.05), Topsoil::default()].map(|topsoil| weighed(&topsoil));
        assert!(same.features.topsoil_distance < 0.01 && same.topsoil_trust > 0.5);
        assert!(other.features.topsoil_red_change > 0.5);
        assert!(
            other.pit() > 2.0 * same.pit(),
            "{} {}",
            other.pit(),
            same.pit()
        );
        assert_eq!(
            (unknown.topsoil_trust, unknown.features.topsoil_distance),
            (0.0, 0.0)
        );
    }

    #[test]
    fn a_topsoil_that_cannot_be_told_is_refused() {
        for distance_m in [0.0, f64::NAN, f64::INFINITY] {
            let mut params = params();
            params.topsoil.distance_m = distance_m;
            let error = try_find(&[pixel(0, 0, 3)], &params)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("distance_m is"), "{error}");
        }
    }

    #[test]
    fn cells_that_overlap_and_looks_that_do_not_exist_are_refused() {
        let refused =
            |pixels: &[ChangedPixel]| try_find(pixels, &params()).unwrap_err().to_string();
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

    /// Findings in a 9 × 9 patch with any looks, kinds and core marks; some pixels were taken back, some of these alerted again.
    pub(crate) fn any_pixels() -> impl Strategy<Value = Vec<ChangedPixel>> {
        let any_pixel = (
            prop::bool::weighted(0.5),
            prop::bool::weighted(0.8),
            prop::bool::ANY,
            0u32..8,
            prop::option::of(0u32..8),
            0.0f32..1.0,
            prop::option::weighted(0.3, 1u32..8),
            prop::option::weighted(0.3, 0u32..8),
        );
        prop::collection::vec(any_pixel, 81).prop_map(|marks| {
            let mut pixels = Vec::new();
            for (index, mark) in marks.into_iter().enumerate() {
                let (exists, is_excavation, is_core, look, confirmed, red, retracted, greened) =
                    mark;
                if !exists {
                    continue;
                }
                let mut pixel = pixel(index as i64 / 9, index as i64 % 9, look);
                pixel.finding.core_look = is_core.then_some(look);
                pixel.finding.confirmed_look = confirmed.filter(|&other| other >= look);
                pixel.finding.at_alert.red = red;
                pixel.finding.at_confirmation.red = 1.0 - red;
                if is_excavation {
                    let greened = greened.filter(|&other| other >= look);
                    pixel.finding.greened_look = greened;
                    pixel.finding.greener_looks[0] = greened;
                } else {
                    pixel.finding.kind = Kind::Cleared;
                }
                pixels.push(pixel);
                let Some(retracted) = retracted.filter(|&other| is_excavation && other > look)
                else {
                    continue;
                };
                let first = pixels.len() - 1;
                pixels[first].finding.retracted_look = Some(retracted);
                pixels[first].finding.confirmed_look = None;
                if is_core && retracted < 7 {
                    let mut again = pixel;
                    again.finding.alert_look = retracted + 1;
                    again.finding.core_look = Some(retracted + 1);
                    again.finding.confirmed_look = None;
                    again.finding.greened_look = None;
                    again.finding.greener_looks = Default::default();
                    pixels.push(again);
                }
            }
            pixels
        })
    }

    /// With causes that weigh: red ground is a pit, ground that greened a field.
    fn weighing() -> Params {
        let mut params = params();
        params.causes.field.intercept = 1.0;
        params.causes.field.weights.red_spread = -2.0;
        params.causes.field.weights.greenest = 4.0;
        params.causes.field.weights.size = -0.5;
        params.report_probability = 0.2;
        params
    }

    /// What was known of the findings at a look.
    fn known_at(pixels: &[ChangedPixel], now: u32) -> Vec<ChangedPixel> {
        let known = |look: Option<u32>| look.filter(|&look| look <= now);
        pixels
            .iter()
            .copied()
            .filter(|pixel| pixel.finding.alert_look <= now)
            .map(|mut pixel| {
                let finding = &mut pixel.finding;
                finding.confirmed_look = known(finding.confirmed_look);
                finding.retracted_look = known(finding.retracted_look);
                finding.greened_look = known(finding.greened_look);
                finding.greener_looks = finding.greener_looks.map(known);
                finding.core_look = known(finding.core_look);
                if finding.confirmed_look.is_none() {
                    finding.at_confirmation = finding.at_alert;
                }
                pixel
            })
            .collect()
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
                let mut reached = vec![alert.pixels[0]];
                let mut next = 0;
                while let Some(&at) = reached.get(next) {
                    next += 1;
                    for &pixel in &alert.pixels {
                        let touches = (pixel.row - at.row).abs() <= 1 && (pixel.col - at.col).abs() <= 1;
                        if touches && !reached.contains(&pixel) {
                            reached.push(pixel);
                        }
                    }
                }
                prop_assert_eq!(reached.len(), alert.pixels.len(), "an alert is one connected object");
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

        /// Each date of the full run up to a look is in the run up to that look, and each date of that run is in the full
        /// run or was taken back, and then the retraction is listed.
        #[test]
        fn what_is_said_of_a_look_rests_on_nothing_later(pixels in any_pixels(), now in 0u32..8) {
            let found = |pixels: &[ChangedPixel]| try_find(pixels, &weighing()).unwrap();
            let full = found(&pixels);
            let then = found(&known_at(&pixels, now));
            let now = looks()[now as usize];
            let dates = |found: &Found| {
                let mut dates = BTreeMap::new();
                for alert in &found.alerts {
                    for (k, &pixel) in alert.pixels.iter().enumerate() {
                        let confirmed = alert.pixel_confirmed_datetimes[k].filter(|&time| time <= now);
                        if alert.pixel_alert_datetimes[k] <= now {
                            dates.insert((alert.kind, pixel), (alert.pixel_alert_datetimes[k], confirmed));
                        }
                    }
                }
                dates
            };
            let (later, earlier) = (dates(&full), dates(&then));
            for (place, (alert, confirmed)) in &later {
                let Some((alert_then, confirmed_then)) = earlier.get(place) else {
                    return Err(TestCaseError::fail(format!("{place:?} alerted on {alert} with hindsight")));
                };
                prop_assert_eq!(alert, alert_then);
                prop_assert!(confirmed.is_none() || confirmed == confirmed_then, "{:?} {:?} {:?}", place, confirmed, confirmed_then);
            }
            for alert in &then.alerts {
                let was_taken_back = full.retractions.iter().any(|back| back.retracted_datetime > now);
                for (k, &pixel) in alert.pixels.iter().enumerate() {
                    let has_vanished = !later.contains_key(&(alert.kind, pixel));
                    let pixel_was_taken_back = pixels.iter().any(|other| other.at == pixel && other.finding.retracted_look.is_some());
                    prop_assert!(!has_vanished || pixel_was_taken_back || was_taken_back);
                    let confirmed = alert.pixel_confirmed_datetimes[k];
                    let still = later.get(&(alert.kind, pixel)).and_then(|&(_, confirmed)| confirmed);
                    prop_assert!(confirmed == still || pixel_was_taken_back || was_taken_back);
                }
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
