//! Tables of reviewed points, from which the area of excavation of a season is estimated by its sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pitwatch_capacity::{Hectares, SampleArea, Stratum, sample_area};
use pitwatch_grid::{Day, GeoBox, LatticePixel, Point};

use crate::figures::place;

/// The columns, in their order.
const COLUMNS: [&str; 8] = [
    "area_id",
    "season_from",
    "longitude",
    "latitude",
    "stratum",
    "excavation",
    "reviewer",
    "reviewed_on",
];

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// A point at which a reviewer said whether there was new excavation in a season.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReviewedPoint {
    pub(crate) area_id: String,
    /// First day of the season.
    pub(crate) season_from: Day,
    /// Degrees, WGS 84.
    pub(crate) lonlat: Point,
    /// What the map said when the point was drawn: confirmed excavation of the season, or other observable ground.
    pub(crate) is_mapped: bool,
    /// What the reviewer found.
    pub(crate) is_excavation: bool,
    /// Line of the file, from 1.
    pub(crate) line: u64,
}

/// True if a table has the columns of reviewed points, or means to.
pub(crate) fn is_points(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches('\u{feff}').starts_with("area_id")
}

/// Reads a table; on failure all faults, each with file, row, column and what to write.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<ReviewedPoint>, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Err(vec![format!("{}: {error}", place(path, 1, 1))]),
    };
    if headers.iter().map(str::trim).ne(COLUMNS) {
        return Err(vec![format!(
            "{}: the columns must be {}",
            place(path, 1, 1),
            COLUMNS.join(",")
        )]);
    }
    let (mut points, mut faults) = (Vec::new(), Vec::new());
    let mut lines: BTreeMap<[String; 4], u64> = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, csv::Position::line);
                faults.push(format!("{}: {error}", place(path, line, 1)));
                continue;
            }
        };
        let line = record.position().map_or(1, csv::Position::line);
        if record.len() != COLUMNS.len() {
            faults.push(format!(
                "{}: the row has {} fields, the headings are {}",
                place(path, line, 1),
                record.len(),
                COLUMNS.len()
            ));
            continue;
        }
        match point_of(&record, line) {
            Ok(point) => {
                let key = [0, 1, 2, 3].map(|column| record[column].trim().to_owned());
                if let Some(before) = lines.insert(key, line) {
                    faults.push(format!(
                        "{}: area, season and place are those of row {before}; take one of the rows out",
                        place(path, line, 1)
                    ));
                }
                points.push(point);
            }
            Err(wrong) => faults.extend(
                wrong
                    .into_iter()
                    .map(|(column, message)| format!("{}: {message}", place(path, line, column))),
            ),
        }
    }
    if faults.is_empty() {
        Ok(points)
    } else {
        Err(faults)
    }
}

/// The point of a row, or each column that is wrong and what to write.
fn point_of(record: &csv::StringRecord, line: u64) -> Result<ReviewedPoint, Vec<(usize, String)>> {
    let field = |column: usize| record.get(column).unwrap_or_default().trim();
    let mut faults = Vec::new();
    let mut wrong = |column: usize, what: &str| {
        faults.push((
            column + 1,
            format!("{} is {:?}; {what}", COLUMNS[column], field(column)),
        ));
    };
    let degrees = |column: usize, limit: f64| {
        let value: f64 = field(column).parse().ok()?;
        (value.abs() <= limit).then_some(value)
    };
    let one_of = |column: usize, yes: &str, no: &str| match field(column) {
        text if text == yes => Some(true),
        text if text == no => Some(false),
        _ => None,
    };
    if field(0).is_empty() {
        wrong(0, "write the id of an area of the pipeline");
    }
    let season_from: Option<Day> = field(1).parse().ok();
    if season_from.is_none() {
        wrong(1, "write the season's first day as YYYY-MM-DD");
    }
    let (longitude, latitude) = (degrees(2, 180.0), degrees(3, 90.0));
    if longitude.is_none() {
        wrong(2, "write degrees from -180 to 180");
    }
    if latitude.is_none() {
        wrong(3, "write degrees from -90 to 90");
    }
    let is_mapped = one_of(4, "excavation", "other");
    if is_mapped.is_none() {
        wrong(
            4,
            "write what the map said: excavation (confirmed, of this season) or other",
        );
    }
    let is_excavation = one_of(5, "yes", "no");
    if is_excavation.is_none() {
        wrong(
            5,
            "write yes or no: was new ground dug here in this season?",
        );
    }
    if field(6).is_empty() {
        wrong(6, "write who looked");
    }
    if field(7).parse::<Day>().is_err() {
        wrong(7, "write the day of the review as YYYY-MM-DD");
    }
    match (season_from, longitude, latitude, is_mapped, is_excavation) {
        (Some(season_from), Some(x), Some(y), Some(is_mapped), Some(is_excavation))
            if faults.is_empty() =>
        {
            Ok(ReviewedPoint {
                area_id: field(0).to_owned(),
                season_from,
                lonlat: Point { x, y },
                is_mapped,
                is_excavation,
                line,
            })
        }
        _ => Err(faults),
    }
}

