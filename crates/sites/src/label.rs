use std::collections::BTreeSet;

use pitwatch_change::ChangedPixel;
use pitwatch_grid::LatticePixel;

use crate::cause::{CauseModel, Evidence, Sums};
use crate::topsoil::AroundBlocks;

/// Which pixels count as touching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connectivity {
    /// Those that share an edge.
    Four,
    /// Those that share an edge or a corner.
    Eight,
}

/// A connected object of one kind, as the looks built it up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    /// Places in the list of findings, one a pixel, by row and column of the pixels.
    pub(crate) members: Vec<usize>,
    /// For each member, when it became part of a reported object, and of a confirmed one.
    pub(crate) member_looks: Vec<MemberLooks>,
    /// How the object was first reported.
    pub(crate) raised: Raised,
    /// The look at which it was confirmed; `None` = provisional.
    pub(crate) confirmed_look: Option<u32>,
    /// What speaks for its causes; `None` where the kind has no causes.
    pub(crate) evidence: Option<Evidence>,
}

/// When a pixel was first reported as part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MemberLooks {
    /// The look at which it had alerted and its object was reported; set for every member.
    pub(crate) alert: Option<u32>,
    /// The look at which it and its object were confirmed; `None` = not yet.
    pub(crate) confirmed: Option<u32>,
}

/// What was known at the look at which an object, or the first of those that grew into it, could first be reported.
///
/// The order is that of the fields: of two objects that grow together the one reported earlier lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Raised {
    /// The look.
    pub(crate) look: u32,
    /// Alert look and place of the first of its pixels, by look, row and column.
    pub(crate) first: (u32, LatticePixel),
    /// The look that first showed a change at any of its pixels then, and the last clear look before that at those
    /// pixels (the earliest, if they differ).
    pub(crate) seen: (u32, u32),
}

impl Raised {
    /// What no two objects share: the name of an alert is made of it.
    fn name(self) -> (u32, LatticePixel) {
        (self.look, self.first.1)
    }
}

/// What decides that an object is reported and confirmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule<'a> {
    /// Least number of pixels, 1 or more.
    pub(crate) mmu_pixels: i64,
    /// Most days between the alerts of two pixels that touch and are of one object.
    pub(crate) join_days: i32,
    /// Where causes are weighed: the model, and what the probability of a pit decides.
    pub(crate) causes: Option<Causes<'a>>,
}

/// The model of causes and the probabilities of a pit at which an object is reported, confirmed, and no longer confirmed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Causes<'a> {
    pub(crate) model: &'a CauseModel,
    pub(crate) report: f64,
    pub(crate) confirm: f64,
    pub(crate) retract: f64,
}

/// What was said of an object and then taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TakenBack {
    pub(crate) raised: Raised,
    /// The look at which it was taken back.
    pub(crate) look: u32,
    /// The look at which it had been confirmed; `None` = it was provisional.
    pub(crate) confirmed_look: Option<u32>,
    /// True if the alert itself was taken back, false if the confirmation alone.
    pub(crate) is_alert: bool,
}

