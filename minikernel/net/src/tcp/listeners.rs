//! Which listener a SYN is for: the most specific address, and one of several that share a port with `SO_REUSEPORT`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::OutOfMemory;
use isopod_hal::sync::RwSpinLock;

use super::Flow;
use super::listen::Listener;

const SHARDS: usize = 32;

/// All listeners, by port.
#[derive(Debug)]
pub(super) struct Listeners {
    shards: [RwSpinLock<Vec<Arc<Listener>>>; SHARDS],
}

impl Listeners {
    pub const fn new() -> Self {
        Self { shards: [const { RwSpinLock::new(Vec::new()) }; SHARDS] }
    }

    fn shard(&self, port: u16) -> &RwSpinLock<Vec<Arc<Listener>>> {
        &self.shards[usize::from(port) % SHARDS]
    }

    pub fn add(&self, listener: Arc<Listener>) -> Result<(), OutOfMemory> {
        let mut listeners = self.shard(listener.port()).write();
        listeners.try_reserve(1).map_err(|_| OutOfMemory)?;
        listeners.push(listener);
        Ok(())
    }

    pub fn remove(&self, listener: &Listener) {
        self.shard(listener.port()).write().retain(|other| !core::ptr::eq(&raw const **other, listener));
    }

    /// The listener for a flow that comes by an interface, which is asked for only if that matters. Of several that fit equally the flow's
    /// hash chooses, so that each of a peer's connections has its place.
    pub fn find(&self, flow: &Flow, hash: u32, interface: &dyn Fn() -> u32) -> Option<Arc<Listener>> {
        let listeners = self.shard(flow.local.port).read();
        let fits = |listener: &Listener| {
            let score =
                listener.scope.fits(flow.local.address).filter(|_| listener.port() == flow.local.port);
            score.and_then(|score| Some((score, listener.interface_fits(interface)?)))
        };
        let best = listeners.iter().filter_map(|listener| fits(listener)).max()?;
        let count = listeners.iter().filter(|listener| fits(listener) == Some(best)).count();
        let chosen = ((u64::from(hash) * count as u64) >> 32) as usize;
        listeners.iter().filter(|listener| fits(listener) == Some(best)).nth(chosen).cloned()
    }
}
