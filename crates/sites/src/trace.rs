use geo::{LineString, MultiPolygon, Polygon};
use pitwatch_grid::{GeoBox, LatticePixel};

use crate::label::four_connected_parts;

/// The outline of a set of pixels, exact on their edges, in meters of the geobox's reference system.
///
/// Each 4-connected part is one polygon: its exterior ring runs counter-clockwise, its holes clockwise, each ring visits
/// a vertex once, and no vertex lies on a straight line between its neighbors. Parts that touch at a corner stay
/// apart, so the geometry is valid in the sense of OGC 06-103r4 ("Simple Features"), §6.1.11 and §6.1.14.
///
/// - `geobox`: gives the lattice; the pixels may lie outside it.
/// - `pixels`: by row and column, each once.
#[must_use]
pub fn outline(geobox: &GeoBox, pixels: &[LatticePixel]) -> MultiPolygon<f64> {
    let lattice = geobox.lattice_origin();
    let origin = geobox.origin();
    let ring_on_ground = |ring: &[Corner]| -> LineString<f64> {
        let mut points: Vec<(f64, f64)> = ring
            .iter()
            .map(|corner| {
                (
                    origin.x + (corner.col - lattice.col) as f64 * geobox.resolution_m(),
                    origin.y - (corner.row - lattice.row) as f64 * geobox.resolution_m(),
                )
            })
            .collect();
        points.push(points[0]);
        LineString::from(points)
    };
    let polygons = four_connected_parts(pixels).into_iter().map(|part| {
        let rings = trace_rings(&part);
        // A ring that starts at its uppermost left corner is the exterior if it goes down first: the part lies to its left.
        let (exteriors, holes): (Vec<_>, Vec<_>) =
            rings.iter().partition(|ring| ring[1].col == ring[0].col);
        let exterior = exteriors
            .first()
            .map_or_else(|| LineString::new(Vec::new()), |ring| ring_on_ground(ring));
        Polygon::new(
            exterior,
            holes.into_iter().map(|ring| ring_on_ground(ring)).collect(),
        )
    });
    MultiPolygon(polygons.collect())
}

/// How many pixel edges the outline of a set of pixels has, those of its holes included.
///
/// - `pixels`: by row and column, each once.
pub(crate) fn n_outline_edges(pixels: &[LatticePixel]) -> usize {
    boundary_edges(pixels).len()
}

/// The upper left corner of a pixel.
type Corner = LatticePixel;

/// The way along a pixel edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heading {
    South,
    East,
    North,
    West,
}

impl Heading {
    /// The way to the right of this one.
    fn right(self) -> Self {
        match self {
            Self::South => Self::West,
            Self::East => Self::South,
            Self::North => Self::East,
            Self::West => Self::North,
        }
    }

    fn step(self, from: Corner) -> Corner {
        let Corner { row, col } = from;
        match self {
            Self::South => Corner { row: row + 1, col },
            Self::East => Corner { row, col: col + 1 },
            Self::North => Corner { row: row - 1, col },
            Self::West => Corner { row, col: col - 1 },
        }
    }
}

/// The edges between a set of pixels and the rest, each with the set to its left, by start and heading.
fn boundary_edges(pixels: &[LatticePixel]) -> Vec<(Corner, Heading)> {
    let mut edges = Vec::new();
    for &LatticePixel { row, col } in pixels {
        let corner = |down: i64, right: i64| Corner {
            row: row + down,
            col: col + right,
        };
        for (neighbor, start, heading) in [
            (corner(0, -1), corner(0, 0), Heading::South),
            (corner(1, 0), corner(1, 0), Heading::East),
            (corner(0, 1), corner(1, 1), Heading::North),
            (corner(-1, 0), corner(0, 1), Heading::West),
        ] {
            if pixels.binary_search(&neighbor).is_err() {
                edges.push((start, heading));
            }
        }
    }
    edges.sort_unstable();
    edges
}

