//! `/proc/sys`: `proc_sys(5)`.

use isopod_fs::file::OpenFile;
use isopod_fs::{Capabilities, Errno, Result};
use isopod_hal::sync::Once;

use super::subject::Subject;
use super::sysctl_net::NET;
use super::table::{Row, put};
use super::text::Text;
use crate::ipc::sysv::{memory, messages, semaphores};
use crate::ipc::{inotify, mqueue};
use crate::tunable::Tunable;
use crate::{aio, core_dump, kernel, process};

/// Bytes of a host name at most.
const NAME_MAX: usize = 64;

pub(super) static SYSCTL: [Row; 4] =
    [Row::rows("fs", &FS), Row::rows("kernel", &KERNEL), Row::rows("net", &NET), Row::rows("vm", &VM)];

static FS: [Row; 10] = [
    Row::number("aio-max-nr", &aio::REQUESTS_MAX),
    Row::machine("aio-nr", |text| put!(text, "{}\n", aio::requests())),
    Row::constant("dir-notify-enable", "1\n"),
    // Memory is the limit.
    Row::constant("file-max", "9223372036854775807\n"),
    Row::machine("file-nr", |text| put!(text, "{}\t0\t9223372036854775807\n", OpenFile::count())),
    Row::rows("inotify", &INOTIFY),
    Row::rows("mqueue", &MQUEUE),
    Row::constant("nr_open", "1048576\n"),
    Row::constant("pipe-max-size", "1048576\n"),
    // Who may not be looked into leaves no core file.
    Row::constant("suid_dumpable", "0\n"),
];

static INOTIFY: [Row; 3] = [
    Row::number("max_queued_events", &inotify::MAX_QUEUED_EVENTS),
    Row::number("max_user_instances", &inotify::MAX_USER_INSTANCES),
    Row::number("max_user_watches", &inotify::MAX_USER_WATCHES),
];

static MQUEUE: [Row; 5] = [
    Row::number("msg_default", &mqueue::MESSAGES_DEFAULT),
    Row::number("msg_max", &mqueue::MESSAGES_MAX),
    Row::number("msgsize_default", &mqueue::SIZE_DEFAULT),
    Row::number("msgsize_max", &mqueue::SIZE_MAX),
    Row::number("queues_max", &mqueue::QUEUES_MAX),
];

static KERNEL: [Row; 20] = [
    Row::constant("cap_last_cap", "40\n"),
    Row::written(
        "core_pattern",
        |_, text| {
            text.put_line(&core_dump::pattern());
            Ok(())
        },
        |_, pattern| {
            core_dump::set_pattern(pattern);
            Ok(())
        },
    ),
    Row::number("core_uses_pid", &core_dump::USES_PID),
    Row::written(
        "domainname",
        |_, text| {
            text.put_line(&kernel::domain_name());
            Ok(())
        },
        |_, name| set_name(name, kernel::set_domain_name),
    ),
    Row::written(
        "hostname",
        |_, text| {
            text.put_line(&kernel::hostname());
            Ok(())
        },
        |_, name| set_name(name, kernel::set_hostname),
    ),
    Row::number("msgmax", &messages::SIZE_MAX),
    Row::number("msgmnb", &messages::QUEUE_MAX),
    Row::number("msgmni", &messages::QUEUES_MAX),
    Row::constant("ngroups_max", "65536\n"),
    Row::machine("osrelease", |text| put!(text, "{}\n", kernel::RELEASE)),
    Row::constant("ostype", "Linux\n"),
    Row::machine("pid_max", |text| put!(text, "{}\n", process::PID_MAX)),
    Row::rows("random", &RANDOM),
    Row::constant("randomize_va_space", "2\n"),
    Row::written("sem", semaphore_limits, |_, numbers| set_semaphore_limits(numbers)),
    Row::number("shmall", &memory::PAGES_MAX),
    Row::number("shmmax", &memory::BYTES_MAX),
    Row::number("shmmni", &memory::SEGMENTS_MAX),
    Row::machine("threads-max", |text| put!(text, "{}\n", process::threads_max())),
    Row::machine("version", |text| put!(text, "{}\n", kernel::VERSION)),
];

static RANDOM: [Row; 4] = [
    Row::machine("boot_id", |text| {
        static BOOT_ID: Once<[u8; 16]> = Once::new();
        put_uuid(text, BOOT_ID.get_or_init(random_uuid));
    }),
    // The pool is seeded before the first program runs.
    Row::constant("entropy_avail", "256\n"),
    Row::constant("poolsize", "256\n"),
    Row::machine("uuid", |text| put_uuid(text, &random_uuid())),
];

static VM: [Row; 4] = [
    Row::constant("max_map_count", "65530\n"),
    Row::constant("mmap_min_addr", "65536\n"),
    Row::constant("overcommit_memory", "0\n"),
    Row::number("swappiness", &SWAPPINESS),
];

/// It is kept and told: there is nothing to swap to.
static SWAPPINESS: Tunable = Tunable::new(|| 60, 0, 200);

/// The limits of `/proc/sys/kernel/sem`, in their order.
const SEMAPHORE_LIMITS: [&Tunable; 4] =
    [&semaphores::PER_SET, &semaphores::TOTAL, &semaphores::OPERATIONS, &semaphores::SETS_MAX];

#[expect(clippy::unnecessary_wraps, reason = "it is a row of a table")]
fn semaphore_limits(_: &Subject, text: &mut Text) -> Result<()> {
    let [per_set, total, operations, sets] = SEMAPHORE_LIMITS.map(Tunable::get);
    put!(text, "{per_set}\t{total}\t{operations}\t{sets}\n");
    Ok(())
}

/// Sets as many of them as there are numbers.
fn set_semaphore_limits(numbers: &[u8]) -> Result<()> {
    let words = numbers.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (limit, word) in SEMAPHORE_LIMITS.into_iter().zip(words) {
        limit.set_text(word)?;
    }
    Ok(())
}

/// Takes a name up to its newline or NUL; what is too long is cut.
fn set_name(name: &[u8], set: fn(&[u8])) -> Result<()> {
    if process::current().is_some_and(|caller| !caller.identity().capable(Capabilities::SYS_ADMIN)) {
        return Err(Errno::EPERM.into());
    }
    let end = name.iter().position(|byte| matches!(byte, 0 | b'\n')).unwrap_or(name.len());
    set(&name[..end.min(NAME_MAX)]);
    Ok(())
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> [u8; 16] {
    let mut bytes = [0; 16];
    kernel::fill_random(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn put_uuid(text: &mut Text, uuid: &[u8; 16]) {
    for (index, byte) in uuid.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        put!(text, "{dash}{byte:02x}");
    }
    put!(text, "\n");
}
