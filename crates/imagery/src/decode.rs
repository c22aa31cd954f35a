//! From a block's packed bytes to rows of pixels in a cube's plane.

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor};
use pitwatch_grid::{MISSING_REFLECTANCE, Window};
use weezl::BitOrder;
use weezl::decode::Decoder;

use crate::cog::{Block, Compression, Header, Sample};
use crate::error::Defect;

/// Where a raster lies on the lattice that cubes are read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placing {
    /// Lattice row of the raster's first row.
    pub(crate) row: i64,
    /// Lattice column of the raster's first column.
    pub(crate) col: i64,
    /// Lattice pixels along a side of one of the raster's pixels.
    pub(crate) factor: usize,
}

/// The part of a plane that a block covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The block, which may reach beyond the plane.
    pub(crate) block: Block,
    /// The part, in the plane's pixels.
    pub(crate) window: Window,
    /// Lattice pixels from the raster's first row to the part's.
    pub(crate) row: usize,
    /// Lattice pixels from the raster's first column to the part's.
    pub(crate) col: usize,
}

/// How a digital number becomes what the plane holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibration {
    /// Added to the digital number.
    pub(crate) offset: i32,
    /// Reflectance × 10,000 for one digital number; 1 for Sentinel-2.
    pub(crate) factor: f32,
    /// Marks a missing pixel, beside 0.
    pub(crate) nodata: Option<i32>,
}

/// Buffers of one thread, as large as the largest block it has met.
struct Scratch {
    decompressor: Decompressor,
    block: Vec<u8>,
    digital_numbers: Vec<i32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        decompressor: Decompressor::new(),
        block: Vec::new(),
        digital_numbers: Vec::new(),
    });
}

/// Decodes a block and writes what lies in `covered` to `plane` (`width` pixels a row).
///
/// Each lattice pixel takes the raster's pixel that contains its center.
///
/// - `factor`: lattice pixels along a side of one of the raster's pixels.
/// - `convert`: makes a row of digital numbers a row of the plane.
pub(crate) fn block_into_plane<T: Copy + Default>(
    header: &Header,
    factor: usize,
    packed: &[u8],
    covered: Covered,
    plane: &mut [T],
    width: usize,
    convert: impl Fn(&[i32], &mut [T]),
) -> Result<(), Defect> {
    let Covered {
        block,
        window,
        row,
        col,
    } = covered;
    SCRATCH.with_borrow_mut(|scratch| {
        let pixels = decompress(
            header.compression,
            packed,
            header.block_bytes(block),
            &mut scratch.decompressor,
            &mut scratch.block,
        )?;
        let digital_numbers = &mut scratch.digital_numbers;
        let first_col = col / factor - block.col * header.block_width;
        let end_col = (col + window.width).div_ceil(factor) - block.col * header.block_width;
        digital_numbers.resize(end_col, 0);
        let n_coarse = if factor > 1 { end_col - first_col } else { 0 };
        let mut coarse = vec![T::default(); n_coarse];

        let mut previous = None;
        for y in 0..window.height {
            let from = (row + y) / factor - block.row * header.block_height;
            let start = (window.row + y) * width + window.col;
            if previous == Some(from) {
                plane.copy_within(start - width..start - width + window.width, start);
                continue;
            }
            previous = Some(from);
            let stored = &pixels[from * header.row_bytes()..(from + 1) * header.row_bytes()];
            unpack_row(header, stored, digital_numbers);
            let out = &mut plane[start..start + window.width];
            if factor == 1 {
                convert(&digital_numbers[first_col..], out);
            } else {
                convert(&digital_numbers[first_col..], &mut coarse);
                repeat_each(&coarse, factor, col % factor, out);
            }
        }
        Ok(())
    })
}

/// Decodes a whole block into `pixels`, whose memory is used again: its numbers in this machine's byte order, row by row,
/// the padding included.
pub(crate) fn block_pixels(
    header: &Header,
    block: Block,
    packed: &[u8],
    pixels: &mut Vec<u8>,
) -> Result<(), Defect> {
    let expected = header.block_bytes(block);
    SCRATCH.with_borrow_mut(|scratch| {
        let decompressor = &mut scratch.decompressor;
        decompress(header.compression, packed, expected, decompressor, pixels).map(|_| ())
    })?;
    if header.compression == Compression::None {
        pixels.clear();
        pixels.extend_from_slice(packed);
    }
    pixels.truncate(expected);
    for row in pixels.chunks_exact_mut(header.row_bytes()) {
        match (header.sample, header.is_differenced, header.is_big_endian) {
            (Sample::U8, true, _) => integrate(row, |[byte]| byte, |number| [number]),
            (Sample::U8, false, _) => {}
            (_, true, false) => integrate(row, u16::from_le_bytes, u16::to_ne_bytes),
            (_, true, true) => integrate(row, u16::from_be_bytes, u16::to_ne_bytes),
            (_, false, is_big_endian) => {
                if is_big_endian != cfg!(target_endian = "big") {
                    row.as_chunks_mut::<2>()
                        .0
                        .iter_mut()
                        .for_each(|pair| pair.reverse());
                }
            }
        }
    }
    Ok(())
}

