//! The requests of a controller's disks: in the device's slots, or waiting for one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use isopod_hal::dma::Dma;
use isopod_hal::frame::Frame;
use isopod_hal::sync::SpinLock;
use isopod_hal::{OutOfMemory, PAGE_SIZE, PhysAddr, log};

use super::{Reach, Refusal, wait};
use crate::Place;
use crate::block::{BlockError, BlockRequest, SECTOR_SIZE};
use crate::segment::Segment;

/// How often a command is given once more that the device was not ready for.
const TRIES: u8 = 5;
/// A command that a device still has at so many looks at the time is not answered any more.
const PATIENCE: u8 = 4;
/// Nanoseconds that it gets then.
const LAST_CHANCE: u64 = 50_000_000;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sectors of a disk.
    Read,
    /// The same, the other way.
    Write,
    /// That completed writes last.
    Flush,
    /// What a command of SCSI reads, by its bytes. Other devices do not know it.
    Scsi([u8; 16]),
}

/// What a device gets at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command<'a> {
    pub kind: Kind,
    /// Which of the controller's disks.
    pub unit: u32,
    /// The first sector.
    pub sector: u64,
    /// Sectors in a block of the disk.
    pub block: u64,
    /// Bytes of data.
    pub len: usize,
    /// Where they lie. Each begins at a page.
    pub data: &'a [Segment],
}

/// How a command came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed(BlockError),
    /// The device was not ready: the command is given to it once more.
    Again,
}

/// A controller as its driver has it.
pub(crate) trait Hardware: Send {
    /// Writes a command, to come back as `slot`; false if there is no room for it now. Its memory stays until then, or until [`Self::stop`].
    fn submit(&mut self, slot: usize, command: &Command<'_>) -> bool;
    /// Tells the device of what was written.
    fn kick(&mut self) {}
    /// A command that came back. Before it says that there is none, it sees to it that the next one interrupts. The error says which of its
    /// rules the device broke.
    fn next_done(&mut self) -> Result<Option<(usize, Outcome)>, &'static str>;
    /// Takes note of an interrupt, so that the device can raise the next one.
    fn acknowledge(&mut self) {}
    /// Stops the device: from here on it touches no memory.
    fn stop(&mut self);
}

/// As much of a request as the device takes at once.
#[derive(Debug)]
pub(crate) struct Part {
    pub request: Arc<BlockRequest>,
    pub kind: Kind,
    pub unit: u32,
    pub sector: u64,
    /// Sectors in a block of the disk.
    pub block: u64,
    /// Which of the request's pages.
    pub pages: Range<usize>,
    /// Bytes that lie on the device; the last page may end behind it.
    pub len: usize,
    /// How often it was given once more.
    pub tries: u8,
    /// Looks at the time since the device has it.
    pub age: u8,
}

impl Command<'_> {
    /// The first block, and how many there are.
    pub fn blocks(&self) -> (u64, u32) {
        let blocks = self.len as u64 / SECTOR_SIZE / self.block;
        (self.sector / self.block, blocks as u32)
    }

    /// The pages that hold the data.
    pub fn pages(&self) -> impl Iterator<Item = PhysAddr> {
        self.data.iter().flat_map(|segment| {
            let start = segment.address.as_u64();
            (start..start + u64::from(segment.len)).step_by(PAGE_SIZE).map(PhysAddr::new)
        })
    }
}

impl Part {
    /// A part without data.
    pub fn new(request: &Arc<BlockRequest>, kind: Kind, unit: u32) -> Self {
        Self {
            request: Arc::clone(request),
            kind,
            unit,
            sector: 0,
            block: 1,
            pages: 0..0,
            len: 0,
            tries: 0,
            age: 0,
        }
    }

    /// Lists its pages, contiguous ones as one segment.
    fn list_data(&self, segments: &mut Vec<Segment>) {
        segments.clear();
        let mut left = self.len;
        for page in &self.request.pages()[self.pages.clone()] {
            let len = left.min(PAGE_SIZE) as u32;
            left -= len as usize;
            match segments.last_mut() {
                Some(last) if last.address.checked_add(u64::from(last.len)) == Some(page.phys()) => {
                    last.len += len;
                }
                _ => segments.push(Segment { address: page.phys(), len }),
            }
        }
    }

