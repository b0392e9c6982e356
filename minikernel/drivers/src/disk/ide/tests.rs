use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::hosted;
use proptest::prelude::*;

use super::*;
use crate::block::{Block, BlockError};
use crate::disk::ata::simulated::{Drive, Moves};
use crate::disk::simulated::{Plugged, bytes, exercise, frames, plug_bars, word, write};

const MASTER: u16 = 0xc000;

/// A channel: its drives, the bytes that were written to its registers, older ones in the upper half, and the bus master's.
#[derive(Default)]
struct Wires {
    drives: [Option<Drive>; 2],
    registers: [u16; 8],
    state: u8,
    data: Vec<u8>,
    quiet: bool,
    master: [u8; 3],
    table: u32,
    /// A command that waits for the bus master.
    moves: Option<Moves>,
    /// The bus master has not moved everything.
    short: bool,
}

impl Wires {
    fn drive(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.registers[6] >> 4 & 1)].as_mut()
    }

    fn command(&mut self, code: u8) {
        let registers = self.registers;
        let low = |at: usize| u64::from(registers[at] & 0xff);
        let high = |at: usize| u64::from(registers[at] >> 8);
        let block = low(3) | low(4) << 8 | low(5) << 16 | high(3) << 24 | high(4) << 32 | high(5) << 40;
        let Some(drive) = self.drive() else { return };
        if drive.silent {
            self.state = 0xd0;
            return;
        }
        let count = if matches!(code, 0x25 | 0x35) { registers[2] } else { registers[2] & 0xff };
        match drive.run(code, registers[6] as u8, block, count) {
            Some(Moves::ToMemory(data)) if code == 0xec => {
                assert!(self.quiet, "it is waited for");
                (self.data, self.state) = (data, 0x58);
            }
            Some(Moves::Nothing) => self.end(false),
            None => self.end(true),
            moves => self.moves = moves,
        }
    }

    fn end(&mut self, failed: bool) {
        self.state = if failed { 0x51 } else { 0x50 };
        self.master[2] |= 4;
    }

    /// Moves what the disk and the memory have for each other.
    fn run(&mut self) {
        let Some(moves) = self.moves.take() else { return };
        let mut pages = Vec::new();
        for at in (u64::from(self.table)..).step_by(8) {
            let flags = word(at + 4);
            pages.push((u64::from(word(at)), (flags & 0xffff) as usize));
            if flags >> 31 != 0 {
                break;
            }
        }
        let read = self.master[0] & 8 != 0;
        match moves {
            Moves::ToMemory(data) => {
                assert!(read);
                let mut rest = &data[..];
                for (address, len) in pages {
                    let (part, next) = rest.split_at(len);
                    write(address, part);
                    rest = next;
                }
                assert!(rest.is_empty());
            }
            Moves::ToDisk(place) => {
                assert!(!read);
                let data: Vec<u8> =
                    pages.into_iter().flat_map(|(address, len)| bytes(address, len)).collect();
                self.drive().unwrap().disk[place].copy_from_slice(&data);
            }
            Moves::Nothing => {}
        }
        self.master[2] |= u8::from(self.short);
        self.end(false);
    }

    fn read(&mut self, register: u16) -> u8 {
        let there = self.drive().is_some();
        match register {
            7 if there => self.state,
            3..=5 if there => self.registers[usize::from(register)] as u8,
            _ => 0,
        }
    }

    fn write(&mut self, register: u16, value: u8) {
        let slot = &mut self.registers[usize::from(register)];
        *slot = *slot << 8 | u16::from(value);
        match register {
            // As it answers after its reset.
            6 => {
                self.state = 0x50;
                let signature = if self.registers[7] == 1 { 0x14 } else { 0 };
                self.registers[4] = signature;
            }
            7 => self.command(value),
            _ => {}
        }
    }
}

/// A controller with both channels.
#[derive(Clone, Default)]
struct Model(Rc<RefCell<[Wires; 2]>>);

impl Model {
    /// Which channel and register a port is: the bus master's from 16 on.
    fn place(port: u16) -> (usize, u16) {
        match port {
            0x1f0..0x1f8 => (0, port - 0x1f0),
            0x170..0x178 => (1, port - 0x170),
            0x3f6 => (0, 8),
            0x376 => (1, 8),
            MASTER..0xc010 => (usize::from(port >> 3 & 1), 16 + (port & 7)),
            _ => panic!("port {port:#x}"),
        }
    }
}

impl hosted::PortBus for Model {
    fn read(&mut self, port: u16, width: u8) -> u32 {
        let (channel, register) = Self::place(port);
        let wires = &mut self.0.borrow_mut()[channel];
        match register {
            0 => {
                assert_eq!(width, 2);
                let word: Vec<u8> = wires.data.drain(..2).collect();
                u32::from(word[0]) | u32::from(word[1]) << 8
            }
            8 => wires.read(7).into(),
            1..8 => wires.read(register).into(),
            _ => wires.master[usize::from(register - 16)].into(),
        }
    }

    fn write(&mut self, port: u16, width: u8, value: u32) {
        let (channel, register) = Self::place(port);
        let wires = &mut self.0.borrow_mut()[channel];
        match register {
            8 => wires.quiet = value & 2 != 0,
            0..8 => wires.write(register, value as u8),
            16 => {
                wires.master[0] = value as u8;
                if value & 1 == 0 {
                    wires.master[2] &= !1;
                } else {
                    wires.run();
                }
            }
            18 => wires.master[2] &= !(value as u8 & 6),
            20 => {
                assert_eq!((width, value % 4), (4, 0));
                wires.table = value;
            }
            other => panic!("register {other}"),
        }
    }
}

