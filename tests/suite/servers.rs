//! Checked with what others wrote: the same imagery through a STAC API of rustac and an S3 server of moto gives the same
//! bytes as from a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use pitwatch_grid::{Band, Region};
use pitwatch_report::event_id;
use pitwatch_scenes::net::{Limits, Net};
use pitwatch_scenes::{Query, Search, SourceConfig, SourceKind, search};
use pitwatch_tests::{
    Finished, Mirror, ReadBy, Run, S3, StacApi, day, difference, has_servers, only_run, pitwatch,
    pitwatch_with,
};
use serde_json::{Value, json};

const COLLECTION: &str = "sentinel-2-l2a";

/// Gives the items of a mirror what those of public catalogs have beside.
fn dress(mirror: &Mirror) {
    for look in 0..mirror.spec.n_looks {
        mirror.edit_item(look, |item| {
            let time = item["properties"]["datetime"].as_str().unwrap().to_owned();
            let compact = time.replace(['-', ':'], "").replace('Z', "");
            let satellite = if look.is_multiple_of(2) { 'A' } else { 'B' };
            let pass = format!("GS2{satellite}_{compact}_{:06}_N05.09", 18_500 + look);
            let published = format!("{}T18:20:11.123Z", &time[..10]);
            item["collection"] = COLLECTION.into();
            let properties = item["properties"].as_object_mut().unwrap();
            for (name, value) in [
                ("created", json!(published)),
                ("updated", json!(published)),
                ("constellation", json!("sentinel-2")),
                ("instruments", json!(["msi"])),
                ("grid:code", json!("MGRS-30PTR")),
                ("s2:mgrs_tile", json!("30PTR")),
                ("s2:datatake_id", json!(pass)),
                ("s2:product_type", json!("S2MSI2A")),
                ("sat:relative_orbit", json!(8)),
                ("earthsearch:boa_offset_applied", json!(false)),
            ] {
                properties.insert(name.into(), value);
            }
        });
    }
    // Some passes are two tiles, the pit in both.
    for look in (0..mirror.spec.n_looks).step_by(6) {
        mirror.add_tile(look, 48, "30PUR");
    }
}

/// Name of the folder of an item, which is the end of its key in a bucket.
fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// The items of a mirror, their files at another place.
///
/// - `place`: the address that the folders of the items lie below.
fn items_at(mirror: &Mirror, place: &str) -> Vec<Value> {
    let folders = mirror.item_folders();
    let items = folders.iter().map(|folder| {
        let text = fs::read(folder.join("item.json")).unwrap();
        let mut item: Value = serde_json::from_slice(&text).unwrap();
        item["links"] = json!([]);
        for asset in item["assets"].as_object_mut().unwrap().values_mut() {
            let href = asset["href"].as_str().unwrap();
            let file = href.trim_start_matches("./").to_owned();
            asset["href"] = format!("{place}/{}/{file}", name(folder)).into();
        }
        item
    });
    items.collect()
}

/// Puts the rasters of a mirror into a bucket, below `tiles/`.
fn upload(mirror: &Mirror, s3: &S3, bucket: &str, read_by: ReadBy) {
    s3.make_bucket(bucket);
    for folder in mirror.item_folders() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tif") {
                let key = format!("tiles/{}/{}", name(&folder), name(&path));
                s3.put(bucket, &key, &fs::read(&path).unwrap(), read_by);
            }
        }
    }
}

/// A pipeline that searches one source, `others`, which `--sources` describes.
fn pipeline(mirror: &Mirror) -> PathBuf {
    let path = mirror.pipeline(&[("pits", &mirror.polygon([0.1, 0.1, 0.9, 0.9]))]);
    let text = fs::read_to_string(&path).unwrap();
    let searched = text.replace(
        "catalog = \"mirror/collection.json\"",
        "sources = [\"others\"]",
    );
    assert_ne!(searched, text);
    fs::write(&path, searched).unwrap();
    path
}

/// Runs the pipeline on a source, with a mirror and an output folder of its own.
fn run(folder: &Path, name: &str, source: &str, variables: &[(&str, &str)]) -> Finished {
    let sources = folder.join(format!("{name}.toml"));
    fs::write(&sources, format!("[[source]]\nname = \"others\"\n{source}")).unwrap();
    let out = folder.join(format!("out-{name}"));
    let kept = folder.join(format!("kept-{name}"));
    let pipeline = folder.join("pipeline.toml");
    pitwatch_with(
        variables,
        &[
            &"run",
            &pipeline,
            &"--sources",
            &sources,
            &"--mirror",
            &kept,
            &"--out",
            &out,
        ],
    )
}

