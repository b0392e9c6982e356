//! The life of a thread: user code, and what interrupts it.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::paging::Access;
use isopod_hal::user::{self, Trap, UserContext};
use isopod_hal::{clock, irq};

use super::{Thread, current, exit, first, load, pids};
use crate::exec::{self, Program};
use crate::fail::{Restart, Stop};
use crate::memory_pressure::Shortage;
use crate::mm::{AddressSpace, FaultError, FaultKind, UserPtr};
use crate::signal::{self, Fault, SigInfo, SigSet, Signal};
use crate::{kernel, sched, syscall, trace};

/// What a system call acts on: the thread that makes it, its memory and its registers.
#[derive(Debug)]
pub struct Ctx {
    /// The thread.
    pub thread: Arc<Thread>,
    /// Its address space; execve replaces it.
    pub memory: Arc<AddressSpace>,
    /// Its registers, as user code left them.
    pub user: UserContext,
    /// Set by a call that a signal interrupted, until the signal has been dealt with.
    pub restart: Option<Restart>,
    /// Until when the call that is made again waits, if it does; see [`Thread::resume_until`].
    pub resume_until: Option<u64>,
    /// What has stopped the call when it was tried at once.
    pub stopped: Option<Stop>,
    /// How far the call has come that was stopped and is made again.
    pub unfinished: Option<syscall::Unfinished>,
    /// The number of the system call that is being made, for `restart` and tracers; [`NO_CALL`](Self::NO_CALL) after anything else.
    pub call: u64,
    /// Its filters have let the call pass that is being made.
    pub passed: bool,
    /// The bytes that a read or write has moved when it was tried at once, where there are more.
    pub moved: usize,
    /// The fault whose signal is about to be delivered, for the frame.
    pub last_fault: Option<Fault>,
    /// The signal of a fault after which the program cannot go on.
    pub fatal: Option<Box<(Signal, SigInfo)>>,
    /// The argument of the thread's own `exit(2)`.
    pub exit_code: u8,
}

impl Ctx {
    /// No system call.
    pub const NO_CALL: u64 = u64::MAX;

    pub(crate) fn new(thread: &Arc<Thread>, user: UserContext) -> Self {
        Self {
            thread: Arc::clone(thread),
            memory: thread.process().memory(),
            user,
            restart: None,
            resume_until: None,
            stopped: None,
            unfinished: None,
            call: Self::NO_CALL,
            passed: false,
            moved: 0,
            last_fault: None,
            fatal: None,
            exit_code: 0,
        }
    }

    /// Blocks `mask` instead of what is blocked, until the call has ended and its signals have been dealt with (`sigsuspend(2)`, `ppoll(2)`).
    pub fn replace_mask(&self, mask: SigSet) {
        let before = self.thread.set_mask(mask);
        self.thread.signals.lock().saved_mask = Some(before);
        // The old one must be put back, whether or not a signal comes.
        self.thread.set_work();
    }
}

impl Thread {
    /// Takes back [`Ctx::replace_mask`] if no handler took the mask over.
    pub fn restore_mask(&self) {
        let saved = self.signals.lock().saved_mask.take();
        if let Some(mask) = saved {
            self.set_mask(mask);
        }
    }
}

/// Starts a thread that clone(2) has made. It writes its own id to `set_tid` in its memory, if that is wanted and can be done.
pub(super) fn start_child(thread: &Arc<Thread>, user: UserContext, set_tid: Option<UserPtr<u32>>) {
    let ctx = Ctx::new(thread, user);
    spawn(thread, async move {
        if let Some(place) = set_tid {
            let _ = ctx.memory.write(place, &ctx.thread.tid()).await;
        }
        live(ctx).await;
    });
}

/// Starts a thread that first loads `program`. If that cannot be, it ends with the status a shell would give, and says why in the log. One that is
/// debugged lies where it always does, and the debugger is told before it begins.
pub(super) fn start_program(thread: &Arc<Thread>, program: Program, debugged: bool) {
    if debugged {
        thread.personality.store(exec::NO_RANDOMIZATION, Ordering::Relaxed);
    }
    let life = begin(Arc::clone(thread), program, debugged);
    pids::register(thread);
    spawn(thread, life);
}

async fn begin(thread: Arc<Thread>, program: Program, debugged: bool) {
    let path = program.path.clone();
    let outcome = match UserContext::new(0, 0) {
        Ok(user) => {
            let mut ctx = Ctx::new(&thread, user);
            exec::execute(&mut ctx, program).await.map(|()| ctx)
        }
        Err(_) => Err(Errno::ENOMEM),
    };
    match outcome {
        Ok(ctx) => {
            if debugged {
                meet_debugger(&ctx).await;
            }
            live(ctx).await;
        }
        Err(errno) => exit::finish(thread, first::report_unloadable(&path, errno)).await,
    }
}