/// Connected objects of pixels of one kind and time (8-connected) with at least `mmu_pixels` pixels, one of them a core pixel.
///
/// The pixels join and leave in the order of the looks, so what an object was at a look rests on nothing that came later:
///
/// - it is reported at the first look at which `mmu_pixels` connected pixels, a core pixel among them, had alerted and its
///   probability of a pit was high enough;
/// - it is confirmed at the first look at which it was reported and one of its pixels confirmed (without causes: as many
///   as `mmu_pixels`), and its probability of a pit was high enough; its pixels of that look are confirmed with it, later ones by themselves;
/// - a confirmation is taken back at a look at which that probability has become too low.
///
/// Two pixels that touch are connected if their alerts are at most `join_days` apart: what is dug beside an old pit is
/// another object. Where the pixels between them were taken back, an object falls apart: the part that has the pixel of its
/// name goes on as it (else the largest part), the others are objects of their own, reported and confirmed when it was.
///
/// - `findings`: by row and column, those of a pixel in order of time, all of one kind.
/// - `days`: day of each look, since 1970-01-01.
/// - `around`: the topsoil around them.
pub(crate) fn find_objects(
    findings: &[&ChangedPixel],
    days: &[i32],
    around: &AroundBlocks,
    rule: Rule,
) -> (Vec<Object>, Vec<TakenBack>) {
    let mut places: Vec<LatticePixel> = findings.iter().map(|pixel| pixel.at).collect();
    places.dedup();
    let mut place_of = Vec::with_capacity(findings.len());
    for pixel in findings {
        let is_same = place_of
            .last()
            .is_some_and(|&place: &usize| places[place] == pixel.at);
        let next = place_of.last().map_or(0, |&place| place + 1);
        place_of.push(if is_same { next - 1 } else { next });
    }
    let events = events(findings);
    let mut objects = Objects {
        rule,
        findings,
        places: &places,
        days,
        around,
        set_of: (0..places.len()).collect(),
        parts: vec![None; places.len()],
        members: (0..places.len()).map(|place| vec![place]).collect(),
        standing: vec![None; places.len()],
        looks: vec![MemberLooks::default(); places.len()],
        names: BTreeSet::new(),
        taken_back: Vec::new(),
    };
    let mut rest = &events[..];
    while let Some(&(look, ..)) = rest.first() {
        let n = rest.partition_point(|event| event.0 == look);
        let (now, later) = rest.split_at(n);
        rest = later;
        for &(_, step, index) in now {
            objects.take(step, index, place_of[index]);
        }
        let mut touched: Vec<usize> = now
            .iter()
            .map(|&(.., index)| objects.set_of[place_of[index]])
            .collect();
        let mut torn: Vec<usize> = now
            .iter()
            .filter(|&&(_, step, _)| step == Step::Retract)
            .map(|&(.., index)| objects.set_of[place_of[index]])
            .collect();
        torn.sort_unstable();
        torn.dedup();
        for set in torn {
            touched.extend(objects.split(set));
        }
        touched.sort_unstable();
        touched.dedup();
        for set in touched {
            objects.judge(set, look);
        }
    }
    objects.into_objects()
}

/// What happens to a pixel at a look, in the order in which it is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Alert,
    Core,
    Confirm,
    Green,
    StayBare,
    Retract,
}

/// What happens at each look, by look, step and place in the list of findings.
fn events(findings: &[&ChangedPixel]) -> Vec<(u32, Step, usize)> {
    let mut events = Vec::with_capacity(3 * findings.len());
    for (index, pixel) in findings.iter().enumerate() {
        let finding = &pixel.finding;
        let steps = [
            (Step::Alert, Some(finding.alert_look)),
            (Step::Core, finding.core_look),
            (Step::Confirm, finding.confirmed_look),
            (Step::StayBare, finding.stayed_bare_look),
            (Step::Retract, finding.retracted_look),
        ];
        let greener = finding.greener_looks.map(|look| (Step::Green, look));
        for (step, look) in steps.into_iter().chain(greener) {
            if let Some(look) = look {
                events.push((look.max(finding.alert_look), step, index));
            }
        }
    }
    events.sort_unstable();
    events
}

/// Sets of connected pixels while the looks build them up. A place whose pixel does not stand is a set of its own.
struct Objects<'a> {
    rule: Rule<'a>,
    findings: &'a [&'a ChangedPixel],
    /// By row and column.
    places: &'a [LatticePixel],
    days: &'a [i32],
    around: &'a AroundBlocks,
    /// The set of each place.
    set_of: Vec<usize>,
    /// What is known of each set; nothing of one of which no place stands or whose places have gone over to others.
    parts: Vec<Option<Box<Part>>>,
    /// Places of each set.
    members: Vec<Vec<usize>>,
    /// The finding of each place that stands.
    standing: Vec<Option<Standing>>,
    looks: Vec<MemberLooks>,
    /// What the objects that stand are named by: the look at which one was reported, and a pixel.
    names: BTreeSet<(u32, LatticePixel)>,
    taken_back: Vec<TakenBack>,
}

