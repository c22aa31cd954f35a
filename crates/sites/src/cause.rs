//! What brought a change about: features of an object and the multinomial logistic model that weighs them.

use std::cmp::Ordering;

use pitwatch_change::{Finding, Ground};
use pitwatch_grid::LatticePixel;
use serde::Deserialize;

use crate::topsoil::{Around, N_NUMBERS};
use crate::{Error, Result};

/// What brought a change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Dug ground.
    Pit,
    /// A fire.
    Burn,
    /// A field cleared or tilled.
    Field,
    /// A bar that a river laid bare, or a shore from which water withdrew.
    RiverBar,
    /// A road or a building.
    RoadOrBuilding,
    /// Cloud or its shadow, taken for ground.
    CloudResidue,
    /// None of these is likelier than all others together.
    Unknown,
}

impl Cause {
    /// The causes that have a probability, in the order of [`Evidence::probabilities`].
    pub const KNOWN: [Self; 6] = [
        Self::Pit,
        Self::Burn,
        Self::Field,
        Self::RiverBar,
        Self::RoadOrBuilding,
        Self::CloudResidue,
    ];
}

/// Least probability of a cause that is named; below it the cause is unknown. A cause likelier than all others together.
const LIKELIER_THAN_ALL_OTHERS: f64 = 0.5;

/// Defines [`Features`], so that each is named once.
macro_rules! features {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The features of an object of excavation, each known at the look at which it is asked for; as weights, all 0 weigh nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Features {
            $($(#[$doc])* pub $name: f64,)*
        }

        /// Number of features.
        const N_FEATURES: usize = Features::NAMES.len();

        impl Features {
            /// Names of the features, in the order of [`Features::to_array`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// The same number for all.
            #[must_use]
            pub fn splat(value: f64) -> Self {
                Self { $($name: value,)* }
            }

            /// The features as numbers.
            #[must_use]
            pub fn to_array(&self) -> [f64; N_FEATURES] {
                [$(self.$name,)*]
            }
        }
    };
}

features! {
    /// ln of the number of pixels.
    size,
    /// Its square: pits are of any size, fields of a few sizes.
    size_squared,
    /// ln of the ratio of the axes of the ellipse with the object's second moments; roads are long.
    elongation,
    /// ln of that ellipse's smaller standard deviation, in pixels; roads and channels are narrow.
    thickness,
    /// Standard deviation of ln red over the pixels; tailings, spoil and water lie side by side, a tilled field is even.
    red_spread,
    /// Standard deviation of ln (red / swir16) over the pixels.
    color_spread,
    /// Mean share of the way to bare ground, see [`Ground::bare_share`].
    bare_share,
    /// Standard deviation of that share over the pixels.
    bare_share_spread,
    /// Mean of [`Ground::brightening`]; subsoil and tailings are brighter than what lay there.
    brightening,
    /// Mean of [`Ground::above_barest`]; fields and burnt ground have been as bare before.
    above_barest,
    /// ln(1 + 100 · mean of [`Ground::wet_share`]); river bars were under water.
    wetness,
    /// ln(1 + standard deviation of the days of alert / 10); pits grow, fields are cleared at once.
    growth,
    /// Mean number of the levels of green that the pixels have passed since they alerted.
    greenest,
    /// Share of the pixels that stayed bare in a green season since.
    stayed_bare,
    /// Mean of [`Ground::red_change`].
    red_change,
    /// Mean of [`Ground::swir16_change`].
    swir16_change,
    /// Mean of [`Ground::red_over_swir16_change`]; a field shows the topsoil that was seen between grasses before, a pit what lay below.
    red_over_swir16_change,
    /// Mean of [`Ground::blue_over_red_change`].
    blue_over_red_change,
    /// Mean of [`Ground::nir_over_red_change`].
    nir_over_red_change,
    /// Mean of [`Ground::swir22_over_swir16_change`].
    swir22_over_swir16_change,
    /// Magnitude of the mean of [`Ground::swir16_change`]: another ground is brighter or darker.
    swir16_difference,
    /// Magnitude of the mean of [`Ground::red_over_swir16_change`].
    red_over_swir16_difference,
    /// Magnitude of the mean of [`Ground::blue_over_red_change`].
    blue_over_red_difference,
    /// Magnitude of the mean of [`Ground::swir22_over_swir16_change`].
    swir22_over_swir16_difference,
    /// Mean of ln red less that of the topsoil around, times the trust in it; a field shows that soil, a pit what lies below.
    topsoil_red_change,
    /// The same of ln (red / swir16).
    topsoil_red_over_swir16_change,
    /// The same of ln (blue / red).
    topsoil_blue_over_red_change,
    /// The same of ln (swir22 / swir16).
    topsoil_swir22_over_swir16_change,
    /// Magnitude of `topsoil_red_change`.
    topsoil_red_difference,
    /// Magnitude of `topsoil_red_over_swir16_change`.
    topsoil_red_over_swir16_difference,
    /// Magnitude of `topsoil_blue_over_red_change`.
    topsoil_blue_over_red_difference,
    /// Magnitude of `topsoil_swir22_over_swir16_change`.
    topsoil_swir22_over_swir16_difference,
    /// ln(1 + distance of the four changes in spreads of the topsoil around).
    topsoil_distance,
}

/// A feature by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct FeatureName(usize);

impl TryFrom<String> for FeatureName {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let place = Features::NAMES.iter().position(|&known| known == name);
        place.map(Self).ok_or_else(|| {
            format!(
                "`{name}` is no feature; write one of {}",
                Features::NAMES.join(", ")
            )
        })
    }
}

