//! The network: cards become interfaces, and each queue of a card has a task.
//!
//! A card is started when the network is first used, or else a little later than the first program: one that uses no network does not wait for
//! it.

mod card;
mod configure;
mod files;
mod follow;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::network::Slot;
use isopod_hal::{clock, log, random};
use isopod_linux::sched;
use isopod_linux::socket::inet::{begin_with, configuring, stack};
use isopod_manifest::{InterfaceConfig, Manifest, Method};
use isopod_net::link::port::Port;
use isopod_net::packet::Outbox;
use isopod_net::stack::Stack;

use card::Card;

/// Where the machine's cards are.
pub type Cards = Vec<Slot>;

/// Has interfaces made of the cards, as the manifest has them, and writes the files that tell of the network.
pub async fn prepare(cards: Cards, cpus: usize, manifest: &Manifest) {
    let network = &manifest.network;
    let configs: Vec<_> =
        (0..cards.len()).map(|number| network.interfaces.get(number).cloned().unwrap_or_default()).collect();
    let own = configs.iter().flat_map(|config| [config.ipv4, config.ipv6]).find_map(|method| match method {
        Method::Static { address, .. } => Some(address),
        _ => None,
    });
    let directory = files::directory().await;
    if let Some(directory) = &directory {
        files::name(directory, manifest, own).await;
    }
    let automatic = |config: &InterfaceConfig| [config.ipv4, config.ipv6].contains(&Method::Automatic);
    let (servers, follows) = (&network.nameservers, configs.iter().any(automatic));
    let mut resolvers = None;
    // The image's own serves a machine of which nobody knows or will know any.
    if let Some(directory) = directory
        && (follows || !servers.is_empty())
    {
        let search = &mut network.search.iter().map(String::as_str);
        let text = files::resolvers(&mut servers.iter().copied(), search);
        resolvers = files::make_resolvers(&directory, &text).await.filter(|_| servers.is_empty());
    }
    if follows && configs.iter().any(|config| config.ipv4 == Method::Automatic) {
        configuring::begin(resolvers.as_deref());
    }
    // Before anything that asks for the network is spawned, and so may run on another processor at once.
    if !cards.is_empty() {
        let begin_cards = move |stack: &Stack, out: &mut Outbox| {
            for (number, (card, config)) in cards.into_iter().zip(&configs).enumerate() {
                begin(stack, number, card, cpus, config, out);
            }
        };
        begin_with(Box::new(begin_cards));
        sched::spawn(begin_late());
    }
    if follows {
        sched::spawn(follow::follow(network.clone(), resolvers));
    }
}

/// Nanoseconds in which a program begins, with what it reads from its disk.
const HEAD_START: u64 = 2_000_000;

/// Lets the network begin, if nobody has used it by then: others may look for this machine.
async fn begin_late() {
    sched::sleep_until(clock::monotonic_ns() + HEAD_START).await;
    stack();
}

/// Makes a card `eth0`, or what its number is.
fn begin(stack: &Stack, number: usize, card: Slot, cpus: usize, config: &InterfaceConfig, out: &mut Outbox) {
    let random = random::hardware_random().unwrap_or_else(clock::monotonic_ns).to_le_bytes();
    // An address that nobody else gives out, for a card without one (IEEE 802, section 8.4).
    let address = [0x02, random[0], random[1], random[2], random[3], number as u8];
    let card = match Card::start(card, cpus, address) {
        Ok(card) => card,
        Err(error) => return log!("network: eth{number} left out: {error}"),
    };
    let interface = match stack.add_interface(&format!("eth{number}"), Arc::clone(&card) as Arc<dyn Port>) {
        Ok(interface) => interface,
        Err(error) => return log!("network: eth{number} left out: {error:?}"),
    };
    if let Err(error) = configure::interface(stack, &interface, config, out) {
        log!("network: eth{number} is not all that the manifest says: {error:?}");
    }
    (0..card.pairs()).for_each(|pair| sched::spawn(Arc::clone(&card).serve(pair, interface.index)));
}