/// A pixel that has alerted.
#[derive(Debug, Clone, Copy)]
struct Standing {
    index: usize,
    alert_day: i32,
    is_core: bool,
    is_confirmed: bool,
    /// Levels of green that it has passed.
    n_green_levels: u8,
    has_stayed_bare: bool,
}

impl Objects<'_> {
    fn take(&mut self, step: Step, index: usize, place: usize) {
        let pixel = self.findings[index];
        let finding = &pixel.finding;
        let alert_day = self.days[finding.alert_look as usize];
        if step == Step::Alert {
            self.standing[place] = Some(Standing {
                index,
                alert_day,
                is_core: false,
                is_confirmed: false,
                n_green_levels: 0,
                has_stayed_bare: false,
            });
            self.looks[place] = MemberLooks::default();
            self.part_of(place).note(pixel);
            for neighbor in self.linked(place, alert_day) {
                self.join(place, neighbor);
            }
        }
        let Some(standing) = &mut self.standing[place] else {
            return;
        };
        let around = self.around.of(pixel.at);
        let (mut n_core, mut n_confirmed) = (0, 0);
        let added = match step {
            Step::Alert => Sums::of(pixel.at, finding, alert_day, &around),
            Step::Confirm => {
                standing.is_confirmed = true;
                n_confirmed = 1;
                Sums::of_confirmation(finding, alert_day, &around)
            }
            Step::Core => {
                standing.is_core = true;
                n_core = 1;
                Sums::default()
            }
            Step::Green => {
                standing.n_green_levels += 1;
                Sums::of_greening()
            }
            Step::StayBare => {
                standing.has_stayed_bare = true;
                Sums::of_staying_bare()
            }
            Step::Retract => {
                let gone = *standing;
                let sums = self.sums(&gone);
                let part = self.part_of(place);
                part.sums = part.sums.minus(sums);
                part.n_core -= i64::from(gone.is_core);
                part.n_confirmed -= i64::from(gone.is_confirmed);
                self.standing[place] = None;
                self.looks[place] = MemberLooks::default();
                return;
            }
        };
        let part = self.part_of(place);
        part.sums = part.sums.plus(added);
        part.n_core += n_core;
        part.n_confirmed += n_confirmed;
    }

    /// What is known of the set of a place.
    fn part_of(&mut self, place: usize) -> &mut Part {
        self.parts[self.set_of[place]].get_or_insert_default()
    }

    /// What a pixel that stands has added to its set.
    fn sums(&self, standing: &Standing) -> Sums {
        let ChangedPixel { at, finding, .. } = self.findings[standing.index];
        let around = self.around.of(*at);
        let mut sums = Sums::of(*at, finding, standing.alert_day, &around);
        if standing.is_confirmed {
            sums = sums.plus(Sums::of_confirmation(finding, standing.alert_day, &around));
        }
        for _ in 0..standing.n_green_levels {
            sums = sums.plus(Sums::of_greening());
        }
        if standing.has_stayed_bare {
            sums = sums.plus(Sums::of_staying_bare());
        }
        sums
    }

    /// The places that touch one, stand, and alerted at the time of a pixel that did so on a day.
    fn linked(&self, place: usize, alert_day: i32) -> Vec<usize> {
        neighbors(self.places, place, Connectivity::Eight)
            .filter(|&neighbor| {
                self.standing[neighbor].is_some_and(|standing| {
                    (alert_day - standing.alert_day).abs() <= self.rule.join_days
                })
            })
            .collect()
    }

    /// Makes one set of those of two places.
    fn join(&mut self, a: usize, b: usize) {
        let (mut few, mut many) = (self.set_of[a], self.set_of[b]);
        if few == many {
            return;
        }
        if self.members[few].len() > self.members[many].len() {
            std::mem::swap(&mut few, &mut many);
        }
        if let Some(part) = self.parts[few].take() {
            let whole = self.parts[many].get_or_insert_default();
            // Of two names the later one is given up.
            if let Some(gone) = whole.raised.zip(part.raised).map(|(a, b)| a.max(b)) {
                self.names.remove(&gone.name());
            }
            **whole = whole.joined(*part);
        }
        let moved = std::mem::take(&mut self.members[few]);
        for &place in &moved {
            self.set_of[place] = many;
        }
        self.members[many].extend(moved);
    }

    /// Parts a set, of which pixels were taken back, into what is connected; returns the sets that it has become.
    fn split(&mut self, set: usize) -> Vec<usize> {
        let mut members = std::mem::take(&mut self.members[set]);
        members.sort_unstable();
        let whole = self.parts[set]
            .take()
            .map_or_else(Part::default, |part| *part);
        let mut pieces: Vec<Vec<usize>> = Vec::new();
        let mut is_seen = BTreeSet::new();
        for &start in &members {
            if self.standing[start].is_none() {
                self.set_of[start] = self.parts.len();
                self.parts.push(None);
                self.members.push(vec![start]);
            } else if is_seen.insert(start) {
                let mut piece = vec![start];
                let mut next = 0;
                while let Some(&place) = piece.get(next) {
                    next += 1;
                    let Some(standing) = self.standing[place] else {
                        continue;
                    };
                    for neighbor in self.linked(place, standing.alert_day) {
                        if self.set_of[neighbor] == set && is_seen.insert(neighbor) {
                            piece.push(neighbor);
                        }
                    }
                }
                pieces.push(piece);
            }
        }
        // The piece that goes on as the object: the one that has the pixel of its name, else the largest, else the first.
        let has_name = |piece: &[usize]| {
            whole.raised.is_some_and(|raised| {
                piece.iter().any(|&place| {
                    self.standing[place].is_some_and(|standing| {
                        let finding = &self.findings[standing.index].finding;
                        (finding.alert_look, self.places[place]) == raised.first
                    })
                })
            })
        };
        let heir = (0..pieces.len())
            .max_by_key(|&k| (has_name(&pieces[k]), pieces[k].len(), std::cmp::Reverse(k)));
        self.parts[set] = Some(Box::new(Part {
            raised: whole.raised,
            confirmed_look: whole.confirmed_look,
            ..Part::default()
        }));
        let mut sets = vec![set];
        for (k, piece) in pieces.into_iter().enumerate() {
            let mut part = self.sum_up(&piece);
            part.confirmed_look = whole.confirmed_look;
            part.raised = whole.raised;
            if Some(k) == heir {
                self.parts[set] = Some(Box::new(part));
                self.members[set] = piece;
                continue;
            }
            part.raised = whole.raised.map(|raised| Raised {
                first: self.new_name(raised, &piece),
                ..raised
            });
            let own = self.parts.len();
            for &place in &piece {
                self.set_of[place] = own;
            }
            self.parts.push(Some(Box::new(part)));
            self.members.push(piece);
            sets.push(own);
        }
        sets
    }

    /// The pixel that a part of an object is named by: of those that stand the first that names nothing of the object's date.
    ///
    /// A pixel that was taken back and alerted again may be the name of the object that it left.
    fn new_name(&mut self, whole: Raised, piece: &[usize]) -> (u32, LatticePixel) {
        let standing = piece.iter().filter_map(|&place| self.standing[place]);
        let mut alerted: Vec<(u32, LatticePixel)> = standing
            .map(|standing| self.findings[standing.index])
            .map(|pixel| (pixel.finding.alert_look, pixel.at))
            .collect();
        alerted.sort_unstable();
        let is_new = |&&(_, at): &&(u32, LatticePixel)| !self.names.contains(&(whole.look, at));
        let first = *alerted.iter().find(is_new).unwrap_or(&whole.first);
        self.names.insert(Raised { first, ..whole }.name());
        first
    }

    /// What is known of places that stand, by themselves.
    fn sum_up(&self, places: &[usize]) -> Part {
        let mut part = Part::default();
        for standing in places.iter().filter_map(|&place| self.standing[place]) {
            part.note(self.findings[standing.index]);
            part.sums = part.sums.plus(self.sums(&standing));
            part.n_core += i64::from(standing.is_core);
            part.n_confirmed += i64::from(standing.is_confirmed);
        }
        part
    }

    /// Reports, confirms or takes back an object by what is known at a look.
    fn judge(&mut self, set: usize, look: u32) {
        let rule = self.rule;
        let Some(part) = &mut self.parts[set] else {
            return;
        };
        let is_large = part.n_core > 0 && part.sums.n_pixels >= rule.mmu_pixels;
        if !is_large {
            // Nothing of it stands; what alerts here later is reported anew.
            if let Some(raised) = part.raised.take() {
                self.names.remove(&raised.name());
                self.taken_back.push(TakenBack {
                    raised,
                    look,
                    confirmed_look: part.confirmed_look.take(),
                    is_alert: true,
                });
                for &place in &self.members[set] {
                    self.looks[place] = MemberLooks::default();
                }
            }
            if part.sums.n_pixels == 0 {
                self.parts[set] = None;
            }
            return;
        }
        let pit = rule.causes.map(|causes| part.evidence(causes.model).pit());
        let is_plausible = rule
            .causes
            .zip(pit)
            .is_none_or(|(causes, pit)| pit >= causes.report);
        if part.raised.is_none() && is_plausible {
            part.raised = part.first.map(|first| Raised {
                look,
                first,
                seen: part.seen,
            });
            self.names.extend(part.raised.map(Raised::name));
        }
        if part.raised.is_none() {
            return;
        }
        let was_confirmed = part.confirmed_look.is_some();
        match rule.causes.zip(pit) {
            None if !was_confirmed && part.n_confirmed >= rule.mmu_pixels => {
                part.confirmed_look = Some(look);
            }
            None => {}
            Some((causes, pit)) => {
                if !was_confirmed && part.n_confirmed > 0 && pit >= causes.confirm {
                    part.confirmed_look = Some(look);
                } else if was_confirmed && pit < causes.retract {
                    self.taken_back.extend(part.raised.map(|raised| TakenBack {
                        raised,
                        look,
                        confirmed_look: part.confirmed_look.take(),
                        is_alert: false,
                    }));
                }
            }
        }
        let is_confirmed = part.confirmed_look.is_some();
        let takes_all = is_confirmed && !was_confirmed && rule.causes.is_some();
        for &place in &self.members[set] {
            let Some(standing) = self.standing[place] else {
                continue;
            };
            let looks = &mut self.looks[place];
            looks.alert = looks.alert.or(Some(look));
            looks.confirmed = if !is_confirmed {
                None
            } else if standing.is_confirmed || takes_all {
                looks.confirmed.or(Some(look))
            } else {
                looks.confirmed
            };
        }
    }

    fn into_objects(self) -> (Vec<Object>, Vec<TakenBack>) {
        let mut objects = Vec::new();
        for (part, mut places) in self.parts.into_iter().zip(self.members) {
            let Some((part, raised)) = part.and_then(|part| Some((*part, part.raised?))) else {
                continue;
            };
            places.sort_unstable();
            objects.push(Object {
                members: places
                    .iter()
                    .filter_map(|&place| self.standing[place].map(|standing| standing.index))
                    .collect(),
                member_looks: places.iter().map(|&place| self.looks[place]).collect(),
                raised,
                confirmed_look: part.confirmed_look,
                evidence: self.rule.causes.map(|causes| part.evidence(causes.model)),
            });
        }
        (objects, self.taken_back)
    }
}

