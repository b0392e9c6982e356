use alloc::vec;

use super::*;
use crate::block::Block;
use crate::disk::scsi::simulated::Devices;
use crate::disk::scsi::unit;
use crate::disk::simulated::{exercise, frames};
use crate::virtio::simulated::{Buffer, Simulated};
use std::sync::Mutex;

/// An adapter whose device answers as soon as it is notified.
fn adapter(devices: Devices, segments: u32, sectors: u32) -> (Arc<Simulated>, Arc<Mutex<Devices>>, Bus) {
    let mut configuration = vec![0; 36];
    configuration[4..8].copy_from_slice(&segments.to_le_bytes());
    configuration[8..12].copy_from_slice(&sectors.to_le_bytes());
    configuration[30..32].copy_from_slice(&3u16.to_le_bytes());
    let (device, transport) = Simulated::new(0, &configuration, &[64, 64, 128]);
    let devices = Arc::new(Mutex::new(devices));
    let (served, answering) = (Arc::downgrade(&device), Arc::clone(&devices));
    device.when_notified(move || {
        let Some(device) = served.upgrade() else { return };
        while let Some(buffer) = device.take(2) {
            let written = serve(&mut answering.lock().unwrap(), &buffer);
            device.give_back(2, u32::from(buffer.head), written);
        }
    });
    (device, devices, start(transport, Place::Memory(0xfeb0_2e00)).unwrap())
}

/// Answers a request; how much it wrote.
fn serve(devices: &mut Devices, buffer: &Buffer) -> u32 {
    let (request, data) = buffer.input.split_at(REQUEST);
    assert_eq!((request[0], &request[4..8]), (1, &[0; 4][..]));
    let number = unit(request[1].into(), u16::from_be_bytes([request[2] & 0x3f, request[3]]));
    let mut answer = vec![0; ANSWER];
    let answered = devices.answer(number, *request[19..].first_chunk().unwrap(), data);
    let given = if let Some((status, sense, given)) = answered {
        answer[10] = status;
        answer[12..16].copy_from_slice(&sense);
        given
    } else {
        // There is no such target.
        answer[11] = 3;
        Vec::new()
    };
    let room = buffer.room() as usize - ANSWER;
    answer.extend(&given[..given.len().min(room)]);
    buffer.fill(&answer);
    answer.len() as u32
}

fn look(bus: &mut Bus) -> Vec<Arc<dyn Block>> {
    let mut disks = Vec::new();
    bus.look(&mut disks);
    disks
}

#[test]
fn units_that_are_disks_are_found_and_used() {
    let (device, devices, mut bus) = adapter(Devices::new(), 126, u32::MAX);
    assert_eq!(bus.targets, 4);
    let disks = look(&mut bus);
    let about: Vec<_> =
        disks.iter().map(|disk| (disk.name().number, disk.size(), disk.read_only())).collect();
    assert_eq!(about, [(unit(2, 0), 4 << 20, false), (unit(2, 300), 4 << 20, true)]);
    exercise(&*disks[1], &|| device.interrupt());
    exercise(&*disks[0], &|| device.interrupt());
    assert_eq!(devices.lock().unwrap().flushed, 1);
    assert!(look(&mut bus).is_empty(), "they are known");
}

#[test]
fn units_that_come_later_are_found_later() {
    let (_, devices, mut bus) = adapter(Devices::new(), 126, u32::MAX);
    devices.lock().unwrap().units.clear();
    assert!(look(&mut bus).is_empty());
    devices.lock().unwrap().units = vec![7];
    devices.lock().unwrap().attention = 3;
    assert_eq!(look(&mut bus)[0].name().number, unit(2, 7));
}

#[test]
fn large_disks_and_small_transfers() {
    let mut devices = Devices::new();
    devices.lie = Some((0x25, vec![0xff; 4]));
    let (device, _, mut bus) = adapter(devices, 3, 16);
    let disks = look(&mut bus);
    assert_eq!(disks[0].size(), ((1 << 32) + 0x2000) * 512);
    assert_eq!(bus.controller.part_pages(), 2);
    let request = disks[0].read(0, &frames(5)).unwrap();
    for _ in 0..3 {
        device.interrupt();
    }
    assert_eq!(request.result(), Some(Ok(())));
}

#[test]
fn units_that_are_not_for_us_are_left_out() {
    // Of blocks of 520 bytes, of none, of 8 KiB; a tape.
    for lie in [vec![0, 0, 1, 0, 0, 0, 2, 8], vec![0; 8], vec![0, 0, 1, 0, 0, 0, 0x20, 0]] {
        let mut devices = Devices::new();
        devices.lie = Some((0x25, lie));
        assert!(look(&mut adapter(devices, 126, u32::MAX).2).is_empty());
    }
    let mut devices = Devices::new();
    devices.lie = Some((0x12, vec![1]));
    assert!(look(&mut adapter(devices, 126, u32::MAX).2).is_empty());
    // A list that is longer than itself.
    let mut devices = Devices::new();
    devices.lie = Some((0xa0, vec![0xff; 4]));
    assert_eq!(look(&mut adapter(devices, 126, u32::MAX).2).len(), 2);
}

#[test]
fn errors_reach_the_caller() {
    let (device, devices, mut bus) = adapter(Devices::new(), 126, u32::MAX);
    let disk = look(&mut bus).remove(0);
    devices.lock().unwrap().status = Some((2, [0x70, 0, 3, 0]));
    let request = disk.read(0, &frames(1)).unwrap();
    device.interrupt();
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
    // Not ready for good is not ready either.
    devices.lock().unwrap().status = Some((2, [0x70, 0, 2, 0]));
    let request = disk.read(0, &frames(1)).unwrap();
    for _ in 0..9 {
        device.interrupt();
    }
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
}

#[test]
fn an_adapter_that_does_not_answer_is_given_up() {
    let (device, _, mut bus) = adapter(Devices::new(), 126, u32::MAX);
    device.when_notified(|| {});
    let resets = device.resets();
    assert!(look(&mut bus).is_empty());
    assert_eq!(device.resets(), resets + 1);
    assert!(look(&mut bus).is_empty());
}
