//! Machines on an Ethernet of their own.

use super::super::ethernet::HEADER;
use super::*;
use crate::address::{SocketAddress, V4_PREFIX, any_like};
use crate::checksum::Sum;
use crate::chunk::{Chunk, Chunks};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::interface::InterfaceAddress;
use crate::link::port::{Checksum, PartialSum, Received, Segments};
use crate::packet::protocol;
use crate::stack::HOP_LIMIT;
use crate::tcp::{Flags, SegmentHeader};
use crate::udp::Manner;
use isopod_hal::sync::wait::WaitQueue;

/// A card that keeps what it is given.
pub struct Card {
    hardware: Hardware,
    offloads: Offloads,
    sent: SpinLock<Vec<Frame>>,
    /// So many frames it takes.
    pub room: AtomicUsize,
    flushed: AtomicUsize,
}

impl Port for Card {
    fn hardware_address(&self) -> [u8; 6] {
        self.hardware
    }

    fn mtu(&self) -> u32 {
        1500
    }

    fn is_up(&self) -> bool {
        true
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn transmit(&self, frame: &mut Frame) -> bool {
        let mut sent = self.sent.lock();
        if sent.len() >= self.room.load(Ordering::Relaxed) {
            return false;
        }
        sent.push(frame.take());
        true
    }

    fn flush(&self) {
        self.flushed.store(self.sent.lock().len(), Ordering::Relaxed);
    }
}

impl Card {
    /// The frames that it knows of, as they are on the wire.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut sent = self.sent.lock();
        assert_eq!(self.flushed.swap(0, Ordering::Relaxed), sent.len(), "the card knows of every frame");
        sent.drain(..).flat_map(|frame| finish(&frame)).collect()
    }
}

/// What a card makes of a frame: its pieces, with their checksums.
fn finish(frame: &Frame) -> Vec<Vec<u8>> {
    let mut bytes = frame.headers().to_vec();
    frame.payload.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    let mut pieces = alloc::vec![bytes];
    if let Some(Segments { v6, size }) = frame.segment {
        pieces = cut(&pieces[0], v6, size.into());
    }
    if let Some(PartialSum { start, offset }) = frame.checksum {
        for piece in &mut pieces {
            let mut sum = Sum::default();
            sum.add(&piece[start.into()..]);
            let place = usize::from(start + offset);
            piece[place..place + 2].copy_from_slice(&sum.finish().to_be_bytes());
        }
    }
    pieces
}

/// Cuts a segment as a card does, with nothing of the link layer's own.
fn cut(whole: &[u8], v6: bool, size: usize) -> Vec<Vec<u8>> {
    let ip = if v6 { 40 } else { 20 };
    let tcp = HEADER + ip;
    let payload = tcp + usize::from(whole[tcp + 12] >> 4) * 4;
    let count = (whole.len() - payload).div_ceil(size);
    let mut pieces = Vec::new();
    for index in 0..count {
        let part = &whole[payload + index * size..whole.len().min(payload + (index + 1) * size)];
        let mut piece = whole[..payload].to_vec();
        piece.extend_from_slice(part);
        let length = (payload - tcp + part.len()) as u16;
        let difference = length.wrapping_sub((whole.len() - tcp) as u16);
        // The sum of the pseudo-header counts the length.
        let sum = u32::from(u16::from_be_bytes([piece[tcp + 16], piece[tcp + 17]])) + u32::from(difference);
        let sum = if length < (whole.len() - tcp) as u16 && sum & 0x1_0000 == 0 { sum - 1 } else { sum };
        piece[tcp + 16..tcp + 18].copy_from_slice(&(sum as u16).to_be_bytes());
        let sequence = u32::from_be_bytes([piece[tcp + 4], piece[tcp + 5], piece[tcp + 6], piece[tcp + 7]]);
        piece[tcp + 4..tcp + 8].copy_from_slice(&sequence.wrapping_add((index * size) as u32).to_be_bytes());
        if index + 1 < count {
            piece[tcp + 13] &= !(Flags::FIN | Flags::PSH).bits();
        }
        if v6 {
            piece[HEADER + 4..HEADER + 6].copy_from_slice(&length.to_be_bytes());
        } else {
            piece[HEADER + 2..HEADER + 4].copy_from_slice(&(length + 20).to_be_bytes());
            piece[HEADER + 10..HEADER + 12].fill(0);
            let mut sum = Sum::default();
            sum.add(&piece[HEADER..tcp]);
            piece[HEADER + 10..HEADER + 12].copy_from_slice(&sum.finish().to_be_bytes());
        }
        assert!(SegmentHeader::parse(&piece[tcp..]).is_some());
        pieces.push(piece);
    }
    pieces
}

