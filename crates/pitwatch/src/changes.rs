//! The events of a run: the difference between what the ledger knew before it and what it found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use geo::{LineString, MultiPolygon, Polygon};
use pitwatch_change::Kind;
use pitwatch_grid::{Day, GeoBox, LatticePixel, Region, UtcTime, format_time, parse_time};
use pitwatch_report::{Event, EventType, alert_feature, feature_without_place, site_feature};
use pitwatch_sites::{Alert, Known, Retraction, Review, Site, Tier};
use serde_json::{Value, json};

/// The state of a site in the ledger none of whose alerts stands.
pub(crate) const RETRACTED: &str = "retracted";

/// The state of a site in the ledger whose alerts belong to another one now.
pub(crate) const MERGED: &str = "merged";

/// Whether an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Provisional,
    Confirmed,
    Retracted,
}

impl Standing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Confirmed => "confirmed",
            Self::Retracted => RETRACTED,
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Provisional, Self::Confirmed, Self::Retracted]
            .into_iter()
            .find(|standing| standing.name() == name)
    }
}

impl From<Tier> for Standing {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Provisional => Self::Provisional,
            Tier::Confirmed => Self::Confirmed,
        }
    }
}

/// An alert as the ledger has it. The columns are explained in `ledger.v1.sql`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertRow {
    pub(crate) alert_id: String,
    pub(crate) area_id: String,
    /// 0 if no event told of it: it was dismissed before it was found.
    pub(crate) revision: u64,
    pub(crate) standing: Standing,
    pub(crate) alert_datetime: UtcTime,
    pub(crate) first_row: i64,
    pub(crate) first_col: i64,
    pub(crate) feature: Value,
    pub(crate) told: Value,
    pub(crate) first_run: String,
    pub(crate) last_run: String,
    /// Of the lattice of `pixels`; `None` in rows of ledgers that did not keep it.
    pub(crate) epsg: Option<u32>,
    /// Its pixels, and the day on which each was reported.
    pub(crate) pixels: Vec<(LatticePixel, Day)>,
}

/// A site as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SiteRow {
    pub(crate) site_id: String,
    pub(crate) area_id: String,
    pub(crate) revision: u64,
    pub(crate) state: String,
    pub(crate) feature: Value,
    pub(crate) last_run: String,
}

/// A verdict on a reported figure: of a run, or as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssessmentRow {
    /// Area and reporting period.
    pub(crate) subject: String,
    pub(crate) revision: u64,
    pub(crate) verdict: String,
    /// Flat properties.
    pub(crate) row: Value,
    pub(crate) last_run: String,
}

/// What the ledger knows, by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) alerts: BTreeMap<String, AlertRow>,
    pub(crate) sites: BTreeMap<String, SiteRow>,
    pub(crate) assessments: BTreeMap<String, AssessmentRow>,
}

/// What a run found in one area.
pub(crate) struct AreaFindings<'a> {
    pub(crate) area_id: &'a str,
    /// Of the lattice of the alerts' pixels.
    pub(crate) epsg: u32,
    pub(crate) notice: &'a str,
    pub(crate) alerts: &'a [Alert],
    pub(crate) retractions: &'a [Retraction],
    pub(crate) sites: &'a [Site],
    /// First day of the monitoring period.
    pub(crate) monitor_from: Day,
    /// The newest look that was read.
    pub(crate) newest_look: UtcTime,
    /// False if a cell or a scene could not be read: then an alert that is not found may still be there.
    pub(crate) is_whole: bool,
}

/// A run, as far as events need it.
pub(crate) struct RunFindings<'a> {
    pub(crate) run_id: &'a str,
    /// URI-reference: `pitwatch/seguela`.
    pub(crate) source: &'a str,
    pub(crate) areas: &'a [AreaFindings<'a>],
    /// The verdicts; `revision` and `last_run` are not looked at.
    pub(crate) assessments: &'a [AssessmentRow],
    /// Flat properties of `run.completed`.
    pub(crate) summary: Value,
    /// The lines of the run's events that are in the ledger: it was published before under this name.
    pub(crate) recorded: &'a [String],
}

/// What a run changes in the ledger.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Rows to be put in the place of those of the same id.
    pub(crate) state: State,
    /// Events that the ledger does not have, in order.
    pub(crate) events: Vec<Event>,
}

