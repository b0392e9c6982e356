//! The manifest and the control channel, as host and guest read them from each other.
#![no_main]

use isopod_manifest::channel::Frame;
use isopod_manifest::Manifest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::decode(data) {
        // What can be read can be written, and read again.
        assert!(Manifest::decode(&manifest.encode()).is_ok());
    }
    let mut rest = data;
    while let Ok(Some((_, after))) = Frame::parse(rest) {
        rest = after;
    }
});
