//! The state of user threads that stays in the CPU while the kernel runs: x87, the upper halves of vector registers, the
//! segment bases. It is saved when the thread gives the CPU up, and loaded when another thread or another CPU ran since.
//!
//! The area's xmm registers and MXCSR are up to date whenever the kernel runs, since the entry stores them; so saving
//! must leave these alone.

use core::arch::asm;

use super::{
    debug,
    percpu::{KERNEL_GS_BASE, PerCpu},
    registers::{cr4, rdmsr, set_cr4, wrmsr},
};
use crate::{
    cpu::{cpuid_count, features},
    sync::Once,
    user::{FpuLayout, Prefix},
};

const OSXSAVE: u64 = 1 << 18;
/// Components that are handed out: x87, SSE, AVX, and the three of AVX-512. Others (protection keys, tiles) would need
/// the kernel to know more of them, or would make every thread's area kilobytes larger.
const COMPONENTS: u64 = 0xe7;
const SSE: u64 = 2;
const MXCSR: usize = 24;
/// Bytes of the x87 state in the legacy region: before MXCSR, and from 32 to 160.
const X87: [core::ops::Range<usize>; 2] = [0..24, 32..160];
const FS_BASE_MSR: u32 = 0xc000_0100;

static LAYOUT: Once<FpuLayout> = Once::new();

/// Finds out what there is to save, and switches it on.
///
/// # Safety
/// Called once on each CPU at boot.
pub(super) unsafe fn install() {
    let mut layout = FpuLayout { size: 512, components: 3, mxcsr_mask: 0xffff };
    if features().xsave {
        // SAFETY: the processor has XSAVE, and x87 and SSE are always among the components.
        unsafe {
            set_cr4(cr4() | OSXSAVE);
            let supported = cpuid_count(0xd, 0);
            layout.components = (u64::from(supported.edx) << 32 | u64::from(supported.eax)) & COMPONENTS;
            asm!(
                "xsetbv",
                in("ecx") 0, in("eax") layout.components as u32, in("edx") (layout.components >> 32) as u32,
                options(nostack, preserves_flags),
            );
        }
        // The size for the components that have just been switched on (SDM volume 2, CPUID, leaf 0xd).
        layout.size = cpuid_count(0xd, 0).ebx as usize;
    }
    let _ = LAYOUT.set(layout);
}

/// What a thread's area looks like.
pub(crate) fn fpu_layout() -> FpuLayout {
    *LAYOUT.get().expect("start-up has looked at the processor")
}

/// Gives the CPU to the thread with `area`. Its state is loaded, unless this CPU loaded it last and still holds it.
#[inline(never)]
pub(super) fn take(cpu: &PerCpu, area: *mut u8) {
    // SAFETY: the caller's thread lives, and its area is complete.
    unsafe {
        if cpu.owner.get() != area || (*prefix(area)).holder != cpu.index as u64 + 1 {
            fpu_release();
            load(area);
            (*prefix(area)).holder = cpu.index as u64 + 1;
            cpu.owner.set(area);
        }
        if (*prefix(area)).control != 0 {
            debug::load(&*prefix(area));
        }
    }
    cpu.unsaved.set(true);
}

/// Stores what the CPU holds of the thread that ran last, so that another may take that thread. The CPU still holds it, but for its
/// breakpoints, which another thread's copies must not meet.
pub(crate) fn fpu_release() {
    let cpu = PerCpu::get();
    if cpu.unsaved.replace(false) {
        // SAFETY: the owner's area lives: a thread that goes tells the CPU by `fpu_forget`, and since it ran it has not left this CPU.
        unsafe {
            save(cpu.owner.get());
            if (*prefix(cpu.owner.get())).control != 0 {
                debug::unload();
            }
        }
    }
}

/// Brings `area` up to date, should this CPU hold more of it.
pub(crate) fn fpu_sync(area: *mut u8) {
    let cpu = PerCpu::get();
    if cpu.unsaved.get() && cpu.owner.get() == area {
        // SAFETY: the caller's area.
        unsafe { save(area) };
    }
}