/// Number of products of two features that are weighed beside the features.
pub const N_PRODUCTS: usize = 24;

/// The weights of one cause against a pit: log odds = `intercept` + Σ weight · feature + Σ weight · product of two features.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Log odds of the cause against a pit where all features are 0.
    pub intercept: f64,
    /// One weight a product, in the order of [`CauseModel::products`].
    pub products: [f64; N_PRODUCTS],
    /// One weight a feature.
    pub weights: Features,
}

impl Weights {
    /// An intercept alone.
    #[must_use]
    pub fn of_intercept(intercept: f64) -> Self {
        Self {
            intercept,
            products: [0.0; N_PRODUCTS],
            weights: Features::default(),
        }
    }
}

/// The multinomial logistic model of causes, with pits as its reference.
///
/// Source: McCullagh and Nelder (1989), Generalized Linear Models, § 5.2.4; fitted by `tests/simbench/fit_causes.py`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CauseModel {
    /// The two features of each product: what one of them says depends on the other.
    pub products: [[FeatureName; 2]; N_PRODUCTS],
    /// The least of each feature that the weights were fitted to. Less counts as this: beyond it nothing is known of the odds.
    pub least: Features,
    /// The greatest of the same.
    pub greatest: Features,
    /// A fire.
    pub burn: Weights,
    /// A field.
    pub field: Weights,
    /// A river bar or shore.
    pub river_bar: Weights,
    /// A road or building.
    pub road_or_building: Weights,
    /// Cloud or shadow.
    pub cloud_residue: Weights,
}

/// What speaks for the causes of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The features.
    pub features: Features,
    /// How far the topsoil around was known, 0 (not at all: its features are 0 and say nothing) to 1.
    pub topsoil_trust: f64,
    /// Probability of each of [`Cause::KNOWN`]; they add up to 1.
    pub probabilities: [f64; 6],
}

impl Evidence {
    /// Probability that the object is a pit.
    #[must_use]
    pub fn pit(&self) -> f64 {
        self.probabilities[0]
    }

    /// The cause that is likelier than all others together, if there is one.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::KNOWN
            .into_iter()
            .zip(self.probabilities)
            .find(|&(_, probability)| probability > LIKELIER_THAN_ALL_OTHERS)
            .map_or(Cause::Unknown, |(cause, _)| cause)
    }
}

