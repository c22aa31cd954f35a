use serde::Deserialize;

use crate::{Error, N_GREEN_LEVELS, Result};

/// The numbers that move a result of this stage.
///
/// They stand in the pipeline file under `[change]`, each with its unit and source; none has a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Fewest clear looks in the history period; with fewer a pixel is not observable. Looks.
    pub min_clear_history: u32,
    /// Fewest clear looks in the monitoring period; with fewer a pixel is not observable. Looks.
    pub min_clear_monitoring: u32,
    /// Penalty on each harmonic's coefficient, in looks.
    pub ridge: f32,
    /// Passes of iteratively reweighted least squares.
    pub robust_passes: u32,
    /// Residual beyond which a look loses weight, in units of the residuals' scale.
    pub huber: f32,
    /// Least scale of NDVI residuals, unitless.
    pub noise_ndvi: f32,
    /// Least scale of blue and red residuals, unitless reflectance.
    pub noise_visible: f32,
    /// Least scale of swir16 and swir22 residuals, unitless reflectance.
    pub noise_swir: f32,
    /// Share of the history looks cut off at either end to get a band's own range, 0 to 0.5.
    pub range_tail: f32,
    /// Least median NDVI of the history; below it the ground was bare or water already and is not watched. Unitless.
    pub history_ndvi: f32,
    /// A look is residual cloud where blue exceeds its expectation by more than this, unitless reflectance, ...
    pub cloud_blue_excess: f32,
    /// ... and by more than this share of red's own excess: cloud is white, soil is redder than blue. Unitless.
    pub cloud_whiteness: f32,
    /// Greatest ratio of blue to red at which ground that the scene classification calls cloud (SCL 8, 9) is seen all the
    /// same: bright tailings are red, cloud is white. Unitless; 0 trusts the classification.
    pub tailings_whiteness: f32,
    /// Least red reflectance of such ground, unitless.
    pub tailings_red: f32,
    /// Clear looks whose median decides. Looks.
    pub median_looks: u32,
    /// NDVI drop that counts as departure, in units of the residuals' scale.
    pub departure_ndvi: f32,
    /// Red rise that counts as brightening, in units of the residuals' scale.
    pub departure_red: f32,
    /// Distance in blue, red, swir16 and swir22 outside the history's own range that counts as departure without an
    /// NDVI drop, in units of the residuals' scale.
    pub departure_color: f32,
    /// How much greener than expected ground with a new color may be, in units of the residuals' scale.
    pub color_greening: f32,
    /// Half width of the season in which the history is searched for as low an NDVI. Days.
    pub season_days: f32,
    /// Share of that season's history looks that may lie as low, 0 to 1.
    pub season_share: f32,
    /// How far below those the NDVI must lie, in units of the residuals' scale.
    pub season_margin: f32,
    /// NDVI of bare ground, unitless.
    pub bare_ndvi: f32,
    /// Greatest NDVI of ground that may be bare, unitless.
    pub ground_ndvi: f32,
    /// Least bare soil index of ground that may be bare, unitless.
    pub ground_bsi: f32,
    /// Least red reflectance of ground that may be bare, unitless.
    pub ground_red: f32,
    /// Share of the way from the expected NDVI to bare ground's that counts as arrival, 0 to 1.
    pub arrival_share: f32,
    /// Least way from the expected NDVI to bare ground's of which a share can be told from noise; NDVI.
    pub arrival_way: f32,
    /// The same share, to start an object of its own, 0 to 1.
    pub core_share: f32,
    /// Expected NDVI below which arrival cannot be told from NDVI; the departure in color then starts objects. Unitless.
    pub dormant_ndvi: f32,
    /// Greatest swir16 reflectance of water, unitless.
    pub water_swir16: f32,
    /// Share of history looks that were water above which the ground is a river or shore and its drying is not watched.
    pub water_share: f32,
    /// Least NDWI of a pixel that is partly water, unitless.
    pub wet_ndwi: f32,
    /// Greatest ratio of swir16 to nir of a pixel that is partly water, unitless.
    pub wet_swir16_over_nir: f32,
    /// Greatest blue reflectance of a pixel that is partly water, unitless.
    pub wet_blue: f32,
    /// What a look counts where the ground is bare but darker than expected (burn, wet soil), in looks.
    pub dark_weight: f32,
    /// Looks in a row that must show excavation for a provisional alert.
    pub provisional_looks: f32,
    /// Looks that must show the change for confirmation.
    pub confirm_looks: u32,
    /// Days that the change must last for confirmation.
    pub confirm_days: u32,
    /// Share of the looks since the alert that must show the change for confirmation, 0 to 1.
    pub confirm_share: f32,
    /// Looks in a row without the change after which a provisional alert is retracted.
    pub retract_looks: u32,
    /// Days after the alert before which the green of a season says nothing of it. Days.
    pub green_up_days: u32,
    /// Least way from bare ground's NDVI to the expected one that makes a green season; NDVI.
    pub green_way: f32,
    /// Share of the way to bare ground below which the ground has greened, 0 to 1.
    pub greened_share: f32,
    /// Share of the way to bare ground above which the ground has stayed bare, 0 to 1.
    pub stayed_bare_share: f32,
    /// Looks in a row of a green season that decide which of the two. Looks.
    pub green_looks: u32,
    /// Levels of NDVI, ascending, of which it is noted when the ground has passed them since the alert. Unitless.
    pub green_levels: [f32; N_GREEN_LEVELS],
    /// NDVI of the barest looks of the history below which they show the soil, unitless.
    pub soil_ndvi: f32,
    /// Cleared ground: least expected NDVI of a canopy, unitless; looks of other seasons say nothing.
    pub canopy_ndvi: f32,
    /// Cleared ground: NDVI drop that counts, unitless.
    pub cleared_drop: f32,
    /// Cleared ground: NDVI drop that counts, in units of the residuals' scale.
    pub cleared_departure: f32,
    /// Cleared ground: looks in a row that must show it for a provisional alert.
    pub cleared_looks: f32,
    /// Last clear looks of the history whose median makes the picture before. Looks.
    pub picture_looks: u32,
}

