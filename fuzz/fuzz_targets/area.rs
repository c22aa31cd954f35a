#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pitwatch_grid::fuzz::area(bytes);
});