impl CauseModel {
    /// A model that says the same of all causes, of features without bounds.
    #[must_use]
    pub fn alike(weights: Weights) -> Self {
        Self {
            products: Default::default(),
            least: Features::splat(f64::NEG_INFINITY),
            greatest: Features::splat(f64::INFINITY),
            burn: weights,
            field: weights,
            river_bar: weights,
            road_or_building: weights,
            cloud_residue: weights,
        }
    }

    /// # Errors
    ///
    /// If the bounds of a feature are in the wrong order.
    pub fn check(&self) -> Result<()> {
        let bounds = self
            .least
            .to_array()
            .into_iter()
            .zip(self.greatest.to_array());
        match Features::NAMES
            .iter()
            .zip(bounds)
            .find(|(_, (least, greatest))| least.partial_cmp(greatest).is_none_or(Ordering::is_gt))
        {
            None => Ok(()),
            Some((&name, (least, greatest))) => Err(Error::FeatureBounds {
                name,
                least,
                greatest,
            }),
        }
    }

    /// The probability of each of [`Cause::KNOWN`].
    ///
    /// - `topsoil_trust`: handed on; it weighs nothing by itself.
    #[must_use]
    pub fn weigh(&self, features: &Features, topsoil_trust: f64) -> Evidence {
        let bounds = self
            .least
            .to_array()
            .into_iter()
            .zip(self.greatest.to_array());
        let mut values = features.to_array();
        for (value, (least, greatest)) in values.iter_mut().zip(bounds) {
            *value = value.max(least).min(greatest);
        }
        let products = self
            .products
            .map(|[one, other]| values[one.0] * values[other.0]);
        let sum = |weights: &[f64], values: &[f64]| -> f64 {
            weights
                .iter()
                .zip(values)
                .map(|(weight, value)| weight * value)
                .sum()
        };
        let of = |cause: &Weights| {
            cause.intercept
                + sum(&cause.weights.to_array(), &values)
                + sum(&cause.products, &products)
        };
        let odds = [
            0.0,
            of(&self.burn),
            of(&self.field),
            of(&self.river_bar),
            of(&self.road_or_building),
            of(&self.cloud_residue),
        ];
        let greatest = odds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = odds.map(|odds| (odds - greatest).exp());
        let total: f64 = weights.iter().sum();
        Evidence {
            features: *features,
            topsoil_trust,
            probabilities: weights.map(|weight| weight / total),
        }
    }
}

/// Numbers of the ground that are added up, in the order of [`measures`].
const N_MEASURES: usize = 22;
/// Measures are added up in whole units of so many to 1, so that sums are the same in any order and can be undone.
const UNITS: f64 = 10_000.0;

/// What is added up over the pixels of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) n_pixels: i64,
    row: i128,
    col: i128,
    row_row: i128,
    col_col: i128,
    row_col: i128,
    measure: [i64; N_MEASURES],
    measure_squared: [i128; N_MEASURES],
    n_green_levels: i64,
    n_stayed_bare: i64,
}

/// First of the measures against the topsoil around: the changes, then the same in spreads.
const TOPSOIL: usize = 13;
/// The measure of the trust in them.
const TRUST: usize = TOPSOIL + 2 * N_NUMBERS;
/// Most spreads of the topsoil that a change counts as.
const MOST_SPREADS: f64 = 100.0;

