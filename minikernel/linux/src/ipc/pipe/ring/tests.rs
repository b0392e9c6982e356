use super::*;
use alloc::vec;
use alloc::vec::Vec;
use isopod_fs::{Buffer, Bytes};
use proptest::prelude::*;

fn put(ring: &mut Ring, bytes: &[u8]) -> usize {
    ring.write(&mut Bytes::new(bytes), false).unwrap()
}

fn get(ring: &mut Ring, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let count = ring.read(&mut Buffer::new(&mut bytes));
    bytes.truncate(count);
    bytes
}

#[test]
fn small_writes_share_pages_and_a_full_ring_takes_none() {
    let mut ring = Ring::default();
    for _ in 0..65_536 {
        assert_eq!(put(&mut ring, b"x"), 1);
    }
    assert!(ring.is_full());
    assert_eq!(put(&mut ring, b"x"), 0);
    assert_eq!(get(&mut ring, 4095).len(), 4095);
    // Room is won by whole pages only.
    assert_eq!(put(&mut ring, b"x"), 0);
    assert_eq!(get(&mut ring, 1).len(), 1);
    assert_eq!(put(&mut ring, &[0; 5000]), 4096);
    assert_eq!(ring.len(), 65_536);
}

#[test]
fn a_small_write_is_whole_or_not_at_all() {
    let mut ring = Ring::default();
    ring.resize(1).unwrap();
    assert_eq!(put(&mut ring, &[0; 4000]), 4000);
    assert_eq!(put(&mut ring, &[0; 97]), 0);
    assert_eq!(put(&mut ring, &[0; 96]), 96);
    assert!(ring.resize(0).is_err());
}

#[test]
fn packets_stay_apart_and_lose_what_a_read_leaves() {
    let mut ring = Ring::default();
    assert_eq!(ring.write(&mut Bytes::new(b"abc"), true).unwrap(), 3);
    assert_eq!(ring.write(&mut Bytes::new(b"def"), true).unwrap(), 3);
    assert_eq!(get(&mut ring, 2), b"ab");
    assert_eq!(get(&mut ring, 9), b"def");
    assert!(ring.is_empty());
}

#[test]
fn shared_pages_are_in_both_rings_and_never_grow_there() {
    let (mut first, mut second) = (Ring::default(), Ring::default());
    put(&mut first, b"abcdef");
    second.append(&mut first.share(4, 1).unwrap()).unwrap();
    put(&mut first, b"xy");
    put(&mut second, b"z");
    assert_eq!((get(&mut first, 9), get(&mut second, 9)), (b"abcdefxy".to_vec(), b"abcdz".to_vec()));
}

#[test]
fn what_is_shown_stays_until_it_is_consumed() {
    let mut ring = Ring::default();
    put(&mut ring, &[1; 4096]);
    put(&mut ring, &[2; 4096]);
    let mut shown = ring.share(5000, 9).unwrap();
    assert_eq!((shown.len(), ring.len()), (5000, 8192));
    let mut start = [0; 4100];
    assert_eq!(shown.take(&mut start), 4100);
    assert_eq!((start[4095], start[4096]), (1, 2));
    ring.consume(4100);
    assert_eq!((ring.len(), get(&mut ring, 9000)), (4092, vec![2; 4092]));
    assert!(ring.share(1, 1).unwrap().is_empty());
}

#[test]
fn new_pages_hold_what_is_put_there() {
    let mut pages = Pages::new(5000).unwrap();
    let mut fill = pages.fill();
    assert_eq!((fill.remaining(), fill.put(&[3; 4500]), fill.remaining()), (5000, 4500, 500));
    let page = Frame::zeroed().unwrap();
    page.write(0, &[4; 4096]);
    assert_eq!((fill.put_frame(&page, 8, 400), fill.put(b"x"), fill.put(&[5; 200])), (400, 1, 99));
    pages.truncate(4901);
    let mut ring = Ring::default();
    ring.append(&mut pages).unwrap();
    let bytes = get(&mut ring, 9000);
    assert_eq!((bytes.len(), bytes[4499], bytes[4500], bytes[4900]), (4901, 3, 4, b'x'));
}

/// A source whose copies end after `left` bytes.
struct Cut<'a>(Bytes<'a>, usize);

impl Source for Cut<'_> {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len().min(self.1);
        self.1 -= length;
        self.0.take(&mut bytes[..length])
    }

    fn take_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
        let length = length.min(self.1);
        self.1 -= length;
        self.0.take_frame(frame, offset, length)
    }

    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn skip(&mut self) -> usize {
        self.0.skip()
    }
}

#[test]
fn a_cut_copy_leaves_no_torn_page() {
    let mut ring = Ring::default();
    let bytes = [7; 9000];
    assert_eq!(ring.write(&mut Cut(Bytes::new(&bytes), 5000), false).unwrap(), 4096);
    assert_eq!(ring.len(), 4096);
    assert_eq!(put(&mut ring, b"ab"), 2);
    assert_eq!(ring.write(&mut Cut(Bytes::new(b"cd"), 1), false).unwrap(), 0);
    assert_eq!(get(&mut ring, 9000).split_off(4096), b"ab");
}

proptest! {
    #[test]
    fn bytes_come_out_in_order(steps in prop::collection::vec((any::<bool>(), 1usize..10_000), 1..60)) {
        let mut ring = Ring::default();
        let (mut written, mut taken) = (0usize, 0usize);
        for (write, length) in steps {
            if write {
                let bytes: Vec<u8> = (written..written + length).map(|at| (at % 251) as u8).collect();
                written += put(&mut ring, &bytes);
            } else {
                let bytes = get(&mut ring, length);
                prop_assert_eq!(bytes.len(), length.min(written - taken));
                prop_assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == ((taken + at) % 251) as u8));
                taken += bytes.len();
            }
            prop_assert_eq!(ring.len(), written - taken);
            prop_assert!(ring.len() <= ring.capacity());
        }
    }
}
