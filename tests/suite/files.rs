//! The files of the project itself: pipelines, areas, catalogs.

use std::fs;
use std::path::PathBuf;

use jsonschema::{Registry, Validator};
use pitwatch_tests::{path, pitwatch};
use serde_json::Value;

fn read_json(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The vendored schemas by their addresses, which the table of their README says.
fn schemas() -> Vec<(String, Value)> {
    let folder = path("tests/data/stac-schemas");
    let core = |version: &str, file: &str| {
        let kind = match file {
            "catalog.json" => "catalog-spec",
            "collection.json" => "collection-spec",
            _ => "item-spec",
        };
        format!("https://schemas.stacspec.org/{version}/{kind}/json-schema/{file}")
    };
    let mut schemas = Vec::new();
    for version in ["v1.0.0", "v1.1.0"] {
        for entry in fs::read_dir(folder.join("stac").join(version)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            schemas.push((core(version, &file), read_json(&path)));
        }
    }
    for (file, address) in [
        (
            "geojson/Feature.json",
            "https://geojson.org/schema/Feature.json",
        ),
        (
            "geojson/Geometry.json",
            "https://geojson.org/schema/Geometry.json",
        ),
        (
            "proj/projjson-v0.7.json",
            "https://proj.org/schemas/v0.7/projjson.schema.json",
        ),
        (
            "extensions/projection-v2.0.0.json",
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
        ),
        (
            "extensions/eo-v1.1.0.json",
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
        ),
        (
            "extensions/raster-v1.1.0.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ),
        (
            "extensions/file-v2.1.0.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ),
    ] {
        schemas.push((address.to_owned(), read_json(&folder.join(file))));
    }
    // Found by its address: an own `$id` may be mistyped.
    for (_, schema) in &mut schemas {
        schema.as_object_mut().unwrap().remove("$id");
    }
    schemas
}

/// Validates an item or collection against the schema of its version and those of its extensions.
struct Schemas {
    by_address: Vec<(String, Validator)>,
}

impl Schemas {
    fn new() -> Self {
        let schemas = schemas();
        let mut registry = Registry::new();
        for (address, schema) in &schemas {
            registry = registry.add(address.as_str(), schema).unwrap();
        }
        let registry = registry.prepare().unwrap();
        let by_address = schemas
            .iter()
            .filter(|(address, _)| {
                [
                    "item.json",
                    "collection.json",
                    "catalog.json",
                    "schema.json",
                ]
                .iter()
                .any(|name| address.ends_with(name))
                    && !address.contains("projjson")
            })
            .map(|(address, schema)| {
                let validator = jsonschema::options()
                    .with_registry(&registry)
                    .with_base_uri(address.as_str())
                    .should_validate_formats(true)
                    .build(schema)
                    .unwrap_or_else(|error| panic!("{address}: {error}"));
                (address.clone(), validator)
            })
            .collect();
        Self { by_address }
    }

    fn get(&self, address: &str) -> Option<&Validator> {
        let found = self.by_address.iter().find(|(known, _)| known == address);
        found.map(|(_, validator)| validator)
    }

    /// What is wrong with a document, and the extensions whose schema is not vendored.
    fn check(&self, document: &Value) -> (Vec<String>, Vec<String>) {
        let version = document["stac_version"].as_str().unwrap_or("absent");
        let kind = match document["type"].as_str() {
            Some("Feature") => ("item-spec", "item"),
            Some("Collection") => ("collection-spec", "collection"),
            _ => ("catalog-spec", "catalog"),
        };
        let core = format!(
            "https://schemas.stacspec.org/v{version}/{}/json-schema/{}.json",
            kind.0, kind.1
        );
        let mut addresses = vec![core];
        if let Some(extensions) = document.get("stac_extensions").and_then(Value::as_array) {
            addresses.extend(
                extensions
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned),
            );
        }
        let (mut faults, mut unknown) = (Vec::new(), Vec::new());
        for address in addresses {
            match self.get(&address) {
                Some(validator) => faults.extend(
                    validator
                        .iter_errors(document)
                        .map(|error| format!("{address}: {}: {error}", error.instance_path())),
                ),
                None => unknown.push(address),
            }
        }
        (faults, unknown)
    }
}

#[test]
fn the_demos_items_and_collections_follow_the_stac_schemas() {
    let schemas = Schemas::new();
    let mut n_documents = 0;
    for folder in ["pipelines/demo/forest", "pipelines/demo/pits"] {
        let folder = path(folder);
        let mut paths = vec![folder.join("collection.json")];
        let looks = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        paths.extend(
            looks
                .filter(|path| path.is_dir())
                .map(|path| path.join("item.json")),
        );
        for path in paths {
            let (faults, unknown) = schemas.check(&read_json(&path));
            assert!(
                faults.is_empty() && unknown.is_empty(),
                "{}: {faults:#?} {unknown:?}",
                path.display()
            );
            n_documents += 1;
        }
    }
    assert_eq!(n_documents, 282);
}

#[test]
fn the_items_of_each_shape_follow_the_stac_schemas_unless_they_are_meant_to_be_broken() {
    // The license of `collection.json` is an SPDX expression, for which STAC 1.1 has no place but `other`.
    const MEANT: [&str; 3] = ["no-geometry", "no-time", "collection.json"];
    let schemas = Schemas::new();
    let mut faulty = Vec::new();
    let mut n_valid = 0;
    for entry in fs::read_dir(path("tests/data/stac")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_whole = name.ends_with(".json")
            && !["truncated.json", "item-collection.json"].contains(&name.as_str());
        if !is_whole {
            continue;
        }
        let document = read_json(&path);
        // Other versions have other schemas, which are not here.
        if !["1.0.0", "1.1.0"].contains(&document["stac_version"].as_str().unwrap_or_default()) {
            continue;
        }
        let (faults, _) = schemas.check(&document);
        if faults.is_empty() {
            n_valid += 1;
        } else {
            faulty.push(format!("{name}: {faults:?}"));
        }
    }
    faulty.retain(|text| !MEANT.iter().any(|name| text.starts_with(name)));
    assert!(faulty.is_empty(), "{faulty:#?}");
    assert!(n_valid >= 8, "{n_valid}");
}

#[test]
fn a_document_that_breaks_the_schema_is_told() {
    let schemas = Schemas::new();
    let mut item = read_json(&path("pipelines/demo/pits/20170721/item.json"));
    item["properties"]["datetime"] = "yesterday".into();
    assert!(!schemas.check(&item).0.is_empty());
    item["properties"]["datetime"] = "2017-07-21T00:00:00Z".into();
    assert_eq!(schemas.check(&item).0, Vec::<String>::new());
    item["properties"]["eo:cloud_cover"] = 101.into();
    assert!(!schemas.check(&item).0.is_empty());
}

#[test]
fn the_numbers_that_move_results_are_the_same_in_every_pipeline() {
    let read =
        |name: &str| -> toml::Table { fs::read_to_string(path(name)).unwrap().parse().unwrap() };
    let (demo, simbench) = (read("pipelines/demo.toml"), read("pipelines/simbench.toml"));
    for table in ["imagery", "change", "sites", "skill"] {
        assert_eq!(demo[table], simbench[table], "[{table}]");
    }
}

#[test]
fn every_pipeline_and_area_of_the_project_is_valid() {
    let mut n_files = 0;
    for (folder, extension) in [("pipelines", "toml"), ("aoi", "geojson")] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|other| other == extension) {
                pitwatch(&[&"validate", &path]).expect(0);
                n_files += 1;
            }
        }
    }
    assert!(n_files >= 4);
}
