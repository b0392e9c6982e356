//! A card as the link layer sees it, and the tasks that look after it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::Refusal;
use isopod_drivers::network::{self, Abilities, Cut, Incoming, Payload, Slot, Work};
use isopod_hal::heap;
use isopod_linux::socket::inet::with_stack;
use isopod_linux::socket::netlink;
use isopod_linux::{memory_pressure, sched};
use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::link::port::{Checksum, Frame, Offloads, Port, Received};

/// So many frames are taken in at a time, before others run.
const BATCH: usize = 64;

/// What is lent to a card.
struct Lent(Chunks);

impl Payload for Lent {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn pieces(&self, each: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|chunk| each(chunk));
    }
}

/// A network card.
pub struct Card(Arc<dyn network::Card<Lent>>);

impl Card {
    /// Starts the card, with `address` if it has none.
    pub fn start(slot: Slot, cpus: usize, address: [u8; 6]) -> Result<Arc<Self>, Refusal> {
        Ok(Arc::new(Self(slot.start(cpus, address)?)))
    }

    /// How many tasks it needs.
    pub fn pairs(&self) -> usize {
        self.0.pairs()
    }

    /// Takes in what a pair of queues receives for an interface, for good. The first pair's task also follows the link.
    pub async fn serve(self: Arc<Self>, pair: usize, interface: u32) {
        let mut frames = Vec::new();
        let mut up = self.0.is_up();
        loop {
            let more = self.0.receive(pair, BATCH, &mut frames);
            // What others send must not take the memory that the kernel itself needs.
            if !frames.is_empty() && heap::reserve_low() && !memory_pressure::reclaim() {
                frames.clear();
            }
            let room = self.0.collect(pair);
            let now_up = self.0.is_up();
            let changed = pair == 0 && up != now_up;
            up = now_up;
            let announce = pair == 0 && self.0.takes_announcement();
            if !frames.is_empty() || room || changed || announce {
                with_stack(|stack, out| {
                    for frame in frames.drain(..) {
                        stack.receive(interface, received(frame), out);
                    }
                    if room {
                        stack.room(interface);
                    }
                    if changed {
                        stack.set_carrier(interface, out);
                    }
                    if announce {
                        stack.announce(interface, out);
                    }
                });
            }
            if changed {
                netlink::link_changed(interface);
            }
            if announce {
                self.0.announced();
            }
            if more {
                sched::give_way().await;
            } else {
                self.0.attention(pair).until(|| self.0.is_due(pair).then_some(())).await;
            }
        }
    }
}

/// A frame as the link layer takes it. What does not fit into memory is cut off, and the frame refused as one that is too short.
fn received(frame: Incoming) -> Received {
    let mut data = Chunks::from(Chunk::from(frame.first));
    for piece in frame.rest {
        if data.push(Chunk::from(piece)).is_err() {
            break;
        }
    }
    let checksum = if frame.verified { Checksum::Verified } else { Checksum::Unknown };
    Received { data, checksum, segment_size: frame.segment_size }
}

impl Port for Card {
    fn hardware_address(&self) -> [u8; 6] {
        self.0.address()
    }

    fn mtu(&self) -> u32 {
        self.0.mtu().into()
    }

    fn is_up(&self) -> bool {
        self.0.is_up()
    }

    fn offloads(&self) -> Offloads {
        let abilities = self.0.abilities();
        let mut offloads = Offloads::empty();
        offloads.set(Offloads::SUMS, abilities.contains(Abilities::SUMS));
        offloads.set(Offloads::CUTS_V4, abilities.contains(Abilities::CUTS_V4));
        offloads.set(Offloads::CUTS_V6, abilities.contains(Abilities::CUTS_V6));
        offloads
    }

    fn transmit(&self, frame: &mut Frame) -> bool {
        let work = Work {
            checksum: frame.checksum.map(|sum| (sum.start, sum.offset)),
            cut: frame.segment.map(|segments| Cut { v6: segments.v6, size: segments.size }),
        };
        let payload = Lent(core::mem::take(&mut frame.payload));
        if let Err(Lent(payload)) = self.0.transmit(frame.headers(), payload, &work) {
            frame.payload = payload;
            return false;
        }
        true
    }

    fn flush(&self) {
        self.0.flush();
    }
}
