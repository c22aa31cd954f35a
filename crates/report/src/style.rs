use std::fmt::Write;

use pitwatch_capacity::Verdict;
use pitwatch_change::Kind;
use pitwatch_sites::Tier;

use crate::geojson::{kind_name, tier_name};

/// Confirmed excavation: strong red.
pub(crate) const CONFIRMED_RGB: [u8; 3] = [227, 26, 28];
/// Provisional excavation: orange.
pub(crate) const PROVISIONAL_RGB: [u8; 3] = [255, 127, 0];
/// Confirmed cleared ground: yellow.
pub(crate) const CLEARED_RGB: [u8; 3] = [240, 220, 40];
/// Provisional cleared ground: olive.
const CLEARED_PROVISIONAL_RGB: [u8; 3] = [176, 168, 0];

/// Opacity of the fill, so that the ground shows through; the outline is opaque.
const FILL_ALPHA: u8 = 90;
/// Width of outlines on paper or screen.
const OUTLINE_MM: f64 = 0.5;
/// How far from the outline a site's line runs; QGIS takes a negative offset of a polygon's ring as outwards.
const SITE_OFFSET_MM: f64 = -1.2;
/// Labels are drawn at scales larger than this, so that a country full of alerts is not a heap of text.
const LABEL_SCALE: u32 = 100_000;

/// How alerts or sites of one kind and tier are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Category {
    /// Cleared or excavation.
    pub kind: Kind,
    /// Provisional or confirmed.
    pub tier: Tier,
    /// Red, green and blue of the outline, which is opaque, and of the fill, which lets the ground show through.
    pub rgb: [u8; 3],
    /// True if the outline is dashed.
    pub is_dashed: bool,
    /// What the legend says.
    pub label: &'static str,
}

/// How alerts and sites are drawn, in the order of the legend.
pub const CATEGORIES: [Category; 4] = [
    Category {
        kind: Kind::Excavation,
        tier: Tier::Confirmed,
        rgb: CONFIRMED_RGB,
        is_dashed: false,
        label: "Excavation, confirmed",
    },
    Category {
        kind: Kind::Excavation,
        tier: Tier::Provisional,
        rgb: PROVISIONAL_RGB,
        is_dashed: false,
        label: "Excavation, provisional",
    },
    Category {
        kind: Kind::Cleared,
        tier: Tier::Confirmed,
        rgb: CLEARED_RGB,
        is_dashed: true,
        label: "Cleared ground, confirmed",
    },
    Category {
        kind: Kind::Cleared,
        tier: Tier::Provisional,
        rgb: CLEARED_PROVISIONAL_RGB,
        is_dashed: true,
        label: "Cleared ground, provisional",
    },
];

/// Labels of whole areas are drawn at scales larger than this.
const COUNTRY_SCALE: u32 = 5_000_000;
/// What alerts and sites are told apart by.
const KIND_AND_TIER: &str = r#""kind" || ' ' || "tier""#;

/// Column and the words that QGIS shows for it.
type Alias = (&'static str, &'static str);

const ALERT_ALIASES: [Alias; 22] = [
    ("alert_id", "Alert"),
    ("site_id", "Site"),
    ("area_id", "Area"),
    ("kind", "Kind"),
    ("tier", "Tier"),
    ("cause", "Cause"),
    ("probability", "Probability"),
    ("area_ha", "Area (ha)"),
    ("area_ha_lo", "Area, edge inwards (ha)"),
    ("area_ha_hi", "Area, edge outwards (ha)"),
    ("start_datetime", "Last clear look before (UTC)"),
    ("end_datetime", "First clear look after (UTC)"),
    ("confirmed_datetime", "Confirmed by the look of (UTC)"),
    ("n_clear_history", "Clear looks in the history"),
    ("n_clear_since", "Clear looks since"),
    ("min_detectable_ha", "Smallest detectable (ha)"),
    ("ndvi_before", "NDVI expected"),
    ("ndvi_after", "NDVI seen"),
    ("bsi_before", "Bare soil index expected"),
    ("bsi_after", "Bare soil index seen"),
    ("review", "Review"),
    ("notice", "Imagery"),
];

