use pitwatch_grid::{Day, GeoBox, LatticePixel};

/// What is known of one pixel at the end of the monitoring period.
///
/// The codes are those of the `state` raster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PixelState {
    /// Outside the area.
    Outside = 0,
    /// Watched, no change found.
    Stable = 1,
    /// The canopy was lost; the ground is not seen to be dug.
    Cleared = 2,
    /// Excavation, provisional: early evidence, may still be retracted.
    Provisional = 3,
    /// Excavation, confirmed by persistence.
    Confirmed = 4,
    /// Not observable: the ground was bare or water through its own history, so digging cannot be told from it.
    BareHistory = 5,
    /// Not observable: too few clear looks in the history period.
    ShortHistory = 6,
    /// Not observable: cloud, shadow or snow hid the ground in the monitoring period.
    Clouded = 7,
    /// Not observable: no scene covers the ground in the monitoring period.
    NotAcquired = 8,
    /// Not observable: scenes cover the ground, but could not be read or were quarantined.
    ReadFailed = 9,
}

impl PixelState {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Outside,
        Self::Stable,
        Self::Cleared,
        Self::Provisional,
        Self::Confirmed,
        Self::BareHistory,
        Self::ShortHistory,
        Self::Clouded,
        Self::NotAcquired,
        Self::ReadFailed,
    ];

    /// The state of a code of the `state` raster.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// True if the pixel was seen often enough, and was green enough before, to say whether it changed.
    #[must_use]
    pub fn is_observable(self) -> bool {
        matches!(
            self,
            Self::Stable | Self::Cleared | Self::Provisional | Self::Confirmed
        )
    }
}

/// The two kinds of change that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The canopy is lost. Reported, never counted as digging.
    Cleared,
    /// Departure from the pixel's own history and arrival at bare ground, tailings or turbid water.
    Excavation,
}

/// What was found at one pixel. Times are places in the list of looks that the cubes of the area share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Cleared or excavation.
    pub kind: Kind,
    /// The look at which the evidence was complete.
    pub alert_look: u32,
    /// The look at which persistence confirmed it; `None` = provisional.
    pub confirmed_look: Option<u32>,
    /// The last clear look before the change.
    pub last_look_before: u32,
    /// The first clear look that shows the change.
    pub first_look_after: u32,
    /// Probability that the finding is what its kind says, 0 to 1.
    pub probability: f32,
    /// The look from which the evidence suffices to start an object, at or after the alert; `None` = it only extends one.
    pub core_look: Option<u32>,
    /// NDVI expected for the season, median over the deciding looks.
    pub ndvi_before: f32,
    /// NDVI seen, median over the deciding looks.
    pub ndvi_after: f32,
    /// Bare soil index expected for the season, median over the deciding looks.
    pub bsi_before: f32,
    /// Bare soil index seen, median over the deciding looks.
    pub bsi_after: f32,
}

/// The verdict on one pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelVerdict {
    /// What is known.
    pub state: PixelState,
    /// Clear looks in the history period.
    pub n_clear_history: u16,
    /// Clear looks in the monitoring period.
    pub n_clear: u16,
    /// Day of the last clear look, history included; `None` = never seen clear.
    pub last_clear: Option<Day>,
    /// Probability of excavation, 0 to 1; NaN = not observable.
    pub confidence: f32,
    /// Median of red, green and blue reflectance × 10,000 over the last clear looks of the history period; 0 = none.
    pub before_rgb: [u16; 3],
    /// The same over the last clear looks of the monitoring period.
    pub after_rgb: [u16; 3],
    /// The change found, if any.
    pub finding: Option<Finding>,
}

/// The verdicts on a window of pixels, `(y, x)` with x contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeMap {
    /// Where the pixels are.
    pub geobox: GeoBox,
    /// One verdict a pixel.
    pub pixels: Vec<PixelVerdict>,
}

/// A pixel with a finding, placed on the lattice: what `sites` makes objects of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangedPixel {
    /// Where it is.
    pub at: LatticePixel,
    /// What was found.
    pub finding: Finding,
    /// Clear looks in the history period.
    pub n_clear_history: u16,
    /// Clear looks in the monitoring period.
    pub n_clear: u16,
}

impl ChangeMap {
    /// The pixels with a finding, row by row.
    pub fn changed_pixels(&self) -> impl Iterator<Item = ChangedPixel> + '_ {
        let origin = self.geobox.lattice_origin();
        let width = self.geobox.shape().width;
        self.pixels
            .iter()
            .enumerate()
            .filter_map(move |(index, verdict)| {
                verdict.finding.map(|finding| ChangedPixel {
                    at: LatticePixel {
                        row: origin.row + (index / width) as i64,
                        col: origin.col + (index % width) as i64,
                    },
                    finding,
                    n_clear_history: verdict.n_clear_history,
                    n_clear: verdict.n_clear,
                })
            })
    }
}
