//! Speed of reading windows of remote rasters, against GDAL and rasterio, and memory of fetching, all in one run.
//!
//! A server on loopback, in this process, serves one raster of a whole Sentinel-2 band under the names of many scenes and
//! waits before each answer. Each client is a process of its own, started anew for each repetition; the repetitions of all
//! clients take turns. A client reports its wall time and CPU time without start-up and imports, and a checksum of its
//! pixels, which must be everyone's. Requests and bytes are the server's counts.
//!
//! `cargo bench -p pitwatch-benches --bench network` prints the tables of `docs/benchmarks.md`. A word after `--` takes one
//! part: `chips`, `windows`, `decode` or `memory`. Needs `.venv` (`scripts/setup --tests`).

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gdal::config::set_config_option;
use gdal::raster::RasterCreationOptions;
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager};
use libdeflater::Decompressor;
use pitwatch_benches::{CLEAR, CLOUDED, Random, geobox};
use pitwatch_grid::{Band, Day, GeoBox, Point, Region, Shape, Window};
use pitwatch_imagery::{FetchOptions, FetchOutcome, Mirror, fetch, read_windows, unpack_blocks};
use pitwatch_scenes::net::{Access, Limits, Net, Remote, Signing};
use pitwatch_scenes::{Query, Source, SourceConfig, SourceKind, Storage};
use pitwatch_tests::{Counts, Reply, Server};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Pixels a side of a band of 10 m, and of a block of its file.
const SIDE: usize = 10_980;
const BLOCK: usize = 1024;
/// Time from a request to the first byte of its answer: a bucket's, from another region.
const LATENCY: Duration = Duration::from_millis(50);
const N_SCENES: usize = 64;
const CHIP: usize = 512;
const N_LARGE: usize = 8;
const LARGE: usize = 2048;
/// Times that each client does the same work.
const N_REPETITIONS: usize = 7;
/// Decoded blocks that ours keeps: GDAL keeps 5 % of the machine's memory.
const CACHE_BYTES: usize = 64 << 20;
/// Bands that are fetched, beside the classes.
const FETCHED: [(&str, Band); 3] = [
    ("green", Band::Green),
    ("red", Band::Red),
    ("nir", Band::Nir),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "client") {
        client(&arguments[1..]);
        return;
    }
    let part = arguments.iter().find(|word| !word.starts_with('-'));
    let is_asked = |name: &str| part.is_none_or(|part| part == name);
    let files = Files::make();
    if is_asked("decode") {
        decode(&files);
    }
    let server = serve(&files);
    if is_asked("chips") {
        server.set_latency(LATENCY);
        let clients = [
            Client::new("pitwatch", 32),
            Client::new("gdal", 32),
            Client::new("rasterio", 32),
            Client::new("pitwatch", 8),
            Client::new("gdal", 8),
        ];
        for (is_fixed, place) in [(true, "in one block"), (false, "anywhere")] {
            println!(
                "\n{N_SCENES} scenes, a chip of {CHIP} × {CHIP} pixels {place}, {LATENCY:?}:\n"
            );
            compare(
                &server,
                &clients,
                &chips(&server, is_fixed),
                N_SCENES,
                "scene",
            );
        }
    }
    if is_asked("windows") {
        let mut clients = vec![
            Client::new("pitwatch", 4),
            Client::new("gdal", 1),
            Client::new("gdal", 2),
            Client::new("gdal", 4),
        ];
        clients.push(Client {
            decoders: 2,
            ..Client::new("gdal", 1)
        });
        for latency in [Duration::ZERO, LATENCY] {
            server.set_latency(latency);
            println!("\n{N_LARGE} windows of {LARGE} × {LARGE} pixels of one file, {latency:?}:\n");
            compare(&server, &clients, &large(&server), N_LARGE, "window");
        }
    }
    if is_asked("memory") {
        server.set_latency(Duration::ZERO);
        memory(&server);
    }
}

/// One way to read, as a process.
struct Client {
    name: &'static str,
    in_flight: usize,
    /// `GDAL_NUM_THREADS`.
    decoders: usize,
}

impl Client {
    fn new(name: &'static str, in_flight: usize) -> Self {
        Self {
            name,
            in_flight,
            decoders: 1,
        }
    }

