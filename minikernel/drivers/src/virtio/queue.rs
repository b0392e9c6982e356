//! The split virtqueue (virtio 1.2, 2.7).
//!
//! The device shares the three rings and may write anything into them at any time. So the driver's own state, which
//! descriptors are free and what each buffer is, lives in private memory, and the rings are only written to it and,
//! of the used ring, read once and checked.

use alloc::vec::Vec;

use isopod_hal::dma::{Dma, fence, full_fence};
use isopod_hal::{OutOfMemory, PAGE_SIZE, PhysAddr};

use super::{Doorbell, Rings, StartError, Transport, Violation, feature};
use crate::segment::Segment;

const DESCRIPTOR: usize = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

/// A buffer that the device returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The token it was pushed with.
    pub token: u16,
    /// How many bytes the device says it wrote; at most what the buffer holds.
    pub written: u32,
}

/// A buffer in the hands of the device, kept at its first descriptor.
#[derive(Clone, Copy, Debug)]
struct Chain {
    token: u16,
    descriptors: u16,
    writable: u32,
}

/// Offsets of the rings in their memory, for a queue of a given size.
#[derive(Clone, Copy, Debug)]
struct Layout {
    size: u16,
    /// The ring of buffers for the device: flags, an index, entries; and up to which entry of the other ring the driver wants no interrupt.
    available: usize,
    used_event: usize,
    /// The ring of buffers that come back, likewise; and up to which entry of the other the device wants no notification.
    used: usize,
    available_event: usize,
}

impl Layout {
    fn new(size: u16) -> Self {
        let entries = usize::from(size);
        let available = DESCRIPTOR * entries;
        let used_event = available + 4 + 2 * entries;
        let used = (used_event + 2).next_multiple_of(4);
        Self { size, available, used_event, used, available_event: used + 4 + 8 * entries }
    }
    /// Where in a ring the entry of an index is: sizes are powers of two.
    fn place(self, index: u16) -> usize {
        usize::from(index & (self.size - 1))
    }
    fn available_index(self) -> usize {
        self.available + 2
    }
    fn available_entry(self, index: u16) -> usize {
        self.available + 4 + 2 * self.place(index)
    }
    fn used_index(self) -> usize {
        self.used + 2
    }
    fn used_entry(self, index: u16) -> usize {
        self.used + 4 + 8 * self.place(index)
    }
    fn end(self) -> usize {
        (self.available_event + 2).next_multiple_of(16)
    }
}

/// A split virtqueue and the memory it shares with its device.
#[derive(Debug)]
pub struct Queue {
    number: u16,
    doorbell: Doorbell,
    layout: Layout,
    memory: Dma,
    /// Descriptors that have been used and are free again.
    free: Vec<u16>,
    /// For each that has ever been used, the buffer that begins there. Those behind have not, so that nothing is written for them in advance.
    chains: Vec<Option<Chain>>,
    /// For each of them in a buffer, the one after it.
    links: Vec<u16>,
    event_index: bool,
    /// Buffers ever pushed, as the ring counts them.
    pushed: u16,
    /// Buffers ever pushed, as far as the device knows.
    published: u16,
    /// Buffers ever taken back.
    popped: u16,
}

impl Queue {
    /// As [`Queue::with_vector`], where there is one vector.
    pub fn new(
        transport: &dyn Transport,
        number: u16,
        size: u16,
        spare: usize,
        features: u64,
    ) -> Result<Self, StartError> {
        Self::with_vector(transport, number, size, spare, features, 0)
    }

