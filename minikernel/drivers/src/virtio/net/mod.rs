//! The network card (virtio 1.2, 5.1).

mod control;
mod receive;
mod transmit;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use isopod_hal::sync::{SpinLock, wait::WaitQueue};
use isopod_hal::{cpu, log};

use super::queue::Queue;
use super::{Driver, StartError, Transport, Violation, start};
use crate::network::{Abilities, Card, Incoming, Payload, Work};
use control::{Command, Control};
use receive::Receive;
use transmit::Transmit;

/// Descriptors of a queue.
const QUEUE_SIZE: u16 = 256;
/// No machine needs more pairs of queues.
const PAIRS_MAX: u16 = 8;
/// No device can say that it has more: their queues, and the one behind them, have numbers of 16 bits.
const OFFERED_MAX: u16 = 0x7fff;
/// Bytes of the header before each frame.
const HEADER: usize = 12;
/// Bytes of Ethernet's header, with a tag.
const ETHERNET: usize = 18;
/// The longest packet of a card that does not say.
const MTU: u16 = 1500;
/// Bytes of a buffer for frames; where the device glues segments together, of one that is worth its descriptor.
const BUFFER: usize = 2048;
const LONG_BUFFER: usize = 4096;
/// The longest packet of segments that the device has glued together.
const GLUED_MAX: usize = 65_535;

mod feature {
    pub const SUM: u64 = 1 << 0;
    pub const GUEST_SUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_CUT_V4: u64 = 1 << 7;
    pub const GUEST_CUT_V6: u64 = 1 << 8;
    pub const CUT_V4: u64 = 1 << 11;
    pub const CUT_V6: u64 = 1 << 12;
    pub const MERGES: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CONTROL: u64 = 1 << 17;
    pub const ANNOUNCE: u64 = 1 << 21;
    pub const PAIRS: u64 = 1 << 22;

    /// What cards do without more than one pair of queues.
    pub const PLAIN: u64 = SUM
        | GUEST_SUM
        | MTU
        | MAC
        | GUEST_CUT_V4
        | GUEST_CUT_V6
        | CUT_V4
        | CUT_V6
        | MERGES
        | STATUS
        | CONTROL
        | ANNOUNCE;
}

/// Words of the device's configuration (5.1.4).
mod config {
    /// The first bytes of the address.
    pub const ADDRESS: usize = 0;
    /// The last two, and the status.
    pub const STATUS: usize = 4;
    /// The most pairs of queues, and the longest packet.
    pub const PAIRS: usize = 8;
}

/// The status: the link is there; its addresses are to be announced.
const LINK_UP: u16 = 1;
const ANNOUNCE: u16 = 2;

/// Queues that a processor uses by itself.
struct Pair<P> {
    receive: SpinLock<Receive>,
    transmit: SpinLock<Transmit<P>>,
    /// There was an interrupt, and nobody has looked yet.
    interrupted: AtomicBool,
    attention: WaitQueue,
}

impl<P> Pair<P> {
    fn wake(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.attention.wake_all();
    }
}

/// A virtio network card, which sends payloads of one kind.
pub struct VirtioNet<P> {
    transport: Arc<dyn Transport>,
    address: [u8; 6],
    mtu: u16,
    abilities: Abilities,
    pairs: Vec<Pair<P>>,
    /// How many of them the device uses.
    active: AtomicU16,
    control: Option<SpinLock<Control>>,
    /// It tells when the link comes and goes.
    follows: bool,
    up: AtomicBool,
    announce: AtomicBool,
    /// The device broke the rules.
    dead: AtomicBool,
}

impl<P: Payload> VirtioNet<P> {
    /// Starts the device behind `transport`, in a machine with so many processors, ready to receive. `address` is for a device without.
    pub fn start(
        transport: Box<dyn Transport>,
        cpus: usize,
        address: [u8; 6],
    ) -> Result<Arc<Self>, StartError> {
        let pairs = PAIRS_MAX.min(u16::try_from(cpus).unwrap_or(PAIRS_MAX));
        let choose = |offered: u64| {
            let mut wanted = feature::PLAIN | if pairs > 1 { feature::PAIRS } else { 0 };
            if offered & feature::MERGES == 0 {
                // Each buffer would have to hold the longest.
                wanted &= !(feature::GUEST_CUT_V4 | feature::GUEST_CUT_V6);
            }
            wanted
        };
        // One vector for the configuration, one for each pair.
        let card = start(transport, choose, 1 + pairs, |transport, features| {
            Self::build(transport, features, pairs, address)
        })?;
        for pair in &card.pairs {
            pair.receive.lock().queue.kick(&*card.transport);
        }
        if let Some(control) = card.control.as_ref().filter(|_| card.pairs.len() > 1) {
            control.lock().tell(Command::UsePairs(card.pairs.len() as u16), &*card.transport);
        }
        Ok(card)
    }

