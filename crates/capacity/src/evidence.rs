use pitwatch_grid::Day;

use crate::{Distribution, Error, Estimate, OmittedShare, Result, SampleArea};

/// One object of new excavation.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its id; its random numbers depend on it.
    pub site_id: String,
    /// Its kind of ground where that differs from the area's.
    pub deposit: Option<String>,
    /// Mapped area and the ends of the edge's uncertainty, hectares.
    pub area_ha: Estimate,
    /// Calibrated probability that it is excavation, 0 to 1.
    pub probability: f64,
    /// Last clear day before the change and the first that showed it.
    pub dug: (Day, Day),
    /// Everything dug, m³, where the depth is known (drone, elevation model); takes the place of area and thickness.
    pub volume_m3: Option<Estimate>,
}

/// The new part of an open dyke trench: length × width × depth.
#[derive(Debug, Clone, PartialEq)]
pub struct Dyke {
    /// Its name.
    pub name: String,
    /// Its kind of ground, for grade and recovery.
    pub deposit: String,
    /// Length of the new part, m.
    pub length_m: Distribution,
    /// Width of the dyke, m.
    pub width_m: Distribution,
    /// Depth that was added, m.
    pub depth_m: Distribution,
    /// First and last day between which it was dug.
    pub dug: (Day, Day),
}

/// The false objects that quiet ground or a review showed.
#[derive(Debug, Clone, PartialEq)]
pub struct FalseArea {
    /// Hectares of each false object that was counted.
    pub areas_ha: Vec<f64>,
    /// Over how many seasons of this area they were counted; above 0. Half the area for one season is 0.5.
    pub exposure_seasons: f64,
    /// To how many seasons of this area the rate applies, 0 or more: half a season, of which half is reviewed, is 0.25.
    pub applies_seasons: f64,
    /// True where what was counted may hold true digging, as in a replay of the history that nobody reviewed.
    pub is_upper_bound: bool,
    /// True if false objects on ground that changed for the first time, such as new fields, were counted too, as reviews do and
    /// a replay cannot. If not, what the objects' probabilities expect to be false is the least.
    pub sees_new_ground: bool,
    /// Hectares of the smallest object that can be reported: the size of a false object where none was counted.
    pub smallest_ha: f64,
    /// Where it was measured.
    pub source: String,
}

/// What was seen of one area in one season of digging.
#[derive(Debug, Clone, PartialEq)]
pub struct Season {
    /// First and last day that were monitored.
    pub days: (Day, Day),
    /// Share of the area that was observed, 0 to 1.
    pub observed_share: f64,
    /// Clear looks, median over the area; `None` = not known.
    pub n_clear: Option<u32>,
    /// Objects found.
    pub sites: Vec<Site>,
    /// Dykes, apart from the objects.
    pub dykes: Vec<Dyke>,
    /// Share of the digging that is not detected; `None` = not measured.
    pub omitted_share: Option<OmittedShare>,
    /// Detection limit, hectares; `None` = not measured.
    pub min_detectable_ha: Option<f64>,
    /// The area's own false objects; `None` = not measured.
    pub false_area: Option<FalseArea>,
    /// The area by a reviewed sample, if there is one.
    pub sample: Option<SampleArea>,
}

impl Season {
    /// How many days it has.
    pub(crate) fn n_days(&self) -> i32 {
        self.days.1.0 - self.days.0.0 + 1
    }

    /// Its first days alone, with what was first seen in them; `n_days` is at most its own.
    pub(crate) fn first_days(&self, n_days: i32) -> Self {
        let mut part = self.clone();
        part.days.1 = Day(self.days.0.0 + n_days - 1);
        let last = part.days.1;
        part.sites.retain(|site| site.dug.1 <= last);
        part.dykes.retain(|dyke| dyke.dug.1 <= last);
        if let Some(false_area) = &mut part.false_area {
            false_area.applies_seasons *= f64::from(n_days) / f64::from(self.n_days());
        }
        part
    }
}

/// Clear looks of one month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthLooks {
    /// Year.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Clear looks, median over the area.
    pub n_clear: u32,
}

/// What was seen of one area.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaEvidence {
    /// The area, as the priors file names it.
    pub area_id: String,
    /// Seasons, oldest first, that do not overlap.
    pub seasons: Vec<Season>,
    /// Clear looks by month.
    pub looks: Vec<MonthLooks>,
}

impl AreaEvidence {
    pub(crate) fn check(&self) -> Result<()> {
        let mut last = None;
        for season in &self.seasons {
            let is_after = last.is_none_or(|last| last < season.days.0);
            ensure(
                "season",
                f64::from(season.days.0.0),
                is_after && season.days.0 <= season.days.1,
                "after the season before, and end after it starts",
            )?;
            last = Some(season.days.1);
            share("observed_share", season.observed_share)?;
            for site in &season.sites {
                share("probability", site.probability)?;
                amount("area", site.area_ha)?;
                if let Some(volume) = site.volume_m3 {
                    amount("volume", volume)?;
                }
            }
            if let Some(ha) = season.min_detectable_ha {
                ensure(
                    "min_detectable_ha",
                    ha,
                    ha.is_finite() && ha > 0.0,
                    "above 0",
                )?;
            }
            if let Some(omitted) = season.omitted_share {
                let value = omitted.estimate().value;
                ensure("omitted_share", value, value < 1.0, "below 1")?;
            }
            if let Some(sample) = season.sample {
                let (area, error) = (sample.area.0, sample.standard_error.0);
                ensure(
                    "sample area",
                    area,
                    area.is_finite() && area >= 0.0,
                    "at 0 or above",
                )?;
                ensure(
                    "standard error",
                    error,
                    error.is_finite() && error >= 0.0,
                    "at 0 or above",
                )?;
            }
            if let Some(false_area) = &season.false_area {
                let exposure = false_area.exposure_seasons;
                ensure(
                    "exposure_seasons",
                    exposure,
                    exposure.is_finite() && exposure > 0.0,
                    "above 0",
                )?;
                let applies = false_area.applies_seasons;
                ensure(
                    "applies_seasons",
                    applies,
                    applies.is_finite() && applies >= 0.0,
                    "at 0 or above",
                )?;
                for &ha in false_area.areas_ha.iter().chain([&false_area.smallest_ha]) {
                    ensure("false area", ha, ha.is_finite() && ha > 0.0, "above 0")?;
                }
            }
        }
        Ok(())
    }
}

fn amount(factor: &'static str, estimate: Estimate) -> Result<()> {
    let Estimate { value, lo, hi } = estimate;
    let is_in_order = 0.0 <= lo && lo <= value && value <= hi && hi.is_finite();
    ensure(
        factor,
        value,
        is_in_order,
        "within its interval, at 0 or above, and be finite",
    )
}

fn share(factor: &'static str, value: f64) -> Result<()> {
    ensure(
        factor,
        value,
        (0.0..=1.0).contains(&value),
        "between 0 and 1",
    )
}

fn ensure(factor: &'static str, value: f64, is_in_range: bool, range: &'static str) -> Result<()> {
    if is_in_range {
        Ok(())
    } else {
        Err(Error::FactorOutOfRange {
            factor,
            value,
            range,
        })
    }
}
