//! Threads that wait for a word, wake, move and give up, on several processors: nobody sleeps who was to be woken.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::Poll;

use isopod_fs::Errno;
use isopod_hal::paging::Access;
use isopod_hal::sync::SpinLock;
use isopod_hal::{PAGE_SIZE, uaccess};
use loom::future::block_on;
use loom::thread;

use super::super::key::Key;
use super::{Place, enqueue, lock, try_requeue};
use crate::fail::{Fail, Stop};
use crate::mm::{AddressSpace, Backing, FaultKind, Layout, MapRequest, Placement, VmaFlags};
use crate::process::Limits;

/// Two words in the memory of a program, and what they are called.
struct Words {
    _memory: Arc<AddressSpace>,
    address: [usize; 2],
    key: [Key; 2],
    /// Programs change words by atomic instructions; models have none that reach this memory.
    change: SpinLock<()>,
}

impl Words {
    fn new() -> Arc<Self> {
        let layout = Layout::random(&mut || 4, 8 << 20);
        let memory =
            Arc::new(AddressSpace::new(layout, Limits::new(1024).of_memory()).expect("there is memory"));
        let page = memory.map(MapRequest {
            placement: Placement::Hint(0),
            length: PAGE_SIZE,
            access: Access::READ | Access::WRITE,
            max_access: Access::all(),
            flags: VmaFlags::empty(),
            backing: Backing::Anonymous,
        });
        let page = page.expect("there is room");
        memory.fault(page, FaultKind::Write).expect("there is memory");
        memory.activate();
        let address = [page, page + 64];
        let key = address.map(|address| Key::Private { space: memory.id(), address, shared: false });
        Arc::new(Self { _memory: memory, address, key, change: SpinLock::new(()) })
    }

    fn set(&self, word: usize, value: u32) {
        let _changing = self.change.lock();
        uaccess::user_store_u32(self.address[word], value).expect("the page is there");
    }

    fn wake(&self, word: usize, count: usize) -> usize {
        lock(&self.key[word]).wake(self.key[word], count, u32::MAX)
    }

    /// Takes a place if the word is still 0.
    fn enqueue(&self, word: usize) -> Option<Place> {
        match enqueue(self.key[word], self.address[word], 0, u32::MAX) {
            Ok(place) => Some(place),
            Err(stop) => {
                assert!(
                    matches!(stop, Stop::Fail(Fail::Errno(Errno::EAGAIN))),
                    "the page is there: {stop:?}"
                );
                None
            }
        }
    }

    /// Waits as FUTEX_WAIT does, while the word is 0.
    fn wait(&self, word: usize) {
        if let Some(place) = self.enqueue(word) {
            block_on(poll_fn(
                |context| if place.poll_woken(context) { Poll::Ready(()) } else { Poll::Pending },
            ));
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // The table is a static, and outlives this execution of the model.
        for key in &self.key {
            assert!(lock(key).waiters.is_empty(), "nobody is left");
        }
    }
}

#[test]
fn a_wake_up_between_the_look_and_the_sleep_is_not_lost() {
    loom::model(|| {
        let words = Words::new();
        let other = words.clone();
        let waker = thread::spawn(move || {
            other.set(0, 1);
            other.wake(0, 1);
        });
        words.wait(0);
        waker.join().unwrap();
    });
}

#[test]
fn a_waiter_that_gives_up_was_woken_or_is_gone() {
    loom::model(|| {
        let words = Words::new();
        let other = words.clone();
        let place = words.enqueue(0).expect("the word is 0");
        let waker = thread::spawn(move || other.wake(0, 1));
        // What a signal does: whoever gives up and was woken says so, so that the wake-up is not lost.
        let woken = place.leave();
        let count = waker.join().unwrap();
        assert_eq!(usize::from(woken), count);
        assert_eq!(words.wake(0, 1), 0);
    });
}

#[test]
fn a_waiter_that_moves_is_found_where_it_goes() {
    loom::model(|| {
        let words = Words::new();
        let (moving, other) = (words.clone(), words.clone());
        let place = words.enqueue(0).expect("the word is 0");
        let mover = thread::spawn(move || {
            let [from, to] = moving.key;
            let moved = try_requeue(from, to, moving.address[0], (0, 1), None);
            let (_, moved) = moved.expect("the page is there, and nothing is compared");
            moving.wake(1, 1) + (1 - moved)
        });
        let dropper = thread::spawn(move || {
            drop(place);
            drop(other);
        });
        dropper.join().unwrap();
        mover.join().unwrap();
    });
}