    fn build(
        transport: Arc<dyn Transport>,
        features: u64,
        pairs: u16,
        mut address: [u8; 6],
    ) -> Result<Self, StartError> {
        let has = |feature: u64| features & feature != 0;
        let (mut status, mut limits) = (u32::from(LINK_UP) << 16, 1 | u32::from(MTU) << 16);
        if has(feature::MAC | feature::STATUS) {
            let first = transport.config(config::ADDRESS);
            let second = transport.config(config::STATUS);
            if has(feature::MAC) {
                address = [first.to_le_bytes(), second.to_le_bytes()].as_flattened()[..6]
                    .try_into()
                    .unwrap_or(address);
            }
            if has(feature::STATUS) {
                status = second;
                transport.follow_config()?;
            }
        }
        if has(feature::PAIRS | feature::MTU) {
            limits = transport.config(config::PAIRS);
        }
        let mtu = if has(feature::MTU) { (limits >> 16) as u16 } else { MTU };
        let offered = if has(feature::PAIRS) && has(feature::CONTROL) {
            (limits as u16).clamp(1, OFFERED_MAX)
        } else {
            1
        };
        let merges = has(feature::MERGES);
        let glues = has(feature::GUEST_CUT_V4 | feature::GUEST_CUT_V6);
        let size = match (merges, glues) {
            (true, true) => LONG_BUFFER,
            (true, false) => BUFFER,
            (false, _) => BUFFER.max((HEADER + ETHERNET + usize::from(mtu)).next_multiple_of(64)),
        };
        let longest = if glues { GLUED_MAX } else { usize::from(mtu) };
        let mut all = Vec::new();
        let count = pairs.min(offered);
        all.try_reserve_exact(usize::from(count)).map_err(|_| StartError::OutOfMemory)?;
        for number in 0..count {
            let queue = |of: u16| {
                Queue::with_vector(&*transport, 2 * number + of, QUEUE_SIZE, 0, features, 1 + number)
            };
            let receive = SpinLock::new(Receive::new(queue(0)?, size, merges, HEADER + ETHERNET + longest)?);
            let transmit = SpinLock::new(Transmit::new(queue(1)?)?);
            all.push(Pair {
                receive,
                transmit,
                interrupted: AtomicBool::new(false),
                attention: WaitQueue::new(),
            });
        }
        // Behind the queues of all pairs that the device could have (5.1.2).
        let control = if has(feature::CONTROL) && (count > 1 || has(feature::ANNOUNCE)) {
            Some(SpinLock::new(Control::new(&*transport, 2 * offered, features)?))
        } else {
            None
        };
        let mut abilities = Abilities::empty();
        abilities.set(Abilities::SUMS, has(feature::SUM));
        abilities.set(Abilities::CUTS_V4, has(feature::SUM) && has(feature::CUT_V4));
        abilities.set(Abilities::CUTS_V6, has(feature::SUM) && has(feature::CUT_V6));
        let status = (status >> 16) as u16;
        Ok(Self {
            transport,
            address,
            mtu,
            abilities,
            pairs: all,
            active: AtomicU16::new(1),
            control,
            follows: has(feature::STATUS),
            up: AtomicBool::new(status & LINK_UP != 0),
            announce: AtomicBool::new(status & ANNOUNCE != 0),
            dead: AtomicBool::new(false),
        })
    }

    /// Asks for an interrupt when a frame comes in; false if one has.
    fn listens(&self, pair: &Pair<P>) -> bool {
        self.is_dead() || pair.receive.lock().queue.listen()
    }

