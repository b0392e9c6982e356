use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;

use isopod_hal::hosted;

use super::*;
use crate::block::BlockError;
use crate::disk::simulated::{Plugged, bytes, exercise, frames, long, plug, read, sectors, word, write};

/// A queue of the controller: where it is, how long, and how far the controller is in it.
#[derive(Clone, Copy, Default)]
struct Ring {
    address: u64,
    size: u32,
    at: u32,
    phase: bool,
}

/// A controller with namespaces 1, of blocks of 512 bytes, and 3, which is read-only and of blocks of 4 KiB.
struct Model {
    registers: [u32; 16],
    submission: [Ring; 2],
    completion: [Ring; 2],
    disk: Vec<u8>,
    /// Bytes by which each identify command's answer is changed.
    lie: Vec<(u32, usize, u8)>,
    /// What comes back in place of a command of a disk: its number and its status.
    answer: Option<(u16, u16)>,
    /// Says nothing to commands: not to the controller's own, not to a disk's.
    silent: [bool; 2],
    /// Does not start, or not stop.
    stuck: bool,
    /// Bytes of the longest transfer.
    longest: usize,
    flushed: usize,
    commands: usize,
}

impl Model {
    fn new() -> Self {
        // At most 64 entries in contiguous queues, half a second of patience, and the commands of NVM.
        let mut registers = [0; 16];
        registers[0] = 0x0101_003f;
        registers[1] = 0x20;
        registers[2] = 0x0001_0400;
        // As a firmware left it.
        registers[5] = 1;
        registers[7] = 1;
        let rings = [Ring::default(); 2];
        Self {
            registers,
            submission: rings,
            completion: rings,
            disk: sectors(8192),
            lie: Vec::new(),
            answer: None,
            silent: [false; 2],
            stuck: false,
            longest: 128 * 4096,
            flushed: 0,
            commands: 0,
        }
    }

    fn configure(&mut self, value: u32) {
        if self.stuck {
            return;
        }
        self.registers[7] = value & 1;
        if value & 1 != 0 {
            let place = |at: usize| u64::from(self.registers[at]) | u64::from(self.registers[at + 1]) << 32;
            assert_eq!(value, 1 | 6 << 16 | 4 << 20);
            let sizes = self.registers[9];
            let (address, size) = (place(10), (sizes & 0xfff) + 1);
            self.submission[0] = Ring { address, size, ..Ring::default() };
            let (address, size) = (place(12), (sizes >> 16) + 1);
            self.completion[0] = Ring { address, size, at: 0, phase: true };
        }
    }

    fn run(&mut self, queue: usize, tail: u32) {
        assert!(tail < self.submission[queue].size);
        while self.submission[queue].at != tail {
            let ring = &mut self.submission[queue];
            let entry = ring.address + 64 * u64::from(ring.at);
            ring.at = (ring.at + 1) % ring.size;
            if self.silent[queue] {
                continue;
            }
            let status = if queue == 0 { self.own(entry) } else { self.transfer(entry) };
            let (id, status) =
                self.answer.filter(|_| queue == 1).unwrap_or(((word(entry) >> 16) as u16, status));
            let ring = &mut self.completion[queue];
            let at = ring.address + 16 * u64::from(ring.at);
            write(
                at + 12,
                &u32::to_le_bytes(u32::from(id) | u32::from(ring.phase) << 16 | u32::from(status) << 17),
            );
            ring.at += 1;
            if ring.at == ring.size {
                ring.at = 0;
                ring.phase = !ring.phase;
            }
        }
    }

    fn own(&mut self, entry: u64) -> u16 {
        let (page, what, namespace) = (long(entry + 24), word(entry + 40), word(entry + 4));
        let (number, size, second) = (what & 0xffff, (what >> 16) + 1, word(entry + 44));
        match word(entry) as u8 {
            admin::IDENTIFY => {
                let mut answer = vec![0; 4096];
                match (what, namespace) {
                    // No limit of a transfer's length, and a cache.
                    (identify::CONTROLLER, 0) => answer[525] = 1,
                    (identify::NAMESPACES, 0) => answer[..8].copy_from_slice(&[1, 0, 0, 0, 3, 0, 0, 0]),
                    (identify::NAMESPACE, 1) => {
                        answer[..8].copy_from_slice(&8192u64.to_le_bytes());
                        answer[130] = 9;
                    }
                    (identify::NAMESPACE, 3) => {
                        answer[..8].copy_from_slice(&1024u64.to_le_bytes());
                        answer[26] = 1;
                        answer[99] = 1;
                        answer[134] = 12;
                    }
                    _ => return 0x400b,
                }
                for (_, at, byte) in self.lie.iter().filter(|lie| lie.0 == what) {
                    answer[*at] = *byte;
                }
                write(page, &answer);
            }
            admin::CREATE_COMPLETION_QUEUE => {
                assert_eq!((number, second), (1, 3));
                self.completion[1] = Ring { address: page, size, at: 0, phase: true };
            }
            admin::CREATE_SUBMISSION_QUEUE => {
                assert_eq!((number, second), (1, 0x1_0001));
                assert_ne!(self.completion[1].address, 0, "what comes back has a place first");
                self.submission[1] = Ring { address: page, size, ..Ring::default() };
            }
            other => panic!("command {other}"),
        }
        0
    }

