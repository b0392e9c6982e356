use alloc::vec::Vec;
use std::sync::Mutex;

use super::*;

/// A UART whose line takes `room` more bytes.
#[derive(Debug, Default)]
struct Uart {
    scratch: u8,
    interrupts: u8,
    incoming: VecDeque<u8>,
    sent: Vec<u8>,
    room: usize,
    fifo: usize,
}

#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Uart>>);

impl Wire {
    fn open(room: usize) -> (Self, Arc<Serial>) {
        let wire = Self::default();
        wire.0.lock().unwrap().room = room;
        let serial = Serial::start(Box::new(wire.clone())).unwrap();
        (wire, serial)
    }

    fn interrupts(&self) -> u8 {
        self.0.lock().unwrap().interrupts
    }
}

impl Registers for Wire {
    fn read(&self, index: u16) -> u8 {
        let mut uart = self.0.lock().unwrap();
        match index {
            register::DATA => uart.incoming.pop_front().expect("no read without data"),
            register::LINE_STATUS => {
                // The line empties the FIFO as far as it takes bytes.
                let taken = uart.fifo.min(uart.room);
                uart.fifo -= taken;
                uart.room -= taken;
                u8::from(!uart.incoming.is_empty()) | if uart.fifo == 0 { 1 << 5 } else { 0 }
            }
            register::SCRATCH => uart.scratch,
            _ => panic!("register {index} is not read"),
        }
    }

    fn write(&self, index: u16, value: u8) {
        let mut uart = self.0.lock().unwrap();
        match index {
            register::DATA => {
                uart.sent.push(value);
                uart.fifo += 1;
                assert!(uart.fifo <= FIFO, "the FIFO overflows");
            }
            register::INTERRUPT_ENABLE => uart.interrupts = value,
            register::SCRATCH => uart.scratch = value,
            _ => {}
        }
    }
}

#[test]
fn output_flows_as_the_line_takes_it() {
    let (wire, serial) = Wire::open(100);
    let text: Vec<u8> = (0..BUFFER + 1000).map(|at| at as u8).collect();
    let mut written = serial.write(&text);
    assert!((BUFFER..text.len()).contains(&written));
    assert_eq!(wire.interrupts(), 0b11);
    while written < text.len() || !serial.state.lock().output.is_empty() {
        wire.0.lock().unwrap().room += 50;
        serial.on_interrupt();
        written += serial.write(&text[written..]);
    }
    assert_eq!(wire.0.lock().unwrap().sent, text);
    assert_eq!(wire.interrupts(), 0b01, "no transmitter interrupt without output");
}

#[test]
fn input_is_kept_until_it_is_read() {
    let (wire, serial) = Wire::open(0);
    assert!(!serial.can_read());
    wire.0.lock().unwrap().incoming.extend((0..BUFFER + 10).map(|at| at as u8));
    serial.on_interrupt();
    assert!(serial.can_read());
    assert_eq!(wire.interrupts(), 0, "no room, no interrupt");
    let mut read = alloc::vec![0; 2 * BUFFER];
    assert_eq!(serial.read(&mut read), BUFFER);
    assert_eq!(wire.interrupts(), 1);
    serial.on_interrupt();
    assert_eq!(serial.read(&mut read[BUFFER..]), 10);
    assert!(read[..BUFFER + 10].iter().enumerate().all(|(at, byte)| *byte == at as u8));
}

#[test]
fn last_words_follow_what_was_written_before() {
    let (wire, serial) = Wire::open(usize::MAX);
    wire.0.lock().unwrap().fifo = 1;
    wire.0.lock().unwrap().room = 0;
    serial.write(b"before ");
    wire.0.lock().unwrap().room = usize::MAX;
    serial.write_polled(b"last");
    assert_eq!(wire.0.lock().unwrap().sent, b"before last");
    let _guard = serial.state.lock();
    serial.write_polled(b"locked");
}

#[test]
fn a_hole_is_no_port() {
    #[derive(Debug)]
    struct Hole;
    impl Registers for Hole {
        fn read(&self, _: u16) -> u8 {
            0xff
        }
        fn write(&self, _: u16, _: u8) {}
    }
    assert!(Serial::start(Box::new(Hole)).is_none());
}