/// A machine with a card, which is interface 2.
pub struct Host {
    pub stack: &'static Stack,
    pub card: Arc<Card>,
}

pub const CARD: u32 = 2;

impl Host {
    pub fn new(number: u8, offloads: Offloads) -> Self {
        let hardware = [2, 0, 0, 0, 0, number];
        let (sent, room) = (SpinLock::new(Vec::new()), AtomicUsize::new(usize::MAX));
        let card = Arc::new(Card { hardware, offloads, sent, room, flushed: AtomicUsize::new(0) });
        // As long as the machine runs.
        let stack: &'static Stack =
            std::boxed::Box::leak(std::boxed::Box::new(Stack::new(|| 0x1234_5678_9abc_def1)));
        assert_eq!(stack.add_interface("eth0", card.clone()).unwrap().index, CARD);
        let host = Self { stack, card };
        host.with(0, |stack, out| stack.set_up(CARD, true, out)).unwrap();
        host.card.take();
        host
    }

    pub fn add(&self, now: u64, address: Address, prefix: u8) {
        let mut out = Outbox::new(now);
        self.stack.add_address(CARD, InterfaceAddress::new(address, prefix), &mut out).unwrap();
        self.stack.deliver(&mut out);
    }

    /// Does something as a program would.
    pub fn with<T>(&self, now: u64, work: impl FnOnce(&'static Stack, &mut Outbox) -> T) -> T {
        let mut out = Outbox::new(now);
        let outcome = work(self.stack, &mut out);
        self.stack.deliver(&mut out);
        outcome
    }

    pub fn receive(&self, now: u64, bytes: &[u8], checksum: Checksum) {
        let data = Chunks::from(Chunk::copy_of(bytes).unwrap());
        self.with(now, |stack, out| stack.receive(CARD, Received { data, checksum, segment_size: 0 }, out));
    }

    pub fn socket(&self, at: SocketAddress) -> Arc<Endpoint> {
        let endpoint =
            Endpoint::new(protocol::UDP, any_like(&at.address), 0, 1 << 20, Arc::new(WaitQueue::new()));
        self.stack.bind(&endpoint, at, 32768..=60999).unwrap();
        endpoint
    }

    pub fn send(&self, now: u64, from: &Arc<Endpoint>, to: SocketAddress, data: Chunks) -> Result<()> {
        self.with(now, |stack, out| stack.send(from, Some(to), &HOW, data, out))
    }
}

pub const HOW: Manner = Manner {
    source: crate::address::ANY,
    interface: 0,
    group_interface: CARD,
    hop_limit: HOP_LIMIT,
    group_hop_limit: 1,
    traffic_class: 0,
    loops: true,
    discovery: crate::udp::DISCOVERED,
};

/// The machine `10.0.0.number`.
pub fn host_v4(number: u8, offloads: Offloads) -> Host {
    let host = Host::new(number, offloads);
    host.add(0, crate::address::v4(10, 0, 0, number), V4_PREFIX + 24);
    host.card.take();
    host
}

/// What lies between machines, and the time.
pub struct Wire {
    pub now: u64,
    pub hosts: Vec<Host>,
    /// Every frame that was on it.
    pub seen: Vec<Vec<u8>>,
    /// What becomes of a frame: how often it arrives.
    pub fate: fn(usize, &[u8]) -> usize,
}

impl Wire {
    pub fn new(hosts: Vec<Host>) -> Self {
        Self { now: 1_000_000_000, hosts, seen: Vec::new(), fate: |_, _| 1 }
    }

    /// Carries frames until there are none.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut frames = Vec::new();
            for (from, host) in self.hosts.iter().enumerate() {
                frames.extend(host.card.take().into_iter().map(|frame| (from, frame)));
            }
            if frames.is_empty() {
                return;
            }
            for (from, frame) in frames {
                let times = (self.fate)(self.seen.len(), &frame);
                for _ in 0..times {
                    for (_, host) in self.hosts.iter().enumerate().filter(|(index, _)| *index != from) {
                        host.receive(self.now, &frame, Checksum::Unknown);
                    }
                }
                self.seen.push(frame);
            }
        }
        panic!("the frames do not end");
    }

    /// Lets time pass, and does what becomes due.
    pub fn run(&mut self, duration: u64) {
        let end = self.now + duration;
        self.settle();
        for _ in 0..1_000_000 {
            let next = self.hosts.iter().filter_map(|host| host.stack.deadline()).min().unwrap_or(u64::MAX);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            for host in &self.hosts {
                if host.stack.deadline().is_some_and(|due| due <= self.now) {
                    while !host.with(self.now, Stack::expire) {}
                }
            }
            self.settle();
        }
        panic!("time stands still");
    }
}
