//! Bytes on their way to the host.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_drivers::console::CharDevice;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use crate::sched;

/// The output side of a character device: takes pieces as a whole, and passes on later what the device does not take at once.
pub(super) struct Output {
    device: Arc<dyn CharDevice>,
    queue: SpinLock<VecDeque<u8>>,
    sendable: Arc<WaitQueue>,
    /// Somebody was told that there is no room.
    refused: AtomicBool,
}

impl Output {
    /// Output that begins with `greeting`, which goes out together with the first piece: alone it would cost a device access.
    pub(super) fn new(device: Arc<dyn CharDevice>, greeting: &[u8]) -> Arc<Self> {
        let output = Arc::new(Self {
            device,
            queue: SpinLock::new(greeting.iter().copied().collect()),
            sendable: Arc::new(WaitQueue::new()),
            refused: AtomicBool::new(false),
        });
        sched::spawn(Arc::clone(&output).pass_on(greeting.len()));
        output
    }

    /// Sends what the device did not take, and wakes who found no room, as soon as the device takes more.
    async fn pass_on(self: Arc<Self>, greeting: usize) {
        let mut waits_from = greeting;
        loop {
            self.device
                .writable()
                .until(|| {
                    let mut queue = self.queue.lock();
                    let wanted = queue.len() > waits_from || self.refused.load(Ordering::Relaxed);
                    (wanted && self.device.can_write() && self.flush(&mut queue)).then_some(())
                })
                .await;
            waits_from = 0;
            self.refused.store(false, Ordering::Relaxed);
            self.sendable.wake_all();
        }
    }

    /// Passes bytes to the device; true when none are left.
    fn flush(&self, queue: &mut VecDeque<u8>) -> bool {
        while !queue.is_empty() {
            let taken = self.device.write(queue.as_slices().0);
            if taken == 0 {
                // A device that is gone takes nothing any more; whoever waits for it must not wait for ever.
                if self.device.hung_up() {
                    queue.clear();
                }
                break;
            }
            queue.drain(..taken);
        }
        queue.is_empty()
    }

    /// Sends the pieces one behind the other. They are taken in any case; without memory for what the device leaves, the rest is lost.
    pub(super) fn push(&self, pieces: &[&[u8]]) {
        let mut queue = self.queue.lock();
        for piece in pieces {
            if queue.try_reserve(piece.len()).is_ok() {
                queue.extend(*piece);
            }
        }
        self.flush(&mut queue);
    }

    /// True when more should be sent: the device keeps up. Who is told otherwise is woken by [`Output::sendable`].
    pub(super) fn can_push(&self) -> bool {
        if self.device.can_write() || self.device.hung_up() {
            return true;
        }
        self.refused.store(true, Ordering::Relaxed);
        // Room may have come before the refusal was noted; then nobody would be woken for it.
        self.device.can_write()
    }

    /// Woken when [`Output::can_push`] may have become true.
    pub(super) fn sendable(&self) -> &Arc<WaitQueue> {
        &self.sendable
    }

    /// Waits until everything has left the machine.
    pub(super) async fn drained(&self) {
        let gone = || self.queue.lock().is_empty() && self.device.is_drained();
        self.device.writable().until(|| gone().then_some(())).await;
    }

    /// Sends everything, then the pieces, and waits for the device within its bounds.
    pub(super) fn push_polled(&self, pieces: &[&[u8]]) {
        // The lock may be held by what a bug interrupted: then the rest is lost, but the last words are not.
        if let Some(mut queue) = self.queue.try_lock() {
            let rest: Vec<u8> = queue.drain(..).collect();
            self.device.write_polled(&rest);
        }
        for piece in pieces {
            self.device.write_polled(piece);
        }
    }
}
