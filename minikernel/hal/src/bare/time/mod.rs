//! Sources of time, best first: the hypervisor's clock page, a rate that CPUID or the hypervisor tells, and calibration
//! beside a counter of known rate. Nothing is set up before somebody asks for the time.

mod kvm;
mod reference;
mod rtc;

use super::registers::{rdmsr, tsc};
use crate::{
    clock::{self, Calibration, Rate, Reference},
    cpu::{cpuid, cpuid_count, features},
    sync::{Once, SpinLock},
};
use kvm::ClockPage;
use reference::Counter;

/// Who runs this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hypervisor {
    signature: [u8; 12],
    /// Last leaf of CPUID from 0x40000000 on; 0 on a real machine.
    pub(super) max_leaf: u32,
}

impl Hypervisor {
    pub(super) fn is(&self, signature: &[u8; 12]) -> bool {
        &self.signature == signature
    }
}

/// Asks CPUID who runs this machine, once.
pub(super) fn hypervisor() -> Hypervisor {
    static HYPERVISOR: Once<Hypervisor> = Once::new();
    *HYPERVISOR.get_or_init(|| {
        let mut signature = [0; 12];
        if !features().hypervisor {
            return Hypervisor { signature, max_leaf: 0 };
        }
        let answer = cpuid(0x4000_0000);
        for (bytes, word) in signature.chunks_exact_mut(4).zip([answer.ebx, answer.ecx, answer.edx]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // Old versions of KVM leave the number of leaves at 0.
        Hypervisor { signature, max_leaf: answer.eax.max(0x4000_0001) }
    })
}

/// Where the time comes from.
enum Source {
    /// Nobody has asked yet.
    Unknown,
    /// The time-stamp counter, at a rate that was told.
    Told(Rate),
    /// The clock page of KVM.
    Page(ClockPage),
    /// The time-stamp counter, calibrated while it is used.
    Calibrated(Counter, Calibration),
}

static SOURCE: SpinLock<Source> = SpinLock::new(Source::Unknown);
/// A counter that drivers have found, for want of a better source.
static OFFERED: SpinLock<Option<Reference>> = SpinLock::new(None);

pub(crate) fn monotonic_ns() -> u64 {
    let mut source = SOURCE.lock();
    if let Source::Unknown = *source {
        *source = Source::find();
    }
    let (now, changed) = match &mut *source {
        Source::Unknown => (0, false),
        Source::Told(rate) => (rate.at(tsc()), false),
        Source::Page(page) => page.now(),
        Source::Calibrated(counter, calibration) => calibration.now(tsc, || counter.read()),
    };
    drop(source);
    if changed {
        clock::refresh_vdso();
    }
    now
}

/// The line from the time-stamp counter to the time, where it is fit to be used by itself.
pub(crate) fn rate() -> Option<Rate> {
    match &*SOURCE.lock() {
        Source::Unknown => None,
        Source::Told(rate) => Some(*rate),
        Source::Page(page) => page.rate(),
        Source::Calibrated(_, calibration) => calibration.rate(),
    }
}

/// Notes a counter for calibration.
pub(crate) fn offer_reference(reference: Reference) {
    OFFERED.lock().get_or_insert(reference);
}

/// The wall clock, from the hypervisor or from the clock chip.
pub(crate) fn wall_clock_ns() -> u64 {
    let now = monotonic_ns();
    let boot = match &*SOURCE.lock() {
        Source::Page(_) => kvm::wall_clock_at_boot(),
        _ => None,
    };
    boot.map_or_else(rtc::read, |boot| boot + now)
}

impl Source {
    fn find() -> Self {
        if hypervisor().is(b"KVMKVMKVM\0\0\0")
            && let Some(page) = ClockPage::register()
        {
            return Self::Page(page);
        }
        if let Some(frequency) = told_frequency() {
            return Self::Told(Rate::new(tsc(), 0, frequency));
        }
        let counter = Counter::open(*OFFERED.lock());
        let calibration = Calibration::new(counter.frequency(), counter.mask());
        Self::Calibrated(counter, calibration)
    }
}

/// The rate of the time-stamp counter, where somebody tells it.
fn told_frequency() -> Option<u64> {
    let hypervisor = hypervisor();
    if hypervisor.is(b"Microsoft Hv") && cpuid(0x4000_0003).eax & 1 << 11 != 0 {
        // Hyper-V top level functional specification, HV_X64_MSR_TSC_FREQUENCY.
        // SAFETY: the hypervisor says that the register may be read.
        return Some(unsafe { rdmsr(0x4000_0022) }).filter(|&frequency| frequency != 0);
    }
    if hypervisor.is(b"XenVMMXenVMM") {
        // Xen, public/arch-x86/cpuid.h, leaf 4, subleaf 0: kHz.
        let frequency = u64::from(cpuid_count(0x4000_0003, 0).ecx) * 1000;
        return (frequency != 0).then_some(frequency);
    }
    if hypervisor.max_leaf >= 0x4000_0010 {
        // VMware's leaf of timing information, which others have too: kHz.
        let frequency = u64::from(cpuid(0x4000_0010).eax) * 1000;
        if frequency != 0 {
            return Some(frequency);
        }
    }
    if cpuid(0).eax >= 0x15 {
        // The core crystal's rate, and the ratio to it (SDM volume 2, CPUID).
        let answer = cpuid(0x15);
        let (denominator, numerator, crystal) = (answer.eax, answer.ebx, answer.ecx);
        if denominator != 0 && numerator != 0 && crystal != 0 {
            return Some(u64::from(crystal) * u64::from(numerator) / u64::from(denominator));
        }
    }
    None
}