/// Makes every CPU forget that it holds the state of `area`: it will be changed, or go.
pub(crate) fn fpu_forget(area: *mut u8) {
    let cpu = PerCpu::get();
    // SAFETY: the caller's area.
    unsafe {
        if cpu.owner.get() == area {
            cpu.owner.set(core::ptr::null_mut());
            if cpu.unsaved.replace(false) && (*prefix(area)).control != 0 {
                debug::unload();
            }
        }
        (*prefix(area)).holder = 0;
    }
}

/// What lies before an area.
unsafe fn prefix(area: *mut u8) -> *mut Prefix {
    // SAFETY: the caller's area has a prefix.
    unsafe { area.sub(size_of::<Prefix>()).cast() }
}

/// Saves the CPU's state to `area`, but for xmm registers and MXCSR; the state stays in the CPU.
unsafe fn save(area: *mut u8) {
    let layout = fpu_layout();
    // SAFETY: the area has the layout's size and alignment, and the bases lie before it.
    unsafe {
        save_bases(area);
        let mxcsr = area.add(MXCSR).cast::<u32>().read();
        if layout.size > 512 {
            let mask = layout.components & !SSE;
            asm!(
                "xsave64 [{}]",
                in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack, preserves_flags),
            );
        } else {
            let mut legacy = Legacy([0; 512]);
            asm!("fxsave64 [{}]", in(reg) &raw mut legacy, options(nostack, preserves_flags));
            for range in X87 {
                let len = range.len();
                area.add(range.start).copy_from_nonoverlapping(legacy.0[range].as_ptr(), len);
            }
        }
        // XSAVE stores MXCSR together with AVX: the kernel's.
        area.add(MXCSR).cast::<u32>().write(mxcsr);
    }
}

/// Loads the CPU with the state of `area`. The xmm registers, which come along or not, are loaded at the way to ring 3.
unsafe fn load(area: *mut u8) {
    let layout = fpu_layout();
    // SAFETY: as for `save`. What a signal frame may have put into the area has been checked: no component, no bit of
    // MXCSR and of the header that the processor would refuse.
    unsafe {
        load_bases(area);
        if layout.size > 512 {
            let mask = layout.components & !SSE;
            asm!(
                "xrstor64 [{}]",
                in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack, preserves_flags),
            );
        } else {
            asm!(
                "fxrstor64 [{}]", in(reg) area,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack, preserves_flags),
            );
        }
        // Whatever MXCSR came along, the kernel goes on with its own.
        core::arch::asm!("ldmxcsr [{}]", in(reg) &0x1f80u32, options(nostack, preserves_flags, readonly));
    }
}

#[repr(C, align(16))]
struct Legacy([u8; 512]);

/// Stores the bases, which user code may have changed itself where the processor allows that.
unsafe fn save_bases(area: *mut u8) {
    if !features().fsgsbase {
        return;
    }
    // SAFETY: CR4.FSGSBASE is set where the processor has it; the bases lie before the area. User code's `gs` base is
    // in the register that `swapgs` exchanges.
    unsafe {
        let fs: u64;
        asm!("rdfsbase {}", out(reg) fs, options(nomem, nostack, preserves_flags));
        (*prefix(area)).fs = fs;
        (*prefix(area)).gs = rdmsr(KERNEL_GS_BASE);
    }
}

/// Loads the bases.
unsafe fn load_bases(area: *mut u8) {
    // SAFETY: as for `save_bases`. Only addresses of the user half are ever stored, or such as user code has set itself;
    // both are canonical.
    unsafe {
        let Prefix { fs, gs, .. } = *prefix(area);
        if features().fsgsbase {
            asm!("wrfsbase {}", in(reg) fs, options(nomem, nostack, preserves_flags));
        } else {
            wrmsr(FS_BASE_MSR, fs);
        }
        wrmsr(KERNEL_GS_BASE, gs);
    }
}
