use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::hosted;
use proptest::prelude::*;

use super::*;
use crate::block::{Block, BlockError};
use crate::disk::ata::simulated::{Drive, Moves};
use crate::disk::simulated::{Plugged, bytes, exercise, frames, long, plug, word, write};

/// What a port has.
#[derive(Default)]
struct Socket {
    registers: [u32; 32],
    drive: Option<Drive>,
}

/// A controller with a disk of blocks of 512 bytes at port 0, a CD at 1, a disk of 4 KiB blocks at 2, and nothing at 4.
struct Model {
    wide: bool,
    control: u32,
    interrupts: u32,
    sockets: Vec<Socket>,
    /// Engines that do not stop.
    stuck: bool,
    /// A command that failed is not done, as the specification has it; else as QEMU has it.
    keeps: bool,
}

const SIGNATURE: usize = 0x24 / 4;
const LINK: usize = 0x28 / 4;

impl Model {
    fn new() -> Self {
        let mut sockets: Vec<Socket> = (0..5).map(|_| Socket::default()).collect();
        sockets[0].drive = Some(Drive::new(512, true));
        sockets[2].drive = Some(Drive::new(4096, true));
        for (socket, signature) in [(0, 0x101), (1, 0xeb14_0101), (2, 0x101)] {
            let registers = &mut sockets[socket].registers;
            (registers[LINK], registers[SIGNATURE], registers[8]) = (0x113, signature, 0x50);
            // As a firmware left it.
            registers[6] = 1 | 1 << 4 | 1 << 14 | 1 << 15;
        }
        Self { wide: true, control: 0, interrupts: 0, sockets, stuck: false, keeps: false }
    }

    fn drive(&mut self, port: usize) -> &mut Drive {
        self.sockets[port].drive.as_mut().unwrap()
    }

    fn run(&mut self, port: usize) {
        let Socket { registers, drive } = &mut self.sockets[port];
        assert_eq!(registers[6] & 1, 1, "it runs");
        let list = u64::from(registers[0]) | u64::from(registers[1]) << 32;
        let (flags, table) = (word(list), long(list + 8));
        assert_eq!((flags & 0x1f, table % 128), (5, 0));
        let command = bytes(table, 20);
        assert_eq!(command[..2], [0x27, 0x80]);
        let drive = drive.as_mut().unwrap();
        if drive.silent {
            return;
        }
        let number = |at: [usize; 6]| at.iter().rev().fold(0, |all, at| all << 8 | u64::from(command[*at]));
        let count = u16::from_le_bytes([command[12], command[13]]);
        let moves = drive.run(command[2], command[7], number([4, 5, 6, 8, 9, 10]), count);
        let mut segments = (0..u64::from(flags >> 16)).map(|index| {
            let at = table + 0x80 + 16 * index;
            (long(at), word(at + 12) as usize + 1)
        });
        let failed = moves.is_none();
        match moves {
            Some(Moves::ToMemory(data)) => {
                assert_eq!(flags >> 6 & 1, 0);
                let mut rest = &data[..];
                for (address, len) in &mut segments {
                    let (part, next) = rest.split_at(len);
                    write(address, part);
                    rest = next;
                }
                assert!(rest.is_empty());
            }
            Some(Moves::ToDisk(place)) => {
                assert_eq!(flags >> 6 & 1, 1);
                let data: Vec<u8> = segments.flat_map(|(address, len)| bytes(address, len)).collect();
                drive.disk[place].copy_from_slice(&data);
            }
            Some(Moves::Nothing) | None => {}
        }
        registers[8] = if failed { 0x0451 } else { 0x50 };
        registers[4] |= if failed { 1 << 30 | 1 } else { 1 };
        if !failed || !self.keeps {
            registers[0x38 / 4] = 0;
        }
        self.interrupts |= 1 << port;
    }
}

impl hosted::MmioDevice for Model {
    fn read(&mut self, offset: u64, width: u8) -> u64 {
        assert_eq!(width, 4);
        let value = match offset as usize {
            register::CAPABILITIES => u32::from(self.wide) << 31,
            register::CONTROL => self.control,
            register::PORTS => 0b1_0111,
            at @ 0x100.. => self.sockets[(at - 0x100) / 0x80].registers[(at % 0x80) / 4],
            other => panic!("register {other:#x}"),
        };
        value.into()
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        assert_eq!(width, 4);
        let (at, value) = (offset as usize, value as u32);
        if at < 0x100 {
            match at {
                register::CONTROL => self.control = value,
                register::INTERRUPTS => self.interrupts &= !value,
                other => panic!("register {other:#x}"),
            }
            return;
        }
        let port = (at - 0x100) / 0x80;
        let registers = &mut self.sockets[port].registers;
        match at % 0x80 {
            0x10 | 0x30 => registers[at % 0x80 / 4] &= !value,
            0x18 => {
                let running = if self.stuck { registers[6] & 1 << 15 } else { (value & 1) << 15 };
                registers[6] = value & !(1 << 14 | 1 << 15) | running | (value >> 4 & 1) << 14;
                if value & 1 == 0 {
                    registers[0x38 / 4] = 0;
                }
            }
            0x38 => {
                registers[0x38 / 4] |= value;
                self.run(port);
            }
            0x00 | 0x04 | 0x08 | 0x0c | 0x14 => registers[at % 0x80 / 4] = value,
            other => panic!("register {other:#x} of a port"),
        }
    }
}

