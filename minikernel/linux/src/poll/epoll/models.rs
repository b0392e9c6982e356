//! A file that becomes ready while its instance is looked at, changed or left: nobody sleeps through an event, and nobody is told of one that is
//! not theirs.

use alloc::vec::Vec;

use isopod_fs::{Buffer, Bytes, Credentials};
use isopod_hal::sync::SpinLock;
use loom::future::block_on;
use loom::thread;

use super::*;
use crate::ipc::eventfd::new_eventfd;
use crate::testing;

const IN: u32 = 1;
const FD: i32 = 3;

/// An instance that watches a counter of nothing, which becomes readable when something is added.
struct Watched {
    _instance: Arc<OpenFile>,
    epoll: Arc<Epoll>,
    counter: Arc<OpenFile>,
}

impl Watched {
    fn new(mode: Mode) -> Arc<Self> {
        let instance = new_epoll().expect("there is memory");
        let epoll = Arc::clone(Epoll::of(&instance).expect("it is one"));
        let counter = new_eventfd(0, false, OpenFlags::NONBLOCK).expect("there is memory");
        epoll.add(FD, &counter, Interest { events: IN | mode.bits(), data: 7 }).expect("it can be watched");
        Arc::new(Self { _instance: instance, epoll, counter })
    }

    fn add_one(&self) {
        let one = 1u64.to_ne_bytes();
        assert_eq!(self.counter.write(&Credentials::root(), &mut Bytes::new(&one)).ok(), Some(8));
    }

    /// It is not readable any more.
    fn take_all(&self) {
        assert_eq!(self.counter.read(&mut Buffer::new(&mut [0; 8])).ok(), Some(8));
    }

    /// What a wait of no length reports.
    fn collect(&self) -> Vec<u64> {
        let mut told = Vec::new();
        self.epoll.collect(&mut |report| {
            told.push(report.data);
            Told::GoOn
        });
        told
    }

    /// What a wait reports.
    fn wait(&self) -> Vec<u64> {
        loop {
            let told = self.collect();
            if !told.is_empty() {
                return told;
            }
            block_on(self.epoll.wait());
        }
    }
}

/// Tries all executions in which a processor is interrupted by others three times at the most.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    // In an execution of its own: all others are to do the same.
    loom::model(testing::install_kernel);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn an_edge_while_nobody_or_somebody_looks_is_told() {
    explore(|| {
        let watched = Watched::new(Mode::EDGE);
        let other = Arc::clone(&watched);
        let writer = thread::spawn(move || other.add_one());
        assert_eq!(watched.wait(), [7]);
        writer.join().expect("it does not panic");
    });
}

#[test]
fn an_event_while_a_candidate_turns_out_not_to_be_ready_is_told() {
    explore(|| {
        let watched = Watched::new(Mode::empty());
        watched.add_one();
        assert_eq!(watched.collect(), [7]);
        watched.take_all();
        let other = Arc::clone(&watched);
        let writer = thread::spawn(move || other.add_one());
        assert_eq!(watched.wait(), [7]);
        writer.join().expect("it does not panic");
    });
}

#[test]
fn two_edges_are_told_once_or_twice_and_the_second_is_not_lost() {
    explore(|| {
        let watched = Watched::new(Mode::EDGE);
        let other = Arc::clone(&watched);
        let writer = thread::spawn(move || {
            other.add_one();
            other.add_one();
        });
        assert_eq!(watched.wait(), [7]);
        writer.join().expect("it does not panic");
        assert!(watched.collect().len() <= 1);
        watched.add_one();
        assert_eq!(watched.collect(), [7]);
    });
}

#[test]
fn one_shot_is_told_to_one_of_two() {
    explore(|| {
        let watched = Watched::new(Mode::ONE_SHOT);
        watched.add_one();
        let other = Arc::clone(&watched);
        let told = Arc::new(SpinLock::new(0));
        let count = Arc::clone(&told);
        let second = thread::spawn(move || *count.lock() += other.collect().len());
        *told.lock() += watched.collect().len();
        second.join().expect("it does not panic");
        assert_eq!(*told.lock(), 1);
    });
}

#[test]
fn what_is_deleted_is_not_told_afterwards() {
    explore(|| {
        let watched = Watched::new(Mode::empty());
        let other = Arc::clone(&watched);
        let writer = thread::spawn(move || other.add_one());
        watched.epoll.delete(FD, &watched.counter).expect("it is watched");
        assert!(watched.collect().is_empty());
        writer.join().expect("it does not panic");
        assert!(watched.collect().is_empty());
    });
}
