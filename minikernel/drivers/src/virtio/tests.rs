use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::simulated::Simulated;
use super::*;

#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl Driver for Counter {
    fn on_interrupt(&self, _: Option<u16>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn only_what_both_sides_know_is_negotiated() {
    let (device, transport) = Simulated::new(0b1010 | feature::EVENT_INDEX | 1 << 40, &[], &[]);
    let driver = start(
        transport,
        |_| 0b0110,
        1,
        |_, features| {
            assert_eq!(features, 0b0010 | feature::EVENT_INDEX | feature::VERSION_1);
            Ok(Counter::default())
        },
    );
    let driver = driver.unwrap();
    assert_eq!(device.accepted_features(), 0b0010 | feature::EVENT_INDEX | feature::VERSION_1);
    assert_eq!(
        device.status(),
        Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK | Status::DRIVER_OK
    );
    device.interrupt();
    assert_eq!(driver.0.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&driver), 2, "a running device's driver lives for good");
}

#[test]
fn a_start_that_fails_is_told_to_the_device() {
    let start_with = |transport, error: Option<StartError>| {
        start(transport, |_| !0, 1, |_, _| error.map_or_else(|| Ok(Counter::default()), Err)).unwrap_err()
    };
    let (device, transport) = Simulated::refusing(1);
    assert_eq!(start_with(transport, None), StartError::Features);
    assert!(device.status().contains(Status::FAILED));
    let (device, transport) = Simulated::new(0, &[], &[]);
    assert_eq!(start_with(transport, Some(StartError::Queue)), StartError::Queue);
    assert!(device.status().contains(Status::FAILED));
    device.interrupt();
    assert_eq!(start_with(Simulated::legacy(), None), StartError::Legacy);
}
