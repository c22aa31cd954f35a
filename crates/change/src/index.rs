//! Spectral indices.

use wide::f32x4;

/// Normalized difference vegetation index, `(nir − red) / (nir + red)`, −1 to 1; 0 where both are 0.
///
/// Source: Rouse et al. (1974), <https://ntrs.nasa.gov/citations/19740022614>.
#[inline]
#[must_use]
pub fn ndvi(red: f32, nir: f32) -> f32 {
    let sum = nir + red;
    if sum > 0.0 { (nir - red) / sum } else { 0.0 }
}

/// [`ndvi`] of four pixels.
#[inline(always)]
pub(crate) fn ndvi_of_four(red: f32x4, nir: f32x4) -> f32x4 {
    let sum = nir + red;
    ((nir - red) / sum) & sum.simd_gt(f32x4::ZERO)
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

/// [`bsi`] of four pixels.
#[inline(always)]
pub(crate) fn bsi_of_four(blue: f32x4, red: f32x4, nir: f32x4, swir16: f32x4) -> f32x4 {
    let soil = swir16 + red;
    let green = nir + blue;
    let sum = soil + green;
    ((soil - green) / sum) & sum.simd_gt(f32x4::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pixels_at_once_have_the_same_ndvi() {
        let (red, nir) = ([0.03, 0.0, 0.2, -0.1], [0.4, 0.0, 0.1, 0.05]);
        let four = ndvi_of_four(f32x4::new(red), f32x4::new(nir)).to_array();
        assert_eq!(four, std::array::from_fn(|lane| ndvi(red[lane], nir[lane])));
    }

    #[test]
    fn vegetation_and_soil_lie_on_opposite_sides() {
        assert!(ndvi(0.03, 0.4) > 0.8 && ndvi(0.25, 0.3) < 0.1);
        assert!(bsi(0.03, 0.03, 0.4, 0.15) < -0.3 && bsi(0.1, 0.2, 0.28, 0.38) > 0.1);
        assert!(ndvi(0.0, 0.0) == 0.0);
    }
}
