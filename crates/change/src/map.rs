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
    /// Excavation that persisted; whether its object is confirmed, `sites` says.
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

/// Levels of green that are told apart after an alert.
pub const N_GREEN_LEVELS: usize = 5;

/// What was found at one pixel. Times are places in the list of looks that the cubes of the area share.
///
/// A pixel may alert, be retracted and alert again; each time is a finding of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Cleared or excavation.
    pub kind: Kind,
    /// The look at which the evidence was complete.
    pub alert_look: u32,
    /// The look at which persistence confirmed it; `None` = provisional.
    pub confirmed_look: Option<u32>,
    /// The look at which it was taken back; `None` = it stands.
    pub retracted_look: Option<u32>,
    /// The look by which a green season had come and the ground had greened with it; `None` = not seen.
    pub greened_look: Option<u32>,
    /// The look by which a green season had come and the ground had stayed bare; `None` = not seen.
    pub stayed_bare_look: Option<u32>,
    /// The look by which NDVI since the alert had passed each of [`Params::green_levels`](crate::Params::green_levels); `None` = not yet.
    pub greener_looks: [Option<u32>; N_GREEN_LEVELS],
    /// The last clear look before the change.
    pub last_look_before: u32,
    /// The first clear look that shows the change.
    pub first_look_after: u32,
    /// The look from which the evidence suffices to start an object, at or after the alert; `None` = it only extends one.
    pub core_look: Option<u32>,
    /// What the ground looked like at the alert.
    pub at_alert: Ground,
    /// What it looked like when it was confirmed; as at the alert if it was not.
    pub at_confirmation: Ground,
}

impl Finding {
    /// A finding that only alerted: provisional, standing, of no season since, and too little to start an object.
    ///
    /// - `seen`: the last clear look before the change and the first that shows it.
    #[must_use]
    pub fn new(kind: Kind, alert_look: u32, seen: (u32, u32), ground: Ground) -> Self {
        Self {
            kind,
            alert_look,
            confirmed_look: None,
            retracted_look: None,
            greened_look: None,
            stayed_bare_look: None,
            greener_looks: [None; N_GREEN_LEVELS],
            last_look_before: seen.0,
            first_look_after: seen.1,
            core_look: None,
            at_alert: ground,
            at_confirmation: ground,
        }
    }
}

/// What the ground at one pixel looks like, each number from medians over the deciding looks; all 0 where nothing is known.
///
/// When it is confirmed, red, the ratios of bands and the changes against the barest looks are of the means of such medians
/// over the looks that showed the change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ground {
    /// NDVI expected for the season.
    pub ndvi_before: f32,
    /// NDVI seen.
    pub ndvi_after: f32,
    /// Bare soil index expected for the season.
    pub bsi_before: f32,
    /// Bare soil index seen.
    pub bsi_after: f32,
    /// Red reflectance, unitless.
    pub red: f32,
    /// Red over swir16 reflectance: the color of the ground.
    pub red_over_swir16: f32,
    /// Blue over red reflectance.
    pub blue_over_red: f32,
    /// Swir22 over swir16 reflectance; 0 where swir22 is not given.
    pub swir22_over_swir16: f32,
    /// Share of the way from the expected NDVI to bare ground's, 1 = bare; −0.5 to 1.5.
    pub bare_share: f32,
    /// Natural logarithm of red over the red expected for the season, −2 to 2.
    pub brightening: f32,
    /// NDVI less the lower end of the pixel's own range in the history, −0.3 to 0.3; below 0 it was never as bare.
    pub above_barest: f32,
    /// Share of the history looks that were at least partly water.
    pub wet_share: f32,
    /// Change against the pixel's own barest looks of the history, as natural logarithms of ratios, −2 to 2: red.
    pub red_change: f32,
    /// The same of swir16.
    pub swir16_change: f32,
    /// The same of red over swir16.
    pub red_over_swir16_change: f32,
    /// The same of blue over red.
    pub blue_over_red_change: f32,
    /// The same of nir over red.
    pub nir_over_red_change: f32,
    /// The same of swir22 over swir16; 0 where swir22 is not given.
    pub swir22_over_swir16_change: f32,
}

/// Numbers of a [`Ground`].
pub const N_GROUND_NUMBERS: usize = 18;

