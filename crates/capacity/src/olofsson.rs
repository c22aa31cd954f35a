use crate::{Error, Hectares, Result};

/// One stratum of a reviewed sample: a class of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stratum {
    /// Area that the map gives it.
    pub mapped: Hectares,
    /// Points drawn in it.
    pub n_points: u32,
    /// Of these, points that the reviewer found to be excavation.
    pub n_excavation: u32,
}

/// The area of excavation that a reviewed sample gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleArea {
    /// Hectares, adjusted for commission and omission.
    pub area: Hectares,
    /// Its standard error, hectares.
    pub standard_error: Hectares,
    /// Points of all strata.
    pub n_points: u32,
}

/// The area of excavation by a stratified random sample, adjusted for the map's bias, with its standard error.
///
/// `Â = Σ A_i · n_i1 / n_i`, `S(Â) = √( Σ A_i² · p_i (1 − p_i) / (n_i − 1) )` with `p_i = n_i1 / n_i`, where A_i is the mapped
/// area of stratum i, n_i its points and n_i1 those that are excavation.
///
/// Source: Olofsson et al. 2014, equations 8 to 11, <https://doi.org/10.1016/j.rse.2014.02.015>.
///
/// # Errors
///
/// If there is no stratum, one has fewer than two points or more excavation than points, or an area is negative or not finite.
pub fn sample_area(strata: &[Stratum]) -> Result<SampleArea> {
    let refuse = |value: f64, range| {
        Err(Error::FactorOutOfRange {
            factor: "stratum",
            value,
            range,
        })
    };
    if strata.is_empty() {
        return refuse(0.0, "at one or more strata");
    }
    let (mut area_ha, mut variance, mut n_points) = (0.0, 0.0, 0);
    for stratum in strata {
        if stratum.n_points < 2 {
            return refuse(f64::from(stratum.n_points), "at two points or more");
        }
        if stratum.n_excavation > stratum.n_points {
            return refuse(
                f64::from(stratum.n_excavation),
                "at no more excavation than points",
            );
        }
        let mapped = stratum.mapped.0;
        if !(mapped.is_finite() && mapped >= 0.0) {
            return refuse(mapped, "at an area of 0 or above, and be finite");
        }
        let share = f64::from(stratum.n_excavation) / f64::from(stratum.n_points);
        area_ha += mapped * share;
        variance += mapped.powi(2) * share * (1.0 - share) / f64::from(stratum.n_points - 1);
        n_points += stratum.n_points;
    }
    Ok(SampleArea {
        area: Hectares(area_ha),
        standard_error: Hectares(variance.sqrt()),
        n_points,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 100 ha with 80 of 101 points, 10,000 ha with 1 of 201.
    /// 79.2079 + 49.7512 = 128.959; variance 10⁴·0.164690/100 + 10⁸·0.00495037/200 = 16.47 + 2475.19.
    #[test]
    fn two_strata_by_hand() {
        let strata =
            [(100.0, 101, 80), (10_000.0, 201, 1)].map(|(ha, n_points, n_excavation)| Stratum {
                mapped: Hectares(ha),
                n_points,
                n_excavation,
            });
        let sample = sample_area(&strata).unwrap();
        assert!((sample.area.0 - 128.959_1).abs() < 1e-3, "{sample:?}");
        assert!(
            (sample.standard_error.0 - 49.917).abs() < 1e-2,
            "{sample:?}"
        );
        assert_eq!(sample.n_points, 302);
    }

    #[test]
    fn a_sample_that_says_nothing_is_refused() {
        let stratum = Stratum {
            mapped: Hectares(1.0),
            n_points: 1,
            n_excavation: 0,
        };
        assert!(sample_area(&[]).is_err());
        assert!(sample_area(&[stratum]).is_err());
        let more = Stratum {
            n_points: 2,
            n_excavation: 3,
            ..stratum
        };
        assert!(sample_area(&[more]).is_err());
    }
}
