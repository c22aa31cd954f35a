//! What the fuzz targets run, for a few seconds: their seeds, and some thousand changes of them that are always the same.
//!
//! A long run is `cargo fuzz run TARGET` in `fuzz/`; what one found lies among the seeds.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what cannot go on must stop, and the panic says where"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts what the targets allocate.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// One test at a time, so that each counts its own.
static ALONE: Mutex<()> = Mutex::new(());

/// The most that reading one seed may take: a decoded block has at most 16 MiB, and a file is held a few times.
const MAX_BYTES: usize = 64 << 20;
/// The longest that reading one seed may take, on a busy machine.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Longest seed, so that the changes reach what matters.
const MAX_SEED_BYTES: usize = 16 << 10;

/// SplitMix64, <https://doi.org/10.1145/2714064.2660195>.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below a length")]
    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// The files of some folders below the workspace, in the order of their names.
fn seeds(folders: &[&str]) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(pitwatch_tests::path(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let is_text = path.extension().is_none_or(|extension| extension != "md");
            path.is_file() && is_text
        })
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| fs::read(path).unwrap())
        .filter(|bytes| bytes.len() <= MAX_SEED_BYTES)
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

/// Numbers at which something changes, as text and, in 1 to 8 bytes, as a field of a file.
const TELLING: [i64; 12] = [
    0,
    1,
    -1,
    2,
    127,
    255,
    256,
    32_767,
    65_535,
    i64::MAX,
    1 << 31,
    4_294_967_295,
];

/// A changed copy of a seed: one to four changes.
fn changed(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        let number = TELLING[dice.below(TELLING.len())];
        match dice.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 => {
                let n_bytes = 1 << dice.below(4);
                for (byte, new) in bytes[at..]
                    .iter_mut()
                    .zip(number.to_le_bytes())
                    .take(n_bytes)
                {
                    *byte = new;
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let end = (at + dice.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len());
                let piece = &other[from..(from + dice.below(200)).min(other.len())];
                let end = (at + dice.below(piece.len())).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            // A number of a text becomes another.
            5 => {
                let is_digit = |byte: &u8| byte.is_ascii_digit();
                let start = at
                    + bytes[at..]
                        .iter()
                        .take_while(|byte| !is_digit(byte))
                        .count();
                let end = start
                    + bytes[start..]
                        .iter()
                        .take_while(|byte| is_digit(byte))
                        .count();
                bytes.splice(start..end, number.to_string().into_bytes());
            }
            _ => {
                let end = (at + dice.below(300)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Runs a target on its seeds and on changes of them; returns how many of the seeds it could use.
fn run(folders: &[&str], n_changes: usize, target: impl Fn(&[u8]) -> bool) -> usize {
    let seeds = seeds(folders);
    let bounded = |bytes: &[u8], name: &str| {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let start = Instant::now();
        let is_used = target(bytes);
        let time = start.elapsed();
        let most = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(time < MAX_TIME, "{name} took {time:?}");
        assert!(most < MAX_BYTES, "{name} took {most} bytes");
        is_used
    };
    let used = seeds.iter().filter(|seed| bounded(seed, "a seed")).count();
    let mut dice = Dice(1);
    for index in 0..n_changes {
        bounded(&changed(&seeds, &mut dice), &format!("change {index}"));
    }
    used
}

#[test]
fn no_damage_to_a_tiff_makes_reading_it_panic_hang_or_take_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let n_decoded = run(&["fuzz/seeds/tiff"], 20_000, |bytes| {
        pitwatch_imagery::fuzz::tiff(bytes).is_some_and(|n_blocks| n_blocks > 0)
    });
    assert!(n_decoded >= 5, "{n_decoded} of the seeds were decoded");
}

#[test]
fn no_damage_to_an_item_or_a_page_makes_reading_it_panic_hang_or_take_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let n_scenes = run(&["fuzz/seeds/stac", "tests/data/stac"], 5_000, |bytes| {
        pitwatch_scenes::fuzz::stac(bytes) > 0
    });
    assert!(n_scenes >= 8, "{n_scenes} of the seeds gave a scene");
}

#[test]
fn no_damage_to_an_area_makes_reading_it_panic_hang_or_take_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let n_areas = run(&["fuzz/seeds/area", "aoi"], 5_000, |bytes| {
        pitwatch_grid::fuzz::area(bytes).is_some()
    });
    assert!(n_areas >= 3, "{n_areas} of the seeds are areas");
}

/// A copy of a TIFF in which a tag has another type, count and value (TIFF 6.0, section 2; little-endian).
fn with_tag(bytes: &[u8], tag: u16, kind: u16, count: u32, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let directory = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let n_tags = usize::from(u16::from_le_bytes(
        bytes[directory..directory + 2].try_into().unwrap(),
    ));
    let mut entries = (0..n_tags).map(|index| directory + 2 + 12 * index);
    let entry = entries
        .find(|&entry| bytes[entry..entry + 2] == tag.to_le_bytes())
        .unwrap();
    bytes[entry + 2..entry + 4].copy_from_slice(&kind.to_le_bytes());
    bytes[entry + 4..entry + 8].copy_from_slice(&count.to_le_bytes());
    bytes[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// A changed seed is too short for this: what a header says of a long file may be there and still be too much to keep.
#[test]
fn a_header_that_counts_millions_of_values_is_refused_before_they_are_kept() {
    const SIDE: u32 = 4096;
    const N_BLOCKS: u32 = SIDE * SIDE;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = fs::read(pitwatch_tests::path(
        "fuzz/seeds/tiff/deflate-tiles-u16.tif",
    ))
    .unwrap();
    // BYTE and LONG of TIFF 6.0.
    let (byte, long) = (1, 4);
    let mut one_pixel_blocks = seed.clone();
    for (tag, kind, count, value) in [
        (256, long, 1, SIDE),
        (257, long, 1, SIDE),
        (322, long, 1, 1),
        (323, long, 1, 1),
        (324, byte, N_BLOCKS, 0),
        (325, byte, N_BLOCKS, 0),
    ] {
        one_pixel_blocks = with_tag(&one_pixel_blocks, tag, kind, count, value);
    }
    let many_widths = with_tag(&seed, 256, byte, N_BLOCKS, 0);
    for mut bytes in [one_pixel_blocks, many_widths] {
        bytes.resize(N_BLOCKS as usize, 1);
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        assert_eq!(pitwatch_imagery::fuzz::tiff(&bytes), None);
        let most = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(most < 2 * N_BLOCKS as usize, "{most} bytes");
    }
}
