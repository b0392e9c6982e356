//! Tables of firmware: [`isopod_fuzz::acpi`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isopod_fuzz::acpi::run(data);
});
