use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::virtio::simulated::Simulated;
use alloc::sync::Arc;

fn queue(size: u16, features: u64) -> (Arc<Simulated>, Queue) {
    let (device, transport) = Simulated::new(features, &[], &[size]);
    device.accept(features);
    let queue = Queue::new(&*transport, 0, size, 100, features).unwrap();
    (device, queue)
}

fn segment(address: u64, len: u32) -> Segment {
    Segment { address: PhysAddr::new(address), len }
}

/// A buffer of `count` segments to write, 8 bytes each.
fn writable(count: usize) -> Vec<Segment> {
    (0..count).map(|index| segment(0x1000 * index as u64, 8)).collect()
}

#[test]
fn buffers_travel_both_ways() {
    let (device, mut queue) = queue(8, feature::EVENT_INDEX);
    let memory = Dma::pages(1).unwrap();
    memory.write(0, b"to the device");
    let at = |offset| memory.phys().as_u64() + offset;
    let segments = [segment(at(0), 6), segment(at(6), 7), segment(at(100), 4)];
    assert!(queue.push(77, &segments, 1));
    assert!(device.take(0).is_none(), "not before it is published");
    assert!(queue.publish(), "the first buffer is always notified");
    let buffer = device.take(0).unwrap();
    assert_eq!((buffer.input.as_slice(), buffer.room()), (b"to the device".as_slice(), 4));
    assert_eq!(queue.pop(), Ok(None));
    assert!(queue.listen());
    buffer.fill(b"back");
    device.give_back(0, u32::from(buffer.head), 4);
    assert!(device.interrupt_wanted(0));
    assert_eq!(queue.pop(), Ok(Some(Completion { token: 77, written: 4 })));
    assert_eq!(queue.pop(), Ok(None));
    let mut bytes = [0; 4];
    memory.read(100, &mut bytes);
    assert_eq!(&bytes, b"back");
    assert!(queue.has_room(8));
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
    let (device, mut queue) = queue(8, 0);
    assert!(queue.push(0, &writable(3), 3) && queue.push(1, &writable(4), 4));
    assert!(!queue.push(2, &writable(2), 2) && queue.push(2, &writable(1), 1));
    assert!(!queue.push(3, &writable(1), 1) && !queue.push(3, &[], 0));
    queue.publish();
    let heads: Vec<_> = core::iter::from_fn(|| device.take(0)).map(|buffer| buffer.head).collect();
    assert_eq!(heads.len(), 3);
    // In another order than they came.
    for index in [2usize, 0, 1] {
        device.give_back(0, u32::from(heads[index]), 0);
        assert_eq!(queue.pop(), Ok(Some(Completion { token: index as u16, written: 0 })));
    }
    assert!(queue.has_room(8));
}

#[test]
fn a_device_is_notified_only_when_it_wants_to() {
    for features in [0, feature::EVENT_INDEX] {
        let (device, mut queue) = queue(8, features);
        queue.push(0, &writable(1), 1);
        assert!(queue.publish());
        assert!(!queue.publish(), "nothing new");
        device.silence(0);
        queue.push(1, &writable(1), 1);
        assert!(!queue.publish());
        while device.take(0).is_some() {}
        queue.push(2, &writable(1), 1);
        assert!(queue.publish());
    }
}

#[test]
fn interrupts_come_only_when_wanted() {
    for features in [0, feature::EVENT_INDEX] {
        let (device, mut queue) = queue(8, features);
        let mut step = |silent: bool| {
            queue.push(0, &writable(1), 1);
            queue.publish();
            if silent {
                queue.silence();
            } else {
                assert!(queue.listen());
            }
            let buffer = device.take(0).unwrap();
            device.give_back(0, u32::from(buffer.head), 0);
            assert_eq!(device.interrupt_wanted(0), !silent);
            if !silent {
                assert!(!queue.listen(), "one has come back");
            }
            assert!(queue.pop().unwrap().is_some());
        };
        [false, true, true, false, true].into_iter().for_each(&mut step);
    }
}

