//! membarrier(2)

use isopod_fs::Errno;
use isopod_hal::cpu;

use crate::fail::SysResult;
use crate::process::Ctx;

const QUERY: i32 = 0;
const GLOBAL: i32 = 1;
const GLOBAL_EXPEDITED: i32 = 2;
const REGISTER_GLOBAL_EXPEDITED: i32 = 4;
const PRIVATE_EXPEDITED: i32 = 8;
const REGISTER_PRIVATE_EXPEDITED: i32 = 16;
const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 32;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 64;
const PRIVATE_EXPEDITED_RSEQ: i32 = 128;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: i32 = 256;
const GET_REGISTRATIONS: i32 = 512;
/// All of them.
const SUPPORTED: i32 = 1023;
/// The barrier is for one CPU.
const FLAG_CPU: u32 = 1;

/// membarrier(2). All commands do what the strongest one does: every CPU on which user code runs leaves it once.
pub fn membarrier(ctx: &mut Ctx, command: i32, flags: u32, _cpu: i32) -> SysResult {
    // Where one CPU would do, all do it.
    if flags != 0 && (command != PRIVATE_EXPEDITED_RSEQ || flags != FLAG_CPU) {
        return Err(Errno::EINVAL.into());
    }
    let registered = ctx.memory.barriers();
    match command {
        QUERY => return Ok(SUPPORTED as usize),
        GET_REGISTRATIONS => return Ok(registered as usize),
        GLOBAL | GLOBAL_EXPEDITED => {}
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | REGISTER_PRIVATE_EXPEDITED_RSEQ => {
            ctx.memory.register_barriers(command.cast_unsigned());
            return Ok(0);
        }
        // Each is the bit before that of its registration.
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE | PRIVATE_EXPEDITED_RSEQ => {
            if registered & command.cast_unsigned() << 1 == 0 {
                return Err(Errno::EPERM.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    if command == PRIVATE_EXPEDITED_RSEQ {
        for thread in ctx.thread.process().threads() {
            // When it goes on with user code, which all leave now.
            thread.rseq.begin_again();
            thread.set_work();
        }
    }
    cpu::synchronize();
    Ok(0)
}