    fn transfer(&mut self, entry: u64) -> u16 {
        self.commands += 1;
        let block = match word(entry + 4) {
            1 => 512,
            3 => 4096,
            other => panic!("namespace {other}"),
        };
        let opcode = word(entry) as u8;
        if opcode == 0 {
            self.flushed += 1;
            return 0;
        }
        let start = long(entry + 40) as usize * block;
        let len = (word(entry + 48) as usize + 1) * block;
        if len > self.longest {
            return 0x4002;
        }
        if start + len > self.disk.len() {
            return 0x4080;
        }
        let mut pages = vec![long(entry + 24), long(entry + 32)];
        if len > 2 * 4096 {
            let list = pages.pop().unwrap();
            assert_eq!(list % 1024, 0);
            pages.extend((1..len.div_ceil(4096) as u64).map(|index| long(list + 8 * (index - 1))));
        }
        for (chunk, page) in self.disk[start..start + len].chunks_mut(4096).zip(pages) {
            assert_eq!(page % 4096, 0);
            match opcode {
                2 => write(page, chunk),
                1 => chunk.copy_from_slice(&bytes(page, chunk.len())),
                other => panic!("command {other}"),
            }
        }
        0
    }
}

impl hosted::MmioDevice for Model {
    fn read(&mut self, offset: u64, width: u8) -> u64 {
        assert_eq!(width, 4);
        u64::from(self.registers[offset as usize / 4])
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        assert_eq!(width, 4);
        match offset as usize {
            register::CONFIGURATION => self.configure(value as u32),
            at @ register::ADMIN_SIZES..0x40 => self.registers[at / 4] = value as u32,
            at @ (0x1000 | 0x1008) => self.run((at - 0x1000) / 8, value as u32),
            0x1004 | 0x100c => {}
            other => panic!("register {other:#x}"),
        }
    }
}

type Started = Result<Vec<Arc<dyn Block>>, Refusal>;

