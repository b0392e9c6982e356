//! IDE controllers with bus mastering (ATA/ATAPI-6; Programming Interface for Bus Master IDE Controller 1.0): two channels of two disks, each of
//! which does one command at a time.

mod channel;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::channel::Channel;
use super::ata::{About, MOST_PAGES};
use super::{Adapter, Controller, Disk, Found, Reach, Refusal};
use crate::block::Name;

const NAME: &str = "ide";
/// Where a channel is that is not where PCI says: its registers, one more, and its ISA interrupt.
const LEGACY: [(u16, u16, u8); 2] = [(0x1f0, 0x3f6, 14), (0x170, 0x376, 15)];

/// Starts a controller.
pub(super) fn start(adapter: &Adapter<'_>, found: &mut Found) -> Result<(), Refusal> {
    let function = adapter.function;
    let master = function.io_bar(4).ok_or(Refusal("it cannot access memory"))?;
    // Of the bits for both channels they are the same.
    let native = function.class() & 1 != 0;
    let (mut controllers, mut disks) = (Vec::new(), Vec::new());
    for (index, (base, control, line)) in (0..).zip(LEGACY) {
        let bar = |at: u8| function.io_bar(2 * index + at).ok_or(Refusal::WINDOW);
        let (base, control) = if native { (bar(0)?, bar(1)?.wrapping_add(2)) } else { (base, control) };
        let mut channel = Channel::new(base, control, master.wrapping_add(8 * u16::from(index)))?;
        let known = channel.disks();
        if known.iter().all(Option::is_none) {
            continue;
        }
        channel.listen();
        let place = function.place();
        let controller = Controller::new((NAME, place), Box::new(channel), 1, MOST_PAGES)?;
        let controller = Arc::new(controller.reaching(Reach::LOW)?);
        for (number, about) in (2 * u32::from(index)..).zip(known) {
            let Some(About { geometry, .. }) = about else { continue };
            disks.push(Disk::new(
                Arc::clone(&controller),
                Name { controller: NAME, place, number },
                geometry,
            ));
        }
        if native {
            controllers.push(controller);
        } else {
            adapter.connect_isa(line)?.get_or_init(|| Vec::from([controller]));
        }
    }
    if !controllers.is_empty() {
        adapter.connect()?.get_or_init(|| controllers);
    }
    found.disks.extend(disks.into_iter().map(|disk| disk as _));
    Ok(())
}

#[cfg(test)]
mod tests;
