//! NVMe over PCI Express (NVM Express Base Specification 1.4).
//!
//! A controller gets one pair of queues for its own commands, which are waited for, and one for those of all its disks, its namespaces.

mod commands;
mod queue;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::dma::Dma;
use isopod_hal::mmio::Mmio;
use isopod_hal::{PAGE_SIZE, PhysAddr, PhysRange};

use self::commands::Requests;
use self::queue::{Entry, Queues};
use super::{Adapter, Controller, Disk, Found, Geometry, Refusal, wait};
use crate::block::{Block, Name};
use crate::bytes::{u8, u32, u64};
use crate::pci::Function;

const NAME: &str = "nvme";
/// Most disks of a controller that are used.
const MOST: usize = 64;
/// Bytes of registers that are mapped: no function has fewer (the lowest bits of its address are reserved).
const WINDOW: u64 = 8 << 10;
/// Nanoseconds for a command of the controller's own.
const PATIENCE: u64 = 5_000_000_000;

/// Registers (3.1).
mod register {
    pub const CAPABILITIES: usize = 0x00;
    pub const VERSION: usize = 0x08;
    pub const CONFIGURATION: usize = 0x14;
    pub const STATUS: usize = 0x1c;
    pub const ADMIN_SIZES: usize = 0x24;
    pub const ADMIN_SUBMISSION: usize = 0x28;
    pub const ADMIN_COMPLETION: usize = 0x30;
}

/// The controller's own commands (5).
mod admin {
    pub const CREATE_SUBMISSION_QUEUE: u8 = 0x01;
    pub const CREATE_COMPLETION_QUEUE: u8 = 0x05;
    pub const IDENTIFY: u8 = 0x06;
}

/// What [`admin::IDENTIFY`] tells.
mod identify {
    pub const NAMESPACE: u32 = 0;
    pub const CONTROLLER: u32 = 1;
    pub const NAMESPACES: u32 = 2;
}

/// A controller that is being started.
struct Starting {
    registers: Arc<Mmio>,
    /// Between two doorbells.
    stride: usize,
    admin: Queues,
    /// What identify commands fill.
    page: Dma,
}

/// What a controller says of itself.
struct About {
    /// Most pages of a command.
    pages: usize,
    /// Whether it keeps writes for itself for a while.
    caches: bool,
    namespaces: u32,
}

/// Starts a controller.
pub(super) fn start(adapter: &Adapter<'_>, found: &mut Found) -> Result<(), Refusal> {
    let disks = Starting::enable(adapter.function)?.finish(adapter)?;
    found.disks.extend(disks.into_iter().map(|disk| disk as Arc<dyn Block>));
    Ok(())
}

impl Starting {
    /// Takes the controller from whoever had it before, and gives it queues (7.6.1).
    fn enable(function: &Function) -> Result<Self, Refusal> {
        const ENABLE: u32 = 1;
        const READY: u32 = 1;
        const FATAL: u32 = 1 << 1;
        /// Entries of both kinds of queues as they have to be, 64 and 16 bytes; pages of 4 KiB and the commands of NVM are zeros.
        const SIZES: u32 = 6 << 16 | 4 << 20;
        const ADMIN_SIZE: u16 = 8;
        let address = function.bar(0).ok_or(Refusal::WINDOW)?;
        let window = PhysRange::new(PhysAddr::new(address), WINDOW);
        let registers = Arc::new(Mmio::map(window).map_err(|_| Refusal::WINDOW)?);
        let wide = |at| u64::from(registers.read32(at)) | u64::from(registers.read32(at + 4)) << 32;
        let capabilities = wide(register::CAPABILITIES);
        let stride = 4 << (capabilities >> 32 & 0xf);
        // Two doorbells for each of two pairs.
        if queue::DOORBELLS + 4 * stride > WINDOW as usize {
            return Err(Refusal("its doorbells are too far apart"));
        }
        if capabilities >> 48 & 0xf != 0 {
            return Err(Refusal("it knows no pages of 4 KiB"));
        }
        // In steps of half a second (CAP.TO).
        let patience = (capabilities >> 24 & 0xff).max(1) * 500_000_000;
        let status = || registers.read32(register::STATUS);
        registers.write32(register::CONFIGURATION, 0);
        if !wait(patience, &mut || status() & READY == 0) {
            return Err(Refusal("it does not stop"));
        }
        let admin = Queues::new(&registers, 0, stride, ADMIN_SIZE)?;
        let write_wide = |at, value: PhysAddr| {
            registers.write32(at, value.as_u64() as u32);
            registers.write32(at + 4, (value.as_u64() >> 32) as u32);
        };
        registers.write32(register::ADMIN_SIZES, u32::from(ADMIN_SIZE - 1) << 16 | u32::from(ADMIN_SIZE - 1));
        write_wide(register::ADMIN_SUBMISSION, admin.submission());
        write_wide(register::ADMIN_COMPLETION, admin.completion());
        registers.write32(register::CONFIGURATION, SIZES | ENABLE);
        if !wait(patience, &mut || status() & (READY | FATAL) != 0) || status() & FATAL != 0 {
            return Err(Refusal("it does not start"));
        }
        Ok(Self { registers, stride, admin, page: Dma::pages(1)? })
    }

