//! execve(2) itself: the way from a path to a running program.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs as fs;
use isopod_fs::Errno;
use isopod_fs::file::WriteDenied;
use isopod_hal::user::UserContext;

use super::image::{self, ElfFile};
use super::privilege::{self, Privilege};
use super::stack::{self, About, Strings};
use super::{elf, open_path, script, vdso};
use crate::mm::{AddressSpace, Layout};
use crate::process::{Ctx, Held, Resource, Thread, kill_process};
use crate::signal::{AlternateStack, Signal};
use crate::wait::retry;
use crate::{futex, kernel, trace};

/// How many interpreters may follow one another (`exec_binprm`: a script run by a script ... five times).
const MAX_INTERPRETERS: usize = 5;

/// The most stack of a program that must not trust its caller (`_STK_LIM`; execve(2), under "Effect on process attributes").
const SECURE_STACK: u64 = 8 << 20;

/// What to execute.
#[derive(Debug)]
pub struct Program {
    /// The open file.
    pub file: WriteDenied,
    /// Its path as the caller named it; what a script's interpreter gets to open.
    pub path: Vec<u8>,
    /// That path leads through a descriptor that is closed by then.
    pub closed: bool,
    /// The arguments, its own name first.
    pub arguments: Vec<Vec<u8>>,
    /// The environment.
    pub environment: Vec<Vec<u8>>,
}

/// `ADDR_NO_RANDOMIZE` of personality(2): everything lies where it always does.
pub const NO_RANDOMIZATION: u32 = 0x4_0000;
/// What a program with more rights than its caller's does not take over of that (`PER_CLEAR_ON_SETID`): what makes it easier to attack.
const CLEARED_PERSONALITY: u32 = NO_RANDOMIZATION | crate::mm::READ_IMPLIES_EXEC | 0x20_0000 | 0x10_0000;

/// Everything that is needed to go on as the new program.
struct Prepared {
    memory: Arc<AddressSpace>,
    user: UserContext,
    privilege: Privilege,
    personality: u32,
    executable: WriteDenied,
    name: Vec<u8>,
}

/// execve(2): makes the calling thread run `program`. On success the registers are the new program's.
pub async fn execute(ctx: &mut Ctx, program: Program) -> Result<(), Errno> {
    let held = Held::wait(&ctx.thread).await?;
    let prepared = prepare(&ctx.thread, program).await?;
    let before = ctx.thread.tid();
    end_other_threads(&ctx.thread).await?;
    // What the other threads have opened and closed until now counts. There is no way back any more.
    let files = match ctx.thread.files().duplicate() {
        Ok(files) => Arc::new(files),
        Err(errno) => {
            kill_process(ctx.thread.process(), Signal::KILL);
            return Err(errno);
        }
    };
    let thread = Arc::clone(&ctx.thread);
    let process = thread.process();
    futex::release_robust(&thread, &ctx.memory).await;
    futex::release_claimed(&thread);
    let waits_for_end = thread.clear_child_tid.swap(0, Ordering::Relaxed);
    if waits_for_end != 0 && ctx.memory.is_shared() {
        futex::clear_and_wake(&ctx.memory, waits_for_end).await;
    }
    // Whoever could look into the old program cannot look into the new one for that.
    let Privilege { identity, secure, dumpable } = prepared.privilege;
    let dumpable = dumpable && !identity.changes_sides(&thread.identity());
    process.dumpable.store(false, Ordering::Relaxed);
    thread.set_identity(identity);
    ctx.memory = Arc::clone(&prepared.memory);
    prepared.memory.activate();
    let old_memory = process.replace_memory(prepared.memory);
    process.has_executed.store(true, Ordering::Relaxed);
    // Whatever signal clone(2) was given, the parent of another program gets SIGCHLD.
    process.exit_signal.lock().replace(Signal::CHLD);
    ctx.user = prepared.user;
    let old = process.executable.lock().replace(prepared.executable);
    drop(old);
    thread.set_name(&prepared.name);
    thread.personality.store(prepared.personality, Ordering::Relaxed);
    if secure {
        thread.parent_death_signal.store(0, Ordering::Relaxed);
        process.limits.lock().lower_soft(Resource::Stack, SECURE_STACK);
    }
    thread.robust_list.store(0, Ordering::Relaxed);
    thread.rseq.register((0, 0, 0));
    *thread.breakpoints.lock() = trace::Breakpoints::default();
    // What was shared with others is this process's own from now on.
    let actions = Arc::new(thread.actions.lock().duplicate());
    actions.reset_handlers();
    *thread.actions.lock() = actions;
    let old = core::mem::replace(&mut *thread.files.lock(), Arc::clone(&files));
    drop(old);
    let mut from = 0;
    while let Some((number, file)) = files.take_where(from..=usize::MAX, |entry| entry.close_on_exec) {
        from = number;
        file.closed_by(process.pid);
    }
    thread.signals.lock().stack = AlternateStack::default();
    process.timers.forget_posix();
    process.dumpable.store(dumpable, Ordering::Relaxed);
    drop(held);
    old_memory.release().await;
    if thread.trace.is_traced() {
        trace::executed(ctx, before).await;
    }
    Ok(())
}