/// The alerts of an area that were reported before a run's monitoring period, with their ground on the run's lattice.
///
/// An alert whose pixels lie on another lattice, or were not kept, has those whose centers its outline holds.
pub(crate) fn known(
    before: &State,
    area_id: &str,
    monitor_from: Day,
    geobox: &GeoBox,
) -> Vec<Known> {
    let rows = before
        .alerts
        .values()
        .filter(|row| row.area_id == area_id && Day::of(row.alert_datetime) < monitor_from);
    rows.filter_map(|row| known_alert(row, geobox)).collect()
}

/// `None` for a row that another program wrote: without a kind, an area or a place.
fn known_alert(row: &AlertRow, geobox: &GeoBox) -> Option<Known> {
    let number = |column| property(&row.feature, column).as_f64();
    let time = |column| parse_time(property(&row.feature, column).as_str()?).ok();
    let day = Day::of(row.alert_datetime);
    let pixels = if row.epsg == Some(geobox.crs().epsg()) && !row.pixels.is_empty() {
        row.pixels.clone()
    } else {
        let at = |at| (at, day);
        covered(&row.feature["geometry"], geobox)?
            .into_iter()
            .map(at)
            .collect()
    };
    let named = LatticePixel {
        row: row.first_row,
        col: row.first_col,
    };
    Some(Known {
        alert_id: row.alert_id.clone(),
        kind: match property(&row.feature, "kind").as_str()? {
            "excavation" => Kind::Excavation,
            "cleared" => Kind::Cleared,
            _ => return None,
        },
        tier: if row.standing == Standing::Confirmed {
            Tier::Confirmed
        } else {
            Tier::Provisional
        },
        first_pixel: named,
        area_ha: [
            number("area_ha")?,
            number("area_ha_lo")?,
            number("area_ha_hi")?,
        ],
        start_datetime: time("start_datetime")?,
        end_datetime: time("end_datetime")?,
        alert_datetime: row.alert_datetime,
        is_retracted: row.standing == Standing::Retracted,
        pixels,
    })
}

/// The pixels of a lattice whose centers lie in a GeoJSON MultiPolygon.
fn covered(geometry: &Value, geobox: &GeoBox) -> Option<Vec<LatticePixel>> {
    let ring = |ring: &Value| -> Option<LineString<f64>> {
        let points = ring.as_array()?.iter();
        points
            .map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)))
            .collect()
    };
    let polygon = |polygon: &Value| -> Option<Polygon<f64>> {
        let mut rings = polygon.as_array()?.iter().map(ring);
        let exterior = rings.next()??;
        Some(Polygon::new(exterior, rings.collect::<Option<_>>()?))
    };
    let polygons: Option<Vec<_>> = geometry["coordinates"]
        .as_array()?
        .iter()
        .map(polygon)
        .collect();
    let region = Region::new(MultiPolygon(polygons?)).ok()?;
    let around = region.geobox(geobox).ok()?;
    let (origin, width) = (around.lattice_origin(), around.shape().width);
    let mask = region.mask(&around).ok()?;
    let inside = mask.iter().enumerate().filter(|(_, is_inside)| **is_inside);
    let place = |(index, _): (usize, &bool)| LatticePixel {
        row: origin.row + (index / width) as i64,
        col: origin.col + (index % width) as i64,
    };
    Some(inside.map(place).collect())
}

/// Compares what a run found with what the ledger knew before it.
///
/// Nothing is said of alerts of areas that the run did not look at, of alerts reported before its monitoring period or
/// after its newest look, and of alerts that are missing where something could not be read: absence is no retraction there.
///
/// # Errors
///
/// If a feature cannot be written as JSON.
pub(crate) fn compare(before: &State, run: &RunFindings<'_>) -> Result<Changes> {
    let mut teller = Teller {
        run,
        changes: Changes::default(),
    };
    let mut areas: Vec<_> = run.areas.iter().collect();
    areas.sort_by_key(|area| area.area_id);
    for area in areas {
        for alert in area.alerts {
            let feature = alert_feature(alert, area.notice)?;
            teller.found(before.alerts.get(&alert.alert_id), alert, feature, area);
        }
        let found: BTreeSet<&str> = area
            .alerts
            .iter()
            .map(|alert| alert.alert_id.as_str())
            .collect();
        let missing = before.alerts.values().filter(|row| {
            row.area_id == area.area_id
                && row.standing != Standing::Retracted
                && !found.contains(row.alert_id.as_str())
        });
        for row in missing {
            teller.missing(row, area);
        }
        teller.sites(before, area)?;
    }
    teller.assessments(before);
    teller.completed();
    Ok(teller.changes)
}

