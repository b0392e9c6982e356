//! The network: cards become interfaces, and each queue of a card has a task.

mod card;
mod configure;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::virtio::{StartError, Transport};
use isopod_hal::{clock, log, random};
use isopod_linux::sched;
use isopod_linux::socket::inet::with_stack;
use isopod_manifest::Network;

pub use card::Card;

/// Starts the card behind `transport`. It receives from now on, and keeps what comes until there is somebody to take it.
pub fn start_card(
    cards: &mut Vec<Arc<Card>>,
    transport: Box<dyn Transport>,
    cpus: usize,
) -> Result<(), StartError> {
    let number = random::hardware_random().unwrap_or_else(clock::monotonic_ns).to_le_bytes();
    // An address that nobody else gives out, for a card without one (IEEE 802, section 8.4).
    let address = [0x02, number[0], number[1], number[2], number[3], cards.len() as u8];
    cards.push(Card::start(transport, cpus, address)?);
    Ok(())
}

/// Makes interfaces of the cards, `eth0` and so on, as the manifest has them. A machine without a card has nothing to do here.
pub fn begin(cards: Vec<Arc<Card>>, network: &Network) {
    for (number, card) in cards.into_iter().enumerate() {
        let name = format!("eth{number}");
        let config = network.interfaces.get(number).cloned().unwrap_or_default();
        let index = with_stack(|stack, out| {
            let interface =
                stack.add_interface(&name, Arc::clone(&card) as Arc<dyn isopod_net::link::port::Port>)?;
            configure::interface(stack, &interface, &config, out)?;
            Ok(interface.index)
        });
        let index = match index {
            Ok(index) => index,
            Err(error) => {
                let error: isopod_net::error::Error = error;
                log!("network: {name} cannot be configured: {error:?}");
                continue;
            }
        };
        for pair in 0..card.pairs() {
            sched::spawn(Arc::clone(&card).serve(pair, index));
        }
    }
}