    /// Makes a queue of at most `size` descriptors (a power of two) and enables it on the device, to interrupt by `vector`. Its memory has
    /// `spare` bytes more, for what the driver shares with the device besides, at [`Queue::spare`].
    pub fn with_vector(
        transport: &dyn Transport,
        number: u16,
        size: u16,
        spare: usize,
        features: u64,
        vector: u16,
    ) -> Result<Self, StartError> {
        let limit = transport.select_queue(number).min(size);
        if limit == 0 {
            return Err(StartError::Queue);
        }
        // The largest power of two that both sides can do.
        let size = 1 << limit.ilog2();
        let layout = Layout::new(size);
        let memory = Dma::pages((layout.end() + spare).div_ceil(PAGE_SIZE))?;
        let rings = Rings {
            descriptors: at(&memory, 0),
            available: at(&memory, layout.available),
            used: at(&memory, layout.used),
        };
        let (free, chains, links) = (with_room(size)?, with_room(size)?, with_room(size)?);
        let doorbell = transport.enable_queue(size, rings, vector)?;
        Ok(Self {
            number,
            doorbell,
            layout,
            memory,
            free,
            chains,
            links,
            event_index: features & feature::EVENT_INDEX != 0,
            pushed: 0,
            published: 0,
            popped: 0,
        })
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.layout.size
    }

    /// The shared memory.
    pub fn memory(&self) -> &Dma {
        &self.memory
    }

    /// Offset of the spare bytes in [`Queue::memory`], a multiple of 16.
    pub fn spare(&self) -> usize {
        self.layout.end()
    }

    /// Physical address of the byte at `offset` of [`Queue::memory`].
    pub fn address(&self, offset: usize) -> PhysAddr {
        at(&self.memory, offset)
    }

    /// How many descriptors are free.
    fn room(&self) -> usize {
        self.free.len() + usize::from(self.layout.size) - self.links.len()
    }

    /// Whether a buffer of so many segments fits now.
    pub fn has_room(&self, segments: usize) -> bool {
        segments <= self.room()
    }

    /// Puts a buffer into the queue, to come back with `token`; false if it does not fit. The device writes the last `written` of its
    /// segments, and reads those before. It does not see it before [`Queue::publish`]. The memory of `segments` must stay until the buffer
    /// comes back or the device is reset.
    pub fn push(&mut self, token: u16, segments: &[Segment], written: usize) -> bool {
        if segments.is_empty() || !self.has_room(segments.len()) {
            return false;
        }
        let (mut next, mut writable) = (None, 0u32);
        // Back to front, so that each descriptor knows its successor.
        for (index, segment) in segments.iter().rev().enumerate() {
            let descriptor = self.free.pop().unwrap_or_else(|| {
                self.chains.push(None);
                self.links.push(0);
                (self.links.len() - 1) as u16
            });
            let mut flags = if next.is_some() { NEXT } else { 0 };
            if index < written {
                flags |= WRITE;
                writable = writable.saturating_add(segment.len);
            }
            let successor = next.unwrap_or(0);
            let offset = DESCRIPTOR * usize::from(descriptor);
            self.memory.write_u64(offset, segment.address.as_u64());
            self.memory.write_u32(offset + 8, segment.len);
            self.memory.write_u16(offset + 12, flags);
            self.memory.write_u16(offset + 14, successor);
            self.links[usize::from(descriptor)] = successor;
            next = Some(descriptor);
        }
        let head = next.unwrap_or(0);
        self.chains[usize::from(head)] = Some(Chain { token, descriptors: segments.len() as u16, writable });
        self.memory.write_u16(self.layout.available_entry(self.pushed), head);
        self.pushed = self.pushed.wrapping_add(1);
        true
    }

    /// Shows the device what was pushed; true if it wants to be notified of it.
    pub fn publish(&mut self) -> bool {
        if self.pushed == self.published {
            return false;
        }
        fence();
        self.memory.write_u16(self.layout.available_index(), self.pushed);
        // The index must be out before the wish is read: the device writes its wish, then looks at the index.
        full_fence();
        let (old, new) = (self.published, self.pushed);
        self.published = new;
        if self.event_index {
            passes(self.memory.read_u16(self.layout.available_event), old, new)
        } else {
            self.memory.read_u16(self.layout.used) & NO_NOTIFY == 0
        }
    }

