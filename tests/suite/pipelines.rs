//! The pipeline files of the project.

use std::fs;

use pitwatch_tests::path;

#[test]
fn every_pipeline_detects_with_the_same_numbers() {
    let mut pipelines: Vec<(String, toml::Table)> = fs::read_dir(path("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
                && !path.ends_with("priors.toml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap().parse().unwrap())
        })
        .collect();
    pipelines.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(pipelines.len() >= 4, "{pipelines:?}");
    let (model_name, model) = &pipelines[0];
    for (name, pipeline) in &pipelines[1..] {
        for table in ["change", "sites", "skill"] {
            assert_eq!(
                pipeline[table], model[table],
                "[{table}] of {name} and {model_name}"
            );
        }
        // The demo and the benchmark have no such table.
        if let Some(capacity) = pipeline.get("capacity") {
            let of_model = pipelines
                .iter()
                .find_map(|(_, pipeline)| pipeline.get("capacity"));
            assert_eq!(Some(capacity), of_model, "[capacity] of {name}");
        }
        let checks =
            |pipeline: &toml::Table| pipeline["imagery"]["offset_check"].as_table().cloned();
        assert_eq!(checks(pipeline), checks(model), "{name} and {model_name}");
    }
}

#[test]
fn every_pipeline_and_area_of_the_project_is_valid() {
    let mut files = Vec::new();
    for folder in ["pipelines", "aoi"] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_input = path
                .extension()
                .is_some_and(|extension| extension == "toml" || extension == "geojson");
            if is_input {
                files.push(path);
            }
        }
    }
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let _ = pitwatch_tests::pitwatch(&[&"validate", &file]).expect(0);
    }
}

/// The areas of the reference, by the ids that they have there.
const REFERENCE_IDS: [&str; 27] = [
    "CIV_SEG", "CIV_TOR", "ZWE_MAR", "GHA_BIR", "GHA_BON", "GIN_BAN", "GIN_KIS", "GIN_MAC",
    "GIN_FOR", "SLE_KON", "SLE_TON", "LBR_WEA", "LBR_LOF", "LBR_NIM", "AGO_CUA", "AGO_CAT",
    "AGO_LUC", "COD_MBM", "COD_TSH", "COG_LIK", "CAF_WES", "CAF_BOD", "CAF_BRI", "CAF_SAM",
    "VEN_GUA", "VEN_ICA", "MLI_KEN",
];

#[test]
fn every_area_of_the_reference_says_what_it_is_and_is_in_one_pipeline() {
    let mut found = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for entry in fs::read_dir(path("aoi")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name.starts_with("demo-") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let properties = json["features"][0]["properties"].as_object().unwrap();
        assert!(
            properties
                .values()
                .all(|value| !value.is_object() && !value.is_array()),
            "{name}"
        );
        let names: Vec<String> = properties.keys().cloned().collect();
        assert_eq!(
            columns.get_or_insert_with(|| names.clone()),
            &names,
            "{name}"
        );
        let word = |key: &str| properties[key].as_str().unwrap().to_owned();
        assert_eq!(word("area_id"), name);
        assert!(
            ["pits", "documented", "presence", "none"].contains(&word("capacity_route").as_str()),
            "{name}"
        );
        assert_eq!(
            word("capacity_route") == "pits",
            word("not_assessable_reason").is_empty(),
            "{name}"
        );
        for key in properties.keys().filter(|key| key.ends_with("_source")) {
            assert!(!word(key).is_empty(), "{name}: {key}");
        }
        assert_eq!(
            word("anchors").contains("GeoNames"),
            word("notice").contains("GeoNames"),
            "{name}"
        );
        found.push(word("reference_id"));
        let n_pipelines = fs::read_dir(path("pipelines"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .filter(|path| {
                fs::read_to_string(path)
                    .unwrap()
                    .contains(&format!("id = \"{name}\""))
            })
            .count();
        assert_eq!(n_pipelines, 1, "{name}");
    }
    found.sort();
    let mut expected = REFERENCE_IDS.map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
}
