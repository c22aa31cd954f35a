//! What detection finds of pits that are drawn into copies of a mirror's looks, and how a run states it.

use std::fs;
use std::path::{Path, PathBuf};

use pitwatch_capacity::{Hectares, OmittedShare, PitFactors, carats_from_pits};
use pitwatch_tests::{Mirror, Spec, clouded, day, only_run, pitwatch};
use serde_json::Value;

/// Savanna without a pit of its own.
fn untouched() -> Mirror {
    Mirror::new(Spec {
        pits: Vec::new(),
        ..Spec::default()
    })
}

/// Measures with so many pits and a file as the output, and returns the file's text.
fn measure(pipeline: &Path, name: &str, n_pits: usize, flags: &[&str]) -> String {
    let out = pipeline.with_file_name(name);
    let n_pits = n_pits.to_string();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"skill", &pipeline, &"--pits", &n_pits, &"--out", &out];
    for flag in flags {
        arguments.push(flag);
    }
    let _ = pitwatch(&arguments).expect(0);
    fs::read_to_string(out).unwrap()
}

fn area(text: &str) -> Value {
    let file: Value = serde_json::from_str(text).unwrap();
    file["areas"][0].clone()
}

/// Shares found by size, at a tier.
fn shares(area: &Value, tier: &str) -> Vec<f64> {
    let by_size = area[tier]["by_size"].as_array().unwrap();
    by_size
        .iter()
        .map(|rate| rate["p"].as_f64().unwrap())
        .collect()
}

/// The pipeline file with its first text replaced, under another name.
fn changed(pipeline: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(pipeline).unwrap();
    assert!(text.contains(from), "{from}");
    let path = pipeline.with_file_name(name);
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path
}

#[test]
fn large_pits_are_found_and_small_ones_are_not() {
    let mirror = untouched();
    let area = area(&measure(&mirror.pipeline(&[]), "skill.json", 120, &[]));
    assert_eq!(area["area_id"], "savanna");
    assert_eq!(area["n_pits"], 120);
    assert_eq!(area["n_assessed"], 120);
    assert_eq!(area["pits"].as_array().unwrap().len(), 120);
    for tier in ["provisional", "confirmed"] {
        let shares = shares(&area, tier);
        assert!(shares[0] < 0.5, "{tier}: {shares:?}");
        assert!(shares[5] > 0.9, "{tier}: {shares:?}");
        // About 20 pits a class: neighbours may fall by chance, not by 0.3.
        assert!(
            shares.windows(2).all(|pair| pair[1] > pair[0] - 0.3),
            "{tier}: {shares:?}"
        );
        for rate in area[tier]["by_size"].as_array().unwrap() {
            let [lo, p, hi] = ["p_lo", "p", "p_hi"].map(|name| rate[name].as_f64().unwrap());
            assert!(0.0 <= lo && lo <= p && p <= hi && hi <= 1.0);
        }
        let min = &area[tier]["min_detectable"];
        assert_eq!(min["verdict"], "measured");
        let [lo, ha, hi] = ["ha_lo", "ha", "ha_hi"].map(|name| min[name].as_f64().unwrap());
        assert!(0.01 < lo && lo <= ha && ha <= hi && hi < 2.0, "{min}");
        let omitted = area[tier]["omitted_share"].as_array().unwrap();
        let share = |index: usize| omitted[index]["share"].as_f64().unwrap();
        // The more of the area is in small pits, the more is omitted.
        assert!(share(0) < share(1) && share(1) < 1.0, "{omitted:?}");
    }
    let found = |tier: &str| shares(&area, tier).iter().sum::<f64>();
    assert!(found("confirmed") <= found("provisional"));
    let sum = |name: &str| -> u64 {
        let rates = area["confirmed"][name].as_array().unwrap();
        rates.iter().map(|rate| rate["n"].as_u64().unwrap()).sum()
    };
    for table in ["by_size", "by_season", "by_size_and_season"] {
        assert_eq!(sum(table), 120, "{table}");
    }
    assert!(area["measured_on"]["opened_until"].as_str().unwrap() < "2022-06");
}

