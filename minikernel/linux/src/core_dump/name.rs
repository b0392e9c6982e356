//! How a core file is called: `/proc/sys/kernel/core_pattern`.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::clock;
use isopod_hal::sync::SpinLock;

use crate::kernel;
use crate::process::{Resource, Thread};
use crate::signal::Signal;
use crate::tunable::Tunable;

/// Bytes of the pattern at most (`CORENAME_MAX_SIZE`, with the NUL).
const PATTERN_MAX: usize = 127;

/// Nobody has set it while it is empty.
static PATTERN: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());

/// `/proc/sys/kernel/core_uses_pid`
pub static USES_PID: Tunable = Tunable::new(|| 0, 0, 1);

/// The pattern now.
pub fn pattern() -> Vec<u8> {
    let pattern = PATTERN.lock().clone();
    if pattern.is_empty() { b"core".to_vec() } else { pattern }
}

/// Sets it, up to its newline.
pub fn set_pattern(text: &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, 0 | b'\n')).unwrap_or(text.len());
    *PATTERN.lock() = text[..end.min(PATTERN_MAX)].to_vec();
}

/// The name of the core of this thread's process. `EOPNOTSUPP` where a program is to take it.
pub(super) fn of(thread: &Thread, signal: Signal) -> Result<Vec<u8>, Errno> {
    let pattern = pattern();
    if pattern.first() == Some(&b'|') {
        return Err(Errno::EOPNOTSUPP);
    }
    let process = thread.process();
    let identity = thread.identity();
    let mut name = Vec::new();
    let mut has_pid = false;
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            name.push(byte);
            continue;
        }
        let Some(what) = bytes.next() else { break };
        let number = match what {
            b'%' => {
                name.push(b'%');
                continue;
            }
            b'p' | b'P' => {
                has_pid = true;
                u64::from(process.pid)
            }
            b'i' | b'I' => thread.tid().into(),
            b'u' => identity.users.real.into(),
            b'g' => identity.groups.real.into(),
            b'd' => process.dumpable.load(Ordering::Relaxed).into(),
            b's' => signal.number().into(),
            b't' => clock::realtime_ns() / 1_000_000_000,
            b'c' => process.limits.lock().get(Resource::Core).soft,
            b'h' => {
                put_part(&mut name, &kernel::hostname());
                continue;
            }
            b'e' => {
                put_part(&mut name, &thread.name());
                continue;
            }
            b'E' => {
                let path = process.executable.lock().as_ref().map(|file| file.path().text(&kernel::root()).0);
                put_part(&mut name, &path.unwrap_or_default());
                continue;
            }
            _ => continue,
        };
        name.extend_from_slice(format!("{number}").as_bytes());
    }
    if !has_pid && USES_PID.get() != 0 {
        name.extend_from_slice(format!(".{}", process.pid).as_bytes());
    }
    Ok(name)
}

/// A part that must not lead to another folder.
fn put_part(name: &mut Vec<u8>, part: &[u8]) {
    name.extend(part.iter().map(|&byte| if byte == b'/' { b'!' } else { byte }));
}