    /// The pair that this processor sends by.
    #[inline]
    fn own_pair(&self) -> &Pair<P> {
        let active = usize::from(self.active.load(Ordering::Acquire));
        // Mostly there is one, and a division takes its time.
        &self.pairs[if active == 1 { 0 } else { cpu::id() % active }]
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Stops a device that broke the rules.
    fn give_up(&self, violation: Violation) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            log!("virtio-net: device given up: {violation}");
            self.transport.reset();
            self.up.store(false, Ordering::Release);
            self.pairs.iter().for_each(Pair::wake);
        }
    }

    /// Whether a pair has work. One that somebody works on has.
    fn has_work(pair: &Pair<P>) -> bool {
        pair.receive.try_lock().is_none_or(|receive| receive.queue.has_used())
            || pair.transmit.try_lock().is_none_or(|transmit| transmit.is_due())
    }

    /// The configuration may have changed, or the device has answered.
    fn look(&self) {
        if self.follows {
            let status = (self.transport.config(config::STATUS) >> 16) as u16;
            self.up.store(status & LINK_UP != 0, Ordering::Release);
            if status & ANNOUNCE != 0 {
                self.announce.store(true, Ordering::Release);
            }
        }
        self.take_answers();
    }

    /// Takes what the device has answered on the control queue.
    fn take_answers(&self) {
        let answer = self.control.as_ref().map(|control| control.lock().collect());
        match answer.unwrap_or(Ok(None)) {
            Ok(Some(pairs)) => self.active.store(pairs, Ordering::Release),
            Ok(None) => {}
            Err(violation) => self.give_up(violation),
        }
    }
}

impl<P: Payload> Card<P> for VirtioNet<P> {
    fn address(&self) -> [u8; 6] {
        self.address
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn pairs(&self) -> usize {
        self.pairs.len()
    }

    fn takes_announcement(&self) -> bool {
        // Mostly not, and that is cheaper to see.
        self.announce.load(Ordering::Relaxed) && self.announce.swap(false, Ordering::AcqRel)
    }

    fn announced(&self) {
        if let Some(control) = self.control.as_ref().filter(|_| !self.is_dead()) {
            control.lock().tell(Command::Announced, &*self.transport);
        }
    }

    fn transmit(&self, head: &[u8], payload: P, work: &Work) -> Result<(), P> {
        if self.is_dead() {
            return Ok(());
        }
        let pushed = self.own_pair().transmit.lock().push(head, payload, work);
        pushed.unwrap_or_else(|violation| {
            self.give_up(violation);
            Ok(())
        })
    }

    fn flush(&self) {
        if self.is_dead() {
            return;
        }
        let own = self.own_pair();
        own.transmit.lock().queue.kick(&*self.transport);
        // The first served all until the device agreed to use others, perhaps since a frame was queued. Who has its lock flushes it too.
        if let Some(first) = self.pairs.first().filter(|first| !core::ptr::eq(*first, own))
            && let Some(mut transmit) = first.transmit.try_lock()
        {
            transmit.queue.kick(&*self.transport);
        }
    }

    fn receive(&self, pair: usize, limit: usize, frames: &mut Vec<Incoming>) -> bool {
        if self.is_dead() {
            return false;
        }
        let mut receive = self.pairs[pair].receive.lock();
        let more = receive.take(limit, frames);
        receive.queue.kick(&*self.transport);
        drop(receive);
        more.unwrap_or_else(|violation| {
            self.give_up(violation);
            false
        })
    }

    fn collect(&self, pair: usize) -> bool {
        if self.is_dead() {
            return false;
        }
        let mut transmit = self.pairs[pair].transmit.lock();
        let collected = transmit.collect();
        let again = transmit.has_room_again();
        drop(transmit);
        if let Err(violation) = collected {
            self.give_up(violation);
        }
        again
    }

    fn attention(&self, pair: usize) -> &WaitQueue {
        &self.pairs[pair].attention
    }

    fn is_due(&self, pair: usize) -> bool {
        let pair = &self.pairs[pair];
        pair.interrupted.swap(false, Ordering::AcqRel) || !self.listens(pair)
    }
}

impl<P: Payload> Driver for VirtioNet<P> {
    fn on_interrupt(&self, vector: Option<u16>) {
        let Some(vector) = vector else {
            let used = self.pairs.iter().any(Self::has_work);
            if self.transport.acknowledge_interrupt(used) && !self.is_dead() {
                self.look();
            } else if !self.is_dead() {
                // An answer is told of like a frame.
                self.take_answers();
            }
            // Also where nothing was seen: it may have come since.
            self.pairs.iter().for_each(Pair::wake);
            return;
        };
        let pair = usize::from(vector).checked_sub(1);
        if pair.is_none() && !self.is_dead() {
            self.look();
        }
        if let Some(pair) = self.pairs.get(pair.unwrap_or(0)) {
            pair.wake();
        }
    }
}

impl<P> fmt::Debug for VirtioNet<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtioNet {{ mtu: {}, pairs: {} }}", self.mtu, self.pairs.len())
    }
}

#[cfg(test)]
mod tests;