/// Loads `program` to no end but to see where it would begin.
#[cfg(fuzzing)]
pub async fn entry(thread: &Arc<Thread>, program: Program) -> Result<u64, Errno> {
    prepare(thread, program).await.map(|prepared| prepared.user.regs.rip)
}

/// Builds the new address space. Nothing of the caller changes.
async fn prepare(thread: &Arc<Thread>, program: Program) -> Result<Prepared, Errno> {
    let Program { mut file, path, closed, mut arguments, environment } = program;
    let name = base_name(&path).to_vec();
    let mut start = retry(|| image::read(file.inode(), 0, script::LINE_MAX)).await?;
    let mut script_path = path.clone();
    let mut depth = 0;
    while let Some(found) = script::parse(&start) {
        let interpreter = found?;
        if closed {
            return Err(Errno::ENOENT);
        }
        depth += 1;
        if depth > MAX_INTERPRETERS {
            return Err(Errno::ELOOP);
        }
        (file, start) = retry(|| open_program(thread, &interpreter.path)).await?;
        let mut list = Vec::new();
        list.try_reserve_exact(arguments.len() + 2).map_err(|_| Errno::ENOMEM)?;
        list.push(interpreter.path.clone());
        list.extend(interpreter.argument);
        list.push(core::mem::replace(&mut script_path, interpreter.path));
        list.extend(arguments.into_iter().skip(1));
        arguments = list;
    }
    let (elf, interpreter, privilege) = retry(|| {
        let elf = ElfFile::parse(&file, &start)?;
        let interpreter = elf.interpreter()?.map(|path| open_interpreter(thread, &path)).transpose()?;
        let privilege = privilege::of(thread, &file, interpreter.as_ref().map(|elf| &***elf.file()))?;
        Ok((elf, interpreter, privilege))
    })
    .await?;
    drop(file);
    let limits = thread.process().limits.lock().clone();
    let stack_limit = limits.get(Resource::Stack).soft;
    let mut personality = thread.personality.load(Ordering::Relaxed);
    if privilege.secure {
        personality &= !CLEARED_PERSONALITY;
    }
    let mut draw = || if personality & NO_RANDOMIZATION == 0 { kernel::random_u64() } else { 0 };
    let layout = Layout::random(&mut draw, stack_limit);
    let memory = Arc::new(AddressSpace::new(layout, limits.of_memory()).map_err(|_| Errno::ENOMEM)?);
    // A program with an interpreter has a place of its own; a static one goes where its interpreter would.
    let base = interpreter.as_ref().map(|_| layout.program_base);
    let loaded = elf.load(&memory, base).await?;
    let loaded_interpreter = match &interpreter {
        Some(interpreter) => Some(interpreter.load(&memory, None).await?),
        None => None,
    };
    memory.set_brk_start(loaded.end.checked_add(layout.brk_offset).ok_or(Errno::ENOMEM)?);
    let mut random = [0; 16];
    kernel::fill_random(&mut random);
    let about = About {
        program: loaded,
        interpreter: loaded_interpreter,
        vdso: vdso::map(&memory)?,
        identity: &privilege.identity,
        secure: privilege.secure,
        random,
    };
    let strings = Strings { arguments: &arguments, environment: &environment, path: &path };
    let pointer = stack::build(&memory, &strings, &about, elf.executable_stack()).await?;
    let entry = loaded_interpreter.unwrap_or(loaded).entry;
    let user = UserContext::new(entry as u64, pointer as u64).map_err(|_| Errno::ENOMEM)?;
    Ok(Prepared { memory, user, privilege, personality, executable: elf.into_file(), name })
}

/// Opens the program at `path`, and reads its beginning.
fn open_program(thread: &Arc<Thread>, path: &[u8]) -> fs::Result<(WriteDenied, Vec<u8>)> {
    let file = open_path(thread, path)?;
    let start = image::read(file.inode(), 0, script::LINE_MAX)?;
    Ok((file, start))
}

/// The ELF interpreter of a program. A file that is no ELF file is `ELIBBAD`, one that is too short for any `EIO`.
fn open_interpreter(thread: &Arc<Thread>, path: &[u8]) -> fs::Result<ElfFile> {
    let (file, start) = open_program(thread, path)?;
    if start.len() < elf::HEADER_SIZE {
        return Err(Errno::EIO.into());
    }
    ElfFile::parse(&file, &start).map_err(|error| match error {
        fs::Error::Errno(Errno::ENOEXEC) => Errno::ELIBBAD.into(),
        other => other,
    })
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Makes the calling thread the only one of its process, and its leader (`de_thread`). `EAGAIN` when the process ends or another thread has
/// begun this before; then this one ends with the others.
async fn end_other_threads(thread: &Arc<Thread>) -> Result<(), Errno> {
    let process = thread.process();
    process.begin_exec(thread)?;
    let alone = process.left.until(|| (process.thread_count() == 1 || thread.must_end()).then_some(()));
    alone.await;
    if thread.must_end() {
        return Err(Errno::EAGAIN);
    }
    process.take_leadership(thread);
    Ok(())
}
