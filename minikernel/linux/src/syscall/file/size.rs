//! `RLIMIT_FSIZE`: how large a file may become by this process; see getrlimit(2).

use isopod_fs::file::{OpenFile, OpenFlags, Whence};
use isopod_fs::{Errno, FileType};

use crate::fail::Attempt;
use crate::process::{Resource, Thread};
use crate::signal::{SigInfo, Signal, send_to_thread};

fn limit(thread: &Thread) -> u64 {
    thread.process().limits.lock().get(Resource::FileSize).soft
}

/// `EFBIG`, and SIGXFSZ.
fn refuse(thread: &Thread) -> Errno {
    // Only a real-time signal is ever refused.
    let _ = send_to_thread(thread, Signal::XFSZ, SigInfo::kernel(Signal::XFSZ));
    Errno::EFBIG
}

/// `EFBIG` and SIGXFSZ for a size beyond the limit.
pub(super) fn check(thread: &Thread, size: u64) -> Result<(), Errno> {
    if size <= limit(thread) { Ok(()) } else { Err(refuse(thread)) }
}

/// True where the limit counts: for a regular file, if there is one.
pub(super) fn is_limited(thread: &Thread, file: &OpenFile) -> bool {
    file.kind() == FileType::Regular && limit(thread) != u64::MAX
}

/// How much of a write at `offset`, or at the file's position, the limit allows; `EFBIG` and SIGXFSZ if nothing.
pub(super) fn room(thread: &Thread, file: &OpenFile, offset: Option<u64>, wanted: usize) -> Attempt {
    if wanted == 0 || !is_limited(thread, file) {
        return Ok(wanted);
    }
    let start = match offset {
        _ if file.flags().contains(OpenFlags::APPEND) => file.inode().metadata()?.size,
        Some(offset) => offset,
        None => file.seek(0, Whence::Current)?,
    };
    match limit(thread).checked_sub(start) {
        None | Some(0) => Err(refuse(thread).into()),
        Some(room) => Ok(wanted.min(usize::try_from(room).unwrap_or(usize::MAX))),
    }
}
