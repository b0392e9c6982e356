//! What a program finds when it starts: auxiliary vector, vDSO, stack, identity of the machine.

use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    auxiliary_vector(t);
    stack(t);
    machine(t);
    vdso(t);
}

fn auxiliary(kind: u64) -> u64 {
    // SAFETY: reads the vector that the kernel left on the stack.
    unsafe { libc::getauxval(kind) }
}

fn auxiliary_vector(t: &mut Report) {
    t.show("at_pagesz", auxiliary(libc::AT_PAGESZ));
    t.show("at_clktck", auxiliary(libc::AT_CLKTCK));
    t.show("at_secure", auxiliary(libc::AT_SECURE));
    t.show("at_phent", auxiliary(libc::AT_PHENT));
    t.is("at_phdr", auxiliary(libc::AT_PHDR) != 0);
    t.is("at_phnum", auxiliary(libc::AT_PHNUM) > 2);
    t.is("at_entry", auxiliary(libc::AT_ENTRY) != 0);
    t.show("at_base", auxiliary(libc::AT_BASE));
    t.show("at_flags", auxiliary(libc::AT_FLAGS));
    for (name, kind) in [
        ("at_uid", libc::AT_UID),
        ("at_euid", libc::AT_EUID),
        ("at_gid", libc::AT_GID),
        ("at_egid", libc::AT_EGID),
    ] {
        t.show(name, auxiliary(kind));
    }
    let text = |kind| {
        let address = auxiliary(kind) as *const i8;
        if address.is_null() {
            return "missing".to_owned();
        }
        // SAFETY: the kernel puts a string there.
        unsafe { std::ffi::CStr::from_ptr(address) }.to_string_lossy().into_owned()
    };
    t.show("at_platform", text(libc::AT_PLATFORM));
    t.is("at_execfn", text(libc::AT_EXECFN) == std::env::args().next().unwrap_or_default());
    let random = auxiliary(libc::AT_RANDOM) as *const [u8; 16];
    // SAFETY: the kernel puts 16 bytes there.
    t.is("at_random", !random.is_null() && unsafe { random.read_unaligned() } != [0; 16]);
    t.is("at_sysinfo_ehdr", auxiliary(libc::AT_SYSINFO_EHDR) != 0);
}

fn stack(t: &mut Report) {
    let local = 0u8;
    let here = std::ptr::from_ref(&local) as u64;
    let random = auxiliary(libc::AT_RANDOM);
    t.is("stack_is_high", here > 0x7000_0000_0000 && here < 0x7fff_ffff_f000);
    t.is("stack_vector_above", random > here);
    let mut limit = sys::zeroed::<libc::rlimit>();
    t.call("stack_limit", sys!(SYS_prlimit64, 0, libc::RLIMIT_STACK, 0, &mut limit));
    t.show("stack_limit_soft", limit.rlim_cur);
    t.show("stack_grows", deepen(256));
}

/// Uses a page of stack at each of so many levels.
fn deepen(levels: usize) -> usize {
    let page = [1u8; 4096];
    if levels == 0 { 0 } else { usize::from(std::hint::black_box(&page)[levels]) + deepen(levels - 1) }
}

fn machine(t: &mut Report) {
    let mut name = sys::zeroed::<libc::utsname>();
    t.call("uname", sys!(SYS_uname, &mut name));
    let text = |field: &[i8]| {
        field
            .iter()
            .take_while(|&&byte| byte != 0)
            .map(|&byte| byte.cast_unsigned() as char)
            .collect::<String>()
    };
    t.show("uname_sysname", text(&name.sysname));
    t.show("uname_machine", text(&name.machine));
    let release = text(&name.release);
    let major: u32 = release.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    t.is("uname_release", major >= 5);
    t.is("uname_version", !text(&name.version).is_empty());
    t.call("uname_fault", sys!(SYS_uname, 8));
}

/// The page of code that the kernel lends is an ELF file with these functions.
fn vdso(t: &mut Report) {
    let base = auxiliary(libc::AT_SYSINFO_EHDR) as *const u8;
    if base.is_null() {
        t.show("vdso", "missing");
        return;
    }
    // SAFETY: the kernel maps at least one page there.
    let page = unsafe { std::slice::from_raw_parts(base, 4096) };
    t.is("vdso_elf", page.starts_with(b"\x7fELF\x02\x01\x01"));
    for name in ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"] {
        let found = page
            .windows(name.len() + 1)
            .any(|window| &window[..name.len()] == name.as_bytes() && window[name.len()] == 0);
        t.is(&format!("vdso_{}", name.trim_start_matches("__vdso_")), found);
    }
}
