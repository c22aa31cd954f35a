use std::fmt;

use pitwatch_grid::{UtcTime, format_time};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Error, Result};

/// The namespace of event ids: drawn once at random, and never changed, since ids would change with it.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d0c_7e52_9f3b_4a86_b1c4_2f60_e8d7_913a);

/// What happened.
///
/// The names have no reverse-DNS prefix, which CloudEvents recommends and does not demand: pitwatch holds no domain, and
/// a name under somebody else's is a claim that they may come to contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// An alert stands that did not stand before.
    AlertCreated,
    /// Something of a standing alert changed that a person acts on.
    AlertUpdated,
    /// An alert reached the confirmed tier.
    AlertConfirmed,
    /// A reviewer dismissed it.
    AlertDismissed,
    /// It stands no more.
    AlertRetracted,
    /// A site is new, or its state is another.
    SiteChanged,
    /// The verdict on a reported figure is new or another.
    AssessmentChanged,
    /// A run ended; always the last of a run, also where nothing was found.
    RunCompleted,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 8] = [
        Self::AlertCreated,
        Self::AlertUpdated,
        Self::AlertConfirmed,
        Self::AlertDismissed,
        Self::AlertRetracted,
        Self::SiteChanged,
        Self::AssessmentChanged,
        Self::RunCompleted,
    ];

    /// The value of the attribute `type`, with the version of its schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AlertCreated => "pitwatch.alert.created.v1",
            Self::AlertUpdated => "pitwatch.alert.updated.v1",
            Self::AlertConfirmed => "pitwatch.alert.confirmed.v1",
            Self::AlertDismissed => "pitwatch.alert.dismissed.v1",
            Self::AlertRetracted => "pitwatch.alert.retracted.v1",
            Self::SiteChanged => "pitwatch.site.changed.v1",
            Self::AssessmentChanged => "pitwatch.assessment.changed.v1",
            Self::RunCompleted => "pitwatch.run.completed.v1",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One change of state, as consumers are told of it.
///
/// Source: CloudEvents 1.0.2, structured JSON; `data` is a GeoJSON feature (RFC 7946) with flat properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// URI-reference of what tells it: `pitwatch/seguela`.
    pub source: String,
    /// The alert, site, assessment or run: its id.
    pub subject: String,
    /// Place among the events of the subject, from 1; the highest holds.
    pub revision: u64,
    /// The run that found it.
    pub run_id: String,
    /// The look that decided it, or when a reviewer said it; never the time of the run.
    pub time: UtcTime,
    /// The feature.
    pub data: Value,
}

impl Event {
    /// The id: UUIDv5 of `SUBJECT/REVISION`, so that a replay has the same ids.
    ///
    /// Source: RFC 9562, § 5.5.
    #[must_use]
    pub fn id(&self) -> String {
        event_id(&self.subject, self.revision)
    }

    /// The event as one line of JSON without a line feed, attributes in the order of the specification, `data` last.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON, which no feature of this crate comes to.
    pub fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            specversion: &'a str,
            id: String,
            source: &'a str,
            #[serde(rename = "type")]
            event_type: &'a str,
            subject: &'a str,
            time: String,
            revision: u64,
            runid: &'a str,
            datacontenttype: &'a str,
            data: &'a Value,
        }
        serde_json::to_string(&Envelope {
            specversion: "1.0",
            id: self.id(),
            source: &self.source,
            event_type: self.event_type.name(),
            subject: &self.subject,
            time: format_time(self.time),
            revision: self.revision,
            runid: &self.run_id,
            datacontenttype: "application/geo+json",
            data: &self.data,
        })
        .map_err(|source| Error::Parse {
            what: "an event",
            source,
        })
    }
}

/// The id of a subject's event, as [`Event::id`].
#[must_use]
pub fn event_id(subject: &str, revision: u64) -> String {
    let name = format!("{subject}/{revision}");
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
        .hyphenated()
        .to_string()
}

/// A feature without a place, for what has none: a run, an assessment.
#[must_use]
pub fn feature_without_place(properties: Value) -> Value {
    json!({"type": "Feature", "geometry": null, "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geojson::tests::alerts_and_sites;
    use crate::{ALERT_COLUMNS, SITE_COLUMNS, alert_feature, site_feature};

    fn event() -> Event {
        Event {
            event_type: EventType::RunCompleted,
            source: "pitwatch/demo".into(),
            subject: "20230508-0123456789ab".into(),
            revision: 1,
            run_id: "20230508-0123456789ab".into(),
            time: pitwatch_grid::parse_time("2023-05-08T10:48:29.024Z").unwrap(),
            data: feature_without_place(json!({"n_alerts": 0})),
        }
    }

    #[test]
    fn an_event_has_the_attributes_in_order_on_one_line() {
        insta::assert_snapshot!(event().to_json().unwrap());
    }

    #[test]
    fn the_id_rests_on_subject_and_revision_alone() {
        let first = event();
        let mut other = event();
        other.run_id = "x".into();
        other.event_type = EventType::SiteChanged;
        assert_eq!(first.id(), other.id());
        other.revision = 2;
        assert_ne!(first.id(), other.id());
        // Version 5, variant of RFC 9562.
        assert_eq!(first.id().as_bytes()[14], b'5');
        assert!(b"89ab".contains(&first.id().as_bytes()[19]));
    }

    #[test]
    fn a_feature_of_an_event_has_every_column() {
        let (alerts, sites) = alerts_and_sites();
        let alert = alert_feature(&alerts[0], "notice").unwrap();
        let site = site_feature(&sites[0], "notice").unwrap();
        for column in ALERT_COLUMNS {
            assert!(alert["properties"].get(column).is_some(), "{column}");
        }
        for column in SITE_COLUMNS {
            assert!(site["properties"].get(column).is_some(), "{column}");
        }
        assert_eq!(alert["geometry"]["type"], "MultiPolygon");
    }
}
