//! Writes the rasters of a mirror: one image of one band, in tiles, its header first and its tiles in order.
//!
//! It is a Cloud-Optimised GeoTIFF without overviews: nothing reads them here, and they would cost a third more disk.
//!
//! Sources: TIFF 6.0; OGC GeoTIFF 1.1, <https://docs.ogc.org/is/19-008r4/19-008r4.html>; OGC Cloud Optimized GeoTIFF 1.0,
//! <https://docs.ogc.org/is/21-026/21-026.html>.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use libdeflater::{CompressionLvl, Compressor};
use pitwatch_grid::{GeoBox, Shape};

/// Effort of compression, 1 to 12. On Sentinel-2's bands 6 makes files 2 % smaller than 4 and takes twice the time.
const LEVEL: i32 = 4;
/// Bytes of a classic TIFF, whose offsets have 32 bits.
const MAX_BYTES: u64 = u32::MAX as u64;

/// What a tile's pixels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Classes.
    U8,
    /// Digital numbers.
    U16,
    /// Digital numbers that may be negative.
    I16,
}

impl Depth {
    fn bits(self) -> u16 {
        match self {
            Self::U8 => 8,
            Self::U16 | Self::I16 => 16,
        }
    }
}

/// A raster that is being written, tile after tile.
pub(crate) struct TiffWriter {
    out: BufWriter<File>,
    header: Vec<u8>,
    /// Where in the header the places and lengths of the tiles go.
    offsets_at: usize,
    lengths_at: usize,
    offsets: Vec<u32>,
    lengths: Vec<u32>,
    n_tiles: usize,
    position: u64,
    depth: Depth,
    tile: usize,
    compressor: Compressor,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl TiffWriter {
    /// Starts a file.
    ///
    /// - `geobox`: the raster's place; its sides are multiples of `tile`.
    /// - `tile`: pixels a side of a tile, a multiple of 16.
    /// - `nodata`: the digital number that stands for no observation.
    pub(crate) fn create(
        path: &Path,
        geobox: &GeoBox,
        depth: Depth,
        tile: usize,
        nodata: i32,
    ) -> std::io::Result<Self> {
        let Shape { height, width } = geobox.shape();
        let n_tiles = height.div_ceil(tile) * width.div_ceil(tile);
        let (header, offsets_at, lengths_at) = header(geobox, depth, tile, nodata, n_tiles)?;
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(&header)?;
        Ok(Self {
            out,
            position: header.len() as u64,
            header,
            offsets_at,
            lengths_at,
            offsets: Vec::with_capacity(n_tiles),
            lengths: Vec::with_capacity(n_tiles),
            n_tiles,
            depth,
            tile,
            compressor: Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()),
            plain: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// The most memory that a writer takes, in bytes.
    ///
    /// - `tile`: pixels a side of a tile.
    pub(crate) fn bytes(tile: usize) -> usize {
        /// The compressor's tables, and what waits to be written.
        const OTHER_BYTES: usize = 1 << 20;
        // A tile's differences, and the same packed.
        2 * tile * tile * size_of::<u16>() + OTHER_BYTES
    }

    /// Leaves out the next tile: all its pixels are nodata.
    pub(crate) fn skip(&mut self) {
        self.offsets.push(0);
        self.lengths.push(0);
    }

    /// Writes the next tile, row by row; a tile of nodata 0 alone is left out.
    ///
    /// - `pixels`: the bits of the digital numbers.
    /// - `width`: pixels from one row to the next.
    pub(crate) fn tile(&mut self, pixels: &[u16], width: usize) -> std::io::Result<()> {
        let rows = || {
            pixels
                .chunks(width)
                .take(self.tile)
                .map(|row| &row[..self.tile])
        };
        if rows().all(|row| row.iter().all(|&pixel| pixel == 0)) {
            self.skip();
            return Ok(());
        }
        self.plain.clear();
        match self.depth {
            #[expect(clippy::cast_possible_truncation, reason = "classes have eight bits")]
            Depth::U8 => {
                rows().for_each(|row| self.plain.extend(row.iter().map(|&pixel| pixel as u8)))
            }
            Depth::U16 | Depth::I16 => {
                for row in rows() {
                    let mut previous = 0_u16;
                    for &pixel in row {
                        self.plain
                            .extend_from_slice(&pixel.wrapping_sub(previous).to_le_bytes());
                        previous = pixel;
                    }
                }
            }
        }
        self.packed
            .resize(self.compressor.zlib_compress_bound(self.plain.len()), 0);
        let length = self
            .compressor
            .zlib_compress(&self.plain, &mut self.packed)
            .map_err(std::io::Error::other)?;
        let end = self.position + length as u64;
        if end > MAX_BYTES {
            return Err(std::io::Error::other(
                "the raster would have more than 4 GiB",
            ));
        }
        self.out.write_all(&self.packed[..length])?;
        // Both fit, since the end does.
        self.offsets
            .push(u32::try_from(self.position).unwrap_or(u32::MAX));
        self.lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        self.position = end;
        Ok(())
    }

    /// Completes the file and makes sure that the disk has it. Returns its length.
    pub(crate) fn finish(mut self) -> std::io::Result<u64> {
        if self.offsets.len() != self.n_tiles {
            return Err(std::io::Error::other("a tile is missing"));
        }
        let bytes = |numbers: &[u32]| {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let (offsets, lengths) = (bytes(&self.offsets), bytes(&self.lengths));
        self.header[self.offsets_at..self.offsets_at + offsets.len()].copy_from_slice(&offsets);
        self.header[self.lengths_at..self.lengths_at + lengths.len()].copy_from_slice(&lengths);
        self.out.flush()?;
        let mut file = self
            .out
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.header)?;
        file.sync_all()?;
        Ok(self.position)
    }
}

/// A value of a tag.
enum Values {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Double(Vec<f64>),
    Ascii(String),
}

impl Values {
    fn kind(&self) -> u16 {
        match self {
            Self::Ascii(_) => 2,
            Self::Short(_) => 3,
            Self::Long(_) => 4,
            Self::Double(_) => 12,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Short(values) => values.len(),
            Self::Long(values) => values.len(),
            Self::Double(values) => values.len(),
            // With the zero that ends it.
            Self::Ascii(text) => text.len() + 1,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Short(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Long(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Double(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Ascii(text) => text.bytes().chain([0]).collect(),
        }
    }
}

const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;

/// The header, and where in it the arrays of the tiles are.
fn header(
    geobox: &GeoBox,
    depth: Depth,
    tile: usize,
    nodata: i32,
    n_tiles: usize,
) -> std::io::Result<(Vec<u8>, usize, usize)> {
    let too_large = || std::io::Error::other("the raster is too large for a TIFF");
    let long = |number: usize| u32::try_from(number).map_err(|_| too_large());
    let Shape { height, width } = geobox.shape();
    let (origin, resolution) = (geobox.origin(), geobox.resolution_m());
    let epsg = u16::try_from(geobox.crs().epsg())
        .map_err(|_| std::io::Error::other("an EPSG code of more than 16 bits"))?;
    let (predictor, format) = match depth {
        Depth::U8 => (1, 1),
        Depth::U16 => (2, 1),
        Depth::I16 => (2, 2),
    };
    let tags: Vec<(u16, Values)> = vec![
        (256, Values::Long(vec![long(width)?])),
        (257, Values::Long(vec![long(height)?])),
        (258, Values::Short(vec![depth.bits()])),
        // Deflate as Adobe registered it; zlib's format.
        (259, Values::Short(vec![8])),
        // Black is zero.
        (262, Values::Short(vec![1])),
        (277, Values::Short(vec![1])),
        (284, Values::Short(vec![1])),
        (317, Values::Short(vec![predictor])),
        (322, Values::Long(vec![long(tile)?])),
        (323, Values::Long(vec![long(tile)?])),
        (TILE_OFFSETS, Values::Long(vec![0; n_tiles])),
        (TILE_BYTE_COUNTS, Values::Long(vec![0; n_tiles])),
        (339, Values::Short(vec![format])),
        // ModelPixelScale and ModelTiepoint.
        (33_550, Values::Double(vec![resolution, resolution, 0.0])),
        (
            33_922,
            Values::Double(vec![0.0, 0.0, 0.0, origin.x, origin.y, 0.0]),
        ),
        // GeoKeys 1.1.0: a projected model, pixels are areas, the reference system by its EPSG code.
        (
            34_735,
            Values::Short(vec![
                1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, epsg,
            ]),
        ),
        // GDAL_NODATA.
        (42_113, Values::Ascii(nodata.to_string())),
    ];
    let directory = 8;
    let directory_bytes = 2 + tags.len() * 12 + 4;
    let mut out = Vec::new();
    out.extend_from_slice(b"II");
    out.extend_from_slice(&42_u16.to_le_bytes());
    out.extend_from_slice(&long(directory)?.to_le_bytes());
    out.extend_from_slice(
        &u16::try_from(tags.len())
            .map_err(|_| too_large())?
            .to_le_bytes(),
    );
    let mut values = Vec::new();
    let (mut offsets_at, mut lengths_at) = (0, 0);
    for (tag, value) in &tags {
        let bytes = value.bytes();
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&value.kind().to_le_bytes());
        out.extend_from_slice(&long(value.count())?.to_le_bytes());
        let at = if bytes.len() <= 4 {
            let at = out.len();
            out.extend_from_slice(&bytes);
            out.resize(at + 4, 0);
            at
        } else {
            let at = directory + directory_bytes + values.len();
            out.extend_from_slice(&long(at)?.to_le_bytes());
            values.extend_from_slice(&bytes);
            values.resize(values.len().next_multiple_of(8), 0);
            at
        };
        match *tag {
            TILE_OFFSETS => offsets_at = at,
            TILE_BYTE_COUNTS => lengths_at = at,
            _ => {}
        }
    }
    // No further image.
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&values);
    Ok((out, offsets_at, lengths_at))
}
