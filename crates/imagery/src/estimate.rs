//! What a fetch will take, from the headers of some of its scenes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pitwatch_grid::{Band, GeoBox, Region, Shape};
use pitwatch_scenes::net::{Buffers, Remote};
use pitwatch_scenes::{Asset as Named, Scene};

use crate::cog::{HEAD_BYTES, Header};
use crate::error::{Defect, Error, Result};
use crate::fetch::{Ground, grid_of};
use crate::raster::{BlockCache, Raster, SPARE_BYTES};
use crate::scene::Footprint;
use crate::source::runs;

/// Scenes of a tile whose headers are read: the first, one in the middle, the last.
const SCENES_OF_A_TILE: usize = 3;

/// What a fetch will take.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Estimate {
    /// Scenes to fetch.
    pub n_scenes: usize,
    /// Scenes that the mirror has already.
    pub n_kept: usize,
    /// Requests for headers and pixels.
    pub n_requests: u64,
    /// Bytes to receive.
    pub n_bytes: u64,
    /// Bytes that the mirror will take in addition.
    pub n_bytes_on_disk: u64,
    /// How long it will take at the speed with which one scene came; `None` if none could be had.
    pub duration: Option<Duration>,
    /// Scenes whose headers were read.
    pub n_sampled: usize,
    /// Why others could not be read; the estimate rests on the rest.
    pub problems: Vec<String>,
}

/// Requests and bytes of a scene.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    n_requests: u64,
    n_bytes: u64,
    n_bytes_on_disk: u64,
}

/// Estimates what a fetch will take: of each tile the headers of up to three scenes are read, and the pixels of one scene,
/// to measure the speed. Nothing is written.
///
/// - `is_kept`: true for the id of a scene that the mirror has.
///
/// The rest is as in [`crate::fetch`].
///
/// # Errors
///
/// If the runtime cannot be started.
///
/// # Panics
///
/// If it is called from an asynchronous task.
pub fn estimate(
    is_kept: &dyn Fn(&str) -> bool,
    region: &Region,
    scenes: &[Scene],
    bands: &[Band],
    remotes: &BTreeMap<String, Remote>,
) -> Result<Estimate> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("estimate")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { source })?;
    let ground = Ground::new(region, bands, remotes);
    let (kept, wanted): (Vec<&Scene>, Vec<&Scene>) = scenes.iter().partition(|scene| {
        std::iter::once(*scene)
            .chain(&scene.alternatives)
            .any(|scene| is_kept(&scene.id))
    });
    let mut by_tile: BTreeMap<&str, Vec<&Scene>> = BTreeMap::new();
    for scene in &wanted {
        by_tile.entry(&scene.identity.tile).or_default().push(scene);
    }
    let mut estimate = Estimate {
        n_scenes: wanted.len(),
        n_kept: kept.len(),
        ..Estimate::default()
    };
    runtime.block_on(async {
        let mut speed: Option<(u64, Duration)> = None;
        for of_tile in by_tile.values() {
            let n_sampled = of_tile.len().min(SCENES_OF_A_TILE);
            let mut costs: Vec<Cost> = Vec::new();
            for index in 0..n_sampled {
                let scene = of_tile[index * (of_tile.len() - 1) / (n_sampled - 1).max(1)];
                // The speed is that of the first scene that has something to give.
                let is_timed = speed.is_none();
                match ground.cost(scene, is_timed).await {
                    Ok((cost, time)) => {
                        if is_timed && cost.n_bytes_on_disk > 0 {
                            speed = Some((cost.n_bytes, time));
                        }
                        costs.push(cost);
                    }
                    Err(defect) => estimate.problems.push(format!("{}: {defect}", scene.id)),
                }
            }
            estimate.n_sampled += costs.len();
            let n_read = (costs.len() as u64).max(1);
            let n_all = of_tile.len() as u64;
            let whole = |of: &dyn Fn(&Cost) -> u64| {
                costs.iter().map(of).sum::<u64>().saturating_mul(n_all) / n_read
            };
            estimate.n_requests += whole(&|cost| cost.n_requests);
            estimate.n_bytes += whole(&|cost| cost.n_bytes);
            estimate.n_bytes_on_disk += whole(&|cost| cost.n_bytes_on_disk);
        }
        estimate.duration = speed.map(|(n_bytes, time)| {
            Duration::from_secs_f64(
                time.as_secs_f64() * estimate.n_bytes as f64 / n_bytes.max(1) as f64,
            )
        });
    });
    Ok(estimate)
}

