use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use isopod_hal::hosted;

use super::*;
use crate::disk::simulated::{Plugged, bytes, long, plug, word, write};
use crate::network::Slot;
use crate::network::tests::Pieces;

const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A card.
#[derive(Default)]
struct Model {
    registers: alloc::collections::BTreeMap<usize, u32>,
    cause: u32,
    enabled: u32,
    link: bool,
    /// Never comes back from its reset.
    stuck: bool,
    /// It takes what is to be sent, and does not send it.
    slow: bool,
    /// What it sent, and the context that it was told of.
    sent: Vec<(Vec<u8>, bool)>,
    context: (u8, u8),
    part: Vec<u8>,
}

impl Model {
    fn get(&self, register: usize) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    fn ring(&self, first: usize) -> u64 {
        assert_eq!(self.get(first + ring::BYTES), 4096);
        u64::from(self.get(first)) | u64::from(self.get(first + ring::HIGH)) << 32
    }

    /// Sends what it has been given.
    fn send(&mut self) {
        let ring = self.ring(register::TRANSMIT_RING);
        let (head, tail) = (register::TRANSMIT_RING + ring::HEAD, register::TRANSMIT_RING + ring::TAIL);
        assert_eq!(self.get(register::TRANSMIT) & 2, 2);
        while !self.slow && self.get(head) != self.get(tail) {
            let at = ring + 16 * u64::from(self.get(head));
            let (address, command, options) = (long(at), word(at + 8), word(at + 12));
            let kind = command >> 20 & 0xf;
            if kind == 0 {
                assert_eq!((command >> 24, command & 0xf_ffff, options), (0x20, 0, 0));
                let [start, place, end @ ..] = ((address >> 32) as u32).to_le_bytes();
                assert_eq!((address as u32, end), (0, [0, 0]));
                self.context = (start, place);
            } else {
                assert_eq!((kind, command >> 29 & 1), (1, 1));
                self.part.extend(bytes(address, command as usize & 0xf_ffff));
                if command >> 24 & 1 != 0 {
                    assert_eq!(
                        command >> 24 & 0b1010,
                        0b1010,
                        "with a checksum, and told of when it was sent"
                    );
                    self.sent.push((core::mem::take(&mut self.part), options & SUM != 0));
                    self.cause |= cause::SENT;
                    write(at + 12, &[1]);
                }
            }
            self.registers.insert(head, (self.get(head) + 1) % 256);
        }
    }

    /// Takes a frame in: whether there is a buffer.
    fn deliver(&mut self, frame: &[u8], length: u16, status: u8, errors: u8) -> bool {
        let ring = self.ring(register::RECEIVE_RING);
        let head = self.get(register::RECEIVE_RING + ring::HEAD);
        assert_eq!(self.get(register::RECEIVE) & 2, 2);
        if head == self.get(register::RECEIVE_RING + ring::TAIL) {
            return false;
        }
        let at = ring + 16 * u64::from(head);
        write(long(at), frame);
        write(at + 8, &length.to_le_bytes());
        write(at + 13, &[errors]);
        write(at + 12, &[status]);
        self.registers.insert(register::RECEIVE_RING + ring::HEAD, (head + 1) % 256);
        self.cause |= 1 << 7;
        true
    }
}

/// Summed up in its descriptor.
const SUM: u32 = 1 << 9;

impl hosted::MmioDevice for Model {
    fn read(&mut self, offset: u64, width: u8) -> u64 {
        assert_eq!(width, 4);
        match offset as usize {
            register::CAUSE => core::mem::take(&mut self.cause).into(),
            register::STATUS => u64::from(self.link) << 1,
            register if [register::CONTROL, register::ADDRESS, register::ADDRESS + 4].contains(&register) => {
                self.get(register).into()
            }
            other => panic!("register {other:#x} is read"),
        }
    }

    fn write(&mut self, offset: u64, width: u8, value: u64) {
        assert_eq!(width, 4);
        let (register, value) = (offset as usize, value as u32);
        match register {
            register::ENABLE => self.enabled |= value,
            register::DISABLE => self.enabled &= !value,
            register::CONTROL if value & control::RESET != 0 && !self.stuck => {
                self.registers.insert(register, value & !control::RESET);
            }
            _ => {
                self.registers.insert(register, value);
            }
        }
        if register == register::TRANSMIT_RING + ring::TAIL && value != 0 {
            self.send();
        }
    }
}