/// ln red, ln (red / swir16), bare share, brightening, above barest, wet share, day of the alert / 100, the six changes against
/// the barest ground, the four against the topsoil around, the same in spreads, the trust in them.
fn measures(ground: &Ground, alert_day: i32, around: &Around) -> [i64; N_MEASURES] {
    let ln = |ratio: f32| f64::from(ratio.max(1e-3)).ln();
    // All 0 where the band is not given.
    let has_swir22 = ground.swir22_over_swir16 > 0.0;
    let numbers = [
        Some(ground.red),
        Some(ground.red_over_swir16),
        Some(ground.blue_over_red),
        has_swir22.then_some(ground.swir22_over_swir16),
    ];
    let from_topsoil = around.differences(numbers.map(|number| number.map(ln)));
    let [red, red_over_swir16, blue_over_red, swir22_over_swir16] =
        from_topsoil.map(|[change, _]| change);
    let [
        red_z,
        red_over_swir16_z,
        blue_over_red_z,
        swir22_over_swir16_z,
    ] = from_topsoil.map(|[_, spreads]| spreads.clamp(-MOST_SPREADS, MOST_SPREADS));
    [
        ln(ground.red),
        ln(ground.red_over_swir16),
        f64::from(ground.bare_share),
        f64::from(ground.brightening),
        f64::from(ground.above_barest),
        f64::from(ground.wet_share),
        f64::from(alert_day) / 100.0,
        f64::from(ground.red_change),
        f64::from(ground.swir16_change),
        f64::from(ground.red_over_swir16_change),
        f64::from(ground.blue_over_red_change),
        f64::from(ground.nir_over_red_change),
        f64::from(ground.swir22_over_swir16_change),
        red,
        red_over_swir16,
        blue_over_red,
        swir22_over_swir16,
        red_z,
        red_over_swir16_z,
        blue_over_red_z,
        swir22_over_swir16_z,
        around.trust,
    ]
    .map(|value| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "measures are below 1e4, so they fit in units"
        )]
        let units = (value * UNITS).round() as i64;
        units
    })
}

impl Sums {
    /// A pixel that alerted.
    pub(crate) fn of(at: LatticePixel, finding: &Finding, alert_day: i32, around: &Around) -> Self {
        let (row, col) = (i128::from(at.row), i128::from(at.col));
        Self {
            n_pixels: 1,
            row,
            col,
            row_row: row * row,
            col_col: col * col,
            row_col: row * col,
            ..Self::default()
        }
        .with_ground(&finding.at_alert, alert_day, around, 1)
    }

    /// With what the ground looks like added (`sign` 1) or taken away (−1).
    fn with_ground(mut self, ground: &Ground, alert_day: i32, around: &Around, sign: i64) -> Self {
        for (k, value) in measures(ground, alert_day, around).into_iter().enumerate() {
            self.measure[k] += sign * value;
            self.measure_squared[k] += i128::from(sign) * i128::from(value) * i128::from(value);
        }
        self
    }

    /// What a pixel's confirmation changes: the ground at the alert gives way to that at the confirmation.
    pub(crate) fn of_confirmation(finding: &Finding, alert_day: i32, around: &Around) -> Self {
        Self::default()
            .with_ground(&finding.at_alert, alert_day, around, -1)
            .with_ground(&finding.at_confirmation, alert_day, around, 1)
    }

    /// One more level of green that a pixel has passed.
    pub(crate) fn of_greening() -> Self {
        Self {
            n_green_levels: 1,
            ..Self::default()
        }
    }

    pub(crate) fn of_staying_bare() -> Self {
        Self {
            n_stayed_bare: 1,
            ..Self::default()
        }
    }