impl Ground {
    /// Its numbers, in the order of the fields.
    #[must_use]
    pub fn to_numbers(&self) -> [f32; N_GROUND_NUMBERS] {
        let Self {
            ndvi_before,
            ndvi_after,
            bsi_before,
            bsi_after,
            red,
            red_over_swir16,
            blue_over_red,
            swir22_over_swir16,
            bare_share,
            brightening,
            above_barest,
            wet_share,
            red_change,
            swir16_change,
            red_over_swir16_change,
            blue_over_red_change,
            nir_over_red_change,
            swir22_over_swir16_change,
        } = *self;
        [
            ndvi_before,
            ndvi_after,
            bsi_before,
            bsi_after,
            red,
            red_over_swir16,
            blue_over_red,
            swir22_over_swir16,
            bare_share,
            brightening,
            above_barest,
            wet_share,
            red_change,
            swir16_change,
            red_over_swir16_change,
            blue_over_red_change,
            nir_over_red_change,
            swir22_over_swir16_change,
        ]
    }

    /// The ground of these numbers.
    #[must_use]
    pub fn from_numbers(numbers: &[f32; N_GROUND_NUMBERS]) -> Self {
        Self {
            ndvi_before: numbers[0],
            ndvi_after: numbers[1],
            bsi_before: numbers[2],
            bsi_after: numbers[3],
            red: numbers[4],
            red_over_swir16: numbers[5],
            blue_over_red: numbers[6],
            swir22_over_swir16: numbers[7],
            bare_share: numbers[8],
            brightening: numbers[9],
            above_barest: numbers[10],
            wet_share: numbers[11],
            red_change: numbers[12],
            swir16_change: numbers[13],
            red_over_swir16_change: numbers[14],
            blue_over_red_change: numbers[15],
            nir_over_red_change: numbers[16],
            swir22_over_swir16_change: numbers[17],
        }
    }
}

/// The verdict on one pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelVerdict {
    /// What is known.
    pub state: PixelState,
    /// Clear looks in the history period.
    pub n_clear_history: u16,
    /// Clear looks in the monitoring period.
    pub n_clear: u16,
    /// Day of the last clear look, history included; `None` = never seen clear.
    pub last_clear: Option<Day>,
    /// Median of red, green and blue reflectance × 10,000 over the last clear looks of the history period; 0 = none.
    pub before_rgb: [u16; 3],
    /// The same over the looks of the monitoring period that decide: the last [`Params::median_looks`](crate::Params) clear ones,
    /// residual cloud left out where the pixel is followed.
    pub after_rgb: [u16; 3],
    /// The change that stands, if any.
    pub finding: Option<Finding>,
    /// What had alerted and was taken back, each kind oldest first.
    pub retracted: Vec<Finding>,
}

/// The soil that a pixel's barest looks of the history showed, as natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Soil {
    /// Of red reflectance.
    pub red: f32,
    /// Of red over swir16.
    pub red_over_swir16: f32,
    /// Of blue over red.
    pub blue_over_red: f32,
    /// Of swir22 over swir16; 0 where swir22 is not given.
    pub swir22_over_swir16: f32,
}

/// The verdicts on a window of pixels, `(y, x)` with x contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeMap {
    /// Where the pixels are.
    pub geobox: GeoBox,
    /// One verdict a pixel.
    pub pixels: Vec<PixelVerdict>,
    /// The soil of each pixel; `None` where the history never showed it.
    pub soils: Vec<Option<Soil>>,
}

/// A finding placed on the lattice: what `sites` makes objects of.
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
    /// The findings, row by row, those of a pixel that were taken back before the one that stands.
    pub fn changed_pixels(&self) -> impl Iterator<Item = ChangedPixel> + '_ {
        self.pixels
            .iter()
            .enumerate()
            .flat_map(|(index, verdict)| verdict.changes(self.place(index)))
    }

    /// Where a pixel of the window lies on the lattice.
    #[must_use]
    pub fn place(&self, index: usize) -> LatticePixel {
        let (origin, width) = (self.geobox.lattice_origin(), self.geobox.shape().width);
        LatticePixel {
            row: origin.row + (index / width) as i64,
            col: origin.col + (index % width) as i64,
        }
    }
}

impl PixelVerdict {
    /// Its findings, placed: those taken back before the one that stands.
    pub fn changes(&self, at: LatticePixel) -> impl Iterator<Item = ChangedPixel> + '_ {
        self.retracted
            .iter()
            .copied()
            .chain(self.finding)
            .map(move |finding| ChangedPixel {
                at,
                finding,
                n_clear_history: self.n_clear_history,
                n_clear: self.n_clear,
            })
    }
}
