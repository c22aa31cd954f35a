//! Areas whose scenes lie behind servers.

use pitwatch_tests::{Case, Form, World, table};

#[test]
fn a_small_area_is_fetched_and_its_passes_are_listed() {
    let world = World::small(8);
    let case = Case::new(
        &[&world],
        &[Form::EarthSearch],
        "pipelines/cote-divoire-north.toml",
    );
    let finished = case.run("fetch", &[]).expect(0);
    println!("{}", finished.stderr);
    let _ = table;
}

#[test]
fn acceptance() {
    let start = std::time::Instant::now();
    let world = World::tortiya();
    println!("{:?}", start.elapsed());
    let case = Case::new(
        &[&world],
        &[Form::EarthSearch],
        "pipelines/cote-divoire-north.toml",
    );
    let out = case.folder().join("out");
    let finished = case.run("run", &["--out", out.to_str().unwrap()]);
    println!(
        "{:?} {} {}",
        start.elapsed(),
        finished.stdout,
        finished.stderr
    );
}
