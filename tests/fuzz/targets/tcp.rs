//! Segments of a peer: [`isopod_fuzz::tcp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::tcp::run(data);
});
