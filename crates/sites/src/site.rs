use std::collections::{BTreeMap, BTreeSet};

use geo::MultiPolygon;
use pitwatch_change::Kind;
use pitwatch_grid::{Day, GeoBox, LatticePixel, UtcTime};
use rstar::{AABB, RTree, primitives::GeomWithData, primitives::Rectangle};

use crate::alert::{lattice_name, to_lonlat};
use crate::trace::outline;
use crate::{Alert, Error, Params, Result, Retraction, Tier};

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// Where a site is in its life, as of the last clear look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteState {
    /// Its first alert is at most [`SiteParams::new_days`] old.
    New,
    /// Dug within [`SiteParams::dormant_days`], but not growing.
    Active,
    /// By [`SiteParams::growing_share`] larger than [`SiteParams::growing_days`] ago.
    Growing,
    /// No new ground in the last [`SiteParams::dormant_days`].
    Dormant,
    /// Dormant, and at least [`SiteParams::revegetating_share`] of its ground has greened.
    Revegetating,
    /// Dug again within [`SiteParams::dormant_days`], after a pause that was longer.
    Reopened,
}

/// What the states of a site are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteParams {
    /// A site is new for so long after its first alert. Days.
    pub new_days: i32,
    /// Growth is what was added in so long. Days.
    pub growing_days: i32,
    /// A site grows if that is at least this share of what it was before.
    pub growing_share: f64,
    /// A site without new ground for longer is dormant. Days.
    pub dormant_days: i32,
    /// A dormant site is revegetating if at least this share of its pixels has greened with a green season.
    pub revegetating_share: f64,
}

/// Ground that was dug, or cleared, in one quarter of a year.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Year and quarter, 1 to 4, of the looks that reported it.
    pub quarter: (i32, u8),
    /// Pixels that were new to the site, in hectares.
    pub area_ha: f64,
    /// The same with the edge uncertainty of the alerts it belongs to, in hectares.
    pub area_ha_lo: f64,
    /// The same with the edge uncertainty of the alerts it belongs to, in hectares.
    pub area_ha_hi: f64,
}

/// An alert of an earlier period: what a site is made of beside the alerts of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub alert_id: String,
    /// Cleared or excavation.
    pub kind: Kind,
    /// Provisional or confirmed.
    pub tier: Tier,
    /// The pixel that gave it its name.
    pub first_pixel: LatticePixel,
    /// Area, in hectares, with its interval.
    pub area_ha: [f64; 3],
    /// As of [`Alert::start_datetime`].
    pub start_datetime: UtcTime,
    /// As of [`Alert::end_datetime`].
    pub end_datetime: UtcTime,
    /// As of [`Alert::alert_datetime`].
    pub alert_datetime: UtcTime,
    /// True if it was taken back: then it holds together what it linked until then, and adds no ground.
    pub is_retracted: bool,
    /// Its pixels on the area's lattice, and the day on which each was reported.
    pub pixels: Vec<(LatticePixel, Day)>,
}

/// The place that alerts close to one another belong to, followed through the years.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Area and lattice coordinate of the first pixel of the earliest alert it ever had: `seguela-site-N98490E20520`.
    pub site_id: String,
    /// The area it lies in.
    pub area_id: String,
    /// Where it is in its life.
    pub state: SiteState,
    /// Excavation if any of its alerts is excavation, else cleared.
    pub kind: Kind,
    /// Confirmed if any of its alerts of that kind is.
    pub tier: Tier,
    /// How many alerts belong to it, those of earlier periods with them.
    pub n_alerts: usize,
    /// Ground that any of its alerts of excavation covers, in hectares.
    pub excavation_area_ha: f64,
    /// Ground that only alerts of cleared ground cover, in hectares.
    pub cleared_area_ha: f64,
    /// The earliest `start_datetime` of its alerts.
    pub start_datetime: UtcTime,
    /// The latest `end_datetime` of its alerts.
    pub end_datetime: UtcTime,
    /// The earliest `alert_datetime` of its alerts.
    pub first_alert_datetime: UtcTime,
    /// The latest `alert_datetime` of its alerts.
    pub last_alert_datetime: UtcTime,
    /// The day on which new ground was last reported.
    pub last_growth: Day,
    /// The last day on which any of its ground was seen clearly; `None` if the run did not see it.
    pub last_clear: Option<Day>,
    /// New ground by quarter, ascending: of excavation where there is any, else of cleared ground.
    pub growth: Vec<Growth>,
    /// Names of sites that grew into this one, ascending.
    pub merged_from: Vec<String>,
    /// The site it was part of, until what linked them was taken back.
    pub split_from: Option<String>,
    /// The ids of its alerts, ascending.
    pub alert_ids: Vec<String>,
    /// What lies around it, as far as whoever reads areas and places knows; [`follow`] leaves it empty.
    pub surroundings: Surroundings,
    /// The outline of the pixels of all its alerts together, in meters of the area's reference system.
    pub outline: MultiPolygon<f64>,
    /// The same in longitude and latitude, WGS 84 degrees; exteriors counter-clockwise.
    pub outline_lonlat: MultiPolygon<f64>,
}

