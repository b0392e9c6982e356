//! What a program may do: capabilities(7) over execve, the securebits flags, namespaces, and small things of prctl(2).

use std::ffi::CStr;
use std::os::unix::fs::{PermissionsExt, chown};

use libc::*;

use super::helpers::{CLOSED, NOWHERE, child, leave, open, put, status_of, wait_for};
use crate::report::Report;
use crate::sys::Errno;

/// The word before the name of a case, in a program that this group has executed.
pub const MARK: &str = "--capabilities";

const CHOWN: u64 = 1;
const SETUID: u64 = 1 << 7;
const SETPCAP: u64 = 1 << 8;
const NET_BIND: u64 = 1 << 10;
/// A capability that the machine on which the answers were recorded does not give.
const NOT_COMPARED: u64 = 1 << 24;

const USER: u32 = 1234;

/// Runs the group.
pub fn run(t: &mut Report) {
    let file = c"program";
    std::fs::copy("/proc/self/exe", "program").expect("a copy");
    // Users other than root must reach it.
    for folder in [".", ".."] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    attribute(t, file);
    files(t, file);
    ambient(t, file);
    set_id(t, file);
    secure_bits(t, file);
    bounding(t);
    namespaces(t);
    mounts(t);
    control(t);
}

/// Effective, permitted, inheritable.
fn sets() -> [u64; 3] {
    let mut data = [0u32; 6];
    let _ = sys!(SYS_capget, &[0x2008_0522u32, 0], &mut data);
    [0, 1, 2].map(|set| (u64::from(data[set]) | u64::from(data[set + 3]) << 32) & !NOT_COMPARED)
}

fn set_sets(sets: [u64; 3]) -> Result<usize, Errno> {
    let [effective, permitted, inheritable] = sets;
    let words = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data = [words(0), words(32)].concat();
    sys!(SYS_capset, &[0x2008_0522u32, 0], data.as_ptr())
}

fn is_ambient(number: u32) -> bool {
    sys!(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, number, 0, 0) == Ok(1)
}

/// Prints what the program that was executed may do.
pub fn after(case: &str) {
    let [effective, permitted, inheritable] = sets();
    let ambient: Vec<_> = (0..41).filter(|number| is_ambient(*number)).collect();
    // SAFETY: reads the vector that the kernel left on the stack.
    let secure = unsafe { getauxval(AT_SECURE) };
    let user = sys!(SYS_geteuid).unwrap_or(0);
    let bits = sys!(SYS_prctl, PR_GET_SECUREBITS).unwrap_or(99);
    Report::new("capabilities").show(
        case,
        format!(
            "user {user}, {effective:x} of {permitted:x}, inherits {inheritable:x}, ambient {ambient:?}, secure {secure}, bits {bits:x}"
        ),
    );
}

/// What `file` says in a child that did `before`; the answer of execve if it fails.
fn executed(t: &mut Report, file: &CStr, case: &CStr, before: impl FnOnce()) {
    let mark = std::ffi::CString::new(MARK).expect("no NUL");
    let status = status_of(|| {
        before();
        let words = [file.as_ptr(), mark.as_ptr(), case.as_ptr(), std::ptr::null()];
        match sys!(SYS_execve, file, words.as_ptr(), &[0usize]) {
            Ok(_) => 0,
            Err(errno) => errno.0,
        }
    });
    if status != 0 {
        t.show(&case.to_string_lossy(), Errno(status));
    }
}

fn become_user() {
    sys!(SYS_setresuid, USER, USER, USER).expect("root may");
}

