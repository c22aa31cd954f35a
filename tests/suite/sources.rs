//! Several sources: the same ground from each, one in place of another, and nothing of their secrets anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pitwatch_grid::Region;
use pitwatch_scenes::net::{Access, Limits, Net};
use pitwatch_scenes::{Query, SourceConfig, SourceKind};
use pitwatch_tests::{
    Case, Catalog, Fault, Form, Paging, Raster, Reply, S3_KEYS, Server, TOKEN, World, day, files_of,
};
use serde_json::Value;

const MODEL: &str = "pipelines/cote-divoire-north.toml";
const FORMS: [Form; 3] = [Form::EarthSearch, Form::PlanetaryComputer, Form::Cdse];

fn mirror_item(case: &Case, world: &World, look: usize, tile: usize, form: Form) -> Value {
    let id = world.id(look, &world.tiles[tile], form);
    let path = case
        .mirror()
        .join(world.spec.id)
        .join(&id)
        .join(format!("{id}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_source_gives_the_same_ground() {
    let world = World::small(2);
    let mut by_form = Vec::new();
    for form in FORMS {
        let case = Case::new(&[&world], &[form], MODEL);
        let _ = case.run("fetch", &[]).expect(0);
        let offset = if form == Form::EarthSearch {
            0.0
        } else {
            1000.0
        };
        let mut rasters = BTreeMap::new();
        for look in 0..2 {
            for tile in 0..2 {
                let item = mirror_item(&case, &world, look, tile, form);
                let id = item["id"].as_str().unwrap();
                for band in ["blue", "green", "red", "nir", "swir16", "swir22", "scl"] {
                    let path = case
                        .mirror()
                        .join("small")
                        .join(id)
                        .join(format!("{band}.tif"));
                    let raster = Raster::open(&path);
                    let offset = if band == "scl" { 0.0 } else { offset };
                    let values: Vec<f64> = raster
                        .values
                        .iter()
                        .map(|&value| if value == 0.0 { 0.0 } else { value - offset })
                        .collect();
                    rasters.insert((look, tile, band), (raster.transform, values));
                }
            }
        }
        by_form.push(rasters);
    }
    for (form, rasters) in FORMS.iter().zip(&by_form).skip(1) {
        for (key, raster) in rasters {
            assert!(
                raster.1.iter().any(|&value| value > 0.0),
                "{form:?} {key:?} is empty"
            );
            assert!(*raster == by_form[0][key], "{form:?} {key:?} differs");
        }
    }
}

#[test]
fn a_folder_of_products_gives_the_same_ground_as_their_files_from_a_server() {
    let world = World::small(2);
    let case = Case::new(&[&world], &[Form::Cdse], MODEL);
    let _ = case.run("fetch", &[]).expect(0);
    let served = case.mirrored();
    fs::remove_dir_all(case.mirror()).unwrap();
    let products = case.folder().join("products");
    world.write_products(&products);
    fs::write(
        &case.sources,
        format!(
            "[[source]]\nname = \"cdse\"\nkind = \"safe\"\nurl = \"{}\"\n",
            products.display()
        ),
    )
    .unwrap();
    let requests = case.live.server.counts().n_requests;
    let _ = case.run("fetch", &[]).expect(0);
    assert_eq!(case.live.server.counts().n_requests, requests);
    let packed = case.mirrored();
    assert_eq!(served.len(), 4 * 8 + 2);
    assert_eq!(
        packed.keys().collect::<Vec<_>>(),
        served.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in served.iter().filter(|(name, _)| name.ends_with(".tif")) {
        assert!(packed[name] == *bytes, "{name}");
    }
    // A product whose metadata is broken costs itself alone.
    let id = world.id(0, &world.tiles[0], Form::Cdse);
    fs::write(
        products.join(format!("{id}.SAFE/MTD_MSIL2A.xml")),
        "<broken",
    )
    .unwrap();
    fs::remove_dir_all(case.mirror()).unwrap();
    let finished = case.run("fetch", &[]).expect(4);
    assert!(finished.stderr.contains(&id), "{}", finished.stderr);
    assert_eq!(case.mirrored().len(), 3 * 8 + 2);
}

#[test]
fn what_one_source_lacks_or_breaks_comes_from_the_next() {
    let world = World::small(3);
    let case = Case::new(&[&world], &FORMS, MODEL);
    // The first lacks a look; of another its file is gone, and the second's is no image.
    let lacking: Vec<String> = world
        .tiles
        .iter()
        .map(|tile| world.id(1, tile, Form::EarthSearch))
        .collect();
    case.live.catalogs["earth-search"]
        .edit(|items| items.retain(|item| !lacking.iter().any(|id| item["id"] == id.as_str())));
    let server = &case.live.server;
    let tile = &world.tiles[1];
    let broken = world.id(0, tile, Form::EarthSearch);
    server.fault(
        &format!("{broken}/B04.tif"),
        u64::MAX,
        Fault::Status(404, vec![]),
    );
    server.fault(
        &format!("T{}_20240103T104829_B04_10m.tif", tile.name),
        u64::MAX,
        Fault::Page,
    );
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stdout.contains("6 scenes: 6 fetched"),
        "{}",
        finished.stdout
    );
    let source = |look, tile, form| {
        let item = mirror_item(&case, &world, look, tile, form);
        let href = item["properties"]["pitwatch:source_href"].as_str().unwrap();
        href.split('/').nth(3).unwrap().to_owned()
    };
    assert_eq!(source(0, 0, Form::EarthSearch), "earth-search");
    assert_eq!(source(1, 0, Form::PlanetaryComputer), "planetary-computer");
    assert_eq!(source(0, 1, Form::Cdse), "cdse");
    // Asked again, all are there.
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stdout.contains("6 were there"),
        "{}",
        finished.stdout
    );
}

#[test]
fn tokens_that_expire_and_clocks_that_differ_cost_nothing() {
    let world = World::small(2);
    let case = Case::new(&[&world], &[Form::PlanetaryComputer], MODEL);
    let _ = case.run("fetch", &[]).expect(0);
    let whole = case.mirrored();
    assert_eq!(whole.len(), 4 * 8 + 2);
    let start_over = || fs::remove_dir_all(case.mirror()).unwrap();

    // A token that the files' server does not take.
    start_over();
    let expired = br#"{"msft:expiry": "2099-01-01T00:00:00Z", "token": "sig=EXPIREDSECRET"}"#;
    let server = &case.live.server;
    server.fault("/token/", 1, Fault::Other(expired.to_vec()));
    let _ = case.run("fetch", &[]).expect(0);
    assert!(case.mirrored() == whole);

    // A server whose clock is two hours ahead, so that its tokens seem to have expired here or there.
    start_over();
    server.set_clock_skew(7200);
    let _ = case.run("fetch", &[]).expect(0);
    assert!(case.mirrored() == whole);
    server.set_clock_skew(0);

    // No tokens at all.
    start_over();
    server.fault("/token/", u64::MAX, Fault::Status(403, vec![]));
    let finished = case.run("fetch", &[]).expect(4);
    assert!(finished.stderr.contains("403"), "{}", finished.stderr);
    server.heal();
    let _ = case.run("fetch", &[]).expect(0);
    assert!(case.mirrored() == whole);
}

#[test]
fn a_file_that_is_not_the_one_of_its_checksum_is_refused() {
    let world = World::small(1);
    let case = Case::new(&[&world], &[Form::Cdse], MODEL);
    let catalog = &case.live.catalogs["cdse"];
    let path = world.file(0, &world.tiles[0], Form::Cdse, "B04");
    let good = format!("1220{}", pitwatch_tests::sha256(&fs::read(path).unwrap()));
    let set = |checksum: &str| {
        catalog.edit(|items| items[0]["assets"]["B04_10m"]["file:checksum"] = checksum.into());
    };
    set(&format!("1220{}", "ab".repeat(32)));
    let finished = case.run("fetch", &[]).expect(4);
    assert!(finished.stderr.contains("checksum"), "{}", finished.stderr);
    set(&good);
    let _ = case.run("fetch", &[]).expect(0);
    // MD5, as Copernicus Data Space writes it.
    fs::remove_dir_all(case.mirror()).unwrap();
    set(&format!("d50110{}", "ab".repeat(16)));
    let finished = case.run("fetch", &[]).expect(4);
    assert!(finished.stderr.contains("checksum"), "{}", finished.stderr);
}

#[test]
fn secrets_are_nowhere() {
    let world = World::small(2);
    let forms = [Form::PlanetaryComputer, Form::Cdse];
    let case = Case::new(&[&world], &forms, MODEL);
    let out = case.folder().join("out");
    let out = out.to_str().unwrap();
    let server = &case.live.server;
    let mut said = String::new();
    let mut hear = |finished: &pitwatch_tests::Finished| {
        said += &finished.stdout;
        said += &finished.stderr;
    };
    // As it should go, and with every kind of error that names an address.
    hear(&case.run("run", &["--out", out]));
    for fault in [
        Fault::Status(403, vec![]),
        Fault::Status(500, vec![]),
        Fault::Page,
        Fault::Reset(10),
        Fault::WrongRange,
        Fault::Redirect(format!("http://example.org/?{TOKEN}")),
        Fault::Redirect("http://127.0.0.1:9/?X-Amz-Signature=SECRETSIGNATURE".into()),
    ] {
        let _ = fs::remove_dir_all(case.mirror());
        server.fault("B04", u64::MAX, fault);
        hear(&case.run("fetch", &[]));
        hear(&case.run("run", &["--out", out]));
        server.heal();
    }
    hear(&case.run("plan", &[]));
    // Hrefs that come signed.
    let catalog = &case.live.catalogs["planetary-computer"];
    catalog.edit(|items| {
        for item in items.iter_mut() {
            for asset in item["assets"].as_object_mut().unwrap().values_mut() {
                let href = format!("{}?{TOKEN}", asset["href"].as_str().unwrap());
                asset["href"] = href.into();
            }
        }
    });
    let _ = fs::remove_dir_all(case.mirror());
    let finished = case.run("run", &["--out", out]);
    hear(&finished);
    // A file of keys with an error in it.
    let keys = case.folder().join("keys.toml");
    fs::write(&keys, "access_key_id = \"SECRETINFILE\nsecret").unwrap();
    let text = fs::read_to_string(&case.sources).unwrap();
    fs::write(
        &case.sources,
        text.replace("s3_endpoint", "s3_keys_file = \"keys.toml\"\ns3_endpoint"),
    )
    .unwrap();
    hear(
        &case
            .command("fetch", &[])
            .env_remove("PITWATCH_CDSE_ACCESS_KEY")
            .output()
            .unwrap()
            .into(),
    );
    assert!(
        said.contains("B04"),
        "the errors were not told at all: {said}"
    );
    let secrets = [
        "SECRET",
        "sig=",
        "X-Amz-Signature",
        "X-Amz-Credential",
        S3_KEYS.0,
        S3_KEYS.1,
    ];
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} was said: {said}");
    }
    let mut files = case.mirrored();
    assert!(files.len() > 10);
    files.extend(files_of(&case.folder().join("out")));
    for (name, bytes) in &files {
        for secret in secrets {
            let is_there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!is_there, "{secret} is in {name}");
        }
    }
}