/// What lies around a site.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// Name of the area.
    pub area_name: Option<String>,
    /// The country.
    pub country: Option<String>,
    /// The nearest village that is known.
    pub village: Option<Nearest>,
    /// The nearest river that is known.
    pub river: Option<Nearest>,
}

/// A named place and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Its name.
    pub name: String,
    /// From the outline of the site to it, in kilometers; 0 if it lies within.
    pub distance_km: f64,
}

/// Gives each alert of an area its site, and returns the sites by `site_id`.
///
/// Two alerts, of whatever kind, belong to one site if the gap between their outlines is at most `site_distance_m`, or if
/// a chain of such alerts links them. The alerts are followed day by day, pixel by pixel:
///
/// - An alert begins a site, named after its first pixel.
/// - When sites come within the distance, the one whose first alert is older keeps its name; the others are in its
///   `merged_from`, unless they were as new as that day.
/// - What was linked by an alert that is then taken back parts again. The part with the oldest alert keeps the name, the
///   others are named after their own oldest alerts and say where they came from.
/// - A site whose oldest alert is taken back keeps its name while any other stands.
///
/// So the result is a function of its arguments alone, whatever runs were made before.
///
/// - `geobox`: the area's, as it was given to [`find_alerts`](crate::find_alerts).
/// - `known`: alerts of earlier periods, in any order; an `alert_id` that is among `alerts` or `retractions` too is left out.
/// - `alerts`: all alerts of the run, in any order; their `site_id` is set.
/// - `retractions`: of the run; those of alerts, not of confirmations alone, hold sites together until their day.
/// - `last_clear`: of pixels of sites, the last day on which they were seen clearly; a pixel may be missing.
///
/// # Errors
///
/// If `site_distance_m` is negative or not finite, or an outline cannot be brought to longitude and latitude.
pub fn follow(
    area_id: &str,
    geobox: &GeoBox,
    known: &[Known],
    alerts: &mut [Alert],
    retractions: &[Retraction],
    last_clear: &BTreeMap<LatticePixel, Day>,
    params: &Params,
) -> Result<Vec<Site>> {
    let distance_m = params.site_distance_m;
    if !(distance_m.is_finite() && distance_m >= 0.0) {
        return Err(Error::InvalidSiteDistance { distance_m });
    }
    let nodes = nodes(known, alerts, retractions);
    let edges = edges(&nodes, distance_m / geobox.resolution_m());
    let places = Follower::run(&nodes, &edges);
    let mut sites = Vec::new();
    let mut owners = Vec::new();
    for place in places {
        let Some(site) = describe(geobox, area_id, &nodes, &place, last_clear, params)? else {
            continue;
        };
        owners.extend(
            place
                .members
                .iter()
                .filter_map(|&index| match nodes[index].of {
                    Of::Alert(_, alert) => Some((alert, site.site_id.clone())),
                    _ => None,
                }),
        );
        sites.push(site);
    }
    drop(nodes);
    for (index, site_id) in owners {
        alerts[index].site_id = Some(site_id);
    }
    sites.sort_by(|a, b| a.site_id.cmp(&b.site_id));
    Ok(sites)
}

/// What a node is made of.
enum Of<'a> {
    Alert(&'a Alert, usize),
    Known(&'a Known),
    Retraction,
}

/// An alert that stands, stood in an earlier period, or was taken back.
struct Node<'a> {
    first_pixel: LatticePixel,
    from: Day,
    /// The day on which it was taken back.
    until: Option<Day>,
    /// By row and column, and the day on which each was reported.
    pixels: Vec<(LatticePixel, Day)>,
    of: Of<'a>,
}

impl Node<'_> {
    /// Its age: of two, the smaller is older.
    fn age(&self) -> (Day, LatticePixel) {
        (self.from, self.first_pixel)
    }

    /// The rectangle of its pixels: first and last row, first and last column.
    fn bounds(&self) -> ([i64; 2], [i64; 2]) {
        let mut bounds = ([i64::MAX, i64::MAX], [i64::MIN, i64::MIN]);
        for (pixel, _) in &self.pixels {
            bounds.0 = [bounds.0[0].min(pixel.row), bounds.0[1].min(pixel.col)];
            bounds.1 = [bounds.1[0].max(pixel.row), bounds.1[1].max(pixel.col)];
        }
        bounds
    }

    fn kind(&self) -> Option<Kind> {
        match self.of {
            Of::Alert(alert, _) => Some(alert.kind),
            Of::Known(known) => Some(known.kind),
            Of::Retraction => None,
        }
    }
}