/// A value of `security.capability`, version 2 or 3.
fn value(version: u32, effective: bool, permitted: u64, inheritable: u64) -> Vec<u8> {
    let head = version << 24 | u32::from(effective);
    let halves = |shift: u32| [(permitted >> shift) as u32, (inheritable >> shift) as u32];
    let mut words = [&[head][..], &halves(0), &halves(32)].concat();
    if version == 3 {
        words.push(0);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn set_value(file: &CStr, value: &[u8]) -> Result<usize, Errno> {
    sys!(SYS_setxattr, file, c"security.capability", value.as_ptr(), value.len(), 0)
}

fn attribute(t: &mut Report, file: &CStr) {
    t.call("set_too_short", set_value(file, b"cap"));
    t.call("set_version_1", set_value(file, &value(1, false, CHOWN, 0)[..12]));
    t.call("set_version_4", set_value(file, &value(4, false, CHOWN, 0)));
    t.call("set_wrong_size", set_value(file, &value(3, false, CHOWN, 0)[..20]));
    t.call("set_version_3", set_value(file, &value(3, true, CHOWN, 0)));
    t.call("set_version_2", set_value(file, &value(2, true, CHOWN, 0)));
    let unprivileged = status_of(|| {
        become_user();
        set_value(file, &value(2, true, CHOWN, 0)).err().map_or(0, |errno| errno.0)
    });
    t.show("set_unprivileged", Errno(unprivileged));
    let mut found = [0u8; 64];
    t.call("get", sys!(SYS_getxattr, file, c"security.capability", &mut found, 64));
    t.show("get_value", format!("{:?}", &found[..20]));
    put("program2", "x");
    let copy = c"program2";
    t.call("set_another", set_value(copy, &value(2, true, CHOWN, 0)));
    put("program2", "y");
    t.call("written_away", sys!(SYS_getxattr, copy, c"security.capability", 0, 0));
    let _ = set_value(copy, &value(2, true, CHOWN, 0));
    chown("program2", Some(USER), None).expect("root may");
    t.call("chowned_away", sys!(SYS_getxattr, copy, c"security.capability", 0, 0));
}

fn files(t: &mut Report, file: &CStr) {
    let permitted = CHOWN | NET_BIND;
    set_value(file, &value(2, true, permitted, 0)).expect("root may");
    executed(t, file, c"effective", become_user);
    executed(t, file, c"effective_for_root", || ());
    executed(t, file, c"effective_unbounded", || {
        let _ = sys!(SYS_prctl, PR_CAPBSET_DROP, 10, 0, 0, 0);
        become_user();
    });
    executed(t, file, c"no_new_privileges", || {
        become_user();
        let _ = sys!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    });
    set_value(file, &value(3, false, permitted, SETUID)).expect("root may");
    executed(t, file, c"permitted", become_user);
    executed(t, file, c"permitted_unbounded", || {
        let _ = sys!(SYS_prctl, PR_CAPBSET_DROP, 10, 0, 0, 0);
        become_user();
    });
    executed(t, file, c"inherited", || {
        let [effective, permitted, _] = sets();
        let _ = set_sets([effective, permitted, SETUID | SETPCAP]);
        become_user();
    });
    set_value(file, &value(2, true, 1 << 60 | CHOWN, 0)).expect("root may");
    executed(t, file, c"unknown_bits", become_user);
    sys!(SYS_removexattr, file, c"security.capability").expect("it is there");
}

fn ambient(t: &mut Report, file: &CStr) {
    let operation = |operation, number: u32| sys!(SYS_prctl, PR_CAP_AMBIENT, operation, number, 0, 0);
    t.call("ambient_not_inheritable", operation(PR_CAP_AMBIENT_RAISE, 0));
    t.call("ambient_bad_number", operation(PR_CAP_AMBIENT_RAISE, 77));
    t.call("ambient_bad_operation", operation(9, 0));
    t.call("ambient_clear_with_number", operation(PR_CAP_AMBIENT_CLEAR_ALL, 1));
    t.call("ambient_more_words", sys!(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 1, 0));
    let raise = move || {
        let [effective, permitted, _] = sets();
        let _ = set_sets([effective, permitted, CHOWN | NET_BIND]);
        let _ = operation(PR_CAP_AMBIENT_RAISE, 0);
        let _ = operation(PR_CAP_AMBIENT_RAISE, 10);
    };
    // Changing the user for good takes the ambient ones unless they are raised behind it.
    executed(t, file, c"ambient_lost_with_the_user", || {
        raise();
        become_user();
    });
    let raise_as_user = move || {
        let _ = sys!(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
        become_user();
        raise();
    };
    executed(t, file, c"ambient_kept", raise_as_user);
    executed(t, file, c"ambient_lowered", || {
        raise_as_user();
        let _ = operation(PR_CAP_AMBIENT_LOWER, 10);
        let _ = set_sets([CHOWN, CHOWN | NET_BIND, CHOWN | NET_BIND]);
    });
    executed(t, file, c"ambient_without_inheritable", || {
        raise_as_user();
        let [effective, permitted, _] = sets();
        let _ = set_sets([effective, permitted, NET_BIND]);
    });
    set_value(file, &value(2, false, SETUID, 0)).expect("root may");
    executed(t, file, c"ambient_lost_with_a_files", raise_as_user);
    sys!(SYS_removexattr, file, c"security.capability").expect("it is there");
}

fn set_id(t: &mut Report, file: &CStr) {
    std::fs::set_permissions("program", PermissionsExt::from_mode(0o4755)).expect("a mode");
    executed(t, file, c"set_id", become_user);
    executed(t, file, c"set_id_no_new_privileges", || {
        become_user();
        let _ = sys!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    });
    executed(t, file, c"set_id_no_root", || {
        let _ = sys!(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0);
        become_user();
    });
    set_value(file, &value(2, true, CHOWN, 0)).expect("root may");
    executed(t, file, c"set_id_with_a_files", become_user);
    sys!(SYS_removexattr, file, c"security.capability").expect("it is there");
    std::fs::set_permissions("program", PermissionsExt::from_mode(0o755)).expect("a mode");
}

fn secure_bits(t: &mut Report, file: &CStr) {
    let set = |bits: i32| sys!(SYS_prctl, PR_SET_SECUREBITS, bits, 0, 0, 0);
    t.call("secure_bits", sys!(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0));
    t.call("secure_bits_unknown", set(0x1_0000));
    executed(t, file, c"no_root", || {
        let _ = set(SECBIT_NOROOT);
    });
    executed(t, file, c"keep_caps_ends_with_execve", || {
        let _ = set(SECBIT_KEEP_CAPS);
    });
    executed(t, file, c"no_setuid_fixup", || {
        let _ = set(SECBIT_NO_SETUID_FIXUP);
        become_user();
    });
    let fixed = status_of(|| {
        let _ = set(SECBIT_NO_SETUID_FIXUP);
        become_user();
        i32::from(sets()[0] & CHOWN != 0)
    });
    t.show("no_setuid_fixup_keeps", fixed);
    let tried = status_of(|| {
        let _ = set(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE);
        let keep = sys!(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0) == Err(Errno(EPERM));
        let unlock = set(SECBIT_NO_CAP_AMBIENT_RAISE) == Err(Errno(EPERM));
        let change = set(SECBIT_KEEP_CAPS_LOCKED | SECBIT_KEEP_CAPS) == Err(Errno(EPERM));
        let more = set(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT).is_ok();
        let raise = |before: &[u64; 3]| {
            let _ = set_sets([before[0], before[1], CHOWN]);
            sys!(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0)
        };
        let raised = raise(&sets()).is_ok();
        let _ = set(SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE);
        let refused = raise(&sets()) == Err(Errno(EPERM));
        [keep, unlock, change, more, raised, refused]
            .iter()
            .enumerate()
            .map(|(bit, is)| i32::from(*is) << bit)
            .sum()
    });
    t.show("locks", format!("{tried:b}"));
    let unprivileged = status_of(|| {
        become_user();
        set(SECBIT_NOROOT).err().map_or(0, |errno| errno.0)
    });
    t.show("secure_bits_unprivileged", Errno(unprivileged));
    t.call("keep_caps_bad", sys!(SYS_prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0));
}

fn bounding(t: &mut Report) {
    let results = status_of(|| {
        let _ = sys!(SYS_prctl, PR_CAPBSET_DROP, 0, 0, 0, 0);
        let [effective, permitted, _] = sets();
        // Neither with CAP_SETPCAP nor without is inheritable what is not bounded.
        let with = set_sets([effective, permitted, CHOWN]) == Err(Errno(EPERM));
        let allowed = set_sets([effective & !SETPCAP, permitted, NET_BIND]).is_ok();
        let without = set_sets([effective & !SETPCAP, permitted, CHOWN]) == Err(Errno(EPERM));
        let drop = sys!(SYS_prctl, PR_CAPBSET_DROP, 99, 0, 0, 0) == Err(Errno(EPERM));
        i32::from(with) | i32::from(allowed) << 1 | i32::from(without) << 2 | i32::from(drop) << 3
    });
    t.show("bounding_limits_inheritable", format!("{results:b}"));
    t.call("bounding_drop_bad", sys!(SYS_prctl, PR_CAPBSET_DROP, 99, 0, 0, 0));
}

/// Without the right to administer, which a container does not have.
fn namespaces(t: &mut Report) {
    let mut ends = [0; 2];
    let _ = sys!(SYS_pipe2, &mut ends, 0);
    let pid = child(|| {
        let [effective, permitted, inheritable] = sets();
        let administer = !(1 << 21);
        let _ = set_sets([effective & administer, permitted & administer, inheritable]);
        let mut t = Report::new("capabilities");
        t.call("unshare_nothing", sys!(SYS_unshare, 0));
        t.call("unshare_unknown", sys!(SYS_unshare, 1u64 << 40));
        t.call("unshare_files", sys!(SYS_unshare, CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
        t.call("unshare_thread_alone", sys!(SYS_unshare, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM));
        for (name, flag) in [
            ("mounts", CLONE_NEWNS),
            ("uts", CLONE_NEWUTS),
            ("ipc", CLONE_NEWIPC),
            ("pids", CLONE_NEWPID),
            ("net", CLONE_NEWNET),
            ("cgroup", CLONE_NEWCGROUP),
        ] {
            t.call(&format!("unshare_{name}"), sys!(SYS_unshare, flag));
            t.call(&format!("clone_{name}"), sys!(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0));
        }
        t.call("setns_closed", sys!(SYS_setns, CLOSED, 0));
        t.call("setns_pipe", sys!(SYS_setns, ends[0], CLONE_NEWNS));
        t.call("setns_file", sys!(SYS_setns, open(c"program", O_RDONLY).unwrap_or(0), 0));
        let own = sys!(SYS_pidfd_open, sys!(SYS_getpid).unwrap_or(0), 0).unwrap_or(0);
        t.call("setns_pidfd_nothing", sys!(SYS_setns, own, 0));
        t.call("setns_pidfd_unknown", sys!(SYS_setns, own, 1));
        t.call("setns_pidfd", sys!(SYS_setns, own, CLONE_NEWNS));
        t.call("pivot_root", sys!(SYS_pivot_root, c".", c"."));
        t.call("mount", sys!(SYS_mount, c"none", c".", c"tmpfs", 0, 0));
        t.call("umount", sys!(SYS_umount2, c".", 0));
        leave(0)
    });
    wait_for(pid);
    let status = status_of(|| {
        become_user();
        sys!(SYS_chroot, c".").err().map_or(0, |errno| errno.0)
    });
    t.show("chroot_unprivileged", Errno(status));
    let shared = std::thread::spawn(|| sys!(SYS_unshare, CLONE_VM)).join().expect("a thread");
    t.call("unshare_memory_of_threads", shared);
    let files = std::thread::spawn(|| {
        sys!(SYS_unshare, CLONE_FILES | CLONE_FS)?;
        sys!(SYS_chdir, c"/")?;
        sys!(SYS_close, 0)
    });
    t.call("unshare_in_a_thread", files.join().expect("a thread"));
    t.ok("unshare_spares_others", sys!(SYS_fcntl, 0, F_GETFD));
    t.is("unshare_spares_their_folder", std::fs::metadata("program").is_ok());
}

fn mounts(t: &mut Report) {
    std::fs::create_dir("proc").expect("a folder");
    t.call("mount_proc", sys!(SYS_mount, c"proc", c"proc", c"proc", 0, 0));
    t.is("mounted_proc", std::fs::read_link("proc/self").is_ok());
    t.call("mount_unknown", sys!(SYS_mount, c"none", c"proc", c"no-such-fs", 0, 0));
    t.call("umount_proc", sys!(SYS_umount2, c"proc", 0));
    t.call("umount_twice", sys!(SYS_umount2, c"proc", 0));
    t.call("bind", sys!(SYS_mount, c".", c"proc", 0, MS_BIND, 0));
    t.is("bound", std::fs::metadata("proc/program").is_ok());
    t.call("umount_bind", sys!(SYS_umount2, c"proc", MNT_DETACH));
}

fn control(t: &mut Report) {
    let prctl = |option: i32, words: [usize; 4]| {
        let [first, second, third, fourth] = words;
        sys!(SYS_prctl, option, first, second, third, fourth)
    };
    t.call("thp_get", prctl(PR_GET_THP_DISABLE, [0; 4]));
    t.call("thp_get_more", prctl(PR_GET_THP_DISABLE, [1, 0, 0, 0]));
    t.call("thp_set", prctl(PR_SET_THP_DISABLE, [1, 0, 0, 0]));
    t.call("thp_set_more", prctl(PR_SET_THP_DISABLE, [1, 0, 1, 0]));
    t.call("thp_was_set", prctl(PR_GET_THP_DISABLE, [0; 4]));
    t.show("thp_in_a_child", status_of(|| prctl(PR_GET_THP_DISABLE, [0; 4]).map_or(-1, |is| is as i32)));
    t.call("thp_reset", prctl(PR_SET_THP_DISABLE, [0; 4]));
    t.call("mce_get", prctl(PR_MCE_KILL_GET, [0; 4]));
    t.call("mce_set", prctl(PR_MCE_KILL, [1, 1, 0, 0]));
    t.call("mce_was_set", prctl(PR_MCE_KILL_GET, [0; 4]));
    t.call("mce_set_bad", prctl(PR_MCE_KILL, [1, 5, 0, 0]));
    t.call("mce_more", prctl(PR_MCE_KILL, [1, 1, 1, 0]));
    t.call("mce_clear", prctl(PR_MCE_KILL, [0, 0, 0, 0]));
    t.call("mce_clear_more", prctl(PR_MCE_KILL, [0, 1, 0, 0]));
    t.call("mce_cleared", prctl(PR_MCE_KILL_GET, [0; 4]));
    t.call("timing_get", prctl(PR_GET_TIMING, [0; 4]));
    t.call("timing_set", prctl(PR_SET_TIMING, [0; 4]));
    t.call("timing_set_bad", prctl(PR_SET_TIMING, [1, 0, 0, 0]));
    let mut mode = 0i32;
    t.call("tsc_get", sys!(SYS_prctl, PR_GET_TSC, &mut mode));
    t.show("tsc_mode", mode);
    t.call("tsc_get_fault", prctl(PR_GET_TSC, [NOWHERE, 0, 0, 0]));
    t.call("tsc_set", prctl(PR_SET_TSC, [PR_TSC_ENABLE as usize, 0, 0, 0]));
    t.call("tsc_set_bad", prctl(PR_SET_TSC, [3, 0, 0, 0]));
    t.call("events_disable", prctl(PR_TASK_PERF_EVENTS_DISABLE, [0; 4]));
    t.call("events_enable", prctl(PR_TASK_PERF_EVENTS_ENABLE, [0; 4]));
    for (which, more) in [(0, 0), (0, 1), (1, 0), (2, 0), (9, 0)] {
        t.ok(&format!("speculation_{which}_{more}"), prctl(PR_GET_SPECULATION_CTRL, [which, more, 0, 0]));
    }
    t.call("speculation_set_more", prctl(PR_SET_SPECULATION_CTRL, [0, 0, 1, 0]));
    t.call("speculation_set_unknown", prctl(PR_SET_SPECULATION_CTRL, [9, 2, 0, 0]));
    t.call("set_mm_more", prctl(PR_SET_MM, [8, 0, 0, 1]));
    let unprivileged = status_of(|| {
        become_user();
        prctl(PR_SET_MM, [8, 0x10_0000, 0, 0]).err().map_or(0, |errno| errno.0)
    });
    t.show("set_mm_unprivileged", Errno(unprivileged));
    let mut vector = [0u64; 128];
    let size = sys!(SYS_prctl, 0x4155_5856, &mut vector, 1024, 0, 0).unwrap_or(0);
    t.is("auxiliary", vector.chunks(2).any(|pair| pair == [AT_PAGESZ, 4096]) && size.is_multiple_of(16));
    t.is("auxiliary_size", sys!(SYS_prctl, 0x4155_5856, &mut vector, 0, 0, 0) == Ok(size));
}
