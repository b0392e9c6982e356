//! The socket device (virtio 1.2, 5.10): packets between the sockets of this machine and those of its host.
//!
//! What is received is copied out of memory that is the device's for good, so that nothing that it did not write is ever seen. What is sent is lent to
//! it where it lies.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use isopod_hal::dma::{Dma, address_of};
use isopod_hal::sync::{SpinLock, wait::WaitQueue};
use isopod_hal::{PAGE_SIZE, PhysAddr, log};

use super::queue::Queue;
use super::{Driver, StartError, Transport, Violation, start};
use crate::segment::Segment;

/// Bytes of the header before each packet.
pub const HEADER: usize = 44;
/// Packets that the device can fill before anybody looks, each of a page.
const INCOMING: u16 = 32;
/// Packets that it can be lent at a time.
const OUTGOING: u16 = 64;
/// Events that it can tell before anybody looks: of each its number, which is 0 for the only one that there is.
const EVENTS: u16 = 4;
const EVENT: usize = 4;
/// The device takes and gives messages, not only bytes (`VIRTIO_VSOCK_F_SEQPACKET`).
const MESSAGES: u64 = 1 << 1;

struct Outgoing {
    queue: Queue,
    /// Packets that the device has.
    lent: Vec<Option<Vec<u8>>>,
    /// The numbers of others.
    free: Vec<u16>,
}

/// A socket device.
pub struct VirtioVsock {
    transport: Arc<dyn Transport>,
    /// The machine's address, which changes when the machine is moved to another host.
    cid: AtomicU32,
    messages: bool,
    incoming: SpinLock<Queue>,
    /// Buffers for them.
    buffers: Dma,
    outgoing: SpinLock<Outgoing>,
    events: SpinLock<Queue>,
    /// There was an interrupt, and nobody has looked yet.
    interrupted: AtomicBool,
    attention: WaitQueue,
    /// All connections have been lost, and nobody knows yet.
    lost: AtomicBool,
    /// The device broke the rules.
    dead: AtomicBool,
}

impl VirtioVsock {
    /// Starts the device behind `transport`, ready to receive.
    pub fn start(transport: Box<dyn Transport>) -> Result<Arc<Self>, StartError> {
        let device = start(
            transport,
            |_| MESSAGES,
            1,
            |transport, features| {
                let mut incoming = Queue::new(&*transport, 0, INCOMING, 0, features)?;
                let buffers = Dma::pages(usize::from(incoming.size()))?;
                (0..incoming.size()).for_each(|buffer| offer(&mut incoming, &buffers, buffer));
                let mut queue = Queue::new(&*transport, 1, OUTGOING, 0, features)?;
                // What has been sent is collected when there is more to send.
                queue.silence();
                let slots = queue.size() / 2;
                let lent = (0..slots).map(|_| None).collect();
                let outgoing = Outgoing { queue, lent, free: (0..slots).collect() };
                let mut events = Queue::new(&*transport, 2, EVENTS, usize::from(EVENTS) * EVENT, features)?;
                (0..events.size()).for_each(|event| offer_event(&mut events, event));
                Ok(Self {
                    cid: AtomicU32::new(transport.config(0)),
                    transport,
                    messages: features & MESSAGES != 0,
                    incoming: SpinLock::new(incoming),
                    buffers,
                    outgoing: SpinLock::new(outgoing),
                    events: SpinLock::new(events),
                    interrupted: AtomicBool::new(false),
                    attention: WaitQueue::new(),
                    lost: AtomicBool::new(false),
                    dead: AtomicBool::new(false),
                })
            },
        )?;
        device.incoming.lock().kick(&*device.transport);
        device.events.lock().kick(&*device.transport);
        Ok(device)
    }

    /// The machine's address.
    pub fn cid(&self) -> u32 {
        self.cid.load(Ordering::Relaxed)
    }

    /// Whether it knows messages, not only bytes.
    pub fn knows_messages(&self) -> bool {
        self.messages
    }

