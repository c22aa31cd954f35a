use pitwatch_change::ChangedPixel;
use pitwatch_grid::LatticePixel;

/// Which pixels count as touching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connectivity {
    /// Those that share an edge.
    Four,
    /// Those that share an edge or a corner.
    Eight,
}

/// A connected object of one kind, as the looks built it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Places in the list of pixels, ascending.
    pub(crate) members: Vec<usize>,
    /// For each member, when it became part of a reported object, and of a confirmed one as a confirmed pixel.
    pub(crate) member_looks: Vec<MemberLooks>,
    /// How the object was first reported.
    pub(crate) raised: Raised,
    /// The look at which enough of its pixels were confirmed; `None` = provisional.
    pub(crate) confirmed_look: Option<u32>,
}

/// When a pixel was first reported as part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MemberLooks {
    /// The look at which it had alerted and its object was reported; set for every member.
    pub(crate) alert: Option<u32>,
    /// The look at which it was confirmed and its object was confirmed; `None` = not yet.
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

/// Connected objects of pixels of one kind (8-connected) with at least `mmu_pixels` pixels, one of them a core pixel.
///
/// The pixels join in the order of the looks at which their evidence was complete, so what an object was at a look
/// rests on nothing that came later: it is reported at the first look at which `mmu_pixels` connected pixels, a core
/// pixel among them, had alerted, and confirmed at the first look at which it was reported and as many of its connected
/// pixels were confirmed.
///
/// - `pixels`: by row and column, each place once, all of one kind.
/// - `mmu_pixels`: 1 or more.
pub(crate) fn find_objects(pixels: &[ChangedPixel], mmu_pixels: usize) -> Vec<Object> {
    let places: Vec<LatticePixel> = pixels.iter().map(|pixel| pixel.at).collect();
    let mut sets = UnionFind::new(pixels.len());
    let mut parts: Vec<Part> = pixels.iter().map(Part::of).collect();
    let mut has_alerted = vec![false; pixels.len()];
    let mut member_looks = vec![MemberLooks::default(); pixels.len()];
    // The pixels of a set that wait for it to be reported, and those that wait for it to be confirmed, at its root.
    let mut waiting: Vec<[Vec<usize>; 2]> = vec![Default::default(); pixels.len()];

    let mut alerted: Vec<(u32, usize)> = Vec::with_capacity(pixels.len());
    let mut plain: Vec<(u32, usize)> = Vec::new();
    let mut confirmed: Vec<(u32, usize)> = Vec::new();
    for (index, pixel) in pixels.iter().enumerate() {
        alerted.push((pixel.finding.alert_look, index));
        if let Some(look) = pixel.finding.core_look {
            plain.push((look.max(pixel.finding.alert_look), index));
        }
        if let Some(look) = pixel.finding.confirmed_look {
            confirmed.push((look.max(pixel.finding.alert_look), index));
        }
    }
    alerted.sort_unstable();
    plain.sort_unstable();
    confirmed.sort_unstable();
    let mut looks: Vec<u32> = alerted
        .iter()
        .chain(&plain)
        .chain(&confirmed)
        .map(|&(look, _)| look)
        .collect();
    looks.sort_unstable();
    looks.dedup();

    for look in looks {
        let newly_alerted = take_look(&alerted, look);
        for index in newly_alerted.clone() {
            has_alerted[index] = true;
            let own = sets.root(index);
            waiting[own][0].push(index);
            for neighbor in neighbors(&places, index, Connectivity::Eight) {
                if has_alerted[neighbor] {
                    let (a, b) = (sets.root(index), sets.root(neighbor));
                    if a != b {
                        let joined = parts[a].joined(parts[b]);
                        let root = sets.join(a, b);
                        parts[root] = joined;
                        let [alerts, confirmations] = std::mem::take(&mut waiting[a.max(b)]);
                        waiting[root][0].extend(alerts);
                        waiting[root][1].extend(confirmations);
                    }
                }
            }
        }
        let newly_plain = take_look(&plain, look);
        for index in newly_plain.clone() {
            parts[sets.root(index)].has_core = true;
        }
        let newly_confirmed = take_look(&confirmed, look);
        for index in newly_confirmed.clone() {
            let root = sets.root(index);
            parts[root].n_confirmed += 1;
            waiting[root][1].push(index);
        }
        for index in newly_alerted.chain(newly_plain).chain(newly_confirmed) {
            let root = sets.root(index);
            parts[root].report(look, mmu_pixels);
            if parts[root].raised.is_some() {
                for member in waiting[root][0].drain(..) {
                    member_looks[member].alert = Some(look);
                }
            }
            if parts[root].confirmed_look.is_some() {
                for member in waiting[root][1].drain(..) {
                    member_looks[member].confirmed = Some(look);
                }
            }
        }
    }

    let mut members: Vec<Vec<usize>> = vec![Vec::new(); pixels.len()];
    for index in 0..pixels.len() {
        let root = sets.root(index);
        if parts[root].raised.is_some() {
            members[root].push(index);
        }
    }
    parts
        .iter()
        .zip(members)
        .filter(|(_, members)| !members.is_empty())
        .filter_map(|(part, members)| {
            part.raised.map(|raised| Object {
                member_looks: members.iter().map(|&member| member_looks[member]).collect(),
                members,
                raised,
                confirmed_look: part.confirmed_look,
            })
        })
        .collect()
}

/// The pixels of one look in a list sorted by look.
fn take_look(events: &[(u32, usize)], look: u32) -> impl Iterator<Item = usize> + Clone {
    let start = events.partition_point(|&(other, _)| other < look);
    let end = events.partition_point(|&(other, _)| other <= look);
    events[start..end].iter().map(|&(_, index)| index)
}

/// What is known of a set of connected pixels; everything here can be added up when two sets join.
#[derive(Debug, Clone, Copy)]
struct Part {
    n_pixels: usize,
    n_confirmed: usize,
    has_core: bool,
    first: (u32, LatticePixel),
    seen: (u32, u32),
    raised: Option<Raised>,
    confirmed_look: Option<u32>,
}

impl Part {
    fn of(pixel: &ChangedPixel) -> Self {
        Self {
            n_pixels: 1,
            n_confirmed: 0,
            has_core: false,
            first: (pixel.finding.alert_look, pixel.at),
            seen: (
                pixel.finding.first_look_after,
                pixel.finding.last_look_before,
            ),
            raised: None,
            confirmed_look: None,
        }
    }

    fn joined(self, other: Self) -> Self {
        Self {
            n_pixels: self.n_pixels + other.n_pixels,
            n_confirmed: self.n_confirmed + other.n_confirmed,
            has_core: self.has_core || other.has_core,
            first: self.first.min(other.first),
            seen: self.seen.min(other.seen),
            raised: earlier(self.raised, other.raised),
            confirmed_look: earlier(self.confirmed_look, other.confirmed_look),
        }
    }

    fn report(&mut self, look: u32, mmu_pixels: usize) {
        if self.raised.is_none() && self.has_core && self.n_pixels >= mmu_pixels {
            self.raised = Some(Raised {
                look,
                first: self.first,
                seen: self.seen,
            });
        }
        if self.raised.is_some() && self.confirmed_look.is_none() && self.n_confirmed >= mmu_pixels
        {
            self.confirmed_look = Some(look);
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