type Net = Arc<dyn Card<Pieces>>;

fn machine(device: u16, model: Model) -> (Rc<RefCell<Model>>, Plugged) {
    let model = Rc::new(RefCell::new(model));
    let mut plugged = plug(0x02_00_00, 0, model.clone());
    plugged.machine.set(0, 0, &[(0, u32::from(device) << 16 | u32::from(INTEL))]);
    plugged.function = plugged.machine.all().remove(0);
    (model, plugged)
}

fn start(plugged: &Plugged) -> Result<Net, Refusal> {
    let slot = Slot::function(plugged.function.clone(), &plugged.platform).expect("a card");
    slot.start(1, OWN)
}

fn card(device: u16) -> (Rc<RefCell<Model>>, Plugged, Net) {
    let registers = [(register::ADDRESS, 0x0100_5452), (register::ADDRESS + 4, 0x8000_0302)].into();
    let (model, plugged) = machine(device, Model { registers, link: true, ..Model::default() });
    let card = start(&plugged).unwrap();
    (model, plugged, card)
}

fn frames(card: &Net) -> Vec<Incoming> {
    let mut frames = Vec::new();
    assert!(!card.receive(0, 64, &mut frames));
    frames
}

#[test]
fn what_the_card_says_of_itself_is_taken() {
    let (model, plugged, card) = card(E1000E);
    assert_eq!((card.address(), card.mtu(), card.pairs()), (ADDRESS, 1500, 1));
    assert_eq!(card.abilities(), Abilities::SUMS);
    assert!(card.is_up() && plugged.is_enabled());
    assert_eq!(model.borrow().get(register::MESSAGES), 0x0008_0808);
    assert_eq!(model.borrow().enabled, 0, "no interrupt until somebody waits");
    assert!(!card.is_due(0));
    assert_eq!(model.borrow().enabled, cause::LINK | cause::RECEIVED | cause::MESSAGES);
}

#[test]
fn a_card_without_an_address_gets_one() {
    let (model, plugged) = machine(E1000[2], Model::default());
    let card = start(&plugged).unwrap();
    assert_eq!(card.address(), OWN);
    assert!(!card.is_up());
    let model = model.borrow();
    assert_eq!((model.get(register::ADDRESS), model.get(register::ADDRESS + 4)), (2, 0x8000_0900));
}

#[test]
fn other_functions_are_none_and_a_silent_card_is_left_out() {
    let (_, plugged) = machine(0x1234, Model::default());
    assert!(Slot::function(plugged.function.clone(), &plugged.platform).is_err());
    let (_, plugged) = machine(E1000E, Model { stuck: true, ..Model::default() });
    assert_eq!(start(&plugged).err(), Some(Refusal::SILENT));
    assert!(!plugged.is_enabled());
}

#[test]
fn frames_come_in_and_their_buffers_go_back() {
    let (model, plugged, card) = card(E1000E);
    for round in 0..200u8 {
        assert!(!card.is_due(0));
        let frame = [round; 60];
        assert!(model.borrow_mut().deliver(&frame, 60, 0b11, 0));
        assert!(model.borrow_mut().deliver(&frame, 60, 0b10_0011, 0), "a sum that is right");
        assert!(model.borrow_mut().deliver(&frame, 60, 0b10_0111, 0), "nothing is said");
        assert!(model.borrow_mut().deliver(&frame, 60, 0b10_0011, 1 << 5), "a sum that is wrong");
        assert!(model.borrow_mut().deliver(&frame, 60, 0b11, 1), "damaged");
        plugged.interrupt();
        assert_eq!((model.borrow().enabled, model.borrow().cause), (0, 0));
        assert!(card.is_due(0));
        let frames = frames(&card);
        let verified: Vec<_> = frames.iter().map(|frame| frame.verified).collect();
        assert_eq!(verified, [false, true, false, false]);
        assert!(frames.iter().all(|got| got.first == frame && got.rest.is_empty()));
    }
}