/// The members of a manifest, by their paths.
fn members(run: &Run) -> BTreeMap<String, String> {
    fn walk(value: &Value, path: String, members: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    walk(value, format!("{path}/{name}"), members);
                }
            }
            Value::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    walk(value, format!("{path}/{index}"), members);
                }
            }
            other => {
                members.insert(path, other.to_string());
            }
        }
    }
    let text = fs::read_to_string(run.folder.join("manifest.json")).unwrap();
    let mut found = BTreeMap::new();
    walk(
        &serde_json::from_str(&text).unwrap(),
        String::new(),
        &mut found,
    );
    found
}

/// Checks that two runs have the same id and the same bytes, and manifests that differ in nothing but the times of the run
/// and the place of the mirror.
#[track_caller]
fn assert_same(through: &Run, local: &Run) {
    assert_eq!(difference(through, local), Vec::<String>::new());
    assert_eq!(through.folder.file_name(), local.folder.file_name());
    let (through, local) = (members(through), members(local));
    let names: BTreeSet<&String> = through.keys().chain(local.keys()).collect();
    let differing: Vec<&str> = names
        .into_iter()
        .filter(|&name| through.get(name) != local.get(name))
        .map(String::as_str)
        .collect();
    let is_legitimate = |name: &str| {
        matches!(name, "/started" | "/ended")
            || (name.starts_with("/inputs/") && name.ends_with("/href"))
    };
    assert!(
        differing.iter().all(|name| is_legitimate(name)),
        "{differing:?}"
    );
}

/// Checks that a run on the items' own files and a run on the mirror of them say the same. The mirror holds other bytes for
/// the same pixels and a notice of its own, so the run's id and the notice, which stand in every file, differ, and so do `source` and `href` of a
/// look.
#[track_caller]
fn assert_same_but_for_id_and_notice(direct: &Run, mirrored: &Run) {
    let content = |run: &Run| -> BTreeMap<String, String> {
        let manifest = run.manifest();
        let files = run.files().into_iter().map(|(name, bytes)| {
            let content = if let Some(stem) = name.strip_suffix(".tif") {
                let raster = run.raster(stem.trim_start_matches("rasters/"));
                format!("{:?} {:?}", raster.transform, raster.values)
            } else if name == "looks.csv" {
                let mut looks = run.looks();
                for look in &mut looks {
                    look.remove("source");
                    look.remove("href");
                }
                format!("{looks:?}")
            } else {
                // The id of the event that ends a run is made of the run's.
                let ended = event_id(&manifest.run_id, 1);
                String::from_utf8(bytes)
                    .unwrap()
                    .replace(&ended, "ENDED")
                    .replace(&manifest.run_id, "RUN")
                    .replace(&manifest.notice, "NOTICE")
            };
            (name, content)
        });
        files.collect()
    };
    let (direct, mirrored) = (content(direct), content(mirrored));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&direct), names(&mirrored));
    for (name, content) in &direct {
        assert!(content == &mirrored[name], "{name} differs");
    }
}

/// The table of a source behind servers.
fn source(api: &StacApi, s3: &S3, further: &str) -> String {
    format!(
        "kind = \"stac-api\"\nurl = \"{}\"\ncollections = [\"{COLLECTION}\"]\nhosts = [\"{}\"]\nallow_private = true\nallow_http = true\n{further}",
        api.url(),
        s3.host()
    )
}

#[test]
fn a_run_through_servers_of_others_gives_the_bytes_of_a_run_on_a_folder() {
    if !has_servers("a_run_through_servers_of_others_gives_the_bytes_of_a_run_on_a_folder") {
        return;
    }
    let mirror = Mirror::savanna();
    dress(&mirror);
    let _ = pipeline(&mirror);
    let folder = mirror.folder();
    let on_disk = "kind = \"static\"\nurl = \"mirror/collection.json\"\n";
    run(folder, "local", on_disk, &[]).expect(0);
    let local = only_run(&folder.join("out-local"));
    assert!(!local.alerts().is_empty());
    let is_second = |look: &&BTreeMap<String, String>| {
        look["tile"] == "30PUR" && look["used"] == "true" && !look["scene_id"].is_empty()
    };
    assert!(local.looks().iter().filter(is_second).count() > 5);
    let (catalog, out) = (mirror.catalog(), folder.join("out-direct"));
    let (pipeline, sources) = (folder.join("pipeline.toml"), folder.join("local.toml"));
    let arguments: [&dyn AsRef<OsStr>; 8] = [
        &"run",
        &pipeline,
        &"--sources",
        &sources,
        &"--catalog",
        &catalog,
        &"--out",
        &out,
    ];
    pitwatch(&arguments).expect(0);
    assert_same_but_for_id_and_notice(&only_run(&out), &local);

    let s3 = S3::start(folder);
    upload(&mirror, &s3, "open", ReadBy::Anyone);
    let host = s3.host();
    let items = items_at(&mirror, &format!("http://{host}/open/tiles"));
    let api = StacApi::start(folder, &items);
    run(folder, "plain", &source(&api, &s3, ""), &[]).expect(0);
    assert_same(&only_run(&folder.join("out-plain")), &local);
    let reads = s3.reads();
    let is_plain = |[status, how, _]: &[String; 3]| status == "206" && how == "plain";
    assert!(!reads.is_empty() && reads.iter().all(is_plain), "{reads:?}");
}

