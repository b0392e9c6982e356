//! The commands of a controller's disks (NVM Command Set, 6).

use isopod_hal::dma::Dma;
use isopod_hal::{OutOfMemory, PAGE_SIZE, PhysAddr};

use super::Starting;
use super::queue::{Entry, Queues};
use crate::block::BlockError;
use crate::disk::{Command, Hardware, Kind, Outcome};
use crate::pci::Function;

/// Entries of the queues, each a page at the most.
pub(super) const QUEUE_SIZE: u16 = 64;
/// Commands at a time.
pub(super) const SLOTS: usize = 32;
/// Most pages of a command, a power of two.
pub(super) const MOST_PAGES: usize = 128;
/// Bytes of a list of all but the first.
const LIST: usize = MOST_PAGES * 8;

const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
/// No command that there is.
const RESERVED: u8 = 0x03;

/// The queues, with a list of pages for each slot.
pub(super) struct Requests {
    function: Function,
    queues: Queues,
    lists: Dma,
    /// What the device was started with and still knows.
    _starting: Starting,
}

impl Requests {
    pub fn new(function: Function, queues: Queues, starting: Starting) -> Result<Self, OutOfMemory> {
        let lists = Dma::pages((SLOTS * LIST).div_ceil(PAGE_SIZE))?;
        Ok(Self { function, queues, lists, _starting: starting })
    }

    /// Names the pages of a command: the first, and the second or a list of all others (4.3).
    fn name_pages(&self, slot: usize, command: &Command<'_>) -> [u64; 2] {
        let mut pages = command.pages().map(PhysAddr::as_u64);
        let mut data = [pages.next().unwrap_or(0), pages.next().unwrap_or(0)];
        if command.len > 2 * PAGE_SIZE {
            let list = slot * LIST;
            for (index, page) in core::iter::once(data[1]).chain(pages).enumerate() {
                self.lists.write_u64(list + 8 * index, page);
            }
            data[1] = self.lists.phys().as_u64() + list as u64;
        }
        data
    }
}

impl Hardware for Requests {
    fn submit(&mut self, slot: usize, command: &Command<'_>) -> bool {
        let opcode = match command.kind {
            Kind::Read => READ,
            Kind::Write => WRITE,
            Kind::Flush => FLUSH,
            Kind::Scsi(_) => RESERVED,
        };
        let (first, blocks) = command.blocks();
        let data = self.name_pages(slot, command);
        // A flush has no blocks.
        let words = [first as u32, (first >> 32) as u32, blocks.saturating_sub(1)];
        let words = if command.kind == Kind::Flush { [0; 3] } else { words };
        self.queues.push(&Entry { opcode, id: slot as u16, namespace: command.unit, data, words });
        true
    }

    fn kick(&mut self) {
        self.queues.ring();
    }

    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str> {
        let Some(completion) = self.queues.pop() else {
            self.queues.release();
            return Ok(None);
        };
        Ok(Some((completion.id.into(), outcome(completion.status))))
    }

    fn stop(&mut self) {
        self.function.disable();
    }
}

/// What a status says (4.6.1): a code of eight bits, its type of three, and in the highest bit whether it would be the same once more.
fn outcome(status: u16) -> Outcome {
    const CODE: u16 = 0x7ff;
    const INVALID_OPCODE: u16 = 0x01;
    const FINAL: u16 = 1 << 14;
    match status & CODE {
        0 => Outcome::Done,
        INVALID_OPCODE => Outcome::Failed(BlockError::Unsupported),
        _ if status & FINAL == 0 => Outcome::Again,
        _ => Outcome::Failed(BlockError::Io),
    }
}
