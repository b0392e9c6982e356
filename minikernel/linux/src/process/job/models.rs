//! A stop and a continuation at once: one of them comes last, and all agree on which.

use alloc::sync::Arc;

use super::{Change, Job, Signal};

#[test]
fn a_stop_and_a_continuation_at_once_leave_one_of_both() {
    loom::model(|| {
        let job = Arc::new(Job::default());
        let shared = Arc::clone(&job);
        let stopper = loom::thread::spawn(move || shared.stop(Signal::STOP, shared.continuations()));
        let went_on = job.go_on();
        let stopped = stopper.join().unwrap();
        // A continuation that found it stopped came after the stop.
        assert!(stopped || !went_on);
        assert_eq!(job.is_stopped(), stopped && !went_on);
        let told = match (stopped, went_on) {
            (true, true) => Some(Change::Continued),
            (true, false) => Some(Change::Stopped(Signal::STOP)),
            (false, _) => None,
        };
        assert_eq!(job.take(|_| true, false), told);
    });
}

#[test]
fn a_stop_taken_before_a_continuation_never_outlives_it() {
    loom::model(|| {
        let job = Arc::new(Job::default());
        let before = job.continuations();
        let shared = Arc::clone(&job);
        let stopper = loom::thread::spawn(move || shared.stop(Signal::STOP, before));
        job.go_on();
        stopper.join().unwrap();
        assert!(!job.is_stopped());
    });
}

#[test]
fn a_tracer_that_sees_a_stop_sees_its_signal() {
    loom::model(|| {
        let job = Arc::new(Job::default());
        let shared = Arc::clone(&job);
        let stopper = loom::thread::spawn(move || shared.stop(Signal::STOP, 0));
        if job.is_stopped() {
            assert_eq!(job.stop_state(), Some((1, Signal::STOP)));
        }
        stopper.join().unwrap();
    });
}
