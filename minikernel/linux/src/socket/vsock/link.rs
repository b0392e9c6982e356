//! The ways that packets take: to the host, and to this machine itself, where a task takes them in as another takes in what the host sends.
//!
//! A socket puts packets on their way under its own lock, so that they keep their order; a way's lock is taken last. Answers find room always: each
//! is to a packet, and no more of those are taken in when too many answers wait.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_drivers::virtio::Transport;
use isopod_drivers::virtio::vsock::VirtioVsock;
use isopod_hal::log;
use isopod_hal::sync::wait::WaitQueue;
use isopod_hal::sync::{Once, SpinLock};

use super::packet::Header;
use super::{CID_ANY, VsockSocket, table};
use crate::sched;

/// So many packets are taken in at a time, before others run.
const BATCH: usize = 32;
/// With so many packets on their way, nobody puts more data there.
const FULL: usize = 64;
/// And nothing is taken in that may be answered.
const OVERFULL: usize = 256;

/// Where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To this machine itself.
    Local,
    /// To the host.
    Host,
}

#[derive(Default)]
struct Line {
    packets: VecDeque<Vec<u8>>,
    /// Who waits for room.
    waiting: Vec<Weak<VsockSocket>>,
}

struct Link {
    device: Option<Arc<VirtioVsock>>,
    lines: [SpinLock<Line>; 2],
    /// Woken when there is something to take in from this machine itself.
    arrived: WaitQueue,
}

static LINK: Once<Link> = Once::new();
/// What leads to the host.
static DEVICE: SpinLock<Option<Box<dyn Transport>>> = SpinLock::new(None);

/// Has packets to the host take this device.
pub fn begin_with(device: Box<dyn Transport>) {
    *DEVICE.lock() = Some(device);
}

/// The ways, which begin when they are first asked for.
fn link() -> &'static Link {
    LINK.get().unwrap_or_else(|| {
        // Who comes second waits here.
        let mut device = DEVICE.lock();
        LINK.get_or_init(|| {
            let started = device.take().map(VirtioVsock::start).transpose();
            let device = started.unwrap_or_else(|error| {
                log!("virtio: socket device left out: {error}");
                None
            });
            sched::spawn(serve_local());
            if let Some(device) = &device {
                sched::spawn(serve_host(Arc::clone(device)));
            }
            Link { device, lines: Default::default(), arrived: WaitQueue::new() }
        })
    })
}

/// This machine's address, if the host has given it one.
pub fn own_cid() -> Option<u32> {
    link().device.as_ref().map(|device| device.cid()).filter(|cid| *cid != CID_ANY)
}

/// The way to the host, if there is one, and whether it knows messages.
pub fn host() -> Option<bool> {
    link().device.as_ref().map(|device| device.knows_messages())
}

fn line(way: Way) -> &'static SpinLock<Line> {
    &link().lines[way as usize]
}

/// Puts a packet on its way.
pub fn send(way: Way, packet: Vec<u8>) {
    line(way).lock().packets.push_back(packet);
    match way {
        Way::Local => link().arrived.wake_all(),
        Way::Host => flush(),
    }
}

/// Whether there is room for data. Else `socket` is woken when there is.
pub fn has_room(way: Way, socket: &Weak<VsockSocket>) -> bool {
    let mut line = line(way).lock();
    let room = line.packets.len() < FULL;
    if !room && !line.waiting.iter().any(|known| known.ptr_eq(socket)) {
        line.waiting.push(Weak::clone(socket));
    }
    room
}

impl Line {
    /// Who is to be woken, now that packets have gone.
    fn made_room(&mut self) -> Vec<Weak<VsockSocket>> {
        if self.packets.len() < FULL { core::mem::take(&mut self.waiting) } else { Vec::new() }
    }
}

/// Gives the device what it has room for.
fn flush() {
    let Some(device) = &link().device else { return };
    let mut line = line(Way::Host).lock();
    while let Some(packet) = line.packets.pop_front() {
        if let Err(packet) = device.transmit(packet) {
            line.packets.push_front(packet);
            break;
        }
    }
}

fn wake(sockets: &[Weak<VsockSocket>]) {
    sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.wake());
}

/// Takes in what this machine sends to itself, so many packets of it; true if there is more.
pub fn take_local(limit: usize) -> bool {
    for _ in 0..limit {
        let mut line = line(Way::Local).lock();
        let Some(packet) = line.packets.pop_front() else { return false };
        let waiting = line.made_room();
        drop(line);
        wake(&waiting);
        take_in(&packet, Way::Local);
    }
    true
}

async fn serve_local() {
    loop {
        if take_local(BATCH) {
            sched::give_way().await;
        } else {
            let arrived = || (!line(Way::Local).lock().packets.is_empty()).then_some(());
            link().arrived.until(arrived).await;
        }
    }
}

async fn serve_host(device: Arc<VirtioVsock>) {
    let mut packets = Vec::new();
    loop {
        let wanted = line(Way::Host).lock().packets.len() < OVERFULL;
        let more = wanted && device.receive(BATCH, &mut packets);
        for packet in packets.drain(..) {
            take_in(&packet, Way::Host);
        }
        if device.takes_loss() {
            while let Some(socket) = table::connected_to_host() {
                socket.lose();
            }
        }
        flush();
        let waiting = line(Way::Host).lock().made_room();
        wake(&waiting);
        if more {
            sched::give_way().await;
        } else {
            device.wait(wanted).await;
        }
    }
}

/// Takes a packet in; one that belongs to no connection is answered so.
fn take_in(packet: &[u8], way: Way) {
    let Some((header, data)) = Header::split(packet) else { return };
    let taken = table::find(&header, way).is_some_and(|socket| socket.take_in(&header, data, way));
    if let Some(refusal) = header.refusal().filter(|_| !taken) {
        send(way, refusal);
    }
}
