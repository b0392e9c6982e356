use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;

use isopod_hal::frame::Frame;
use isopod_hal::hosted;
use isopod_hal::irq::{Polarity, Trigger};

use super::*;
use crate::Place;
use crate::acpi::Line;
use crate::block::Block;
use crate::virtio::device;
use crate::virtio::simulated::Simulated;

/// The registers of virtio-mmio before a simulated device.
struct Registers {
    magic: u32,
    version: u32,
    device: Arc<Simulated>,
    link: Box<dyn Transport>,
    feature_select: u32,
    accepted: u64,
    queue_size: u16,
    addresses: [u32; 12],
    accesses: usize,
}

impl Registers {
    fn address(&self, register: usize) -> PhysAddr {
        let at = (register - register::QUEUE_DESCRIPTORS) / 4;
        PhysAddr::new(u64::from(self.addresses[at + 1]) << 32 | u64::from(self.addresses[at]))
    }
}

impl hosted::MmioDevice for Registers {
    fn read(&mut self, offset: u64, width: u8) -> u64 {
        assert_eq!(width, 4, "all registers have 32 bits");
        self.accesses += 1;
        u64::from(match offset as usize {
            register::MAGIC => self.magic,
            register::VERSION => self.version,
            register::DEVICE => device::BLOCK,
            register::DEVICE_FEATURES => (self.link.device_features() >> (32 * self.feature_select)) as u32,
            register::QUEUE_SIZE_MAX => 256,
            register::STATUS => u32::from(self.device.status().bits()),
            config @ register::CONFIG.. => self.link.config(config - register::CONFIG),
            other => panic!("register {other:#x} is not for reading"),
        })
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        assert_eq!(width, 4, "all registers have 32 bits");
        self.accesses += 1;
        let value = value as u32;
        match offset as usize {
            register::DEVICE_FEATURES_SELECT | register::DRIVER_FEATURES_SELECT => {
                self.feature_select = value;
            }
            register::DRIVER_FEATURES => {
                self.accepted |= u64::from(value) << (32 * self.feature_select);
                self.link.accept_features(self.accepted);
            }
            register::STATUS if value == 0 => self.link.reset(),
            register::STATUS => self.link.set_status(Status::from_bits(value as u8).unwrap()),
            register::QUEUE_SELECT => _ = self.link.select_queue(value as u16),
            register::QUEUE_SIZE => self.queue_size = value as u16,
            register::QUEUE_READY => {
                let rings = Rings {
                    descriptors: self.address(register::QUEUE_DESCRIPTORS),
                    available: self.address(register::QUEUE_AVAILABLE),
                    used: self.address(register::QUEUE_USED),
                };
                self.link.enable_queue(self.queue_size, rings, 0).unwrap();
            }
            register::QUEUE_NOTIFY => self.link.notify(value as u16, Doorbell(value as usize)),
            register::INTERRUPT_ACKNOWLEDGE => _ = self.link.acknowledge_interrupt(value == 1),
            address @ register::QUEUE_DESCRIPTORS..register::CONFIG => {
                self.addresses[(address - register::QUEUE_DESCRIPTORS) / 4] = value;
            }
            other => panic!("register {other:#x} is not for writing"),
        }
    }
}

fn place(base: u64, size: u64) -> MmioDevice {
    MmioDevice { base, size, line: Line { gsi: 5, trigger: Trigger::Edge, polarity: Polarity::High } }
}

/// Where the tests have their device.
pub(crate) const BASE: u64 = 0xfeb0_2e00;

/// Attaches a disk of 1000 sectors at [`BASE`].
fn attach(magic: u32, version: u32) -> (Arc<Simulated>, Rc<RefCell<Registers>>) {
    let capacity = 1000u64.to_le_bytes();
    let (device, link) = Simulated::new(0, &capacity, &[256]);
    let registers = Rc::new(RefCell::new(Registers {
        magic,
        version,
        device: Arc::clone(&device),
        link,
        feature_select: 0,
        accepted: 0,
        queue_size: 0,
        addresses: [0; 12],
        accesses: 0,
    }));
    hosted::attach_mmio(PhysRange::new(PhysAddr::new(BASE), 0x200), registers.clone());
    (device, registers)
}

const MAGIC: u32 = 0x7472_6976;

/// Attaches a disk of 1000 sectors at [`BASE`], modern or legacy.
pub(crate) fn attach_disk(modern: bool) {
    attach(MAGIC, if modern { 2 } else { 1 });
}

#[test]
fn a_disk_is_started_and_read() {
    let (device, registers) = attach(MAGIC, 2);
    let (number, transport) = MmioTransport::open(place(BASE, 0x200)).unwrap();
    assert_eq!(number, device::BLOCK);
    let disk = crate::virtio::block::start(Box::new(transport), Place::Memory(BASE)).unwrap();
    assert_eq!(disk.size(), 512_000);
    // Three to identify it, six for its status, eight for features, two for its size, ten for its queue.
    assert_eq!(registers.borrow().accesses, 29, "each access leaves the virtual machine");
    let pages = [Frame::zeroed().unwrap()];
    let request = disk.read(0, &pages).unwrap();
    let buffer = device.take(0).unwrap();
    buffer.fill(&[7; 4096]);
    isopod_hal::hosted::write_physical(PhysAddr::new(buffer.output.last().unwrap().0), &[0]);
    device.give_back(0, u32::from(buffer.head), 4097);
    disk.controller().on_interrupt();
    assert_eq!(request.result(), Some(Ok(())));
    assert_eq!(pages[0].read_array::<2>(4094), [7, 7]);
    assert_eq!(registers.borrow().accesses, 31, "a notification and an acknowledgement");
}

#[test]
fn what_is_no_modern_device_is_left_out() {
    attach(MAGIC, 1);
    assert_eq!(MmioTransport::open(place(BASE, 0x200)).unwrap_err(), StartError::Legacy);
    attach(0, 2);
    assert_eq!(MmioTransport::open(place(BASE, 0x200)).unwrap_err(), StartError::Window);
    for (base, size) in [(BASE, 0xff), (BASE, 0), (BASE + 1, 0x200), (u64::MAX - 3, 0x200)] {
        assert_eq!(MmioTransport::open(place(base, size)).unwrap_err(), StartError::Window);
    }
    // RAM is no device.
    let ram = Frame::zeroed().unwrap().phys().as_u64();
    assert_eq!(MmioTransport::open(place(ram, 0x200)).unwrap_err(), StartError::Window);
}

#[test]
fn configuration_ends_with_the_window() {
    attach(MAGIC, 2);
    let (_, transport) = MmioTransport::open(place(BASE, 0x104)).unwrap();
    assert_eq!(transport.config(0), 1000);
    assert_eq!((transport.config(4), transport.config(usize::MAX)), (0, 0));
}
