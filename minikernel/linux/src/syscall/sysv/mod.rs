//! System V IPC.

pub(super) mod messages;
pub(super) mod semaphores;
pub(super) mod shared_memory;

use alloc::sync::Arc;

use isopod_fs::Errno;

use crate::ipc::sysv::{Object, READ, Registry};
use crate::process::Ctx;

const IPC_RMID: i32 = 0;
const IPC_SET: i32 = 1;
const IPC_STAT: i32 = 2;
const IPC_INFO: i32 = 3;

/// How a command finds its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// By number (`IPC_STAT`).
    Number,
    /// By its place in the table; the number is the result (`SHM_STAT`).
    Place,
    /// The same, whatever the object's mode (`SHM_STAT_ANY`).
    PlaceUnchecked,
}

/// The object that a command tells of, and what the call returns.
fn object<T>(ctx: &Ctx, registry: &Registry<T>, id: i32, by: By) -> Result<(Arc<Object<T>>, usize), Errno> {
    let object = if by == By::Number { registry.get(id)? } else { registry.at(id)? };
    if by != By::PlaceUnchecked {
        object.lock().permission.check(&ctx.thread.identity(), READ)?;
    }
    let result = if by == By::Number { 0 } else { object.id as usize };
    Ok((object, result))
}
