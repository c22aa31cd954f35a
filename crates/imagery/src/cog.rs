//! The header of a GeoTIFF: what of it is needed to find and decode a block of pixels.
//!
//! Own code instead of a TIFF library because a header may be damaged: `async-tiff` 0.4 panics on an unknown field
//! type and allocates what a damaged count says, and it keeps every tag of every file in memory.
//! Only the first image of a file is read; overviews and masks follow it.
//!
//! Sources: TIFF 6.0, <https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf>; BigTIFF,
//! <https://www.awaresystems.be/imaging/tiff/bigtiff.html>; OGC GeoTIFF 1.1, <https://docs.ogc.org/is/19-008r4/19-008r4.html>.

use std::ops::Range;

use bytes::Bytes;
use pitwatch_grid::Point;

use crate::error::Defect;
use crate::source::{Head, Place};

/// Bytes asked for first: holds the whole header of a 10,980-pixel band with blocks of 512 pixels.
pub(crate) const HEAD_BYTES: u64 = 16 * 1024;
/// Tags that an image may have before the count is taken for damage (real ones have about 20).
const MAX_TAGS: u64 = 4096;
/// Values of a tag that stands for one value or describes the georeference, before the count is taken for damage.
const MAX_VALUES: u64 = 1 << 16;
/// Blocks of an image before their number is taken for damage: a band of 10,980 pixels in the smallest tiles, of 16, has
/// half as many. Each takes 12 bytes of memory.
const MAX_BLOCKS: usize = 1 << 20;
/// Pixels along a side before the number is taken for damage.
const MAX_SIDE: u64 = 1 << 20;
/// Bytes of one decoded block: more would break the promise of a small, bounded memory.
pub(crate) const MAX_BLOCK_BYTES: usize = 16 << 20;
/// Meters from the reference system's origin before the number is taken for damage (the Earth is 40,000 km around).
const MAX_COORDINATE_M: f64 = 1e8;
/// Sizes of a pixel, in meters, that are not taken for damage.
const RESOLUTIONS_M: Range<f64> = 0.01..1e6;

/// What a pixel is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    U8,
    U16,
    I16,
}

impl Sample {
    pub(crate) fn n_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
        }
    }
}

/// How a block is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Lzw,
    Deflate,
}

/// A block (a tile or a strip) of the image, by its place among the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    pub(crate) row: usize,
    pub(crate) col: usize,
}

/// Where the bytes of a block are.
pub(crate) enum BlockBytes {
    /// The block was never written: all its pixels are nodata.
    Sparse,
    /// Here.
    At(Range<u64>),
}

/// What is kept of a file's header.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) size: u64,
    pub(crate) is_big_endian: bool,
    pub(crate) sample: Sample,
    pub(crate) compression: Compression,
    /// Each pixel is stored as the difference from its left neighbour (TIFF predictor 2).
    pub(crate) is_differenced: bool,
    pub(crate) nodata: Option<i32>,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) block_height: usize,
    pub(crate) block_width: usize,
    /// Tiles at the edge are padded to full size; the last strip is not.
    is_tiled: bool,
    offsets: Box<[u64]>,
    lengths: Box<[u32]>,
    pub(crate) epsg: u32,
    pub(crate) origin: Point,
    pub(crate) resolution_m: f64,
}

impl Header {
    /// Reads a file's header: one request for a cloud-optimised file, a few for others.
    pub(crate) async fn read(place: &Place) -> Result<Self, Defect> {
        let file = File {
            place,
            head: place.head(HEAD_BYTES).await?,
        };
        file.header().await
    }

    fn blocks_across(&self) -> usize {
        self.width.div_ceil(self.block_width)
    }

    /// Rows of pixels that a block holds.
    fn stored_rows(&self, block: Block) -> usize {
        if self.is_tiled {
            self.block_height
        } else {
            self.block_height
                .min(self.height - block.row * self.block_height)
        }
    }

    /// Bytes of a row of a block once it is decompressed.
    pub(crate) fn row_bytes(&self) -> usize {
        self.block_width * self.sample.n_bytes()
    }

    /// Bytes of a block once it is decompressed.
    pub(crate) fn block_bytes(&self, block: Block) -> usize {
        self.stored_rows(block) * self.row_bytes()
    }

    /// Bytes of the largest block once it is decompressed.
    pub(crate) fn largest_block_bytes(&self) -> usize {
        self.block_height * self.row_bytes()
    }

