//! A root from a disk: [`isopod_fuzz::erofs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::erofs::run(data);
});