    /// Asks for the disks, and makes the queues for their commands.
    fn finish(mut self, adapter: &Adapter<'_>) -> Result<Vec<Arc<Disk>>, Refusal> {
        let about = self.about()?;
        let numbers = self.namespaces(about.namespaces)?;
        let mut geometries = Vec::new();
        for number in numbers {
            self.identify(identify::NAMESPACE, number)?;
            geometries.extend(geometry(&self.bytes(), about.caches).map(|geometry| (number, geometry)));
        }
        if geometries.is_empty() {
            return Ok(Vec::new());
        }
        // Before the queues: a queue is made for the kind of interrupts that is on.
        let controllers = adapter.connect()?;
        let queues = Queues::new(&self.registers, 1, self.stride, commands::QUEUE_SIZE)?;
        let sizes = u32::from(commands::QUEUE_SIZE - 1) << 16 | 1;
        // Contiguous, interrupting by the first vector; and contiguous, with the first queue for what comes back (5.3, 5.4).
        let makes = [
            (admin::CREATE_COMPLETION_QUEUE, queues.completion(), 0b11),
            (admin::CREATE_SUBMISSION_QUEUE, queues.submission(), 1 << 16 | 1),
        ];
        for (opcode, place, word) in makes {
            let entry =
                Entry { opcode, data: [place.as_u64(), 0], words: [sizes, word, 0], ..Entry::default() };
            self.execute(&entry)?;
        }
        let requests = Requests::new(adapter.function.clone(), queues, self)?;
        let name = (NAME, adapter.function.place());
        let controller = Controller::new(name, Box::new(requests), commands::SLOTS, about.pages)?;
        let controller = Arc::new(controller);
        controllers.get_or_init(|| Vec::from([Arc::clone(&controller)]));
        let disk = |(number, geometry)| {
            let name = Name { controller: NAME, place: name.1, number };
            Disk::new(Arc::clone(&controller), name, geometry)
        };
        Ok(geometries.into_iter().map(disk).collect())
    }

    fn about(&mut self) -> Result<About, Refusal> {
        self.identify(identify::CONTROLLER, 0)?;
        let bytes = self.bytes();
        // In powers of two of the smallest page; 0 for no limit.
        let pages = match u8(&bytes, 77) {
            Some(power @ 1..16) => commands::MOST_PAGES.min(1 << power),
            _ => commands::MOST_PAGES,
        };
        Ok(About {
            pages,
            caches: u8(&bytes, 525).is_some_and(|cache| cache & 1 != 0),
            namespaces: u32(&bytes, 516).unwrap_or(0),
        })
    }

    /// The numbers of its namespaces: those that are active, or, before version 1.1, all of so many.
    fn namespaces(&mut self, count: u32) -> Result<Vec<u32>, Refusal> {
        const LISTS: u32 = 0x0001_0100;
        if self.registers.read32(register::VERSION) < LISTS {
            return Ok((1..=count).take(MOST).collect());
        }
        self.identify(identify::NAMESPACES, 0)?;
        let numbers = (0..MOST).map(|index| self.page.read_u32(index * 4));
        Ok(numbers.take_while(|number| *number != 0).collect())
    }

    fn identify(&mut self, what: u32, namespace: u32) -> Result<(), Refusal> {
        let data = [self.page.phys().as_u64(), 0];
        self.execute(&Entry {
            opcode: admin::IDENTIFY,
            namespace,
            data,
            words: [what, 0, 0],
            ..Entry::default()
        })
    }

    /// What the last identify command told.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![0; PAGE_SIZE];
        self.page.read(0, &mut bytes);
        bytes
    }

    /// Has a command done, and waits for it.
    fn execute(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.admin.push(entry);
        self.admin.ring();
        let mut completion = None;
        let admin = &mut self.admin;
        wait(PATIENCE, &mut || {
            completion = admin.pop();
            completion.is_some()
        });
        self.admin.release();
        match completion {
            Some(completion) if completion.status == 0 => Ok(()),
            Some(_) => Err(Refusal("it refuses a command")),
            None => Err(Refusal::SILENT),
        }
    }
}

/// What an identify command says of a namespace (5.15.2.1); `None` for one without sectors, or whose blocks are not for us.
fn geometry(bytes: &[u8], can_flush: bool) -> Option<Geometry> {
    let format = usize::from(u8(bytes, 26)? & 0xf);
    let format = u32(bytes, 128 + 4 * format)?;
    let (metadata, power) = (format & 0xffff, format >> 16 & 0xff);
    if metadata != 0 || !(9..=12).contains(&power) {
        return None;
    }
    let block = 1 << (power - 9);
    let sectors = u64(bytes, 0)?.saturating_mul(block);
    let read_only = u8(bytes, 99)? & 1 != 0;
    (sectors > 0).then_some(Geometry { sectors, block, read_only, can_flush })
}

#[cfg(test)]
mod tests;