/// What is known of a set of connected pixels; everything here can be added up when two sets join.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    sums: Sums,
    n_confirmed: i64,
    n_core: i64,
    first: Option<(u32, LatticePixel)>,
    seen: (u32, u32),
    raised: Option<Raised>,
    confirmed_look: Option<u32>,
}

impl Part {
    fn evidence(&self, model: &CauseModel) -> Evidence {
        model.weigh(&self.sums.features(), self.sums.topsoil_trust())
    }

    /// Notes the name and the times that a pixel which alerts gives its object.
    fn note(&mut self, pixel: &ChangedPixel) {
        let finding = &pixel.finding;
        let seen = (finding.first_look_after, finding.last_look_before);
        self.seen = self.first.map_or(seen, |_| self.seen.min(seen));
        self.first = earlier(self.first, Some((finding.alert_look, pixel.at)));
    }

    fn joined(self, other: Self) -> Self {
        Self {
            sums: self.sums.plus(other.sums),
            n_confirmed: self.n_confirmed + other.n_confirmed,
            n_core: self.n_core + other.n_core,
            first: earlier(self.first, other.first),
            seen: match (self.first, other.first) {
                (Some(_), Some(_)) => self.seen.min(other.seen),
                (Some(_), None) => self.seen,
                (None, _) => other.seen,
            },
            raised: earlier(self.raised, other.raised),
            confirmed_look: earlier(self.confirmed_look, other.confirmed_look),
        }
    }
}

