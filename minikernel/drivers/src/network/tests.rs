//! What the tests of all cards have in common.

use alloc::vec::Vec;

use super::Payload;

/// Pieces that are lent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pieces(pub Vec<Vec<u8>>);

impl Payload for Pieces {
    fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn pieces(&self, each: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|piece| each(piece));
    }
}