    /// Shows the device what was pushed, and notifies it if it asked for that.
    pub fn kick(&mut self, transport: &dyn Transport) {
        if self.publish() {
            transport.notify(self.number, self.doorbell);
        }
    }

    /// Takes back a buffer that the device is done with, if there is one.
    pub fn pop(&mut self) -> Result<Option<Completion>, Violation> {
        match self.take()? {
            Some((completion, writable)) if completion.written > writable => Err(Violation::TooMuchWritten),
            taken => Ok(taken.map(|(completion, _)| completion)),
        }
    }

    /// As [`Queue::pop`], whatever the device says it wrote; and how much that could be.
    #[inline]
    pub fn take(&mut self) -> Result<Option<(Completion, u32)>, Violation> {
        let index = self.memory.read_u16(self.layout.used_index());
        if index == self.popped {
            return Ok(None);
        }
        // The index is read before the entry that it announces.
        fence();
        let outstanding = self.published.wrapping_sub(self.popped);
        if index.wrapping_sub(self.popped) > outstanding {
            return Err(Violation::TooManyReturned);
        }
        let entry = self.layout.used_entry(self.popped);
        let (head, written) = (self.memory.read_u32(entry), self.memory.read_u32(entry + 4));
        let slot = usize::try_from(head).ok().and_then(|head| self.chains.get_mut(head));
        let chain = slot.and_then(Option::take).ok_or(Violation::UnknownBuffer)?;
        let mut descriptor = head as u16;
        for _ in 0..chain.descriptors {
            self.free.push(descriptor);
            descriptor = self.links[usize::from(descriptor)];
        }
        self.popped = self.popped.wrapping_add(1);
        Ok(Some((Completion { token: chain.token, written }, chain.writable)))
    }

    /// Whether a buffer has come back.
    pub fn has_used(&self) -> bool {
        self.memory.read_u16(self.layout.used_index()) != self.popped
    }

    /// Buffers that the device has, or had and has not been asked for again.
    pub fn outstanding(&self) -> u16 {
        self.published.wrapping_sub(self.popped)
    }

    /// Asks for an interrupt when the next buffer comes back; false if one has come back already, and may have done
    /// so unheard.
    pub fn listen(&mut self) -> bool {
        self.listen_for(1)
    }

    /// As [`Queue::listen`], when so many buffers come back, or fewer where the device cannot count.
    pub fn listen_for(&mut self, buffers: u16) -> bool {
        let wanted = if self.event_index { buffers.max(1) } else { 1 };
        if self.event_index {
            self.memory.write_u16(self.layout.used_event, self.popped.wrapping_add(wanted - 1));
        } else {
            self.memory.write_u16(self.layout.available, 0);
        }
        // The wish must be out before the index is read: the device writes the index, then looks at the wish.
        full_fence();
        self.memory.read_u16(self.layout.used_index()).wrapping_sub(self.popped) < wanted
    }

    /// Asks the device for no more interrupts, until [`Queue::listen`].
    pub fn silence(&mut self) {
        if self.event_index {
            // Entry numbers wrap after 65536, and no queue is that long.
            self.memory.write_u16(self.layout.used_event, self.popped.wrapping_sub(1));
        } else {
            self.memory.write_u16(self.layout.available, NO_INTERRUPT);
        }
    }
}

fn at(memory: &Dma, offset: usize) -> PhysAddr {
    PhysAddr::new(memory.phys().as_u64() + offset as u64)
}

/// An empty list with room for as many.
fn with_room<T>(size: u16) -> Result<Vec<T>, OutOfMemory> {
    let mut all = Vec::new();
    all.try_reserve_exact(size.into()).map_err(|_| OutOfMemory)?;
    Ok(all)
}

/// Whether going from `old` to `new` entries passes the one after which the other side wants to hear (2.7.10).
fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests;