#[test]
fn a_busy_card_gets_more_buffers() {
    let (model, _, card) = card(E1000[0]);
    let deliver = || (0..1000).take_while(|_| model.borrow_mut().deliver(&[1; 60], 60, 0b11, 0)).count();
    let first = deliver();
    let mut most = first;
    for _ in 0..100 {
        while card.receive(0, 64, &mut Vec::new()) {}
        most = most.max(deliver());
    }
    // Twice as many as are taken at a time.
    assert_eq!((first, most), (8, 136));
}

#[test]
fn what_is_longer_than_a_buffer_is_dropped() {
    let (model, _, card) = card(E1000[0]);
    model.borrow_mut().deliver(&[1; 2048], 2048, 0b01, 0);
    model.borrow_mut().deliver(&[2; 100], 100, 0b11, 0);
    model.borrow_mut().deliver(&[3; 100], 100, 0b11, 0);
    let frames = frames(&card);
    assert!(frames.len() == 1 && frames[0].first == [3; 100]);
}

#[test]
fn a_card_that_breaks_the_rules_is_given_up() {
    let (model, plugged, card) = card(E1000[0]);
    assert!(!card.is_due(0));
    model.borrow_mut().deliver(&[1; 60], 2049, 0b11, 0);
    assert!(frames(&card).is_empty());
    assert!(!card.is_up() && !plugged.is_enabled());
    assert!(card.is_due(0), "who waits learns of it");
    assert!(!card.is_due(0));
    assert_eq!(card.transmit(&[1; 60], Pieces(vec![]), &Work::default()), Ok(()));
    card.flush();
    assert!(model.borrow().sent.is_empty());
}

#[test]
fn frames_go_out_with_their_sums() {
    let (model, _, card) = card(E1000E);
    let long = Pieces(vec![vec![7; 700], vec![8; 700]]);
    let summed = |start, offset| Work { checksum: Some((start, offset)), cut: None };
    card.transmit(&[1; 54], Pieces(vec![vec![2; 10]]), &Work::default()).unwrap();
    card.transmit(&[3; 54], long.clone(), &summed(34, 16)).unwrap();
    assert!(model.borrow().sent.is_empty());
    card.flush();
    let first = ([&[1; 54][..], &[2; 10]].concat(), false);
    let second = ([&[3; 54][..], &[7; 700], &[8; 700]].concat(), true);
    assert!(model.borrow().sent == [first, second]);
    assert_eq!(model.borrow().context, (34, 50));
    card.transmit(&[3; 54], long, &summed(54, 6)).unwrap();
    card.flush();
    assert_eq!(model.borrow().context, (54, 60));
}

#[test]
fn who_finds_no_room_is_told_when_there_is() {
    let (model, plugged, card) = card(E1000[1]);
    model.borrow_mut().slow = true;
    let frame = || Pieces(vec![vec![5; 1000]]);
    let sum = Work { checksum: Some((34, 16)), cut: None };
    let queued = (0..1000).take_while(|_| card.transmit(&[1; 54], frame(), &sum).is_ok()).count();
    assert_eq!(queued, 126, "of 255 descriptors one is the context, and two are each frame's");
    card.flush();
    assert!(!card.collect(0) && !card.is_due(0));
    assert_eq!(model.borrow().enabled & cause::SENT, cause::SENT);
    model.borrow_mut().slow = false;
    model.borrow_mut().send();
    plugged.interrupt();
    assert!(card.is_due(0) && card.collect(0) && !card.collect(0));
    for _ in 0..1000 {
        card.transmit(&[1; 54], frame(), &sum).unwrap();
        card.flush();
    }
    assert_eq!(model.borrow().sent.len(), 1126);
}

#[test]
fn the_link_comes_and_goes() {
    let (model, plugged, card) = card(E1000E);
    for up in [false, true] {
        assert!(!card.is_due(0));
        model.borrow_mut().link = up;
        model.borrow_mut().cause |= cause::LINK;
        plugged.interrupt();
        assert!(card.is_due(0));
        assert_eq!(card.is_up(), up);
    }
}
