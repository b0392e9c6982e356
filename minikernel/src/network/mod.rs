//! The network: cards become interfaces, and each queue of a card has a task.

mod card;
mod configure;
mod files;
mod follow;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::virtio::{StartError, Transport};
use isopod_hal::{clock, log, random};
use isopod_linux::sched;
use isopod_linux::socket::inet::{configuring, stack, with_stack};
use isopod_manifest::{InterfaceConfig, Manifest, Method};
use isopod_net::error::Result;
use isopod_net::link::port::Port;

pub use card::Card;

/// Starts the card behind `transport`. It receives from now on, and keeps what comes until there is somebody to take it.
pub fn start_card(
    cards: &mut Vec<Arc<Card>>,
    transport: Box<dyn Transport>,
    cpus: usize,
) -> core::result::Result<(), StartError> {
    let number = random::hardware_random().unwrap_or_else(clock::monotonic_ns).to_le_bytes();
    // An address that nobody else gives out, for a card without one (IEEE 802, section 8.4).
    let address = [0x02, number[0], number[1], number[2], number[3], cards.len() as u8];
    cards.push(Card::start(transport, cpus, address)?);
    Ok(())
}

/// Makes interfaces of the cards, as the manifest has them, and writes the files that tell of the network. Nothing here waits for the network.
pub async fn begin(cards: Vec<Arc<Card>>, manifest: &Manifest) {
    let network = &manifest.network;
    let mut configs = Vec::new();
    for (number, card) in cards.into_iter().enumerate() {
        let config = network.interfaces.get(number).cloned().unwrap_or_default();
        if let Err(error) = begin_interface(number, &card, &config) {
            log!("network: eth{number} cannot be configured: {error:?}");
        }
        configs.push(config);
    }
    let own = configs.iter().flat_map(|config| [config.ipv4, config.ipv6]).find_map(|method| match method {
        Method::Static { address, .. } => Some(address),
        _ => None,
    });
    files::name(manifest, own).await;
    let automatic = |config: &InterfaceConfig| [config.ipv4, config.ipv6].contains(&Method::Automatic);
    let (servers, follows) = (&network.nameservers, configs.iter().any(automatic));
    let mut resolvers = None;
    // The image's own serves a machine of which nobody knows or will know any.
    if follows || !servers.is_empty() {
        let search = network.search.iter().map(String::as_str);
        resolvers = files::resolvers(servers.iter().copied(), search).await;
    }
    if follows {
        if configs.iter().any(|config| config.ipv4 == Method::Automatic) {
            configuring::begin(resolvers.as_deref().filter(|_| servers.is_empty()));
        }
        sched::spawn(follow::follow(stack(), manifest.clone()));
    }
}

/// Makes a card `eth0`, or what its number is.
fn begin_interface(number: usize, card: &Arc<Card>, config: &InterfaceConfig) -> Result<()> {
    let index: Result<u32> = with_stack(|stack, out| {
        let interface = stack.add_interface(&format!("eth{number}"), Arc::clone(card) as Arc<dyn Port>)?;
        configure::interface(stack, &interface, config, out)?;
        Ok(interface.index)
    });
    let index = index?;
    for pair in 0..card.pairs() {
        sched::spawn(Arc::clone(card).serve(pair, index));
    }
    Ok(())
}
