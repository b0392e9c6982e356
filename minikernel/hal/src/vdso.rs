//! The vDSO's image: `vdso/`, built by this crate's build script.

/// A shared object in one segment, to be mapped readable and executable from its first byte on. The page before it holds the
/// parameters that [`clock::publish`](crate::clock::publish) keeps, at offset 0.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

#[cfg(test)]
mod tests {
    use std::{ptr, time::Instant};

    use elf::{ElfBytes, endian::LittleEndian};

    use super::*;
    use crate::{PAGE_SIZE, clock::VdsoParameters, frame::Frame};

    unsafe extern "C" {
        fn mmap(at: *mut u8, length: usize, access: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
        fn mprotect(at: *mut u8, length: usize, access: i32) -> i32;
    }

    const READ: i32 = 1;
    const WRITE: i32 = 2;
    const EXECUTE: i32 = 4;
    const PRIVATE_ANONYMOUS: i32 = 0x22;

    /// Maps parameters and image as a program has them; returns where the image lies.
    fn map(parameters: VdsoParameters) -> *mut u8 {
        let page = Frame::zeroed().unwrap();
        parameters.write(&page, 0);
        let data = page.read_array::<PAGE_SIZE>(0);
        let length = PAGE_SIZE + IMAGE.len();
        // SAFETY: a fresh mapping, filled before anybody else knows of it, and never unmapped.
        unsafe {
            let base = mmap(ptr::null_mut(), length, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0);
            assert_ne!(base.addr(), usize::MAX);
            ptr::copy_nonoverlapping(data.as_ptr(), base, PAGE_SIZE);
            let image = base.add(PAGE_SIZE);
            ptr::copy_nonoverlapping(IMAGE.as_ptr(), image, IMAGE.len());
            assert_eq!(mprotect(base, length, READ | EXECUTE), 0);
            image
        }
    }

    /// The offset of a function, found as dynamic loaders do: by either hash table, with its version.
    fn find(name: &str) -> usize {
        let file = ElfBytes::<LittleEndian>::minimal_parse(IMAGE).unwrap();
        let common = file.find_common_data().unwrap();
        let (symbols, strings) = (common.dynsyms.unwrap(), common.dynsyms_strs.unwrap());
        let (old, gnu) = (common.sysv_hash.unwrap(), common.gnu_hash.unwrap());
        let (index, symbol) = gnu.find(name.as_bytes(), &symbols, &strings).unwrap().unwrap();
        assert_eq!(old.find(name.as_bytes(), &symbols, &strings).unwrap().unwrap().0, index);
        let versions = file.symbol_version_table().unwrap().unwrap();
        let version = versions.get_definition(index).unwrap().unwrap();
        assert_eq!(version.names.map(Result::unwrap).collect::<alloc::vec::Vec<_>>(), ["LINUX_2.6"]);
        symbol.st_value as usize
    }

    /// What the C prototype of `clock_gettime` and `clock_getres` promises.
    type ClockFunction = unsafe extern "C" fn(i32, *mut [i64; 2]) -> i32;

    type GetTimeOfDay = unsafe extern "C" fn(*mut [i64; 2], *mut [i32; 2]) -> i32;
    type Time = unsafe extern "C" fn(*mut i64) -> i64;
    type GetCpu = unsafe extern "C" fn(*mut u32, *mut u32, *mut u8) -> i64;

    fn ask(image: *mut u8, name: &str, clock: i32) -> (i32, [i64; 2]) {
        let mut time = [-1; 2];
        // SAFETY: the image is mapped executable, and both functions are of this type.
        let result = unsafe {
            let function: ClockFunction = core::mem::transmute(image.add(find(name)));
            function(clock, &raw mut time)
        };
        (result, time)
    }

    fn ns([seconds, rest]: [i64; 2]) -> i64 {
        seconds * 1_000_000_000 + rest
    }

    #[test]
    fn clocks_are_computed_from_the_page() {
        // A clock that stands still, so that its time is known.
        let rate = crate::clock::Rate { base_tsc: 0, base_ns: 5_000_000_007, multiplier: 0 };
        let image =
            map(VdsoParameters { rate: Some(rate), realtime_offset_ns: Some(1_700_000_000_000_000_000) });
        for clock in [1, 4, 6, 7] {
            assert_eq!(ask(image, "__vdso_clock_gettime", clock), (0, [5, 7]));
        }
        for clock in [0, 5, 11] {
            assert_eq!(ask(image, "__vdso_clock_gettime", clock), (0, [1_700_000_005, 7]));
        }
        assert_eq!(ask(image, "__vdso_clock_getres", 1), (0, [0, 1]));
        assert_eq!(ask(image, "__vdso_clock_getres", 6), (0, [0, 4_000_000]));
        let mut time = [-1i64; 2];
        // SAFETY: as in `ask`.
        unsafe {
            let function: GetTimeOfDay = core::mem::transmute(image.add(find("__vdso_gettimeofday")));
            assert_eq!(function(&raw mut time, ptr::null_mut()), 0);
            assert_eq!(time, [1_700_000_005, 0]);
            assert_eq!(function(ptr::null_mut(), ptr::null_mut()), 0);
            let function: Time = core::mem::transmute(image.add(find("__vdso_time")));
            assert_eq!((function(&raw mut time[1]), time[1]), (1_700_000_005, 1_700_000_005));
        }
    }

    #[test]
    fn the_counter_moves_the_clock() {
        let rate = crate::clock::Rate { base_tsc: crate::clock::tsc(), base_ns: 1000, multiplier: 1 << 32 };
        let image = map(VdsoParameters { rate: Some(rate), realtime_offset_ns: None });
        let (_, first) = ask(image, "__vdso_clock_gettime", 1);
        let (_, second) = ask(image, "__vdso_clock_gettime", 1);
        assert!(ns(first) >= 1000 && ns(second) >= ns(first));
    }

    #[test]
    fn the_kernel_is_asked_for_what_the_page_does_not_tell() {
        let image = map(VdsoParameters { rate: None, realtime_offset_ns: None });
        let start = Instant::now();
        let (result, first) = ask(image, "__vdso_clock_gettime", 1);
        let (_, second) = ask(image, "__vdso_clock_gettime", 1);
        let passed = i64::try_from(start.elapsed().as_nanos()).unwrap();
        assert_eq!(result, 0);
        assert!((0..=passed).contains(&(ns(second) - ns(first))));
        // CPU time, and a clock that does not exist (EINVAL).
        assert_eq!(ask(image, "__vdso_clock_gettime", 2).0, 0);
        assert_eq!(ask(image, "__vdso_clock_gettime", 99), (-22, [-1; 2]));
        let mut cpu = u32::MAX;
        // SAFETY: as in `ask`.
        let result = unsafe {
            let function: GetCpu = core::mem::transmute(image.add(find("__vdso_getcpu")));
            function(&raw mut cpu, ptr::null_mut(), ptr::null_mut())
        };
        assert_eq!(result, 0);
        assert!(cpu < 4096);
    }

    #[test]
    fn there_is_nothing_to_relocate_and_one_segment() {
        let file = ElfBytes::<LittleEndian>::minimal_parse(IMAGE).unwrap();
        let segments = file.segments().unwrap();
        let loads: alloc::vec::Vec<_> =
            segments.iter().filter(|segment| segment.p_type == elf::abi::PT_LOAD).collect();
        assert_eq!(loads.len(), 1);
        assert_eq!((loads[0].p_vaddr, loads[0].p_offset, loads[0].p_flags), (0, 0, 5));
        let relocates = [elf::abi::DT_RELA, elf::abi::DT_REL, elf::abi::DT_JMPREL, elf::abi::DT_NEEDED];
        assert!(file.dynamic().unwrap().unwrap().iter().all(|entry| !relocates.contains(&entry.d_tag)));
    }
}
