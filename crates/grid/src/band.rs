use std::fmt;

/// A reflective band of the Sentinel-2 MultiSpectral Instrument that detection can use.
///
/// Names and wavelengths: Sentinel-2 User Handbook, table "spectral bands"; common names: STAC `eo` extension 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// B02, 490 nm, 10 m.
    Blue,
    /// B03, 560 nm, 10 m.
    Green,
    /// B04, 665 nm, 10 m.
    Red,
    /// B08, 842 nm, 10 m.
    Nir,
    /// B8A, 865 nm, 20 m.
    Nir08,
    /// B11, 1610 nm, 20 m.
    Swir16,
    /// B12, 2190 nm, 20 m.
    Swir22,
}

impl Band {
    /// All bands, by wavelength.
    pub const ALL: [Self; 7] = [
        Self::Blue,
        Self::Green,
        Self::Red,
        Self::Nir,
        Self::Nir08,
        Self::Swir16,
        Self::Swir22,
    ];

    /// The name ESA gives the band: `B04`.
    #[must_use]
    pub fn esa_name(self) -> &'static str {
        match self {
            Self::Blue => "B02",
            Self::Green => "B03",
            Self::Red => "B04",
            Self::Nir => "B08",
            Self::Nir08 => "B8A",
            Self::Swir16 => "B11",
            Self::Swir22 => "B12",
        }
    }

    /// The STAC common name: `red`.
    #[must_use]
    pub fn common_name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Red => "red",
            Self::Nir => "nir",
            Self::Nir08 => "nir08",
            Self::Swir16 => "swir16",
            Self::Swir22 => "swir22",
        }
    }

    /// The band of an ESA or a STAC common name (`B04`, `red`; `B4` and any case are understood).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.into_iter().find(|band| {
            let esa = band.esa_name().to_ascii_lowercase();
            name == esa || name == band.common_name() || name == esa.replace("b0", "b")
        })
    }
}

impl fmt::Display for Band {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.common_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_found_by_both_of_its_names() {
        for band in Band::ALL {
            assert_eq!(Band::from_name(band.esa_name()), Some(band));
            assert_eq!(Band::from_name(band.common_name()), Some(band));
        }
        assert_eq!(Band::from_name("B4"), Some(Band::Red));
        assert_eq!(Band::from_name("scl"), None);
    }
}