    /// Does the work once.
    fn run(&self, work: &str) -> Answer {
        let rasterio = concat!(env!("CARGO_MANIFEST_DIR"), "/network_rasterio.py");
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/python");
        let mut command = if self.name == "rasterio" {
            let mut command = Command::new(python);
            command.arg(rasterio);
            command
        } else {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args(["client", self.name]);
            command
        };
        command.args([self.in_flight.to_string(), self.decoders.to_string()]);
        ask(&mut command, work)
    }
}

/// What a client answers: seconds, seconds, and a checksum or a number of its own.
struct Answer {
    wall_s: f64,
    cpu_s: f64,
    number: u64,
}

fn ask(command: &mut Command, input: &str) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "a client failed");
    let text = String::from_utf8(output.stdout).expect("it answers with text");
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("three numbers");
    Answer {
        wall_s: next().parse().expect("seconds"),
        cpu_s: next().parse().expect("seconds"),
        number: next().parse().expect("a number"),
    }
}

/// Lets the clients take turns and prints what they took.
fn compare(server: &Server, clients: &[Client], work: &str, n_files: usize, unit: &str) {
    let mut taken: Vec<(Vec<Answer>, Counts, f64)> = clients
        .iter()
        .map(|_| (Vec::new(), Counts::default(), 0.0))
        .collect();
    for _ in 0..N_REPETITIONS {
        for (client, (answers, counts, server_cpu_s)) in clients.iter().zip(&mut taken) {
            server.reset_counts();
            let before = cpu_s();
            answers.push(client.run(work));
            *server_cpu_s += (cpu_s() - before) / N_REPETITIONS as f64;
            *counts = server.counts();
        }
    }
    let checksum = taken[0].0[0].number;
    println!(
        "| client | in flight | wall s, best | wall s, median | CPU s, best | CPU s, median | requests a {unit} | MB a {unit} | most in flight | server's CPU s |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (client, (answers, counts, server_cpu_s)) in clients.iter().zip(&taken) {
        assert!(
            answers.iter().all(|answer| answer.number == checksum),
            "{} reads other pixels",
            client.name
        );
        let wall = best_and_median(answers.iter().map(|answer| answer.wall_s));
        let cpu = best_and_median(answers.iter().map(|answer| answer.cpu_s));
        let name = if client.decoders > 1 {
            format!("{}, {} decoding threads", client.name, client.decoders)
        } else {
            client.name.to_owned()
        };
        println!(
            "| {name} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} | {} | {server_cpu_s:.2} |",
            client.in_flight,
            wall.0,
            wall.1,
            cpu.0,
            cpu.1,
            counts.n_requests as f64 / n_files as f64,
            counts.n_bytes as f64 / 1e6 / n_files as f64,
            counts.max_in_flight,
        );
    }
}

fn best_and_median(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}

/// CPU time of this process so far, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Address, row, column, height and width, a line a window.
fn line(href: &str, window: Window) -> String {
    let Window {
        row,
        col,
        height,
        width,
    } = window;
    format!("{href} {row} {col} {height} {width}\n")
}

fn random_window(side: usize, random: &mut Random) -> Window {
    let mut place = || (random.uniform() * (SIDE - side) as f64) as usize;
    Window {
        row: place(),
        col: place(),
        height: side,
        width: side,
    }
}

/// One chip of each scene: the same ground in all of them, within one block, or each elsewhere.
fn chips(server: &Server, is_fixed: bool) -> String {
    let mut random = Random::new(7);
    let fixed = Window {
        row: 4 * BLOCK + 300,
        col: 5 * BLOCK + 200,
        height: CHIP,
        width: CHIP,
    };
    (0..N_SCENES)
        .map(|scene| {
            let href = format!("{}/{scene}/red.tif", server.url());
            let chip = random_window(CHIP, &mut random);
            line(&href, if is_fixed { fixed } else { chip })
        })
        .collect()
}

/// Windows of one file that overlap here and there.
fn large(server: &Server) -> String {
    let mut random = Random::new(8);
    let href = format!("{}/0/red.tif", server.url());
    (0..N_LARGE)
        .map(|_| line(&href, random_window(LARGE, &mut random)))
        .collect()
}

