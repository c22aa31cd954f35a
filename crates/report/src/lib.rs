//! GeoJSON, QGIS styles, tables and the look of rasters: the last stage.
//!
//! Alerts, sites and what is known of a run come in; text goes out, into any [`io::Write`](std::io::Write) or as a
//! `String`. The structs that become files live here, so that a rename in another stage never breaks a file. No file is
//! opened, and no clock is read.
//!
//! ```
//! let mut file = Vec::new();
//! pitwatch_report::write_alerts_geojson(&mut file, &[], "20230509-0123456789ab", "Contains modified Copernicus Sentinel data 2023")?;
//! assert!(file.starts_with(br#"{"type":"FeatureCollection","name":"alerts""#));
//! # Ok::<(), pitwatch_report::Error>(())
//! ```

mod assessment;
mod error;
mod event;
mod evidence;
mod geojson;
mod looks;
mod manifest;
mod page;
mod public;
mod raster;
mod sdmx;
mod skill;
mod style;

pub use assessment::{
    ACTIVITY_COLUMNS, ASSESSMENT_COLUMNS, QUESTIONNAIRE_COLUMNS, assessment_id,
    assessment_properties, period_name, write_activity_csv, write_assessments_csv,
    write_assessments_geojson, write_questionnaire_csv,
};
pub use error::{Error, Result};
pub use event::{Event, EventType, event_id, feature_without_place};
pub use evidence::{write_evidence_csv, write_retractions_csv};
pub use geojson::{
    ALERT_COLUMNS, SITE_COLUMNS, alert_feature, site_feature, write_alerts_geojson,
    write_sites_csv, write_sites_geojson,
};
pub use looks::{LOOK_COLUMNS, LookRow, LookStatus, write_looks_csv};
pub use manifest::{FalseAlertBudget, InputEntry, Latest, Manifest, OutputFile, Skipped};
pub use page::{PageContext, comparison_page};
pub use public::{PublicParams, write_public_cells_geojson};
pub use raster::{
    Overviews, PaletteEntry, RASTER_NAMES, RasterLayer, byte_from_reflectance, raster_layers,
};
pub use sdmx::{STRUCTURE_XML, check_observations, write_observations_csv};
pub use skill::{
    AreaSkill, DetectionLimit, DetectionRate, MeasuredOn, MinDetectable, OmittedShare, PitRow,
    SkillFile, TierSkill,
};
pub use style::{CATEGORIES, Category, alerts_qml, assessments_qml, sites_qml};
