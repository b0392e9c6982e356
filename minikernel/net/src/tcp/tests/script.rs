//! One host of ours and a peer that says exactly what a test has it say, in the manner of packetdrill. Sequence numbers are relative: the SYN of either
//! side is 0.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::VecDeque;
use std::vec::Vec;

use super::network::{Ignore, read};
use crate::chunk::{Chunk, Chunks};
use crate::tcp::{
    Claim, Connection, Endpoint, Error, Events, Flags, Flow, Listener, MILLISECOND, Observer, Options,
    Output, Path, Scope, SegmentHeader, Send, Seq, SocketOptions, State, Stream, Tcp, Timestamps,
};
use core::sync::atomic::{AtomicU32, Ordering};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Where the peer's sequence numbers begin: they wrap in most tests.
const PEER: u32 = 0xffff_ff00;

pub const SYN: Flags = Flags::SYN;
pub const ACK: Flags = Flags::ACK;
pub const FIN: Flags = Flags::FIN;
pub const RST: Flags = Flags::RST;

/// A segment that our host sent, with relative numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub flags: Flags,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub len: usize,
    pub header: SegmentHeader,
}

pub struct Outbox {
    sent: VecDeque<(SegmentHeader, usize)>,
    mss: u16,
    burst: u32,
}

impl Output for Outbox {
    fn segment(&mut self, _: &Flow, header: &SegmentHeader, payload: Chunks) {
        self.sent.push_back((header.clone(), payload.len()));
    }

    fn path(&self, _: &Flow) -> Path {
        Path { mss: self.mss, burst: self.burst }
    }
}

/// Counts how often a program that waits to write is woken.
#[derive(Debug, Default)]
pub struct Writer(AtomicU32);

impl Writer {
    /// Watches a connection.
    pub fn of(stream: &Stream) -> Arc<Self> {
        let writer = Arc::new(Self::default());
        stream.observe(Some(writer.clone()));
        writer
    }

