//! The framed protocol over a character device.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::console::CharDevice;
use isopod_fs::{Result, Sink};
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::{self, Frame, Kind, MAX_PAYLOAD};

use super::input::Input;
use super::output::Output;
use super::{Drained, Host};
use crate::process::find_process;
use crate::sched;
use crate::signal::{SigInfo, Signal, send_to_process};
use crate::tty::console;

/// How much standard input may be under way, in bytes: what the guest keeps for a program that does not read yet.
const WINDOW: usize = 64 << 10;

/// How many bytes are read from the device at once.
const CHUNK: usize = 512;

/// The guest's end of the control channel.
pub(super) struct Channel {
    device: Arc<dyn CharDevice>,
    output: Arc<Output>,
    input: Input,
    /// How many bytes of input the host has been allowed to send and has not sent.
    credit: SpinLock<usize>,
}

impl Channel {
    /// Opens the channel and starts what listens to the host.
    pub(super) fn open(device: Arc<dyn CharDevice>, input: bool) -> Arc<Self> {
        let channel = Self::new(device, input);
        sched::spawn(Arc::clone(&channel).receive());
        channel
    }

    fn new(device: Arc<dyn CharDevice>, input: bool) -> Arc<Self> {
        let mut greeting = channel::header(Kind::Hello, size_of_val(&channel::VERSION)).to_vec();
        greeting.extend(channel::VERSION.to_le_bytes());
        Arc::new(Self {
            output: Output::new(Arc::clone(&device), &greeting),
            device,
            input: Input::new(input),
            credit: SpinLock::new(0),
        })
    }

    /// Takes frames until the device hangs up; how many bytes of input arrived. See [`crate::fuzzing`].
    #[cfg(fuzzing)]
    pub(super) fn hear(device: Arc<dyn CharDevice>) -> usize {
        let channel = Self::new(device, true);
        let receive = core::pin::pin!(Arc::clone(&channel).receive());
        channel.grant();
        let waker = core::task::Waker::noop();
        assert!(receive.poll(&mut core::task::Context::from_waker(waker)).is_ready(), "it hung up");
        channel.input.available().unwrap_or(0)
    }

    /// Takes frames from the host for ever.
    async fn receive(self: Arc<Self>) {
        /// How long to wait for memory to read into, in nanoseconds.
        const PAUSE: u64 = 10_000_000;
        let mut buffer = Vec::new();
        loop {
            while buffer.try_reserve(CHUNK).is_err() {
                sched::sleep_until(clock::monotonic_ns() + PAUSE).await;
            }
            let open = self
                .device
                .readable()
                .until(|| {
                    let mut chunk = [0; CHUNK];
                    match self.device.read(&mut chunk) {
                        0 if self.device.hung_up() => Some(false),
                        0 => None,
                        length => {
                            buffer.extend_from_slice(&chunk[..length]);
                            Some(true)
                        }
                    }
                })
                .await;
            if !open || !self.take_frames(&mut buffer) {
                self.input.end();
                return;
            }
        }
    }

    /// Deals with all complete frames at the start of `buffer`; false when what is there is not this protocol.
    fn take_frames(&self, buffer: &mut Vec<u8>) -> bool {
        let mut rest = &buffer[..];
        let sound = loop {
            match Frame::parse(rest) {
                Ok(Some((frame, after))) => {
                    self.take(&frame);
                    rest = after;
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
        sound
    }

    fn take(&self, frame: &Frame<'_>) {
        match (frame.kind, frame.payload) {
            (Some(Kind::Stdin), []) => self.input.end(),
            (Some(Kind::Stdin), bytes) => {
                // What exceeds the credit breaks the rules; it is dropped, for memory is not the host's to take.
                let taken = {
                    let mut credit = self.credit.lock();
                    let taken = bytes.len().min(*credit);
                    *credit -= taken;
                    taken
                };
                self.input.push(&bytes[..taken]);
            }
            (Some(Kind::Signal), &[number]) => {
                if let (Some(signal), Some(first)) = (Signal::new(u32::from(number)), find_process(1)) {
                    // A full queue of real-time signals loses one more.
                    let _ = send_to_process(&first, signal, SigInfo::host(signal));
                }
            }
            (Some(Kind::Window), &[a, b, c, d]) => {
                console::resize(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            }
            _ => {}
        }
    }

    /// Allows the host to send more input when at least half of the window is free.
    fn grant(&self) {
        let Some(unread) = self.input.available().filter(|_| !self.input.has_ended()) else { return };
        // What is allowed must find room when it comes.
        if !self.input.reserve(WINDOW) {
            return;
        }
        let more = {
            let mut credit = self.credit.lock();
            let under_way = unread + *credit;
            if under_way > WINDOW / 2 {
                return;
            }
            let more = WINDOW - under_way;
            *credit += more;
            more
        };
        if !self.send(Kind::Credit, &(more as u32).to_le_bytes()) {
            // The host may have used what it was not told of.
            let mut credit = self.credit.lock();
            *credit = credit.saturating_sub(more);
        }
    }
}

impl Host for Channel {
    fn send(&self, kind: Kind, bytes: &[u8]) -> bool {
        let bytes = &bytes[..bytes.len().min(MAX_PAYLOAD)];
        self.output.push(kind, &[&channel::header(kind, bytes.len()), bytes])
    }

    fn can_send(&self) -> bool {
        self.output.can_push()
    }

    fn sendable(&self) -> &Arc<WaitQueue> {
        self.output.sendable()
    }

    fn read_input(&self, sink: &mut dyn Sink) -> Result<usize> {
        let outcome = self.input.read(sink);
        self.grant();
        outcome
    }

    fn available_input(&self) -> Option<usize> {
        self.grant();
        self.input.available()
    }

    fn input_arrived(&self) -> &Arc<WaitQueue> {
        self.input.arrived()
    }

    fn drained(&self) -> Drained<'_> {
        Box::pin(self.output.drained())
    }

    fn send_polled(&self, kind: Kind, bytes: &[u8]) {
        self.output.push_polled(&[]);
        for chunk in bytes.chunks(MAX_PAYLOAD) {
            self.output.push_polled(&[&channel::header(kind, chunk.len()), chunk]);
        }
    }
}
