//! Frames, the heap, and what the loader left.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use core::{
    hint::black_box,
    sync::atomic::{AtomicU8, Ordering},
};

use isopod_hal::{
    PAGE_SIZE, boot::BootInfo, boot_memory::BootMemory, dma::Dma, frame::Frame, heap, log, memory_stats,
};

pub fn frames_and_heap() {
    let before = memory_stats().free_frames;
    let frames: Vec<Frame> = (0..500).map(|_| Frame::zeroed().unwrap()).collect();
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame.read_array::<PAGE_SIZE>(0), [0; PAGE_SIZE]);
        frame.write(number, &[1]);
    }
    drop(frames);
    let dma = Dma::pages(64).unwrap();
    assert!(dma.phys().is_aligned(PAGE_SIZE as u64));
    dma.write_u32(64 * PAGE_SIZE - 4, 7);
    drop(dma);
    let mut map = BTreeMap::new();
    for number in 0..2000u64 {
        map.insert(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), alloc::format!("{number}"));
    }
    assert!(
        map.iter()
            .all(|(key, text)| text.parse::<u64>().unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) == *key)
    );
    drop(map);
    let mut text = String::new();
    for _ in 0..20_000 {
        text.push_str("0123456789");
    }
    assert!(text.as_bytes().chunks(10).all(|chunk| chunk == b"0123456789"));
    let aligned = Box::new(Aligned([3; 100]));
    assert!((&raw const *aligned).is_aligned() && aligned.0[99] == 3);
    drop((text, aligned));
    // Sizes that a program might choose are refused, not fatal.
    for size in [usize::MAX / 2, 1 << 40, 1 << 37] {
        assert!(Vec::<u8>::new().try_reserve(size).is_err());
    }
    // The heap keeps a page of each size, and some frames became tables; all else has come back.
    assert!(before - memory_stats().free_frames < 400);
}

#[repr(align(8192))]
struct Aligned([u8; 100]);

/// The functions that compiled code expects of a C library, at all lengths and distances that they treat apart.
pub fn byte_functions() {
    const LEN: usize = 700;
    let pattern: [u8; LEN] = core::array::from_fn(|index| (index * 7 % 251) as u8);
    for len in (0..150).chain([200, 256, 257, 511, 640]).map(black_box) {
        let mut bytes = [0xee; LEN];
        bytes[8..8 + len].copy_from_slice(&pattern[3..3 + len]);
        assert!(bytes[8..8 + len].iter().eq(&pattern[3..3 + len]));
        assert!(bytes[8 + len..].iter().chain(&bytes[..8]).all(|&byte| byte == 0xee), "copy of {len}");
        bytes[9..9 + len].fill(black_box(0x5a));
        assert!(bytes[9..9 + len].iter().all(|&byte| byte == 0x5a));
        assert!(bytes[9 + len..].iter().all(|&byte| byte == 0xee), "fill of {len}");
        for (from, to) in [(0, 1), (1, 0), (0, 7), (9, 0), (0, 16), (40, 0), (0, 50)].map(black_box) {
            let mut bytes = pattern;
            bytes.copy_within(from..from + len, to);
            assert!(
                bytes[to..to + len].iter().eq(&pattern[from..from + len]),
                "move of {len} from {from} to {to}"
            );
            assert!(
                bytes[to + len..].iter().eq(&pattern[to + len..]) && bytes[..to].iter().eq(&pattern[..to])
            );
        }
        let mut other = pattern;
        assert!(pattern[..len] == other[..len]);
        if let Some(last) = len.checked_sub(1) {
            other[last] = other[last].wrapping_add(1);
            assert!(pattern[..len] != other[..len]);
            let order = pattern[..len].cmp(black_box(&other[..len]));
            assert_eq!(order, pattern[last].cmp(&other[last]));
        }
    }
}

/// Makes the image longer than one of its page tables covers.
static LARGE: [AtomicU8; 3 << 20] = [const { AtomicU8::new(0) }; 3 << 20];

pub fn large_image() {
    for byte in LARGE.iter().step_by(PAGE_SIZE) {
        byte.store(1, Ordering::Relaxed);
    }
    let frames: Vec<Frame> = (0..300).map(|_| Frame::zeroed().unwrap()).collect();
    assert!(LARGE.iter().step_by(PAGE_SIZE).all(|byte| byte.load(Ordering::Relaxed) == 1));
    drop(frames);
}

pub fn exhaustion() {
    let before = memory_stats();
    // Of the largest machine a part will do: 11 GiB, across many tables of the direct map.
    let limit = before.total_frames.min(3_000_000);
    let mut taken = Vec::new();
    taken.try_reserve_exact(limit).unwrap();
    let mut objects: Vec<Box<[u8; 512]>> = Vec::with_capacity(10_000);
    while taken.len() < limit
        && let Ok(frame) = Frame::uninit()
    {
        taken.push(frame);
    }
    let small = taken.len() < limit;
    if small {
        assert!(Dma::pages(1).is_err() && Frame::zeroed().is_err());
        assert!(Vec::<u8>::new().try_reserve(1 << 20).is_err());
        assert_eq!(memory_stats().free_frames, before.reserve_frames);
        // Small objects of the kernel's own can still be had, from the reserve.
        assert!(!heap::reserve_low());
        while !heap::reserve_low() {
            objects.push(Box::new([1; 512]));
        }
        drop(objects);
    }
    drop(taken);
    assert!(heap::refill_reserve());
    let after = memory_stats();
    assert!(before.free_frames - after.free_frames < 400);
}

pub fn modules(boot: &'static BootInfo) {
    for &range in boot.modules {
        let module = BootMemory::claim(range).unwrap();
        assert!(BootMemory::claim(range).is_none());
        let mut bytes = alloc::vec![0; module.len()];
        assert_eq!(module.read(0, &mut bytes), module.len());
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        let first = module.frame(0).unwrap();
        assert_eq!(first.read_array::<16>(0)[..], bytes[..16]);
        assert!(!first.is_unique() && module.frame(module.len() / PAGE_SIZE + 1).is_none());
        assert_eq!(module.read(module.len() - 1, &mut [0; 4]), 1);
        log!("module of {} bytes, sum {sum}", bytes.len());
    }
    let mut signature = [0; 8];
    if let Some(rsdp) = boot.rsdp {
        isopod_hal::firmware::read(rsdp, &mut signature).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
    }
}