/// The rings around a 4-connected set of pixels, with the set to their left, without the closing corner and without
/// corners on straight lines. Each starts at its uppermost left corner.
fn trace_rings(part: &[LatticePixel]) -> Vec<Vec<Corner>> {
    let edges = boundary_edges(part);
    let mut is_used = vec![false; edges.len()];
    let mut rings = Vec::new();
    for first in 0..edges.len() {
        if is_used[first] {
            continue;
        }
        let (start, mut heading) = edges[first];
        is_used[first] = true;
        let mut ring = vec![start];
        let mut corner = heading.step(start);
        while corner != start {
            // Two edges leave a corner at which two pixels of the part touch only diagonally. Turning right joins them, so
            // that the outside and the hole between them are two rings that touch there; turning left would make one
            // ring that touches itself, which is no valid polygon.
            let next = edges
                .binary_search(&(corner, heading.right()))
                .unwrap_or_else(|_| edges.partition_point(|&(other, _)| other < corner));
            is_used[next] = true;
            if edges[next].1 != heading {
                ring.push(corner);
                heading = edges[next].1;
            }
            corner = heading.step(corner);
        }
        rings.push(ring);
    }
    rings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use geo::{Area, Contains, Validation, Winding};
    use pitwatch_grid::{Crs, Point, Shape};
    use proptest::prelude::*;

    use super::*;

    fn geobox() -> GeoBox {
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

    /// Pixels of a picture: `#` is in, lines are rows.
    fn pixels(picture: &str) -> Vec<LatticePixel> {
        let lattice = geobox().lattice_origin();
        let mut pixels = Vec::new();
        for (row, line) in picture.split_whitespace().enumerate() {
            for (col, mark) in line.chars().enumerate() {
                if mark == '#' {
                    pixels.push(LatticePixel {
                        row: lattice.row + row as i64,
                        col: lattice.col + col as i64,
                    });
                }
            }
        }
        pixels
    }

    fn center(pixel: LatticePixel) -> geo::Point<f64> {
        geo::Point::new(
            (pixel.col as f64 + 0.5) * 10.0,
            (-pixel.row as f64 - 0.5) * 10.0,
        )
    }

    fn check(pixels: &[LatticePixel]) {
        let outline = outline(&geobox(), pixels);
        outline.check_validation().unwrap();
        assert_eq!(outline.unsigned_area(), pixels.len() as f64 * 100.0);
        let mut n_meters = 0.0;
        for polygon in &outline {
            assert!(polygon.exterior().is_ccw());
            assert!(polygon.interiors().iter().all(LineString::is_cw));
            for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                let corners: BTreeSet<_> = ring
                    .0
                    .iter()
                    .map(|corner| (corner.x as i64, corner.y as i64))
                    .collect();
                assert_eq!(
                    corners.len(),
                    ring.0.len() - 1,
                    "a ring visits a vertex once"
                );
                let lines: Vec<_> = ring.lines().collect();
                for (line, next) in lines.iter().zip(lines.iter().cycle().skip(1)) {
                    assert!(
                        (line.dx() == 0.0) != (next.dx() == 0.0),
                        "each vertex is a corner"
                    );
                    n_meters += line.dx().abs() + line.dy().abs();
                }
            }
        }
        assert_eq!(n_meters, n_outline_edges(pixels) as f64 * 10.0);
        let members: BTreeSet<_> = pixels.iter().copied().collect();
        let (Some(first), Some(last)) = (pixels.first(), pixels.last()) else {
            return;
        };
        for row in first.row - 1..=last.row + 1 {
            for col in first.col - 12..=first.col + 12 {
                let pixel = LatticePixel { row, col };
                assert_eq!(outline.contains(&center(pixel)), members.contains(&pixel));
            }
        }
    }

    #[test]
    fn a_single_pixel_is_a_square_that_runs_counter_clockwise() {
        let outline = outline(&geobox(), &pixels("#"));
        let corners: Vec<_> = outline.0[0].exterior().points().map(|p| p.x_y()).collect();
        assert_eq!(
            corners,
            [
                (205_000.0, 985_000.0),
                (205_000.0, 984_990.0),
                (205_010.0, 984_990.0),
                (205_010.0, 985_000.0),
                (205_000.0, 985_000.0)
            ]
        );
    }

    #[test]
    fn a_hole_is_kept_and_an_island_in_it_too() {
        let pixels = pixels("##### #...# #.#.# #...# #####");
        check(&pixels);
        let outline = outline(&geobox(), &pixels);
        assert_eq!(outline.0.len(), 2);
        assert_eq!(outline.0[0].interiors().len(), 1);
    }

    #[test]
    fn a_hole_that_touches_the_outside_at_a_corner_is_a_ring_of_its_own() {
        for picture in ["### #.# ##.", ".## #.# ###", "##. #.# ###", "### #.# .##"] {
            let pixels = pixels(picture);
            check(&pixels);
            let outline = outline(&geobox(), &pixels);
            assert_eq!(
                (outline.0.len(), outline.0[0].interiors().len()),
                (1, 1),
                "{picture}"
            );
        }
    }

    #[test]
    fn two_holes_that_touch_at_a_corner_are_two_rings() {
        let pixels = pixels("#### #.## ##.# ####");
        check(&pixels);
        assert_eq!(outline(&geobox(), &pixels).0[0].interiors().len(), 2);
    }

    #[test]
    fn each_pixel_of_a_checkerboard_is_a_polygon() {
        let pixels = pixels("#.#.# .#.#. #.#.# .#.#.");
        check(&pixels);
        assert_eq!(outline(&geobox(), &pixels).0.len(), pixels.len());
    }

    #[test]
    fn no_pixels_have_an_empty_outline() {
        assert!(outline(&geobox(), &[]).0.is_empty());
    }

    proptest! {
        #[test]
        fn the_outline_is_valid_and_holds_exactly_the_pixels(marks in prop::collection::vec(prop::bool::weighted(0.6), 100)) {
            let lattice = geobox().lattice_origin();
            let pixels: Vec<_> = (0..100i64)
                .filter(|&index| marks[index as usize])
                .map(|index| LatticePixel { row: lattice.row + index / 10, col: lattice.col + index % 10 })
                .collect();
            check(&pixels);
        }
    }
}
