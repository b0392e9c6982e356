use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;

use isopod_hal::frame::Frame;
use isopod_hal::hosted;
use isopod_hal::irq::{Polarity, Trigger};

use super::*;
use crate::Place;
use crate::block::Block;
use crate::disk::Disk;
use crate::pci::simulated::Machine;
use crate::virtio::block;
use crate::virtio::simulated::Simulated;

const BAR: u64 = 0x80_0000_0000;
const NOTIFICATIONS: usize = 0x3000;
const CAUSE: usize = 0x1000;
const CONFIG: usize = 0x2000;
const MSIX: usize = 0x800;

/// The registers of virtio-pci before a simulated device, laid out as QEMU does it, and its table of vectors.
struct Registers {
    device: Arc<Simulated>,
    link: Box<dyn Transport>,
    feature_select: u32,
    accepted: u64,
    queue_size: u16,
    vector: u16,
    addresses: [u32; 6],
    message: [u32; 4],
    causes_read: usize,
    accesses: usize,
}

impl Registers {
    fn address(&self, register: usize) -> PhysAddr {
        let at = (register - common::QUEUE_DESCRIPTORS) / 4;
        PhysAddr::new(u64::from(self.addresses[at + 1]) << 32 | u64::from(self.addresses[at]))
    }
}

impl hosted::MmioDevice for Registers {
    fn read(&mut self, offset: u64, width: u8) -> u64 {
        self.accesses += 1;
        match (offset as usize, width) {
            (common::DEVICE_FEATURES, 4) => {
                self.link.device_features() >> (32 * self.feature_select) & !0 >> 32
            }
            (common::STATUS, 1) => u64::from(self.device.status().bits()),
            (common::QUEUE_SIZE, 2) => 256,
            (common::QUEUE_VECTOR, 2) => u64::from(self.vector),
            (common::QUEUE_NOTIFY_OFFSET, 2) => 1,
            (CAUSE, 1) => {
                self.causes_read += 1;
                1
            }
            (offset @ CONFIG..NOTIFICATIONS, 4) => u64::from(self.link.config(offset - CONFIG)),
            other => panic!("{other:x?} is not for reading"),
        }
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        self.accesses += 1;
        match (offset as usize, width) {
            (common::DEVICE_FEATURES_SELECT | common::DRIVER_FEATURES_SELECT, 4) => {
                self.feature_select = value as u32;
            }
            (common::DRIVER_FEATURES, 4) => {
                self.accepted |= value << (32 * self.feature_select);
                self.link.accept_features(self.accepted);
            }
            (common::STATUS, 1) if value == 0 => self.link.reset(),
            (common::STATUS, 1) => self.link.set_status(Status::from_bits(value as u8).unwrap()),
            (common::QUEUE_SELECT, 2) => _ = self.link.select_queue(value as u16),
            (common::QUEUE_SIZE, 2) => self.queue_size = value as u16,
            (common::QUEUE_VECTOR, 2) => self.vector = value as u16,
            (common::QUEUE_ENABLE, 2) => {
                let rings = Rings {
                    descriptors: self.address(common::QUEUE_DESCRIPTORS),
                    available: self.address(common::QUEUE_AVAILABLE),
                    used: self.address(common::QUEUE_USED),
                };
                self.link.enable_queue(self.queue_size, rings, 0).unwrap();
            }
            (at @ common::QUEUE_DESCRIPTORS..common::LENGTH, 4) => {
                self.addresses[(at - common::QUEUE_DESCRIPTORS) / 4] = value as u32;
            }
            (at @ MSIX..CAUSE, 4) => self.message[(at - MSIX) / 4] = value as u32,
            // Notifications of the queue at offset 1 with multiplier 4.
            (at, 2) if at == NOTIFICATIONS + 4 => self.link.notify(value as u16, Doorbell(0)),
            other => panic!("{other:x?} is not for writing"),
        }
    }
}

/// A capability of virtio in configuration space.
fn capability(offset: u8, next: u8, kind: u8, at: usize, len: u32) -> [(u8, u32); 4] {
    let head = u32::from_le_bytes([CAPABILITY_VENDOR, next, 16, kind]);
    [(offset, head), (offset + 4, 4), (offset + 8, at as u32), (offset + 12, len)]
}

fn machine(msix: bool) -> Machine {
    let machine = Machine::default();
    machine.set(0, 0, &[(0, 0x1042_1af4), (4, 0x0010_0000), (0x0c, 0), (0x3c, 0x010b)]);
    machine.set(0, 0, &[(0x20, BAR as u32 | 0xc), (0x24, (BAR >> 32) as u32)]);
    machine.set(0, 0, &[(0x34, if msix { 0x98 } else { 0x84 })]);
    machine.set(0, 0, &[(0x98, 0x0001_8411), (0x9c, MSIX as u32 | 4), (0xa0, 0)]);
    // The last of them is the window through configuration space, which nobody uses.
    machine.set(0, 0, &capability(0x84, 0x70, 5, 0, 0));
    machine.set(0, 0, &capability(0x70, 0x60, structure::NOTIFICATIONS, NOTIFICATIONS, 0x1000));
    machine.set(0, 0, &[(0x80, 4)]);
    machine.set(0, 0, &capability(0x60, 0x50, structure::DEVICE, CONFIG, 0x1000));
    machine.set(0, 0, &capability(0x50, 0x40, 3, CAUSE, 0x1000));
    machine.set(0, 0, &capability(0x40, 0, structure::COMMON, 0, 0x400));
    machine
}