#[test]
fn a_seed_gives_the_same_bytes_on_one_thread_and_on_two() {
    let mirror = untouched();
    let pipeline = mirror.pipeline(&[]);
    let one = measure(&pipeline, "one.json", 24, &["--jobs", "1"]);
    let two = measure(&pipeline, "two.json", 24, &["--jobs", "2"]);
    assert_eq!(one, two);
    let other = measure(&pipeline, "other.json", 24, &["--seed", "2"]);
    assert_ne!(area(&one)["pits"], area(&other)["pits"]);
    let json = pitwatch(&[&"skill", &pipeline, &"--pits", &"24", &"--json"]).expect(0);
    assert_eq!(json.stdout, one);
}

#[test]
fn under_cloud_nothing_is_found_and_nothing_counts() {
    let mirror = untouched();
    for look in 0..mirror.spec.n_looks {
        if mirror.spec.day(look) >= day("2021-07-01") {
            clouded(&mirror, look);
        }
    }
    let area = area(&measure(&mirror.pipeline(&[]), "skill.json", 48, &[]));
    assert_eq!(area["n_not_observable"], area["n_pits"]);
    assert_eq!(area["n_assessed"], 0);
    for tier in ["provisional", "confirmed"] {
        for rate in area[tier]["by_size"].as_array().unwrap() {
            assert_eq!((&rate["n"], &rate["p"]), (&0.into(), &Value::Null));
        }
        assert_eq!(area[tier]["min_detectable"]["verdict"], "not measured");
    }
}

/// Three clear looks at the start make the ground observable; all pits open after them, under cloud.
#[test]
fn a_pit_that_cloud_hides_to_the_end_is_missed() {
    let mirror = untouched();
    for look in 0..mirror.spec.n_looks {
        if mirror.spec.day(look) >= day("2021-10-15") {
            clouded(&mirror, look);
        }
    }
    let area = area(&measure(&mirror.pipeline(&[]), "skill.json", 48, &[]));
    assert!(
        area["n_assessed"].as_u64() > Some(24),
        "{}",
        area["n_assessed"]
    );
    for pit in area["pits"].as_array().unwrap() {
        let is_hidden = pit["opened"].as_str().unwrap() > "2021-10-15";
        if is_hidden && pit["outcome"] != "not observable" {
            assert_eq!(pit["outcome"], "missed", "{pit}");
        }
    }
    assert_eq!(
        area["confirmed"]["min_detectable"]["verdict"],
        "not reached"
    );
}

#[test]
fn a_pit_that_is_there_already_speaks_neither_way() {
    let mirror = Mirror::savanna();
    let area = area(&measure(&mirror.pipeline(&[]), "skill.json", 48, &[]));
    assert!(area["n_alerted_before"].as_u64() > Some(0));
    let counts = ["n_not_observable", "n_alerted_before", "n_assessed"]
        .map(|name| area[name].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 48);
}

#[test]
fn a_bad_table_of_pits_names_file_line_and_remedy() {
    let mirror = untouched();
    let pipeline = mirror.pipeline(&[]);
    for (from, to, words) in [
        (
            "brightness = [0.6, 0.95]",
            "brightness = [0.95, 0.6]",
            &["brightness is out of range", "[least, greatest]"][..],
        ),
        (
            "gap_pixels = 6",
            "gap_pixels = 0",
            &["gap_pixels", "write pixels, 3 to 100"],
        ),
        (
            "roughness = 0.5",
            "rougness = 0.5",
            &["rougness", "roughness"],
        ),
        (
            "target_probability = 0.8",
            "target_probability = 1.0",
            &["above 0 and below 1"],
        ),
    ] {
        let bad = changed(&pipeline, "bad.toml", from, to);
        let line = fs::read_to_string(&bad)
            .unwrap()
            .lines()
            .position(|line| line.contains(to))
            .unwrap()
            + 1;
        let finished = pitwatch(&[&"skill", &bad])
            .expect(3)
            .says("bad.toml")
            .says(&format!("line {line}"));
        for word in words {
            assert!(
                finished.stderr.contains(word),
                "{word:?} is not in: {}",
                finished.stderr
            );
        }
        assert_eq!(finished.stdout, "");
    }
    let text = fs::read_to_string(&pipeline).unwrap();
    let (without, _) = text.split_once("[skill]").unwrap();
    let none = pipeline.with_file_name("none.toml");
    fs::write(&none, without).unwrap();
    let _ = pitwatch(&[&"skill", &none])
        .expect(3)
        .says("none.toml")
        .says("[skill]")
        .says("spectra = ");
    // A run does without it.
    let _ = pitwatch(&[&"run", &none, &"--out", &mirror.out()]).expect(0);
    let late = changed(
        &pipeline,
        "late.toml",
        "days_before_end = 120",
        "days_before_end = 9000",
    );
    let _ = pitwatch(&[&"skill", &late])
        .expect(3)
        .says("days_before_end")
        .says("write fewer days");
    let _ = pitwatch(&[&"skill", &pipeline, &"--memory-limit", &"1MiB"])
        .expect(3)
        .says("--memory-limit is too small");
}