#[test]
fn a_device_that_breaks_the_rules_is_found_out() {
    type Crime = fn(&Simulated, u32);
    let crimes: [(Crime, Violation); 6] = [
        (|device, head| device.give_back(0, head ^ 1, 0), Violation::UnknownBuffer),
        (|device, _| device.give_back(0, 8, 0), Violation::UnknownBuffer),
        (|device, _| device.give_back(0, u32::MAX, 0), Violation::UnknownBuffer),
        (|device, head| device.give_back(0, head, 9), Violation::TooMuchWritten),
        (|device, _| device.set_used_index(0, 2), Violation::TooManyReturned),
        (|device, _| device.set_used_index(0, u16::MAX), Violation::TooManyReturned),
    ];
    for (crime, violation) in crimes {
        let (device, mut queue) = queue(8, 0);
        queue.push(0, &writable(1), 1);
        queue.publish();
        let buffer = device.take(0).unwrap();
        crime(&device, u32::from(buffer.head));
        assert_eq!(queue.pop(), Err(violation));
    }
}

#[test]
fn a_buffer_comes_back_once() {
    let (device, mut queue) = queue(8, 0);
    queue.push(0, &writable(1), 1);
    queue.push(1, &writable(1), 1);
    queue.publish();
    let buffer = device.take(0).unwrap();
    device.give_back(0, u32::from(buffer.head), 0);
    device.give_back(0, u32::from(buffer.head), 0);
    assert_eq!(queue.pop().unwrap().unwrap().token, 0);
    assert_eq!(queue.pop(), Err(Violation::UnknownBuffer));
}

#[test]
fn sizes_are_powers_of_two_that_both_sides_can_do() {
    for (limit, wanted, size) in [(256, 64, 64), (100, 128, 64), (1, 128, 1), (3, 4, 2)] {
        let (_, transport) = Simulated::new(0, &[], &[limit]);
        assert_eq!(Queue::new(&*transport, 0, wanted, 0, 0).unwrap().size(), size);
    }
    let (_, transport) = Simulated::new(0, &[], &[0]);
    assert_eq!(Queue::new(&*transport, 0, 8, 0, 0).unwrap_err(), StartError::Queue);
    assert_eq!(Queue::new(&*transport, 1, 8, 0, 0).unwrap_err(), StartError::Queue);
}

#[test]
fn a_ring_of_128_fits_into_a_page_with_room_to_spare() {
    assert!(Layout::new(128).end() <= PAGE_SIZE - 128 / 3 * 17);
}

proptest! {
    /// Any sequence of pushes and returns, over the wrap of the indices, against a model.
    #[test]
    fn the_queue_agrees_with_a_model(
        steps in proptest::collection::vec((any::<bool>(), 1usize..6, any::<prop::sample::Index>()), 1..300),
        event_index in any::<bool>(),
    ) {
        let features = if event_index { feature::EVENT_INDEX } else { 0 };
        let (device, mut queue) = queue(16, features);
        let mut free = 16;
        let mut out: Vec<(u16, u16, usize)> = Vec::new();
        for (token, (push, count, which)) in (0..).zip(steps) {
            if push {
                let fits = count <= free;
                prop_assert_eq!(queue.has_room(count), fits);
                prop_assert_eq!(queue.push(token, &writable(count), count), fits);
                if fits {
                    queue.publish();
                    let buffer = device.take(0).unwrap();
                    prop_assert_eq!(buffer.output.len(), count);
                    free -= count;
                    out.push((token, buffer.head, count));
                }
            } else if !out.is_empty() {
                let (token, head, count) = out.swap_remove(which.index(out.len()));
                device.give_back(0, u32::from(head), 3);
                prop_assert_eq!(queue.pop(), Ok(Some(Completion { token, written: 3 })));
                free += count;
            }
            prop_assert_eq!(queue.pop(), Ok(None));
        }
    }

    /// A device that writes anything anywhere into the rings.
    #[test]
    fn garbage_in_the_rings_never_panics(
        garbage in proptest::collection::vec((0usize..400, any::<u8>()), 0..200),
        indices in proptest::collection::vec(any::<u16>(), 1..20),
    ) {
        let (device, mut queue) = queue(16, feature::EVENT_INDEX);
        for index in indices {
            queue.push(1, &writable(2), 2);
            queue.publish();
            for (offset, byte) in &garbage {
                queue.memory().write_u8(*offset, *byte);
            }
            device.set_used_index(0, index);
            while let Ok(Some(_)) = queue.pop() {}
            queue.listen();
        }
    }
}
