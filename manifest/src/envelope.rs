//! The envelope around an encoded [`Manifest`]: magic, version, length and checksum.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic, [`MAGIC`] |
//! | 8 | 4 | version, little endian, [`VERSION`] |
//! | 12 | 4 | length of the body in bytes, little endian |
//! | 16 | 4 | CRC-32 (IEEE 802.3) of the body, little endian |
//! | 20 | .. | the body: the manifest in CBOR (RFC 8949), fields as an array by index |
//!
//! Fields may be added at the end of a structure without a new version, if they have a default: a decoder skips what it
//! does not know and takes the default for what is absent. The version rises when an old kernel would run something wrong if it went on.

use alloc::vec::Vec;
use core::fmt;

use crate::{Manifest, body};

/// The first eight bytes of every encoded manifest.
pub const MAGIC: [u8; 8] = *b"ISOPODMF";

/// The version this crate writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// The largest body, in bytes. Linux limits the arguments and environment of a program to less (`execve(2)`: a quarter of the
/// stack's limit, 2 MiB by default).
pub const MAX_SIZE: usize = 4 << 20;

const HEADER: usize = 20;

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes do not start with [`MAGIC`].
    NotAManifest,
    /// The manifest was written by a newer Isopod. The field is its version.
    TooNew(u32),
    /// The header names a version that never existed.
    BadVersion(u32),
    /// The bytes end before the body does.
    Truncated {
        /// How many bytes the header promises, header included.
        need: usize,
        /// How many there are.
        have: usize,
    },
    /// The body is larger than [`MAX_SIZE`]. The field is its size.
    TooLarge(usize),
    /// The body's checksum is not the one in the header.
    Checksum,
    /// The body is not the CBOR structure that the version promises. The field is the offset in the body.
    Malformed(usize),
    /// A field has a value that cannot be run. The field says which.
    Invalid(&'static str),
    /// There is no memory for what the manifest has.
    NoMemory,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAManifest => f.write_str("not an Isopod manifest"),
            Self::TooNew(version) => write!(
                f,
                "the image's manifest has version {version}, but this kernel reads versions up to {VERSION}: \
                 use the kernel of the Isopod that built the image, or a newer one"
            ),
            Self::BadVersion(version) => write!(f, "the manifest has the impossible version {version}"),
            Self::Truncated { need, have } => {
                write!(f, "the manifest is cut short: {need} bytes promised, {have} there")
            }
            Self::TooLarge(size) => {
                write!(f, "the manifest is too large: {size} bytes, {MAX_SIZE} at the most")
            }
            Self::Checksum => f.write_str("the manifest is damaged: its checksum does not match"),
            Self::Malformed(offset) => write!(f, "the manifest is malformed at byte {offset} of its body"),
            Self::Invalid(field) => {
                write!(f, "the manifest's field `{field}` has a value that cannot be run")
            }
            Self::NoMemory => f.write_str("there is no memory for the command and its environment"),
        }
    }
}

impl core::error::Error for DecodeError {}

impl Manifest {
    /// Encodes the manifest with its envelope. The same manifest always gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        Self::enclose(&minicbor::to_vec(self).expect("encoding into memory has no way to fail"))
    }

    /// Puts an encoded body into its envelope.
    pub fn enclose(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32(body).to_le_bytes());
        out.extend_from_slice(body);
        out
    }

    /// Decodes a manifest from the start of `bytes`; what follows it (padding of a disk block, say) is ignored.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] that says what is wrong, and, for a manifest from a newer Isopod, what to do.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(DecodeError::NotAManifest);
        };
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC {
            return Err(DecodeError::NotAManifest);
        }
        match word(8) {
            0 => return Err(DecodeError::BadVersion(0)),
            VERSION => {}
            newer => return Err(DecodeError::TooNew(newer)),
        }
        let length = word(12) as usize;
        if length > MAX_SIZE {
            return Err(DecodeError::TooLarge(length));
        }
        let Some(body) = rest.get(..length) else {
            return Err(DecodeError::Truncated { need: HEADER + length, have: bytes.len() });
        };
        if crc32(body) != word(16) {
            return Err(DecodeError::Checksum);
        }
        let manifest = body::decode(body)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// How many bytes the manifest at the start of `header` takes, envelope included, or `None` when it is no manifest.
    /// A reader that has only a disk's first block uses it to learn how much to read.
    pub fn encoded_size(header: &[u8]) -> Option<usize> {
        let header = header.first_chunk::<HEADER>()?;
        let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        (header[..8] == MAGIC && length <= MAX_SIZE).then_some(HEADER + length)
    }
}

