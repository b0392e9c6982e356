//! Who sees the value sees all that was done before it was set, and of several that set it one succeeds.

use alloc::sync::Arc;

use super::Once;
use crate::sync::atomic::{AtomicU8, Ordering};

#[test]
fn who_sees_the_value_sees_what_came_before_it() {
    loom::model(|| {
        let shared = Arc::new((AtomicU8::new(0), Once::new()));
        let setter = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || {
            setter.0.store(7, Ordering::Relaxed);
            setter.1.set(()).unwrap();
        });
        if shared.1.get().is_some() {
            assert_eq!(shared.0.load(Ordering::Relaxed), 7);
        }
        thread.join().unwrap();
        assert_eq!(shared.1.get(), Some(&()));
    });
}

#[test]
fn one_of_two_sets_it() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let shared = Arc::clone(&once);
        let other = loom::thread::spawn(move || shared.set(1).is_ok());
        let mine = once.set(2).is_ok();
        let others = other.join().unwrap();
        assert_ne!(mine, others);
        assert_eq!(once.get(), Some(if mine { &2 } else { &1 }));
    });
}

#[test]
fn all_that_make_it_get_the_same() {
    loom::model(|| {
        let once = Arc::new(Once::new());
        let shared = Arc::clone(&once);
        let other = loom::thread::spawn(move || *shared.get_or_init(|| 1));
        let mine = *once.get_or_init(|| 2);
        assert_eq!(other.join().unwrap(), mine);
    });
}