    /// If that is what it is for: copies what is written to `memory`, or what was read from there.
    fn copy(&self, kind: Kind, memory: &Dma) {
        const STEP: usize = SECTOR_SIZE as usize;
        if self.kind != kind {
            return;
        }
        let mut bytes = [0; STEP];
        for at in (0..self.len).step_by(STEP) {
            let page = &self.request.pages()[self.pages.start + at / PAGE_SIZE];
            if kind == Kind::Read {
                memory.read(at, &mut bytes);
                page.write(at % PAGE_SIZE, &bytes);
            } else {
                page.read(at % PAGE_SIZE, &mut bytes);
                memory.write(at, &bytes);
            }
        }
    }
}

/// Lists the pages of a part. Where the device does not reach all of them, it gets them at the place that this returns.
fn place<'a>(bounce: Option<&'a (u64, Dma)>, part: &Part, segments: &mut Vec<Segment>) -> Option<&'a Dma> {
    part.list_data(segments);
    let (end, memory) = bounce?;
    let beyond = |segment: &Segment| segment.address.as_u64() + u64::from(segment.len) > *end;
    segments.iter().any(beyond).then_some(memory)
}

/// A controller and the commands for its disks.
pub(crate) struct Controller {
    /// Its kind, and where it is.
    name: (&'static str, Place),
    /// Most pages of one part.
    part_pages: usize,
    state: SpinLock<State>,
}

struct State {
    hardware: Box<dyn Hardware>,
    /// The parts that the device has, each in its slot.
    in_flight: Vec<Option<Part>>,
    /// Parts that found no slot, in their order.
    waiting: VecDeque<Part>,
    /// Built anew for each part; kept for its memory.
    segments: Vec<Segment>,
    /// For a device that does not reach all memory, which has one slot: what it reaches, and data on the way to or from elsewhere.
    bounce: Option<(u64, Dma)>,
    /// The device was given up.
    dead: bool,
}

impl Controller {
    /// A controller of so many slots, whose commands have data of at most `part_pages` pages.
    pub fn new(
        name: (&'static str, Place),
        hardware: Box<dyn Hardware>,
        slots: usize,
        part_pages: usize,
    ) -> Result<Self, OutOfMemory> {
        let (mut in_flight, mut segments) = (Vec::new(), Vec::new());
        in_flight.try_reserve_exact(slots).map_err(|_| OutOfMemory)?;
        in_flight.resize_with(slots, || None);
        segments.try_reserve_exact(part_pages).map_err(|_| OutOfMemory)?;
        let waiting = VecDeque::new();
        let state = State { hardware, in_flight, waiting, segments, bounce: None, dead: false };
        Ok(Self { name, part_pages: part_pages.max(1), state: SpinLock::new(state) })
    }

    /// The same, of one slot, for a device that reaches only so much memory.
    pub fn reaching(self, reach: Reach) -> Result<Self, Refusal> {
        if let Reach::Below(end) = reach {
            self.state.lock().bounce = Some((end, reach.memory(self.part_pages)?));
        }
        Ok(self)
    }

    /// Has the device reach only what it must.
    #[cfg(test)]
    pub fn bounce_all(&self) {
        self.state.lock().bounce.as_mut().expect("it does not reach all memory").0 = 0;
    }

    /// Most pages of one part.
    pub fn part_pages(&self) -> usize {
        self.part_pages
    }

    /// Hands so many parts to the device, or to the list of those that wait for a slot.
    pub fn submit(&self, parts: usize, part: &dyn Fn(usize) -> Part) -> Result<(), BlockError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(BlockError::Io);
        }
        state.waiting.try_reserve(parts).map_err(|_| BlockError::OutOfMemory)?;
        state.waiting.extend((0..parts).map(part));
        state.advance();
        Ok(())
    }