/// What a client process does: reads its work from standard input, does it, and prints what it took.
fn client(arguments: &[String]) {
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .expect("the work comes as text");
    if arguments[0] == "fetch" {
        fetch_client(&input, &arguments[1..]);
        return;
    }
    let windows: Vec<(String, Window)> = input
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |index: usize| words[index].parse().expect("a whole number");
            let window = Window {
                row: number(1),
                col: number(2),
                height: number(3),
                width: number(4),
            };
            (words[0].to_owned(), window)
        })
        .collect();
    let in_flight: usize = arguments[1].parse().expect("a whole number");
    let (wall_s, cpu_s, planes) = if arguments[0] == "gdal" {
        gdal_client(&windows, in_flight, &arguments[2])
    } else {
        let remote = remote(&windows[0].0, in_flight);
        timed(|| {
            read_windows(&windows, Some(&remote), 2 * in_flight, CACHE_BYTES)
                .expect("threads start")
                .into_iter()
                .map(|plane| plane.expect("the window is read"))
                .collect()
        })
    };
    let checksum = planes.iter().flatten().zip((1..=251).cycle());
    let checksum = checksum.fold(0_u64, |sum, (&number, weight)| {
        sum.wrapping_add(u64::from(number) * weight)
    });
    println!("{wall_s} {cpu_s} {checksum}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, f64, T) {
    let (start, cpu) = (Instant::now(), cpu_s());
    let result = work();
    (start.elapsed().as_secs_f64(), cpu_s() - cpu, result)
}

fn remote(href: &str, connections: usize) -> Remote {
    let host = href.split('/').nth(2).expect("an address with a host");
    let access = Access {
        hosts: vec![host.to_owned()],
        allow_private: true,
        allow_http: true,
    };
    let limits = Limits {
        connections,
        ..Limits::default()
    };
    Net::new(limits)
        .remote(access, Signing::none())
        .expect("a client")
}

/// GDAL with a thread and a handle of its own for each window in flight, and the settings that suit it best.
fn gdal_client(
    windows: &[(String, Window)],
    in_flight: usize,
    decoders: &str,
) -> (f64, f64, Vec<Vec<u16>>) {
    for (key, value) in [
        ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
        ("CPL_VSIL_CURL_ALLOWED_EXTENSIONS", ".tif"),
        ("GDAL_HTTP_MERGE_CONSECUTIVE_RANGES", "YES"),
        ("VSI_CACHE", "TRUE"),
        ("GDAL_NUM_THREADS", decoders),
    ] {
        set_config_option(key, value).expect("a setting");
    }
    DriverManager::register_all();
    let next = AtomicUsize::new(0);
    timed(|| {
        let mut planes: Vec<(usize, Vec<u16>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..in_flight)
                .map(|_| scope.spawn(|| gdal_thread(windows, &next)))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("GDAL reads"))
                .collect()
        });
        planes.sort_by_key(|(index, _)| *index);
        planes.into_iter().map(|(_, plane)| plane).collect()
    })
}

fn gdal_thread(windows: &[(String, Window)], next: &AtomicUsize) -> Vec<(usize, Vec<u16>)> {
    let mut datasets: BTreeMap<&str, Dataset> = BTreeMap::new();
    let mut planes = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some((href, window)) = windows.get(index) else {
            return planes;
        };
        let dataset = datasets.entry(href).or_insert_with(|| {
            Dataset::open(format!("/vsicurl/{href}")).expect("GDAL opens the file")
        });
        let size = (window.width, window.height);
        let at = (window.col as isize, window.row as isize);
        let plane = dataset
            .rasterband(1)
            .and_then(|band| band.read_as::<u16>(at, size, size, None))
            .expect("GDAL reads the window");
        planes.push((index, plane.data().to_vec()));
    }
}

/// The rasters that are served.
struct Files {
    band: PathBuf,
    classes: PathBuf,
}

impl Files {
    /// Writes them once; they are the same on every machine but for what GDAL's version makes of them.
    fn make() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network");
        std::fs::create_dir_all(&folder).expect("a folder in the target folder");
        let files = Self {
            band: folder.join("band.tif"),
            classes: folder.join("classes.tif"),
        };
        if !files.band.exists() {
            let mut random = Random::new(1);
            // Standard deviation of the noise, in digital numbers: packs as real bands do.
            const NOISE: f64 = 28.0;
            write_cog(&files.band, 1, |row, col| {
                let (row, col) = (row as f64, col as f64);
                let relief = 400.0 * (row / 130.0).sin() * (col / 170.0).cos();
                let fields = 250.0 * ((row / 23.0).sin() + (col / 31.0).sin()).round();
                (2_300.0 + relief + fields + NOISE * random.normal()).max(1.0) as u16
            });
        }
        if !files.classes.exists() {
            write_cog(&files.classes, 2, |row, col| {
                let hidden = (row as f64 / 90.0).sin() * (col as f64 / 70.0).cos() > 0.6;
                u16::from(if hidden { CLOUDED } else { CLEAR })
            });
        }
        files
    }
}