/// CRC-32 as in IEEE 802.3 and zlib: reflected, polynomial 0xEDB88320. Bitwise: a manifest is small and read once.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn sample() -> Manifest {
        Manifest {
            args: vec![b"/bin/sh".to_vec(), b"-c".to_vec(), b"echo \xff".to_vec()],
            env: vec![b"PATH=/bin".to_vec()],
            ..Manifest::default()
        }
    }

    #[test]
    fn crc_is_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn round_trips_and_ignores_padding() {
        let mut bytes = sample().encode();
        assert_eq!(Manifest::encoded_size(&bytes), Some(bytes.len()));
        bytes.resize(4096, 0);
        assert_eq!(Manifest::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn refuses_a_newer_version_and_says_what_to_do() {
        let mut bytes = sample().encode();
        bytes[8] = 2;
        let error = Manifest::decode(&bytes).unwrap_err();
        assert_eq!(error, DecodeError::TooNew(2));
        assert!(alloc::format!("{error}").contains("or a newer one"));
    }

    #[test]
    fn names_each_kind_of_damage() {
        let good = sample().encode();
        assert_eq!(Manifest::decode(&good[..10]), Err(DecodeError::NotAManifest));
        assert!(matches!(Manifest::decode(&good[..good.len() - 1]), Err(DecodeError::Truncated { .. })));
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(Manifest::decode(&flipped), Err(DecodeError::Checksum));
        let mut huge = good;
        huge[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Manifest::decode(&huge), Err(DecodeError::TooLarge(u32::MAX as usize)));
    }

    #[test]
    fn refuses_an_empty_command() {
        let empty = Manifest { args: vec![], ..sample() };
        assert_eq!(Manifest::decode(&empty.encode()), Err(DecodeError::Invalid("args")));
    }

    /// A manifest whose body `fill` writes.
    fn enveloped(fill: impl FnOnce(&mut minicbor::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let mut body = Vec::new();
        fill(&mut minicbor::Encoder::new(&mut body));
        Manifest::enclose(&body)
    }

    /// The first `count` fields of a manifest, as an older Isopod would have written them.
    fn first_fields(count: u64) -> Vec<u8> {
        enveloped(|e| {
            e.array(count).unwrap();
            e.array(1).unwrap().bytes(b"/bin/true").unwrap();
            e.array(0).unwrap().bytes(b"/").unwrap();
            e.array(1).unwrap().u32(7).unwrap();
            e.u8(15).unwrap().str("isopod").unwrap();
        })
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let user = crate::User { uid: 7, gid: 0, groups: Vec::new() };
        let expected = Manifest { args: vec![b"/bin/true".to_vec()], user, ..Manifest::default() };
        assert_eq!(Manifest::decode(&first_fields(6)), Ok(expected));
    }

    #[test]
    fn what_every_manifest_has_must_be_there() {
        let without_host_name = enveloped(|e| {
            e.array(1).unwrap().array(1).unwrap().bytes(b"/bin/true").unwrap();
        });
        assert!(matches!(Manifest::decode(&without_host_name), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn fields_of_a_newer_isopod_are_skipped() {
        let mut body = minicbor::to_vec(sample()).unwrap();
        // An array of so many becomes one of two more: below 24 the count is in the first byte (RFC 8949, section 3).
        assert!((0x80..0x80 + 22).contains(&body[0]));
        body[0] += 2;
        minicbor::Encoder::new(&mut body).str("new").unwrap().array(1).unwrap().u8(1).unwrap();
        let bytes = enveloped(|e| e.writer_mut().extend_from_slice(&body));
        assert_eq!(Manifest::decode(&bytes), Ok(sample()));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Manifest::decode(&bytes);
        }

        #[test]
        fn never_panics_behind_a_valid_envelope(body: Vec<u8>) {
            let _ = Manifest::decode(&Manifest::enclose(&body));
        }
    }
}