/// True if something changed that a person acts on: the area left the interval that was told, or the kind, the cause, the
/// tier or the review is another.
fn is_to_be_told(told: &Value, now: &Value) -> bool {
    let number = |feature: &Value, column: &str| property(feature, column).as_f64();
    let is_outside = match (
        number(now, "area_ha"),
        number(told, "area_ha_lo"),
        number(told, "area_ha_hi"),
    ) {
        (Some(area), Some(lo), Some(hi)) => area < lo || area > hi,
        _ => true,
    };
    is_outside
        || ["kind", "cause", "tier", "review"]
            .iter()
            .any(|column| property(told, column) != property(now, column))
}

fn property<'a>(feature: &'a Value, column: &str) -> &'a Value {
    &feature["properties"][column]
}

/// What those hold who read the events of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// They were told nothing.
    Unknown,
    Stands,
    Dismissed,
    Retracted,
}

impl Belief {
    /// Of an alert that is dismissed nothing is told, so this may differ from what the ledger holds.
    fn of(known: Option<&AlertRow>) -> Self {
        match known {
            Some(row) if row.revision > 0 => {
                if !property(&row.told, "retracted_reason").is_null() {
                    Self::Retracted
                } else if property(&row.told, "review") == "dismissed" {
                    Self::Dismissed
                } else {
                    Self::Stands
                }
            }
            _ => Self::Unknown,
        }
    }
}

struct Teller<'a> {
    run: &'a RunFindings<'a>,
    changes: Changes,
}