    /// The sums of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.combined(other, 1)
    }

    /// These sums without those of the other.
    pub(crate) fn minus(self, other: Self) -> Self {
        self.combined(other, -1)
    }

    fn combined(mut self, other: Self, sign: i64) -> Self {
        let wide = i128::from(sign);
        self.n_pixels += sign * other.n_pixels;
        self.row += wide * other.row;
        self.col += wide * other.col;
        self.row_row += wide * other.row_row;
        self.col_col += wide * other.col_col;
        self.row_col += wide * other.row_col;
        for k in 0..N_MEASURES {
            self.measure[k] += sign * other.measure[k];
            self.measure_squared[k] += wide * other.measure_squared[k];
        }
        self.n_green_levels += sign * other.n_green_levels;
        self.n_stayed_bare += sign * other.n_stayed_bare;
        self
    }

    /// The mean trust in the topsoil around, of an object with at least one pixel.
    pub(crate) fn topsoil_trust(&self) -> f64 {
        self.measure[TRUST] as f64 / self.n_pixels.max(1) as f64 / UNITS
    }

    /// The features of an object with at least one pixel.
    pub(crate) fn features(&self) -> Features {
        let n = self.n_pixels.max(1) as f64;
        let mean = |k: usize| self.measure[k] as f64 / n / UNITS;
        // Differences of whole numbers, so that nothing is lost where the mean is large.
        let spread = |k: usize| {
            let total = i128::from(self.n_pixels) * self.measure_squared[k]
                - i128::from(self.measure[k]) * i128::from(self.measure[k]);
            (total.max(0) as f64).sqrt() / n / UNITS
        };
        let moment = |squares: i128, a: i128, b: i128| {
            (i128::from(self.n_pixels) * squares - a * b) as f64 / (n * n)
        };
        // A pixel is a square, whose variance along either axis is a twelfth.
        let rows = moment(self.row_row, self.row, self.row) + 1.0 / 12.0;
        let cols = moment(self.col_col, self.col, self.col) + 1.0 / 12.0;
        let both = moment(self.row_col, self.row, self.col);
        let middle = f64::midpoint(rows, cols);
        let half = (((rows - cols) / 2.0).powi(2) + both * both).sqrt();
        let (large, small) = (middle + half, (middle - half).max(1.0 / 12.0));
        Features {
            size: n.ln(),
            size_squared: n.ln().powi(2),
            elongation: 0.5 * (large / small).ln(),
            thickness: 0.5 * small.ln(),
            red_spread: spread(0),
            color_spread: spread(1),
            bare_share: mean(2),
            bare_share_spread: spread(2),
            brightening: mean(3),
            above_barest: mean(4),
            wetness: (100.0 * mean(5)).ln_1p(),
            growth: (10.0 * spread(6)).ln_1p(),
            greenest: self.n_green_levels as f64 / n,
            stayed_bare: self.n_stayed_bare as f64 / n,
            red_change: mean(7),
            swir16_change: mean(8),
            red_over_swir16_change: mean(9),
            blue_over_red_change: mean(10),
            nir_over_red_change: mean(11),
            swir22_over_swir16_change: mean(12),
            swir16_difference: mean(8).abs(),
            red_over_swir16_difference: mean(9).abs(),
            blue_over_red_difference: mean(10).abs(),
            swir22_over_swir16_difference: mean(12).abs(),
            topsoil_red_change: mean(TOPSOIL),
            topsoil_red_over_swir16_change: mean(TOPSOIL + 1),
            topsoil_blue_over_red_change: mean(TOPSOIL + 2),
            topsoil_swir22_over_swir16_change: mean(TOPSOIL + 3),
            topsoil_red_difference: mean(TOPSOIL).abs(),
            topsoil_red_over_swir16_difference: mean(TOPSOIL + 1).abs(),
            topsoil_blue_over_red_difference: mean(TOPSOIL + 2).abs(),
            topsoil_swir22_over_swir16_difference: mean(TOPSOIL + 3).abs(),
            topsoil_distance: (TOPSOIL + N_NUMBERS..TOPSOIL + 2 * N_NUMBERS)
                .map(|k| mean(k).powi(2))
                .sum::<f64>()
                .sqrt()
                .ln_1p(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_change::Kind;
    use proptest::prelude::*;

    use super::*;

    fn model(intercept: f64) -> CauseModel {
        CauseModel::alike(Weights::of_intercept(intercept))
    }

    fn sums(pixels: &[(i64, i64, f32)]) -> Sums {
        pixels
            .iter()
            .map(|&(row, col, red)| {
                let ground = Ground {
                    red,
                    red_over_swir16: 0.6,
                    ..Ground::default()
                };
                let finding = Finding::new(Kind::Excavation, 1, (0, 1), ground);
                Sums::of(
                    LatticePixel { row, col },
                    &finding,
                    19_000,
                    &Around::default(),
                )
            })
            .fold(Sums::default(), Sums::plus)
    }

    #[test]
    fn without_weights_the_six_causes_are_alike() {
        let evidence = model(0.0).weigh(&Features::default(), 0.0);
        for probability in evidence.probabilities {
            assert!((probability - 1.0 / 6.0).abs() < 1e-12);
        }
        assert_eq!(evidence.cause(), Cause::Unknown);
        assert_eq!(
            model(-20.0).weigh(&Features::default(), 0.0).cause(),
            Cause::Pit
        );
    }

    #[test]
    fn a_weight_moves_the_odds_of_its_cause_alone() {
        let mut model = model(0.0);
        model.field.weights.greenest = 3.0;
        let greened = Features {
            greenest: 1.0,
            ..Features::default()
        };
        let [pit, burn, field, ..] = model.weigh(&greened, 0.0).probabilities;
        assert!((field / pit - 3.0_f64.exp()).abs() < 1e-9);
        assert!((burn / pit - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_product_weighs_what_two_features_say_together() {
        let place = |name: &str| FeatureName::try_from(name.to_owned()).unwrap();
        let mut model = model(0.0);
        model.products[1] = [place("size"), place("growth")];
        model.field.products[1] = 0.5;
        let features = |size, growth| Features {
            size,
            growth,
            ..Features::default()
        };
        let odds = |features| {
            let [pit, _, field, ..] = model.weigh(&features, 0.0).probabilities;
            (field / pit).ln()
        };
        assert!((odds(features(3.0, 2.0)) - 3.0).abs() < 1e-9);
        assert!(odds(features(3.0, 0.0)).abs() < 1e-9);
    }

    #[test]
    fn beyond_what_the_fit_has_seen_a_feature_says_no_more() {
        let mut model = model(0.0);
        model.field.weights.size = 1.0;
        (model.least.size, model.greatest.size) = (0.5, 2.0);
        let odds = |size| {
            let features = Features {
                size,
                ..Features::default()
            };
            let [pit, _, field, ..] = model.weigh(&features, 0.0).probabilities;
            (field / pit).ln()
        };
        for (size, expected) in [(-9.0, 0.5), (1.0, 1.0), (99.0, 2.0)] {
            assert!((odds(size) - expected).abs() < 1e-9, "{size}");
        }
        assert!(model.check().is_ok());
        model.least.size = 3.0;
        assert!(model.check().unwrap_err().to_string().contains("size"));
    }

    #[test]
    fn a_name_that_is_no_feature_is_refused_with_those_that_are() {
        let message = FeatureName::try_from("sise".to_owned()).unwrap_err();
        assert!(message.contains("`sise`") && message.contains("size, size_squared"));
    }

    #[test]
    fn a_road_is_long_and_narrow_and_a_pit_is_not() {
        let road: Vec<_> = (0..20).map(|k| (k, k, 0.2)).collect();
        let pit: Vec<_> = (0..25).map(|k| (k / 5, k % 5, 0.2)).collect();
        let (road, pit) = (sums(&road).features(), sums(&pit).features());
        assert!(road.elongation > 2.0 && pit.elongation.abs() < 1e-9);
        assert!(road.thickness < pit.thickness);
        assert!((pit.size - 25.0_f64.ln()).abs() < 1e-12);
        // Twenty-five equal reds: no spread, to the unit in which they are added up.
        assert!(pit.red_spread < 1e-4);
    }

    proptest! {
        #[test]
        fn what_is_taken_back_leaves_no_trace(pixels in prop::collection::vec((-9i64..9, -9i64..9, 0.0f32..0.5), 2..30), cut in 1usize..29) {
            let cut = cut.min(pixels.len() - 1);
            let (stays, goes) = pixels.split_at(cut);
            let mut backwards = pixels.clone();
            backwards.reverse();
            prop_assert_eq!(sums(&pixels), sums(&backwards));
            prop_assert_eq!(sums(&pixels).minus(sums(goes)), sums(stays));
        }
    }
}