#[test]
fn a_run_states_what_was_measured_and_only_of_the_same_numbers() {
    let mirror = Mirror::savanna();
    let plain = mirror.pipeline(&[]);
    let min_of = |pipeline: &Path, out: &str, words: &str| {
        let out = mirror.folder().join(out);
        let _ = pitwatch(&[&"run", &pipeline, &"--out", &out])
            .expect(0)
            .says(words);
        let run = only_run(&out);
        let manifest = run.manifest();
        let alert = run.alerts()[0]["min_detectable_ha"].as_f64().unwrap();
        (alert, manifest.detection_limits[0].clone(), manifest.run_id)
    };
    let (by_construction, limit, run_id) = min_of(&plain, "plain", "");
    assert_eq!((by_construction, limit.is_measured), (0.02, false));
    assert_eq!(limit.ground, "by construction, not measured");
    assert_eq!(limit.min_detectable_ha, Some(0.02));

    let text = fs::read_to_string(&plain).unwrap();
    let named = plain.with_file_name("named.toml");
    fs::write(&named, format!("skill_file = \"skill.json\"\n{text}")).unwrap();
    let (alert, limit, absent_id) = min_of(&named, "absent", "skill.json is not there");
    assert_eq!((alert, limit.is_measured), (0.02, false));

    let measured = area(&measure(&named, "skill.json", 60, &[]));
    let (alert, limit, measured_id) = min_of(&named, "measured", "");
    let min = &measured["confirmed"]["min_detectable"];
    assert_eq!(Some(alert), min["ha"].as_f64());
    assert!(
        limit.is_measured && limit.ground.starts_with("measured"),
        "{}",
        limit.ground
    );
    assert_eq!(limit.min_detectable_ha_hi, min["ha_hi"].as_f64());
    assert_eq!(limit.p_detect.len(), 6);
    // Carats rest on what is confirmed, with what is omitted added back.
    let [flat, _] = &limit.omitted_share[..] else {
        panic!("{:?}", limit.omitted_share);
    };
    let ends = [flat.share, flat.share_lo, flat.share_hi].map(Option::unwrap);
    let omitted = OmittedShare::new(ends[0], ends[1], ends[2]).unwrap();
    let factors = PitFactors {
        probability: 1.0,
        dug_share: 1.0,
        gravel_thickness_m: 1.0,
        extracted_share: 1.0,
        grade_ct_per_m3: 1.0,
        recovery: 1.0,
        diamond_share: 1.0,
        omitted_share: 0.0,
    };
    let carats = carats_from_pits(Hectares(1.0), &omitted.applied_to(factors)[0]).unwrap();
    assert!((carats.0 - 10_000.0 / (1.0 - ends[0])).abs() < 1e-6);
    let _ = pitwatch(&[&"validate", &named.with_file_name("skill.json")]).expect(0);
    // What a run says of the limit is part of its name.
    assert_ne!(run_id, absent_id);
    assert_ne!(absent_id, measured_id);

    let other = changed(
        &named,
        "other.toml",
        "confirm_days = 30 ",
        "confirm_days = 60 ",
    );
    let (alert, limit, _) = min_of(&other, "other", "other numbers in [change] or [sites]");
    assert_eq!((alert, limit.is_measured), (0.02, false));
    // Comments and the order of keys are no numbers.
    let same = changed(&named, "same.toml", "[sites]\n", "[sites] # the same\n");
    assert!(min_of(&same, "same", "").1.is_measured);

    fs::write(named.with_file_name("skill.json"), "{}").unwrap();
    let _ = pitwatch(&[&"validate", &named.with_file_name("skill.json")]).expect(3);
    let _ = pitwatch(&[&"run", &named, &"--out", &mirror.out()])
        .expect(3)
        .says("skill.json")
        .says("pitwatch skill");
}
