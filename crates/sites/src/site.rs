use std::collections::BTreeMap;

use geo::MultiPolygon;
use pitwatch_change::Kind;
use pitwatch_grid::{GeoBox, LatticePixel, UtcTime};

use crate::alert::{lattice_name, to_lonlat};
use crate::label::{Connectivity, UnionFind, neighbors};
use crate::trace::outline;
use crate::{Alert, Error, Params, Result, Tier};

/// Where a site is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteState {
    /// All its alerts come from one look.
    New,
    /// Its alerts come from more than one look.
    Active,
}

/// The place that alerts close to one another belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Area and lattice coordinate of the first pixel of its earliest alert: `seguela-site-N98490E20520`.
    pub site_id: String,
    /// The area it lies in.
    pub area_id: String,
    /// New or active.
    pub state: SiteState,
    /// Excavation if any of its alerts is excavation, else cleared.
    pub kind: Kind,
    /// Confirmed if any of its alerts of that kind is.
    pub tier: Tier,
    /// How many alerts belong to it.
    pub n_alerts: usize,
    /// Sum of the areas of its alerts of excavation, in hectares.
    pub excavation_area_ha: f64,
    /// Sum of the areas of its alerts of cleared ground, in hectares.
    pub cleared_area_ha: f64,
    /// The earliest `start_datetime` of its alerts.
    pub start_datetime: UtcTime,
    /// The latest `end_datetime` of its alerts.
    pub end_datetime: UtcTime,
    /// The earliest `alert_datetime` of its alerts.
    pub first_alert_datetime: UtcTime,
    /// The latest `alert_datetime` of its alerts.
    pub last_alert_datetime: UtcTime,
    /// The ids of its alerts, ascending.
    pub alert_ids: Vec<String>,
    /// The outline of the pixels of all its alerts together, in meters of the area's reference system.
    pub outline: MultiPolygon<f64>,
    /// The same in longitude and latitude, WGS 84 degrees; exteriors counter-clockwise.
    pub outline_lonlat: MultiPolygon<f64>,
}

/// Gives each alert of an area its site, and returns the sites by `site_id`.
///
/// Two alerts, of whatever kind, belong to one site if the gap between their outlines is at most `site_distance_m`, or if
/// a chain of such alerts links them.
///
/// - `geobox`: the area's, as it was given to [`find_alerts`](crate::find_alerts).
/// - `alerts`: all alerts of the area, in any order; their `site_id` is set.
///
/// # Errors
///
/// If `site_distance_m` is negative or not finite, or an outline cannot be brought to longitude and latitude.
pub fn find_sites(geobox: &GeoBox, alerts: &mut [Alert], params: &Params) -> Result<Vec<Site>> {
    let distance_m = params.site_distance_m;
    if !(distance_m.is_finite() && distance_m >= 0.0) {
        return Err(Error::InvalidSiteDistance { distance_m });
    }
    let roots = link(alerts, distance_m / geobox.resolution_m());
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (alert, &root) in roots.iter().enumerate() {
        groups.entry(root).or_default().push(alert);
    }
    let mut sites = Vec::with_capacity(groups.len());
    for mut group in groups.into_values() {
        group.sort_by(|&a, &b| alerts[a].alert_id.cmp(&alerts[b].alert_id));
        let site = describe(geobox, alerts, &group)?;
        for alert in group {
            alerts[alert].site_id = Some(site.site_id.clone());
        }
        sites.push(site);
    }
    sites.sort_by(|a, b| a.site_id.cmp(&b.site_id));
    Ok(sites)
}

/// The edge pixels in a block, by alert.
type Block = Vec<(usize, Vec<LatticePixel>)>;

/// For each alert the smallest place of the alerts it is linked to.
///
/// - `distance`: largest gap between two outlines, in pixels.
fn link(alerts: &[Alert], distance: f64) -> Vec<usize> {
    // A gap of d pixels lies between pixels at most ⌊d⌋ + 1 rows or columns apart, so with blocks of that side only
    // neighboring blocks can hold them.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest integer, halved so that sums stay in range"
    )]
    let side = (distance.floor() as i64).min(i64::MAX / 2) + 1;
    let mut blocks: BTreeMap<(i64, i64), Block> = BTreeMap::new();
    for (alert, edge) in alerts.iter().map(edge_pixels).enumerate() {
        for pixel in edge {
            let block = blocks
                .entry((pixel.row.div_euclid(side), pixel.col.div_euclid(side)))
                .or_default();
            match block.last_mut() {
                Some((last, pixels)) if *last == alert => pixels.push(pixel),
                _ => block.push((alert, vec![pixel])),
            }
        }
    }
    let mut sets = UnionFind::new(alerts.len());
    for (&(row, col), here) in &blocks {
        // The other four neighbors meet this block when it is their turn.
        for (down, right) in [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)] {
            let Some(there) = blocks.get(&(row + down, col + right)) else {
                continue;
            };
            for (a, pixels_a) in here {
                for (b, pixels_b) in there {
                    let (root_a, root_b) = (sets.root(*a), sets.root(*b));
                    if root_a != root_b && are_within(pixels_a, pixels_b, distance) {
                        sets.join(root_a, root_b);
                    }
                }
            }
        }
    }
    (0..alerts.len()).map(|alert| sets.root(alert)).collect()
}

