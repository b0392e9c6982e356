use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;
use crate::virtio::simulated::Simulated;

const FEATURES: [u64; 2] = [0, 1 << 29];

/// What all output buffers hold.
const ROOM: usize = FIRST_OUTPUT_BUFFER + (OUTPUT_BUFFERS as usize - 1) * PAGE_SIZE;

fn console(features: u64) -> (Arc<Simulated>, Arc<VirtioConsole>) {
    let (device, transport) = Simulated::new(features, &[], &[64, 64]);
    (device, VirtioConsole::start(transport).unwrap())
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

/// Types `bytes` at the console, into as many buffers as it takes.
fn type_in(device: &Simulated, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let buffer = device.take(0).expect("an input buffer");
        let (now, later) = rest.split_at(rest.len().min(buffer.room() as usize));
        buffer.fill(now);
        device.give_back(0, u32::from(buffer.head), now.len() as u32);
        rest = later;
    }
    device.interrupt();
}

/// Takes all output there is.
fn printed(device: &Simulated) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(buffer) = device.take(1) {
        all.extend(buffer.input);
        device.give_back(1, u32::from(buffer.head), 0);
    }
    all
}

#[test]
fn input_arrives_and_its_buffers_return() {
    for features in FEATURES {
        let (device, console) = console(features);
        assert_eq!(device.notified(0), 1);
        assert!(!console.can_read());
        let (woken, waker) = waker();
        let _listener = console.readable().listen(&waker);
        for round in 0..100u8 {
            let line: Vec<u8> = (0..INPUT_BUFFER as u16 + 300).map(|at| at as u8 ^ round).collect();
            type_in(&device, &line);
            assert!(console.can_read());
            assert_eq!(woken.get(), usize::from(round) + 1);
            let mut read: Vec<u8> = Vec::new();
            let mut piece = [0; 700];
            loop {
                match console.read(&mut piece) {
                    0 => break,
                    len => read.extend(&piece[..len]),
                }
            }
            assert_eq!(read, line);
        }
    }
}

#[test]
fn input_that_nobody_reads_stops_the_sender() {
    let (device, console) = console(0);
    type_in(&device, &[7; INPUT_BUFFERS as usize * INPUT_BUFFER]);
    assert!(device.take(0).is_none(), "all buffers are full");
    assert_eq!(console.read(&mut [0; INPUT_BUFFER]), INPUT_BUFFER);
    assert_eq!(device.take(0).unwrap().room() as usize, INPUT_BUFFER);
}

#[test]
fn output_is_taken_until_the_buffers_are_full() {
    for features in FEATURES {
        let (device, console) = console(features);
        assert_eq!(console.write(b"hello "), 6);
        assert_eq!(console.write(b"world"), 5);
        assert_eq!(printed(&device), b"hello world");
        assert!(!device.interrupt_wanted(1), "nobody waits");
        let long: Vec<u8> = (0..10 * PAGE_SIZE).map(|at| (at / 7) as u8).collect();
        assert_eq!(console.write(&long), ROOM);
        assert!(!console.can_write());
        assert_eq!(console.write(&long[ROOM..]), 0);
        let (woken, waker) = waker();
        let _listener = console.writable().listen(&waker);
        let buffer = device.take(1).unwrap();
        device.give_back(1, u32::from(buffer.head), 0);
        assert!(device.interrupt_wanted(1), "somebody waits");
        device.interrupt();
        assert_eq!(woken.get(), 1);
        assert!(console.can_write());
        let more = console.write(&long[ROOM..]);
        assert_eq!(more, buffer.input.len());
        let mut output = buffer.input;
        output.extend(printed(&device));
        assert_eq!(output, long[..ROOM + more]);
    }
}

#[test]
fn a_write_that_fills_the_last_buffer_leaves_the_interrupt_on() {
    let (device, console) = console(1 << 29);
    assert_eq!(console.write(&alloc::vec![1; ROOM]), ROOM);
    // An input interrupt in between changes nothing.
    type_in(&device, b"x");
    let buffer = device.take(1).unwrap();
    device.give_back(1, u32::from(buffer.head), 0);
    assert!(device.interrupt_wanted(1));
}

