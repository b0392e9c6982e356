use alloc::sync::Arc;

use super::*;
use crate::virtio::simulated::Simulated;

fn start() -> (Arc<Simulated>, Arc<VirtioRandom>, Arc<Random>) {
    let (device, transport) = Simulated::new(0, &[], &[8]);
    let random = Arc::new(Random::unseeded());
    let source = VirtioRandom::start(transport, Arc::clone(&random)).unwrap();
    (device, source, random)
}

#[test]
fn what_arrives_seeds_the_generator() {
    let (device, source, random) = start();
    assert!(!random.is_seeded());
    source.request();
    let buffer = device.take(0).unwrap();
    assert!(device.take(0).is_none(), "one request at a time");
    buffer.fill(&[42; 40]);
    device.give_back(0, u32::from(buffer.head), 40);
    device.interrupt();
    assert!(random.is_seeded());
    let other = Random::unseeded();
    other.add(&[42; 40]);
    assert_eq!(random.next_u64(), other.next_u64(), "all of it, and nothing else, was added");
    source.request();
    assert!(device.take(0).is_some());
}

#[test]
fn an_empty_answer_is_no_seed() {
    let (device, _source, random) = start();
    let buffer = device.take(0).unwrap();
    device.give_back(0, u32::from(buffer.head), 0);
    device.interrupt();
    assert!(!random.is_seeded());
}

#[test]
fn a_hostile_device_is_given_up() {
    let (device, source, random) = start();
    let buffer = device.take(0).unwrap();
    device.give_back(0, u32::from(buffer.head), 65);
    device.interrupt();
    assert_eq!(device.resets(), 2);
    source.request();
    device.interrupt();
    assert!(!random.is_seeded());
}
