use crate::{Error, Estimate, Result};

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// An area in hectares.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Hectares(pub f64);

/// A mass of diamonds in carats (0.2 g).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Carats(pub f64);

/// What turns the mapped area of a pit into carats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PitFactors {
    /// p: calibrated probability that the mapped area is excavation, 0 to 1. Where an area was adjusted for bias by a
    /// reviewed sample (Olofsson et al. 2014, <https://doi.org/10.1016/j.rse.2014.02.015>), this is 1 and `omitted_share` is 0: never both.
    pub probability: f64,
    /// φ: share of the disturbed area that is dug down to gravel, 0 to 1; the rest is spoil, paths, ponds, camps.
    pub dug_share: f64,
    /// T: thickness of the gravel in meters.
    pub gravel_thickness_m: f64,
    /// ξ: share of the gravel that is taken out, 0 to 1; the rest is walls and pillars.
    pub extracted_share: f64,
    /// G: carats in a cubic meter of gravel.
    pub grade_ct_per_m3: f64,
    /// R: share of the diamonds that washing recovers, 0 to 1; 1 where the grade is one of recovered carats.
    pub recovery: f64,
    /// s: probability that the pit was dug for diamonds and not for gold, 0 to 1.
    pub diamond_share: f64,
    /// o: share of the digging that is not detected, 0 or more and below 1.
    pub omitted_share: f64,
}

/// The share of the digging that is not detected, as it was measured: a value with its interval of 90 %.
///
/// `pitwatch skill` measures it on an area's own imagery; where it was not measured there is none, and no default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OmittedShare {
    value: f64,
    lo: f64,
    hi: f64,
}

impl OmittedShare {
    /// A share with the ends of its interval, each 0 to 1.
    ///
    /// # Errors
    ///
    /// If one of them is outside that range, or they are not in order.
    pub fn new(value: f64, lo: f64, hi: f64) -> Result<Self> {
        let is_in_order = 0.0 <= lo && lo <= value && value <= hi && hi <= 1.0;
        check(
            "omitted_share",
            value,
            is_in_order,
            "within its interval, which is between 0 and 1",
        )?;
        Ok(Self { value, lo, hi })
    }

    /// The value and the ends of its interval of 90 %.
    #[must_use]
    pub fn estimate(self) -> Estimate {
        Estimate {
            value: self.value,
            lo: self.lo,
            hi: self.hi,
        }
    }

    /// The factors with the measured value, and with the lower and the upper end of its interval, in this order.
    ///
    /// A share of 1 is refused by [`carats_from_pits`]: where nothing is detected, area cannot be turned into carats.
    #[must_use]
    pub fn applied_to(self, factors: PitFactors) -> [PitFactors; 3] {
        [self.value, self.lo, self.hi].map(|omitted_share| PitFactors {
            omitted_share,
            ..factors
        })
    }
}

/// Carats that one mapped pit could have yielded.
///
/// `C = A · p · φ · T · ξ · G · R · s / (1 − o)`, with A in square meters. Every factor is a single value here; which
/// values, and how far off they may be, is for the caller to say.
///
/// Source: the pit form of the U.S. Geological Survey's studies (Côte d'Ivoire: Scientific Investigations Report 2013–5185,
/// <https://doi.org/10.3133/sir20135185>, of which only the inputs could be read), with the factors p, φ, ξ, s and o that
/// imagery of 10 m needs added by pitwatch.
///
/// # Errors
///
/// If the area, the thickness or the grade is negative or not finite, or a share is outside its range.
pub fn carats_from_pits(area: Hectares, factors: &PitFactors) -> Result<Carats> {
    let amount = |factor, value: f64| {
        let is_in_range = value.is_finite() && value >= 0.0;
        check(factor, value, is_in_range, "at 0 or above, and be finite")
    };
    let share = |factor, value: f64| {
        let is_in_range = (0.0..=1.0).contains(&value);
        check(factor, value, is_in_range, "between 0 and 1")
    };
    let area_m2 = amount("area", area.0)? * M2_PER_HA;
    let gravel_m3 = area_m2
        * share("probability", factors.probability)?
        * share("dug_share", factors.dug_share)?
        * amount("gravel_thickness_m", factors.gravel_thickness_m)?
        * share("extracted_share", factors.extracted_share)?;
    let detected_ct = gravel_m3
        * amount("grade_ct_per_m3", factors.grade_ct_per_m3)?
        * share("recovery", factors.recovery)?
        * share("diamond_share", factors.diamond_share)?;
    let omitted_share = check(
        "omitted_share",
        factors.omitted_share,
        (0.0..1.0).contains(&factors.omitted_share),
        "at 0 or above and below 1",
    )?;
    Ok(Carats(detected_ct / (1.0 - omitted_share)))
}

