//! What the tests of all controllers have in common: memory as a device sees it, the sectors of a disk, and what is asked of one.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::frame::Frame;
use isopod_hal::{PAGE_SIZE, PhysAddr, PhysRange, hosted, irq};

use super::search::Start;
use super::{Adapter, Found, Refusal, SECTORS_PER_PAGE};
use crate::acpi::Platform;
use crate::block::{Block, BlockError, BlockRequest};
use crate::pci::Function;
use crate::pci::simulated::Machine;

/// Where a controller's registers are.
pub(crate) const BAR: u64 = 0x80_0000_0000;
/// Where its table of messages is.
pub(crate) const TABLE: u64 = 0x81_0000_0000;

/// Reads memory as a device does.
pub(crate) fn read<const N: usize>(address: u64) -> [u8; N] {
    bytes(address, N).try_into().expect("as many as were asked for")
}

/// Reads so many bytes of memory.
pub(crate) fn bytes(address: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    isopod_hal::firmware::read(PhysAddr::new(address), &mut bytes).expect("memory");
    bytes
}

/// A number of 32 bits there.
pub(crate) fn word(address: u64) -> u32 {
    u32::from_le_bytes(read(address))
}

/// A number of 64 bits there.
pub(crate) fn long(address: u64) -> u64 {
    u64::from_le_bytes(read(address))
}

/// Writes memory as a device does.
pub(crate) fn write(address: u64, bytes: &[u8]) {
    hosted::write_physical(PhysAddr::new(address), bytes);
}

/// The sectors of a disk, each full of a byte of its own.
pub(crate) fn sectors(count: u64) -> Vec<u8> {
    (0..count).flat_map(|sector| [pattern(sector); 512]).collect()
}

fn pattern(sector: u64) -> u8 {
    (sector as u8).wrapping_mul(37) ^ 0x5a
}

/// A message that a controller sends by MSI-X.
#[derive(Default)]
pub(crate) struct Message([u32; 4]);

impl hosted::MmioDevice for Message {
    fn read(&mut self, offset: u64, _: u8) -> u64 {
        self.0[offset as usize / 4].into()
    }

    fn write(&mut self, offset: u64, _: u8, value: u64) {
        self.0[offset as usize / 4] = value as u32;
    }
}

/// A controller in a machine: its function, and how it interrupts.
pub(crate) struct Plugged {
    pub machine: Machine,
    pub function: Function,
    pub platform: Platform,
    /// Its table of messages. Without one it sends the only one that its configuration space has.
    table: Option<Rc<RefCell<Message>>>,
}

/// Puts a function of a class into a machine, with `registers` at its BAR of this number. With the last one, which has no room for more, its
/// address is one of 32 bits, and there is no table of messages.
pub(crate) fn plug(class: u32, bar: u8, registers: Rc<RefCell<dyn hosted::MmioDevice>>) -> Plugged {
    let last = bar == 5;
    let base = if last { BAR >> 8 } else { BAR };
    hosted::attach_mmio(PhysRange::new(PhysAddr::new(base), 0x1_0000), registers);
    let place = 0x10 + 4 * bar;
    if last {
        return plug_bars(class, &[(place, base as u32)]);
    }
    let message = Rc::new(RefCell::new(Message::default()));
    hosted::attach_mmio(PhysRange::new(PhysAddr::new(TABLE), 0x1000), message.clone());
    let bars = [(place, base as u32 | 4), (place + 4, (base >> 32) as u32)];
    let plugged = plug_bars(class, &bars);
    // The table is in BARs 4 and 5.
    plugged.machine.set(0, 0, &[(0x20, TABLE as u32 | 4), (0x24, (TABLE >> 32) as u32)]);
    plugged.machine.set(0, 0, &[(0x40, 0x0000_0011), (0x44, 4), (0x48, 4)]);
    Plugged { table: Some(message), ..plugged }
}