impl Ground<'_> {
    /// What one scene takes, and how long its pixels took if they were to be read.
    async fn cost(
        &self,
        scene: &Scene,
        is_timed: bool,
    ) -> std::result::Result<(Cost, Duration), Defect> {
        let start = Instant::now();
        let rasters = self.rasters(scene);
        let costs = join_all(
            rasters
                .iter()
                .map(|(_, asset)| self.cost_of_raster(scene, asset, is_timed)),
        )
        .await;
        let mut sum = Cost::default();
        for cost in costs {
            let cost = cost?;
            sum.n_requests += cost.n_requests;
            sum.n_bytes += cost.n_bytes;
            sum.n_bytes_on_disk += cost.n_bytes_on_disk;
        }
        Ok((sum, start.elapsed()))
    }

    async fn cost_of_raster(
        &self,
        scene: &Scene,
        asset: &Named,
        is_timed: bool,
    ) -> std::result::Result<Cost, Defect> {
        let place = self.place(scene, &asset.href)?;
        let header = match Header::read(&place).await {
            Ok(header) => header,
            // A file without blocks is taken whole.
            Err(Defect::NotTiff) => {
                let size = place.head(12).await?.size;
                return Ok(Cost {
                    n_requests: 2,
                    n_bytes: size,
                    n_bytes_on_disk: asset
                        .geobox
                        .as_ref()
                        .map_or(Ok(size), |grid| self.share_of(grid, size))?,
                });
            }
            Err(defect) => return Err(defect),
        };
        let shape = Shape {
            height: header.height,
            width: header.width,
        };
        let grid = grid_of(header.epsg, header.origin, header.resolution_m, shape)?;
        let mut cost = Cost {
            n_requests: 1,
            n_bytes: header.size.min(HEAD_BYTES),
            n_bytes_on_disk: 0,
        };
        let Some(plan) = self.plan(&grid)? else {
            return Ok(cost);
        };
        let raster = Raster::new(
            place.clone(),
            header,
            BlockCache::new(0, &Buffers::new(SPARE_BYTES)),
        );
        let source = Footprint::of(&grid, &plan.geobox);
        let Shape { height, width } = plan.geobox.shape();
        let area = Footprint {
            row: -source.row,
            col: -source.col,
            height: height as i64,
            width: width as i64,
        };
        let mut ranges = Vec::new();
        for (range, share) in raster.stored(area, |window| plan.touches(window, 0))? {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of a block's length"
            )]
            let on_disk = ((range.end - range.start) as f64 * share) as u64;
            cost.n_bytes_on_disk += on_disk;
            ranges.push(range);
        }
        let runs = runs(&ranges);
        cost.n_requests += runs.len() as u64;
        cost.n_bytes += runs.iter().map(|run| run.end - run.start).sum::<u64>();
        if is_timed {
            for pixels in place.ranges(&ranges).await {
                pixels?;
            }
        }
        Ok(cost)
    }

    /// The bytes of a whole file that the area's cells have, by their share of its pixels.
    fn share_of(&self, grid: &GeoBox, n_bytes: u64) -> std::result::Result<u64, Defect> {
        let Some(plan) = self.plan(grid)? else {
            return Ok(0);
        };
        let n_wanted = plan.wanted.iter().filter(|&&is_wanted| is_wanted).count();
        let n_pixels = (n_wanted * plan.tile * plan.tile) as u64;
        Ok(n_bytes * n_pixels.min(grid.shape().n_pixels() as u64)
            / (grid.shape().n_pixels() as u64).max(1))
    }
}
