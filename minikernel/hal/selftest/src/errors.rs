//! Errors of the kernel, made on purpose.

use core::arch::asm;

use isopod_hal::{PhysAddr, PhysRange, log, mmio::Mmio, panic};

static CONSTANT: u8 = 7;

pub fn make(name: &[u8]) {
    match name {
        b"panic" => deep(3),
        b"hook" => {
            panic::set_hook(|report| {
                isopod_hal::log::emergency(b"the hook says: ");
                isopod_hal::log::emergency(report);
                isopod_hal::power::off(0)
            });
            deep(1);
        }
        // SAFETY: none: these accesses are the errors that the machine must catch.
        b"write-code" => unsafe { poke(make as *const () as usize) },
        // SAFETY: none, as above: the same byte by way of the direct map.
        b"write-alias" => unsafe {
            poke(make as *const () as usize - 0xffff_ffff_8000_0000 + 0xffff_8000_0000_0000);
        },
        // SAFETY: none, as above.
        b"write-constant" => unsafe { poke((&raw const CONSTANT).addr()) },
        // SAFETY: none, as above.
        b"nothing" => unsafe { poke(0) },
        b"execute-data" => {
            static CODE: [core::sync::atomic::AtomicU8; 1] = [core::sync::atomic::AtomicU8::new(0xc3)];
            // SAFETY: none, as above.
            unsafe { asm!("call {}", in(reg) CODE.as_ptr(), clobber_abi("C")) };
        }
        b"overflow" => {
            log!("{}", recurse(0));
        }
        // SAFETY: none, as above.
        b"invalid" => unsafe { asm!("ud2") },
        b"nmi" => {
            interrupt_without_mask();
            log!("the kernel goes on");
            return;
        }
        name => panic!("no such test: {:?}", core::str::from_utf8(name)),
    }
    log!("nothing happened");
}

/// Sends this CPU an NMI, by the local APIC's command register (SDM volume 3, section 11.6.1).
fn interrupt_without_mask() {
    const SELF: u32 = 1 << 18;
    const NMI: u32 = 4 << 8;
    let apic = Mmio::map(PhysRange::new(PhysAddr::new(0xfee0_0000), 0x1000)).unwrap();
    apic.write32(0x300, SELF | NMI);
}

#[inline(never)]
fn deep(level: u32) {
    assert!(level > 0, "as asked for");
    deep(level - 1);
    core::hint::black_box(level);
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "the stack shall overflow")]
fn recurse(level: u64) -> u64 {
    let page = core::hint::black_box([level; 64]);
    recurse(level + 1) + page[level as usize % 64]
}

unsafe fn poke(at: usize) {
    log!("writing to {at:#x}");
    // SAFETY: none; see above.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at).write_volatile(0x90) };
}
