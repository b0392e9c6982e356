//! Sets of semaphores: `semget(2)`, `semop(2)`, `semctl(2)`.
//!
//! Operations on several semaphores happen together or not at all. Who cannot go on stands in the set's queue; whoever changes the set does
//! the operations of those that now can, in the order in which they came, and hands them the outcome (`update_queue`).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use isopod_fs::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::registry::OBJECTS_MAX;
use super::{Object, Registry, now};
use crate::process::{Identity, Thread};
use crate::tunable::Tunable;
use crate::wait::{Handover, Until, Waited};

/// The highest value of a semaphore (`SEMVMX`), and what can be undone of it (`SEMAEM`).
pub const VALUE_MAX: i32 = 32_767;
/// `/proc/sys/kernel/sem`, the first number: how many semaphores a set can have.
pub static PER_SET: Tunable = Tunable::new(|| 32_000, 0, i32::MAX as u64);
/// The second number: how many semaphores there can be.
pub static TOTAL: Tunable = Tunable::new(|| 1_024_000_000, 0, i32::MAX as u64);
/// The third number: how many operations a call can make.
pub static OPERATIONS: Tunable = Tunable::new(|| 500, 0, i32::MAX as u64);
/// The fourth number: how many sets there can be.
pub static SETS_MAX: Tunable = Tunable::new(|| 32_000, 0, OBJECTS_MAX);

/// All sets.
pub static SETS: Registry<Set> = Registry::new(&SETS_MAX);

/// How many processes have something to undo in some set.
static UNDOS: AtomicUsize = AtomicUsize::new(0);

/// `struct sembuf`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Operation {
    index: u16,
    change: i16,
    flags: i16,
}

impl Operation {
    fn does(self, flag: i16) -> bool {
        self.flags & flag != 0
    }
}

/// `IPC_NOWAIT`
const NO_WAIT: i16 = 0o4000;
/// `SEM_UNDO`
const UNDO: i16 = 0x1000;

/// A semaphore.
#[derive(Debug, Clone, Copy, Default)]
pub struct Semaphore {
    /// Its value.
    pub value: i32,
    /// Who changed it last.
    pub pid: u32,
}

/// A set of semaphores.
#[derive(Debug)]
pub struct Set {
    /// The semaphores.
    pub semaphores: Vec<Semaphore>,
    /// When the last operation was, and the last change by `semctl(2)`.
    pub times: [i64; 2],
    queue: VecDeque<Arc<Waiter>>,
    /// What is given back at the end of each process, and whose it is.
    undo: Vec<(u32, Vec<i32>)>,
}

/// Somebody whose operations cannot be done yet.
#[derive(Debug)]
struct Waiter {
    operations: Vec<Operation>,
    pid: u32,
    /// The operation that it waits for.
    blocking: AtomicUsize,
    outcome: Handover<Result<(), Errno>>,
}

/// Why operations were not done.
enum Refused {
    /// Some value is not yet what the operation with this number needs.
    Blocked(usize),
    Failed(Errno),
}

/// semget(2)
pub fn get(caller: &Identity, key: i32, count: i32, flags: u32) -> Result<i32, Errno> {
    let count =
        usize::try_from(count).ok().filter(|&count| count as u64 <= PER_SET.get()).ok_or(Errno::EINVAL)?;
    let used = total()?;
    let big_enough = |set: &Set| if set.semaphores.len() < count { Err(Errno::EINVAL) } else { Ok(()) };
    let make = || {
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        if (used + count) as u64 > TOTAL.get() {
            return Err(Errno::ENOSPC);
        }
        let mut semaphores = Vec::new();
        semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        Ok(Set { semaphores, times: [0, now()], queue: VecDeque::new(), undo: Vec::new() })
    };
    SETS.get_or_make(caller, key, flags, &big_enough, &make)
}

/// How many semaphores there are.
pub fn total() -> Result<usize, Errno> {
    Ok(SETS.all()?.iter().map(|object| object.lock().body.semaphores.len()).sum())
}