const SITE_ALIASES: [Alias; 23] = [
    ("site_id", "Site"),
    ("area_id", "Area"),
    ("state", "State"),
    ("kind", "Kind"),
    ("tier", "Tier"),
    ("n_alerts", "Alerts"),
    ("excavation_area_ha", "Excavation (ha)"),
    ("cleared_area_ha", "Cleared ground (ha)"),
    ("start_datetime", "Last clear look before (UTC)"),
    ("end_datetime", "Last change first seen (UTC)"),
    ("first_alert_datetime", "First alert (UTC)"),
    ("last_alert_datetime", "Last alert (UTC)"),
    ("last_growth_date", "Last new ground"),
    ("last_clear_date", "Last seen clearly"),
    ("merged_from", "Grown together from"),
    ("split_from", "Parted from"),
    ("area_name", "Area's name"),
    ("country", "Country"),
    ("nearest_village", "Nearest village"),
    ("village_km", "Its distance (km)"),
    ("nearest_river", "Nearest river"),
    ("river_km", "Its distance (km)"),
    ("notice", "Imagery"),
];

const ALERT_TIP: &str = r#"<b>[% "kind" || ', ' || "tier" %]</b><br>
[% format_number("area_ha", 2) %] ha ([% format_number("area_ha_lo", 2) %] to [% format_number("area_ha_hi", 2) %])<br>
dug or cleared after [% format_date("start_datetime", 'yyyy-MM-dd') %], seen on [% format_date("end_datetime", 'yyyy-MM-dd') %]<br>
[% "n_clear_since" %] clear looks since, [% "n_clear_history" %] before<br>
[% "alert_id" %]<br>
<small>[% "notice" %]</small>"#;

const SITE_TIP: &str = r#"<b>[% "site_id" %]</b> ([% "state" %])<br>
[% "n_alerts" %] alerts: [% format_number("excavation_area_ha", 2) %] ha excavation, [% format_number("cleared_area_ha", 2) %] ha cleared<br>
[% format_date("start_datetime", 'yyyy-MM-dd') %] to [% format_date("end_datetime", 'yyyy-MM-dd') %]; seen clearly until [% coalesce("last_clear_date", 'not in this run') %]<br>
<small>[% "notice" %]</small>"#;

/// The style of `alerts.geojson` for QGIS 3.22 and later: `alerts.qml`, to lie beside it.
///
/// Colors by kind and tier ([`CATEGORIES`]), areas in hectares as labels, readable column names and a map tip.
#[must_use]
pub fn alerts_qml() -> String {
    qml(&Style {
        attribute: KIND_AND_TIER,
        categories: by_kind_and_tier(filled_layer),
        label_scale: LABEL_SCALE,
        placement: r#"<placement placement="1" priority="8"/>"#,
        label: r#"format_number("area_ha", 2) || ' ha'"#,
        display: r#""alert_id""#,
        tip: ALERT_TIP,
        aliases: &ALERT_ALIASES,
    })
}

/// The style of `sites.geojson` for QGIS 3.22 and later: `sites.qml`, to lie beside it.
///
/// Colors as those of alerts, but only a dotted line that runs outside the outline, so that a site and its alerts can be
/// told apart when both are drawn.
#[must_use]
pub fn sites_qml() -> String {
    qml(&Style {
        attribute: KIND_AND_TIER,
        categories: by_kind_and_tier(surrounded_layer),
        label_scale: LABEL_SCALE,
        placement: r#"<placement placement="0" priority="3" dist="4" distUnits="MM"/>"#,
        label: r#"if("n_alerts" > 1, "n_alerts" || ' alerts, ' || format_number("excavation_area_ha" + "cleared_area_ha", 2) || ' ha', '')"#,
        display: r#""site_id""#,
        tip: SITE_TIP,
        aliases: &SITE_ALIASES,
    })
}

