//! Who has which address on a link: the cache that ARP and NDP share, with the states of RFC 4861, section 7.3.2, and Linux' limits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_hal::sync::SpinLock;

use crate::address::Address;
use crate::packet::Packet;

/// An address on the link.
pub type Hardware = [u8; 6];

const SECOND: u64 = 1_000_000_000;
/// How long a neighbour counts as reachable after it has answered (`base_reachable_time_ms`).
const REACHABLE: u64 = 30 * SECOND;
/// How long one that is used again may give a sign of life before it is asked (`delay_first_probe_time`).
const DELAY: u64 = 5 * SECOND;
/// From one question to the next (`retrans_time_ms`).
pub const INTERVAL: u64 = SECOND;
/// How often is asked (`mcast_solicit`, `ucast_solicit`).
const TRIES: u8 = 3;
/// How many neighbours are known at the most (`gc_thresh3`), and how many are kept that nobody uses (`gc_thresh1`).
const MOST: usize = 1024;
/// See [`MOST`].
const KEPT: usize = 128;
/// How long those beyond that are kept (`gc_stale_time`).
const STALE: u64 = 60 * SECOND;
/// How much may wait for an answer (`unres_qlen_bytes`), and how many packets (`unres_qlen`).
const WAITING_BYTES: usize = 212_992;
/// See [`WAITING_BYTES`].
const WAITING: usize = 101;
/// How much may wait for all neighbours together, with what describes it: who asks for many that are not there takes no more.
pub(super) const WAITING_ALL: usize = 1 << 20;
/// What describes a packet.
const DESCRIPTION: usize = 256;
/// How many locks there are.
const BUCKETS: usize = 16;

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing; it is asked for.
    Incomplete,
    /// Its address, until some time, and after that the same as `Stale`.
    Reachable,
    /// Its address, as it was.
    Stale,
    /// The same, and it is in use: it will be asked.
    Delay,
    /// It is asked.
    Probe,
}

#[derive(Debug)]
struct Neighbour {
    address: Address,
    hardware: Hardware,
    state: State,
    /// When the state ends, or the next question is due.
    at: u64,
    tries: u8,
    used: u64,
    waiting: Waiting,
}

/// Packets that wait for a neighbour.
#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Packet>,
    /// What they take.
    bytes: usize,
}

/// What all of them take.
pub(super) static HELD: AtomicUsize = AtomicUsize::new(0);

impl Waiting {
    /// Adds a packet. Where there is no room the oldest goes; where others have taken it all, or there is no memory, this one is lost.
    fn push(&mut self, packet: Packet) {
        let cost = cost(&packet);
        while self.packets.len() >= WAITING || self.bytes + cost > WAITING_BYTES {
            if self.pop().is_none() {
                break;
            }
        }
        while HELD.load(Ordering::Relaxed) + cost > WAITING_ALL {
            if self.pop().is_none() {
                return;
            }
        }
        if self.packets.try_reserve(1).is_ok() {
            self.packets.push_back(packet);
            self.bytes += cost;
            HELD.fetch_add(cost, Ordering::Relaxed);
        }
    }

    fn pop(&mut self) -> Option<Packet> {
        let oldest = self.packets.pop_front()?;
        let cost = cost(&oldest);
        self.bytes -= cost;
        HELD.fetch_sub(cost, Ordering::Relaxed);
        Some(oldest)
    }

    /// All of them: they wait no more.
    fn take(&mut self) -> VecDeque<Packet> {
        HELD.fetch_sub(core::mem::take(&mut self.bytes), Ordering::Relaxed);
        core::mem::take(&mut self.packets)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        HELD.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn cost(packet: &Packet) -> usize {
    packet.wire_len() + DESCRIPTION
}

/// What somebody says about a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// It is an answer.
    pub solicited: bool,
    /// It holds even if another address was known.
    pub overrides: bool,
    /// It is to be noted even if the neighbour was not known.
    pub creates: bool,
}

/// A question that is to be asked: for whom, and of whom if not of all.
pub type Question = (Address, Option<Hardware>);

/// The neighbours of an interface.
#[derive(Debug)]
pub struct Neighbours {
    buckets: [SpinLock<Vec<Neighbour>>; BUCKETS],
    count: AtomicUsize,
}

/// What has come of a packet for a neighbour.
#[derive(Debug)]
pub enum Outcome {
    /// The neighbour's address is known.
    Known(Packet, Hardware),
    /// It waits. If that is said, a question is to be asked now.
    Waits(bool),
    /// There is no room for another neighbour.
    Full(Packet),
}

impl Neighbours {
    pub const fn new() -> Self {
        Self { buckets: [const { SpinLock::new(Vec::new()) }; BUCKETS], count: AtomicUsize::new(0) }
    }

    fn bucket(&self, address: &Address) -> &SpinLock<Vec<Neighbour>> {
        let bits = address.to_bits();
        &self.buckets[(bits ^ bits >> 64) as usize % BUCKETS]
    }

    /// The address of a neighbour that is to be sent to, where one is known; and when it will be asked, if that is news.
    pub fn find(&self, address: &Address, now: u64) -> Option<(Hardware, Option<u64>)> {
        let mut bucket = self.bucket(address).lock();
        let known = bucket.iter_mut().find(|known| known.address == *address)?;
        known.used = now;
        match known.state {
            State::Incomplete => None,
            State::Stale => Some((known.hardware, Some(known.delay(now)))),
            State::Reachable if now >= known.at => Some((known.hardware, Some(known.delay(now)))),
            _ => Some((known.hardware, None)),
        }
    }

