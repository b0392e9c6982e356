use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::hosted;
use proptest::prelude::*;

use super::*;
use crate::block::Block;
use crate::disk::scsi::simulated::Devices;
use crate::disk::scsi::unit;
use crate::disk::simulated::{Plugged, bytes, exercise, frames, long, plug, read, word, write};

/// An adapter whose devices answer at once.
struct Model {
    devices: Devices,
    /// Words of the command that is being given.
    words: Vec<u32>,
    /// Where the state of the rings, the requests and what came back are.
    rings: Option<[u64; 3]>,
    silent: bool,
    /// In place of the host's status, and of the slot.
    host: Option<u16>,
    context: Option<u64>,
    /// Kicks of both kinds.
    kicks: [usize; 2],
    masks: u32,
}

impl Model {
    fn run(&mut self) {
        let [state, requests, returned] = self.rings.expect("it has rings");
        while !self.silent && word(state + 4) != word(state) {
            let taken = word(state + 4);
            write(state + 4, &taken.wrapping_add(1).to_le_bytes());
            let answer = self.answer(requests + 128 * u64::from(taken % 32));
            let produced = word(state + 12);
            assert!(produced.wrapping_sub(word(state + 16)) < 128);
            write(returned + 32 * u64::from(produced % 128), &answer);
            write(state + 12, &produced.wrapping_add(1).to_le_bytes());
        }
    }

    /// What comes back of the request there.
    fn answer(&mut self, at: u64) -> [u8; 32] {
        let (list, len, flags) = (long(at + 8), long(at + 16) as usize, word(at + 36));
        let request: [u8; 128] = read(at);
        assert_eq!((flags & 1, request[65], request[66]), (1, 0x20, 0));
        assert_eq!(request[56], [6, 10, 10, 0, 16, 12][usize::from(request[40] >> 5)]);
        let number = unit(request[67].into(), u16::from_be_bytes([request[57] & 0x3f, request[58]]));
        let mut segments = Vec::new();
        let mut total = 0;
        while total < len {
            let at = list + 16 * segments.len() as u64;
            segments.push((long(at), word(at + 8) as usize));
            total += word(at + 8) as usize;
        }
        assert_eq!(total, len);
        let data: Vec<u8> = match flags >> 2 {
            0b100 => segments.iter().flat_map(|(address, len)| bytes(*address, *len)).collect(),
            0b010 => Vec::new(),
            other => {
                assert_eq!((other, len), (1, 0));
                Vec::new()
            }
        };
        let (mut host, mut status, mut given) = (0x11, 0, Vec::new());
        if let Some((said, sense, answer)) =
            self.devices.answer(number, *request[40..].first_chunk().unwrap(), &data)
        {
            (host, status, given) = (0, said, answer);
            write(long(at + 24), &sense);
        }
        if host == 0 && flags >> 2 == 0b010 && given.len() < len {
            host = 0x12;
        }
        let mut rest = &given[..given.len().min(len)];
        for (address, len) in segments {
            let (part, next) = rest.split_at(len.min(rest.len()));
            write(address, part);
            rest = next;
        }
        let mut answer = [0; 32];
        answer[..8].copy_from_slice(&self.context.unwrap_or(long(at)).to_le_bytes());
        answer[20..22].copy_from_slice(&self.host.unwrap_or(host).to_le_bytes());
        answer[22] = status;
        answer
    }
}

impl hosted::MmioDevice for Model {
    fn read(&mut self, offset: u64, _: u8) -> u64 {
        panic!("register {offset:#x} is read")
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        assert_eq!(width, 4);
        match (offset as usize, value as u32) {
            (register::COMMAND, adapter::RESET) => self.rings = None,
            (register::COMMAND, adapter::SETUP_RINGS) => self.words.clear(),
            (register::DATA, word) => {
                self.words.push(word);
                if self.words.len() == 132 {
                    let page =
                        |at: usize| 4096 * (u64::from(self.words[at]) | u64::from(self.words[at + 1]) << 32);
                    assert_eq!(self.words[..2], [1, 1]);
                    self.rings = Some([page(2), page(4), page(68)]);
                }
            }
            (register::INTERRUPT_MASK, mask) => self.masks = mask,
            (register::INTERRUPTS, _) => {}
            (0x3014, _) => {
                self.kicks[0] += 1;
                self.run();
            }
            (0x4018, _) => {
                self.kicks[1] += 1;
                self.run();
            }
            other => panic!("{other:x?}"),
        }
    }
}