    /// Takes packets that came in until there are `limit`; true if there may be more. Where there is no memory for one, all connections are lost.
    pub fn receive(&self, limit: usize, packets: &mut Vec<Vec<u8>>) -> bool {
        if self.is_dead() || packets.try_reserve(limit).is_err() {
            return false;
        }
        let mut queue = self.incoming.lock();
        let outcome = loop {
            if packets.len() >= limit {
                break Ok(true);
            }
            match queue.pop() {
                Ok(Some(done)) => {
                    let (at, length) = (usize::from(done.token) * PAGE_SIZE, done.written as usize);
                    let mut packet = Vec::new();
                    let copied = self.buffers.append_to(at, length, &mut packet);
                    offer(&mut queue, &self.buffers, done.token);
                    if copied.is_err() {
                        // What is lost of a stream cannot be had again.
                        break Err(None);
                    }
                    packets.push(packet);
                }
                Ok(None) => break Ok(false),
                Err(violation) => break Err(Some(violation)),
            }
        };
        queue.kick(&*self.transport);
        drop(queue);
        outcome.unwrap_or_else(|violation| {
            match violation {
                Some(violation) => self.give_up(violation),
                None => self.lost.store(true, Ordering::Release),
            }
            false
        })
    }

    /// Lends the device a packet until it has sent it. It comes back if there is no room; then [`wait`](Self::wait) ends when there is.
    pub fn transmit(&self, packet: Vec<u8>) -> Result<(), Vec<u8>> {
        // One that was given up has lost all connections, and takes nothing any more.
        let (false, Some(address)) = (self.is_dead(), address_of(&packet)) else { return Ok(()) };
        let mut outgoing = self.outgoing.lock();
        let slot = loop {
            if let Err(violation) = outgoing.collect() {
                drop(outgoing);
                self.give_up(violation);
                return Ok(());
            }
            if let Some(slot) = outgoing.free.pop() {
                break slot;
            }
            if outgoing.queue.listen() {
                return Err(packet);
            }
        };
        let segment = |at: usize, len: usize| Segment {
            address: PhysAddr::new(address.as_u64() + at as u64),
            len: len as u32,
        };
        // The header by itself, for devices that expect it so.
        let parts = [segment(0, HEADER), segment(HEADER, packet.len() - HEADER)];
        let count = if packet.len() > HEADER { 2 } else { 1 };
        outgoing.queue.push(slot, &parts[..count], 0);
        outgoing.lent[usize::from(slot)] = Some(packet);
        outgoing.queue.kick(&*self.transport);
        Ok(())
    }

    /// Whether all connections have been lost, which is then told no more: the machine was moved to another host (5.10.6.7), or the device is given up.
    pub fn takes_loss(&self) -> bool {
        if !self.is_dead() {
            let mut events = self.events.lock();
            loop {
                match events.pop() {
                    Ok(Some(done)) => {
                        offer_event(&mut events, done.token);
                        self.cid.store(self.transport.config(0), Ordering::Relaxed);
                        self.lost.store(true, Ordering::Release);
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        drop(events);
                        self.give_up(violation);
                        return self.lost.swap(false, Ordering::AcqRel);
                    }
                }
            }
            events.kick(&*self.transport);
        }
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Waits until there is something to do: packets that came in, if they are `wanted`, room for those that found none, an event. It may end without.
    pub async fn wait(&self, wanted: bool) {
        let ready = || {
            self.interrupted.swap(false, Ordering::AcqRel)
                || !self.is_dead()
                    && (wanted && !self.incoming.lock().listen() || !self.events.lock().listen())
        };
        self.attention.until(|| ready().then_some(())).await;
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Stops a device that broke the rules.
    fn give_up(&self, violation: Violation) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            log!("virtio-vsock: device given up: {violation}");
            self.transport.reset();
            self.lost.store(true, Ordering::Release);
            self.interrupted.store(true, Ordering::Release);
            self.attention.wake_all();
        }
    }
}

impl Outgoing {
    /// Takes back what has been sent.
    fn collect(&mut self) -> Result<(), Violation> {
        while let Some(done) = self.queue.pop()? {
            self.lent[usize::from(done.token)] = None;
            self.free.push(done.token);
        }
        Ok(())
    }
}

/// Gives a buffer to the device.
fn offer(queue: &mut Queue, buffers: &Dma, buffer: u16) {
    let address = PhysAddr::new(buffers.phys().as_u64() + u64::from(buffer) * PAGE_SIZE as u64);
    queue.push(buffer, &[Segment { address, len: PAGE_SIZE as u32 }], 1);
}

/// Gives a place for an event to the device.
fn offer_event(queue: &mut Queue, event: u16) {
    let address = queue.address(queue.spare() + usize::from(event) * EVENT);
    queue.push(event, &[Segment { address, len: EVENT as u32 }], 1);
}

impl Driver for VirtioVsock {
    fn on_interrupt(&self, _: Option<u16>) {
        self.transport.acknowledge_interrupt(false);
        self.interrupted.store(true, Ordering::Release);
        self.attention.wake_all();
    }
}

impl fmt::Debug for VirtioVsock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtioVsock")
    }
}

#[cfg(test)]
mod tests;