/// The map of one season that a sample is held against.
#[derive(Debug)]
pub(crate) struct SeasonMap<'a> {
    pub(crate) geobox: &'a GeoBox,
    /// Pixels of confirmed excavation of the season, dismissed ones too: the map is what was detected.
    pub(crate) mapped: BTreeSet<LatticePixel>,
    /// Pixels of the area that could be observed, these included.
    pub(crate) n_observable: u64,
}

/// The area of excavation that the points of one season give, or why they give none.
///
/// The strata are those that the points were drawn in; their areas are those of the map as it is now. So the map must not have
/// changed much since: at most `max_changed_share` of the points may lie in another stratum by now.
pub(crate) fn sample(
    points: &[&ReviewedPoint],
    map: &SeasonMap<'_>,
    min_points: u32,
    max_changed_share: f64,
) -> Result<SampleArea, String> {
    let n_points = points.len();
    if n_points < min_points as usize {
        return Err(format!(
            "{n_points} reviewed points are fewer than min_reviewed_points, {min_points}"
        ));
    }
    let changed = points
        .iter()
        .filter(|point| point.is_mapped != map.is_mapped(point.lonlat))
        .count();
    let changed_share = changed as f64 / n_points as f64;
    if changed_share > max_changed_share {
        return Err(format!(
            "the map shows {changed} of {n_points} reviewed points in another stratum than the one they were drawn in; \
             max_changed_points_share is {max_changed_share}: draw points anew"
        ));
    }
    let pixel_ha = map.geobox.pixel_area_m2() / M2_PER_HA;
    let n_mapped = map.mapped.len() as u64;
    let n_other = map.n_observable.saturating_sub(n_mapped);
    let strata: Vec<Stratum> = [(true, n_mapped), (false, n_other)]
        .into_iter()
        .filter(|&(_, n_pixels)| n_pixels > 0)
        .map(|(is_mapped, n_pixels)| {
            let of_stratum = || points.iter().filter(|point| point.is_mapped == is_mapped);
            Stratum {
                mapped: Hectares(n_pixels as f64 * pixel_ha),
                n_points: count(of_stratum().count()),
                n_excavation: count(of_stratum().filter(|point| point.is_excavation).count()),
            }
        })
        .collect();
    sample_area(&strata).map_err(|error| {
        format!("the reviewed points cannot be used: {error}; draw at least two in each stratum")
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl SeasonMap<'_> {
    fn is_mapped(&self, lonlat: Point) -> bool {
        self.geobox
            .crs()
            .crs_from_lonlat(lonlat)
            .is_ok_and(|place| self.mapped.contains(&self.pixel_at(place)))
    }

    fn pixel_at(&self, place: Point) -> LatticePixel {
        let (corner, first) = (self.geobox.origin(), self.geobox.lattice_origin());
        let resolution = self.geobox.resolution_m();
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let steps = |meters: f64| (meters / resolution).floor() as i64;
        LatticePixel {
            row: first.row + steps(corner.y - place.y),
            col: first.col + steps(place.x - corner.x),
        }
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{Crs, Shape};

    use super::*;

    const HEADINGS: &str =
        "area_id,season_from,longitude,latitude,stratum,excavation,reviewer,reviewed_on\n";

    fn parsed(rows: &str) -> Result<Vec<ReviewedPoint>, Vec<String>> {
        parse(Path::new("points.csv"), &format!("{HEADINGS}{rows}"))
    }

    #[test]
    fn each_fault_is_named_with_row_and_column_and_what_to_write() {
        let good = "civ-seguela,2021-07-01,-6.5,8.0,excavation,yes,A. Koné,2024-02-01\n";
        assert!(is_points(HEADINGS) && !is_points("participant,period,measure\n"));
        assert_eq!(parsed(good).unwrap()[0].line, 2);
        let faults = parsed(&format!(
            "{good},2021,-200,x,maybe,perhaps,,soon\n{good}a,b\n"
        ))
        .unwrap_err();
        assert_eq!(faults.len(), 10, "{faults:?}");
        assert!(
            faults[1].starts_with("points.csv:3:2: season_from is \"2021\"; write the season's")
        );
        assert!(
            faults[8].contains("points.csv:4:1: area, season and place are those of row 2"),
            "{faults:?}"
        );
        assert!(faults[9].contains("the row has 2 fields"));
        let headings = parse(Path::new("points.csv"), "area_id,when\n").unwrap_err();
        assert!(headings[0].contains("the columns must be area_id,season_from"));
    }

    /// A map of 100 by 100 pixels, of which the first hundred are excavation: 1 ha of 100.
    fn map(geobox: &GeoBox) -> SeasonMap<'_> {
        let first = geobox.lattice_origin();
        SeasonMap {
            geobox,
            mapped: (0..100)
                .map(|col| LatticePixel {
                    row: first.row,
                    col: first.col + col,
                })
                .collect(),
            n_observable: 10_000,
        }
    }

    fn geobox() -> GeoBox {
        let origin = Point {
            x: 600_000.0,
            y: 900_000.0,
        };
        let shape = Shape {
            height: 100,
            width: 100,
        };
        GeoBox::new(Crs::from_epsg(32629).unwrap(), origin, 10.0, shape).unwrap()
    }

    /// A point in the middle of a pixel, by its place in row-major order.
    fn point(geobox: &GeoBox, place: usize, is_mapped: bool, is_excavation: bool) -> ReviewedPoint {
        let crs = Point {
            x: geobox.origin().x + 10.0 * (place % 100) as f64 + 5.0,
            y: geobox.origin().y - 10.0 * (place / 100) as f64 - 5.0,
        };
        ReviewedPoint {
            area_id: "a".into(),
            season_from: Day(0),
            lonlat: geobox.crs().lonlat_from_crs(crs).unwrap(),
            is_mapped,
            is_excavation,
            line: 2,
        }
    }

    #[test]
    fn the_area_is_that_of_olofsson_with_the_maps_strata() {
        let geobox = geobox();
        let points: Vec<ReviewedPoint> = (0..100)
            .map(|k| point(&geobox, k, true, k < 80))
            .chain((0..200).map(|k| point(&geobox, 100 + 49 * k, false, k == 7)))
            .collect();
        let points: Vec<&ReviewedPoint> = points.iter().collect();
        let area = sample(&points, &map(&geobox), 300, 0.1).unwrap();
        // 1 ha · 80/100 + 99 ha · 1/200.
        assert!((area.area.0 - 1.295).abs() < 1e-9, "{area:?}");
        assert_eq!(area.n_points, 300);
        assert!(
            sample(&points[1..], &map(&geobox), 300, 0.1)
                .unwrap_err()
                .contains("299")
        );
    }

    #[test]
    fn points_of_another_map_give_no_area() {
        let geobox = geobox();
        let points: Vec<ReviewedPoint> = (0..100)
            .map(|k| point(&geobox, 5_000 + k, true, true))
            .chain((0..200).map(|k| point(&geobox, 100 + 7 * k, false, false)))
            .collect();
        let points: Vec<&ReviewedPoint> = points.iter().collect();
        let why = sample(&points, &map(&geobox), 300, 0.1).unwrap_err();
        assert!(
            why.contains("100 of 300") && why.contains("draw points anew"),
            "{why}"
        );
    }
}