impl Teller<'_> {
    fn tell(
        &mut self,
        event_type: EventType,
        subject: &str,
        revision: &mut u64,
        time: UtcTime,
        data: Value,
    ) {
        *revision += 1;
        self.changes.events.push(Event {
            event_type,
            source: self.run.source.to_owned(),
            subject: subject.to_owned(),
            revision: *revision,
            run_id: self.run.run_id.to_owned(),
            time,
            data,
        });
    }

    fn found(
        &mut self,
        known: Option<&AlertRow>,
        alert: &Alert,
        feature: Value,
        area: &AreaFindings<'_>,
    ) {
        let is_dismissed = alert.review == Review::Dismissed;
        let confirmed = alert.confirmed_datetime;
        let mut revision = known.map_or(0, |row| row.revision);
        let id = alert.alert_id.as_str();
        let data = || feature.clone();
        let n_before = self.changes.events.len();
        match (Belief::of(known), known) {
            (Belief::Stands, _) if is_dismissed => self.tell(
                EventType::AlertDismissed,
                id,
                &mut revision,
                area.newest_look,
                data(),
            ),
            _ if is_dismissed => {}
            (Belief::Stands | Belief::Dismissed, Some(row)) => {
                let is_newly_confirmed = property(&row.told, "tier") != "confirmed";
                match confirmed {
                    Some(time) if is_newly_confirmed => {
                        self.tell(EventType::AlertConfirmed, id, &mut revision, time, data());
                    }
                    _ if is_to_be_told(&row.told, &feature) => self.tell(
                        EventType::AlertUpdated,
                        id,
                        &mut revision,
                        area.newest_look,
                        data(),
                    ),
                    _ => {}
                }
            }
            // New, standing again, or dismissed until now without anybody having been told of it.
            _ => {
                self.tell(
                    EventType::AlertCreated,
                    id,
                    &mut revision,
                    alert.alert_datetime,
                    data(),
                );
                if let Some(time) = confirmed {
                    self.tell(EventType::AlertConfirmed, id, &mut revision, time, data());
                }
            }
        }
        let is_told = self.changes.events.len() > n_before;
        let told = known
            .filter(|_| !is_told)
            .map_or_else(data, |row| row.told.clone());
        self.changes.state.alerts.insert(
            id.to_owned(),
            AlertRow {
                alert_id: id.to_owned(),
                area_id: alert.area_id.clone(),
                revision,
                standing: alert.tier.into(),
                alert_datetime: alert.alert_datetime,
                first_row: alert.first_pixel.row,
                first_col: alert.first_pixel.col,
                told,
                feature,
                first_run: known
                    .map_or_else(|| self.run.run_id.to_owned(), |row| row.first_run.clone()),
                last_run: self.run.run_id.to_owned(),
                epsg: Some(area.epsg),
                pixels: {
                    let days = alert.pixel_alert_datetimes.iter();
                    let days = days.map(|&time| Day::of(time));
                    alert.pixels.iter().copied().zip(days).collect()
                },
            },
        );
    }

    fn missing(&mut self, row: &AlertRow, area: &AreaFindings<'_>) {
        if Day::of(row.alert_datetime) < area.monitor_from || row.alert_datetime > area.newest_look
        {
            return;
        }
        let listed = area
            .retractions
            .iter()
            .rfind(|back| back.is_alert && back.alert_id == row.alert_id);
        let heir = area.alerts.iter().find(|alert| {
            alert
                .pixels
                .iter()
                .any(|pixel| (pixel.row, pixel.col) == (row.first_row, row.first_col))
        });
        if listed.is_none() && heir.is_none() && !area.is_whole {
            return;
        }
        let (time, reason) = match (listed, heir) {
            (Some(back), _) => (back.retracted_datetime, "later looks"),
            (None, Some(_)) => (area.newest_look, "merged"),
            (None, None) => (area.newest_look, "not found again"),
        };
        let mut feature = row.feature.clone();
        if let Some(properties) = feature["properties"].as_object_mut() {
            let merged_into = (reason == "merged")
                .then_some(heir)
                .flatten()
                .map(|alert| alert.alert_id.as_str());
            properties.insert("merged_into".into(), json!(merged_into));
            properties.insert("retracted_datetime".into(), json!(format_time(time)));
            properties.insert("retracted_reason".into(), json!(reason));
        }
        let mut after = AlertRow {
            standing: Standing::Retracted,
            ..row.clone()
        };
        if Belief::of(Some(row)) == Belief::Stands {
            self.tell(
                EventType::AlertRetracted,
                &row.alert_id,
                &mut after.revision,
                time,
                feature.clone(),
            );
            after.told = feature;
        }
        self.changes
            .state
            .alerts
            .insert(row.alert_id.clone(), after);
    }

    fn sites(&mut self, before: &State, area: &AreaFindings<'_>) -> Result<()> {
        let mut found = BTreeSet::new();
        for site in area.sites {
            let feature = site_feature(site, area.notice)?;
            let state = property(&feature, "state")
                .as_str()
                .unwrap_or_default()
                .to_owned();
            found.insert(site.site_id.as_str());
            self.site(
                before.sites.get(&site.site_id),
                &site.site_id,
                state,
                feature,
                area,
            );
        }
        // A site that is missing is given up only when none of its alerts stands.
        let mut held: BTreeSet<&str> = BTreeSet::new();
        for (id, row) in &before.alerts {
            let after = self.changes.state.alerts.get(id).unwrap_or(row);
            if after.standing != Standing::Retracted {
                held.extend(property(&after.feature, "site_id").as_str());
            }
        }
        let gone: Vec<&SiteRow> = before
            .sites
            .values()
            .filter(|row| {
                row.area_id == area.area_id
                    && row.state != RETRACTED
                    && row.state != MERGED
                    && !found.contains(row.site_id.as_str())
                    && !held.contains(row.site_id.as_str())
            })
            .collect();
        let gone: Vec<SiteRow> = gone.into_iter().cloned().collect();
        for row in gone {
            let heir = area.sites.iter().find(|site| {
                let had = |id: &String| {
                    before.alerts.get(id).is_some_and(|alert| {
                        property(&alert.feature, "site_id") == row.site_id.as_str()
                    })
                };
                site.merged_from.contains(&row.site_id) || site.alert_ids.iter().any(had)
            });
            let state = if heir.is_some() { MERGED } else { RETRACTED };
            let mut feature = row.feature.clone();
            feature["properties"]["state"] = json!(state);
            feature["properties"]["merged_into"] = json!(heir.map(|site| site.site_id.as_str()));
            self.site(Some(&row), &row.site_id, state.into(), feature, area);
        }
        Ok(())
    }

    fn site(
        &mut self,
        known: Option<&SiteRow>,
        id: &str,
        state: String,
        feature: Value,
        area: &AreaFindings<'_>,
    ) {
        let mut revision = known.map_or(0, |row| row.revision);
        if known.is_none_or(|row| row.state != state) {
            self.tell(
                EventType::SiteChanged,
                id,
                &mut revision,
                area.newest_look,
                feature.clone(),
            );
        }
        let row = SiteRow {
            site_id: id.to_owned(),
            area_id: area.area_id.to_owned(),
            revision,
            state,
            feature,
            last_run: self.run.run_id.to_owned(),
        };
        self.changes.state.sites.insert(id.to_owned(), row);
    }

    fn assessments(&mut self, before: &State) {
        let Some(newest) = self.newest_look() else {
            return;
        };
        for found in self.run.assessments {
            let known = before.assessments.get(&found.subject);
            let mut row = AssessmentRow {
                revision: known.map_or(0, |row| row.revision),
                last_run: self.run.run_id.to_owned(),
                ..found.clone()
            };
            if known.is_none_or(|known| known.verdict != found.verdict) {
                self.tell(
                    EventType::AssessmentChanged,
                    &found.subject,
                    &mut row.revision,
                    newest,
                    feature_without_place(found.row.clone()),
                );
            }
            let rows = &mut self.changes.state.assessments;
            rows.insert(found.subject.clone(), row);
        }
    }

    /// Ends the events of a run. One that was published before and says nothing else stays as it is.
    fn completed(&mut self) {
        let Some(newest) = self.newest_look() else {
            return;
        };
        let data = feature_without_place(self.run.summary.clone());
        let told: Vec<Value> = self
            .run
            .recorded
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|event: &Value| event["type"] == EventType::RunCompleted.name())
            .collect();
        let is_same = told.last().is_some_and(|event| event["data"] == data);
        if self.changes.events.is_empty() && is_same {
            return;
        }
        let mut revision = told.len() as u64;
        let run_id = self.run.run_id;
        self.tell(EventType::RunCompleted, run_id, &mut revision, newest, data);
    }

    fn newest_look(&self) -> Option<UtcTime> {
        self.run.areas.iter().map(|area| area.newest_look).max()
    }
}

