//! The manifest: [`isopod_fuzz::manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::manifest::run(data);
});
