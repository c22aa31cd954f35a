//! Objects, alerts and sites from changed pixels: the fourth stage.
//!
//! The changed pixels of an area come in, from all its cells and in any order; [`Alert`]s go out, one for each
//! connected object of one kind that is large enough, and [`Site`]s, the places that alerts close to one another share.
//! Nothing depends on how the area was cut into cells, and memory goes with the number of changed pixels, not with the
//! area. No file is opened.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use pitwatch_change::{ChangedPixel, Finding, Ground, Kind};
//! use pitwatch_grid::{Crs, GeoBox, LatticePixel, Point, Shape, parse_time};
//! use pitwatch_sites::{Params, Topsoil, find_alerts, follow};
//!
//! let geobox = GeoBox::new(Crs::from_epsg(32630)?, Point { x: 205_000.0, y: 985_000.0 }, 10.0, Shape { height: 400, width: 400 })?;
//! let looks = [parse_time("2023-05-04T10:48:29Z")?, parse_time("2023-05-09T10:48:29Z")?];
//! let ground = Ground { ndvi_before: 0.6, ndvi_after: 0.1, red: 0.2, red_over_swir16: 0.6, bare_share: 1.0, ..Ground::default() };
//! let finding = Finding { core_look: Some(1), ..Finding::new(Kind::Excavation, 1, (0, 1), ground) };
//! let pixels = [20_520, 20_521].map(|col| ChangedPixel {
//!     at: LatticePixel { row: -98_490, col }, finding, n_clear_history: 60, n_clear: 12,
//! });
//! let pipeline: toml::Table = include_str!("../../../pipelines/simbench.toml").parse()?;
//! let mut params: Params = pipeline["sites"].clone().try_into()?;
//! params.report_probability = 0.0; // most numbers of the ground are left out here, so its cause cannot be told
//!
//! let mut alerts = find_alerts("seguela", &geobox, &looks, &pixels, &Topsoil::default(), &params)?.alerts;
//! assert_eq!(alerts[0].alert_id, "seguela-20230509-N98490E20520");
//! assert_eq!(alerts[0].area_ha, 0.02);
//! let sites = follow("seguela", &geobox, &[], &mut alerts, &[], &BTreeMap::new(), &params)?;
//! assert_eq!(sites[0].site_id, "seguela-site-N98490E20520");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alert;
mod budget;
mod cause;
mod error;
mod label;
mod site;
mod topsoil;
mod trace;

pub use alert::{Alert, Found, Params, Retraction, Review, Tier, find_alerts};
pub use budget::{Budget, Replay, replay};
pub use cause::{Cause, CauseModel, Evidence, FeatureName, Features, N_PRODUCTS, Weights};
pub use error::{Error, Result};
pub use site::{Growth, Known, Nearest, Site, SiteParams, SiteState, Surroundings, follow};
pub use topsoil::{Block, SoilSums, Topsoil, TopsoilParams};
pub use trace::outline;