#[cfg(test)]
mod tests {
    use geo::{MultiPolygon, polygon};
    use pitwatch_change::Kind;
    use pitwatch_grid::{LatticePixel, parse_time};
    use pitwatch_sites::{Cause, SiteState};
    use proptest::prelude::*;

    use super::*;

    /// A day of January 2024.
    fn at(day: i64) -> UtcTime {
        parse_time("2024-01-01T10:48:29Z").unwrap() + chrono::Duration::days(day - 1)
    }

    fn alert(number: i64, tier: Tier, area_ha: f64, review: Review) -> Alert {
        let pixel = LatticePixel {
            row: number,
            col: 0,
        };
        let x = number as f64;
        let outline: MultiPolygon<f64> =
            polygon![(x: x, y: 8.0), (x: x + 0.1, y: 8.0), (x: x, y: 8.1)].into();
        Alert {
            alert_id: format!("area-20240101-S{number}E0"),
            site_id: Some(format!("area-site-S{number}E0")),
            area_id: "area".into(),
            kind: Kind::Excavation,
            tier,
            cause: Cause::Pit,
            probability: 0.9,
            evidence: None,
            area_ha,
            area_ha_lo: area_ha - 0.5,
            area_ha_hi: area_ha + 0.5,
            start_datetime: at(1),
            end_datetime: at(2),
            alert_datetime: at(3),
            confirmed_datetime: (tier == Tier::Confirmed).then(|| at(5)),
            n_clear_history: 60,
            n_clear_since: 4,
            min_detectable_ha: 0.03,
            ndvi_before: 0.6,
            ndvi_after: 0.1,
            bsi_before: -0.1,
            bsi_after: f32::NAN,
            review,
            first_pixel: pixel,
            pixels: vec![pixel],
            pixel_alert_datetimes: vec![at(3)],
            pixel_confirmed_datetimes: vec![None],
            pixel_has_greened: vec![false],
            outline: outline.clone(),
            outline_lonlat: outline,
        }
    }