/// semtimedop(2): does the operations, or begins to wait for that.
pub fn operate(thread: &Thread, id: i32, operations: Vec<Operation>) -> Result<Option<Waiting>, Errno> {
    let object = SETS.get(id)?;
    let waiter = begin(thread, &object, operations)?;
    Ok(waiter.map(|waiter| Waiting { object, waiter }))
}

/// The wait of somebody whose operations cannot be done yet.
#[derive(Debug)]
pub struct Waiting {
    object: Arc<Object<Set>>,
    waiter: Arc<Waiter>,
}

impl Waiting {
    /// Waits until `deadline`. `EAGAIN` once it has passed.
    pub async fn end(self, thread: Arc<Thread>, deadline: u64) -> Result<(), Errno> {
        let given = &self.waiter.outcome;
        let mut outcome = None;
        let waited = Until::new(&thread, deadline, &mut |context| {
            outcome = given.poll(context);
            outcome.is_some()
        })
        .await;
        let late = match waited {
            Waited::TimedOut => Errno::EAGAIN,
            Waited::Interrupted | Waited::Woken => Errno::EINTR,
        };
        // What was done meanwhile stays done.
        outcome.or_else(|| self.give_up()).unwrap_or(Err(late))
    }

    fn give_up(&self) -> Option<Result<(), Errno>> {
        self.object.lock().body.queue.retain(|other| !Arc::ptr_eq(other, &self.waiter));
        self.waiter.outcome.take()
    }
}

impl Drop for Waiting {
    /// Nobody does operations for one who has gone.
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Does the operations, or puts their maker into the queue.
fn begin(
    thread: &Thread,
    object: &Object<Set>,
    operations: Vec<Operation>,
) -> Result<Option<Arc<Waiter>>, Errno> {
    let pid = thread.process().pid;
    let mut state = object.get()?;
    let count = state.body.semaphores.len();
    if operations.iter().any(|operation| usize::from(operation.index) >= count) {
        return Err(Errno::EFBIG);
    }
    let alters = operations.iter().any(|operation| operation.change != 0);
    state.permission.check(&thread.identity(), if alters { super::WRITE } else { super::READ })?;
    let set = &mut state.body;
    if operations.iter().any(|operation| operation.does(UNDO)) {
        set.reserve_undo(pid)?;
    }
    match set.attempt(&operations, pid) {
        Ok(()) => {
            set.times[0] = now();
            if alters {
                set.serve();
            }
            Ok(None)
        }
        Err(Refused::Failed(errno)) => Err(errno),
        Err(Refused::Blocked(index)) if operations[index].does(NO_WAIT) => Err(Errno::EAGAIN),
        Err(Refused::Blocked(index)) => {
            set.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let blocking = AtomicUsize::new(index);
            let waiter = Arc::new(Waiter { operations, pid, blocking, outcome: Handover::default() });
            set.queue.push_back(Arc::clone(&waiter));
            Ok(Some(waiter))
        }
    }
}

impl Set {
    /// Does all operations for process `pid`, or none (`perform_atomic_semop`).
    fn attempt(&mut self, operations: &[Operation], pid: u32) -> Result<(), Refused> {
        let undo = self.undo.iter().position(|(owner, _)| *owner == pid);
        for (done, &operation) in operations.iter().enumerate() {
            if let Err(refused) = self.change(undo, operation, done) {
                for &earlier in operations[..done].iter().rev() {
                    self.take_back(undo, earlier);
                }
                return Err(refused);
            }
        }
        for operation in operations {
            self.semaphores[usize::from(operation.index)].pid = pid;
        }
        Ok(())
    }

    fn change(&mut self, undo: Option<usize>, operation: Operation, number: usize) -> Result<(), Refused> {
        let (index, change) = (usize::from(operation.index), i32::from(operation.change));
        let value = self.semaphores[index].value;
        let result = value + change;
        if change == 0 && value != 0 || result < 0 {
            return Err(Refused::Blocked(number));
        }
        if result > VALUE_MAX {
            return Err(Refused::Failed(Errno::ERANGE));
        }
        if let Some(undo) = undo.filter(|_| operation.does(UNDO)) {
            let back = &mut self.undo[undo].1[index];
            if !(-VALUE_MAX - 1..=VALUE_MAX).contains(&(*back - change)) {
                return Err(Refused::Failed(Errno::ERANGE));
            }
            *back -= change;
        }
        self.semaphores[index].value = result;
        Ok(())
    }

