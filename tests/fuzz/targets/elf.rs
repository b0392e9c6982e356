//! A program of an image, as the host inspects it: [`isopod_fuzz::elf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::elf::run(data);
});