fn nodes<'a>(known: &'a [Known], alerts: &'a [Alert], retractions: &[Retraction]) -> Vec<Node<'a>> {
    let mut nodes = Vec::with_capacity(known.len() + alerts.len() + retractions.len());
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (index, alert) in alerts.iter().enumerate() {
        names.insert(&alert.alert_id);
        let days = alert
            .pixel_alert_datetimes
            .iter()
            .map(|&time| Day::of(time));
        nodes.push(Node {
            first_pixel: alert.first_pixel,
            from: Day::of(alert.alert_datetime),
            until: None,
            pixels: alert.pixels.iter().copied().zip(days).collect(),
            of: Of::Alert(alert, index),
        });
    }
    for back in retractions.iter().filter(|back| back.is_alert) {
        let from = Day::of(back.alert_datetime);
        names.insert(&back.alert_id);
        nodes.push(Node {
            first_pixel: back.first_pixel,
            from,
            until: Some(Day::of(back.retracted_datetime)),
            pixels: vec![(back.first_pixel, from)],
            of: Of::Retraction,
        });
    }
    for known in known
        .iter()
        .filter(|known| !names.contains(known.alert_id.as_str()))
    {
        let from = Day::of(known.alert_datetime);
        nodes.push(Node {
            first_pixel: known.first_pixel,
            from,
            until: known.is_retracted.then_some(from),
            pixels: known.pixels.clone(),
            of: Of::Known(known),
        });
    }
    for node in &mut nodes {
        if node.pixels.is_empty() {
            node.pixels.push((node.first_pixel, node.from));
        }
        node.pixels.sort_unstable();
    }
    nodes.sort_by_key(Node::age);
    nodes
}

/// Two nodes whose outlines come within the distance, and the day on which they do.
struct Edge {
    a: usize,
    b: usize,
    from: Day,
}

/// - `distance`: largest gap between two outlines, in pixels.
fn edges(nodes: &[Node<'_>], distance: f64) -> Vec<Edge> {
    // Corners of pixels: a pixel at row r reaches from r to r + 1.
    let envelope = |node: &Node<'_>, margin: f64| {
        let (first, last) = node.bounds();
        AABB::from_corners(
            first.map(|value| value as f64 - margin),
            last.map(|value| value as f64 + 1.0 + margin),
        )
    };
    let tree = RTree::bulk_load(
        nodes
            .iter()
            .enumerate()
            .map(|(index, node)| {
                GeomWithData::new(Rectangle::from_aabb(envelope(node, 0.0)), index)
            })
            .collect(),
    );
    let mut edges = Vec::new();
    for (a, node) in nodes.iter().enumerate() {
        for near in tree.locate_in_envelope_intersecting(&envelope(node, distance)) {
            let b = near.data;
            if b <= a {
                continue;
            }
            if let Some(from) = meeting(node, &nodes[b], distance) {
                edges.push(Edge { a, b, from });
            }
        }
    }
    edges.sort_by_key(|edge| (edge.from, edge.a, edge.b));
    edges
}

/// The first day on which two nodes are within a distance of each other.
fn meeting(a: &Node<'_>, b: &Node<'_>, distance: f64) -> Option<Day> {
    let near = |node: &Node<'_>, other: &Node<'_>| {
        let (first, last) = other.bounds();
        let is_near = |value: i64, first: i64, last: i64| {
            let gap = (first - value - 1).max(value - last - 1).max(0);
            gap as f64 <= distance
        };
        node.pixels
            .iter()
            .filter(|(at, _)| {
                is_near(at.row, first[0], last[0]) && is_near(at.col, first[1], last[1])
            })
            .copied()
            .collect::<Vec<_>>()
    };
    let earliest = a.from.max(b.from);
    let gap = |a: i64, b: i64| (a.abs_diff(b).saturating_sub(1)) as f64;
    let others = near(b, a);
    let mut met: Option<Day> = None;
    for (pixel, day) in near(a, b) {
        for &(other, other_day) in &others {
            let day = day.max(other_day).max(earliest);
            if met.is_none_or(|met| day < met)
                && gap(pixel.row, other.row).hypot(gap(pixel.col, other.col)) <= distance
            {
                met = Some(day);
                if day == earliest {
                    return met;
                }
            }
        }
    }
    met
}

/// A site on its way: nodes that are linked.
struct Place {
    /// The node that named it, which may be gone.
    name: usize,
    /// The day from which it has had its name.
    named: Day,
    members: Vec<usize>,
    merged_from: BTreeSet<usize>,
    split_from: Option<usize>,
}

/// Links and parts nodes day by day.
struct Follower {
    /// Of each node the nodes it meets, and when.
    meets: Vec<Vec<(usize, Day)>>,
    /// Of each node its place, if it stands.
    place_of: Vec<Option<usize>>,
    places: Vec<Option<Place>>,
}

