//! Cards that were found, and are started when somebody uses them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use super::{Card, Payload, e1000};
use crate::Refusal;
use crate::acpi::{Line, Platform};
use crate::pci::Function;
use crate::virtio::Transport;
use crate::virtio::net::VirtioNet;

/// Where a card is.
pub struct Slot(Found);

enum Found {
    Virtio(Box<dyn Transport>),
    /// A function, and how its interrupt arrives where it has a pin.
    Function(Function, Option<Line>),
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Found::Virtio(_) => f.write_str("Slot(virtio)"),
            Found::Function(function, _) => write!(f, "Slot({function:?})"),
        }
    }
}

impl Slot {
    /// A virtio card.
    pub(crate) fn virtio(transport: Box<dyn Transport>) -> Self {
        Self(Found::Virtio(transport))
    }

    /// The function, if it is a card that there is a driver for.
    pub(crate) fn function(function: Function, platform: &Platform) -> Result<Self, Function> {
        if !e1000::drives(&function) {
            return Err(function);
        }
        let line = function.interrupt_line().map(|isa| platform.isa_line(isa));
        Ok(Self(Found::Function(function, line)))
    }

    /// Starts the card, in a machine with so many processors, ready to receive. `address` is for a card without.
    pub fn start<P: Payload>(self, cpus: usize, address: [u8; 6]) -> Result<Arc<dyn Card<P>>, Refusal> {
        Ok(match self.0 {
            Found::Virtio(transport) => VirtioNet::start(transport, cpus, address)?,
            Found::Function(function, line) => e1000::E1000::start(&function, line, address)?,
        })
    }
}
