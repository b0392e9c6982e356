//! A pair of queues (NVMe 4): commands go to the device by one and come back by the other.

use alloc::sync::Arc;

use isopod_hal::dma::{Dma, fence};
use isopod_hal::mmio::Mmio;
use isopod_hal::{OutOfMemory, PAGE_SIZE, PhysAddr};

/// Where doorbells begin.
pub(super) const DOORBELLS: usize = 0x1000;
const SUBMISSION: usize = 64;
const COMPLETION: usize = 16;

/// What a command says (4.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub opcode: u8,
    /// With what it comes back.
    pub id: u16,
    pub namespace: u32,
    /// Its pages: the first one, and the second or a list of the others.
    pub data: [u64; 2],
    /// Words 10 to 12.
    pub words: [u32; 3],
}

/// A command that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    pub id: u16,
    /// 0, or why it failed (4.6.1), without the bit of the phase.
    pub status: u16,
}

/// A pair of queues of one size.
pub(super) struct Queues {
    registers: Arc<Mmio>,
    /// Where the doorbells of both are.
    doorbells: [usize; 2],
    size: u16,
    /// A page each.
    memory: Dma,
    /// Where the next command is written, and what the device knows of it.
    tail: u16,
    /// Where the next one that comes back is read, and how the device marks it as new.
    head: u16,
    phase: bool,
    /// What came back and the device does not yet know to be read.
    unreleased: bool,
}

impl Queues {
    /// Pair `number`, of at most 64 entries each.
    pub fn new(registers: &Arc<Mmio>, number: usize, stride: usize, size: u16) -> Result<Self, OutOfMemory> {
        let doorbells = [0, 1].map(|side| DOORBELLS + (2 * number + side) * stride);
        let (registers, memory) = (Arc::clone(registers), Dma::pages(2)?);
        Ok(Self { registers, doorbells, size, memory, tail: 0, head: 0, phase: true, unreleased: false })
    }

    pub fn submission(&self) -> PhysAddr {
        self.memory.phys()
    }

    pub fn completion(&self) -> PhysAddr {
        PhysAddr::new(self.memory.phys().as_u64() + PAGE_SIZE as u64)
    }

    /// Writes a command. The caller leaves one entry free, at the least.
    pub fn push(&mut self, entry: &Entry) {
        let at = usize::from(self.tail) * SUBMISSION;
        let memory = &self.memory;
        memory.write_u32(at, u32::from(entry.opcode) | u32::from(entry.id) << 16);
        memory.write_u32(at + 4, entry.namespace);
        for place in [8, 16, 48, 56] {
            memory.write_u64(at + place, 0);
        }
        memory.write_u64(at + 24, entry.data[0]);
        memory.write_u64(at + 32, entry.data[1]);
        for (index, word) in entry.words.into_iter().enumerate() {
            memory.write_u32(at + 40 + 4 * index, word);
        }
        self.tail = (self.tail + 1) % self.size;
    }

    /// Tells the device of what was written.
    pub fn ring(&self) {
        fence();
        self.registers.write32(self.doorbells[0], self.tail.into());
    }

    /// Takes what came back.
    pub fn pop(&mut self) -> Option<Completion> {
        let at = PAGE_SIZE + usize::from(self.head) * COMPLETION;
        let last = self.memory.read_u32(at + 12);
        if (last >> 16 & 1 != 0) != self.phase {
            return None;
        }
        fence();
        self.head += 1;
        if self.head == self.size {
            self.head = 0;
            self.phase = !self.phase;
        }
        self.unreleased = true;
        Some(Completion { id: last as u16, status: (last >> 17) as u16 })
    }

    /// Tells the device what was taken.
    pub fn release(&mut self) {
        if core::mem::take(&mut self.unreleased) {
            self.registers.write32(self.doorbells[1], self.head.into());
        }
    }
}