/// A change to a controller, and why it is refused then.
type Case = (fn(&mut Model), &'static str);

fn start_with(change: impl FnOnce(&mut Model)) -> (Rc<RefCell<Model>>, Plugged, Started) {
    let mut model = Model::new();
    change(&mut model);
    let model = Rc::new(RefCell::new(model));
    let plugged = plug(0x01_08_02, 0, model.clone());
    let disks = plugged.start(start);
    (model, plugged, disks)
}

#[test]
fn namespaces_are_disks() {
    let (model, plugged, disks) = start_with(|_| {});
    let disks = disks.unwrap();
    let about: Vec<_> =
        disks.iter().map(|disk| (disk.name().number, disk.size(), disk.read_only())).collect();
    assert_eq!(about, [(1, 4 << 20, false), (3, 4 << 20, true)]);
    assert_eq!(alloc::format!("{}", disks[1].name()), "nvme 00:00.0 disk 3");
    exercise(&*disks[1], &|| plugged.interrupt());
    exercise(&*disks[0], &|| plugged.interrupt());
    assert_eq!(model.borrow().flushed, 1);
    assert_eq!(disks[1].read(1, &frames(1)).unwrap_err(), BlockError::Unsupported, "half a block");
}

#[test]
fn long_requests_are_as_long_as_the_controller_takes() {
    for (power, longest, commands) in [(2, 4, 75), (6, 64, 5), (7, 128, 3), (8, 256, 3), (20, 1 << 20, 3)] {
        let (model, plugged, disks) = start_with(|model| {
            model.lie.push((identify::CONTROLLER, 77, power));
            model.longest = longest * 4096;
        });
        let disk = disks.unwrap().remove(0);
        let request = disk.read(0, &frames(300)).unwrap();
        for _ in 0..3 {
            plugged.interrupt();
        }
        assert_eq!((request.result(), model.borrow().commands), (Some(Ok(())), commands));
        exercise(&*disk, &|| plugged.interrupt());
    }
}

#[test]
fn a_disk_without_a_cache_needs_no_flush() {
    let (model, _, disks) = start_with(|model| model.lie.push((identify::CONTROLLER, 525, 0)));
    assert_eq!(disks.unwrap()[0].flush().unwrap().result(), Some(Ok(())));
    assert_eq!(model.borrow().flushed, 0);
}

#[test]
fn controllers_that_do_not_start_are_left_out() {
    let refusals: [Case; 6] = [
        (|model| model.stuck = true, "it does not stop"),
        (|model| (model.stuck, model.registers[7]) = (true, 0), "it does not start"),
        (|model| (model.stuck, model.registers[7]) = (true, 2), "it does not start"),
        (|model| model.silent[0] = true, "it does not answer"),
        (|model| model.registers[1] |= 1 << 16, "it knows no pages of 4 KiB"),
        (|model| model.registers[1] |= 0xf, "its doorbells are too far apart"),
    ];
    for (change, reason) in refusals {
        let (_, plugged, started) = start_with(change);
        assert_eq!(started.err().unwrap(), Refusal(reason));
        assert!(!plugged.is_enabled(), "{reason}");
    }
    // A namespace that there is not, after all.
    let (_, _, started) = start_with(|model| model.lie.push((identify::NAMESPACES, 4, 9)));
    assert_eq!(started.err().unwrap(), Refusal("it refuses a command"));
}

#[test]
fn namespaces_that_are_not_for_us_are_left_out() {
    // Of blocks of 256 bytes or 8 KiB, with metadata.
    for (at, byte) in [(130, 8), (130, 13), (128, 8)] {
        let (_, _, disks) = start_with(|model| model.lie.push((identify::NAMESPACE, at, byte)));
        let numbers: Vec<_> = disks.unwrap().iter().map(|disk| disk.name().number).collect();
        assert_eq!(numbers, [3], "{at}: {byte}");
    }
    // No number, and numbers of disks without sectors.
    for lie in [(identify::NAMESPACES, 0, 0), (identify::NAMESPACE, 1, 0)] {
        let (_, plugged, disks) = start_with(|model| model.lie.push(lie));
        assert!(disks.unwrap().is_empty() && !plugged.is_enabled());
    }
}

#[test]
fn before_version_1_1_all_numbers_are_tried() {
    let (_, _, disks) = start_with(|model| {
        model.registers[2] = 0x0001_0000;
        model.lie.push((identify::CONTROLLER, 516, 1));
    });
    assert_eq!(disks.unwrap().len(), 1);
}

#[test]
fn errors_reach_the_caller_and_passing_ones_are_tried_again() {
    let (model, plugged, disks) = start_with(|_| {});
    let disk = disks.unwrap().remove(0);
    let cases = [(0x4001, BlockError::Unsupported), (0x4080, BlockError::Io), (0x4281, BlockError::Io)];
    for (status, error) in cases {
        model.borrow_mut().answer = Some((0, status));
        let request = disk.read(0, &frames(1)).unwrap();
        plugged.interrupt();
        assert_eq!(request.result(), Some(Err(error)), "{status:#x}");
    }
    // Not ready, and it may be soon.
    model.borrow_mut().answer = Some((0, 0x82));
    let commands = model.borrow().commands;
    let request = disk.read(0, &frames(1)).unwrap();
    plugged.interrupt();
    assert_eq!(model.borrow().commands, commands + 2);
    model.borrow_mut().answer = None;
    plugged.interrupt();
    plugged.interrupt();
    assert_eq!(request.result(), Some(Ok(())));
    model.borrow_mut().answer = Some((0, 0x82));
    let request = disk.read(0, &frames(1)).unwrap();
    for _ in 0..9 {
        plugged.interrupt();
    }
    assert_eq!(request.result(), Some(Err(BlockError::Io)), "not for ever");
}

#[test]
fn a_device_that_breaks_the_rules_is_given_up() {
    for number in [1, 31, 32, u16::MAX] {
        let (model, plugged, disks) = start_with(|_| {});
        let disk = disks.unwrap().remove(0);
        model.borrow_mut().answer = Some((number, 0));
        let request = disk.read(0, &frames(1)).unwrap();
        plugged.interrupt();
        assert_eq!(request.result(), Some(Err(BlockError::Io)));
        assert!(!plugged.is_enabled());
        assert_eq!(disk.read(0, &frames(1)).unwrap_err(), BlockError::Io);
    }
}

#[test]
fn a_device_that_falls_silent_is_given_up() {
    let (model, plugged, disks) = start_with(|_| {});
    let disk = disks.unwrap().remove(0);
    model.borrow_mut().silent[1] = true;
    let requests: Vec<_> = (0..40).map(|_| disk.read(0, &frames(1)).unwrap()).collect();
    for _ in 0..3 {
        disk.expire();
        assert!(requests.iter().all(|request| request.result().is_none()) && plugged.is_enabled());
    }
    disk.expire();
    assert!(requests.iter().all(|request| request.result() == Some(Err(BlockError::Io))));
    assert!(!plugged.is_enabled());
    assert_eq!(read::<1>(requests[0].pages()[0].phys().as_u64()), [0]);
}

#[test]
fn a_lost_interrupt_costs_time_and_no_data() {
    let (_, plugged, disks) = start_with(|_| {});
    let disk = disks.unwrap().remove(0);
    let request = disk.read(0, &frames(1)).unwrap();
    disk.expire();
    assert_eq!(request.result(), Some(Ok(())));
    exercise(&*disk, &|| plugged.interrupt());
}
