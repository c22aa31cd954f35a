//! What an alert's cause rests on, and what was taken back.

use std::io::Write;

use pitwatch_grid::format_time;
use pitwatch_sites::{Alert, Cause, Evidence, Features, Retraction, Tier};

use crate::geojson::{cause_name, kind_name, tier_name};
use crate::looks::{decimal, quoted};
use crate::{Error, Result};

/// Writes `evidence.csv`: one line an alert of excavation, with the probability of each cause and the features that they
/// rest on (see [`Features`]), in the order given, and how far the topsoil around was known.
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
        "alert_id,tier,cause,{},{},topsoil_trust",
        probabilities.join(","),
        Features::NAMES.join(",")
    )
    .map_err(refused)?;
    for alert in alerts {
        let Some(Evidence {
            features,
            topsoil_trust,
            probabilities,
        }) = &alert.evidence
        else {
            continue;
        };
        let numbers: Vec<String> = probabilities
            .iter()
            .chain(&features.to_array())
            .chain([topsoil_trust])
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

#[cfg(test)]
mod tests {
    use pitwatch_change::Kind;
    use pitwatch_grid::{LatticePixel, parse_time};

    use super::*;
    use crate::geojson::tests::alerts_and_sites;

    #[test]
    fn each_alert_of_excavation_has_its_probabilities_and_features() {
        let mut out = Vec::new();
        write_evidence_csv(&mut out, &alerts_and_sites().0).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 2, "cleared ground has no causes");
        assert_eq!(
            lines[0].len(),
            3 + Cause::KNOWN.len() + Features::NAMES.len() + 1
        );
        assert_eq!(lines[0].last(), Some(&"topsoil_trust"));
        assert_eq!(lines[0].len(), lines[1].len());
        assert_eq!(
            lines[0][..4],
            ["alert_id", "tier", "cause", "probability_pit"]
        );
        assert_eq!(lines[1][1..4], ["confirmed", "pit", "0.8007"]);
        let total: f64 = lines[1][3..9]
            .iter()
            .map(|p| p.parse::<f64>().unwrap())
            .sum();
        // Six numbers of four decimals.
        assert!((total - 1.0).abs() < 6.0 * 0.5e-4, "{total}");
    }

    #[test]
    fn what_was_taken_back_is_a_line_each() {
        let time = |day: u32| parse_time(&format!("2023-05-{day:02}T10:48:29Z")).unwrap();
        let confirmation = Retraction {
            alert_id: "a-20230504-N1E1".into(),
            area_id: "a".into(),
            kind: Kind::Excavation,
            first_pixel: LatticePixel { row: 1, col: 1 },
            alert_datetime: time(4),
            confirmed_datetime: Some(time(7)),
            retracted_datetime: time(9),
            is_alert: false,
        };
        let alert = Retraction {
            confirmed_datetime: None,
            is_alert: true,
            ..confirmation.clone()
        };
        let mut out = Vec::new();
        write_retractions_csv(&mut out, &[confirmation, alert]).unwrap();
        let lines: Vec<String> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            lines[1..],
            [
                "a,a-20230504-N1E1,excavation,confirmed,confirmation,2023-05-04T10:48:29Z,2023-05-07T10:48:29Z,2023-05-09T10:48:29Z",
                "a,a-20230504-N1E1,excavation,provisional,alert,2023-05-04T10:48:29Z,,2023-05-09T10:48:29Z",
            ]
        );
    }
}