    /// Bytes of a row of blocks once they are decompressed.
    pub(crate) fn block_row_bytes(&self) -> usize {
        self.blocks_across() * self.largest_block_bytes()
    }

    /// Where a block's bytes are, if what the header says of it can be true.
    pub(crate) fn locate(&self, block: Block) -> Result<BlockBytes, Defect> {
        let index = block.row * self.blocks_across() + block.col;
        let (start, length) = (self.offsets[index], u64::from(self.lengths[index]));
        if length == 0 {
            return Ok(BlockBytes::Sparse);
        }
        let end = start.saturating_add(length);
        if end > self.size {
            return Err(Defect::Truncated {
                start,
                end,
                size: self.size,
            });
        }
        if length > largest_packed_bytes(self.block_bytes(block)) as u64 {
            return Err(Defect::Header("a block is longer than its pixels can be"));
        }
        Ok(BlockBytes::At(start..end))
    }
}

/// The most bytes that a sane encoder makes of a block: LZW can grow noise by half.
pub(crate) fn largest_packed_bytes(block_bytes: usize) -> usize {
    2 * block_bytes + 1024
}

/// A file of which the start is at hand.
struct File<'a> {
    place: &'a Place,
    head: Head,
}

/// How numbers are written in a file.
#[derive(Clone, Copy)]
struct Layout {
    is_big_endian: bool,
    is_big_tiff: bool,
}

/// One field of the image's directory.
#[derive(Clone)]
struct Field {
    kind: u16,
    count: u64,
    /// The field's value, or where it is.
    inline: Bytes,
}

/// The fields that are needed, by tag.
#[derive(Default)]
struct Fields(Vec<(u16, Field)>);

mod tag {
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS_PER_SAMPLE: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(super) const PREDICTOR: u16 = 317;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_BYTE_COUNTS: u16 = 325;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const PIXEL_SCALE: u16 = 33_550;
    pub(super) const TIE_POINTS: u16 = 33_922;
    pub(super) const TRANSFORMATION: u16 = 34_264;
    pub(super) const GEO_KEYS: u16 = 34_735;
    pub(super) const GDAL_NODATA: u16 = 42_113;
    pub(super) const ALL: [u16; 20] = [
        WIDTH,
        HEIGHT,
        BITS_PER_SAMPLE,
        COMPRESSION,
        FILL_ORDER,
        STRIP_OFFSETS,
        SAMPLES_PER_PIXEL,
        ROWS_PER_STRIP,
        STRIP_BYTE_COUNTS,
        PREDICTOR,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILE_OFFSETS,
        TILE_BYTE_COUNTS,
        SAMPLE_FORMAT,
        PIXEL_SCALE,
        TIE_POINTS,
        TRANSFORMATION,
        GEO_KEYS,
        GDAL_NODATA,
    ];
}