/// Puts a function with these BARs into a machine.
pub(crate) fn plug_bars(class: u32, bars: &[(u8, u32)]) -> Plugged {
    let machine = Machine::default();
    machine.set(0, 0, &[(0, 0x0001_1b36), (4, 0x0010_0000), (8, class << 8), (0x0c, 0), (0x3c, 0x010b)]);
    machine.set(0, 0, &[(0x34, 0x40), (0x40, 0x0000_0005)]);
    machine.set(0, 0, bars);
    Plugged { function: machine.all().remove(0), machine, platform: Platform::default(), table: None }
}

impl Plugged {
    /// Starts the controller; its disks.
    pub(crate) fn start(&self, start: Start) -> Result<Vec<Arc<dyn Block>>, Refusal> {
        let mut found = Found::default();
        Adapter::new(&self.function, &self.platform).start(start, &mut found)?;
        found.buses.iter_mut().for_each(|bus| bus.look(&mut found.disks));
        Ok(found.disks)
    }

    /// Raises the interrupt, which must be on.
    pub(crate) fn interrupt(&self) {
        let control = self.machine.register(0x40) >> 16;
        let vector = if let Some(table) = &self.table {
            assert_eq!(control >> 15, 1, "MSI-X is on");
            table.borrow().0[2]
        } else {
            assert_eq!(control & 1, 1, "MSI is on");
            self.machine.register(0x48)
        };
        irq::dispatch(vector as u8);
    }

    /// Whether the controller may access memory.
    pub(crate) fn is_enabled(&self) -> bool {
        self.machine.register(4) & 0b100 != 0
    }
}

/// So many empty pages.
pub(crate) fn frames(count: usize) -> Vec<Frame> {
    (0..count).map(|_| Frame::zeroed().expect("memory")).collect()
}

fn holds(page: &Frame, first: u64) -> bool {
    (0..SECTORS_PER_PAGE).all(|index| page.read_array(512 * index as usize + 77) == [pattern(first + index)])
}

/// Uses a disk whose sectors are [`sectors`], on a device that answers at once and then interrupts by `interrupt`.
pub(crate) fn exercise(disk: &dyn Block, interrupt: &dyn Fn()) {
    let done = |request: Result<Arc<BlockRequest>, BlockError>| {
        let request = request.expect("a request");
        for _ in 0..100 {
            interrupt();
        }
        request.result().expect("it is done")
    };
    for (sector, count) in [(0, 1), (8, 2), (16, 3), (800, 40), (0, 200)] {
        let pages = frames(count);
        assert_eq!(done(disk.read(sector, &pages)), Ok(()));
        for (page, first) in pages.iter().zip((sector..).step_by(SECTORS_PER_PAGE as usize)) {
            assert!(holds(page, first), "sector {first}");
        }
    }
    // Many at a time.
    let requests: Vec<_> =
        (0..100).map(|index| disk.read(index * 8, &frames(1)).expect("a request")).collect();
    for _ in 0..100 {
        interrupt();
    }
    for (request, first) in requests.iter().zip((0..).step_by(8)) {
        assert_eq!(request.result(), Some(Ok(())));
        assert!(holds(&request.pages()[0], first), "sector {first}");
    }
    let end = disk.size() / 512;
    assert_eq!(disk.read(end, &frames(1)).unwrap_err(), BlockError::OutOfRange);
    if disk.read_only() {
        assert_eq!(disk.write(0, &frames(1)).unwrap_err(), BlockError::ReadOnly);
        return;
    }
    let pages = frames(50);
    for (index, page) in pages.iter().enumerate() {
        page.write(0, &[index as u8; PAGE_SIZE]);
    }
    assert_eq!(done(disk.write(400, &pages)), Ok(()));
    assert_eq!(done(disk.flush()), Ok(()));
    let pages = frames(52);
    assert_eq!(done(disk.read(392, &pages)), Ok(()));
    assert!(holds(&pages[0], 392) && holds(&pages[51], 800));
    for (index, page) in pages[1..51].iter().enumerate() {
        assert_eq!([page.read_array::<1>(0)[0], page.read_array::<1>(4095)[0]], [index as u8; 2]);
    }
}