#[test]
fn a_buffer_that_somebody_else_collected_is_announced_all_the_same() {
    let (device, console) = console(1 << 29);
    assert_eq!(console.write(&alloc::vec![1; ROOM]), ROOM);
    let (woken, waker) = waker();
    let _listener = console.writable().listen(&waker);
    let buffer = device.take(1).unwrap();
    device.give_back(1, u32::from(buffer.head), 0);
    assert!(console.can_write());
    device.interrupt();
    assert_eq!(woken.get(), 1);
    // Nobody has waited since.
    type_in(&device, b"x");
    device.interrupt();
    assert_eq!(woken.get(), 1);
}

#[test]
fn last_words_are_bounded() {
    let (device, console) = console(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut output = Vec::new();
            while output.len() < 100_000 {
                output.extend(printed(&device));
            }
            output
        });
        console.write_polled(&alloc::vec![b'!'; 100_000]);
        assert!(reader.join().unwrap().iter().all(|byte| *byte == b'!'));
    });
    // While the code that panicked holds the device, nothing can be done, but it ends.
    let guard = console.output.lock();
    console.write_polled(b"locked");
    drop(guard);
}

#[test]
fn a_hostile_device_is_given_up() {
    let crimes: [fn(&Simulated); 3] = [
        |device| device.give_back(0, 99, 0),
        |device| device.give_back(1, 0, 0),
        |device| {
            let buffer = device.take(0).unwrap();
            device.give_back(0, u32::from(buffer.head), INPUT_BUFFER as u32 + 1);
        },
    ];
    for crime in crimes {
        let (device, console) = console(0);
        let (woken, waker) = waker();
        let _listeners = (console.readable().listen(&waker), console.writable().listen(&waker));
        crime(&device);
        device.interrupt();
        assert_eq!((device.resets(), woken.get()), (2, 2));
        assert!(console.hung_up() && !console.can_read() && !console.can_write());
        assert_eq!((console.write(b"x"), console.read(&mut [0])), (0, 0));
        console.write_polled(b"x");
        device.interrupt();
    }
}

#[test]
fn empty_input_buffers_are_given_back() {
    let (device, console) = console(0);
    for _ in 0..10 {
        let buffer = device.take(0).expect("an input buffer");
        device.give_back(0, u32::from(buffer.head), 0);
        device.interrupt();
        assert!(!console.can_read());
    }
}

#[test]
fn rings_and_first_buffers_share_a_page() {
    let (_device, console) = console(0);
    assert_eq!(console.input.lock().queue.memory().len(), PAGE_SIZE);
    assert_eq!(console.output.lock().queue.memory().len(), PAGE_SIZE);
}

#[test]
fn the_port_beside_the_console_is_opened() {
    for (ports, port, receive, transmit) in [(2u32, 1u32, 4, 5), (31, 0, 0, 1)] {
        let config = [[0; 4], ports.to_le_bytes()].concat();
        let (device, transport) = Simulated::new(feature::MULTIPORT, &config, &[64; 6]);
        let console = VirtioConsole::start(transport).unwrap();
        let messages: Vec<_> = core::iter::from_fn(|| device.take(3)).map(|buffer| buffer.input).collect();
        let number = port as u8;
        let expected =
            [[number, 0, 0, 0, 0, 0, 1, 0], [number, 0, 0, 0, 3, 0, 1, 0], [number, 0, 0, 0, 6, 0, 1, 0]];
        assert_eq!(messages, expected);
        assert_eq!((device.notified(3), device.notified(receive)), (1, 1));
        assert!(device.take(receive).is_some());
        assert_eq!(console.write(b"x"), 1);
        assert_eq!(device.take(transmit).unwrap().input, b"x");
    }
}
