//! Frames from a link: [`isopod_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::frames::run(data);
});
