//! The control channel: [`isopod_fuzz::channel`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::channel::run(data);
});
