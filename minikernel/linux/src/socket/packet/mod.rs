//! Sockets of frames: packet(7).

mod ring;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_fs::file::{Mapping, Ready};
use isopod_fs::{self as fs, Capabilities, Errno, Sink, Source};
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::error::Error;
use isopod_net::watch::{Seen, Watcher, Whose};

use super::filter::{Frame, HEADER, Packet};
use super::inet::{self, stack, state, with_stack};
use super::options::{OptionValue, number, value_of};
use super::{Address, Common, Incoming, Kind, MessageFlags, Outgoing, Shutdown, Socket};
use crate::process::Thread;
use crate::socket::control::Part;
use ring::Ring;

/// `AF_PACKET`
pub const AF_PACKET: u16 = 17;
/// `SOL_PACKET`
pub const SOL_PACKET: u32 = 263;
/// `ETH_P_ALL`: frames of any sort, also those that are sent.
const ALL: u16 = 3;
/// `sizeof(struct sockaddr_ll)`, and where the address on the link is in that, behind the family.
const ADDRESS: usize = 20;
const HARDWARE: usize = 10;
/// `TP_STATUS_USER`, `TP_STATUS_CSUMNOTREADY`, `TP_STATUS_CSUM_VALID`
const GIVEN: u32 = 1;
const SUMS_MISSING: u32 = 8;
const SUMS_RIGHT: u32 = 0x80;
/// What a frame takes besides its bytes.
const DESCRIPTION: usize = 256;
/// `PACKET_ADD_MEMBERSHIP` and the others that there are.
const JOIN: u32 = 1;
const LEAVE: u32 = 2;
const RECEIVE_RING: u32 = 5;
const STATISTICS: u32 = 6;
const AUXILIARY: u32 = 8;
const VERSION: u32 = 10;
/// `PACKET_HDRLEN`
pub const HEADER_LENGTH: u32 = 11;
const RESERVE: u32 = 12;
const TIMESTAMP: u32 = 17;
const IGNORE_SENT: u32 = 23;

/// A socket.
#[expect(missing_debug_implementations, reason = "frames have nothing to show")]
pub struct PacketSocket {
    common: Common,
    state: SpinLock<State>,
    this: Weak<Self>,
    /// Messages tell more than their bytes (`PACKET_AUXDATA`).
    auxiliary: AtomicU32,
    /// It does not see what is sent (`PACKET_IGNORE_OUTGOING`).
    ignores_sent: AtomicU32,
    /// Bytes that are left free in a ring before a frame (`PACKET_RESERVE`).
    reserve: AtomicU32,
    /// How frames lie in a ring (`PACKET_VERSION`).
    version: AtomicU32,
}

#[derive(Default)]
struct State {
    /// The frames that it wants; none if that is 0.
    protocol: u16,
    /// The interface that it wants them of; 0 for any.
    interface: u32,
    /// Frames that wait, and how much memory they take.
    frames: VecDeque<Caught>,
    charged: usize,
    ring: Option<Ring>,
    error: Option<Errno>,
    /// So many it got, and so many found no room, since somebody asked.
    counts: [u32; 2],
    /// What it has asked interfaces to take in (`struct packet_mreq`): the first 16 bytes, and how often.
    memberships: Vec<([u8; 16], u32)>,
}

/// A frame, as much as is kept of it.
struct Caught {
    data: Chunks,
    length: usize,
    from: [u8; ADDRESS],
    /// `TP_STATUS_*`
    status: u32,
    at: u64,
    charge: usize,
}

/// Whether `PACKET_HDRLEN` asks about a form that there is.
pub fn knows_ring(version: i32) -> bool {
    version == ring::SECOND
}

/// A new socket. EPERM, ESOCKTNOSUPPORT
pub fn new(caller: &Thread, kind: Kind, protocol: i32) -> Result<Arc<dyn Socket>, Errno> {
    if !caller.identity().capable(Capabilities::NET_RAW) {
        return Err(Errno::EPERM);
    }
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    // It comes in the network's order.
    let state = State { protocol: u16::from_be(protocol as u16), ..State::default() };
    let socket = Arc::new_cyclic(|this: &Weak<PacketSocket>| PacketSocket {
        common: Common::new(AF_PACKET, kind, 0),
        state: SpinLock::new(state),
        this: Weak::clone(this),
        auxiliary: AtomicU32::new(0),
        ignores_sent: AtomicU32::new(0),
        reserve: AtomicU32::new(0),
        version: AtomicU32::new(0),
    });
    stack().watchers.enter(Arc::clone(&socket) as Arc<dyn Watcher>).map_err(inet::errno)?;
    Ok(socket)
}

