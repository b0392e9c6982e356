//! Core files: the memory and the registers of a process that a signal ends (core(5), elf(5)).
//!
//! The thread that takes the signal ends the process as any other end would, and writes; the others leave their registers here and wait,
//! so that nobody changes what is written.

mod file;
mod memory;
mod name;
mod notes;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

use crate::process::{Ctx, Resource, Thread, exit_group, kill_process};
use crate::signal::{SigInfo, Signal};
use crate::trace;

pub use name::{USES_PID, pattern, set_pattern};

/// Where the threads of a process meet whose core is written.
#[derive(Debug, Default)]
pub struct Gathering {
    /// What all but the writer have left.
    registers: SpinLock<Vec<Registers>>,
    /// How many of them wait.
    waiting: AtomicUsize,
    over: AtomicBool,
    ended: WaitQueue,
}

/// A thread as it was.
#[derive(Debug)]
struct Registers {
    thread: Arc<Thread>,
    general: [u64; trace::GENERAL],
    /// As XSAVE lays it out; empty where there was no memory for it.
    floating: Vec<u8>,
}

impl Registers {
    fn of(ctx: &mut Ctx) -> Self {
        ctx.user.park();
        Self {
            thread: Arc::clone(&ctx.thread),
            general: trace::general_of(&ctx.user, ctx.call),
            floating: trace::floating_of(&mut ctx.user.fpu).unwrap_or_default(),
        }
    }
}

impl Gathering {
    /// Leaves the registers of a thread that ends, and waits until they are written.
    pub async fn take_part(&self, ctx: &mut Ctx) {
        let registers = Registers::of(ctx);
        {
            let mut all = self.registers.lock();
            // One for which there is no memory is missing in the file.
            if all.try_reserve(1).is_ok() {
                all.push(registers);
            }
        }
        self.waiting.fetch_add(1, Ordering::Release);
        ctx.thread.process().left.wake_all();
        self.ended.until(|| self.over.load(Ordering::Acquire).then_some(())).await;
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.ended.wake_all();
    }
}

/// Ends the process of `ctx` by `signal`, whose default it is to leave a core, and leaves one where that is wanted.
pub fn end_process<'a>(
    ctx: &'a mut Ctx,
    signal: Signal,
    info: &'a SigInfo,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(async move {
        let thread = Arc::clone(&ctx.thread);
        let process = thread.process();
        let limit = process.limits.lock().get(Resource::Core).soft;
        // Who may not be looked into leaves nothing to look at (`suid_dumpable` is 0).
        let wanted = limit >= PAGE_SIZE as u64 && process.dumpable.load(Ordering::Relaxed);
        let gathering = if wanted { process.begin_core(signal) } else { None };
        let Some(gathering) = gathering else { return kill_process(process, signal) };
        if let Some(status) = process.end_status() {
            exit_group(process, status);
        }
        // Threads leave the process, or wait here.
        let alone = || process.thread_count() <= gathering.waiting.load(Ordering::Acquire) + 1;
        process.left.until(|| alone().then_some(())).await;
        let own = Registers::of(ctx);
        let others = core::mem::take(&mut *gathering.registers.lock());
        if write(&thread, signal, info, own, others, limit).await.is_ok() {
            process.has_left_core(signal);
        }
        gathering.end();
    })
}

/// Writes the file. An error says that there is none; one that could not be finished is one.
async fn write(
    thread: &Arc<Thread>,
    signal: Signal,
    info: &SigInfo,
    own: Registers,
    others: Vec<Registers>,
    limit: u64,
) -> Result<(), Errno> {
    let process = thread.process();
    let memory = process.memory();
    let areas = memory.areas()?;
    let parts = memory::parts(&memory, &areas, process.core_filter.load(Ordering::Relaxed))?;
    let notes = notes::all(signal, info, &own, &others, &memory, &areas).await?;
    drop((own, others));
    let path = name::of(thread, signal)?;
    let mut file = file::CoreFile::create(thread, &path, limit).await?;
    // What there is no room for is missing.
    let _ = memory::write(&mut file, &memory, &parts, &notes).await;
    let _ = file.finish().await;
    Ok(())
}
