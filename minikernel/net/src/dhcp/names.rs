//! Names that a server gives. They end up in files that programs read, so none has any other sign than names have (RFC 1123, section 2.1).

use alloc::string::String;
use alloc::vec::Vec;

/// No name is longer (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;
/// So many are heeded.
const MOST: usize = 16;

fn is_sign(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A name as it is written, its last dot left out. `None` for what is none.
pub fn plain(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    let label = |label: &[u8]| (1..64).contains(&label.len()) && label.iter().all(|byte| is_sign(*byte));
    let good = bytes.len() <= LONGEST && bytes.split(|byte| *byte == b'.').all(label);
    good.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Names as messages of DNS have them, one after the other, each of which may end as one before it does (RFC 3397; RFC 1035, section 4.1.4).
pub fn list(bytes: &[u8]) -> Vec<String> {
    let (mut all, mut place) = (Vec::new(), 0);
    while place < bytes.len() && all.len() < MOST {
        let Some((name, next)) = name(bytes, place) else { break };
        all.extend(plain(&name));
        place = next;
    }
    all
}

/// The name at a place, with dots, and where the next begins.
fn name(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    const POINTER: u8 = 0xc0;
    let (mut name, mut place, mut end) = (Vec::new(), start, None);
    // A pointer leads to what was before.
    let mut before = start;
    loop {
        let length = *bytes.get(place)?;
        if length & POINTER == POINTER {
            let to = usize::from(length & !POINTER) << 8 | usize::from(*bytes.get(place + 1)?);
            end = end.or(Some(place + 2));
            if to >= before {
                return None;
            }
            (before, place) = (to, to);
            continue;
        }
        place += 1;
        if length == 0 {
            return Some((name, end.unwrap_or(place)));
        }
        let label = bytes.get(place..place + usize::from(length))?;
        if name.len() + label.len() > LONGEST {
            return None;
        }
        name.extend_from_slice(label);
        name.push(b'.');
        place += label.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_has_the_signs_of_names() {
        assert_eq!(plain(b"example.org").as_deref(), Some("example.org"));
        assert_eq!(plain(b"example.org.").as_deref(), Some("example.org"));
        assert_eq!(plain(b"host\0").as_deref(), Some("host"));
        for bad in [
            &b""[..],
            b".",
            b"a..b",
            b"a b",
            b"a\nnameserver 6.6.6.6",
            b"\xff",
            &[b'a'; 64],
            &b"a.".repeat(200),
        ] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rfc_3397_the_example_of_the_rfc() {
        let bytes = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(list(bytes), ["eng.apple.com", "marketing.apple.com"]);
        assert!(
            list(b"\xc0\x00").is_empty() && list(b"\x01a\xc0\x00").is_empty() && list(b"\x09a").is_empty()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4u8, Just(0xc0u8)], 0..100)) {
            prop_assert!(list(&bytes).len() <= MOST);
        }
    }
}