/// A band's place: `step` pixels of 10 m a side of its own.
fn place(step: usize) -> GeoBox {
    let side = SIDE / step;
    let whole = geobox(Shape {
        height: side,
        width: side,
    });
    GeoBox::new(
        whole.crs().clone(),
        Point {
            x: 199_980.0,
            y: 1_000_020.0,
        },
        10.0 * step as f64,
        whole.shape(),
    )
    .expect("a tile of Sentinel-2")
}

/// The classes too have 16 bits; SCL's 8 make no difference here.
fn write_cog(path: &Path, step: usize, mut pixel: impl FnMut(usize, usize) -> u16) {
    let side = SIDE / step;
    let mut write = |part: &Path| -> gdal::errors::Result<()> {
        let memory = DriverManager::get_driver_by_name("MEM")?;
        let mut dataset = memory.create_with_band_type::<u16, _>("", side, side, 1)?;
        let place = place(step);
        dataset.set_geo_transform(&place.gdal_transform())?;
        dataset.set_spatial_ref(&SpatialRef::from_epsg(place.crs().epsg())?)?;
        let mut band = dataset.rasterband(1)?;
        band.set_no_data_value(Some(0.0))?;
        for row in 0..side {
            let pixels = (0..side).map(|col| pixel(row, col)).collect();
            let mut pixels = gdal::raster::Buffer::new((side, 1), pixels);
            band.write((0, row as isize), (side, 1), &mut pixels)?;
        }
        let mut options = RasterCreationOptions::new();
        options.set_name_value("COMPRESS", "DEFLATE")?;
        options.set_name_value("PREDICTOR", "YES")?;
        options.set_name_value("BLOCKSIZE", &BLOCK.to_string())?;
        options.set_name_value("NUM_THREADS", "2")?;
        let cog = DriverManager::get_driver_by_name("COG")?;
        dataset.create_copy(&cog, part, &options)?;
        Ok(())
    };
    let part = path.with_extension("part");
    write(&part).expect("GDAL writes into the target folder");
    std::fs::rename(part, path).expect("it is written");
}

/// Serves the rasters under the names of scenes, and catalogs of them.
fn serve(files: &Files) -> Server {
    let (band, classes) = (files.band.clone(), files.classes.clone());
    Server::start(move |request| {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["catalog", n_scenes] => Reply::json(&catalog(n_scenes.parse().unwrap_or(0))),
            [scene, "item.json"] => Reply::json(&item(scene.parse().unwrap_or(0))),
            [_, "scl.tif"] => Reply::File(classes.clone()),
            [_, _] => Reply::File(band.clone()),
            _ => Reply::status(404),
        }
    })
}

fn catalog(n_scenes: usize) -> Value {
    let links: Vec<Value> = (0..n_scenes)
        .map(|scene| json!({"rel": "item", "href": format!("/{scene}/item.json"), "type": "application/geo+json"}))
        .collect();
    json!({
        "type": "Collection", "stac_version": "1.1.0", "id": "network", "description": "One scene, many times.",
        "license": "MIT", "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[null, null]]}},
        "links": links,
    })
}

fn item(scene: usize) -> Value {
    let [west, south, east, north] = area(SIDE).bounds();
    let day = Day(17_897 + 5 * i32::try_from(scene).unwrap_or(0));
    let asset = |name: &str, common_name: Option<&str>| {
        let mut asset = json!({"href": format!("./{name}.tif"), "type": "image/tiff; application=geotiff", "roles": ["data"]});
        if let Some(common_name) = common_name {
            asset["eo:bands"] = json!([{"name": name, "common_name": common_name}]);
            asset["raster:bands"] =
                json!([{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": -0.1}]);
        }
        asset
    };
    let mut assets: serde_json::Map<String, Value> = FETCHED
        .iter()
        .map(|(name, _)| ((*name).to_owned(), asset(name, Some(name))))
        .collect();
    assets.insert("scl".into(), asset("scl", None));
    json!({
        "type": "Feature", "stac_version": "1.1.0", "id": format!("S2A_30PTR_{scene}"), "collection": "network",
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]]},
        "properties": {
            "datetime": format!("{day}T10:48:29Z"), "platform": "sentinel-2a", "proj:code": "EPSG:32630",
            "eo:cloud_cover": 5, "s2:processing_baseline": "05.09",
        },
        "links": [], "assets": assets,
    })
}

