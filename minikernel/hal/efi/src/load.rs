//! From the firmware to the kernel.

use core::arch::asm;
use core::{mem, ptr, slice};

use crate::disk;
use crate::firmware::{Firmware, Handle, PAGE, Status, SystemTable, copy_memory};
use crate::memory::{Ram, Stretch, is_ram};
use crate::plan::Plan;

/// The address of a symbol of `start.s` or `setup.s`.
macro_rules! address {
    ($symbol:literal) => {{
        let address: u64;
        // SAFETY: it is only calculated.
        unsafe { asm!(concat!("lea {}, [rip + ", $symbol, "]"), out(reg) address, options(nomem, nostack, preserves_flags)) };
        address
    }};
}

/// The kernel reads what it is told in the first GiB.
const TOLD_BELOW: u64 = 1 << 30;
/// Where the kernel is linked to.
const KERNEL: u64 = 2 << 20;

/// What is kept while all memory is taken from the firmware: a page with the mover, and the plan that it follows, and another with what the
/// kernel is told.
const KEPT: u64 = 2 * PAGE;
const KEPT_PLAN: u64 = 1024;
const KEPT_INFO: u64 = PAGE;
const STRETCHES: u64 = KEPT_INFO + 64;
const STRETCH_COUNT: usize = ((KEPT - STRETCHES) / size_of::<Stretch>() as u64) as usize;

/// How often the firmware is asked to leave.
const TRIES: usize = 8;

const MAGIC: u32 = 0x336e_c578;

/// `struct hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`), version 1.
#[derive(Default)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_count: u32,
    reserved: u32,
}

/// What the firmware calls, by way of `start.s`, with interrupts off.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: Handle, table: *const SystemTable) -> Status {
    // SAFETY: this is the call.
    let firmware = unsafe { Firmware::new(image, table) };
    firmware.stop_watchdog();
    let (base, made) = (address!("headers"), address!("plan"));
    let (mover, mover_end) = (address!("mover"), address!("mover_end"));
    let kept = firmware.allocate_code(KEPT, TOLD_BELOW);
    let kept = kept.unwrap_or_else(|| firmware.fail("isopod: the machine has no memory below 1 GiB"));
    // SAFETY: these pages are this program's alone and long enough, and what the builder has made is a plan.
    let plan = unsafe {
        copy_memory(mover, kept, mover_end - mover);
        copy_memory(made, kept + KEPT_PLAN, size_of::<Plan>() as u64);
        &mut *at::<Plan>(kept + KEPT_PLAN)
    };
    // Lest anything else is put where the kernel goes.
    firmware.claim(KERNEL, u64::from(plan.end) - KERNEL);
    if plan.root_from != 0 {
        plan.root = base + u64::from(plan.root_from);
        plan.count -= 1;
    } else if plan.root_len != 0 {
        plan.root = disk::load_root(firmware, plan);
    }
    let source = source(firmware, plan, base);
    let map_len = firmware.memory_map_len();
    let map = allocate(firmware, plan, map_len);
    let root_len = u64::from(plan.root_len);
    if overlaps(plan, kept, KEPT) || overlaps(plan, map, map_len) || overlaps(plan, plan.root, root_len) {
        too_little(firmware, plan)
    }
    leave(firmware, plan, kept, map, map_len);
    // SAFETY: the machine is ours, and the code there is made for this call.
    unsafe {
        let go: extern "sysv64" fn(u64, u64, u64) -> ! = mem::transmute(at::<u8>(kept));
        go(kept + KEPT_PLAN, source, kept + KEPT_INFO)
    }
}

/// Where the program lies that the mover, which knows addresses of 32 bits, takes the kernel from: this one, or if it cannot stay where it
/// is, a copy.
fn source(firmware: Firmware, plan: &Plan, base: u64) -> u64 {
    let used = plan.loads.get(..plan.count as usize).unwrap_or_default();
    let Some((first, last)) = used.first().zip(used.last()) else { return base };
    let (start, len) = (base + u64::from(first.from), u64::from(last.from + last.len - first.from));
    if start + len <= 1 << 32 && !overlaps(plan, start, len) {
        return base;
    }
    let copy = allocate(firmware, plan, len);
    if overlaps(plan, copy, len) {
        too_little(firmware, plan)
    }
    // SAFETY: both are this program's, and so long.
    unsafe { copy_memory(start, copy, len) };
    // Offsets in the program are added to it without a carry.
    copy.wrapping_sub(u64::from(first.from))
}

/// Finds out about memory and takes it from the firmware. What is told of it must lie in the pages at `kept`.
fn leave(firmware: Firmware, plan: &Plan, kept: u64, map: u64, map_len: u64) {
    // SAFETY: these pages are this program's alone, and any bytes will do.
    let stretches = unsafe { slice::from_raw_parts_mut(at::<Stretch>(kept + STRETCHES), STRETCH_COUNT) };
    let rsdp = firmware.rsdp();
    // The map may have changed by the time that the firmware is left; it then says so.
    for _ in 0..TRIES {
        let mut ram = Ram::new(stretches);
        let each = |kind, start, len| {
            if is_ram(kind) {
                ram.add(start, len);
            }
        };
        let Some(key) = firmware.memory_map(map, map_len, each) else { continue };
        if !ram.holds(KERNEL, u64::from(plan.end)) {
            let end = u64::from(plan.end).div_ceil(1 << 20);
            let what = "isopod: the firmware keeps memory that the kernel goes to, from 2 MiB to ";
            firmware.fail_with(what, Some(end), " MiB")
        }
        let info = StartInfo {
            magic: MAGIC,
            version: 1,
            rsdp,
            memory_map: kept + STRETCHES,
            memory_map_count: ram.count() as u32,
            ..StartInfo::default()
        };
        // SAFETY: this page is this program's alone.
        unsafe { at::<StartInfo>(kept + KEPT_INFO).write(info) };
        if firmware.exit(key) {
            return;
        }
    }
    firmware.fail("isopod: the firmware does not give the machine away (ExitBootServices)")
}

/// Whether something lies where the kernel goes.
fn overlaps(plan: &Plan, start: u64, len: u64) -> bool {
    start < u64::from(plan.end) && start + len > KERNEL
}

fn allocate(firmware: Firmware, plan: &Plan, len: u64) -> u64 {
    firmware.allocate(len, 1 << 32).unwrap_or_else(|| too_little(firmware, plan))
}

pub fn too_little(firmware: Firmware, plan: &Plan) -> ! {
    let needed = (u64::from(plan.end) + u64::from(plan.root_len)).div_ceil(1 << 20);
    firmware.fail_with(
        "isopod: the machine has too little memory: the image alone takes ",
        Some(needed),
        " MiB",
    )
}

/// Memory at an address, as everything is mapped that the firmware gives out.
fn at<T>(address: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(address as usize)
}
