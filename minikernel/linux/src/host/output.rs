//! Bytes on their way to the host.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_drivers::console::CharDevice;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use isopod_manifest::channel::Kind;

use crate::sched;

/// How many bytes may wait for the device before the kernel keeps its own words to itself. What a program writes waits in the program.
const BACKLOG: usize = 64 << 10;

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

    /// Sends the pieces one behind the other: all of them, or without memory for that none. False for none, as for the kernel's own
    /// words when too much waits.
    pub(super) fn push(&self, kind: Kind, pieces: &[&[u8]]) -> bool {
        let mut queue = self.queue.lock();
        if kind == Kind::Log && queue.len() > BACKLOG {
            return false;
        }
        let taken = queue.try_reserve(pieces.iter().map(|piece| piece.len()).sum()).is_ok();
        if taken {
            queue.extend(pieces.iter().copied().flatten());
        }
        self.flush(&mut queue);
        taken
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes so many bytes and keeps what it took.
    #[derive(Default)]
    struct Device {
        room: SpinLock<usize>,
        taken: SpinLock<Vec<u8>>,
        changed: WaitQueue,
    }

    impl CharDevice for Device {
        fn write(&self, bytes: &[u8]) -> usize {
            let mut room = self.room.lock();
            let taken = bytes.len().min(*room);
            *room -= taken;
            self.taken.lock().extend(&bytes[..taken]);
            taken
        }

        fn read(&self, _: &mut [u8]) -> usize {
            0
        }

        fn can_write(&self) -> bool {
            *self.room.lock() > 0
        }

        fn is_drained(&self) -> bool {
            true
        }

        fn can_read(&self) -> bool {
            false
        }

        fn hung_up(&self) -> bool {
            false
        }

        fn writable(&self) -> &WaitQueue {
            &self.changed
        }

        fn readable(&self) -> &WaitQueue {
            &self.changed
        }

        fn write_polled(&self, _: &[u8]) {}
    }

    #[test]
    fn the_kernels_own_words_stop_at_a_backlog_and_others_do_not() {
        let device = Arc::new(Device::default());
        let output = Output::new(device.clone(), b"hello");
        let line = [b'.'; 1000];
        let mut logged = 0;
        while output.push(Kind::Log, &[b"head", &line]) {
            logged += 1;
        }
        assert_eq!(logged, BACKLOG / 1004 + 1);
        assert!(output.push(Kind::Stdout, &[b"last"]));
        *device.room.lock() = usize::MAX;
        assert!(output.push(Kind::Exit, &[b"!"]));
        let taken = device.taken.lock();
        assert_eq!(taken.len(), 5 + logged * 1004 + 5);
        assert!(taken.starts_with(b"hellohead.") && taken.ends_with(b".last!"));
        drop(taken);
        assert!(output.push(Kind::Log, &[&line]));
    }
}