/// The smaller of two values that may be absent.
fn earlier<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The 4-connected parts of a set of pixels, each sorted, in the order of their first pixels.
///
/// - `pixels`: by row and column, each once.
pub(crate) fn four_connected_parts(pixels: &[LatticePixel]) -> Vec<Vec<LatticePixel>> {
    let mut sets = UnionFind::new(pixels.len());
    for index in 0..pixels.len() {
        for neighbor in neighbors(pixels, index, Connectivity::Four) {
            let (a, b) = (sets.root(index), sets.root(neighbor));
            sets.join(a, b);
        }
    }
    // The root of a set is its first pixel, so roots come before their followers.
    let mut place = vec![0; pixels.len()];
    let mut parts: Vec<Vec<LatticePixel>> = Vec::new();
    for (index, &pixel) in pixels.iter().enumerate() {
        let root = sets.root(index);
        if root == index {
            place[root] = parts.len();
            parts.push(Vec::new());
        }
        parts[place[root]].push(pixel);
    }
    parts
}

/// The pixels that touch one of a sorted list, as places in the list.
pub(crate) fn neighbors(
    pixels: &[LatticePixel],
    index: usize,
    connectivity: Connectivity,
) -> impl Iterator<Item = usize> {
    let LatticePixel { row, col } = pixels[index];
    (row - 1..=row + 1)
        .flat_map(move |near_row| {
            let reach = if connectivity == Connectivity::Eight || near_row == row {
                1
            } else {
                0
            };
            let at = |col| LatticePixel { row: near_row, col };
            let start = pixels.partition_point(|&pixel| pixel < at(col - reach));
            let n = pixels[start..]
                .iter()
                .take_while(|&&pixel| pixel <= at(col + reach))
                .count();
            start..start + n
        })
        .filter(move |&near| near != index)
}