/// A square in the middle of the rasters, so many pixels of 10 m a side.
fn area(side: usize) -> Region {
    let place = place(1);
    let start = (SIDE - side) as f64 / 2.0 * 10.0;
    let corner = |x: f64, y: f64| {
        let point = Point {
            x: place.origin().x + x,
            y: place.origin().y - y,
        };
        place
            .crs()
            .lonlat_from_crs(point)
            .expect("it is on the map")
    };
    let end = start + side as f64 * 10.0;
    let (north_west, south_east) = (corner(start, start), corner(end, end));
    Region::from_bounds(north_west.x, south_east.y, south_east.x, north_west.y)
        .expect("a square on the map")
}

/// Measures the peak memory of fetching while the number of scenes grows.
fn memory(server: &Server) {
    println!(
        "\nFetching {} bands and the classes of an area:\n",
        FETCHED.len()
    );
    println!(
        "| scenes | pixels a side | limit | wall s | CPU s | requests a raster | MB a scene | most in flight | peak MiB |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (side, limit_mib, n_scenes) in [
        (1000, 200, 16),
        (1000, 200, 64),
        (1000, 200, 256),
        (4000, 200, 16),
        (4000, 200, 64),
        (1000, 600, 64),
        (4000, 600, 64),
    ] {
        server.reset_counts();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["client", "fetch", &side.to_string(), &limit_mib.to_string()]);
        let answer = ask(
            &mut command,
            &format!("{}/catalog/{n_scenes}", server.url()),
        );
        let counts = server.counts();
        let n_rasters = n_scenes * (FETCHED.len() + 1);
        // The catalog and an item a scene.
        let n_requests = counts.n_requests as usize - n_scenes - 1;
        println!(
            "| {n_scenes} | {side} | {limit_mib} MiB | {:.1} | {:.1} | {:.2} | {:.1} | {} | {:.0} |",
            answer.wall_s,
            answer.cpu_s,
            n_requests as f64 / n_rasters as f64,
            counts.n_bytes as f64 / 1e6 / n_scenes as f64,
            counts.max_in_flight,
            answer.number as f64 / 1024.0,
        );
    }
}

/// Fetches all scenes of a catalog into a new mirror with the limits that `pitwatch fetch` derives from its memory flag.
fn fetch_client(url: &str, arguments: &[String]) {
    let number = |index: usize| -> usize { arguments[index].parse().expect("a whole number") };
    let (side, memory_bytes) = (number(0), number(1) << 20);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let root = arguments.get(2).map_or(folder.path(), Path::new);
    let (wall_s, cpu_s, ()) = timed(|| {
        let net = Net::new(Limits {
            bytes_in_flight: memory_bytes / 4,
            ..Limits::default()
        });
        let mut config = SourceConfig::new("network", SourceKind::Static, url);
        config.access.allow_private = true;
        config.access.allow_http = true;
        let source: Source = config.open(&net).expect("a source");
        let bands = FETCHED.map(|(_, band)| band);
        let region = area(side);
        let query = Query {
            region: Some(&region),
            period: None,
            max_cloud_cover_percent: None,
            bands: &bands,
        };
        let remotes = BTreeMap::from([("network".to_owned(), source.remote().clone())]);
        let search =
            pitwatch_scenes::search(&[source], &query, Day(25_000), &BTreeMap::new(), &|_| ())
                .expect("the catalog is read");
        let mirror =
            Arc::new(Mirror::open(&Storage::folder(root), "network").expect("a new mirror"));
        let options = FetchOptions {
            is_stopped: || false,
            scenes_in_flight: Limits::default().connections,
            memory_bytes: memory_bytes / 2,
            disk_limit: None,
        };
        let scenes = &search.found.scenes;
        let report = fetch(
            &mirror,
            &region,
            scenes,
            &bands,
            &remotes,
            &options,
            &|_| (),
        )
        .expect("the mirror is written");
        assert!(!report.outcomes.is_empty(), "{:?}", search.found.excluded);
        for outcome in report.outcomes {
            assert!(
                matches!(outcome, FetchOutcome::Fetched { .. }),
                "{outcome:?}"
            );
        }
    });
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let peak_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next())
        .and_then(|text| text.parse().ok())
        .expect("the peak of resident memory");
    println!("{wall_s} {cpu_s} {peak_kib}");
}