    fn site(alert: &Alert) -> Site {
        Site {
            site_id: alert.site_id.clone().unwrap(),
            area_id: "area".into(),
            state: SiteState::New,
            last_growth: Day::of(at(3)),
            last_clear: None,
            growth: Vec::new(),
            merged_from: Vec::new(),
            split_from: None,
            kind: alert.kind,
            tier: alert.tier,
            n_alerts: 1,
            excavation_area_ha: alert.area_ha,
            cleared_area_ha: 0.0,
            start_datetime: at(1),
            end_datetime: at(2),
            first_alert_datetime: at(3),
            last_alert_datetime: at(3),
            alert_ids: vec![alert.alert_id.clone()],
            surroundings: pitwatch_sites::Surroundings::default(),
            outline: alert.outline.clone(),
            outline_lonlat: alert.outline.clone(),
        }
    }

    /// A run of one area, as a test wants it.
    #[derive(Debug, Clone)]
    struct Run {
        alerts: Vec<Alert>,
        retractions: Vec<Retraction>,
        monitor_from: Day,
        newest_look: UtcTime,
        is_whole: bool,
        verdict: &'static str,
    }

    impl Run {
        fn of(alerts: &[Alert]) -> Self {
            Self {
                alerts: alerts.to_vec(),
                retractions: Vec::new(),
                monitor_from: Day::of(at(1)),
                newest_look: at(20),
                is_whole: true,
                verdict: "within",
            }
        }

        fn compare(&self, before: &State, run_id: &str, recorded: &[String]) -> Changes {
            let sites: Vec<Site> = self.alerts.iter().map(site).collect();
            let mut summary = json!({"run_id": run_id, "previous_run": null, "notice": "n"});
            for name in COUNTS {
                summary[name] = json!(self.alerts.len());
            }
            let areas = [AreaFindings {
                area_id: "area",
                epsg: 32630,
                notice: "n",
                alerts: &self.alerts,
                retractions: &self.retractions,
                sites: &sites,
                monitor_from: self.monitor_from,
                newest_look: self.newest_look,
                is_whole: self.is_whole,
            }];
            let assessments = [AssessmentRow {
                subject: "area-2023-S2".into(),
                revision: 0,
                verdict: self.verdict.into(),
                row: json!({
                    "assessment_id": "area/2023-S2", "scope": "area", "country": "CIV", "period": "2023-S2",
                    "verdict": self.verdict, "implied_ct_p05": null, "implied_ct_p50": null, "implied_ct_p95": null,
                    "reported_ct": 12.5, "reasons": "a reason", "notice": "n",
                }),
                last_run: String::new(),
            }];
            let run = RunFindings {
                run_id,
                source: "pitwatch/test",
                areas: &areas,
                assessments: &assessments,
                summary,
                recorded,
            };
            compare(before, &run).unwrap()
        }
    }

    const COUNTS: [&str; 12] = [
        "n_areas",
        "n_looks",
        "n_looks_not_found",
        "n_looks_used",
        "n_pixels",
        "n_pixels_observable",
        "n_excavation_confirmed",
        "n_excavation_provisional",
        "n_cleared_confirmed",
        "n_cleared_provisional",
        "n_sites",
        "n_failed",
    ];

    /// The ledger through some runs, and all events.
    #[derive(Default)]
    struct History {
        state: State,
        events: Vec<Event>,
        n_runs: usize,
    }

    impl History {
        /// The types of the events of a run, in order, without `pitwatch.` and the version.
        fn run(&mut self, run: &Run) -> Vec<String> {
            self.n_runs += 1;
            let changes = run.compare(&self.state, &format!("run-{}", self.n_runs), &[]);
            self.state.alerts.extend(changes.state.alerts);
            self.state.sites.extend(changes.state.sites);
            self.state.assessments.extend(changes.state.assessments);
            for event in &changes.events {
                check_schema(event);
            }
            let names = changes.events.iter().map(|event| {
                let name = event.event_type.name().strip_prefix("pitwatch.").unwrap();
                name.strip_suffix(".v1").unwrap().to_owned()
            });
            let names = names.collect();
            self.events.extend(changes.events);
            names
        }

        fn of(runs: &[Run]) -> Self {
            let mut history = Self::default();
            for run in runs {
                history.run(run);
            }
            history
        }
    }

