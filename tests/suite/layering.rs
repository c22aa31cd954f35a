//! The line of the crates: which depends on which, and which touches nothing but memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use pitwatch_tests::{path, root};
use serde_json::Value;

/// The line, left to right.
const LINE: [&str; 8] = [
    "grid", "scenes", "imagery", "change", "sites", "capacity", "report", "pitwatch",
];
/// Those that do no I/O.
const PURE: [&str; 5] = ["grid", "change", "sites", "capacity", "report"];
/// Crates that wait, call or open.
const FORBIDDEN: [&str; 12] = [
    "tokio",
    "async-std",
    "smol",
    "futures",
    "hyper",
    "reqwest",
    "ureq",
    "curl",
    "object_store",
    "gdal",
    "gdal-sys",
    "tempfile",
];

/// Names of the packages that each package depends on, tests and build scripts apart.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    // Packages of other platforms are not on this machine.
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
        ])
        .arg(host.unwrap())
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            (
                package["id"].as_str().unwrap(),
                package["name"].as_str().unwrap(),
            )
        })
        .collect();
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let normal = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                kinds.iter().any(|kind| kind["kind"].is_null())
            });
        let normal = normal.map(|dependency| names[dependency["pkg"].as_str().unwrap()].to_owned());
        let name = names[node["id"].as_str().unwrap()].to_owned();
        dependencies.entry(name).or_default().extend(normal);
    }
    dependencies
}

fn package(name: &str) -> String {
    if name == "pitwatch" {
        name.to_owned()
    } else {
        format!("pitwatch-{name}")
    }
}

#[test]
fn no_crate_depends_on_one_to_its_right() {
    let dependencies = dependencies();
    for (place, name) in LINE.iter().enumerate() {
        for right in &LINE[place..] {
            assert!(
                !dependencies[&package(name)].contains(&package(right)),
                "{name} depends on {right}"
            );
        }
    }
    let n_crates = fs::read_dir(path("crates")).unwrap().count();
    assert_eq!(
        n_crates,
        LINE.len(),
        "a new crate needs its place in the line"
    );
}

#[test]
fn the_pure_crates_have_no_runtime_and_no_client_in_their_dependencies() {
    let dependencies = dependencies();
    for name in PURE {
        let mut reached = BTreeSet::from([package(name)]);
        let mut waiting = vec![package(name)];
        while let Some(next) = waiting.pop() {
            for dependency in &dependencies[&next] {
                if reached.insert(dependency.clone()) {
                    waiting.push(dependency.clone());
                }
            }
        }
        for forbidden in FORBIDDEN {
            assert!(!reached.contains(forbidden), "{name} reaches {forbidden}");
        }
    }
}

#[test]
fn the_pure_crates_open_no_file_and_read_no_clock() {
    for name in PURE {
        for entry in fs::read_dir(path(&format!("crates/{name}/src"))).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let code: String = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            for forbidden in [
                "std::fs",
                "fs::",
                "File::",
                "std::net",
                "std::env",
                "SystemTime",
                "Instant",
                "Utc::now",
            ] {
                assert!(
                    !code.contains(forbidden),
                    "{} uses {forbidden}",
                    path.display()
                );
            }
        }
    }
}
