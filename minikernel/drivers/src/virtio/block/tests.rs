use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::Waker;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;

use super::*;
use crate::block::{Block, SECTOR_SIZE};
use crate::virtio::Status;
use crate::virtio::simulated::{Buffer, Simulated};

const PLACE: Place = Place::Memory(0xfeb0_2e00);
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR_SIZE;

fn configuration(sectors: u64, segments: u32) -> Vec<u8> {
    [sectors.to_le_bytes().as_slice(), &[0; 4], &segments.to_le_bytes()].concat()
}

fn disk(features: u64, sectors: u64) -> (Arc<Simulated>, Arc<Disk>) {
    let (device, transport) = Simulated::new(features, &configuration(sectors, 126), &[256]);
    let disk = start(transport, PLACE).unwrap();
    assert!(device.status().contains(Status::DRIVER_OK));
    (device, disk)
}

fn frames(count: usize) -> Vec<Frame> {
    (0..count).map(|_| Frame::zeroed().unwrap()).collect()
}

fn contents(frame: &Frame) -> Vec<u8> {
    let mut bytes = vec![0; PAGE_SIZE];
    frame.read(0, &mut bytes);
    bytes
}

/// The byte that fills a sector of the simulated disk.
fn pattern(sector: u64) -> u8 {
    sector as u8 ^ 0x5a
}

fn header(buffer: &Buffer) -> (u32, u64) {
    let field = |at: usize| buffer.input[at..at + 4].try_into().unwrap();
    (u32::from_le_bytes(field(0)), u64::from_le_bytes(buffer.input[8..16].try_into().unwrap()))
}