/// The pixels of an alert that lie along its outline; the gap to another alert is that between two of them.
fn edge_pixels(alert: &Alert) -> Vec<LatticePixel> {
    (0..alert.pixels.len())
        .filter(|&index| neighbors(&alert.pixels, index, Connectivity::Four).count() < 4)
        .map(|index| alert.pixels[index])
        .collect()
}

/// True if any two pixels are at most `distance` pixels apart, edge to edge.
fn are_within(a: &[LatticePixel], b: &[LatticePixel], distance: f64) -> bool {
    let gap = |a: i64, b: i64| (a.abs_diff(b).saturating_sub(1)) as f64;
    a.iter().any(|a| {
        b.iter()
            .any(|b| gap(a.row, b.row).hypot(gap(a.col, b.col)) <= distance)
    })
}

/// - `group`: places of the site's alerts, at least one, by `alert_id`.
fn describe(geobox: &GeoBox, alerts: &[Alert], group: &[usize]) -> Result<Site> {
    let members: Vec<&Alert> = group.iter().map(|&alert| &alerts[alert]).collect();
    let earliest = members.iter().fold(members[0], |earliest, alert| {
        let age = |alert: &Alert| (alert.alert_datetime, alert.first_pixel);
        if age(alert) < age(earliest) {
            alert
        } else {
            earliest
        }
    });
    let of_kind = |kind| members.iter().filter(move |alert| alert.kind == kind);
    let kind = if of_kind(Kind::Excavation).next().is_some() {
        Kind::Excavation
    } else {
        Kind::Cleared
    };
    let is_confirmed = of_kind(kind).any(|alert| alert.tier == Tier::Confirmed);
    let last_alert_datetime = members
        .iter()
        .map(|alert| alert.alert_datetime)
        .fold(earliest.alert_datetime, Ord::max);
    // Alerts of two kinds may share edges, which side by side would make no valid geometry.
    let mut pixels: Vec<LatticePixel> = members
        .iter()
        .flat_map(|alert| alert.pixels.iter().copied())
        .collect();
    pixels.sort_unstable();
    let outline = outline(geobox, &pixels);
    Ok(Site {
        site_id: format!(
            "{}-site-{}",
            earliest.area_id,
            lattice_name(earliest.first_pixel)
        ),
        area_id: earliest.area_id.clone(),
        state: if last_alert_datetime == earliest.alert_datetime {
            SiteState::New
        } else {
            SiteState::Active
        },
        kind,
        tier: if is_confirmed {
            Tier::Confirmed
        } else {
            Tier::Provisional
        },
        n_alerts: members.len(),
        excavation_area_ha: of_kind(Kind::Excavation).map(|alert| alert.area_ha).sum(),
        cleared_area_ha: of_kind(Kind::Cleared).map(|alert| alert.area_ha).sum(),
        start_datetime: members
            .iter()
            .map(|alert| alert.start_datetime)
            .fold(earliest.start_datetime, Ord::min),
        end_datetime: members
            .iter()
            .map(|alert| alert.end_datetime)
            .fold(earliest.end_datetime, Ord::max),
        first_alert_datetime: earliest.alert_datetime,
        last_alert_datetime,
        alert_ids: members.iter().map(|alert| alert.alert_id.clone()).collect(),
        outline_lonlat: to_lonlat(geobox, &outline)?,
        outline,
    })
}

#[cfg(test)]
mod tests {
    use geo::{Area, Validation};
    use proptest::prelude::*;

    use super::*;
    use crate::alert::tests::{any_pixels, find, geobox, params, pixel};

    fn sites(alerts: &mut [Alert]) -> Vec<Site> {
        find_sites(&geobox(), alerts, &params()).unwrap()
    }

