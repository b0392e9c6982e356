//! KVM's clocks (Linux, Documentation/virt/kvm/x86/msr.rst): a page that the host keeps up to date.

use core::{cell::UnsafeCell, ptr};

use super::super::{
    layout::image_phys,
    registers::{tsc, wrmsr},
};
use crate::{clock::Rate, cpu::cpuid};

/// Leaf of KVM's features, and the bit that says that the registers below exist.
const FEATURES: u32 = 0x4000_0001;
const CLOCKSOURCE_2: u32 = 1 << 3;
const WALL_CLOCK: u32 = 0x4b56_4d00;
const SYSTEM_TIME: u32 = 0x4b56_4d01;
/// The counters of all CPUs agree.
const STABLE: u8 = 1;

/// `struct pvclock_vcpu_time_info`. The host writes it while this CPU does not run; the version is odd meanwhile.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct TimeInfo {
    version: u32,
    padding: u32,
    tsc_timestamp: u64,
    system_time: u64,
    multiplier: u32,
    shift: i8,
    flags: u8,
    padding_2: [u8; 2],
}

/// `struct pvclock_wall_clock`: the time of day when `system_time` was 0.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct WallClock {
    version: u32,
    seconds: u32,
    nanoseconds: u32,
}

struct Shared<T>(UnsafeCell<T>);

// SAFETY: the host writes it, and the kernel only reads it, by volatile copies.
unsafe impl<T> Sync for Shared<T> {}

static TIME: Shared<TimeInfo> = Shared(UnsafeCell::new(TimeInfo {
    version: 0,
    padding: 0,
    tsc_timestamp: 0,
    system_time: 0,
    multiplier: 0,
    shift: 0,
    flags: 0,
    padding_2: [0; 2],
}));
static WALL: Shared<WallClock> =
    Shared(UnsafeCell::new(WallClock { version: 0, seconds: 0, nanoseconds: 0 }));

/// The clock page, as last read.
pub(super) struct ClockPage {
    version: u32,
    rate: Rate,
    stable: bool,
}

impl ClockPage {
    /// Tells the host where the page is. `None` where it does not have the clock, or does not fill the page.
    pub(super) fn register() -> Option<Self> {
        if cpuid(FEATURES).eax & CLOCKSOURCE_2 == 0 {
            return None;
        }
        // SAFETY: KVM has the register; it will write to the page, which is for nothing else. Bit 0 switches it on.
        unsafe { wrmsr(SYSTEM_TIME, image_phys(TIME.0.get() as usize).as_u64() | 1) };
        let mut page =
            Self { version: 0, rate: Rate { base_tsc: 0, base_ns: 0, multiplier: 0 }, stable: false };
        page.reload();
        (page.rate.multiplier != 0).then_some(page)
    }

    /// The time now, and whether the host has changed the page since the last call.
    pub(super) fn now(&mut self) -> (u64, bool) {
        // SAFETY: a volatile read of a word that the host may have changed.
        let version = unsafe { ptr::read_volatile(&raw const (*TIME.0.get()).version) };
        let changed = version != self.version;
        if changed {
            self.reload();
        }
        (self.rate.at(tsc()), changed)
    }

    /// The line, where all CPUs may use it and the vDSO too.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.stable.then_some(self.rate)
    }

    fn reload(&mut self) {
        // The host writes only while this CPU does not run, so a copy is torn only if the CPU was taken away in
        // between: then the version differs.
        for _ in 0..1000 {
            // SAFETY: volatile copies of what the host writes; all values are valid.
            let (info, again) = unsafe {
                (ptr::read_volatile(TIME.0.get()), ptr::read_volatile(&raw const (*TIME.0.get()).version))
            };
            if info.version & 1 == 1 || info.version != again {
                continue;
            }
            // ns = ticks * 2^shift * multiplier / 2^32.
            let multiplier = u64::from(info.multiplier);
            let multiplier = match info.shift {
                shift @ 0..32 => multiplier << shift,
                shift @ -31..0 => multiplier >> -shift,
                _ => 0,
            };
            self.rate = Rate { base_tsc: info.tsc_timestamp, base_ns: info.system_time, multiplier };
            self.stable = info.flags & STABLE != 0;
            self.version = info.version;
            return;
        }
    }
}

/// The time of day at which the clock page's time was 0, in nanoseconds since 1970.
pub(super) fn wall_clock_at_boot() -> Option<u64> {
    // SAFETY: KVM has the register where it has the clock page; it fills the structure at once.
    let wall = unsafe {
        wrmsr(WALL_CLOCK, image_phys(WALL.0.get() as usize).as_u64());
        ptr::read_volatile(WALL.0.get())
    };
    (wall.version & 1 == 0 && wall.seconds != 0)
        .then(|| u64::from(wall.seconds) * 1_000_000_000 + u64::from(wall.nanoseconds))
}
