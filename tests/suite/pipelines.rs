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
            if is_input && !path.ends_with("priors.toml") {
                files.push(path);
            }
        }
    }
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let _ = pitwatch_tests::pitwatch(&[&"validate", &file]).expect(0);
    }
}