fn check(factor: &'static str, value: f64, is_in_range: bool, range: &'static str) -> Result<f64> {
    if is_in_range {
        Ok(value)
    } else {
        Err(Error::FactorOutOfRange {
            factor,
            value,
            range,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The middle of the prior for Séguéla's alluvium (geometric for thickness and grade, mode for the shares).
    const SEGUELA: PitFactors = PitFactors {
        probability: 1.0,
        dug_share: 0.5,
        gravel_thickness_m: 0.547_7,
        extracted_share: 0.8,
        grade_ct_per_m3: 0.755,
        recovery: 0.7,
        diamond_share: 1.0,
        omitted_share: 0.0,
    };

    /// The Monte Carlo median of that prior is 1,137 ct/ha; the middles of skewed factors come within 5 % of it.
    #[test]
    fn a_hectare_of_seguela_gives_about_the_median_of_its_prior() {
        let Carats(carats) = carats_from_pits(Hectares(1.0), &SEGUELA).unwrap();
        assert!((carats / 1137.0 - 1.0).abs() < 0.05, "{carats}");
    }

    #[test]
    fn what_is_omitted_is_added_back() {
        let half_seen = PitFactors {
            omitted_share: 0.5,
            ..SEGUELA
        };
        let Carats(all) = carats_from_pits(Hectares(1.0), &half_seen).unwrap();
        let Carats(seen) = carats_from_pits(Hectares(1.0), &SEGUELA).unwrap();
        assert!((all - 2.0 * seen).abs() < 1e-9);
        assert_eq!(carats_from_pits(Hectares(0.0), &SEGUELA), Ok(Carats(0.0)));
    }

    #[test]
    fn a_measured_omission_goes_into_the_factors() {
        let omitted = OmittedShare::new(0.2, 0.1, 0.5).unwrap();
        let carats = omitted
            .applied_to(SEGUELA)
            .map(|factors| carats_from_pits(Hectares(1.0), &factors).unwrap().0);
        assert!(carats[1] < carats[0] && carats[0] < carats[2]);
        assert!(
            (carats[2] - 2.0 * carats_from_pits(Hectares(1.0), &SEGUELA).unwrap().0).abs() < 1e-9
        );
        for (value, lo, hi) in [
            (0.2, 0.3, 0.5),
            (0.2, 0.1, 0.15),
            (-0.1, -0.2, 0.1),
            (f64::NAN, 0.0, 1.0),
        ] {
            assert!(OmittedShare::new(value, lo, hi).is_err());
        }
        let all = OmittedShare::new(1.0, 0.9, 1.0)
            .unwrap()
            .applied_to(SEGUELA);
        assert!(carats_from_pits(Hectares(1.0), &all[0]).is_err());
    }

    #[test]
    fn a_factor_outside_its_range_is_named() {
        for (factor, factors) in [
            (
                "omitted_share",
                PitFactors {
                    omitted_share: 1.0,
                    ..SEGUELA
                },
            ),
            (
                "dug_share",
                PitFactors {
                    dug_share: 1.5,
                    ..SEGUELA
                },
            ),
            (
                "recovery",
                PitFactors {
                    recovery: f64::NAN,
                    ..SEGUELA
                },
            ),
            (
                "grade_ct_per_m3",
                PitFactors {
                    grade_ct_per_m3: -1.0,
                    ..SEGUELA
                },
            ),
        ] {
            let error = carats_from_pits(Hectares(1.0), &factors).unwrap_err();
            assert!(error.to_string().starts_with(factor), "{error}");
        }
        assert!(carats_from_pits(Hectares(f64::INFINITY), &SEGUELA).is_err());
    }
}
