//! A link on which anything may come, and a program that sends meanwhile. The sums of what comes are put right if the input wants that, or hardly a
//! frame would get beyond the first check.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use isopod_hal::sync::wait::WaitQueue;
use isopod_net::address::{ANY, Address, SocketAddress, V4_PREFIX, v4};
use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::endpoint::{Endpoint, Switches};
use isopod_net::interface::InterfaceAddress;
use isopod_net::link::port::{Checksum, Frame, Offloads, Port, Received};
use isopod_net::packet::Outbox;
use isopod_net::stack::Stack;
use isopod_net::tcp::{Claim, Events, Listener, Observer, Scope, SocketOptions};
use isopod_net::udp::Manner;

/// This machine's addresses.
pub const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CARD: u32 = 2;
const SECOND: u64 = 1_000_000_000;

/// A card that counts, and takes no more than so many frames before it is told that they are gone.
#[derive(Default)]
struct Card {
    waiting: AtomicUsize,
    sent: AtomicUsize,
    kinds: Mutex<Vec<u16>>,
}

impl Port for Card {
    fn hardware_address(&self) -> [u8; 6] {
        HARDWARE
    }

    fn mtu(&self) -> u32 {
        1500
    }

    fn is_up(&self) -> bool {
        true
    }

    fn offloads(&self) -> Offloads {
        Offloads::SUMS
    }

    fn transmit(&self, frame: &mut Frame) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= 64 {
            return false;
        }
        assert!(frame.len() <= 1514 && frame.segment.is_none(), "longer than the link takes");
        let headers = frame.headers();
        self.kinds.lock().expect("nobody failed").push(u16::from_be_bytes([headers[12], headers[13]]));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn flush(&self) {}
}

#[derive(Debug)]
struct Ignore;

impl Observer for Ignore {
    fn notify(&self, _: Events) {}
}

struct Machine {
    stack: Stack,
    card: Arc<Card>,
    endpoint: Arc<Endpoint>,
    listener: Arc<Listener>,
    now: u64,
    reached: usize,
}

/// How many datagrams and connections came, frames were sent, and events happened.
pub fn run(data: &[u8]) -> usize {
    let mut machine = Machine::new();
    let mut rest = data;
    while let Some((&[what, low, high], others)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(others.len());
        let (bytes, others) = others.split_at(length);
        machine.step(what, bytes);
        rest = others;
    }
    machine.step(6, &[255]);
    machine.reached + machine.card.sent.load(Ordering::Relaxed)
}

impl Machine {
    fn new() -> Self {
        let stack = Stack::new(|| 0x1234_5678_1234_5679);
        let card = Arc::new(Card::default());
        stack.add_interface("eth0", card.clone()).expect("a first card");
        let mut out = Outbox::new(0);
        stack.set_up(CARD, true, &mut out).expect("memory");
        stack.set_autoconfiguration(CARD, true, &mut out).expect("a card");
        stack.set_dhcp(CARD, true, &mut out).expect("a card");
        for (address, prefix) in
            [(v4(10, 0, 0, 1), V4_PREFIX + 24), ("fd00::1".parse().expect("an address"), 64)]
        {
            stack.add_address(CARD, InterfaceAddress::new(address, prefix), &mut out).expect("memory");
        }
        let endpoint = Endpoint::new(17, ANY, 0, 1 << 16, Arc::new(WaitQueue::new()));
        stack.bind(&endpoint, SocketAddress { address: ANY, port: 7 }, 32768..=60999).expect("a free port");
        endpoint.set(Switches::REPORTS | Switches::REPORTS_V6, true);
        stack.join(&endpoint, &v4(239, 1, 2, 3), CARD, &mut out).expect("memory");
        let claim = Claim { reuse_address: true, ..Claim::new(Scope::Any) };
        let binding = stack.tcp.bind(80, claim).expect("a free port");
        let options = SocketOptions::default();
        let listener =
            stack.tcp.listen(binding, Scope::Any, 8, options, Arc::new(Ignore)).expect("nobody else listens");
        stack.deliver(&mut out);
        Self { stack, card, endpoint, listener, now: 0, reached: 0 }
    }