    pub fn woken(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Writer {
    fn notify(&self, events: Events) {
        self.0.fetch_add(u32::from(events.contains(Events::WRITABLE)), Ordering::Relaxed);
    }
}

/// What the peer's segments are like where a test does not say.
#[derive(Clone, Debug)]
pub struct Peer {
    pub window: u16,
    pub mss: u16,
    pub sack: bool,
    /// Its clock, where it uses timestamps.
    pub clock: Option<u32>,
    pub scale: Option<u8>,
    /// How long its last segment of the handshake takes, in milliseconds.
    pub handshake: u64,
}

impl Default for Peer {
    /// Without timestamps a segment carries a round thousand.
    fn default() -> Self {
        Self { window: 60_000, mss: 1000, sack: true, clock: None, scale: None, handshake: 0 }
    }
}

pub struct Script {
    pub tcp: Arc<Tcp>,
    pub now: u64,
    pub peer: Peer,
    out: Outbox,
    /// Our initial sequence number, once it is known.
    iss: Option<Seq>,
    clock: u32,
    pub port: u16,
    pub peer_port: u16,
}

impl Script {
    pub fn new(peer: Peer) -> Self {
        let random = core::array::from_fn(|index| 0x1234_5678_9abc_def1 * (index as u64 + 1));
        Self::on(Arc::new(Tcp::new(random)), peer)
    }

    pub fn on(tcp: Arc<Tcp>, peer: Peer) -> Self {
        let out = Outbox { sent: VecDeque::new(), mss: 1460, burst: 0 };
        Self { tcp, now: 1_000_000 * MILLISECOND, peer, out, iss: None, clock: 0, port: 80, peer_port: 5000 }
    }

    /// The device takes payloads of this length and cuts them.
    pub fn set_burst(&mut self, burst: u32) {
        self.out.burst = burst;
    }

    pub fn listen(&mut self, backlog: usize, options: SocketOptions) -> Arc<Listener> {
        let claim = Claim { reuse_address: true, ..Claim::new(Scope::Any) };
        let binding = self.tcp.bind(self.port, claim).unwrap();
        self.tcp.listen(binding, Scope::Any, backlog, options, Arc::new(Ignore)).unwrap()
    }

    pub fn connect(&mut self, options: &SocketOptions) -> Arc<Stream> {
        let flow = Flow { local: Endpoint::new(LOCAL, 0), remote: Endpoint::new(REMOTE, self.peer_port) };
        let stream =
            self.tcp.connect(flow, None, options, Arc::new(Ignore), self.now, &mut self.out).unwrap();
        self.port = stream.flow().local.port;
        stream
    }

    /// A connection that the peer has opened.
    pub fn accepted(&mut self, options: SocketOptions) -> Arc<Stream> {
        let listener = self.listen(1, options);
        self.open();
        let stream = listener.accept().unwrap();
        self.nothing();
        self.stop(&listener);
        stream
    }

    /// Nobody listens any more.
    pub fn stop(&mut self, listener: &Listener) {
        let Self { tcp, now, out, .. } = self;
        listener.close(tcp, *now, out);
    }

    /// The peer's handshake with a listener.
    pub fn open(&mut self) {
        self.syn(0);
        let answer = self.next();
        assert_eq!((answer.flags, answer.sequence, answer.acknowledgment), (SYN | ACK, 0, 1));
        self.wait(self.peer.handshake);
        self.says(ACK, 1, 1, 0);
    }

    /// The peer's SYN, with the options it has.
    pub fn syn(&mut self, sequence: u32) {
        let options = self.syn_options();
        self.sends(SYN, sequence, 0, 0, options);
    }

    pub fn syn_options(&self) -> Options {
        Options {
            maximum_segment_size: Some(self.peer.mss),
            window_scale: self.peer.scale,
            sack_permitted: self.peer.sack,
            ..self.plain_options()
        }
    }

    pub fn plain_options(&self) -> Options {
        let timestamps = self.peer.clock.map(|value| Timestamps { value, echo: 0 });
        Options { timestamps, ..Options::default() }
    }

    /// The peer sends a segment.
    pub fn says(&mut self, flags: Flags, sequence: u32, acknowledgment: u32, len: usize) {
        let options = self.plain_options();
        self.sends(flags, sequence, acknowledgment, len, options);
    }

    /// The peer acknowledges everything before a number, and echoes our clock where it uses timestamps.
    pub fn acknowledge(&mut self, acknowledgment: u32) {
        let echo = self.our_clock();
        let timestamps = self.peer.clock.map(|value| Timestamps { value, echo });
        self.sends(ACK, 1, acknowledgment, 0, Options { timestamps, ..Options::default() });
    }

    /// The last timestamp of ours that the peer saw.
    pub fn our_clock(&self) -> u32 {
        self.clock
    }

    /// A router tells that the path is narrower.
    pub fn path_changed(&mut self, flow: &Flow, quoted: Seq, mss: u16) {
        self.tcp.path_changed(self.now, flow, quoted, mss, &mut self.out);
    }

    /// The peer acknowledges, selectively too.
    pub fn sacks(&mut self, sequence: u32, acknowledgment: u32, blocks: &[(u32, u32)]) {
        let iss = self.iss.unwrap();
        let mut options = self.plain_options();
        for (place, block) in options.sack.iter_mut().zip(blocks) {
            *place = Some((iss + block.0, iss + block.1));
        }
        self.sends(ACK, sequence, acknowledgment, 0, options);
    }

    pub fn sends(&mut self, flags: Flags, sequence: u32, acknowledgment: u32, len: usize, options: Options) {
        let header = SegmentHeader {
            source: self.peer_port,
            destination: self.port,
            sequence: Seq(PEER) + sequence,
            acknowledgment: self.iss.unwrap_or_default() + acknowledgment,
            flags,
            window: self.peer.window,
            options,
            ..SegmentHeader::default()
        };
        self.deliver(&header, len);
    }

    /// The peer sends data of which the last of the first `urgent` bytes is urgent.
    pub fn urgent(&mut self, sequence: u32, urgent: u16, len: usize) {
        let header = SegmentHeader {
            source: self.peer_port,
            destination: self.port,
            sequence: Seq(PEER) + sequence,
            acknowledgment: self.iss() + 1,
            flags: ACK | Flags::URG,
            window: self.peer.window,
            urgent,
            ..SegmentHeader::default()
        };
        self.deliver(&header, len);
    }

    /// The peer sends data in segments of `size` that a device has put together.
    pub fn glued(&mut self, sequence: u32, len: usize, size: u16) {
        let header = SegmentHeader {
            source: self.peer_port,
            destination: self.port,
            sequence: Seq(PEER) + sequence,
            acknowledgment: self.iss() + 1,
            flags: ACK,
            window: self.peer.window,
            segment_size: size,
            ..SegmentHeader::default()
        };
        self.deliver(&header, len);
    }

    /// The bytes of a payload are the relative sequence numbers, so that a test sees what it reads.
    pub fn deliver(&mut self, header: &SegmentHeader, len: usize) {
        let first = header.sequence - Seq(PEER);
        let bytes: Vec<u8> = (0..len as u32).map(|offset| (first + offset) as u8).collect();
        let payload = Chunks::from(Chunk::copy_of(&bytes).unwrap());
        let flow =
            Flow { local: Endpoint::new(LOCAL, self.port), remote: Endpoint::new(REMOTE, self.peer_port) };
        self.tcp.receive(self.now, &flow, header, payload, &mut self.out);
    }

    /// The next segment that our host sent.
    pub fn next(&mut self) -> Sent {
        self.poll().expect("a segment")
    }

    pub fn poll(&mut self) -> Option<Sent> {
        let (header, len) = self.out.sent.pop_front()?;
        self.clock = header.options.timestamps.map_or(0, |timestamps| timestamps.value);
        if header.flags.contains(Flags::SYN) {
            self.iss = Some(header.sequence);
        }
        let sequence = header.sequence - self.iss.unwrap_or_default();
        let acknowledgment =
            if header.flags.contains(Flags::ACK) { header.acknowledgment - Seq(PEER) } else { 0 };
        Some(Sent { flags: header.flags - Flags::PSH, sequence, acknowledgment, len, header })
    }

    /// The next segment is this.
    #[track_caller]
    pub fn expect(&mut self, flags: Flags, sequence: u32, acknowledgment: u32, len: usize) -> Sent {
        let sent = self.poll().unwrap_or_else(|| panic!("nothing was sent, not {flags:?} {sequence}+{len}"));
        assert_eq!(
            (sent.flags, sent.sequence, sent.acknowledgment, sent.len),
            (flags, sequence, acknowledgment, len)
        );
        sent
    }

    /// Our host has sent nothing more.
    #[track_caller]
    pub fn nothing(&mut self) {
        if let Some(sent) = self.poll() {
            panic!("unexpected: {sent:?}");
        }
    }

    /// Time passes.
    pub fn wait(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds * MILLISECOND;
        while let Some(at) = self.tcp.deadline().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.tcp.expire(self.now, &mut self.out);
        }
        self.now = until;
    }

    /// Does something with a connection.
    pub fn with<R>(
        &mut self,
        stream: &Stream,
        action: impl FnOnce(&mut Connection, u64, &mut dyn Output) -> R,
    ) -> R {
        let Self { tcp, now, out, .. } = self;
        stream.with(tcp, *now, |connection| action(connection, *now, out))
    }

    pub fn write(&mut self, stream: &Stream, len: usize) {
        self.write_as(stream, len, Send::default());
    }

    pub fn write_as(&mut self, stream: &Stream, len: usize, how: Send) {
        let bytes: Vec<u8> = (0..len).map(|offset| offset as u8).collect();
        self.with(stream, |connection, now, out| {
            connection.send(now, Chunk::copy_of(&bytes).unwrap(), how, out)
        })
        .unwrap();
    }

    pub fn read(&mut self, stream: &Stream, limit: usize) -> Result<Vec<u8>, Error> {
        self.with(stream, |connection, now, out| read(connection, now, limit, out))
    }

    pub fn close(&mut self, stream: &Stream) {
        self.with(stream, |connection, now, out| connection.close(now, out));
    }

    pub fn shut_down(&mut self, stream: &Stream) {
        self.with(stream, |connection, now, out| connection.shut_down(now, false, true, out));
    }

    /// From now on the peer is the one of another connection.
    pub fn turn_to(&mut self, (port, iss): (u16, Seq)) {
        (self.peer_port, self.iss) = (port, Some(iss));
    }

    /// Our initial sequence number.
    pub fn iss(&self) -> Seq {
        self.iss.unwrap()
    }

    /// How many flows the table has.
    pub fn flows(&self) -> usize {
        let mut count = 0;
        self.tcp.each(&mut |_| count += 1);
        count
    }
}

pub fn state(stream: &Stream) -> State {
    stream.look(Connection::state)
}
