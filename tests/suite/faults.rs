//! What servers, files and disks do wrong, each ending in a complete mirror or a recorded reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pitwatch_tests::{Case, Fault, Finished, Form, Server, World};
use serde_json::Value;

const MODEL: &str = "pipelines/cote-divoire-north.toml";
const N_LOOKS: usize = 3;
/// The file that most faults befall: its pixels are those of the red band of the first look over 30PTQ.
const VICTIM: &str = "S2A_30PTQ_20240103_0_L2A/B04.tif";

/// A case, and what its mirror holds if nothing goes wrong.
fn prepared() -> (Case, BTreeMap<String, Vec<u8>>) {
    let case = Case::new(&[&World::small(N_LOOKS)], &[Form::EarthSearch], MODEL);
    let _ = case.run("fetch", &[]).expect(0);
    let whole = case.mirrored();
    assert_eq!(whole.len(), 2 * N_LOOKS * 8 + 2, "{:?}", whole.keys());
    fs::remove_dir_all(case.mirror()).unwrap();
    (case, whole)
}

/// What the record says of each scene: its outcome and the reason.
fn record(case: &Case) -> BTreeMap<String, (String, String)> {
    let text = fs::read(case.mirror().join("small/searched.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    let text = |scene: &Value, name: &str| scene[name].as_str().unwrap().to_owned();
    record["scenes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|scene| {
            (
                text(scene, "id"),
                (text(scene, "outcome"), text(scene, "reason")),
            )
        })
        .collect()
}

/// The mirror is as if nothing had happened.
#[track_caller]
fn assert_whole(case: &Case, whole: &BTreeMap<String, Vec<u8>>, what: &str) {
    let files = case.mirrored();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        whole.keys().collect::<Vec<_>>(),
        "{what}"
    );
    for (name, bytes) in whole {
        assert!(files[name] == *bytes, "{what}: {name} has other bytes");
    }
}

/// Fetches with a fault that passes, and expects the whole mirror of it.
fn passes(
    case: &Case,
    whole: &BTreeMap<String, Vec<u8>>,
    what: &str,
    part: &str,
    n_times: u64,
    fault: Fault,
) {
    case.live.server.fault(part, n_times, fault);
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(case, whole, what);
    case.live.server.heal();
    fs::remove_dir_all(case.mirror()).unwrap();
}

/// Fetches with a fault that stays: the scene is left out with a reason that has `words`, the rest is there, and once the
/// fault is gone the mirror becomes whole.
fn stays(
    case: &Case,
    whole: &BTreeMap<String, Vec<u8>>,
    what: &str,
    fault: Fault,
    words: &[&str],
) -> Finished {
    case.live.server.fault(VICTIM, u64::MAX, fault);
    let finished = case.run("fetch", &[]).expect(4);
    let record = record(case);
    let (victim, _) = VICTIM.split_once('/').unwrap();
    for (id, (outcome, reason)) in &record {
        if id == victim {
            assert_eq!(outcome, "failed", "{what}: {reason}");
            for word in words {
                assert!(
                    reason.contains(word),
                    "{what}: {word:?} is not in {reason:?}"
                );
            }
            assert!(
                finished.stderr.contains(id.as_str()),
                "{what}: {}",
                finished.stderr
            );
        } else {
            assert_ne!(outcome, "failed", "{what}: {id}: {reason}");
        }
    }
    let files = case.mirrored();
    for (name, bytes) in &files {
        assert!(
            name.ends_with("searched.json")
                || name.ends_with("collection.json")
                || whole[name] == *bytes,
            "{what}: {name} has other bytes"
        );
        assert!(!name.contains(victim), "{what}: {name}");
    }
    assert_eq!(
        files.len(),
        whole.len() - 8,
        "{what}: the other scenes are whole"
    );
    case.live.server.heal();
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(case, whole, what);
    fs::remove_dir_all(case.mirror()).unwrap();
    finished
}