/// Undoes predictor 2 in place: each number becomes the sum of those up to it.
#[inline(always)]
fn integrate<const N: usize, W: Wrapping>(
    row: &mut [u8],
    number: impl Fn([u8; N]) -> W,
    bytes: impl Fn(W) -> [u8; N],
) {
    let mut sum = W::default();
    for sample in row.as_chunks_mut::<N>().0 {
        sum = sum.sum(number(*sample));
        *sample = bytes(sum);
    }
}

/// The bytes of a block, unpacked; `buffer` is used if they are not in `packed` as they are.
fn decompress<'a>(
    compression: Compression,
    packed: &'a [u8],
    expected: usize,
    decompressor: &mut Decompressor,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], Defect> {
    let wrong_size = |got| Err(Defect::Size { got, expected });
    if compression == Compression::None {
        return if packed.len() == expected {
            Ok(packed)
        } else {
            wrong_size(packed.len())
        };
    }
    if buffer.len() < expected {
        buffer.resize(expected, 0);
    }
    let out = &mut buffer[..expected];
    let got = match compression {
        Compression::Deflate => decompressor.zlib_decompress(packed, out).map_err(|error| {
            Defect::Decompress(match error {
                DecompressionError::BadData => "its bytes are damaged".into(),
                DecompressionError::InsufficientSpace => {
                    format!("it holds more than the {expected} bytes of a block")
                }
            })
        })?,
        Compression::Lzw => unpack_lzw(packed, out)?,
        Compression::None => packed.len(),
    };
    if got == expected {
        Ok(&buffer[..expected])
    } else {
        wrong_size(got)
    }
}