struct Style<'a> {
    /// What the categories go by, an expression.
    attribute: &'a str,
    /// Value, legend and symbol of each.
    categories: Vec<(String, &'a str, SymbolLayer)>,
    /// Labels are drawn at scales larger than this.
    label_scale: u32,
    placement: &'a str,
    label: &'a str,
    display: &'a str,
    tip: &'a str,
    aliases: &'a [Alias],
}

fn qml(style: &Style<'_>) -> String {
    let mut categories = String::new();
    let mut symbols = String::new();
    for (index, (value, legend, layer)) in style.categories.iter().enumerate() {
        line(
            &mut categories,
            &format!(
                r#"<category render="true" symbol="{index}" value="{value}" label="{legend}"/>"#
            ),
        );
        symbols.push_str(&symbol(index, layer));
    }
    let mut aliases = String::new();
    for (index, (field, name)) in style.aliases.iter().enumerate() {
        line(
            &mut aliases,
            &format!(r#"<alias index="{index}" field="{field}" name="{name}"/>"#),
        );
    }
    let attribute = escaped(style.attribute);
    let label_scale = style.label_scale;
    let label = escaped(style.label);
    let display = escaped(style.display);
    let tip = escaped(style.tip);
    let placement = style.placement;
    format!(
        r#"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.16" styleCategories="Symbology|Labeling|Fields|MapTips" labelsEnabled="1">
<renderer-v2 type="categorizedSymbol" attr="{attribute}" enableorderby="0" forceraster="0" symbollevels="0">
<categories>
{categories}</categories>
<symbols>
{symbols}</symbols>
</renderer-v2>
<labeling type="simple">
<settings calloutType="simple">
<text-style fieldName="{label}" isExpression="1" fontFamily="Open Sans" fontSize="8" fontSizeUnit="Point" textColor="20,20,20,255" textOpacity="1">
<text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" bufferColor="255,255,255,255" bufferOpacity="0.85"/>
</text-style>
{placement}
<rendering drawLabels="1" scaleVisibility="1" scaleMin="0" scaleMax="{label_scale}" obstacle="0"/>
</settings>
</labeling>
<aliases>
{aliases}</aliases>
<previewExpression>{display}</previewExpression>
<mapTip>{tip}</mapTip>
<layerGeometryType>2</layerGeometryType>
</qgis>
"#
    )
}

/// What QGIS draws a polygon with: the kind of symbol layer and its properties.
struct SymbolLayer {
    class: &'static str,
    properties: Vec<(&'static str, String)>,
}

fn filled_layer(category: &Category) -> SymbolLayer {
    let [red, green, blue] = category.rgb;
    let line_style = if category.is_dashed { "dash" } else { "solid" };
    SymbolLayer {
        class: "SimpleFill",
        properties: vec![
            ("color", format!("{red},{green},{blue},{FILL_ALPHA}")),
            ("style", "solid".into()),
            ("outline_color", format!("{red},{green},{blue},255")),
            ("outline_style", line_style.into()),
            ("outline_width", OUTLINE_MM.to_string()),
            ("outline_width_unit", "MM".into()),
            ("joinstyle", "miter".into()),
        ],
    }
}

fn surrounded_layer(category: &Category) -> SymbolLayer {
    let [red, green, blue] = category.rgb;
    SymbolLayer {
        class: "SimpleLine",
        properties: vec![
            ("line_color", format!("{red},{green},{blue},255")),
            ("line_style", "dot".into()),
            ("line_width", OUTLINE_MM.to_string()),
            ("line_width_unit", "MM".into()),
            ("offset", SITE_OFFSET_MM.to_string()),
            ("offset_unit", "MM".into()),
            ("ring_filter", "1".into()),
            ("joinstyle", "round".into()),
        ],
    }
}

fn symbol(index: usize, layer: &SymbolLayer) -> String {
    let mut options = String::new();
    for (name, value) in &layer.properties {
        line(
            &mut options,
            &format!(r#"<Option type="QString" name="{name}" value="{value}"/>"#),
        );
    }
    let class = layer.class;
    format!(
        r#"<symbol type="fill" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">
<layer class="{class}" enabled="1" pass="0" locked="0">
<Option type="Map">
{options}</Option>
</layer>
</symbol>
"#
    )
}

fn line(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("a String takes any text");
}

/// Text as it stands in an XML attribute or element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The categories of alerts and sites.
fn by_kind_and_tier(
    draw: fn(&Category) -> SymbolLayer,
) -> Vec<(String, &'static str, SymbolLayer)> {
    CATEGORIES
        .iter()
        .map(|category| {
            let value = format!("{} {}", kind_name(category.kind), tier_name(category.tier));
            (value, category.label, draw(category))
        })
        .collect()
}

/// How a verdict is drawn: its words in the file, the color, and what the legend says.
const VERDICTS: [(Verdict, [u8; 3], &str); 4] = [
    (Verdict::Within, [35, 139, 69], "Within"),
    (
        Verdict::Above,
        [152, 0, 67],
        "Above: more reported than dug",
    ),
    (
        Verdict::Below,
        [33, 102, 172],
        "Below: less reported than dug",
    ),
    (Verdict::NotAssessable, [130, 130, 130], "Not assessable"),
];

const ASSESSMENT_TIP: &str = r#"<b>[% "area_id" %] [% "period" %]: [% "verdict" %]</b><br>
implied [% format_number("implied_ct_p50", 0) %] ct ([% format_number("implied_ct_p05", 0) %] to [% format_number("implied_ct_p95", 0) %]), [% "route" %]<br>
reported [% format_number("reported_ct", 0) %] ct ([% "reported_measure" %])<br>
[% "reasons" %]"#;

/// All periods of an area share its outline, and their labels would crowd each other out: the newest one speaks for the area.
/// QGIS reads `period_until` as a date and gives its maximum as a date with time, which is not equal to it; as text both are.
const ASSESSMENT_LABEL: &str = r#"if(to_string("period_until") = maximum(to_string("period_until"), group_by:="area_id"), "area_id" || ' ' || "period" || ': ' || "verdict", '')"#;

/// The style of `assessments.geojson` for QGIS 3.22 and later: `assessments.qml`, to lie beside it. Colors by verdict.
#[must_use]
pub fn assessments_qml() -> String {
    let categories: Vec<(String, &str, SymbolLayer)> = VERDICTS
        .iter()
        .map(|&(verdict, [red, green, blue], legend)| {
            let layer = SymbolLayer {
                class: "SimpleFill",
                properties: vec![
                    ("color", format!("{red},{green},{blue},40")),
                    ("style", "solid".into()),
                    ("outline_color", format!("{red},{green},{blue},255")),
                    ("outline_style", "solid".into()),
                    ("outline_width", OUTLINE_MM.to_string()),
                    ("outline_width_unit", "MM".into()),
                    ("joinstyle", "miter".into()),
                ],
            };
            (verdict.label().to_owned(), legend, layer)
        })
        .collect();
    qml(&Style {
        attribute: r#""verdict""#,
        categories,
        placement: r#"<placement placement="0" priority="3" dist="4" distUnits="MM"/>"#,
        label: ASSESSMENT_LABEL,
        label_scale: COUNTRY_SCALE,
        display: r#""assessment_id""#,
        tip: ASSESSMENT_TIP,
        aliases: &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ALERT_COLUMNS, SITE_COLUMNS};

    #[test]
    fn every_column_has_an_alias() {
        assert_eq!(ALERT_ALIASES.map(|(column, _)| column), ALERT_COLUMNS);
        assert_eq!(SITE_ALIASES.map(|(column, _)| column), SITE_COLUMNS);
    }

    #[test]
    fn expressions_are_escaped() {
        for text in [alerts_qml(), sites_qml()] {
            assert!(text.contains("attr=\"&quot;kind&quot; || ' ' || &quot;tier&quot;\""));
            assert_eq!(text.matches("<category ").count(), CATEGORIES.len());
        }
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