    fn check_schema(event: &Event) {
        let name = event.event_type.name().strip_prefix("pitwatch.").unwrap();
        let path = format!(
            "{}/../../docs/schemas/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let event: Value = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        if let Err(error) = jsonschema::draft202012::new(&schema)
            .unwrap()
            .validate(&event)
        {
            panic!("{error} at {}: {event}", error.instance_path());
        }
    }

    fn confirmed(area_ha: f64) -> Alert {
        alert(1, Tier::Confirmed, area_ha, Review::Unreviewed)
    }

    fn provisional(area_ha: f64) -> Alert {
        alert(1, Tier::Provisional, area_ha, Review::Unreviewed)
    }

    #[test]
    fn an_alert_is_told_when_it_comes_is_confirmed_grows_and_goes() {
        let mut history = History::default();
        assert_eq!(
            history.run(&Run::of(&[provisional(2.0)])),
            [
                "alert.created",
                "site.changed",
                "assessment.changed",
                "run.completed"
            ]
        );
        assert_eq!(
            history.run(&Run::of(&[confirmed(2.0)])),
            ["alert.confirmed", "run.completed"]
        );
        // 2 ha ± 0.5 ha was told: 2.4 ha is within, 2.6 ha is not, and 2.9 ha is within 2.6 ha ± 0.5 ha.
        assert_eq!(history.run(&Run::of(&[confirmed(2.4)])), ["run.completed"]);
        assert_eq!(
            history.run(&Run::of(&[confirmed(2.6)])),
            ["alert.updated", "run.completed"]
        );
        assert_eq!(history.run(&Run::of(&[confirmed(2.9)])), ["run.completed"]);
        assert_eq!(
            history.run(&Run::of(&[])),
            ["alert.retracted", "site.changed", "run.completed"]
        );
        let told = &history.events[history.events.len() - 3];
        assert_eq!((told.revision, told.time), (4, at(20)));
        assert_eq!(
            told.data["properties"]["retracted_reason"],
            "not found again"
        );
        assert_eq!(history.run(&Run::of(&[])), ["run.completed"]);
        assert_eq!(
            history.run(&Run::of(&[confirmed(2.0)])),
            [
                "alert.created",
                "alert.confirmed",
                "site.changed",
                "run.completed"
            ]
        );
    }

    #[test]
    fn an_alert_that_was_not_looked_for_stands() {
        let first = Run::of(&[provisional(2.0)]);
        for change in [
            |run: &mut Run| run.monitor_from = Day::of(at(4)),
            |run: &mut Run| run.newest_look = at(2),
            |run: &mut Run| run.is_whole = false,
        ] {
            let mut second = Run::of(&[]);
            change(&mut second);
            let mut history = History::of(std::slice::from_ref(&first));
            assert_eq!(history.run(&second), ["run.completed"]);
            let row = history.state.alerts.values().next().unwrap();
            assert_eq!(row.standing, Standing::Provisional);
        }
    }

    #[test]
    fn what_took_an_alert_back_is_told() {
        let gone = provisional(2.0);
        let mut heir = alert(2, Tier::Provisional, 3.0, Review::Unreviewed);
        heir.pixels.push(gone.first_pixel);
        let mut listed = Run::of(&[]);
        listed.is_whole = false;
        listed.retractions.push(Retraction {
            alert_id: gone.alert_id.clone(),
            area_id: "area".into(),
            kind: Kind::Excavation,
            alert_datetime: at(3),
            confirmed_datetime: None,
            retracted_datetime: at(9),
            is_alert: true,
            first_pixel: gone.first_pixel,
        });
        let cases = [
            (listed, "later looks", at(9), Value::Null),
            (
                Run::of(std::slice::from_ref(&heir)),
                "merged",
                at(20),
                json!(heir.alert_id),
            ),
        ];
        for (run, reason, time, into) in cases {
            let mut history = History::of(&[Run::of(std::slice::from_ref(&gone))]);
            history.run(&run);
            let told = history
                .events
                .iter()
                .find(|event| event.event_type == EventType::AlertRetracted)
                .unwrap();
            let properties = &told.data["properties"];
            assert_eq!(told.time, time);
            assert_eq!(properties["retracted_reason"], reason);
            assert_eq!(properties["merged_into"], into);
        }
    }

    #[test]
    fn a_dismissed_alert_is_silent_until_the_dismissal_is_taken_back() {
        let dismissed = |tier, area_ha| alert(1, tier, area_ha, Review::Dismissed);
        let mut history = History::of(&[Run::of(&[provisional(2.0)])]);
        assert_eq!(
            history.run(&Run::of(&[dismissed(Tier::Provisional, 2.0)])),
            ["alert.dismissed", "run.completed"]
        );
        assert_eq!(
            history.run(&Run::of(&[dismissed(Tier::Confirmed, 9.0)])),
            ["run.completed"]
        );
        assert_eq!(
            history.run(&Run::of(&[confirmed(9.0)])),
            ["alert.confirmed", "run.completed"]
        );
        // Retracted, then found again and dismissed: for those who read the events it has been gone all the time.
        let mut history = History::of(&[Run::of(&[provisional(2.0)]), Run::of(&[])]);
        for _ in 0..2 {
            let found_again = history.run(&Run::of(&[dismissed(Tier::Provisional, 2.0)]));
            assert!(!found_again.iter().any(|name| name.starts_with("alert")));
        }
        let undone = history.run(&Run::of(&[provisional(2.0)]));
        assert_eq!(undone, ["alert.created", "run.completed"]);
        // Dismissed before any run told of it.
        let mut history = History::of(&[Run::of(&[dismissed(Tier::Provisional, 2.0)])]);
        assert!(history.state.alerts.values().all(|row| row.revision == 0));
        assert_eq!(
            history.run(&Run::of(&[provisional(2.0)])),
            ["alert.created", "run.completed"]
        );
    }

    #[test]
    fn a_verdict_is_told_when_it_changes() {
        let mut run = Run::of(&[]);
        let mut history = History::of(&[run.clone()]);
        run.verdict = "above";
        assert_eq!(history.run(&run), ["assessment.changed", "run.completed"]);
    }

    fn any_run() -> impl Strategy<Value = Run> {
        let tier = prop_oneof![Just(Tier::Provisional), Just(Tier::Confirmed)];
        let review = prop_oneof![
            3 => Just(Review::Unreviewed),
            1 => Just(Review::Dismissed),
            1 => Just(Review::Confirmed),
        ];
        let alert = (0..5_i64, tier, 1..6_u8, review)
            .prop_map(|(number, tier, area, review)| alert(number, tier, f64::from(area), review));
        (prop::collection::vec(alert, 0..5), any::<bool>()).prop_map(|(mut alerts, is_whole)| {
            alerts.sort_by(|a, b| a.alert_id.cmp(&b.alert_id));
            alerts.dedup_by(|a, b| a.alert_id == b.alert_id);
            let mut run = Run::of(&alerts);
            run.is_whole = is_whole;
            run
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn events_replay_to_the_ledgers_state(runs in prop::collection::vec(any_run(), 1..8)) {
            let history = History::of(&runs);
            let mut replayed: BTreeMap<&str, &Event> = BTreeMap::new();
            let mut ids = BTreeSet::new();
            for event in &history.events {
                let before = replayed.insert(&event.subject, event);
                prop_assert_eq!(event.revision, before.map_or(1, |before| before.revision + 1));
                prop_assert!(ids.insert(event.id()));
            }
            for (id, row) in &history.state.alerts {
                let Some(event) = replayed.get(id.as_str()) else {
                    prop_assert_eq!(row.revision, 0);
                    continue;
                };
                prop_assert_eq!(event.revision, row.revision);
                prop_assert_eq!(&event.data, &row.told);
                // Of what is dismissed nothing more is told, whatever becomes of it.
                let is_silent = event.event_type == EventType::AlertDismissed
                    || property(&row.feature, "review") == "dismissed";
                let is_retracted = event.event_type == EventType::AlertRetracted;
                prop_assert!(is_silent || is_retracted == (row.standing == Standing::Retracted));
                if !is_silent && !is_retracted {
                    prop_assert_eq!(property(&event.data, "tier"), property(&row.feature, "tier"));
                }
            }
            for (id, row) in &history.state.sites {
                prop_assert_eq!(property(&replayed[id.as_str()].data, "state"), &json!(row.state));
            }
        }

        #[test]
        fn the_same_run_again_tells_nothing(runs in prop::collection::vec(any_run(), 1..5)) {
            let history = History::of(&runs);
            let run_id = format!("run-{}", history.n_runs);
            let of_run = history.events.iter().filter(|event| event.run_id == run_id);
            let lines: Vec<String> = of_run.map(|event| event.to_json().unwrap()).collect();
            let again = runs.last().unwrap().compare(&history.state, &run_id, &lines);
            prop_assert_eq!(again.events, Vec::new());
            // Without its record the end is told again, and it alone.
            let again = runs.last().unwrap().compare(&history.state, &run_id, &[]);
            prop_assert_eq!(again.events.len(), 1);
        }
    }
}
