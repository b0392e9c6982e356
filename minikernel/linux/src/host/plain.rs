//! A console that carries everything as text.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_drivers::console::CharDevice;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::Kind;

use super::Host;
use super::output::Output;
use crate::sched;

/// One character device for both directions.
pub(super) struct Plain {
    output: Arc<Output>,
    device: Arc<dyn CharDevice>,
    input: bool,
    /// A byte that was read to find out whether there is any.
    ahead: SpinLock<Option<u8>>,
    ended: AtomicBool,
    input_arrived: Arc<WaitQueue>,
}

impl Plain {
    /// Opens the console.
    pub(super) fn open(device: Arc<dyn CharDevice>, input: bool) -> Arc<Self> {
        let plain = Arc::new(Self {
            output: Output::new(Arc::clone(&device), &[]),
            device,
            input,
            ahead: SpinLock::new(None),
            ended: AtomicBool::new(false),
            input_arrived: Arc::new(WaitQueue::new()),
        });
        if input {
            sched::spawn(Arc::clone(&plain).pass_on_readable());
        }
        plain
    }

    async fn pass_on_readable(self: Arc<Self>) {
        while !self.ended.load(Ordering::Relaxed) {
            self.device
                .readable()
                .until(|| {
                    let mut ahead = self.ahead.lock();
                    if ahead.is_some() {
                        return None;
                    }
                    let mut byte = [0];
                    match self.device.read(&mut byte) {
                        0 if self.device.hung_up() => self.ended.store(true, Ordering::Relaxed),
                        0 => return None,
                        _ => *ahead = Some(byte[0]),
                    }
                    Some(())
                })
                .await;
            self.input_arrived.wake_all();
        }
    }
}

impl Host for Plain {
    fn send(&self, kind: Kind, bytes: &[u8]) {
        if is_text(kind) {
            self.output.push(&[bytes]);
        }
    }

    fn can_send(&self) -> bool {
        self.output.can_push()
    }

    fn sendable(&self) -> &Arc<WaitQueue> {
        self.output.sendable()
    }

    fn take_input(&self, into: &mut [u8]) -> Option<usize> {
        if !self.input {
            return None;
        }
        let Some(first) = into.first_mut() else { return Some(0) };
        let Some(byte) = self.ahead.lock().take() else {
            return match self.device.read(into) {
                0 if self.ended.load(Ordering::Relaxed) || self.device.hung_up() => None,
                length => Some(length),
            };
        };
        *first = byte;
        Some(1 + self.device.read(&mut into[1..]))
    }

    fn available_input(&self) -> Option<usize> {
        if !self.input {
            return None;
        }
        let there = usize::from(self.ahead.lock().is_some()) + usize::from(self.device.can_read());
        if there == 0 && self.ended.load(Ordering::Relaxed) { None } else { Some(there) }
    }

    fn input_arrived(&self) -> &Arc<WaitQueue> {
        &self.input_arrived
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
