//! Spectral indices.

/// Normalized difference vegetation index, `(nir − red) / (nir + red)`, −1 to 1; 0 where both are 0.
///
/// Source: Rouse et al. (1974), <https://ntrs.nasa.gov/citations/19740022614>.
#[inline]
#[must_use]
pub fn ndvi(red: f32, nir: f32) -> f32 {
    let sum = nir + red;
    if sum > 0.0 { (nir - red) / sum } else { 0.0 }
}

/// Bare soil index, `((swir16 + red) − (nir + blue)) / ((swir16 + red) + (nir + blue))`, −1 to 1.
///
/// Source: Rikimaru, Roy and Miyatake (2002), "Tropical forest cover density mapping", Tropical Ecology 43(1).
#[inline]
#[must_use]
pub fn bsi(blue: f32, red: f32, nir: f32, swir16: f32) -> f32 {
    let soil = swir16 + red;
    let green = nir + blue;
    if soil + green > 0.0 {
        (soil - green) / (soil + green)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vegetation_and_soil_lie_on_opposite_sides() {
        assert!(ndvi(0.03, 0.4) > 0.8 && ndvi(0.25, 0.3) < 0.1);
        assert!(bsi(0.03, 0.03, 0.4, 0.15) < -0.3 && bsi(0.1, 0.2, 0.28, 0.38) > 0.1);
        assert!(ndvi(0.0, 0.0) == 0.0);
    }
}