    fn three(row: i64, col: i64, look: u32) -> [pitwatch_change::ChangedPixel; 3] {
        [0, 1, 2].map(|right| pixel(row, col + right, look))
    }

    #[test]
    fn alerts_within_the_distance_share_a_site() {
        // Columns 0 to 2 and 8 to 10: five pixels, 50 m, lie between.
        let mut near = find(&[three(0, 0, 3), three(0, 8, 5)].concat());
        let found = sites(&mut near);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].site_id, "area-site-N98500E20500");
        assert_eq!((found[0].n_alerts, found[0].state), (2, SiteState::Active));
        assert!(
            near.iter()
                .all(|alert| alert.site_id.as_ref() == Some(&found[0].site_id))
        );

        let mut far = find(&[three(0, 0, 3), three(0, 9, 5)].concat());
        assert_eq!(sites(&mut far).len(), 2);
        let mut diagonal = find(&[three(0, 0, 3), three(5, 7, 5)].concat());
        assert_eq!(sites(&mut diagonal).len(), 2, "40 m down and 40 m across");
    }

    #[test]
    fn a_chain_of_alerts_is_one_site() {
        let mut alerts = find(&[three(0, 0, 3), three(0, 16, 3), three(0, 8, 6)].concat());
        assert_eq!(sites(&mut alerts).len(), 1);
    }

    #[test]
    fn excavation_names_a_site_that_has_both_kinds() {
        let mut pixels = [three(0, 0, 3), three(1, 0, 3), three(2, 0, 5)].concat();
        for pixel in &mut pixels[..6] {
            pixel.finding.kind = Kind::Cleared;
            pixel.finding.confirmed_look = Some(7);
        }
        let mut alerts = find(&pixels);
        let site = &sites(&mut alerts)[0];
        assert_eq!(
            (site.kind, site.tier),
            (Kind::Excavation, Tier::Provisional)
        );
        assert!((site.cleared_area_ha - 0.06).abs() < 1e-12);
        assert!((site.excavation_area_ha - 0.03).abs() < 1e-12);
        site.outline.check_validation().unwrap();
        assert_eq!(
            site.outline.0.len(),
            1,
            "alerts that touch make one polygon"
        );
    }

    #[test]
    fn a_distance_that_is_no_length_is_refused() {
        for site_distance_m in [f64::NAN, -1.0, f64::INFINITY] {
            let params = Params {
                site_distance_m,
                ..params()
            };
            assert!(find_sites(&geobox(), &mut [], &params).is_err());
        }
    }

    proptest! {
        #[test]
        fn sites_are_those_of_comparing_every_pair(pixels in any_pixels(), site_distance_m in 0.0f64..60.0, spread in 1i64..6) {
            // Spread out, so that gaps of every width occur between patches.
            let lattice = geobox().lattice_origin();
            let pixels: Vec<_> = pixels.into_iter().map(|mut pixel| {
                pixel.at.col += (pixel.at.col - lattice.col) / 3 * spread;
                pixel.at.row += (pixel.at.row - lattice.row) / 4 * spread;
                pixel
            }).collect();
            let mut alerts = find(&pixels);
            let sites = find_sites(&geobox(), &mut alerts, &Params { site_distance_m, ..params() }).unwrap();

            let mut sets = UnionFind::new(alerts.len());
            for a in 0..alerts.len() {
                for b in 0..a {
                    if are_within(&alerts[a].pixels, &alerts[b].pixels, site_distance_m / 10.0) {
                        let (root_a, root_b) = (sets.root(a), sets.root(b));
                        sets.join(root_a, root_b);
                    }
                }
            }
            for a in 0..alerts.len() {
                for b in 0..a {
                    prop_assert_eq!(alerts[a].site_id == alerts[b].site_id, sets.root(a) == sets.root(b));
                }
            }
            let area_ha: f64 = alerts.iter().map(|alert| alert.area_ha).sum();
            let in_sites: f64 = sites.iter().map(|site| site.excavation_area_ha + site.cleared_area_ha).sum();
            prop_assert!((area_ha - in_sites).abs() < 1e-9);
            for site in &sites {
                site.outline.check_validation().unwrap();
                prop_assert!((site.outline.unsigned_area() / 1e4 - site.excavation_area_ha - site.cleared_area_ha).abs() < 1e-9);
            }

            let mut reversed: Vec<_> = find(&pixels).into_iter().rev().collect();
            prop_assert_eq!(find_sites(&geobox(), &mut reversed, &Params { site_distance_m, ..params() }).unwrap(), sites);
        }
    }
}
