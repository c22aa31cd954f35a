#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pitwatch_scenes::fuzz::stac(bytes);
});