/// All items of a catalog, however it goes from page to page.
fn found(
    paging: Paging,
    has_count: bool,
    max_page: usize,
) -> (BTreeSet<String>, bool, Vec<String>) {
    let world = World::small(30);
    let items = world.items(Form::EarthSearch);
    let catalog = Catalog::new(items, paging, has_count, max_page);
    let server = Server::start(move |request| {
        let host = request.headers.get("host").map_or("", String::as_str);
        let base = format!("http://{host}");
        if request.path == "/search" {
            catalog.search(&format!("{base}/search"), &base, request)
        } else {
            Reply::status(404)
        }
    });
    let mut config = SourceConfig::new("loopback", SourceKind::StacApi, &server.url());
    config.access = Access {
        allow_http: true,
        allow_private: true,
        ..Access::default()
    };
    config.page_items = 7;
    let source = config.open(&Net::new(Limits::default())).unwrap();
    let [west, south, east, north] = world.spec.lonlat_bounds();
    let region = Region::from_bounds(west, south, east, north).unwrap();
    let query = Query {
        region: Some(&region),
        period: None,
        max_cloud_cover_percent: None,
        bands: &pitwatch_grid::Band::ALL,
    };
    let search = pitwatch_scenes::search(
        &[source],
        &query,
        day("2025-01-01"),
        &BTreeMap::new(),
        &|_| {},
    )
    .unwrap();
    let mut ids: BTreeSet<String> = search
        .found
        .scenes
        .iter()
        .map(|scene| scene.id.clone())
        .collect();
    ids.extend(
        search
            .found
            .excluded
            .iter()
            .map(|excluded| excluded.id.clone()),
    );
    (ids, search.sources[0].is_complete, server.log())
}

#[test]
fn every_way_of_paging_gives_every_item() {
    let world = World::small(30);
    let all: BTreeSet<String> = (0..30)
        .flat_map(|look| {
            world
                .tiles
                .iter()
                .map(|tile| world.id(look, tile, Form::EarthSearch))
                .collect::<Vec<_>>()
        })
        .collect();
    for paging in [
        Paging::BodyNext,
        Paging::BodyPage,
        Paging::GetToken,
        Paging::PostToken,
        Paging::PostTokenMerge,
        // A missing link is found, not believed.
        Paging::NoLink,
    ] {
        for has_count in [true, false] {
            let (ids, is_complete, log) = found(paging, has_count, 7);
            assert_eq!(ids, all, "{paging:?}, count {has_count}: {log:#?}");
            assert!(is_complete, "{paging:?}, count {has_count}");
            assert!(
                log.len() < 120,
                "{paging:?}, count {has_count}: {} requests",
                log.len()
            );
        }
    }
    // A server that gives shorter pages than it is asked for.
    for paging in [Paging::BodyNext, Paging::NoLink] {
        let (ids, is_complete, _) = found(paging, true, 5);
        assert_eq!(ids, all, "{paging:?}");
        assert!(is_complete);
    }
}