    fn step(&mut self, what: u8, bytes: &[u8]) {
        let mut out = Outbox::new(self.now);
        match what % 8 {
            // As it is, in pieces or not.
            0 => self.receive(bytes.to_vec(), what, Checksum::Unknown, &mut out),
            1..4 => {
                let mut frame = bytes.to_vec();
                repair(&mut frame);
                self.receive(frame, what, Checksum::Verified, &mut out);
            }
            4 => self.send(v4(10, 0, 0, bytes.first().copied().unwrap_or(2)), bytes.len() << 4, &mut out),
            5 => self.send("fd00::2".parse().expect("an address"), bytes.len() << 4, &mut out),
            6 => {
                self.now += u64::from(bytes.first().copied().unwrap_or(0)) * SECOND;
                out.now = self.now;
                let calls = (0..1000).find(|_| self.stack.expire(&mut out));
                assert!(calls.is_some(), "time stands still");
            }
            _ => {
                self.card.waiting.store(0, Ordering::Relaxed);
                self.stack.room(CARD);
                self.stack.announce(CARD, &mut out);
            }
        }
        self.stack.deliver(&mut out);
        while self.endpoint.inbox().take().is_some() {
            self.reached += 1;
        }
        self.endpoint.inbox().take_report();
        self.reached += usize::from(self.listener.accept().is_some());
        while self.stack.next_event().is_some() {
            self.reached += 1;
        }
    }

    fn receive(&self, bytes: Vec<u8>, what: u8, checksum: Checksum, out: &mut Outbox) {
        let mut data = Chunks::new();
        let size = if what & 0x80 == 0 { bytes.len().max(1) } else { usize::from(what >> 3 & 15) + 1 };
        for piece in bytes.chunks(size) {
            data.push(Chunk::copy_of(piece).expect("memory")).expect("memory");
        }
        self.stack.receive(CARD, Received { data, checksum, segment_size: 0 }, out);
    }

    fn send(&self, address: Address, length: usize, out: &mut Outbox) {
        let how = Manner {
            source: ANY,
            interface: 0,
            group_interface: 0,
            hop_limit: 64,
            group_hop_limit: 1,
            traffic_class: 0,
            loops: true,
            discovery: 1,
        };
        let data = Chunk::from(vec![0; length.min(20_000)]).into();
        // What cannot be sent is none of this test's business.
        let _ = self.stack.send(&self.endpoint, Some(SocketAddress { address, port: 9 }), &how, data, out);
    }
}

/// The checksum of bytes (RFC 1071).
fn sum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for (index, byte) in parts.concat().iter().enumerate() {
        sum += u32::from(*byte) << if index % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Puts the sums of IPv4, ICMP and IGMP right.
pub fn repair(frame: &mut [u8]) {
    const ETHERNET: usize = 14;
    let Some((ethernet, packet)) = frame.split_at_mut_checked(ETHERNET) else { return };
    match ethernet[12..] {
        [8, 0] if packet.len() >= 20 => {
            let length = (usize::from(packet[0] & 15) * 4).clamp(20, packet.len());
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]])).clamp(length, packet.len());
            packet[10..12].fill(0);
            let header = sum(&[&packet[..length]]);
            packet[10..12].copy_from_slice(&header);
            if matches!(packet[9], 1 | 2) && total >= length + 4 {
                packet[length + 2..length + 4].fill(0);
                let message = sum(&[&packet[length..total]]);
                packet[length + 2..length + 4].copy_from_slice(&message);
            }
        }
        [0x86, 0xdd] if packet.len() >= 44 && packet[6] == 58 => {
            let total =
                (40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]))).clamp(44, packet.len());
            packet[42..44].fill(0);
            let length = ((total - 40) as u32).to_be_bytes();
            let message = sum(&[&packet[8..40], &length, &[0, 0, 0, 58], &packet[40..total]]);
            packet[42..44].copy_from_slice(&message);
        }
        _ => {}
    }
}