    fn take_back(&mut self, undo: Option<usize>, operation: Operation) {
        let (index, change) = (usize::from(operation.index), i32::from(operation.change));
        self.semaphores[index].value -= change;
        if let Some(undo) = undo.filter(|_| operation.does(UNDO)) {
            self.undo[undo].1[index] += change;
        }
    }

    /// Makes room for what process `pid` will have to undo.
    fn reserve_undo(&mut self, pid: u32) -> Result<(), Errno> {
        if self.undo.iter().any(|(owner, _)| *owner == pid) {
            return Ok(());
        }
        let mut back = Vec::new();
        back.try_reserve_exact(self.semaphores.len()).map_err(|_| Errno::ENOMEM)?;
        back.resize(self.semaphores.len(), 0);
        self.undo.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.undo.push((pid, back));
        UNDOS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Does what waiting operations can be done now. Those that wait for zero come before those that change something, as one of the latter
    /// could keep the former from ever seeing it.
    pub fn serve(&mut self) {
        while self.serve_one(false) || self.serve_one(true) {}
    }

    /// Ends the first wait that can end, of those that change something or of the others.
    fn serve_one(&mut self, altering: bool) -> bool {
        for place in 0..self.queue.len() {
            let waiter = Arc::clone(&self.queue[place]);
            if waiter.operations.iter().any(|operation| operation.change != 0) != altering {
                continue;
            }
            let outcome = match self.attempt(&waiter.operations, waiter.pid) {
                Ok(()) => {
                    self.times[0] = now();
                    Ok(())
                }
                Err(Refused::Failed(errno)) => Err(errno),
                Err(Refused::Blocked(index)) => {
                    waiter.blocking.store(index, Ordering::Relaxed);
                    let refuses = waiter.operations[index].does(NO_WAIT);
                    if !refuses {
                        continue;
                    }
                    Err(Errno::EAGAIN)
                }
            };
            self.queue.remove(place);
            waiter.outcome.give(outcome);
            return true;
        }
        false
    }

    /// How many wait for semaphore `index` to become zero, or to grow.
    pub fn waiting(&self, index: usize, for_zero: bool) -> usize {
        let waits = |waiter: &&Arc<Waiter>| {
            let operation = &waiter.operations[waiter.blocking.load(Ordering::Relaxed)];
            usize::from(operation.index) == index && (operation.change == 0) == for_zero
        };
        self.queue.iter().filter(waits).count()
    }

    /// `SETVAL`, for process `pid`: nobody undoes what came before.
    pub fn set(&mut self, index: usize, value: i32, pid: u32) {
        self.semaphores[index] = Semaphore { value, pid };
        for (_, back) in &mut self.undo {
            back[index] = 0;
        }
    }
}

/// `IPC_RMID`: who waits gets `EIDRM`.
pub fn remove(object: &Object<Set>) {
    let Some(gone) = SETS.remove_if(object.id, |_| true) else { return };
    let (queue, undo) = {
        let body = &mut gone.lock().body;
        (core::mem::take(&mut body.queue), core::mem::take(&mut body.undo))
    };
    UNDOS.fetch_sub(undo.len(), Ordering::Relaxed);
    for waiter in queue {
        waiter.outcome.give(Err(Errno::EIDRM));
    }
}

/// Whether process `pid` has something to undo.
pub fn has_undo(pid: u32) -> bool {
    let owns = |object: Arc<Object<Set>>| object.lock().body.undo.iter().any(|(owner, _)| *owner == pid);
    UNDOS.load(Ordering::Relaxed) > 0
        && (0..=SETS.extent().1).any(|index| SETS.at(index as i32).is_ok_and(owns))
}

/// Undoes at the end of process `pid` what it did with `SEM_UNDO` (`exit_sem`).
pub fn undo_all(pid: u32) {
    if UNDOS.load(Ordering::Relaxed) == 0 {
        return;
    }
    // Place by place, so that it needs no memory.
    for index in 0..=SETS.extent().1 {
        let Ok(object) = SETS.at(index as i32) else { continue };
        let mut state = object.lock();
        let set = &mut state.body;
        let Some(position) = set.undo.iter().position(|(owner, _)| *owner == pid) else { continue };
        let (_, back) = set.undo.swap_remove(position);
        UNDOS.fetch_sub(1, Ordering::Relaxed);
        for (semaphore, back) in set.semaphores.iter_mut().zip(back) {
            if back != 0 {
                *semaphore = Semaphore { value: (semaphore.value + back).clamp(0, VALUE_MAX), pid };
            }
        }
        set.times[0] = now();
        set.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Task};
    use core::task::Poll;

    fn operation(index: u16, change: i16, flags: i16) -> Operation {
        Operation { index, change, flags }
    }

    fn set(count: i32) -> i32 {
        testing::install_kernel();
        get(&Identity::first(0, 0, Vec::new()), super::super::PRIVATE, count, 0o600).unwrap()
    }

    fn values(id: i32) -> Vec<i32> {
        SETS.get(id).unwrap().lock().body.semaphores.iter().map(|semaphore| semaphore.value).collect()
    }

    fn now_done(thread: &Thread, id: i32, operations: &[Operation]) -> Result<(), Errno> {
        match operate(thread, id, operations.to_vec())? {
            None => Ok(()),
            Some(_) => Err(Errno::EAGAIN),
        }
    }

    fn waiting(thread: &Arc<Thread>, id: i32, change: i16) -> Task<'static, Result<(), Errno>> {
        let begun = operate(thread, id, alloc::vec![operation(0, change, 0)]).unwrap();
        Task::new(begun.unwrap().end(Arc::clone(thread), u64::MAX))
    }

