//! A program, as the guest loads it: [`isopod_fuzz::program`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::program::run(data);
});
