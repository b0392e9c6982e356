//! A console that carries everything as text.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_drivers::console::CharDevice;
use isopod_fs::{Result, Sink};
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::Kind;

use super::input::Input;
use super::output::Output;
use super::{Drained, Host};
use crate::sched;

/// How much input is kept for a program that does not read, in bytes; what comes beyond stays in the device.
const KEPT: usize = 4096;

/// One character device for both directions.
pub(super) struct Plain {
    device: Arc<dyn CharDevice>,
    output: Arc<Output>,
    input: Input,
    /// Woken when the program has read.
    room: WaitQueue,
}

impl Plain {
    /// Opens the console.
    pub(super) fn open(device: Arc<dyn CharDevice>, input: bool) -> Arc<Self> {
        let plain = Arc::new(Self {
            output: Output::new(Arc::clone(&device), &[]),
            device,
            input: Input::new(input),
            room: WaitQueue::new(),
        });
        if input {
            sched::spawn(Arc::clone(&plain).receive());
        }
        plain
    }

    /// Takes what comes from the device, as long as there is room for it.
    async fn receive(self: Arc<Self>) {
        loop {
            self.room.until(|| (self.input.available()? < KEPT).then_some(())).await;
            let mut chunk = [0; 256];
            let length = self
                .device
                .readable()
                .until(|| match self.device.read(&mut chunk) {
                    0 if !self.device.hung_up() => None,
                    length => Some(length),
                })
                .await;
            if length == 0 {
                return self.input.end();
            }
            self.input.push(&chunk[..length]);
        }
    }
}

impl Host for Plain {
    fn send(&self, kind: Kind, bytes: &[u8]) -> bool {
        !is_text(kind) || self.output.push(kind, &[bytes])
    }

    fn can_send(&self) -> bool {
        self.output.can_push()
    }

    fn sendable(&self) -> &Arc<WaitQueue> {
        self.output.sendable()
    }

    fn read_input(&self, sink: &mut dyn Sink) -> Result<usize> {
        let outcome = self.input.read(sink);
        self.room.wake_all();
        outcome
    }

    fn available_input(&self) -> Option<usize> {
        self.input.available()
    }

    fn input_arrived(&self) -> &Arc<WaitQueue> {
        self.input.arrived()
    }

    fn drained(&self) -> Drained<'_> {
        Box::pin(self.output.drained())
    }

    fn send_polled(&self, kind: Kind, bytes: &[u8]) {
        if is_text(kind) {
            self.output.push_polled(&[bytes]);
        }
    }
}

/// What somebody at a console can read; the exit status and the like are for programs.
fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Stdout | Kind::Stderr | Kind::Log)
}