impl Follower {
    fn run(nodes: &[Node<'_>], edges: &[Edge]) -> Vec<Place> {
        let mut meets = vec![Vec::new(); nodes.len()];
        for edge in edges {
            meets[edge.a].push((edge.b, edge.from));
            meets[edge.b].push((edge.a, edge.from));
        }
        let mut follower = Self {
            meets,
            place_of: vec![None; nodes.len()],
            places: Vec::new(),
        };
        // On each day: what comes, what meets, what goes.
        let comes = (0..nodes.len()).map(|node| (nodes[node].from, 0, node));
        let met = (0..edges.len()).map(|edge| (edges[edge].from, 1, edge));
        let goes = (0..nodes.len()).filter_map(|node| Some((nodes[node].until?, 2, node)));
        let mut steps: Vec<(Day, u8, usize)> = comes.chain(met).chain(goes).collect();
        steps.sort_unstable();
        for (day, step, index) in steps {
            match step {
                0 => follower.come(index, day),
                1 => follower.meet(edges[index].a, edges[index].b, day),
                _ => follower.go(index, day),
            }
        }
        follower.places.into_iter().flatten().collect()
    }

    fn come(&mut self, node: usize, day: Day) {
        self.place_of[node] = Some(self.places.len());
        self.places.push(Some(Place {
            name: node,
            named: day,
            members: vec![node],
            merged_from: BTreeSet::new(),
            split_from: None,
        }));
    }

    fn meet(&mut self, a: usize, b: usize, day: Day) {
        let (Some(a), Some(b)) = (self.place_of[a], self.place_of[b]) else {
            return;
        };
        if a == b {
            return;
        }
        // Nodes are in the order of their age.
        let name = |place: usize| self.places[place].as_ref().map(|place| place.name);
        let (old, young) = if name(a) < name(b) { (a, b) } else { (b, a) };
        let Some(joining) = self.places[young].take() else {
            return;
        };
        for &member in &joining.members {
            self.place_of[member] = Some(old);
        }
        if let Some(place) = &mut self.places[old] {
            if joining.named < day {
                place.merged_from.insert(joining.name);
            }
            place.merged_from.extend(joining.merged_from);
            place.members.extend(joining.members);
        }
    }

    fn go(&mut self, node: usize, day: Day) {
        let Some(index) = self.place_of[node].take() else {
            return;
        };
        let Some(mut place) = self.places[index].take() else {
            return;
        };
        place.members.retain(|&member| member != node);
        let mut parts = self.parts(&place.members, day);
        // Each part begins with its oldest; the oldest of all keeps the name.
        parts.sort_unstable();
        for (position, part) in parts.into_iter().enumerate() {
            if position == 0 {
                place.members = part;
                continue;
            }
            let own: BTreeSet<usize> = place
                .merged_from
                .iter()
                .copied()
                .filter(|name| part.binary_search(name).is_ok())
                .collect();
            place.merged_from.retain(|name| !own.contains(name));
            for &member in &part {
                self.place_of[member] = Some(self.places.len());
            }
            self.places.push(Some(Place {
                name: part[0],
                named: day,
                merged_from: own.into_iter().filter(|&name| name != part[0]).collect(),
                members: part,
                split_from: Some(place.name),
            }));
        }
        if !place.members.is_empty() {
            self.places[index] = Some(place);
        }
    }

    /// The parts that hang together by a day, each ascending.
    fn parts(&self, members: &[usize], day: Day) -> Vec<Vec<usize>> {
        let mut left: BTreeSet<usize> = members.iter().copied().collect();
        let mut parts = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut part, mut next) = (vec![first], vec![first]);
            while let Some(node) = next.pop() {
                for &(other, from) in &self.meets[node] {
                    if from <= day && left.remove(&other) {
                        part.push(other);
                        next.push(other);
                    }
                }
            }
            part.sort_unstable();
            parts.push(part);
        }
        parts
    }
}

/// One alert of a site, of this run or of an earlier period.
struct Member<'a> {
    alert_id: &'a str,
    tier: Tier,
    times: [UtcTime; 3],
}

fn site_id(area_id: &str, node: &Node<'_>) -> String {
    format!("{area_id}-site-{}", lattice_name(node.first_pixel))
}

