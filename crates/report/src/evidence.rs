//! What an alert's cause rests on, and what was taken back.

use std::io::Write;

use pitwatch_grid::format_time;
use pitwatch_sites::{Alert, Cause, Evidence, Features, Retraction, Tier};

use crate::geojson::{cause_name, kind_name, tier_name};
use crate::looks::{decimal, quoted};
use crate::{Error, Result};

/// Writes `evidence.csv`: one line an alert of excavation, with the probability of each cause and the features that they
/// rest on (see [`Features`]), in the order given.
///
/// Probabilities add up to 1. Format as of [`write_looks_csv`](crate::write_looks_csv); numbers with four decimals.
///
/// # Errors
///
/// If `out` refuses.
pub fn write_evidence_csv(out: &mut impl Write, alerts: &[Alert]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "evidence.csv",
        source,
    };
    let probabilities =
        Cause::KNOWN.map(|cause| format!("probability_{}", cause_name(cause).replace(' ', "_")));
    writeln!(
        out,
        "alert_id,tier,cause,{},{}",
        probabilities.join(","),
        Features::NAMES.join(",")
    )
    .map_err(refused)?;
    for alert in alerts {
        let Some(Evidence {
            features,
            probabilities,
        }) = &alert.evidence
        else {
            continue;
        };
        let numbers: Vec<String> = probabilities
            .iter()
            .chain(&features.to_array())
            .map(|&number| decimal(Some(number)))
            .collect();
        writeln!(
            out,
            "{},{},{},{}",
            quoted(&alert.alert_id),
            tier_name(alert.tier),
            cause_name(alert.cause),
            numbers.join(",")
        )
        .map_err(refused)?;
    }
    Ok(())
}

/// Writes `retractions.csv`: alerts, and confirmations of alerts, that later looks took back, in the order given.
///
/// `what` is `alert` if nothing of it stands, `confirmation` if the alert stands as provisional. Format as of
/// [`write_looks_csv`](crate::write_looks_csv).
///
/// # Errors
///
/// If `out` refuses.
pub fn write_retractions_csv(out: &mut impl Write, retractions: &[Retraction]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "retractions.csv",
        source,
    };
    writeln!(
        out,
        "area_id,alert_id,kind,tier,what,alert_datetime,confirmed_datetime,retracted_datetime"
    )
    .map_err(refused)?;
    for retraction in retractions {
        let tier = match retraction.confirmed_datetime {
            Some(_) => Tier::Confirmed,
            None => Tier::Provisional,
        };
        let what = if retraction.is_alert {
            "alert"
        } else {
            "confirmation"
        };
        writeln!(
            out,
            "{},{},{},{},{what},{},{},{}",
            quoted(&retraction.area_id),
            quoted(&retraction.alert_id),
            kind_name(retraction.kind),
            tier_name(tier),
            format_time(retraction.alert_datetime),
            retraction
                .confirmed_datetime
                .map_or_else(String::new, format_time),
            format_time(retraction.retracted_datetime),
        )
        .map_err(refused)?;
    }
    Ok(())
}