    /// Reads to a page what a command of SCSI gives, and waits for that; no device takes long to tell what it is.
    pub fn execute(&self, unit: u32, command: [u8; 16], len: usize) -> Result<Frame, BlockError> {
        /// Nanoseconds.
        const LIMIT: u64 = 2_000_000_000;
        let page = Frame::zeroed().map_err(|_| BlockError::OutOfMemory)?;
        let request = BlockRequest::new(core::slice::from_ref(&page), 1)?;
        let pages = 0..usize::from(len > 0);
        let part = || Part { pages: pages.clone(), len, ..Part::new(&request, Kind::Scsi(command), unit) };
        self.submit(1, &|_| part())?;
        wait(LIMIT, &mut || {
            self.harvest();
            request.result().is_some()
        });
        let result = request.result().unwrap_or_else(|| {
            self.give_up("it does not answer");
            Err(BlockError::Io)
        });
        result.map(|()| page)
    }

    /// The device raised its interrupt.
    pub fn on_interrupt(&self) {
        self.state.lock().hardware.acknowledge();
        self.harvest();
    }

    /// Takes back what the device has finished, and hands it what waited for a slot.
    pub fn harvest(&self) {
        loop {
            // Wakers run, and requests may be dropped, outside the lock.
            let done = self.state.lock().next_done(self.name);
            match done {
                Some((part, result)) => part.request.complete_part(result),
                None => break,
            }
        }
    }

    /// Gives up a device that has not answered for a few calls of this.
    pub fn expire(&self) {
        // An interrupt may have been lost.
        self.harvest();
        for part in self.state.lock().in_flight.iter_mut().flatten() {
            part.age = part.age.saturating_add(1);
        }
        let answers = || {
            self.harvest();
            self.state.lock().in_flight.iter().flatten().all(|part| part.age < PATIENCE)
        };
        // Where a machine sleeps in no time, as QEMU's does whose time are instructions, seconds are short. This is time for the device.
        if !wait(LAST_CHANCE, &mut { answers }) {
            self.give_up("it does not answer");
        }
    }

    /// Stops a device that nothing is expected of any more.
    fn give_up(&self, reason: &str) {
        self.state.lock().give_up(self.name, reason);
        self.harvest();
    }
}

impl State {
    /// Moves parts from the list to the device as long as there is room.
    fn advance(&mut self) {
        while let Some(part) = self.waiting.front() {
            let Some(slot) = self.in_flight.iter().position(Option::is_none) else { break };
            if let Some(memory) = place(self.bounce.as_ref(), part, &mut self.segments) {
                part.copy(Kind::Write, memory);
                self.segments.clear();
                self.segments.push(Segment { address: memory.phys(), len: part.len as u32 });
            }
            let Part { kind, unit, sector, block, len, .. } = *part;
            let command = Command { kind, unit, sector, block, len, data: &self.segments };
            if !self.hardware.submit(slot, &command) {
                break;
            }
            self.in_flight[slot] = self.waiting.pop_front();
        }
        self.hardware.kick();
    }

    /// A part that is done, and how it went. Before it says that there is none, it fills the slots again.
    fn next_done(&mut self, name: (&str, Place)) -> Option<(Part, Result<(), BlockError>)> {
        while !self.dead {
            match self.hardware.next_done() {
                Ok(Some((slot, outcome))) => {
                    let Some(mut part) = self.in_flight.get_mut(slot).and_then(Option::take) else {
                        self.give_up(name, "it returned a command that it does not have");
                        break;
                    };
                    match outcome {
                        Outcome::Done => {
                            if let Some(memory) = place(self.bounce.as_ref(), &part, &mut self.segments) {
                                part.copy(Kind::Read, memory);
                            }
                            return Some((part, Ok(())));
                        }
                        Outcome::Failed(error) => return Some((part, Err(error))),
                        Outcome::Again if part.tries < TRIES && self.waiting.try_reserve(1).is_ok() => {
                            part.tries += 1;
                            self.waiting.push_front(part);
                        }
                        Outcome::Again => return Some((part, Err(BlockError::Io))),
                    }
                }
                Ok(None) => {
                    self.advance();
                    return None;
                }
                Err(violation) => self.give_up(name, violation),
            }
        }
        let part = self.in_flight.iter_mut().find_map(Option::take).or_else(|| self.waiting.pop_front());
        part.map(|part| (part, Err(BlockError::Io)))
    }

    fn give_up(&mut self, (kind, place): (&str, Place), reason: &str) {
        if !self.dead {
            log!("{kind} {place}: device given up: {reason}");
            self.hardware.stop();
            self.dead = true;
        }
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("name", &self.name).finish_non_exhaustive()
    }
}