/// Tells the machine's debugger where the program begins. Its code is in memory then: a debugger cannot read or change what is not.
async fn meet_debugger(ctx: &Ctx) {
    let areas = ctx.memory.areas().unwrap_or_default();
    for area in areas.iter().filter(|area| area.access.contains(Access::EXEC)) {
        // A page that cannot be had is missed when it is used.
        let _ = ctx.memory.fault_in(area.range(), FaultKind::Execute).await;
    }
    user::isopod_program_begins(ctx.user.regs.rip, ctx.memory.start().entry());
}

/// Starts a thread, known by its id, whose life is `life`.
pub(super) fn spawn(thread: &Arc<Thread>, life: impl Future<Output = ()> + Send + 'static) {
    let task = sched::task(in_space(Arc::clone(thread), life));
    if let Some(creator) = current() {
        task.set_affinity(creator.affinity());
    }
    // Before it begins: whoever calls it then finds it.
    thread.set_task(task.clone());
    task.call();
}

/// Runs a thread's life in its process's address space, and counts the CPU time it takes.
async fn in_space(thread: Arc<Thread>, life: impl Future<Output = ()>) {
    let mut life = pin!(life);
    poll_fn(|context| {
        let _entered = current::enter(&thread);
        if thread.rseq.given_cpu() {
            thread.set_work();
        }
        thread.process().memory.lock().activate();
        let outcome = life.as_mut().poll(context);
        user::release();
        outcome
    })
    .await;
}

async fn live(mut ctx: Ctx) {
    while signal::attend(&mut ctx).await {
        if let Some(trap) = run(&mut ctx) {
            serve(&mut ctx, trap).await;
        }
    }
    if let Some(gathering) = ctx.thread.process().gathering() {
        gathering.take_part(&mut ctx).await;
    }
    if ctx.thread.trace.is_traced() {
        trace::exiting(&mut ctx).await;
    }
    let (thread, exit_code) = (Arc::clone(&ctx.thread), ctx.exit_code);
    // Its hold on the memory too: that is gone before anybody learns that the process is.
    drop(ctx);
    exit::finish(thread, exit_code).await;
}

/// Runs user code, and makes the calls that need not wait, until there is something else to do: for the trap that it returns, if any.
fn run(ctx: &mut Ctx) -> Option<Trap> {
    loop {
        sched::before_user();
        let begin = clock::rough_tsc();
        let trap = ctx.user.run();
        ctx.thread.add_user_ticks(clock::rough_tsc().saturating_sub(begin));
        if trap != Trap::Syscall || !syscall::make_at_once(ctx) {
            return Some(trap);
        }
        if ctx.thread.has_work() {
            return None;
        }
    }
}

/// Does what user code left for.
async fn serve(ctx: &mut Ctx, trap: Trap) {
    if trap == Trap::Syscall {
        if kernel::tracing() {
            return syscall::print::traced(ctx).await;
        }
        return syscall::handle(ctx).await;
    }
    ctx.call = Ctx::NO_CALL;
    ctx.thread.rseq.left();
    match trap {
        Trap::Syscall => {}
        Trap::PageFault { address, write, exec, .. } => {
            let kind = match (write, exec) {
                (true, _) => FaultKind::Write,
                (_, true) => FaultKind::Execute,
                _ => FaultKind::Read,
            };
            page_fault(ctx, address, kind).await;
        }
        Trap::Exception { vector: 1, error } => trace::debug_exception(ctx, error),
        Trap::Exception { vector, error } => signal::raise_fault(ctx, Fault::from_exception(vector, error)),
        Trap::Interrupt(vector) => {
            irq::dispatch(vector);
            if sched::is_due() {
                ctx.thread.note_preemption();
                load::note_end_of_slice();
                sched::yield_now().await;
            }
        }
    }
    if ctx.thread.rseq.goes_on() {
        ctx.thread.set_work();
    }
}

async fn page_fault(ctx: &mut Ctx, address: usize, kind: FaultKind) {
    let mut shortage = Shortage::default();
    loop {
        match ctx.memory.fault(address, kind) {
            Ok(()) => return,
            Err(FaultError::Wait(wait)) => wait.await,
            Err(FaultError::NotMapped) => {
                return signal::raise_fault(ctx, Fault::NotMapped { address, kind });
            }
            Err(FaultError::NotAllowed) => {
                return signal::raise_fault(ctx, Fault::NotAllowed { address, kind });
            }
            Err(FaultError::NoContent) => return signal::raise_fault(ctx, Fault::NoContent { address }),
            Err(FaultError::Memory) => {
                if !shortage.wait().await {
                    return;
                }
            }
        }
    }
}