#[test]
fn a_server_that_is_busy_for_a_while_is_asked_again() {
    let (case, whole) = prepared();
    for status in [500, 502, 503, 504] {
        let what = format!("two times {status}");
        passes(
            &case,
            &whole,
            &what,
            VICTIM,
            2,
            Fault::Status(status, vec![]),
        );
    }
    // In the past by the server's own clock, and without a meaning.
    for value in ["Wed, 21 Oct 2015 07:28:00 GMT", "soon"] {
        let headers = vec![("Retry-After".to_owned(), value.to_owned())];
        passes(&case, &whole, value, VICTIM, 1, Fault::Status(503, headers));
    }
    let headers = vec![("Retry-After".to_owned(), "1".to_owned())];
    case.live
        .server
        .fault(VICTIM, 2, Fault::Status(429, headers));
    let start = Instant::now();
    let finished: Finished = case
        .command("fetch", &[])
        .env("PITWATCH_RETRY_MS", "400")
        .output()
        .unwrap()
        .into();
    let _ = finished.expect(0);
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "it came back sooner than it was told to"
    );
    assert_whole(&case, &whole, "429 with Retry-After");
    fs::remove_dir_all(case.mirror()).unwrap();
    // Bursts that befall whoever comes.
    let fault = || Fault::Status(503, vec![]);
    passes(&case, &whole, "a burst at search", "", 4, fault());
    passes(&case, &whole, "a burst at files", "/files/", 40, fault());
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let (case, whole) = prepared();
    for (what, fault) in [
        ("reset before the body", Fault::Reset(0)),
        ("reset within the body", Fault::Reset(300)),
        ("stalled body", Fault::Stall(300)),
        ("short body", Fault::Short(100)),
        ("wrong Content-Range", Fault::WrongRange),
        ("200 instead of 206", Fault::NoRanges),
    ] {
        passes(&case, &whole, what, VICTIM, 1, fault);
    }
    // The search breaks off too.
    passes(
        &case,
        &whole,
        "reset search",
        "/search",
        1,
        Fault::Reset(100),
    );
    passes(
        &case,
        &whole,
        "short search",
        "/search",
        1,
        Fault::Short(100),
    );
}

#[test]
fn a_server_that_stays_wrong_costs_one_scene_with_its_reason() {
    let (case, whole) = prepared();
    for (what, fault, words) in [
        ("500 for good", Fault::Status(500, vec![]), &["500"][..]),
        ("404", Fault::Status(404, vec![]), &["404"]),
        ("403", Fault::Status(403, vec![]), &["403"]),
        ("reset for good", Fault::Reset(0), &["B04.tif"]),
        ("short for good", Fault::Short(50), &["B04.tif"]),
        (
            "wrong Content-Range for good",
            Fault::WrongRange,
            &["instead of"],
        ),
        ("HTML instead of TIFF", Fault::Page, &["web page"]),
        (
            "redirect to a stranger",
            Fault::Redirect("http://example.org/B04.tif".into()),
            &["example.org"],
        ),
        (
            "redirect to a private address",
            Fault::Redirect("http://10.0.0.1/B04.tif".into()),
            &["10.0.0.1"],
        ),
        (
            "redirect to the metadata service",
            Fault::Redirect("http://169.254.169.254/latest/meta-data".into()),
            &["169.254.169.254"],
        ),
        (
            "redirect to a file",
            Fault::Redirect("file:///etc/passwd".into()),
            &["file"],
        ),
        ("flipped bits", Fault::Flip(64), &["B04.tif"]),
    ] {
        stays(&case, &whole, what, fault, words);
    }
}

#[test]
fn a_server_without_ranges_is_told_apart_from_a_broken_one() {
    let (case, whole) = prepared();
    // The files are small enough here to be taken whole; a scene is either had or named.
    case.live.server.fault(VICTIM, u64::MAX, Fault::NoRanges);
    let finished = case.run("fetch", &[]);
    match finished.code {
        Some(0) => assert_whole(&case, &whole, "200 instead of 206 for good"),
        Some(4) => {
            let (victim, _) = VICTIM.split_once('/').unwrap();
            assert_eq!(record(&case)[victim].0, "failed");
        }
        other => panic!("{other:?} {}", finished.stderr),
    }
}

