use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::pin::pin;
use core::task::{Context, Waker};

use super::*;
use crate::virtio::simulated::Simulated;

fn begin(features: u64) -> (Arc<Simulated>, Arc<VirtioVsock>) {
    let (device, transport) = Simulated::new(features, &[7, 0, 0, 0, 0, 0, 0, 0], &[64, 8, 8]);
    (device, VirtioVsock::start(transport).unwrap())
}

fn received(driver: &VirtioVsock) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    driver.receive(64, &mut packets);
    packets
}

fn waits(driver: &VirtioVsock, wanted: bool) -> bool {
    pin!(driver.wait(wanted)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn the_device_tells_its_address_and_what_it_can_do() {
    let (_, driver) = begin(MESSAGES);
    assert_eq!((driver.cid(), driver.knows_messages()), (7, true));
    assert!(!begin(0).1.knows_messages());
}

#[test]
fn packets_come_in_as_long_as_they_are() {
    let (device, driver) = begin(0);
    assert!(waits(&driver, true));
    for packet in [vec![1; HEADER], vec![2; PAGE_SIZE]] {
        let buffer = device.take(0).unwrap();
        buffer.fill(&packet);
        device.give_back(0, u32::from(buffer.head), packet.len() as u32);
    }
    assert!(device.interrupt_wanted(0));
    assert!(!waits(&driver, true) && waits(&driver, false));
    assert_eq!(received(&driver), [vec![1; HEADER], vec![2; PAGE_SIZE]]);
    let mut offered = 0;
    while device.take(0).is_some() {
        offered += 1;
    }
    assert_eq!(offered, 32, "each buffer is offered again");
}

#[test]
fn a_packet_that_finds_no_room_comes_back_and_room_is_told() {
    let (device, driver) = begin(0);
    for number in 0..4 {
        driver.transmit(vec![number; HEADER + usize::from(number)]).unwrap();
    }
    assert_eq!(driver.transmit(vec![9; HEADER]), Err(vec![9; HEADER]));
    assert!(waits(&driver, true));
    for number in 0..4 {
        let buffer = device.take(1).unwrap();
        assert_eq!(buffer.input, vec![number; HEADER + usize::from(number)]);
        device.give_back(1, u32::from(buffer.head), 0);
        if number == 0 {
            assert!(device.interrupt_wanted(1));
            device.interrupt();
            assert!(!waits(&driver, true));
        }
    }
    driver.transmit(vec![9; HEADER]).unwrap();
    assert_eq!(device.take(1).unwrap().input, vec![9; HEADER]);
}

#[test]
fn a_machine_that_was_moved_has_another_address_and_no_connections() {
    let (device, driver) = begin(0);
    assert!(!driver.takes_loss());
    device.set_config(&[8, 0, 0, 0]);
    let buffer = device.take(2).unwrap();
    buffer.fill(&[0; EVENT]);
    device.give_back(2, u32::from(buffer.head), EVENT as u32);
    assert!(!waits(&driver, true));
    assert!(driver.takes_loss());
    assert_eq!(driver.cid(), 8);
    assert!(!driver.takes_loss(), "it is told once");
}

#[test]
fn a_hostile_device_is_given_up() {
    for queue in [0, 1, 2] {
        let (device, driver) = begin(0);
        device.set_used_index(queue, 100);
        assert!(received(&driver).is_empty());
        driver.transmit(vec![1; HEADER]).unwrap();
        assert!(driver.takes_loss());
        assert_eq!(device.resets(), 2);
        driver.transmit(vec![1; HEADER]).unwrap();
        assert!(!driver.takes_loss() && received(&driver).is_empty());
    }
}