fn attach() -> (Arc<Simulated>, Rc<RefCell<Registers>>) {
    let capacity = 1000u64.to_le_bytes();
    let (device, link) = Simulated::new(0, &capacity, &[256]);
    let registers = Rc::new(RefCell::new(Registers {
        device: Arc::clone(&device),
        link,
        feature_select: 0,
        accepted: 0,
        queue_size: 0,
        vector: 0xffff,
        addresses: [0; 6],
        message: [0, 0, 0, 1],
        causes_read: 0,
        accesses: 0,
    }));
    hosted::attach_mmio(PhysRange::new(PhysAddr::new(BAR), 0x4000), registers.clone());
    (device, registers)
}

fn isa_line(isa: u8) -> Line {
    Line { gsi: u32::from(isa), trigger: Trigger::Level, polarity: Polarity::High }
}

fn open(machine: &Machine) -> Result<PciTransport, StartError> {
    let function = machine.all().remove(0);
    assert_eq!(device_number(&function), Some(crate::virtio::device::BLOCK));
    PciTransport::open(function, &isa_line)
}

/// Reads a page, completed by `interrupt`.
fn read(device: &Simulated, disk: &Disk, interrupt: impl FnOnce()) {
    let pages = [Frame::zeroed().unwrap()];
    let request = disk.read(0, &pages).unwrap();
    assert_eq!(device.notified(0), 1);
    let buffer = device.take(0).unwrap();
    buffer.fill(&[7; 4096]);
    hosted::write_physical(PhysAddr::new(buffer.output.last().unwrap().0), &[0]);
    device.give_back(0, u32::from(buffer.head), 4097);
    interrupt();
    assert_eq!(request.result(), Some(Ok(())));
    assert_eq!(pages[0].read_array::<2>(4094), [7, 7]);
}

#[test]
fn a_disk_interrupts_by_message() {
    let (device, registers) = attach();
    let machine = machine(true);
    let disk = block::start(Box::new(open(&machine).unwrap()), Place::Pci(0, 0)).unwrap();
    assert_eq!(disk.size(), 512_000);
    assert_eq!(machine.register(0x98) >> 16, 0x8001, "MSI-X is on and not masked");
    assert_eq!(machine.register(4) & 0b110, 0b110, "the device may access memory");
    // Two to reset it, five for its status, eight for features, four for its vector, two for its size, and for its
    // queue two more than over MMIO and two for its vector.
    assert_eq!(registers.borrow().accesses, 34, "each access leaves the virtual machine");
    let [address, high, data, mask] = registers.borrow().message;
    assert_eq!((address, high, mask), (0xfee0_0000, 0, 0));
    read(&device, &disk, || irq::dispatch(data as u8));
    assert_eq!(registers.borrow().accesses, 35, "a notification, and nothing to acknowledge");
}

#[test]
fn a_disk_without_messages_interrupts_by_its_pin() {
    let (device, registers) = attach();
    let disk = block::start(Box::new(open(&machine(false)).unwrap()), Place::Pci(0, 0)).unwrap();
    assert_eq!(registers.borrow().vector, 0xffff);
    read(&device, &disk, || disk.controller().on_interrupt());
    assert_eq!(registers.borrow().causes_read, 1);
}

#[test]
fn what_lacks_a_structure_is_left_out() {
    // Without the modern interface at all.
    let plain = machine(true);
    plain.set(0, 0, &[(0x34, 0)]);
    assert_eq!(open(&plain).unwrap_err(), StartError::Legacy);
    plain.set(0, 0, &[(4, 0)]);
    assert_eq!(open(&plain).unwrap_err(), StartError::Legacy);
    // Structures in a BAR that nobody assigned, or at a place that is none.
    let unassigned = machine(true);
    unassigned.set(0, 0, &[(0x20, 0xc), (0x24, 0)]);
    assert_eq!(open(&unassigned).unwrap_err(), StartError::Window);
    for (register, value) in [(0x48, 2), (0x48, u32::MAX - 3), (0x4c, 0), (0x4c, u32::MAX), (0x44, 9)] {
        let odd = machine(true);
        odd.set(0, 0, &[(0x24, u32::MAX), (register, value)]);
        assert!(open(&odd).is_err(), "{register:#x} = {value:#x}");
    }
    let short = machine(true);
    short.set(0, 0, &[(0x4c, 0x20)]);
    assert_eq!(open(&short).unwrap_err(), StartError::Window);
    // No interrupt at all.
    attach();
    let silent = machine(false);
    silent.set(0, 0, &[(0x3c, 0)]);
    let started = block::start(Box::new(open(&silent).unwrap()), Place::Pci(0, 0));
    assert_eq!(started.unwrap_err(), StartError::Interrupt);
}

#[test]
fn notifications_stay_inside_their_window() {
    attach();
    let far = machine(true);
    far.set(0, 0, &[(0x80, 0x1000)]);
    assert_eq!(
        block::start(Box::new(open(&far).unwrap()), Place::Pci(0, 0)).unwrap_err(),
        StartError::Window
    );
    let odd = machine(true);
    odd.set(0, 0, &[(0x80, 1)]);
    assert_eq!(
        block::start(Box::new(open(&odd).unwrap()), Place::Pci(0, 0)).unwrap_err(),
        StartError::Window
    );
}