#[test]
fn a_redirect_within_the_rules_is_followed() {
    let (case, whole) = prepared();
    let world = World::small(N_LOOKS);
    let tile = world.tiles[1];
    let path = world.file(0, &tile, Form::EarthSearch, "B04");
    let folder = path.parent().unwrap();
    let other = Server::folder(folder);
    let text = fs::read_to_string(&case.sources).unwrap();
    fs::write(
        &case.sources,
        text.replace("hosts = [", &format!("hosts = [\"{}\", ", other.host())),
    )
    .unwrap();
    case.live.server.fault(
        VICTIM,
        u64::MAX,
        Fault::Redirect(format!("{}/B04.tif", other.url())),
    );
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(&case, &whole, "redirect");
    assert!(other.counts().n_requests > 0);
}

/// A TIFF whose directory says what it is told to: little-endian, one tag a line.
fn tiff(tags: &[(u16, u16, u32, u32)], next: u32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"II\x2a\x00\x08\x00\x00\x00".to_vec();
    bytes.extend(u16::try_from(tags.len()).unwrap().to_le_bytes());
    for &(tag, kind, count, value) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(next.to_le_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn files_that_are_no_imagery_cost_one_scene_with_its_reason() {
    let (case, whole) = prepared();
    let world = World::small(N_LOOKS);
    let good = fs::read(world.file(0, &world.tiles[1], Form::EarthSearch, "B04")).unwrap();
    let directory = u32::from_le_bytes(good[4..8].try_into().unwrap()) as usize;
    let n_tags = usize::from(u16::from_le_bytes(
        good[directory..directory + 2].try_into().unwrap(),
    ));
    // The tag's entry in the directory of the good file.
    let entry = |tag: u16| {
        (0..n_tags)
            .map(|index| directory + 2 + 12 * index)
            .find(|&at| u16::from_le_bytes(good[at..at + 2].try_into().unwrap()) == tag)
            .unwrap()
    };
    let patched = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let table_of = |tag: u16| {
        let at = entry(tag) + 8;
        u32::from_le_bytes(good[at..at + 4].try_into().unwrap()) as usize
    };
    // TileOffsets and TileByteCounts of TIFF 6.0, section 15; every tile is moved or lengthened.
    let all_tiles = |tag: u16, value: u32| {
        let mut bytes = good.clone();
        for index in 0..121 {
            let at = table_of(tag) + 4 * index;
            if bytes[at..at + 4] != [0; 4] {
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    };
    // 2 MiB of zeros deflate to 2 kB: a tile that says it is one of 16 by 16.
    let bomb = {
        let mut bytes = good.clone();
        for tag in [322, 323] {
            let at = entry(tag) + 8;
            bytes[at..at + 4].copy_from_slice(&16_u32.to_le_bytes());
        }
        bytes
    };
    let loops = {
        // A directory whose next directory is itself, and no image in it.
        tiff(&[(254, 4, 1, 1)], 8, &[])
    };
    let vrt = b"<VRTDataset rasterXSize=\"1\" rasterYSize=\"1\"><VRTRasterBand><SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>";
    let jp2_named_tif = {
        let form = Form::Cdse;
        let _ = world.items(form);
        let bytes = fs::read(world.file(0, &world.tiles[0], form, "B04")).unwrap();
        // Over the other tile's ground: it opens, and does not fit the other bands.
        bytes
    };
    for (what, bytes, words) in [
        (
            "truncated TIFF",
            good[..good.len() / 2].to_vec(),
            &["B04.tif"][..],
        ),
        ("truncated in the header", good[..64].to_vec(), &["B04.tif"]),
        ("empty file", Vec::new(), &["B04.tif"]),
        ("IFD loop", loops, &["B04.tif"]),
        (
            "IFD outside the file",
            patched(4, u32::MAX - 16),
            &["B04.tif"],
        ),
        (
            "tile offsets outside the file",
            all_tiles(324, u32::MAX - 4096),
            &["B04.tif"],
        ),
        (
            "tiles longer than the file",
            all_tiles(325, u32::MAX / 2),
            &["B04.tif"],
        ),
        (
            "huge dimensions",
            patched(entry(256) + 8, u32::MAX - 1),
            &["B04.tif"],
        ),
        ("deflate bomb", bomb, &["B04.tif"]),
        ("a VRT named .tif", vrt.to_vec(), &["web page"]),
        (
            "half a JPEG 2000 named .tif",
            jp2_named_tif[..jp2_named_tif.len() / 2].to_vec(),
            &["B04.tif"],
        ),
    ] {
        stays(&case, &whole, what, Fault::Other(bytes), words);
    }
}

#[test]
fn a_jpeg_2000_named_tif_is_read_as_what_it_is() {
    let (case, whole) = prepared();
    let world = World::small(N_LOOKS);
    let _ = world.items(Form::Cdse);
    let bytes = fs::read(world.file(0, &world.tiles[1], Form::Cdse, "B04")).unwrap();
    case.live
        .server
        .fault(VICTIM, u64::MAX, Fault::Other(bytes));
    let _ = case.run("fetch", &[]).expect(0);
    // The same ground, with the offset still in the numbers; so the bytes are others and the raster is the same size.
    let files = case.mirrored();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        whole.keys().collect::<Vec<_>>()
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let (case, whole) = prepared();
    let text = fs::read_to_string(&case.sources).unwrap();
    let url = case.live.server.url();
    for (what, address, words) in [
        (
            "DNS failure",
            "http://no-such-host.invalid",
            "no-such-host.invalid",
        ),
        ("no server", "http://127.0.0.1:9", "127.0.0.1:9"),
        // A server that does not speak TLS.
        ("TLS error", &url.replace("http://", "https://"), "https://"),
    ] {
        fs::write(&case.sources, text.replace(&url, address)).unwrap();
        let finished = case.run("fetch", &[]).expect(5);
        assert!(
            finished.stderr.contains(words),
            "{what}: {}",
            finished.stderr
        );
        fs::write(&case.sources, &text).unwrap();
        let _ = case.run("fetch", &[]).expect(0);
        assert_whole(&case, &whole, what);
        // With a mirror in place a search that fails leaves it as it is, and says so.
        fs::write(&case.sources, text.replace(&url, address)).unwrap();
        let finished = case.run("fetch", &[]).expect(4);
        assert!(
            finished.stderr.contains("used as it is"),
            "{what}: {}",
            finished.stderr
        );
        assert_whole(&case, &whole, what);
        fs::write(&case.sources, &text).unwrap();
        fs::remove_dir_all(case.mirror()).unwrap();
    }
}

#[test]
fn items_that_are_too_much_or_in_a_circle_are_told() {
    let (case, whole) = prepared();
    let catalog = &case.live.catalogs["earth-search"];
    let victim = VICTIM.split_once('/').unwrap().0;
    let mut kept = Vec::new();
    catalog.edit(|items| {
        kept.clone_from(items);
        let item = items.iter_mut().find(|item| item["id"] == victim).unwrap();
        for index in 0..10_000 {
            item["assets"][format!("more-{index}")] = serde_json::json!({"href": "BASE/more.tif"});
        }
    });
    let finished = case.run("fetch", &[]);
    let assets = "10007 assets; 1000 are read";
    let record = record(&case);
    let is_told = finished.stderr.contains(assets) || record[victim].1.contains(assets);
    assert!(is_told, "{} {record:?}", finished.stderr);
    catalog.edit(|items| *items = kept);
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(&case, &whole, "an item with 10,000 assets");
}

#[test]
fn a_catalog_that_goes_in_a_circle_ends() {
    let world = World::small(2);
    let items = world.items(Form::EarthSearch);
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: &Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    let link = |rel: &str, href: &str| serde_json::json!({"rel": rel, "href": href});
    write(
        "catalog.json",
        &serde_json::json!({
            "type": "Catalog", "stac_version": "1.0.0", "id": "a", "description": "A circle.",
            "links": [link("root", "./catalog.json"), link("child", "./b.json"), link("child", "./catalog.json")],
        }),
    );
    write(
        "b.json",
        &serde_json::json!({
            "type": "Catalog", "stac_version": "1.0.0", "id": "b", "description": "The other half of it.",
            "links": [link("child", "./catalog.json"), link("child", "./b.json"), link("item", "./item.json")],
        }),
    );
    let case = Case::new(&[&world], &[Form::EarthSearch], MODEL);
    let base = case.live.server.url();
    let item: Value =
        serde_json::from_str(&items[1].to_string().replace("BASE/", &format!("{base}/"))).unwrap();
    write("item.json", &item);
    let catalogs = Server::folder(folder.path());
    fs::write(
        &case.sources,
        format!(
            "[[source]]\nname = \"earth-search\"\nkind = \"static\"\nurl = \"{}/catalog.json\"\nhosts = [\"{}\"]\nallow_http = true\nallow_private = true\n",
            catalogs.url(),
            case.live.server.host()
        ),
    )
    .unwrap();
    let _ = case.run("fetch", &[]).expect(0);
    let id = items[1]["id"].as_str().unwrap();
    assert!(case.mirror().join("small").join(id).exists());
    assert!(catalogs.counts().n_requests <= 6, "{:?}", catalogs.log());
}

#[test]
fn a_damaged_file_of_the_mirror_is_fetched_again() {
    let (case, whole) = prepared();
    let _ = case.run("fetch", &[]).expect(0);
    let path = case
        .mirror()
        .join("small")
        .join(VICTIM.replace("B04", "red"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verify = pitwatch_tests::pitwatch(&[&"mirror", &"verify", &case.mirror()]);
    assert_eq!(verify.code, Some(6), "{} {}", verify.stdout, verify.stderr);
    assert!((verify.stdout + &verify.stderr).contains("red.tif"));
    // Without a network the damage is told and the scene not read.
    let out = case.folder().join("out");
    let _ = case.run("run", &["--offline", "--out", out.to_str().unwrap()]);
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stderr.contains("fetched again"),
        "{}",
        finished.stderr
    );
    assert_whole(&case, &whole, "a damaged file");
}

#[test]
fn a_full_disk_and_a_limit_end_with_what_was_complete() {
    let (case, whole) = prepared();
    let size: u64 = whole.values().map(|bytes| bytes.len() as u64).sum();
    let limit = format!("{}", size / 2);
    let finished = case.run("fetch", &["--disk-limit", &limit]).expect(4);
    assert!(
        finished.stderr.contains("limit of the disk"),
        "{}",
        finished.stderr
    );
    let held: usize = case.mirrored().values().map(Vec::len).sum();
    assert!(held as u64 <= size * 6 / 10, "{held} of {limit} bytes");
    let record = record(&case);
    assert!(record.values().any(|(outcome, _)| outcome == "mirrored"));
    assert!(
        record
            .values()
            .any(|(outcome, reason)| outcome == "failed" && reason.contains("limit of the disk"))
    );
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(&case, &whole, "a limit of the disk");
}

/// A file system of so many bytes at a folder, or why there is none.
fn small_disk(folder: &Path, n_bytes: usize) -> Result<(), String> {
    fs::create_dir_all(folder).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={n_bytes}"), "tmpfs"])
        .arg(folder)
        .output()
        .map_err(|error| error.to_string())?;
    if mounted.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
    }
}

#[test]
fn a_disk_that_is_full_is_said_to_be() {
    let (case, whole) = prepared();
    let size: usize = whole.values().map(Vec::len).sum();
    if small_disk(&case.mirror(), size / 2) != Ok(()) {
        // Where no disk can be mounted, a limit of the process stands for it: writing fails beyond it.
        let _ = fs::remove_dir_all(case.mirror());
        let mut command = std::process::Command::new("bash");
        let inner = case.command("fetch", &[]);
        let line: Vec<String> = std::iter::once(inner.get_program())
            .chain(inner.get_args())
            .map(|part| format!("'{}'", part.to_string_lossy()))
            .collect();
        command.arg("-c").arg(format!(
            "trap '' XFSZ; ulimit -f 4; exec {}",
            line.join(" ")
        ));
        command
            .env("PITWATCH_RETRY_MS", "2")
            .current_dir(pitwatch_tests::root());
        let finished: Finished = command.output().unwrap().into();
        assert_ne!(finished.code, Some(0));
        assert!(
            finished.stderr.contains("cannot write"),
            "{}",
            finished.stderr
        );
        let _ = case.run("fetch", &[]).expect(0);
        assert_whole(&case, &whole, "a full disk");
        return;
    }
    let finished = case.run("fetch", &[]);
    let held = case.mirrored();
    let unmounted = std::process::Command::new("umount")
        .arg(case.mirror())
        .status()
        .unwrap();
    assert!(unmounted.success());
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("cannot"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("No space left"),
        "{}",
        finished.stderr
    );
    for (name, bytes) in &held {
        let is_whole = whole.get(name).is_some_and(|whole| whole == bytes);
        assert!(
            is_whole || name.contains(".part") || !name.ends_with("item.json"),
            "{name}"
        );
    }
    let _ = case.run("fetch", &[]).expect(0);
    assert_whole(&case, &whole, "a full disk");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (case, _) = prepared();
    // A file where the folder is to be: not even root can write below it.
    fs::write(case.mirror(), "in the way").unwrap();
    let finished = case.run("fetch", &[]);
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    assert!(
        finished.stderr.contains(&*case.mirror().to_string_lossy()),
        "{}",
        finished.stderr
    );
    fs::remove_file(case.mirror()).unwrap();
    // A file system that is mounted to be read only, where one can be mounted.
    if small_disk(&case.mirror(), 1 << 20) != Ok(()) {
        return;
    }
    let remounted = std::process::Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(case.mirror())
        .status()
        .unwrap();
    let finished = case.run("fetch", &[]);
    let unmounted = std::process::Command::new("umount")
        .arg(case.mirror())
        .status()
        .unwrap();
    assert!(remounted.success() && unmounted.success());
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    assert!(
        finished.stderr.contains(&*case.mirror().to_string_lossy())
            && finished.stderr.contains("Read-only"),
        "{}",
        finished.stderr
    );
}

#[test]
fn two_runs_on_one_mirror_do_not_meet() {
    let (case, whole) = prepared();
    case.live.server.set_latency(Duration::from_millis(300));
    let mut first = case.command("fetch", &[]).spawn().unwrap();
    let lock = case.mirror().join("small/.lock");
    let start = Instant::now();
    while !lock.exists() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = case.run("fetch", &[]).expect(75);
    assert!(second.stderr.contains("small"), "{}", second.stderr);
    assert!(first.wait().unwrap().success());
    assert_whole(&case, &whole, "two runs");
}

#[test]
fn names_from_strangers_stay_in_their_folder_and_can_be_read_again() {
    let world = World::small(N_LOOKS);
    let case = Case::new(&[&world], &[Form::EarthSearch], MODEL);
    case.edit(
        "history_from = \"2021-11-01\"",
        "history_from = \"2024-01-03\"",
    );
    case.edit(
        "monitor_from = \"2024-11-01\"",
        "monitor_from = \"2024-01-10\"",
    );
    let names = [
        "../../../outside",
        "/etc/outside",
        "a b%2e%2e/ü?x=1#y",
        "..",
        "CON.",
        "x".repeat(400).as_str(),
    ]
    .map(str::to_owned);
    case.live.catalogs["earth-search"].edit(|items| {
        assert_eq!(items.len(), names.len());
        for (item, name) in items.iter_mut().zip(&names) {
            item["id"] = name.as_str().into();
        }
    });
    let _ = case.run("fetch", &[]).expect(0);
    let files = case.mirrored();
    assert_eq!(files.len(), 2 * N_LOOKS * 8 + 2, "{:?}", files.keys());
    assert!(files.keys().all(|name| name.starts_with("small/")));
    let around: Vec<_> = fs::read_dir(case.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !around.iter().any(|name| name.contains("outside")),
        "{around:?}"
    );
    // Each is found again: nothing is fetched twice, and a run reads them all.
    let finished = case.run("fetch", &[]).expect(0);
    assert!(
        finished.stdout.contains("0 fetched, 6 were there"),
        "{}",
        finished.stdout
    );
    let found = pitwatch_tests::pitwatch(&[
        &"plan",
        &case.pipeline,
        &"--offline",
        &"--mirror",
        &case.mirror(),
        &"--json",
    ])
    .expect(0);
    let plan: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(plan[0]["n_scenes"], 6, "{plan:#}");
}
