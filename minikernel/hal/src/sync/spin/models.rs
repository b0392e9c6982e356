//! What one holder of a lock has stored the next one sees, all of it.

use alloc::sync::Arc;

use super::RwSpinLock;
use crate::sync::atomic::{AtomicU8, Ordering};

/// Two numbers that only change together.
#[derive(Default)]
struct Pair([AtomicU8; 2]);

impl Pair {
    fn count(&self) {
        for number in &self.0 {
            number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> [u8; 2] {
        [0, 1].map(|index| self.0[index].load(Ordering::Relaxed))
    }
}

#[test]
fn a_reader_sees_all_of_a_writers_work_or_nothing() {
    loom::model(|| {
        let lock = Arc::new(RwSpinLock::new(Pair::default()));
        let shared = Arc::clone(&lock);
        let writer = loom::thread::spawn(move || shared.write().count());
        let [first, second] = lock.read().read();
        assert_eq!(first, second);
        writer.join().unwrap();
        assert_eq!(lock.read().read(), [1, 1]);
    });
}

#[test]
fn two_writers_work_one_after_the_other() {
    loom::model(|| {
        let lock = Arc::new(RwSpinLock::new(Pair::default()));
        let shared = Arc::clone(&lock);
        let other = loom::thread::spawn(move || shared.write().count());
        lock.write().count();
        other.join().unwrap();
        assert_eq!(lock.read().read(), [2, 2]);
    });
}

#[test]
fn a_writer_comes_in_only_when_no_reader_is_left() {
    loom::model(|| {
        let lock = Arc::new(RwSpinLock::new(Pair::default()));
        let shared = Arc::clone(&lock);
        let reader = loom::thread::spawn(move || {
            let reading = shared.read();
            let before = reading.read();
            assert_eq!(before, reading.read());
        });
        if let Some(writing) = lock.try_write() {
            writing.count();
        }
        reader.join().unwrap();
    });
}