/// Starts a controller of two disks at the first channel, the second of which knows short commands, and one at the end.
fn start_with(change: impl FnOnce(&mut [Wires; 2])) -> (Model, Plugged, Vec<Arc<dyn Block>>) {
    let model = Model::default();
    {
        let mut wires = model.0.borrow_mut();
        wires[0].drives = [Some(Drive::new(512, true)), Some(Drive::new(512, false))];
        wires[1].drives[1] = Some(Drive::new(4096, true));
        change(&mut wires);
    }
    hosted::set_ports(model.clone());
    let plugged = plug_bars(0x01_01_80, &[(0x20, u32::from(MASTER) | 1)]);
    let disks = plugged.start(start).unwrap();
    (model, plugged, disks)
}

#[test]
fn disks_of_both_channels_are_found_and_used() {
    let (model, _, disks) = start_with(|_| {});
    let about: Vec<_> = disks.iter().map(|disk| (disk.name().number, disk.size())).collect();
    assert_eq!(about, [(0, 4 << 20), (1, 4 << 20), (3, 4 << 20)]);
    assert!(!model.0.borrow()[0].quiet && !model.0.borrow()[1].quiet);
    for disk in &disks {
        exercise(&**disk, &|| disk.poll());
    }
    for drive in [&model.0.borrow()[0].drives[0], &model.0.borrow()[1].drives[1]] {
        assert_eq!(drive.as_ref().unwrap().flushed, 1);
    }
}

#[test]
fn memory_that_the_controller_does_not_reach_is_used() {
    let (_, plugged, _) = start_with(|_| {});
    let mut found = Found::default();
    let bounced = |channel: usize| {
        let mut channel =
            Channel::new(LEGACY[channel].0, LEGACY[channel].1, MASTER + 8 * channel as u16).unwrap();
        let [Some(about), _] = channel.disks() else { panic!("a disk") };
        channel.listen();
        let place = plugged.function.place();
        let controller = Controller::new((NAME, place), Box::new(channel), 1, MOST_PAGES).unwrap();
        let controller = controller.reaching(Reach::LOW).unwrap();
        controller.bounce_all();
        Disk::new(Arc::new(controller), Name { controller: NAME, place, number: 0 }, about.geometry)
    };
    found.disks.push(bounced(0));
    exercise(&*found.disks[0], &|| found.disks[0].poll());
}

#[test]
fn what_is_no_disk_is_left_out() {
    let (_, plugged, disks) = start_with(|wires| {
        wires[0].drives[0].as_mut().unwrap().silent = true;
        wires[0].drives[1].as_mut().unwrap().failing = true;
        wires[1].drives[1].as_mut().unwrap().answer = vec![0xff; 512];
    });
    // A disk may say what it is and fail then.
    assert_eq!(disks.len(), 1);
    let request = disks[0].read(0, &frames(1)).unwrap();
    disks[0].poll();
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
    assert!(plugged.is_enabled());
    let (_, plugged, disks) = start_with(|wires| *wires = Default::default());
    assert!(disks.is_empty() && !plugged.is_enabled());
}

#[test]
fn a_transfer_that_ends_early_is_an_error() {
    let (model, _, disks) = start_with(|_| {});
    model.0.borrow_mut()[0].short = true;
    let request = disks[0].read(0, &frames(1)).unwrap();
    disks[0].poll();
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
    model.0.borrow_mut()[0].short = false;
    exercise(&*disks[0], &|| disks[0].poll());
}

#[test]
fn a_disk_that_falls_silent_is_given_up() {
    let (model, _, disks) = start_with(|_| {});
    model.0.borrow_mut()[0].drives[0].as_mut().unwrap().silent = true;
    let request = disks[0].read(0, &frames(40)).unwrap();
    (0..4).for_each(|_| disks[0].expire());
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
    exercise(&*disks[2], &|| disks[2].poll());
}

#[test]
fn ports_may_be_anywhere_and_are_needed() {
    for bars in [&[][..], &[(0x20, 0xfee0_0000)], &[(0x20, 1)]] {
        let refused = plug_bars(0x01_01_80, bars).start(start).err();
        assert_eq!(refused, Some(Refusal("it cannot access memory")), "{bars:x?}");
    }
    let model = Model::default();
    model.0.borrow_mut()[0].drives[0] = Some(Drive::new(512, true));
    hosted::set_ports(model);
    let bars = [(0x10, 0x1f1), (0x14, 0x3f5), (0x18, 0x171), (0x1c, 0x375), (0x20, u32::from(MASTER) | 1)];
    let plugged = plug_bars(0x01_01_85, &bars);
    let disks = plugged.start(start).unwrap();
    exercise(&*disks[0], &|| plugged.interrupt());
}

/// Ports that say anything.
struct Noise(Vec<u32>, usize);

impl hosted::PortBus for Noise {
    fn read(&mut self, _: u16, _: u8) -> u32 {
        self.1 += 1;
        self.0[self.1 % self.0.len()]
    }

    fn write(&mut self, _: u16, _: u8, _: u32) {}
}

proptest! {
    // Each controller takes a vector, of which there are 192.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn ports_may_say_anything(
        noise in proptest::collection::vec(prop_oneof![Just(0), Just(0x50), Just(0x58), any::<u32>()], 1..40),
        master in any::<u16>(),
    ) {
        hosted::set_ports(Noise(noise, 0));
        if let Ok(disks) = plug_bars(0x01_01_80, &[(0x20, u32::from(master) | 1)]).start(start) {
            for disk in disks {
                let _ = disk.read(0, &frames(1));
                (0..5).for_each(|_| disk.expire());
            }
        }
    }
}