/// `struct sockaddr_ll`: the protocol, the interface, and the address on the link as far as it is given. EINVAL if it is too short.
fn parse(address: &Address) -> Result<(u16, u32, [u8; 6]), Errno> {
    let bytes = address.bytes();
    let fixed: &[u8; ADDRESS] = bytes.first_chunk().ok_or(Errno::EINVAL)?;
    if bytes.len() < 2 + HARDWARE + usize::from(fixed[11]) {
        return Err(Errno::EINVAL);
    }
    let hardware = core::array::from_fn(|at| fixed[2 + HARDWARE + at]);
    let interface = u32::from_ne_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    Ok((u16::from_be_bytes([fixed[2], fixed[3]]), interface, hardware))
}

/// A whole one.
fn address_of(protocol: u16, interface: u32, hatype: u16, whose: u8, hardware: &[u8]) -> [u8; ADDRESS] {
    let mut bytes = [0; ADDRESS];
    bytes[..2].copy_from_slice(&AF_PACKET.to_ne_bytes());
    bytes[2..4].copy_from_slice(&protocol.to_be_bytes());
    bytes[4..8].copy_from_slice(&interface.to_ne_bytes());
    bytes[8..10].copy_from_slice(&hatype.to_ne_bytes());
    bytes[10] = whose;
    bytes[11] = hardware.len() as u8;
    bytes[12..12 + hardware.len()].copy_from_slice(hardware);
    bytes
}

impl Watcher for PacketSocket {
    fn see(&self, seen: &Seen<'_>) {
        let frame = Frame::new(seen);
        {
            let state = self.state.lock();
            let wants = state.protocol == ALL
                || state.protocol == frame.protocol && state.protocol != 0 && seen.whose != Whose::Sent;
            let here = state.interface == 0 || state.interface == seen.interface;
            let silent = seen.whose == Whose::Sent && self.ignores_sent.load(Ordering::Relaxed) != 0;
            if !wants || !here || silent {
                return;
            }
        }
        let begin = if self.common.kind == Kind::Raw { 0 } else { HEADER };
        let whole = frame.length().saturating_sub(begin);
        let kept = self
            .common
            .options
            .filter()
            .map_or(whole, |program| (program.run(&Packet { frame: &frame, begin }) as usize).min(whole));
        if kept == 0 {
            return;
        }
        let from =
            address_of(frame.protocol, seen.interface, frame.hatype(), seen.whose as u8, &frame.sender());
        let sums = match seen {
            _ if seen.partial => SUMS_MISSING,
            _ if seen.verified && seen.whose != Whose::Sent => SUMS_RIGHT,
            _ => 0,
        };
        let room = self.common.options.receive_buffer();
        let mut caught = Caught {
            data: Chunks::new(),
            length: whole,
            from,
            status: GIVEN | sums,
            at: clock::realtime_ns(),
            charge: 0,
        };
        let mut state = self.state.lock();
        let taken = if let Some(ring) = &mut state.ring {
            ring.put(&frame, begin, kept, &caught)
        } else if state.charged < room
            && state.frames.try_reserve(1).is_ok()
            && let Some(data) = frame.bytes(begin, kept)
        {
            caught.charge = DESCRIPTION + data.footprint();
            caught.data = data;
            state.charged += caught.charge;
            state.frames.push_back(caught);
            true
        } else {
            false
        };
        state.counts[usize::from(!taken)] += 1;
        drop(state);
        if taken {
            self.common.changed.wake_all();
        }
    }
}