    #[test]
    fn several_operations_happen_together_or_not_at_all() {
        let (thread, id) = (testing::thread(), set(2));
        now_done(&thread, id, &[operation(0, 1, 0)]).unwrap();
        let both = [operation(0, -1, 0), operation(1, -1, NO_WAIT)];
        assert_eq!(now_done(&thread, id, &both), Err(Errno::EAGAIN));
        assert_eq!(values(id), [1, 0]);
        let twice = [operation(0, VALUE_MAX as i16, UNDO), operation(0, 1, 0)];
        assert_eq!(now_done(&thread, id, &twice), Err(Errno::ERANGE));
        assert_eq!(now_done(&thread, id, &[operation(2, 1, 0)]), Err(Errno::EFBIG));
        remove(&SETS.get(id).unwrap());
    }

    #[test]
    fn waits_end_in_the_order_in_which_they_can() {
        let (thread, id) = (testing::thread(), set(1));
        let wait = |change| waiting(&thread, id, change);
        let (mut two, mut one, mut other) = (wait(-2), wait(-1), wait(-1));
        assert!([&mut two, &mut one, &mut other].into_iter().all(|task| task.poll().is_pending()));
        assert_eq!(SETS.get(id).unwrap().lock().body.waiting(0, false), 3);
        now_done(&thread, id, &[operation(0, 1, 0)]).unwrap();
        assert!(two.poll().is_pending() && other.poll().is_pending());
        assert_eq!(one.poll(), Poll::Ready(Ok(())));
        drop(other);
        remove(&SETS.get(id).unwrap());
        assert_eq!(two.poll(), Poll::Ready(Err(Errno::EIDRM)));
    }

    #[test]
    fn the_end_of_a_process_undoes_and_wakes() {
        let (first, second, id) = (testing::thread(), testing::thread(), set(1));
        now_done(&first, id, &[operation(0, 3, UNDO)]).unwrap();
        let mut zero = waiting(&second, id, 0);
        assert!(zero.poll().is_pending());
        undo_all(first.process().pid);
        assert_eq!((values(id), zero.poll()), (alloc::vec![0], Poll::Ready(Ok(()))));
        remove(&SETS.get(id).unwrap());
    }
}