fn start_with(change: impl FnOnce(&mut Model)) -> (Rc<RefCell<Model>>, Plugged, Vec<Arc<dyn Block>>) {
    let devices = Devices::new();
    let mut model = Model {
        devices,
        words: vec![],
        rings: None,
        silent: false,
        host: None,
        context: None,
        kicks: [0; 2],
        masks: 0,
    };
    change(&mut model);
    let model = Rc::new(RefCell::new(model));
    let plugged = plug(0x01_00_00, 0, model.clone());
    let disks = plugged.start(start).unwrap();
    (model, plugged, disks)
}

#[test]
fn units_that_are_disks_are_found_and_used() {
    let (model, plugged, disks) = start_with(|_| {});
    let about: Vec<_> =
        disks.iter().map(|disk| (disk.name().number, disk.size(), disk.read_only())).collect();
    assert_eq!(about, [(unit(2, 0), 4 << 20, false), (unit(2, 300), 4 << 20, true)]);
    assert_eq!((model.borrow().masks, model.borrow().kicks[1]), (3, 0));
    exercise(&*disks[1], &|| plugged.interrupt());
    exercise(&*disks[0], &|| plugged.interrupt());
    assert_eq!(model.borrow().devices.flushed, 1);
    assert!(model.borrow().kicks[1] > 0);
    let kicks = model.borrow().kicks;
    plugged.interrupt();
    assert_eq!(model.borrow().kicks, kicks, "the adapter is told of nothing when there is nothing");
}

#[test]
fn what_the_adapter_says_is_believed_as_far_as_it_goes() {
    let (model, plugged, disks) = start_with(|_| {});
    for (host, expected) in [
        (0x0a, Ok(())),
        (0x0c, Err(BlockError::Io)),
        (0x12, Err(BlockError::Io)),
        (0x20, Err(BlockError::Io)),
        (0x25, Err(BlockError::Io)),
    ] {
        model.borrow_mut().host = Some(host);
        let request = disks[0].read(0, &frames(1)).unwrap();
        (0..9).for_each(|_| plugged.interrupt());
        assert_eq!(request.result(), Some(expected), "{host:#x}");
    }
    // The bus was reset meanwhile.
    model.borrow_mut().host = Some(0x25);
    let request = disks[0].read(0, &frames(1)).unwrap();
    plugged.interrupt();
    model.borrow_mut().host = None;
    (0..2).for_each(|_| plugged.interrupt());
    assert_eq!(request.result(), Some(Ok(())));
}

#[test]
fn adapters_that_break_the_rules_or_fall_silent_are_given_up() {
    for slot in [1, 32, u64::MAX] {
        let (model, plugged, disks) = start_with(|_| {});
        model.borrow_mut().context = Some(slot);
        let request = disks[0].read(0, &frames(1)).unwrap();
        plugged.interrupt();
        assert_eq!(request.result(), Some(Err(BlockError::Io)), "{slot}");
        assert!(!plugged.is_enabled() && model.borrow().rings.is_none());
    }
    let (model, plugged, disks) = start_with(|_| {});
    model.borrow_mut().silent = true;
    let requests: Vec<_> = (0..40).map(|_| disks[0].read(0, &frames(1)).unwrap()).collect();
    (0..4).for_each(|_| disks[0].expire());
    assert!(requests.iter().all(|request| request.result() == Some(Err(BlockError::Io))));
    assert!(!plugged.is_enabled());
    let (_, plugged, disks) = start_with(|model| model.silent = true);
    assert!(disks.is_empty() && !plugged.is_enabled());
}

proptest! {
    // Each adapter takes a vector, of which there are 192.
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn rings_may_hold_anything(noise in proptest::collection::vec(any::<u8>(), 64), produced in 0..200u32) {
        let (model, plugged, disks) = start_with(|_| {});
        let [state, _, returned] = model.borrow().rings.unwrap();
        model.borrow_mut().silent = true;
        let request = disks[0].read(0, &frames(3)).unwrap();
        for (at, chunk) in (returned..returned + 4096).step_by(32).zip(noise.chunks(32).cycle()) {
            write(at, chunk);
        }
        write(state + 12, &word(state + 12).wrapping_add(produced).to_le_bytes());
        plugged.interrupt();
        (0..5).for_each(|_| disks[0].expire());
        prop_assert!(request.result().is_some());
    }
}