/// `None` if nothing of it stands.
fn describe(
    geobox: &GeoBox,
    area_id: &str,
    nodes: &[Node<'_>],
    place: &Place,
    last_clear: &BTreeMap<LatticePixel, Day>,
    params: &Params,
) -> Result<Option<Site>> {
    let standing: Vec<&Node<'_>> = place
        .members
        .iter()
        .map(|&index| &nodes[index])
        .filter(|node| node.until.is_none() && node.kind().is_some())
        .collect();
    let Some(kind) = standing
        .iter()
        .filter_map(|node| node.kind())
        .max_by_key(|&kind| kind == Kind::Excavation)
    else {
        return Ok(None);
    };
    let members: Vec<(Kind, Member<'_>)> =
        standing.iter().filter_map(|node| member(node)).collect();
    let mut alert_ids: Vec<String> = members
        .iter()
        .map(|(_, member)| member.alert_id.to_owned())
        .collect();
    alert_ids.sort_unstable();
    let is_confirmed = members
        .iter()
        .any(|(of, member)| *of == kind && member.tier == Tier::Confirmed);
    let least = |which: usize| members.iter().map(|(_, member)| member.times[which]).min();
    let most = |which: usize| members.iter().map(|(_, member)| member.times[which]).max();
    let (
        Some(start_datetime),
        Some(end_datetime),
        Some(first_alert_datetime),
        Some(last_alert_datetime),
    ) = (least(0), most(1), least(2), most(2))
    else {
        return Ok(None);
    };
    let ground = Ground::of(&standing, geobox.pixel_area_m2() / M2_PER_HA);
    let last_seen = ground
        .pixels()
        .filter_map(|pixel| last_clear.get(&pixel))
        .max()
        .copied();
    let mut pixels: Vec<LatticePixel> = ground.pixels().collect();
    pixels.sort_unstable();
    let outline = outline(geobox, &pixels);
    let additions = ground.additions(kind);
    let last_growth = additions
        .last()
        .map_or(Day::of(last_alert_datetime), |&(day, _)| day);
    Ok(Some(Site {
        site_id: site_id(area_id, &nodes[place.name]),
        area_id: area_id.to_owned(),
        state: state(
            nodes[place.name].from,
            &additions,
            last_seen.map_or(last_growth, |day| day.max(last_growth)),
            ground.greened_share(kind),
            &params.states,
        ),
        kind,
        tier: if is_confirmed {
            Tier::Confirmed
        } else {
            Tier::Provisional
        },
        n_alerts: members.len(),
        excavation_area_ha: ground.area_ha(Kind::Excavation),
        cleared_area_ha: ground.area_ha(Kind::Cleared),
        start_datetime,
        end_datetime,
        first_alert_datetime,
        last_alert_datetime,
        last_growth,
        last_clear: last_seen,
        growth: ground.growth(kind),
        merged_from: {
            let mut names: Vec<String> = place
                .merged_from
                .iter()
                .map(|&name| site_id(area_id, &nodes[name]))
                .collect();
            names.sort_unstable();
            names
        },
        split_from: place.split_from.map(|name| site_id(area_id, &nodes[name])),
        surroundings: Surroundings::default(),
        alert_ids,
        outline_lonlat: to_lonlat(geobox, &outline)?,
        outline,
    }))
}

fn member<'a>(node: &Node<'a>) -> Option<(Kind, Member<'a>)> {
    match node.of {
        Of::Alert(alert, _) => Some((
            alert.kind,
            Member {
                alert_id: &alert.alert_id,
                tier: alert.tier,
                times: [
                    alert.start_datetime,
                    alert.end_datetime,
                    alert.alert_datetime,
                ],
            },
        )),
        Of::Known(known) => Some((
            known.kind,
            Member {
                alert_id: &known.alert_id,
                tier: known.tier,
                times: [
                    known.start_datetime,
                    known.end_datetime,
                    known.alert_datetime,
                ],
            },
        )),
        Of::Retraction => None,
    }
}

/// A pixel of a site.
#[derive(Clone, Copy)]
struct Covered {
    day: Day,
    /// Lower and upper end of its alert's area, as shares of the area.
    interval: [f64; 2],
    has_greened: bool,
}

/// The ground of a site, each pixel once: under excavation if any alert says so, from the first day on which one does.
struct Ground {
    excavation: BTreeMap<LatticePixel, Covered>,
    cleared: BTreeMap<LatticePixel, Covered>,
    pixel_ha: f64,
}

impl Ground {
    fn of(standing: &[&Node<'_>], pixel_ha: f64) -> Self {
        let mut ground = Self {
            excavation: BTreeMap::new(),
            cleared: BTreeMap::new(),
            pixel_ha,
        };
        for node in standing {
            let (kind, [area, lo, hi], greened): (Kind, [f64; 3], &[bool]) = match node.of {
                Of::Alert(alert, _) => (
                    alert.kind,
                    [alert.area_ha, alert.area_ha_lo, alert.area_ha_hi],
                    &alert.pixel_has_greened,
                ),
                Of::Known(known) => (known.kind, known.area_ha, &[]),
                Of::Retraction => continue,
            };
            let interval = if area > 0.0 {
                [lo / area, hi / area]
            } else {
                [1.0; 2]
            };
            let pixels = match kind {
                Kind::Excavation => &mut ground.excavation,
                Kind::Cleared => &mut ground.cleared,
            };
            for (index, &(pixel, day)) in node.pixels.iter().enumerate() {
                let has_greened = greened.get(index).copied().unwrap_or(false);
                let new = Covered {
                    day,
                    interval,
                    has_greened,
                };
                pixels
                    .entry(pixel)
                    .and_modify(|covered| {
                        // Dug again after it had greened is bare.
                        covered.has_greened = if day > covered.day {
                            has_greened
                        } else {
                            covered.has_greened
                        };
                        if day < covered.day {
                            *covered = Covered {
                                has_greened: covered.has_greened,
                                ..new
                            };
                        }
                    })
                    .or_insert(new);
            }
        }
        ground
            .cleared
            .retain(|pixel, _| !ground.excavation.contains_key(pixel));
        ground
    }

    fn of_kind(&self, kind: Kind) -> &BTreeMap<LatticePixel, Covered> {
        match kind {
            Kind::Excavation => &self.excavation,
            Kind::Cleared => &self.cleared,
        }
    }

    fn pixels(&self) -> impl Iterator<Item = LatticePixel> {
        self.excavation.keys().chain(self.cleared.keys()).copied()
    }

    fn area_ha(&self, kind: Kind) -> f64 {
        self.of_kind(kind).len() as f64 * self.pixel_ha
    }

    fn greened_share(&self, kind: Kind) -> f64 {
        let pixels = self.of_kind(kind);
        let n = pixels
            .values()
            .filter(|covered| covered.has_greened)
            .count();
        n as f64 / pixels.len().max(1) as f64
    }

    /// Days on which ground was added, ascending, and how much, in hectares.
    fn additions(&self, kind: Kind) -> Vec<(Day, f64)> {
        let mut days: BTreeMap<Day, usize> = BTreeMap::new();
        for covered in self.of_kind(kind).values() {
            *days.entry(covered.day).or_default() += 1;
        }
        days.into_iter()
            .map(|(day, n)| (day, n as f64 * self.pixel_ha))
            .collect()
    }

    fn growth(&self, kind: Kind) -> Vec<Growth> {
        let mut quarters: BTreeMap<(i32, u8), [f64; 3]> = BTreeMap::new();
        for covered in self.of_kind(kind).values() {
            let quarter = match covered.day.month() {
                1..=3 => 1,
                4..=6 => 2,
                7..=9 => 3,
                _ => 4,
            };
            let sums = quarters.entry((covered.day.year(), quarter)).or_default();
            let [lo, hi] = covered.interval;
            for (sum, share) in sums.iter_mut().zip([1.0, lo, hi]) {
                *sum += share * self.pixel_ha;
            }
        }
        quarters
            .into_iter()
            .map(|(quarter, [area_ha, area_ha_lo, area_ha_hi])| Growth {
                quarter,
                area_ha,
                area_ha_lo,
                area_ha_hi,
            })
            .collect()
    }
}

/// - `born`: day of the first alert it ever had.
/// - `additions`: days and hectares, ascending.
/// - `seen`: the last day on which it was seen clearly, or grew.
fn state(
    born: Day,
    additions: &[(Day, f64)],
    seen: Day,
    greened_share: f64,
    params: &SiteParams,
) -> SiteState {
    let days_to = |from: Day, to: Day| to.0.saturating_sub(from.0);
    let last = additions.last().map_or(born, |&(day, _)| day);
    if days_to(last, seen) > params.dormant_days {
        return if greened_share >= params.revegetating_share {
            SiteState::Revegetating
        } else {
            SiteState::Dormant
        };
    }
    let reopened = additions
        .windows(2)
        .rev()
        .find(|pair| days_to(pair[0].0, pair[1].0) > params.dormant_days)
        .map(|pair| pair[1].0);
    if reopened.is_some_and(|day| days_to(day, seen) <= params.dormant_days) {
        return SiteState::Reopened;
    }
    if days_to(born, seen) <= params.new_days {
        return SiteState::New;
    }
    let is_recent = |addition: &&(Day, f64)| days_to(addition.0, seen) <= params.growing_days;
    let added: f64 = additions.iter().filter(is_recent).map(|&(_, ha)| ha).sum();
    let before: f64 = additions
        .iter()
        .filter(|addition| !is_recent(addition))
        .map(|&(_, ha)| ha)
        .sum();
    if added > 0.0 && added >= params.growing_share * before {
        SiteState::Growing
    } else {
        SiteState::Active
    }
}

#[cfg(test)]
mod tests {
    use geo::{Area, Validation};
    use proptest::prelude::*;

    use super::*;
    use crate::alert::tests::{any_pixels, find, find_all, geobox, params, pixel};
    use crate::label::UnionFind;

    fn followed(alerts: &mut [Alert], params: &Params) -> Result<Vec<Site>> {
        follow(
            "area",
            &geobox(),
            &[],
            alerts,
            &[],
            &BTreeMap::new(),
            params,
        )
    }

    fn sites(alerts: &mut [Alert]) -> Vec<Site> {
        followed(alerts, &params()).unwrap()
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
        assert_eq!((found[0].n_alerts, found[0].state), (2, SiteState::New));
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

    /// A row of three pixels that was reported in an earlier period.
    fn known(row: i64, col: i64, day: &str) -> Known {
        let time = pitwatch_grid::parse_time(&format!("{day}T10:48:29Z")).unwrap();
        let pixels: Vec<_> = three(row, col, 0)
            .iter()
            .map(|pixel| (pixel.at, Day::of(time)))
            .collect();
        Known {
            alert_id: format!(
                "area-{}-{}",
                day.replace('-', ""),
                lattice_name(pixels[0].0)
            ),
            kind: Kind::Excavation,
            tier: Tier::Confirmed,
            first_pixel: pixels[0].0,
            area_ha: [0.03, 0.01, 0.05],
            start_datetime: time,
            end_datetime: time,
            alert_datetime: time,
            is_retracted: false,
            pixels,
        }
    }

    fn follow_all(
        known: &[Known],
        alerts: &mut [Alert],
        back: &[Retraction],
        seen: Option<Day>,
    ) -> Vec<Site> {
        let clear: BTreeMap<LatticePixel, Day> = seen
            .into_iter()
            .flat_map(|day| {
                let pixels = known
                    .iter()
                    .flat_map(|known| known.pixels.iter().map(|pixel| pixel.0));
                pixels.map(move |pixel| (pixel, day)).collect::<Vec<_>>()
            })
            .collect();
        follow("area", &geobox(), known, alerts, back, &clear, &params()).unwrap()
    }

    #[test]
    fn a_site_that_grows_into_another_takes_the_older_name_and_says_so() {
        // Columns 0 to 2 and 16 to 18, and later 8 to 10 between them, 50 m from each.
        let mut alerts = find(&[three(0, 0, 3), three(0, 16, 4), three(0, 8, 6)].concat());
        let found = sites(&mut alerts);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].site_id, "area-site-N98500E20500");
        assert_eq!(
            found[0].merged_from,
            ["area-site-N98500E20516"],
            "what met on its first day was never a site"
        );
        assert_eq!(found[0].split_from, None);
    }

    #[test]
    fn what_a_retracted_alert_linked_parts_again() {
        let mut bridge = three(0, 8, 5);
        for pixel in &mut bridge {
            pixel.finding.retracted_look = Some(7);
        }
        let (mut alerts, back) =
            find_all(&[&three(0, 0, 3)[..], &three(0, 14, 4), &bridge].concat());
        assert_eq!((alerts.len(), back.len()), (2, 1));
        let found = follow_all(&[], &mut alerts, &back, None);
        let ids: Vec<_> = found.iter().map(|site| site.site_id.as_str()).collect();
        assert_eq!(ids, ["area-site-N98500E20500", "area-site-N98500E20514"]);
        assert_eq!(
            found[1].split_from.as_deref(),
            Some("area-site-N98500E20500")
        );
        assert!(
            found[0].merged_from.is_empty(),
            "it is a site of its own again"
        );
    }

    #[test]
    fn a_name_outlives_the_alert_that_gave_it() {
        let mut first = three(0, 0, 2);
        for pixel in &mut first {
            pixel.finding.retracted_look = Some(6);
        }
        let (mut alerts, back) = find_all(&[first, three(0, 5, 4)].concat());
        let found = follow_all(&[], &mut alerts, &back, None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].site_id, "area-site-N98500E20500");
        assert_eq!((found[0].n_alerts, found[0].alert_ids.len()), (1, 1));
    }

    #[test]
    fn a_site_is_followed_over_the_years() {
        let old = [known(0, 0, "2020-03-01"), known(1, 0, "2020-12-01")];
        let day = |text: &str| text.parse::<Day>().unwrap();
        let state = |known: &[Known], alerts: &mut [Alert], seen: &str| {
            let found = follow_all(known, alerts, &[], Some(day(seen)));
            assert_eq!(found.len(), 1, "{seen}");
            found[0].clone()
        };
        // The day it was seen last decides: new, growing, active, dormant.
        assert_eq!(
            state(&old[..1], &mut [], "2020-03-05").state,
            SiteState::New
        );
        assert_eq!(state(&old, &mut [], "2020-12-05").state, SiteState::Growing);
        assert_eq!(state(&old, &mut [], "2021-06-01").state, SiteState::Active);
        let dormant = state(&old, &mut [], "2021-12-15");
        assert_eq!(dormant.state, SiteState::Dormant);
        assert_eq!(
            dormant
                .growth
                .iter()
                .map(|growth| growth.quarter)
                .collect::<Vec<_>>(),
            [(2020, 1), (2020, 4)]
        );
        assert!(
            (dormant.growth[0].area_ha - 0.03).abs() < 1e-12
                && (dormant.growth[0].area_ha_lo - 0.01).abs() < 1e-12
        );
        // Unseen since is not dormant.
        assert_eq!(
            follow_all(&old, &mut [], &[], None)[0].state,
            SiteState::Growing
        );
        // The new alert overlaps the old one: the same pixels are not dug twice.
        let mut alerts = find(&[three(0, 0, 3), three(2, 0, 3)].concat());
        let reopened = state(&old, &mut alerts, "2023-05-24");
        assert_eq!(reopened.state, SiteState::Reopened);
        assert_eq!(reopened.site_id, dormant.site_id);
        assert_eq!(reopened.n_alerts, 4);
        assert!((reopened.excavation_area_ha - 0.09).abs() < 1e-12);
        assert_eq!(alerts[0].site_id.as_deref(), Some(dormant.site_id.as_str()));
    }

    #[test]
    fn ground_that_greened_is_revegetating() {
        let mut pixels = three(0, 0, 3);
        for pixel in &mut pixels[..2] {
            pixel.finding.greened_look = Some(6);
        }
        let mut alerts = find(&pixels);
        let clear = pixels
            .iter()
            .map(|pixel| (pixel.at, "2024-08-01".parse().unwrap()))
            .collect();
        let found = follow("area", &geobox(), &[], &mut alerts, &[], &clear, &params()).unwrap();
        assert_eq!(found[0].state, SiteState::Revegetating);
    }

    #[test]
    fn a_distance_that_is_no_length_is_refused() {
        for site_distance_m in [f64::NAN, -1.0, f64::INFINITY] {
            let params = Params {
                site_distance_m,
                ..params()
            };
            assert!(followed(&mut [], &params).is_err());
        }
    }

    /// An alert as a later period knows it.
    fn remembered(alert: &Alert) -> Known {
        let days = alert
            .pixel_alert_datetimes
            .iter()
            .map(|&time| Day::of(time));
        Known {
            alert_id: alert.alert_id.clone(),
            kind: alert.kind,
            tier: alert.tier,
            first_pixel: alert.first_pixel,
            area_ha: [alert.area_ha, alert.area_ha_lo, alert.area_ha_hi],
            start_datetime: alert.start_datetime,
            end_datetime: alert.end_datetime,
            alert_datetime: alert.alert_datetime,
            is_retracted: false,
            pixels: alert.pixels.iter().copied().zip(days).collect(),
        }
    }

    /// Spread out, so that gaps of every width occur between patches.
    fn spread_out(
        pixels: Vec<pitwatch_change::ChangedPixel>,
        spread: i64,
    ) -> Vec<pitwatch_change::ChangedPixel> {
        let lattice = geobox().lattice_origin();
        let outwards = |mut pixel: pitwatch_change::ChangedPixel| {
            pixel.at.col += (pixel.at.col - lattice.col) / 3 * spread;
            pixel.at.row += (pixel.at.row - lattice.row) / 4 * spread;
            pixel
        };
        pixels.into_iter().map(outwards).collect()
    }

    proptest! {
        #[test]
        fn a_period_that_moves_on_changes_no_site(pixels in any_pixels(), spread in 1i64..6, n_known in 0usize..20, turn in any::<prop::sample::Index>()) {
            let (mut alerts, back) = find_all(&spread_out(pixels, spread));
            let whole = follow_all(&[], &mut alerts, &back, None);
            // The older alerts come from the ledger, in any order. What was raised and taken back under one name on one day
            // is of one period.
            alerts.sort_by_key(|alert| (back.iter().any(|back| back.alert_id == alert.alert_id), alert.alert_datetime));
            let n_apart = alerts.partition_point(|alert| back.iter().all(|back| back.alert_id != alert.alert_id));
            let later = alerts.split_off(n_known.min(n_apart));
            let mut known: Vec<Known> = alerts.iter().map(remembered).collect();
            if !known.is_empty() {
                let middle = turn.index(known.len());
                known.rotate_left(middle);
            }
            let mut later: Vec<Alert> = later.into_iter().rev().collect();
            prop_assert_eq!(follow_all(&known, &mut later, &back, None), whole);
        }

        #[test]
        fn sites_are_those_of_comparing_every_pair(pixels in any_pixels(), site_distance_m in 0.0f64..60.0, spread in 1i64..6) {
            let pixels = spread_out(pixels, spread);
            let mut alerts = find(&pixels);
            let sites = followed(&mut alerts, &Params { site_distance_m, ..params() }).unwrap();

            let mut sets = UnionFind::new(alerts.len());
            for a in 0..alerts.len() {
                for b in 0..a {
                    let gap = |a: i64, b: i64| (a.abs_diff(b).saturating_sub(1)) as f64;
                    let are_within = alerts[a].pixels.iter().any(|a| {
                        alerts[b].pixels.iter().any(|b| gap(a.row, b.row).hypot(gap(a.col, b.col)) <= site_distance_m / 10.0)
                    });
                    if are_within {
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
            prop_assert_eq!(followed(&mut reversed, &Params { site_distance_m, ..params() }).unwrap(), sites);
        }
    }
}