type Started = Result<Vec<Arc<dyn Block>>, Refusal>;

fn start_with(change: impl FnOnce(&mut Model)) -> (Rc<RefCell<Model>>, Plugged, Started) {
    let mut model = Model::new();
    change(&mut model);
    let model = Rc::new(RefCell::new(model));
    let plugged = plug(0x01_06_01, 5, model.clone());
    let disks = plugged.start(start);
    (model, plugged, disks)
}

#[test]
fn disks_are_found_and_used() {
    let (model, plugged, disks) = start_with(|_| {});
    let disks = disks.unwrap();
    let about: Vec<_> = disks.iter().map(|disk| (disk.name().number, disk.size())).collect();
    assert_eq!(about, [(0, 4 << 20), (2, 4 << 20)]);
    assert_eq!(alloc::format!("{}", disks[1].name()), "ahci 00:00.0 disk 2");
    exercise(&*disks[0], &|| plugged.interrupt());
    exercise(&*disks[1], &|| plugged.interrupt());
    assert_eq!(model.borrow_mut().drive(0).flushed, 1);
    assert_eq!(model.borrow().interrupts, 0);
    assert_eq!(disks[1].read(1, &frames(1)).unwrap_err(), BlockError::Unsupported, "half a block");
}

#[test]
fn a_controller_of_32_bits_reaches_all_memory() {
    let mut model = Model::new();
    model.wide = false;
    let plugged = plug(0x01_06_01, 5, Rc::new(RefCell::new(model)));
    let mut found = Found::default();
    Adapter::new(&plugged.function, &plugged.platform).start(start, &mut found).unwrap();
    exercise(&*found.disks[0], &|| plugged.interrupt());
}

#[test]
fn controllers_without_disks_are_looked_at_again() {
    let (model, plugged, disks) = start_with(|model| {
        model.sockets.iter_mut().for_each(|socket| socket.registers[LINK] = 0);
        model.sockets[2].registers[LINK] = 1;
    });
    assert!(disks.unwrap().is_empty() && !plugged.is_enabled());
    model.borrow_mut().sockets[2].registers[LINK] = 3;
    assert_eq!(plugged.start(start).unwrap().len(), 1);
    assert!(plugged.is_enabled());
}

#[test]
fn disks_that_do_not_start_are_left_out() {
    let (_, _, disks) = start_with(|model| model.drive(0).silent = true);
    assert_eq!(disks.unwrap()[0].name().number, 2);
    let (_, _, disks) = start_with(|model| model.drive(0).answer.fill(0));
    assert_eq!(disks.unwrap()[0].name().number, 2);
    let (_, _, disks) = start_with(|model| model.sockets[0].registers[8] = 0x80);
    assert_eq!(disks.unwrap()[0].name().number, 2);
    let (_, plugged, refused) = start_with(|model| model.stuck = true);
    assert_eq!(refused.err(), Some(Refusal("a port does not stop")));
    assert!(!plugged.is_enabled());
}

#[test]
fn errors_reach_the_caller_and_the_next_command_is_done() {
    for keeps in [false, true] {
        let (model, plugged, disks) = start_with(|model| model.keeps = keeps);
        let disk = disks.unwrap().remove(0);
        model.borrow_mut().drive(0).failing = true;
        let requests = [(); 2].map(|()| disk.read(0, &frames(1)).unwrap());
        plugged.interrupt();
        plugged.interrupt();
        assert!(requests.iter().all(|request| request.result() == Some(Err(BlockError::Io))), "{keeps}");
        model.borrow_mut().drive(0).failing = false;
        exercise(&*disk, &|| plugged.interrupt());
    }
}

#[test]
fn a_disk_that_falls_silent_is_given_up() {
    for stuck in [false, true] {
        let (model, plugged, disks) = start_with(|_| {});
        let [first, second] = disks.unwrap().try_into().unwrap_or_else(|_| panic!("two disks"));
        model.borrow_mut().drive(0).silent = true;
        model.borrow_mut().stuck = stuck;
        let request = first.read(0, &frames(40)).unwrap();
        (0..4).for_each(|_| first.expire());
        assert_eq!(request.result(), Some(Err(BlockError::Io)));
        // Who does not stop accesses no memory either way.
        assert_eq!(plugged.is_enabled(), !stuck);
        assert_eq!(first.read(0, &frames(1)).unwrap_err(), BlockError::Io);
        if !stuck {
            exercise(&*second, &|| plugged.interrupt());
        }
    }
}

/// Registers that say anything.
struct Noise(Vec<u32>, usize);

impl hosted::MmioDevice for Noise {
    fn read(&mut self, _: u64, _: u8) -> u64 {
        self.1 += 1;
        self.0[self.1 % self.0.len()].into()
    }

    fn write(&mut self, _: u64, _: u8, _: u64) {}
}

proptest! {
    // Each controller takes a vector, of which there are 192.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn registers_may_say_anything(noise in proptest::collection::vec(prop_oneof![Just(0), Just(3), Just(0x101), Just(0x8001), any::<u32>()], 1..40)) {
        let plugged = plug(0x01_06_01, 5, Rc::new(RefCell::new(Noise(noise, 0))));
        if let Ok(disks) = plugged.start(start) {
            for disk in disks {
                let _ = disk.read(0, &frames(1));
                (0..5).for_each(|_| disk.expire());
            }
        }
    }
}
