//! When memory runs out (design, decision 10).

use isopod_hal::{OutOfMemory, PAGE_SIZE, heap, memory_stats};

use crate::process::{Ctx, kill_process};
use crate::report;
use crate::signal::Signal;

/// Calls that a program must be able to make to end, and that need no memory: `close`, `rt_sigreturn`, `exit`, `exit_group`.
const ALWAYS: [u64; 4] = [3, 15, 60, 231];
/// Calls that give memory back, but may first split an area: `munmap`, `madvise`. They may use half of the reserve.
const GIVING: [u64; 2] = [11, 28];

/// Called before each system call: false when the heap's reserve is used up and cannot be filled again, so that the call must
/// fail with `ENOMEM` rather than fail in the middle. A thread that is about to end may always go on.
pub fn may_proceed(ctx: &Ctx, number: u64) -> bool {
    if !heap::reserve_low() || ctx.thread.must_end() || ALWAYS.contains(&number) {
        return true;
    }
    let memory = memory_stats();
    if GIVING.contains(&number) && memory.free_frames > memory.reserve_frames / 2 {
        return true;
    }
    reclaim() || heap::refill_reserve()
}

/// A page fault found no memory: pages are won back, or the process ends with a reason on the console and status 137.
pub fn out_of_memory(ctx: &Ctx) {
    if reclaim() {
        return;
    }
    // With one process, it is the largest.
    report::out_of_memory(ctx);
    kill_process(ctx.thread.process(), Signal::KILL);
}

/// Fails unless `bytes` of small kernel objects, whose number a program decides, can be had without the reserve.
pub fn afford(bytes: usize) -> Result<(), OutOfMemory> {
    let memory = memory_stats();
    let wanted = memory.reserve_frames + bytes.div_ceil(PAGE_SIZE);
    if memory.free_frames >= wanted { Ok(()) } else { Err(OutOfMemory) }
}

/// Wins back memory from caches. True when there was something.
pub fn reclaim() -> bool {
    const BATCH: usize = 256;
    crate::kernel::shrink(BATCH) > 0
}