impl Params {
    /// Checks that each number lies in its range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], for the first that does not.
    pub fn check(&self) -> Result<()> {
        let share = |name, value: f32| within(name, value, 0.0, 1.0, "between 0 and 1");
        let positive =
            |name, value: f32| within(name, value, f32::MIN_POSITIVE, f32::MAX, "greater than 0");
        let some = |name, value: u32| within(name, value as f32, 1.0, 1e6, "at least 1");
        // A harmonic model of five coefficients needs more looks than coefficients.
        within(
            "min_clear_history",
            self.min_clear_history as f32,
            6.0,
            1e6,
            "at least 6",
        )?;
        some("min_clear_monitoring", self.min_clear_monitoring)?;
        within("ridge", self.ridge, 0.0, f32::MAX, "0 or more")?;
        within(
            "robust_passes",
            self.robust_passes as f32,
            0.0,
            20.0,
            "at most 20",
        )?;
        positive("huber", self.huber)?;
        positive("noise_ndvi", self.noise_ndvi)?;
        positive("noise_visible", self.noise_visible)?;
        positive("noise_swir", self.noise_swir)?;
        within("range_tail", self.range_tail, 0.0, 0.5, "between 0 and 0.5")?;
        within(
            "history_ndvi",
            self.history_ndvi,
            -1.0,
            1.0,
            "between -1 and 1",
        )?;
        positive("cloud_blue_excess", self.cloud_blue_excess)?;
        positive("cloud_whiteness", self.cloud_whiteness)?;
        // The ratio is held as a share of 2^15.
        within(
            "tailings_whiteness",
            self.tailings_whiteness,
            0.0,
            0.99,
            "between 0 and 0.99",
        )?;
        share("tailings_red", self.tailings_red)?;
        within(
            "median_looks",
            self.median_looks as f32,
            1.0,
            15.0,
            "between 1 and 15",
        )?;
        positive("departure_ndvi", self.departure_ndvi)?;
        positive("departure_red", self.departure_red)?;
        positive("departure_color", self.departure_color)?;
        within(
            "color_greening",
            self.color_greening,
            0.0,
            f32::MAX,
            "0 or more",
        )?;
        within(
            "season_days",
            self.season_days,
            0.0,
            183.0,
            "between 0 and 183",
        )?;
        share("season_share", self.season_share)?;
        within(
            "season_margin",
            self.season_margin,
            0.0,
            f32::MAX,
            "0 or more",
        )?;
        within("bare_ndvi", self.bare_ndvi, -1.0, 1.0, "between -1 and 1")?;
        within(
            "ground_ndvi",
            self.ground_ndvi,
            -1.0,
            1.0,
            "between -1 and 1",
        )?;
        within("ground_bsi", self.ground_bsi, -1.0, 1.0, "between -1 and 1")?;
        share("ground_red", self.ground_red)?;
        share("arrival_share", self.arrival_share)?;
        positive("arrival_way", self.arrival_way)?;
        share("core_share", self.core_share)?;
        within(
            "dormant_ndvi",
            self.dormant_ndvi,
            -1.0,
            1.0,
            "between -1 and 1",
        )?;
        share("water_swir16", self.water_swir16)?;
        share("water_share", self.water_share)?;
        within("wet_ndwi", self.wet_ndwi, -1.0, 1.0, "between -1 and 1")?;
        positive("wet_swir16_over_nir", self.wet_swir16_over_nir)?;
        positive("wet_blue", self.wet_blue)?;
        share("dark_weight", self.dark_weight)?;
        positive("provisional_looks", self.provisional_looks)?;
        some("confirm_looks", self.confirm_looks)?;
        share("confirm_share", self.confirm_share)?;
        some("retract_looks", self.retract_looks)?;
        some("green_up_days", self.green_up_days)?;
        positive("green_way", self.green_way)?;
        share("greened_share", self.greened_share)?;
        share("stayed_bare_share", self.stayed_bare_share)?;
        some("green_looks", self.green_looks)?;
        let levels = self.green_levels;
        for level in levels {
            within("green_levels", level, -1.0, 1.0, "between -1 and 1")?;
        }
        if let Some(pair) = levels.windows(2).find(|pair| pair[0] >= pair[1]) {
            within("green_levels", pair[1], pair[0], 1.0, "in ascending order")?;
        }
        within("soil_ndvi", self.soil_ndvi, -1.0, 1.0, "between -1 and 1")?;
        within(
            "canopy_ndvi",
            self.canopy_ndvi,
            -1.0,
            1.0,
            "between -1 and 1",
        )?;
        positive("cleared_drop", self.cleared_drop)?;
        positive("cleared_departure", self.cleared_departure)?;
        positive("cleared_looks", self.cleared_looks)?;
        within(
            "picture_looks",
            self.picture_looks as f32,
            1.0,
            99.0,
            "between 1 and 99",
        )
    }
}

fn within(name: &'static str, value: f32, min: f32, max: f32, range: &'static str) -> Result<()> {
    // NaN is in no range.
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Parameter {
            name,
            value: f64::from(value),
            range,
        })
    }
}