/// Compares reading a window of a file on disk with inflating its blocks and no more, and with the least that any reader has
/// to do: read the packed blocks, and inflate them into memory that becomes the result. By CPU time.
fn decode(files: &Files) {
    /// Blocks a side of the window.
    const SPAN: usize = 4;
    let window = Window {
        row: 0,
        col: 0,
        height: SPAN * BLOCK,
        width: SPAN * BLOCK,
    };
    let windows = [(files.band.display().to_string(), window)];
    let packed = blocks(&files.band, SPAN);
    let mut decompressor = Decompressor::new();
    let mut pixels = vec![0; BLOCK * BLOCK * 2];
    let (mut inflated_s, mut unpacked_s) = (Vec::new(), Vec::new());
    let (mut least_s, mut read_s) = (Vec::new(), Vec::new());
    for _ in 0..N_REPETITIONS {
        let (_, cpu_s, ()) = timed(|| {
            for packed in &packed {
                let inflated = decompressor.zlib_decompress(packed, &mut pixels);
                assert_eq!(inflated, Ok(pixels.len()));
            }
        });
        inflated_s.push(cpu_s);
        let (_, cpu_s, n_bytes) = timed(|| unpack_blocks(&windows[0].0, &packed, SPAN));
        assert_eq!(n_bytes, Some(packed.len() * pixels.len()));
        unpacked_s.push(cpu_s);
        let (_, cpu_s, _) = timed(|| {
            let mut result = vec![0; packed.len() * pixels.len()];
            let packed = blocks(&files.band, SPAN);
            for (packed, out) in packed.iter().zip(result.chunks_mut(pixels.len())) {
                assert!(decompressor.zlib_decompress(packed, out).is_ok());
            }
            result
        });
        least_s.push(cpu_s);
        let (_, cpu_s, planes) = timed(|| read_windows(&windows, None, 1, 0));
        assert!(planes.is_ok_and(|planes| planes[0].is_ok()));
        read_s.push(cpu_s);
    }
    let n_bytes = packed.len() * pixels.len();
    let rate = |seconds: f64| n_bytes as f64 / 1e6 / seconds;
    let inflated = best_and_median(inflated_s.iter().copied());
    println!(
        "\n{} blocks of {BLOCK} × {BLOCK} pixels, by CPU time:\n",
        packed.len()
    );
    println!("| what | MB/s, best | MB/s, median | of libdeflater |");
    println!("|---|---:|---:|---:|");
    for (name, seconds) in [
        ("libdeflater alone", inflated_s),
        (
            "our decoding of the same blocks: inflated, predictor undone",
            unpacked_s,
        ),
        ("libdeflater, from the file into a result", least_s),
        ("read_windows", read_s),
    ] {
        let (best, median) = best_and_median(seconds.into_iter());
        let of_inflated = inflated.1 / median;
        println!(
            "| {name} | {:.0} | {:.0} | {of_inflated:.2} |",
            rate(best),
            rate(median)
        );
    }
}

/// The first blocks of a file, as they lie in it.
fn blocks(path: &Path, span: usize) -> Vec<Vec<u8>> {
    use gdal::Metadata;
    use std::os::unix::fs::FileExt;

    let file = std::fs::File::open(path).expect("it was written");
    let dataset = Dataset::open(path).expect("GDAL opens what it wrote");
    let band = dataset.rasterband(1).expect("one band");
    let number = |key: String| -> usize {
        band.metadata_item(&key, "TIFF")
            .and_then(|text| text.parse().ok())
            .expect("a block's place")
    };
    let mut blocks = Vec::new();
    for row in 0..span {
        for col in 0..span {
            let start = number(format!("BLOCK_OFFSET_{col}_{row}"));
            let mut packed = vec![0; number(format!("BLOCK_SIZE_{col}_{row}"))];
            file.read_exact_at(&mut packed, start as u64)
                .expect("the block is there");
            blocks.push(packed);
        }
    }
    blocks
}
