//! The groups that this machine has joined, on each interface (RFC 1112, RFC 4291 section 2.7).

use alloc::vec::Vec;

use isopod_hal::sync::SpinLock;

use crate::address::Address;
use crate::error::{Error, Result};

/// Groups and how many endpoints are in them.
#[derive(Debug, Default)]
pub struct Groups(SpinLock<Vec<((Address, u32), usize)>>);

impl Groups {
    /// None.
    pub const fn new() -> Self {
        Self(SpinLock::new(Vec::new()))
    }

    /// One more endpoint joins.
    pub fn join(&self, group: &Address, interface: u32) -> Result<()> {
        let mut groups = self.0.lock();
        let key = (*group, interface);
        if let Some((_, count)) = groups.iter_mut().find(|(known, _)| *known == key) {
            *count += 1;
            return Ok(());
        }
        groups.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
        groups.push((key, 1));
        Ok(())
    }

    /// An endpoint leaves.
    pub fn leave(&self, group: &Address, interface: u32) {
        let mut groups = self.0.lock();
        if let Some(place) = groups.iter().position(|(known, _)| *known == (*group, interface)) {
            groups[place].1 -= 1;
            if groups[place].1 == 0 {
                groups.swap_remove(place);
            }
        }
    }

    /// Whether anybody is in it.
    pub fn has(&self, group: &Address, interface: u32) -> bool {
        self.0.lock().iter().any(|(known, _)| *known == (*group, interface))
    }
}