    /// Keeps a packet until the neighbour has answered.
    pub fn wait(&self, address: &Address, packet: Packet, now: u64) -> Outcome {
        let mut bucket = self.bucket(address).lock();
        let Some(known) = bucket.iter_mut().find(|known| known.address == *address) else {
            if !self.make_room(&mut bucket, now) {
                return Outcome::Full(packet);
            }
            let mut waiting = Waiting::default();
            waiting.push(packet);
            let (hardware, state, at) = (Hardware::default(), State::Incomplete, now + INTERVAL);
            bucket.push(Neighbour { address: *address, hardware, state, at, tries: 1, used: now, waiting });
            return Outcome::Waits(true);
        };
        if known.state != State::Incomplete {
            return Outcome::Known(packet, known.hardware);
        }
        known.waiting.push(packet);
        Outcome::Waits(false)
    }

    /// Whether one more can be noted in a bucket, which then has memory for it.
    fn make_room(&self, bucket: &mut Vec<Neighbour>, now: u64) -> bool {
        if self.count.load(Ordering::Relaxed) >= MOST {
            let idle = |known: &Neighbour| {
                known.state == State::Stale || known.state == State::Reachable && now >= known.at
            };
            let oldest = (0..bucket.len())
                .filter(|&place| idle(&bucket[place]))
                .min_by_key(|&place| bucket[place].used);
            let Some(oldest) = oldest else { return false };
            bucket.swap_remove(oldest);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        let room = bucket.try_reserve(1).is_ok();
        if room {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Somebody says that a neighbour has this address. Returns what waited for that.
    pub fn learn(&self, address: &Address, hardware: Hardware, word: Word, now: u64) -> VecDeque<Packet> {
        let mut bucket = self.bucket(address).lock();
        let place = bucket.iter().position(|known| known.address == *address);
        let place = match place {
            Some(place) => place,
            None if !word.creates || !self.make_room(&mut bucket, now) => return VecDeque::new(),
            None => {
                let (state, waiting) = (State::Stale, Waiting::default());
                bucket.push(Neighbour {
                    address: *address,
                    hardware,
                    state,
                    at: 0,
                    tries: 0,
                    used: now,
                    waiting,
                });
                bucket.len() - 1
            }
        };
        let known = &mut bucket[place];
        let differs = known.hardware != hardware;
        if known.state == State::Incomplete {
            known.hardware = hardware;
            known.settle(word.solicited, now);
            return known.waiting.take();
        }
        if differs && !word.overrides {
            // Somebody contradicts: the next packet asks (RFC 4861, section 7.2.5).
            if known.state == State::Reachable {
                known.settle(false, now);
            }
        } else if word.solicited || differs {
            known.hardware = hardware;
            known.settle(word.solicited, now);
        }
        VecDeque::new()
    }

    /// Does what is due: questions, and packets whose neighbour has not answered. Returns when the next is due.
    pub fn expire(&self, now: u64, questions: &mut Vec<Question>, lost: &mut VecDeque<Packet>) -> u64 {
        let mut next = u64::MAX;
        for bucket in &self.buckets {
            let mut bucket = bucket.lock();
            let mut place = 0;
            while let Some(known) = bucket.get_mut(place) {
                let keeps = known.expire(now, questions, lost) && !self.is_surplus(known, now);
                if keeps {
                    next = next.min(known.due());
                    place += 1;
                } else {
                    bucket.swap_remove(place);
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        next
    }

    fn is_surplus(&self, known: &Neighbour, now: u64) -> bool {
        let idle = matches!(known.state, State::Stale | State::Reachable)
            && now > known.used + STALE
            && now > known.at;
        idle && self.count.load(Ordering::Relaxed) > KEPT
    }

    /// Forgets all: the link is another one.
    pub fn clear(&self) {
        for bucket in &self.buckets {
            let old = core::mem::take(&mut *bucket.lock());
            self.count.fetch_sub(old.len(), Ordering::Relaxed);
        }
    }

    /// Shows what is known to `visit`: addresses, and whether they are reachable.
    pub fn each(&self, visit: &mut dyn FnMut(&Address, &Hardware, bool)) {
        for bucket in &self.buckets {
            for known in bucket.lock().iter().filter(|known| known.state != State::Incomplete) {
                visit(&known.address, &known.hardware, known.state == State::Reachable);
            }
        }
    }
}

impl Neighbour {
    /// It is in use and has not been heard of for long. Returns when it is to be asked.
    fn delay(&mut self, now: u64) -> u64 {
        self.state = State::Delay;
        self.at = now + DELAY;
        self.at
    }

    /// Its address has been told.
    fn settle(&mut self, solicited: bool, now: u64) {
        self.state = if solicited { State::Reachable } else { State::Stale };
        self.at = if solicited { now + REACHABLE } else { now };
    }

    fn due(&self) -> u64 {
        match self.state {
            State::Incomplete | State::Delay | State::Probe => self.at,
            State::Reachable | State::Stale => u64::MAX,
        }
    }

    /// False if it is not there.
    fn expire(&mut self, now: u64, questions: &mut Vec<Question>, lost: &mut VecDeque<Packet>) -> bool {
        if self.due() > now {
            return true;
        }
        if self.state == State::Delay {
            (self.state, self.tries) = (State::Probe, 0);
        }
        if self.tries >= TRIES {
            // What there is no memory to tell about is lost without a word.
            let mut waited = self.waiting.take();
            if lost.try_reserve(waited.len()).is_ok() {
                lost.append(&mut waited);
            }
            return false;
        }
        self.tries += 1;
        self.at = now + INTERVAL;
        if questions.try_reserve(1).is_ok() {
            questions.push((self.address, (self.state == State::Probe).then_some(self.hardware)));
        }
        true
    }
}