impl PacketSocket {
    /// `PACKET_ADD_MEMBERSHIP`, `PACKET_DROP_MEMBERSHIP`: cards take in all that comes, so that there is nothing to tell them.
    fn change_membership(&self, joins: bool, value: &[u8]) -> Result<(), Errno> {
        let mut asked: [u8; 16] = *value.first_chunk().ok_or(Errno::EINVAL)?;
        let (index, length) = (
            u32::from_ne_bytes([asked[0], asked[1], asked[2], asked[3]]),
            u16::from_ne_bytes([asked[6], asked[7]]),
        );
        asked.get_mut(8 + usize::from(length)..).ok_or(Errno::EINVAL)?.fill(0);
        let there = stack().interface(index).is_some();
        if joins && !there {
            return Err(Errno::ENODEV);
        }
        if joins && length > 6 {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        let place = state.memberships.iter().position(|known| known.0 == asked);
        match (place, joins) {
            (Some(place), true) => state.memberships[place].1 += 1,
            (Some(place), false) if state.memberships[place].1 > 1 => state.memberships[place].1 -= 1,
            (Some(place), false) => drop(state.memberships.swap_remove(place)),
            (None, false) => {}
            (None, true) => {
                state.memberships.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                state.memberships.push((asked, 1));
            }
        }
        Ok(())
    }

    /// `PACKET_RX_RING`
    fn set_ring(&self, value: &[u8]) -> Result<(), Errno> {
        let [block_size, blocks, frame_size, frames] =
            *value.as_chunks().0.first_chunk::<4>().ok_or(Errno::EINVAL)?;
        let asked = [block_size, blocks, frame_size, frames].map(u32::from_ne_bytes);
        let (version, reserve) = (self.version.load(Ordering::Relaxed), self.reserve.load(Ordering::Relaxed));
        if asked[1] != 0 && self.state.lock().ring.is_some() {
            return Err(Errno::EBUSY);
        }
        let ring = Ring::new(asked, version, reserve, self.common.kind)?;
        let mut state = self.state.lock();
        state.ring = ring;
        let old = core::mem::take(&mut state.frames);
        state.charged = 0;
        drop(state);
        drop(old);
        Ok(())
    }
}

impl Socket for PacketSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, _: &Thread, address: &Address) -> fs::Result<()> {
        let (protocol, interface, _) = parse(address)?;
        if address.family() != Some(AF_PACKET) {
            return Err(Errno::EINVAL.into());
        }
        let found = match interface {
            0 => None,
            interface => Some(stack().interface(interface).ok_or(Errno::ENODEV)?),
        };
        let mut state = self.state.lock();
        // Who names no protocol keeps the one that it has.
        if protocol != 0 {
            state.protocol = protocol;
        }
        state.interface = interface;
        if found.is_some_and(|found| !found.is_up()) {
            state.error = Some(Errno::ENETDOWN);
        }
        Ok(())
    }

    fn listen(&self, _: &Thread, _: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self, _: bool) -> Result<Arc<dyn Socket>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn connect(&self, _: &Thread, _: &Address, _: bool) -> fs::Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    fn name(&self) -> Result<Address, Errno> {
        let (protocol, index) = {
            let state = self.state.lock();
            (state.protocol, state.interface)
        };
        let interface = stack().interface(index);
        let hatype = interface.as_ref().map_or(0, |interface| state::kind(interface));
        let hardware = interface.map(|interface| interface.hardware_address().unwrap_or_default());
        let bytes =
            address_of(protocol, index, hatype, 0, hardware.as_ref().map_or(&[], |address| &address[..]));
        let length = 2 + HARDWARE + hardware.map_or(0, |address| address.len());
        Ok(Address::new(AF_PACKET, &bytes[2..length]))
    }

    fn peer_name(&self) -> Result<Address, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn shut_down(&self, _: Shutdown) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn send(&self, message: &mut Outgoing, source: &mut dyn Source) -> fs::Result<usize> {
        let (protocol, index, to) = if let Some(to) = &message.to {
            parse(to)?
        } else {
            let state = self.state.lock();
            (state.protocol, state.interface, [0; 6])
        };
        let interface = stack().interface(index).ok_or(Errno::ENXIO)?;
        if !interface.is_up() {
            return Err(Errno::ENETDOWN.into());
        }
        let length = source.remaining();
        let header = if self.common.kind == Kind::Raw { HEADER } else { 0 };
        if length > interface.mtu() as usize + header {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut bytes = Vec::new();
        let begin = HEADER - header;
        bytes.try_reserve_exact(begin + length)?;
        bytes.resize(begin + length, 0);
        if self.common.kind == Kind::Datagram {
            // Without an address there is none to write (`eth_header`).
            if message.to.is_none() && interface.hardware_address().is_some() {
                return Err(Errno::EINVAL.into());
            }
            bytes[..6].copy_from_slice(&to);
            bytes[6..12].copy_from_slice(&interface.hardware_address().unwrap_or_default());
            bytes[12..HEADER].copy_from_slice(&protocol.to_be_bytes());
        }
        if source.take(&mut bytes[begin..]) < length {
            return Ok(0);
        }
        with_stack(|stack, out| stack.send_frame(index, Chunk::from(bytes).into(), out)).map_err(
            |error| match error {
                Error::NoInterface => Errno::ENXIO,
                error => inet::errno(error),
            },
        )?;
        Ok(length)
    }

    fn receive(&self, message: &mut Incoming, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if message.flags.contains(MessageFlags::OUT_OF_BAND) {
            return Err(Errno::EINVAL);
        }
        if message.flags.contains(MessageFlags::ERROR_QUEUE) {
            return Err(Errno::EAGAIN);
        }
        let mut state = self.state.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let first = state.frames.front().ok_or(Errno::EAGAIN)?;
        let Some(copied) = super::copy_out(&first.data, 0, message, sink) else { return Ok(0) };
        let whole = first.data.len();
        message.from = Some(Address::new(AF_PACKET, &first.from[2..]));
        if self.auxiliary.load(Ordering::Relaxed) != 0 {
            // `struct tpacket_auxdata`
            let network = if self.common.kind == Kind::Raw { HEADER as u32 } else { 0 };
            let words = [first.status, first.length as u32, whole as u32, network << 16, 0];
            let data = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            message.parts.push(Part { level: SOL_PACKET, kind: AUXILIARY, data });
        }
        super::inet::tell_time(first.at, &self.common.options, &mut message.parts);
        if !message.peeks() {
            let gone = state.frames.pop_front();
            state.charged -= gone.as_ref().map_or(0, |gone| gone.charge);
            drop(state);
            drop(gone);
        }
        Ok(if message.flags.contains(MessageFlags::CUT) { whole } else { copied })
    }

    fn ready(&self) -> Ready {
        let state = self.state.lock();
        let mut ready = Ready::WRITABLE | Ready::WRITE_BAND;
        let ring = state.ring.as_ref().is_some_and(Ring::is_filled);
        ready.set(Ready::READABLE, ring || !state.frames.is_empty());
        ready.set(Ready::ERROR, state.error.is_some());
        ready
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.state.lock().frames.front().map_or(0, |first| first.data.len()))
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Ok(0)
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listens(&self) -> bool {
        false
    }

    fn option(&self, level: u32, name: u32) -> Result<OptionValue, Errno> {
        if level != SOL_PACKET {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = match name {
            STATISTICS => {
                let [got, lost] = core::mem::take(&mut self.state.lock().counts);
                return Ok([got + lost, lost].iter().flat_map(|count| count.to_ne_bytes()).collect());
            }
            AUXILIARY => &self.auxiliary,
            VERSION => &self.version,
            HEADER_LENGTH => return Ok(value_of(ring::HEADER as u32)),
            RESERVE => &self.reserve,
            IGNORE_SENT => &self.ignores_sent,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(value_of(number.load(Ordering::Relaxed)))
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_PACKET {
            return Err(Errno::ENOPROTOOPT);
        }
        let given = number(value);
        let has_ring = || self.state.lock().ring.is_some();
        match name {
            JOIN | LEAVE => return self.change_membership(name == JOIN, value),
            RECEIVE_RING => return self.set_ring(value),
            AUXILIARY => self.auxiliary.store(u32::from(given? != 0), Ordering::Relaxed),
            VERSION if given? != ring::SECOND => return Err(Errno::EINVAL),
            VERSION | RESERVE if has_ring() => return Err(Errno::EBUSY),
            VERSION => self.version.store(ring::SECOND.cast_unsigned(), Ordering::Relaxed),
            RESERVE if given? < 0 => return Err(Errno::EINVAL),
            RESERVE => self.reserve.store(given?.cast_unsigned(), Ordering::Relaxed),
            // The only times are this machine's.
            TIMESTAMP => drop(given?),
            IGNORE_SENT if !(0..=1).contains(&given?) => return Err(Errno::EINVAL),
            IGNORE_SENT => self.ignores_sent.store(given?.cast_unsigned(), Ordering::Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn mapping(&self) -> fs::Result<Mapping> {
        let state = self.state.lock();
        Ok(Mapping::Inode(state.ring.as_ref().ok_or(Errno::EINVAL)?.memory()))
    }

    fn close(&self) {
        if let Some(this) = self.this.upgrade() {
            stack().watchers.remove(&*this);
        }
        let gone = core::mem::take(&mut *self.state.lock());
        drop(gone);
    }
}
