//! A partition table: [`isopod_fuzz::gpt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::gpt::run(data);
});
