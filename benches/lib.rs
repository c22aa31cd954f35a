//! Shared inputs of the benchmarks: seeded, made in memory, the same in every run and on every machine.

use std::f64::consts::TAU;
use std::path::Path;

use pitwatch_change::{ChangedPixel, Finding, Ground, Kind};
use pitwatch_grid::{
    Band, Crs, Cube, Day, GeoBox, LatticePixel, Point, Shape, UtcTime, parse_time,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The bands of a cube, as `pipelines/simbench.toml` names them.
pub const BANDS: [Band; 6] = [
    Band::Blue,
    Band::Green,
    Band::Red,
    Band::Nir,
    Band::Swir16,
    Band::Swir22,
];

/// Days between two looks: the revisit of two Sentinel-2 satellites.
const REVISIT_DAYS: i32 = 5;
/// The first look: 2019-01-01.
const FIRST_DAY: i32 = 17_897;

/// A seeded source of numbers that look random: SplitMix64.
///
/// Source: Steele et al. (2014), <https://doi.org/10.1145/2714064.2660195>.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 (inclusive) to 1 (exclusive), all alike probable.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number with mean 0 and standard deviation 1, nearly normal: the sum of twelve uniform ones.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Pixels of 10 m in northern Côte d'Ivoire.
///
/// # Panics
///
/// If there is no pixel.
#[must_use]
pub fn geobox(shape: Shape) -> GeoBox {
    let origin = Point {
        x: 205_000.0,
        y: 985_000.0,
    };
    Crs::from_epsg(32630)
        .and_then(|crs| GeoBox::new(crs, origin, 10.0, shape))
        .expect("the place is on the map")
}

/// The days of so many looks, ascending, five days apart.
#[must_use]
pub fn days(n_looks: usize) -> Vec<Day> {
    (FIRST_DAY..)
        .step_by(REVISIT_DAYS as usize)
        .take(n_looks)
        .map(Day)
        .collect()
}

/// The times of the looks of [`days`].
///
/// # Panics
///
/// Never: each day has a noon.
#[must_use]
pub fn times(n_looks: usize) -> Vec<UtcTime> {
    days(n_looks)
        .iter()
        .map(|day| parse_time(&format!("{day}T10:48:29Z")).expect("a time of a day"))
        .collect()
}

/// Digital numbers (reflectance × 10,000) of the six bands of one kind of ground.
type Spectrum = [f64; BANDS.len()];
const SAVANNA_WET: Spectrum = [350.0, 650.0, 450.0, 3_400.0, 1_900.0, 950.0];
const SAVANNA_DRY: Spectrum = [700.0, 1_000.0, 1_300.0, 2_300.0, 3_000.0, 2_200.0];
const DUG: Spectrum = [1_000.0, 1_500.0, 2_100.0, 2_800.0, 3_800.0, 3_200.0];
const CLOUD: Spectrum = [4_500.0, 4_400.0, 4_500.0, 5_200.0, 4_000.0, 3_000.0];

/// Scene classification of clear vegetation and of cloud.
pub const CLEAR: u8 = 4;
/// Scene classification of a cloud of high probability.
pub const CLOUDED: u8 = 9;

/// What a pixel shows on a day, without noise.
///
/// - `season`: 0 in the dry season to 1 in the wet season.
#[must_use]
pub fn ground(day: Day, is_dug: bool, is_clouded: bool) -> [f64; BANDS.len()] {
    let season = 0.5 - 0.5 * (day.season_angle() - 0.1 * TAU).cos();
    std::array::from_fn(|band| {
        let savanna = SAVANNA_DRY[band] + season * (SAVANNA_WET[band] - SAVANNA_DRY[band]);
        match (is_clouded, is_dug) {
            (true, _) => CLOUD[band],
            (_, true) => DUG[band],
            _ => savanna,
        }
    })
}

/// A savanna with clouds and some digging, six bands.
///
/// Three fifths of the looks at a pixel are clear, as in the reference series of the detection benchmark; 2 % of these are
/// clouds that the scene classification missed. One pixel in fifty is dug up at a look after `monitor_from`.
///
/// # Panics
///
/// Never: the days are ascending.
#[must_use]
pub fn cube(shape: Shape, n_looks: usize, monitor_from: Day, seed: u64) -> Cube {
    patchy_cube(shape, n_looks, monitor_from, seed, 1)
}

/// As [`cube`], with clouds that hide squares of `patch` pixels a side; those of single pixels are the hardest case.
///
/// # Panics
///
/// Never: the days are ascending.
#[must_use]
pub fn patchy_cube(
    shape: Shape,
    n_looks: usize,
    monitor_from: Day,
    seed: u64,
    patch: usize,
) -> Cube {
    const CLEAR_SHARE: f64 = 0.6;
    const MISSED_SHARE: f64 = 0.02;
    const DUG_SHARE: f64 = 0.02;
    /// Standard deviation as a share of the value.
    const NOISE: f64 = 0.05;
    let days = days(n_looks);
    let n_history = days.partition_point(|&day| day < monitor_from);
    let mut random = Random::new(seed);
    let dug_from: Vec<usize> = (0..shape.n_pixels())
        .map(|_| {
            let is_dug = random.uniform() < DUG_SHARE;
            let after = random.uniform() * (n_looks - n_history) as f64;
            if is_dug {
                n_history + after as usize
            } else {
                n_looks
            }
        })
        .collect();
    let mut cube = Cube::empty(geobox(shape), days.clone(), BANDS.to_vec());
    let mut weather = Random::new(seed + 1);
    for (time, &day) in days.iter().enumerate() {
        let patches: Vec<f64> =
            (0..shape.n_pixels() / (patch * patch) + shape.height + shape.width)
                .map(|_| weather.uniform())
                .collect();
        for (pixel, &dug_from) in dug_from.iter().enumerate() {
            let (row, col) = (pixel / shape.width / patch, pixel % shape.width / patch);
            let of_pixel = random.uniform();
            let sky = if patch == 1 {
                of_pixel
            } else {
                patches[row * shape.width.div_ceil(patch) + col]
            };
            let is_clear = sky < CLEAR_SHARE;
            let is_missed = random.uniform() < MISSED_SHARE;
            let values = ground(day, dug_from <= time, !is_clear || is_missed);
            for (band, value) in values.into_iter().enumerate() {
                let noisy = value * (1.0 + NOISE * random.normal());
                cube.plane_mut(band, time)[pixel] = noisy.clamp(1.0, 10_000.0) as i16;
            }
            cube.classes_mut(time)[pixel] = if is_clear { CLEAR } else { CLOUDED };
        }
    }
    cube
}

/// The pixels of round objects of about 20 pixels, one in each square of 16 × 16, until there are `n_pixels`.
///
/// Half of the objects are excavation, half cleared ground.
#[must_use]
pub fn changed_pixels(
    area: &GeoBox,
    n_looks: u32,
    n_pixels: usize,
    seed: u64,
) -> Vec<ChangedPixel> {
    const SQUARE: i64 = 16;
    const RADIUS_PIXELS: f64 = 2.5;
    let origin = area.lattice_origin();
    let width = area.shape().width;
    let mut random = Random::new(seed);
    let mut pixels = Vec::with_capacity(n_pixels);
    for object in 0i64.. {
        let squares_across = width as i64 / SQUARE;
        let corner = (
            object / squares_across * SQUARE,
            object % squares_across * SQUARE,
        );
        let center = 5.0 + 6.0 * random.uniform();
        let radius = RADIUS_PIXELS * (0.5 + random.uniform());
        let alert_look = n_looks / 2 + (random.uniform() * f64::from(n_looks / 4)) as u32;
        let kind = if object % 2 == 0 {
            Kind::Excavation
        } else {
            Kind::Cleared
        };
        let ground = Ground {
            ndvi_before: 0.6,
            ndvi_after: 0.1,
            red: 0.2,
            red_over_swir16: 0.6,
            bare_share: 1.0,
            ..Ground::default()
        };
        let finding = Finding {
            confirmed_look: (random.uniform() < 0.7).then_some(alert_look + n_looks / 8),
            core_look: Some(0),
            ..Finding::new(kind, alert_look, (alert_look - 2, alert_look - 1), ground)
        };
        for (row, col) in (0..SQUARE).flat_map(|row| (0..SQUARE).map(move |col| (row, col))) {
            if (row as f64 - center).hypot(col as f64 - center) > radius {
                continue;
            }
            if pixels.len() == n_pixels {
                return pixels;
            }
            pixels.push(ChangedPixel {
                at: LatticePixel {
                    row: origin.row + corner.0 + row,
                    col: origin.col + corner.1 + col,
                },
                finding,
                n_clear_history: 80,
                n_clear: 40,
            });
        }
    }
    pixels
}

/// The numbers of detection, as `pipelines/simbench.toml` has them.
///
/// # Panics
///
/// If that file cannot be read.
#[must_use]
pub fn change_params() -> pitwatch_change::Params {
    table("change").try_into().expect("the table [change]")
}

/// The numbers of the objects, as `pipelines/simbench.toml` has them.
///
/// # Panics
///
/// If that file cannot be read.
#[must_use]
pub fn sites_params() -> pitwatch_sites::Params {
    table("sites").try_into().expect("the table [sites]")
}

fn table(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/simbench.toml");
    let text = std::fs::read_to_string(path).expect("the pipeline file is in the repository");
    let mut pipeline: toml::Table = text.parse().expect("the pipeline file is TOML");
    match pipeline.remove(name) {
        Some(toml::Value::Table(table)) => table,
        _ => panic!("the pipeline file has no table [{name}]"),
    }
}

/// Pools of one thread and of as many as the machine has cores, with their names.
///
/// # Panics
///
/// If the machine gives no thread.
#[must_use]
pub fn pools() -> [(&'static str, ThreadPool); 2] {
    [("1_thread", 1), ("all_threads", 0)].map(|(name, n_threads)| {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build();
        (name, pool.expect("the machine gives threads"))
    })
}