impl File<'_> {
    async fn header(&self) -> Result<Header, Defect> {
        let layout = self.layout()?;
        let fields = self.fields(layout).await?;
        let one = async |tag: u16, absent: Option<u64>| -> Result<u64, Defect> {
            match fields.get(tag) {
                Some(field) if field.count > MAX_VALUES => {
                    Err(Defect::Header("a tag has more values than it can mean"))
                }
                Some(field) => {
                    let values = self.integers(layout, field).await?;
                    values
                        .first()
                        .copied()
                        .ok_or(Defect::Header("a tag has no value"))
                }
                None => absent.ok_or(Defect::Header("it lacks a tag that every image has")),
            }
        };

        let width = side(one(tag::WIDTH, None).await?)?;
        let height = side(one(tag::HEIGHT, None).await?)?;
        let n_samples = one(tag::SAMPLES_PER_PIXEL, Some(1)).await?;
        if n_samples != 1 {
            return Err(Defect::Unsupported(format!(
                "it has {n_samples} bands, and one a file is expected"
            )));
        }
        if one(tag::FILL_ORDER, Some(1)).await? != 1 {
            return Err(Defect::Unsupported("its bits are stored in reverse".into()));
        }
        let sample = sample(
            one(tag::BITS_PER_SAMPLE, Some(1)).await?,
            one(tag::SAMPLE_FORMAT, Some(1)).await?,
        )?;
        let compression = compression(one(tag::COMPRESSION, Some(1)).await?)?;
        let is_differenced = match one(tag::PREDICTOR, Some(1)).await? {
            1 => false,
            2 if compression == Compression::None => false,
            2 => true,
            other => {
                return Err(Defect::Unsupported(format!(
                    "its predictor {other} is for floats"
                )));
            }
        };

        let is_tiled = fields.get(tag::TILE_OFFSETS).is_some();
        let (block_height, block_width, offsets_tag, lengths_tag) = if is_tiled {
            (
                side(one(tag::TILE_HEIGHT, None).await?)?,
                side(one(tag::TILE_WIDTH, None).await?)?,
                tag::TILE_OFFSETS,
                tag::TILE_BYTE_COUNTS,
            )
        } else {
            let rows = one(tag::ROWS_PER_STRIP, Some(u64::MAX)).await?;
            (
                side(rows.min(height as u64))?,
                width,
                tag::STRIP_OFFSETS,
                tag::STRIP_BYTE_COUNTS,
            )
        };
        if block_height * block_width * sample.n_bytes() > MAX_BLOCK_BYTES {
            return Err(Defect::Unsupported(format!(
                "its blocks of {block_width} by {block_height} pixels are too large to decode in little memory"
            )));
        }
        let n_blocks = width.div_ceil(block_width) * height.div_ceil(block_height);
        if n_blocks > MAX_BLOCKS {
            return Err(Defect::Unsupported(format!(
                "its blocks of {block_width} by {block_height} pixels are too many to remember in little memory"
            )));
        }
        let offsets = self
            .block_numbers(layout, fields.get(offsets_tag), n_blocks)
            .await?;
        let lengths = self
            .block_numbers(layout, fields.get(lengths_tag), n_blocks)
            .await?;

        let placed = self.placement(layout, &fields).await?;
        Ok(Header {
            size: self.head.size,
            is_big_endian: layout.is_big_endian,
            sample,
            compression,
            is_differenced,
            nodata: self.nodata(layout, &fields).await?,
            height,
            width,
            block_height,
            block_width,
            is_tiled,
            offsets: offsets.into_boxed_slice(),
            // A block of more than 4 GiB is as impossible as one of 4 GiB, and is refused when it is read.
            lengths: lengths
                .into_iter()
                .map(|length| u32::try_from(length).unwrap_or(u32::MAX))
                .collect(),
            epsg: placed.epsg,
            origin: placed.origin,
            resolution_m: placed.resolution_m,
        })
    }

    fn layout(&self) -> Result<Layout, Defect> {
        let start = self.head.bytes.get(..4).ok_or(Defect::NotTiff)?;
        let (is_big_endian, is_big_tiff) = match start {
            b"II\x2a\0" => (false, false),
            b"MM\0\x2a" => (true, false),
            b"II\x2b\0" => (false, true),
            b"MM\0\x2b" => (true, true),
            _ => return Err(Defect::NotTiff),
        };
        Ok(Layout {
            is_big_endian,
            is_big_tiff,
        })
    }

    /// The fields of the first image.
    async fn fields(&self, layout: Layout) -> Result<Fields, Defect> {
        let (start, count_bytes, entry_bytes) = if layout.is_big_tiff {
            (layout.unsigned(&self.bytes(8, 8).await?), 8, 20)
        } else {
            (layout.unsigned(&self.bytes(4, 4).await?), 2, 12)
        };
        let count = layout.unsigned(&self.bytes(start, count_bytes).await?);
        if count == 0 || count > MAX_TAGS {
            return Err(Defect::Header("its first image has no sane number of tags"));
        }
        let entries = self
            .bytes(start.saturating_add(count_bytes), count * entry_bytes)
            .await?;
        let mut fields = Fields::default();
        // The chunk size is 12 or 20.
        #[expect(clippy::cast_possible_truncation, reason = "12 or 20")]
        for at in (0..entries.len()).step_by(entry_bytes as usize) {
            let entry = entries.slice(at..at + entry_bytes as usize);
            #[expect(clippy::cast_possible_truncation, reason = "two bytes each")]
            let (tag, kind) = (
                layout.unsigned(&entry[0..2]) as u16,
                layout.unsigned(&entry[2..4]) as u16,
            );
            if tag::ALL.contains(&tag) {
                let value_at = if layout.is_big_tiff { 12 } else { 8 };
                let field = Field {
                    kind,
                    count: layout.unsigned(&entry[4..value_at]),
                    inline: entry.slice(value_at..),
                };
                fields.0.push((tag, field));
            }
        }
        Ok(fields)
    }

    /// Bytes of the file, from its start if they are there.
    async fn bytes(&self, start: u64, length: u64) -> Result<Bytes, Defect> {
        let end = start.saturating_add(length);
        let size = self.head.size;
        if end > size {
            return Err(Defect::Truncated { start, end, size });
        }
        if end <= self.head.bytes.len() as u64 {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "within bytes that are in memory"
            )]
            return Ok(self.head.bytes.slice(start as usize..end as usize));
        }
        self.place.range(start..end).await
    }

    /// The bytes of a field's values, wherever they are.
    async fn value(&self, layout: Layout, field: &Field) -> Result<Bytes, Defect> {
        let length = field
            .count
            .checked_mul(kind_bytes(field.kind)?)
            .ok_or(Defect::Header("a tag has more values than a file can hold"))?;
        if length <= field.inline.len() as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "at most eight")]
            return Ok(field.inline.slice(..length as usize));
        }
        self.bytes(layout.unsigned(&field.inline), length).await
    }

    async fn integers(&self, layout: Layout, field: &Field) -> Result<Vec<u64>, Defect> {
        // BYTE, SHORT, LONG, LONG8, IFD8.
        if !matches!(field.kind, 1 | 3 | 4 | 16 | 18) {
            return Err(Defect::Header("a tag that counts is no whole number"));
        }
        let bytes = self.value(layout, field).await?;
        #[expect(clippy::cast_possible_truncation, reason = "at most eight")]
        let size = kind_bytes(field.kind)? as usize;
        Ok(bytes
            .chunks_exact(size)
            .map(|value| layout.unsigned(value))
            .collect())
    }

    async fn doubles(&self, layout: Layout, field: Option<&Field>) -> Result<Vec<f64>, Defect> {
        let Some(field) = field else {
            return Ok(Vec::new());
        };
        // DOUBLE.
        if field.kind != 12 || field.count > MAX_VALUES {
            return Err(Defect::Header("its georeference is no list of numbers"));
        }
        let bytes = self.value(layout, field).await?;
        Ok(bytes
            .chunks_exact(8)
            .map(|value| f64::from_bits(layout.unsigned(value)))
            .collect())
    }

    async fn block_numbers(
        &self,
        layout: Layout,
        field: Option<&Field>,
        n_blocks: usize,
    ) -> Result<Vec<u64>, Defect> {
        let field = field.ok_or(Defect::Header("it does not say where its pixels are"))?;
        if field.count != n_blocks as u64 {
            return Err(Defect::Header(
                "the list of its blocks does not fit the image's size",
            ));
        }
        self.integers(layout, field).await
    }

    async fn nodata(&self, layout: Layout, fields: &Fields) -> Result<Option<i32>, Defect> {
        let Some(field) = fields.get(tag::GDAL_NODATA) else {
            return Ok(None);
        };
        // ASCII.
        if field.kind != 2 || field.count > 256 {
            return Err(Defect::Header("its nodata value is no text"));
        }
        let bytes = self.value(layout, field).await?;
        let text = String::from_utf8_lossy(&bytes);
        let value: f64 = text
            .trim_matches(['\0', ' '])
            .parse()
            .map_err(|_| Defect::Header("its nodata value is no number"))?;
        // A value that no pixel can have marks no pixel.
        #[expect(clippy::cast_possible_truncation, reason = "in range by the filter")]
        Ok(Some(value)
            .filter(|value| value.fract() == 0.0 && value.abs() <= 1e6)
            .map(|value| value as i32))
    }

    async fn placement(&self, layout: Layout, fields: &Fields) -> Result<Placement, Defect> {
        let keys = match fields.get(tag::GEO_KEYS) {
            Some(field) if field.count > MAX_VALUES => {
                return Err(Defect::Header("its georeference is no list of numbers"));
            }
            Some(field) => self.integers(layout, field).await?,
            None => Vec::new(),
        };
        let key = |name: u64| {
            keys.get(4..)
                .unwrap_or_default()
                .chunks_exact(4)
                .find(|entry| entry[0] == name && entry[1] == 0)
                .map(|entry| entry[3])
        };
        const RASTER_TYPE: u64 = 1025;
        const PROJECTED_CRS: u64 = 3072;
        const USER_DEFINED: u64 = 32_767;
        let epsg = key(PROJECTED_CRS)
            .filter(|&code| code != 0 && code < USER_DEFINED)
            .ok_or_else(|| {
                Defect::Georeference(
                    "it has no projected reference system with an EPSG code; give it one with gdal_translate -a_srs, or warp it to UTM"
                        .into(),
                )
            })?;

        let scale = self.doubles(layout, fields.get(tag::PIXEL_SCALE)).await?;
        let tie = self.doubles(layout, fields.get(tag::TIE_POINTS)).await?;
        let matrix = self
            .doubles(layout, fields.get(tag::TRANSFORMATION))
            .await?;
        // x = a·col + b·row + c; y = d·col + e·row + f
        let [a, b, mut c, d, e, mut f] = if scale.len() >= 2 && tie.len() >= 6 {
            let (x, y) = (tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]);
            [scale[0], 0.0, x, 0.0, -scale[1], y]
        } else if matrix.len() >= 8 {
            [
                matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7],
            ]
        } else {
            return Err(Defect::Georeference(
                "it does not say where its corner and how large its pixels are".into(),
            ));
        };
        if key(RASTER_TYPE) == Some(2) {
            // The reference point is the pixel's center.
            c -= 0.5 * a;
            f -= 0.5 * e;
        }
        let is_sane = [b, d].iter().all(|&turn| turn == 0.0)
            && RESOLUTIONS_M.contains(&a)
            && (a + e).abs() < 1e-9 * a
            && c.abs() < MAX_COORDINATE_M
            && f.abs() < MAX_COORDINATE_M;
        if !is_sane {
            return Err(Defect::Georeference(format!(
                "it is not a north-up raster of square pixels (corner {c}, {f}, pixel {a} by {e} m)"
            )));
        }
        Ok(Placement {
            #[expect(clippy::cast_possible_truncation, reason = "below 32,767")]
            epsg: epsg as u32,
            origin: Point { x: c, y: f },
            resolution_m: a,
        })
    }
}