fn unpack_lzw(packed: &[u8], out: &mut [u8]) -> Result<usize, Defect> {
    let mut decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut read, mut written) = (0, 0);
    while written < out.len() {
        let step = decoder.decode_bytes(&packed[read..], &mut out[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        if step.status.is_err() {
            return Err(Defect::Decompress("its bytes are damaged".into()));
        }
        if step.consumed_in == 0 && step.consumed_out == 0 {
            break;
        }
    }
    Ok(written)
}

/// Digital numbers of the first pixels of a stored row, as many as `out` has.
fn unpack_row(header: &Header, stored: &[u8], out: &mut [i32]) {
    let is_differenced = header.is_differenced;
    match (header.sample, header.is_big_endian) {
        (Sample::U8, _) => unpack(stored, is_differenced, out, |[byte]| byte, i32::from),
        (Sample::U16, false) => {
            unpack(stored, is_differenced, out, u16::from_le_bytes, i32::from);
        }
        (Sample::U16, true) => unpack(stored, is_differenced, out, u16::from_be_bytes, i32::from),
        (Sample::I16, false) => {
            unpack(stored, is_differenced, out, u16::from_le_bytes, signed);
        }
        (Sample::I16, true) => unpack(stored, is_differenced, out, u16::from_be_bytes, signed),
    }
}

fn signed(bits: u16) -> i32 {
    i32::from(bits.cast_signed())
}

/// An unsigned number of a sample's width, for the sums of predictor 2, which wrap.
trait Wrapping: Copy + Default {
    fn sum(self, other: Self) -> Self;
}

impl Wrapping for u8 {
    fn sum(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Wrapping for u16 {
    fn sum(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

#[inline(always)]
fn unpack<const N: usize, W: Wrapping>(
    stored: &[u8],
    is_differenced: bool,
    out: &mut [i32],
    number: impl Fn([u8; N]) -> W,
    value: impl Fn(W) -> i32,
) {
    let (samples, _) = stored.as_chunks::<N>();
    if is_differenced {
        let mut sum = W::default();
        for (out, &bytes) in out.iter_mut().zip(samples) {
            sum = sum.sum(number(bytes));
            *out = value(sum);
        }
    } else {
        for (out, &bytes) in out.iter_mut().zip(samples) {
            *out = value(number(bytes));
        }
    }
}

/// Reflectance × 10,000 of a row of digital numbers.
///
/// - `digital_numbers`: 0 and `calibration.nodata` are missing, before the offset.
/// - `out`: [`MISSING_REFLECTANCE`] where missing; else inside the other values of its type.
pub(crate) fn reflectance_row(calibration: Calibration, digital_numbers: &[i32], out: &mut [i16]) {
    let Calibration {
        offset,
        factor,
        nodata,
    } = calibration;
    let nodata = nodata.unwrap_or(0);
    // Samples have 16 bits and offsets are bounded when a scene is opened: the sum cannot overflow.
    if factor == 1.0 {
        for (out, &number) in out.iter_mut().zip(digital_numbers) {
            *out = stored_reflectance(number, number + offset, nodata);
        }
    } else {
        for (out, &number) in out.iter_mut().zip(digital_numbers) {
            let scaled = ((number + offset) as f32 * factor).round();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the cast saturates, and the value is clamped next"
            )]
            let scaled = scaled as i32;
            *out = stored_reflectance(number, scaled, nodata);
        }
    }
}

#[inline(always)]
fn stored_reflectance(number: i32, reflectance: i32, nodata: i32) -> i16 {
    const LOWEST: i32 = MISSING_REFLECTANCE as i32 + 1;
    #[expect(clippy::cast_possible_truncation, reason = "clamped to its range")]
    let value = reflectance.clamp(LOWEST, i16::MAX as i32) as i16;
    if number == 0 || number == nodata {
        MISSING_REFLECTANCE
    } else {
        value
    }
}

/// Classes of a row of digital numbers: SCL's codes 0 to 11; anything else, and nodata, is 0 (no data).
pub(crate) fn class_row(nodata: Option<i32>, digital_numbers: &[i32], out: &mut [u8]) {
    const LAST_CLASS: i32 = 11;
    let nodata = nodata.unwrap_or(0);
    for (out, &number) in out.iter_mut().zip(digital_numbers) {
        let is_class = (0..=LAST_CLASS).contains(&number) && number != nodata;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 11"
        )]
        let class = if is_class { number as u8 } else { 0 };
        *out = class;
    }
}

/// Writes each value `factor` times, without the first `skipped` of them, until `out` is full.
fn repeat_each<T: Copy>(values: &[T], factor: usize, skipped: usize, out: &mut [T]) {
    let Some((&first, rest)) = values.split_first() else {
        return;
    };
    let (start, out) = out.split_at_mut((factor - skipped).min(out.len()));
    start.fill(first);
    if factor == 2 {
        let (pairs, last) = out.as_chunks_mut::<2>();
        for (pair, &value) in pairs.iter_mut().zip(rest) {
            *pair = [value; 2];
        }
        if let ([last], Some(&value)) = (last, rest.get(pairs.len())) {
            *last = value;
        }
    } else {
        for (run, &value) in out.chunks_mut(factor).zip(rest) {
            run.fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_repeated_from_any_phase() {
        for factor in [2, 3, 6] {
            for skipped in 0..factor {
                for length in 1..20 {
                    let mut out = vec![0; length];
                    let values: Vec<i16> = (1..=20).collect();
                    let values = &values[..(skipped + length).div_ceil(factor)];
                    repeat_each(values, factor, skipped, &mut out);
                    let expected: Vec<i16> = (0..length)
                        .map(|x| values[(skipped + x) / factor])
                        .collect();
                    assert_eq!(out, expected);
                }
            }
        }
    }

    #[test]
    fn zero_and_nodata_are_missing_before_the_offset() {
        let calibration = Calibration {
            offset: -1_000,
            factor: 1.0,
            nodata: Some(65_535),
        };
        let mut out = [0; 5];
        reflectance_row(calibration, &[0, 1, 1_000, 65_534, 65_535], &mut out);
        assert_eq!(
            out,
            [MISSING_REFLECTANCE, -999, 0, i16::MAX, MISSING_REFLECTANCE]
        );
    }

    #[test]
    fn another_quantification_is_brought_to_ten_thousandths() {
        let calibration = Calibration {
            offset: 0,
            factor: 5.0,
            nodata: None,
        };
        let mut out = [0; 3];
        reflectance_row(calibration, &[0, 100, 60_000], &mut out);
        assert_eq!(out, [MISSING_REFLECTANCE, 500, i16::MAX]);
    }

    #[test]
    fn a_code_that_is_no_class_is_no_data() {
        let mut out = [9; 5];
        class_row(Some(255), &[4, 11, 12, -1, 255], &mut out);
        assert_eq!(out, [4, 11, 0, 0, 0]);
    }
}
