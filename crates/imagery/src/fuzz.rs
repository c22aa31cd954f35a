//! What the fuzz target and its smoke test call: a file of any bytes, read as a band and as classes of a scene.

use std::sync::Arc;

use futures::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pitwatch_grid::{MISSING_REFLECTANCE, Window};

use crate::cog::{BlockBytes, Header};
use crate::decode::{Covered, Placing, block_into_plane, class_row, reflectance_row};
use crate::error::Defect;
use crate::scene::{Asset, Footprint, OpenedScene, Slot};
use crate::source::{Place, Source, Store};

/// Pixels along a side of the windows that are read.
const SIDE: i64 = 70;
/// Blocks of a window that are read: a damaged file can have one a pixel.
const MAX_BLOCKS: usize = 40;

/// Reads any bytes as a GeoTIFF: the header, its place on a lattice, and the blocks at its first and last corner.
///
/// Returns the number of blocks that could be decoded; `None` if the header was refused.
pub fn tiff(bytes: &[u8]) -> Option<usize> {
    let store = Arc::new(InMemory::new());
    let path = Path::from("B04.tif");
    let payload = PutPayload::from(bytes.to_vec());
    now(store.put(&path, payload))?.ok()?;
    let place = Place::Stored(Store::of(store), path);
    let open = |slot: Slot| {
        let header = now(Header::read(&place))?.ok()?;
        let source = Source {
            href: "B04.tif".into(),
            band: None,
            offset: -1000,
            scale: 1e-4,
        };
        Some((slot, source, place.clone(), header))
    };
    let opened = OpenedScene {
        id: "fuzz".into(),
        time: pitwatch_grid::UtcTime::default(),
        pass: String::new(),
        files: vec![open(Slot::Band(0))?, open(Slot::Classes)?],
    };
    let lattice = opened.lattice().ok()?;
    let scene = opened.placed(&lattice, 1).ok()?;
    let mut n_blocks = 0;
    for asset in scene.assets() {
        n_blocks += corners(asset, 1);
        n_blocks += corners(asset, 3);
    }
    Some(n_blocks)
}

/// Decodes the blocks at two corners of a raster, its pixels `factor` times as large as the lattice's.
fn corners(asset: &Asset, factor: usize) -> usize {
    let (height, width) = (asset.header.height * factor, asset.header.width * factor);
    let whole = Footprint {
        row: 0,
        col: 0,
        height: height as i64,
        width: width as i64,
    };
    let asset = Asset {
        href: asset.href.clone(),
        place: asset.place.clone(),
        header: Arc::clone(&asset.header),
        placing: Placing {
            row: 0,
            col: 0,
            factor,
        },
        calibration: asset.calibration,
    };
    let last = |length: i64| (length - SIDE + 1).max(0);
    let first = Footprint {
        row: -1,
        col: -1,
        height: SIDE,
        width: SIDE,
    };
    let end = Footprint {
        row: last(whole.height),
        col: last(whole.width),
        ..first
    };
    let mut n_blocks = 0;
    for area in [first, end] {
        for covered in asset.blocks_in(whole, area).take(MAX_BLOCKS) {
            n_blocks += usize::from(block(&asset, covered).is_ok());
        }
    }
    n_blocks
}

fn block(asset: &Asset, covered: Covered) -> Result<(), Defect> {
    const WIDTH: usize = SIDE as usize;
    let Asset {
        header,
        placing,
        calibration,
        ..
    } = asset;
    let BlockBytes::At(range) = header.locate(covered.block)? else {
        return Ok(());
    };
    let packed = now(asset.place.range(range))
        .unwrap_or_else(|| Err(Defect::Fetch("memory does not wait".into())))?;
    let mut reflectance = vec![MISSING_REFLECTANCE; WIDTH * WIDTH];
    let mut classes = vec![0; WIDTH * WIDTH];
    block_into_plane(
        header,
        placing.factor,
        &packed,
        covered,
        &mut reflectance,
        WIDTH,
        |numbers, out| reflectance_row(*calibration, numbers, out),
    )?;
    block_into_plane(
        header,
        placing.factor,
        &packed,
        covered,
        &mut classes,
        WIDTH,
        |numbers, out| class_row(calibration.nodata, numbers, out),
    )?;
    let Window {
        row,
        col,
        height,
        width,
    } = covered.window;
    assert!(
        row + height <= WIDTH && col + width <= WIDTH,
        "a block lies in its window"
    );
    Ok(())
}

/// What a future of a store in memory gives, which never waits.
fn now<F: Future>(future: F) -> Option<F::Output> {
    let output = future.now_or_never();
    debug_assert!(output.is_some(), "a store in memory does not wait");
    output
}