/// Answers the next request as a disk would; what it was.
fn serve(device: &Simulated, status: u8) -> Option<(u32, u64, usize)> {
    let buffer = device.take(0)?;
    let (kind, sector) = header(&buffer);
    let len = if kind == 0 { buffer.room() as usize - 1 } else { buffer.input.len() - HEADER };
    let mut answer: Vec<u8> = Vec::new();
    if kind == 0 {
        answer.extend((0..len).map(|at| pattern(sector + at as u64 / SECTOR_SIZE)));
    }
    answer.push(status);
    buffer.fill(&answer);
    device.give_back(0, u32::from(buffer.head), answer.len() as u32);
    Some((kind, sector, len))
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn reads_pages_and_wakes_whoever_waits() {
    let (device, disk) = disk(0, 1000);
    assert_eq!((disk.size(), disk.read_only()), (512_000, false));
    let pages = frames(3);
    let request = disk.read(40, &pages).unwrap();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    request.register(&waker);
    request.register(&waker);
    assert_eq!((request.result(), device.notified(0)), (None, 1));
    assert_eq!(serve(&device, 0), Some((0, 40, 3 * PAGE_SIZE)));
    assert!(device.interrupt_wanted(0));
    device.interrupt();
    assert_eq!(request.result(), Some(Ok(())));
    assert_eq!((count.0.load(Ordering::SeqCst), device.acknowledged()), (1, 1));
    for (index, page) in pages.iter().enumerate() {
        let first = 40 + index as u64 * SECTORS_PER_PAGE;
        let expected: Vec<u8> = (0..PAGE_SIZE as u64).map(|at| pattern(first + at / SECTOR_SIZE)).collect();
        assert_eq!(contents(page), expected);
    }
    // Too late to wait: woken at once.
    request.register(&waker);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
}

#[test]
fn writes_pages_and_flushes() {
    let (device, disk) = disk(feature::FLUSH, 1000);
    let pages = frames(2);
    pages[1].write(100, b"hello");
    let request = disk.write(8, &pages).unwrap();
    let buffer = device.take(0).unwrap();
    assert_eq!((header(&buffer), buffer.room()), ((1, 8), 1));
    let data = &buffer.input[HEADER..];
    assert_eq!((data.len(), &data[PAGE_SIZE + 100..][..5]), (2 * PAGE_SIZE, b"hello".as_slice()));
    buffer.fill(&[0]);
    device.give_back(0, u32::from(buffer.head), 1);
    disk.poll();
    assert_eq!(request.result(), Some(Ok(())));
    let flush = disk.flush().unwrap();
    assert_eq!(flush.result(), None);
    assert_eq!(serve(&device, 0), Some((4, 0, 0)));
    disk.poll();
    assert_eq!(flush.result(), Some(Ok(())));
}

#[test]
fn a_write_through_disk_needs_no_flush() {
    let (device, disk) = disk(0, 1000);
    assert_eq!(disk.flush().unwrap().result(), Some(Ok(())));
    assert!(device.take(0).is_none());
}

#[test]
fn the_end_of_the_disk_is_zeros_to_readers_and_nothing_to_writers() {
    let (device, disk) = disk(0, 11);
    let pages = frames(3);
    for page in &pages {
        page.write(0, &[0xee; PAGE_SIZE]);
    }
    let request = disk.read(1, &pages).unwrap();
    assert_eq!(serve(&device, 0), Some((0, 1, 10 * 512)));
    disk.poll();
    assert_eq!(request.result(), Some(Ok(())));
    assert_eq!(contents(&pages[0])[PAGE_SIZE - 1], pattern(8));
    let second = contents(&pages[1]);
    assert_eq!((second[1023], second[1024]), (pattern(10), 0));
    assert!(contents(&pages[2]).iter().all(|byte| *byte == 0));
    let request = disk.write(8, &pages).unwrap();
    assert_eq!(serve(&device, 0), Some((1, 8, 3 * 512)));
    disk.poll();
    assert_eq!(request.result(), Some(Ok(())));
    assert_eq!(disk.read(11, &pages).unwrap_err(), BlockError::OutOfRange);
    assert_eq!(disk.write(u64::MAX, &pages).unwrap_err(), BlockError::OutOfRange);
    assert_eq!(disk.read(0, &[]).unwrap().result(), Some(Ok(())));
}

#[test]
fn a_read_only_disk_is_not_written() {
    let (device, disk) = disk(feature::READ_ONLY, 100);
    assert!(disk.read_only());
    assert_eq!(disk.write(0, &frames(1)).unwrap_err(), BlockError::ReadOnly);
    assert!(device.take(0).is_none());
}

#[test]
fn errors_of_the_device_reach_the_caller() {
    let (device, disk) = disk(0, 1000);
    for (status, error) in [(1, BlockError::Io), (2, BlockError::Unsupported), (77, BlockError::Io)] {
        let request = disk.read(0, &frames(1)).unwrap();
        serve(&device, status);
        disk.poll();
        assert_eq!(request.result(), Some(Err(error)));
    }
    // A device that forgets to write the status has not succeeded.
    let request = disk.read(0, &frames(1)).unwrap();
    let buffer = device.take(0).unwrap();
    device.give_back(0, u32::from(buffer.head), 0);
    disk.poll();
    assert_eq!(request.result(), Some(Err(BlockError::Io)));
}

#[test]
fn what_does_not_fit_waits_in_order() {
    let (device, disk) = disk(0, 1 << 20);
    let requests: Vec<_> =
        (0..200).map(|index| disk.read(index * SECTORS_PER_PAGE, &frames(1)).unwrap()).collect();
    let mut served = 0;
    while let Some((_, sector, _)) = serve(&device, 0) {
        assert_eq!(sector, served * SECTORS_PER_PAGE);
        served += 1;
        if served % 7 == 0 {
            device.interrupt();
        }
        if served < 200 && device.take_is_empty(0) {
            device.interrupt();
        }
    }
    device.interrupt();
    assert_eq!(served, 200);
    assert!(requests.iter().all(|request| request.result() == Some(Ok(()))));
}

#[test]
fn a_long_request_is_done_in_parts() {
    let (device, transport) = Simulated::new(feature::SEGMENTS_MAX, &configuration(1 << 20, 3), &[128]);
    let disk = start(transport, PLACE).unwrap();
    let pages = frames(8);
    let request = disk.read(16, &pages).unwrap();
    let mut parts = Vec::new();
    while let Some(part) = serve(&device, u8::from(parts.len() == 1)) {
        assert_eq!(request.result(), None);
        parts.push(part);
        disk.poll();
    }
    let expected = [(0, 16, 3 * PAGE_SIZE), (0, 40, 3 * PAGE_SIZE), (0, 64, 2 * PAGE_SIZE)];
    assert_eq!(parts, expected);
    assert_eq!(request.result(), Some(Err(BlockError::Io)), "the first error counts");
}

#[test]
fn a_hostile_device_is_given_up() {
    let (device, disk) = disk(0, 1 << 20);
    let requests: Vec<_> = (0..100).map(|_| disk.read(0, &frames(1)).unwrap()).collect();
    device.give_back(0, 0xdead, 0);
    device.interrupt();
    assert_eq!(device.resets(), 2, "one at the start, one to stop it");
    assert!(requests.iter().all(|request| request.result() == Some(Err(BlockError::Io))));
    assert_eq!(disk.read(0, &frames(1)).unwrap_err(), BlockError::Io);
    assert_eq!(disk.flush().unwrap_err(), BlockError::Io);
    device.interrupt();
    disk.poll();
}

#[test]
fn odd_configurations_are_survived() {
    let (_, transport) = Simulated::new(0, &configuration(u64::MAX, 0), &[256]);
    let disk = start(transport, PLACE).unwrap();
    assert_eq!(disk.size(), u64::MAX / SECTOR_SIZE * SECTOR_SIZE);
    let (_, transport) = Simulated::new(feature::SEGMENTS_MAX, &configuration(100, 0), &[4]);
    assert!(start(transport, PLACE).unwrap().read(0, &frames(9)).is_ok());
    let (_, transport) = Simulated::new(0, &[], &[2]);
    assert_eq!(start(transport, PLACE).unwrap_err(), StartError::Queue);
    assert_eq!(start(Simulated::legacy(), PLACE).unwrap_err(), StartError::Legacy);
}

#[test]
fn a_dropped_request_keeps_its_pages_until_the_device_is_done() {
    let (device, disk) = disk(0, 1000);
    let pages = frames(1);
    drop(disk.read(0, &pages).unwrap());
    assert!(!pages[0].is_unique());
    serve(&device, 0);
    device.interrupt();
    assert!(pages[0].is_unique());
}
