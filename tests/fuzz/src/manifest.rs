//! The manifest, as a guest reads it: whole, and a body in an envelope that is in order, or no change would get beyond the checksum.

use isopod_manifest::Manifest;

/// How many manifests were decoded.
pub fn run(data: &[u8]) -> usize {
    let _ = Manifest::encoded_size(data);
    let enclosed = Manifest::enclose(data);
    let decoded = [data, &enclosed].into_iter().filter_map(|bytes| Manifest::decode(bytes).ok());
    // What can be read can be written, and read again.
    decoded
        .inspect(|manifest| assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest)))
        .count()
}
