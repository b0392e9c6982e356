//! What the network finds out that whoever configures the machine wants to know.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::address::Address;
use crate::dhcp::Lease;
use crate::stack::Stack;

/// Events wait for whoever is to hear of them, as many as this.
const MOST: usize = 64;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A DHCP server has given or prolonged a lease; with `None` the one there was is over, and what came of it is to be undone.
    Lease {
        /// The interface.
        interface: u32,
        /// What was given.
        lease: Option<Box<Lease>>,
    },
    /// A router tells of name servers (RFC 8106).
    Resolvers {
        /// The interface that it is reached by.
        interface: u32,
        /// The servers.
        servers: Vec<Address>,
        /// Until when they are to be used, in nanoseconds of the monotonic clock.
        until: u64,
    },
    /// Another machine has an address, which this one has given up (RFC 4862, section 5.4.5).
    Duplicate {
        /// The interface that had it.
        interface: u32,
        /// The address.
        address: Address,
    },
}

impl Stack {
    /// Somebody is to hear of something. If nobody does for long, the oldest is forgotten.
    pub(crate) fn tell(&self, event: Event) {
        let mut events = self.events.lock();
        if events.len() >= MOST {
            events.pop_front();
        }
        if events.try_reserve(1).is_ok() {
            events.push_back(event);
        }
        drop(events);
        self.happened.wake_all();
    }

    /// The next event. [`happened`](Self::happened) is woken when there is one.
    pub fn next_event(&self) -> Option<Event> {
        self.events.lock().pop_front()
    }
}