#[test]
fn a_run_on_signed_addresses_gives_the_bytes_of_a_run_on_a_folder() {
    if !has_servers("a_run_on_signed_addresses_gives_the_bytes_of_a_run_on_a_folder") {
        return;
    }
    let mirror = Mirror::savanna();
    dress(&mirror);
    let _ = pipeline(&mirror);
    let folder = mirror.folder();
    let on_disk = "kind = \"static\"\nurl = \"mirror/collection.json\"\n";
    run(folder, "local", on_disk, &[]).expect(0);

    let s3 = S3::start(folder);
    upload(&mirror, &s3, "closed", ReadBy::KeysAlone);
    let items = items_at(&mirror, "s3://closed/tiles");
    let api = StacApi::start(folder, &items);
    let further = format!(
        "s3_endpoint = \"http://{}\"\ns3_region = \"{}\"\n",
        s3.host(),
        S3::REGION
    );
    let source = source(&api, &s3, &further);
    let keys = |secret| {
        [
            ("PITWATCH_OTHERS_ACCESS_KEY", S3::ACCESS_KEY),
            ("PITWATCH_OTHERS_SECRET_KEY", secret),
            ("PITWATCH_RETRY_MS", "10"),
        ]
    };
    run(folder, "signed", &source, &keys(S3::SECRET_KEY)).expect(0);
    let local = only_run(&folder.join("out-local"));
    assert_same(&only_run(&folder.join("out-signed")), &local);
    let reads = s3.reads();
    let is_signed = |[status, how, _]: &[String; 3]| status == "206" && how == "signed";
    assert!(
        !reads.is_empty() && reads.iter().all(is_signed),
        "{reads:?}"
    );

    // The server does look at the signature: neither another secret nor none gets a byte, and no key is told.
    let few = StacApi::start(folder, &items[..5]);
    let source = self::source(&few, &s3, &further);
    for (name, variables) in [("wrong", &keys("another secret")[..]), ("none", &[])] {
        let refused = run(folder, name, &source, variables).expect(5).says("403");
        for key in [S3::ACCESS_KEY, "another secret", "X-Amz"] {
            assert!(!refused.stderr.contains(key), "{}", refused.stderr);
        }
    }
    let is_had = |[status, ..]: &&[String; 3]| status != "403";
    assert_eq!(s3.reads().iter().filter(is_had).count(), reads.len());
}

/// Searches rustac, which sends no count and goes on by `skip` in the body of a POST.
fn searched(folder: &Path, items: &[Value], page_items: usize) -> Search {
    let api = StacApi::start(folder, items);
    let mut config = SourceConfig::new("others", SourceKind::StacApi, &api.url());
    config.access.allow_private = true;
    config.access.allow_http = true;
    config.page_items = page_items;
    let source = config.open(&Net::new(Limits::default())).unwrap();
    let region = Region::from_bounds(-8.0, 7.0, -3.0, 11.0).unwrap();
    let query = Query {
        region: Some(&region),
        bands: &Band::ALL[..4],
        ..Query::default()
    };
    search(
        &[source],
        &query,
        day("2026-01-01"),
        &BTreeMap::new(),
        &|_| {},
    )
    .unwrap()
}

#[test]
fn small_pages_of_a_server_of_others_lose_no_item() {
    if !has_servers("small_pages_of_a_server_of_others_lose_no_item") {
        return;
    }
    let mirror = Mirror::savanna();
    dress(&mirror);
    let mut items = items_at(&mirror, "https://example.org");
    // Twelve tiles of one pass: no window of time is so short that a page holds them.
    let model = items[3].clone();
    for tile in 'A'..='L' {
        let mut item = model.clone();
        item["id"] = format!("{}_{tile}", model["id"].as_str().unwrap()).into();
        for (name, value) in [("grid:code", "MGRS-31P"), ("s2:mgrs_tile", "31P")] {
            item["properties"][name] = format!("{value}{tile}A").into();
        }
        items.push(item);
    }
    let whole = searched(mirror.folder(), &items, 1000);
    let small = searched(mirror.folder(), &items, 5);
    for search in [&whole, &small] {
        let report = &search.sources[0];
        assert!(
            report.is_complete && report.problems.is_empty(),
            "{report:?}"
        );
        assert_eq!(report.n_received, items.len() as u64);
        assert_eq!(report.n_matched, None);
    }
    let ids = |search: &Search| -> Vec<String> {
        search
            .found
            .scenes
            .iter()
            .map(|scene| scene.id.clone())
            .collect()
    };
    assert_eq!(ids(&small), ids(&whole));
}
