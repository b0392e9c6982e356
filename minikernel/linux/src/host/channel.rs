//! The framed protocol over a character device.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_drivers::console::CharDevice;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::{self, Frame, Kind, MAX_PAYLOAD};

use super::Host;
use super::output::Output;
use crate::process::find_process;
use crate::sched;
use crate::signal::{SigInfo, Signal, send_to_process};

/// How much standard input may be under way, in bytes: what the guest keeps for a program that does not read yet.
const WINDOW: usize = 64 << 10;

/// The guest's end of the control channel.
pub(super) struct Channel {
    device: Arc<dyn CharDevice>,
    output: Arc<Output>,
    input: SpinLock<Input>,
    input_arrived: Arc<WaitQueue>,
}

/// Standard input on its way to the program.
struct Input {
    bytes: VecDeque<u8>,
    /// The end has come, or there never was anything.
    ended: bool,
    /// How many bytes the host has been allowed to send and has not sent.
    credit: usize,
}

impl Channel {
    /// Opens the channel and starts what listens to the host.
    pub(super) fn open(device: Arc<dyn CharDevice>, input: bool) -> Arc<Self> {
        let mut greeting = channel::header(Kind::Hello, size_of_val(&channel::VERSION)).to_vec();
        greeting.extend(channel::VERSION.to_le_bytes());
        let channel = Arc::new(Self {
            output: Output::new(Arc::clone(&device), &greeting),
            device,
            input: SpinLock::new(Input { bytes: VecDeque::new(), ended: !input, credit: 0 }),
            input_arrived: Arc::new(WaitQueue::new()),
        });
        sched::spawn(Arc::clone(&channel).receive());
        channel
    }

    /// Takes frames from the host for ever.
    async fn receive(self: Arc<Self>) {
        let mut buffer = Vec::new();
        loop {
            let open = self
                .device
                .readable()
                .until(|| {
                    let mut chunk = [0; 512];
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
                self.end_input();
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
            (Some(Kind::Stdin), []) => self.end_input(),
            (Some(Kind::Stdin), bytes) => {
                let mut input = self.input.lock();
                // What exceeds the credit breaks the rules; it is dropped, for memory is not the host's to take.
                let taken = bytes.len().min(input.credit);
                input.credit -= taken;
                input.bytes.extend(&bytes[..taken]);
                drop(input);
                self.input_arrived.wake_all();
            }
            (Some(Kind::Signal), &[number]) => {
                if let (Some(signal), Some(first)) = (Signal::new(u32::from(number)), find_process(1)) {
                    // A full queue of real-time signals loses one more.
                    let _ = send_to_process(&first, signal, SigInfo::host(signal));
                }
            }
            _ => {}
        }
    }

    fn end_input(&self) {
        self.input.lock().ended = true;
        self.input_arrived.wake_all();
    }

    /// Allows the host to send more input when at least half of the window is free.
    fn grant(&self) {
        let more = {
            let mut input = self.input.lock();
            let under_way = input.bytes.len() + input.credit;
            if input.ended || under_way > WINDOW / 2 {
                return;
            }
            let more = WINDOW - under_way;
            input.credit += more;
            more
        };
        self.output.push(&[&channel::header(Kind::Credit, size_of::<u32>()), &(more as u32).to_le_bytes()]);
    }
}

impl Host for Channel {
    fn send(&self, kind: Kind, bytes: &[u8]) {
        for chunk in bytes.chunks(MAX_PAYLOAD) {
            self.output.push(&[&channel::header(kind, chunk.len()), chunk]);
        }
    }

    fn can_send(&self) -> bool {
        self.output.can_push()
    }

    fn sendable(&self) -> &Arc<WaitQueue> {
        self.output.sendable()
    }

    fn take_input(&self, into: &mut [u8]) -> Option<usize> {
        self.grant();
        let mut input = self.input.lock();
        let length = into.len().min(input.bytes.len());
        for (slot, byte) in into.iter_mut().zip(input.bytes.drain(..length)) {
            *slot = byte;
        }
        let at_end = length == 0 && input.ended;
        drop(input);
        self.grant();
        (!at_end).then_some(length)
    }

    fn available_input(&self) -> Option<usize> {
        self.grant();
        let input = self.input.lock();
        if input.bytes.is_empty() && input.ended { None } else { Some(input.bytes.len()) }
    }

    fn input_arrived(&self) -> &Arc<WaitQueue> {
        &self.input_arrived
    }

    fn send_polled(&self, kind: Kind, bytes: &[u8]) {
        self.output.push_polled(&[]);
        for chunk in bytes.chunks(MAX_PAYLOAD) {
            self.output.push_polled(&[&channel::header(kind, chunk.len()), chunk]);
        }
    }
}
