//! A layer: [`isopod_fuzz::tar`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::tar::run(data);
});
