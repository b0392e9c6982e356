//! Several threads share work through the standard library: mutexes, channels, scoped threads, parking.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let (sender, receiver) = mpsc::channel();
    for worker in 0..6u64 {
        let (counts, sender) = (Arc::clone(&counts), sender.clone());
        thread::spawn(move || {
            for number in (worker..6000).step_by(6) {
                *counts.lock().unwrap().entry(number % 10).or_insert(0) += 1;
                sender.send(number).unwrap();
            }
        });
    }
    drop(sender);
    println!("sum {}", receiver.iter().sum::<u64>());
    println!("counts {:?}", counts.lock().unwrap());
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| { total.fetch_add(1, Ordering::Relaxed); }));
        }
    });
    println!("total {}", total.into_inner());
    let start = Instant::now();
    let parked = thread::spawn(thread::park);
    thread::sleep(Duration::from_millis(30));
    parked.thread().unpark();
    parked.join().unwrap();
    println!("parked {}", start.elapsed() >= Duration::from_millis(30));
    println!("parallelism {}", thread::available_parallelism().is_ok());
    let panicked = thread::spawn(|| panic!("a thread may panic")).join();
    println!("panicked {}", panicked.is_err());
}