struct Placement {
    epsg: u32,
    origin: Point,
    resolution_m: f64,
}

impl Fields {
    fn get(&self, tag: u16) -> Option<&Field> {
        self.0
            .iter()
            .find(|(other, _)| *other == tag)
            .map(|(_, field)| field)
    }
}

impl Layout {
    /// A number of at most eight bytes.
    fn unsigned(self, bytes: &[u8]) -> u64 {
        let join = |number: u64, &byte: &u8| (number << 8) | u64::from(byte);
        if self.is_big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }
}

fn kind_bytes(kind: u16) -> Result<u64, Defect> {
    match kind {
        1 | 2 | 6 | 7 => Ok(1),
        3 | 8 => Ok(2),
        4 | 9 | 11 | 13 => Ok(4),
        5 | 10 | 12 | 16..=18 => Ok(8),
        _ => Err(Defect::Header("a tag has an unknown type")),
    }
}

fn side(length: u64) -> Result<usize, Defect> {
    if length == 0 || length > MAX_SIDE {
        return Err(Defect::Header("its size is not sane"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_SIDE")]
    Ok(length as usize)
}

fn sample(bits: u64, format: u64) -> Result<Sample, Defect> {
    match (bits, format) {
        (8, 1) => Ok(Sample::U8),
        (16, 1) => Ok(Sample::U16),
        (16, 2) => Ok(Sample::I16),
        _ => {
            let kind = match format {
                1 => "unsigned",
                2 => "signed",
                3 => "floating-point",
                _ => "unknown",
            };
            Err(Defect::Unsupported(format!(
                "its pixels are {bits}-bit {kind} numbers, and uint8, uint16 or int16 are expected"
            )))
        }
    }
}

fn compression(code: u64) -> Result<Compression, Defect> {
    let name = match code {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        8 | 32_946 => return Ok(Compression::Deflate),
        7 => "JPEG",
        32_773 => "PackBits",
        34_887 => "LERC",
        34_925 => "LZMA",
        50_000 => "ZSTD",
        50_001 => "WebP",
        _ => {
            return Err(Defect::Unsupported(format!(
                "its compression {code} is unknown"
            )));
        }
    };
    Err(Defect::Unsupported(format!(
        "its compression {name} is not supported"
    )))
}
