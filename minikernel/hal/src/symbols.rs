//! The kernel's symbol table, as the builder links it: which function an address belongs to.
//!
//! Layout, little endian: `u32` count; `count` pairs of `u32` (offset of the function from the start of the kernel's
//! half, offset of its name in the names), sorted by the first; the names, each ended by a zero.

/// A symbol table. Damaged ones give wrong names or none, never more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbols<'a> {
    pairs: &'a [[u8; 8]],
    names: &'a [u8],
}

impl<'a> Symbols<'a> {
    /// The table in `blob`.
    pub(crate) fn parse(blob: &'a [u8]) -> Option<Self> {
        let (count, rest) = blob.split_first_chunk::<4>()?;
        let pairs = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?;
        let (pairs, names) = rest.split_at_checked(pairs)?;
        Some(Self { pairs: pairs.as_chunks().0, names })
    }

    /// Name of the function that contains the byte at `offset`, and how far into it the byte lies.
    pub(crate) fn lookup(&self, offset: u32) -> Option<(&'a str, u32)> {
        let after = self.pairs.partition_point(|pair| half(*pair, 0) <= offset);
        let pair = *self.pairs.get(after.checked_sub(1)?)?;
        let name = self.names.get(half(pair, 4) as usize..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some((core::str::from_utf8(&name[..end]).ok()?, offset - half(pair, 0)))
    }
}

fn half(pair: [u8; 8], at: usize) -> u32 {
    u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn blob(functions: &[(u32, &str)]) -> Vec<u8> {
        let mut bytes = (functions.len() as u32).to_le_bytes().to_vec();
        let mut names = Vec::new();
        for (offset, name) in functions {
            bytes.extend(offset.to_le_bytes());
            bytes.extend((names.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        bytes.extend(names);
        bytes
    }

    #[test]
    fn the_function_before_an_address_is_named() {
        let blob = blob(&[(0x100, "first"), (0x180, "second"), (0x200, "")]);
        let symbols = Symbols::parse(&blob).unwrap();
        assert_eq!(symbols.lookup(0xff), None);
        assert_eq!(symbols.lookup(0x100), Some(("first", 0)));
        assert_eq!(symbols.lookup(0x1ff), Some(("second", 0x7f)));
        assert_eq!(symbols.lookup(u32::MAX), Some(("", u32::MAX - 0x200)));
    }

    proptest! {
        #[test]
        fn any_blob_is_survived(blob in prop::collection::vec(any::<u8>(), 0..200), at in any::<u32>()) {
            if let Some(symbols) = Symbols::parse(&blob) {
                let _ = symbols.lookup(at);
            }
        }
    }
}