/// Disjoint sets of places in a list; the root of a set is its smallest place.
#[derive(Debug, Clone)]
pub(crate) struct UnionFind {
    parents: Vec<usize>,
}

impl UnionFind {
    /// `n` sets of one place each.
    pub(crate) fn new(n: usize) -> Self {
        Self {
            parents: (0..n).collect(),
        }
    }

    /// The root of the set that holds a place.
    pub(crate) fn root(&mut self, mut index: usize) -> usize {
        while self.parents[index] != index {
            self.parents[index] = self.parents[self.parents[index]];
            index = self.parents[index];
        }
        index
    }

    /// Joins the sets of two roots; returns the root of the joined set.
    pub(crate) fn join(&mut self, a: usize, b: usize) -> usize {
        let root = a.min(b);
        self.parents[a.max(b)] = root;
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(row: i64, col: i64) -> LatticePixel {
        LatticePixel { row, col }
    }

    #[test]
    fn a_diagonal_touches_only_where_corners_count() {
        let pixels = [at(0, 0), at(1, 1), at(1, 2), at(5, 0)];
        assert_eq!(
            four_connected_parts(&pixels),
            [vec![at(0, 0)], vec![at(1, 1), at(1, 2)], vec![at(5, 0)]]
        );
        let eight: Vec<_> = neighbors(&pixels, 0, Connectivity::Eight).collect();
        assert_eq!(eight, [1]);
        assert_eq!(neighbors(&pixels, 0, Connectivity::Four).count(), 0);
    }

    #[test]
    fn the_end_of_a_row_does_not_touch_the_start_of_the_next() {
        let pixels = [at(0, 9), at(1, 0)];
        assert_eq!(neighbors(&pixels, 0, Connectivity::Eight).count(), 0);
    }
}
