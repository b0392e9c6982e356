//! poll(2), ppoll(2), select(2), pselect6(2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::file::Ready;
use isopod_hal::clock;
use isopod_hal::uaccess::Fault;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::signals::check_size;
use crate::fail::{Attempt, Fail, Rest, Stop, SysResult};
use crate::mm::{AddressSpace, UserPtr};
use crate::poll::bitmap::{self, DescriptorSet, Sets};
use crate::poll::{FOREVER, Files, NEVER, wait_for_any};
use crate::process::{Ctx, FileTable, Resource, Thread};
use crate::signal::SigSet;
use crate::time::{Timespec, Timeval};

/// `POLLNVAL`: not open.
const INVALID: u16 = 0x20;

/// `struct pollfd`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}

/// Milliseconds as poll and epoll take them, as a deadline; a negative number is for ever.
pub(super) fn deadline_in_ms(timeout: i32) -> u64 {
    match u64::try_from(timeout) {
        Err(_) => FOREVER,
        Ok(0) => NEVER,
        Ok(ms) => clock::monotonic_ns() + ms * 1_000_000,
    }
}

/// A duration as a deadline; none is for ever.
pub(super) fn deadline_in(timeout: Option<Timespec>) -> Result<u64, Errno> {
    Ok(match timeout.map(Timespec::to_ns).transpose()? {
        None => FOREVER,
        Some(0) => NEVER,
        Some(ns) => clock::monotonic_ns().saturating_add(ns),
    })
}

/// Reads the mask of a wait, if there is one.
pub(super) fn get_mask(mask: UserPtr<u64>, size: usize) -> Attempt<Option<SigSet>> {
    if !mask.is_null() {
        check_size(size)?;
    }
    Ok(mask.get_optional()?.map(SigSet::from_bits))
}

/// What a call asks of files: which of them are ready.
trait Watch: Send {
    /// Looks at the files; how many count.
    fn look(&mut self, files: &Files) -> usize;

    /// Tells the program what was seen. It can be told twice.
    fn put(&self) -> Result<(), Fault>;

    /// Whether it is told also when a signal has ended the wait.
    fn tells_always(&self) -> bool;
}

/// How a call waits.
struct Patience {
    deadline: u64,
    /// What is blocked meanwhile instead of what is blocked.
    mask: Option<SigSet>,
    /// Where the program is told how much of its time is left. If it is not, a call that is made again waits until the same point of time.
    left: Option<Left>,
}

/// The place of what is left of a time-out, in which it is told.
#[derive(Clone, Copy)]
enum Left {
    Timespec(UserPtr<Timespec>),
    Timeval(UserPtr<Timeval>),
}

impl Patience {
    /// What is left, and where that is told, if it is.
    fn left(&self) -> Option<(UserPtr<[i64; 2]>, [i64; 2])> {
        if self.deadline == FOREVER || self.deadline == NEVER {
            return None;
        }
        let Timespec { seconds, nanoseconds } =
            Timespec::from_ns(self.deadline.saturating_sub(clock::monotonic_ns()));
        Some(match self.left? {
            Left::Timespec(place) => (place.cast(), [seconds, nanoseconds]),
            Left::Timeval(place) => (place.cast(), [seconds, nanoseconds / 1000]),
        })
    }
}

/// Looks at the files until there is something to tell.
fn watch(ctx: &mut Ctx, files: Files, mut what: impl Watch + 'static, patience: Patience) -> Attempt {
    let count = what.look(&files);
    // Also who does not wait meets the signals that its mask lets in.
    let waits = count == 0 && (patience.deadline != NEVER || patience.mask.is_some());
    if !waits && what.put().is_ok() && patience.left().is_none_or(|(place, left)| place.put(&left).is_ok()) {
        return Ok(count);
    }
    if waits && let Some(mask) = patience.mask {
        ctx.replace_mask(mask);
    }
    let (thread, memory) = (Arc::clone(&ctx.thread), Arc::clone(&ctx.memory));
    let found = (!waits).then_some(count);
    Err(Stop::Rest(Rest::new(finish(thread, memory, files, Box::new(what), patience, found))))
}

/// The wait, if nothing has been found, and what follows. The mask goes back unless a signal ended it, and the program is told what is left of
/// its time-out. If it cannot be told, the call cannot be made again (`poll_select_finish()` of Linux).
async fn finish(
    thread: Arc<Thread>,
    memory: Arc<AddressSpace>,
    files: Files,
    mut what: Box<dyn Watch>,
    patience: Patience,
    found: Option<usize>,
) -> SysResult {
    let mut outcome = match found {
        Some(count) => Ok(count),
        None => wait_for_any(&thread, &files, patience.deadline, &mut || what.look(&files)).await,
    };
    let interrupted = outcome.is_err_and(Fail::is_restart);
    while outcome.is_ok() || interrupted && what.tells_always() {
        let Err(fault) = what.put() else { break };
        if let Err(errno) = memory.resolve(fault).await {
            outcome = Err(errno.into());
            break;
        }
    }
    let interrupted = outcome.is_err_and(Fail::is_restart);
    if !interrupted {
        thread.restore_mask();
    }
    if let Some((place, left)) = patience.left()
        && memory.write(place, &left).await.is_err()
        && interrupted
    {
        return Err(Errno::EINTR.into());
    }
    match patience.left {
        None if interrupted => Err(thread.resume_at(patience.deadline)),
        _ => outcome,
    }
}

/// What poll(2) asks.
struct Polled {
    fds: UserPtr<PollFd>,
    entries: Vec<PollFd>,
}

impl Watch for Polled {
    fn look(&mut self, files: &Files) -> usize {
        let mut count = 0;
        for (entry, file) in self.entries.iter_mut().zip(files) {
            entry.revents = match file {
                Some(file) => {
                    let asked = Ready::from_bits_truncate(entry.events.into());
                    (file.ready() & (asked | Ready::ERROR | Ready::HANG_UP)).bits() as u16
                }
                None if entry.fd < 0 => 0,
                None => INVALID,
            };
            count += usize::from(entry.revents != 0);
        }
        count
    }

    fn put(&self) -> Result<(), Fault> {
        for (index, entry) in self.entries.iter().enumerate() {
            let revents = self.fds.element(index).address() + core::mem::offset_of!(PollFd, revents);
            UserPtr::new(revents).put(&entry.revents)?;
        }
        Ok(())
    }

    fn tells_always(&self) -> bool {
        true
    }
}

/// poll(2)
pub fn poll(ctx: &mut Ctx, fds: UserPtr<PollFd>, count: usize, timeout: i32) -> Attempt {
    let polled = polled(ctx, fds, count)?;
    let deadline = ctx.resume_until.take().unwrap_or_else(|| deadline_in_ms(timeout));
    watch_polled(ctx, polled, Patience { deadline, mask: None, left: None })
}

/// ppoll(2)
pub fn ppoll(
    ctx: &mut Ctx,
    fds: UserPtr<PollFd>,
    count: usize,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> Attempt {
    let deadline = deadline_in(timeout.get_optional()?)?;
    let mask = get_mask(mask, size)?;
    let polled = polled(ctx, fds, count)?;
    watch_polled(ctx, polled, Patience { deadline, mask, left: Some(Left::Timespec(timeout)) })
}

fn polled(ctx: &Ctx, fds: UserPtr<PollFd>, count: usize) -> Attempt<Polled> {
    let limit = ctx.thread.process().limits.lock().get(Resource::OpenFiles).soft;
    if count as u64 > limit {
        return Err(Errno::EINVAL.into());
    }
    Ok(Polled { fds, entries: fds.get_array(count)? })
}

fn watch_polled(ctx: &mut Ctx, polled: Polled, patience: Patience) -> Attempt {
    let files = watched(&ctx.thread.files(), polled.entries.iter().map(|entry| entry.fd))?;
    watch(ctx, files, polled, patience)
}

/// The files behind as many descriptors as a program says, but for those that only name a place.
fn watched(table: &FileTable, descriptors: impl ExactSizeIterator<Item = i32>) -> Result<Files, Errno> {
    let mut watched = Vec::new();
    watched.try_reserve_exact(descriptors.len()).map_err(|_| Errno::ENOMEM)?;
    table.get_each(descriptors, &mut watched);
    Ok(watched)
}

/// What select(2) asks.
struct Selected {
    pointers: [UserPtr<u64>; 3],
    sets: Sets,
    descriptors: Vec<i32>,
    found: Sets,
}

impl Watch for Selected {
    fn look(&mut self, files: &Files) -> usize {
        let ready = files.iter().flatten().map(|file| file.ready());
        bitmap::ready(&self.sets, self.descriptors.iter().copied().zip(ready), &mut self.found)
    }

    fn put(&self) -> Result<(), Fault> {
        for (set, pointer) in self.found.iter().zip(self.pointers) {
            if let Some(set) = set {
                pointer.cast::<u8>().put_bytes(set.as_words().as_bytes())?;
            }
        }
        Ok(())
    }

    fn tells_always(&self) -> bool {
        false
    }
}

/// select(2)
pub fn select(
    ctx: &mut Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timeval>,
) -> Attempt {
    let duration = match timeout.get_optional()? {
        // More than a million microseconds are taken for what they are.
        Some(Timeval { seconds, microseconds }) => {
            let seconds = seconds.checked_add(microseconds / 1_000_000).ok_or(Errno::EINVAL)?;
            Some(Timespec { seconds, nanoseconds: microseconds % 1_000_000 * 1000 })
        }
        None => None,
    };
    let deadline = deadline_in(duration)?;
    let patience = Patience { deadline, mask: None, left: Some(Left::Timeval(timeout)) };
    watch_selected(ctx, count, [read, write, except], patience)
}

/// pselect6(2). The last argument points to a mask's address and its size.
pub fn pselect6(
    ctx: &mut Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Attempt {
    let [mask, size] = mask.get_optional()?.unwrap_or_default();
    let deadline = deadline_in(timeout.get_optional()?)?;
    let mask = get_mask(UserPtr::new(mask as usize), size as usize)?;
    let patience = Patience { deadline, mask, left: Some(Left::Timespec(timeout)) };
    watch_selected(ctx, count, [read, write, except], patience)
}

fn watch_selected(ctx: &mut Ctx, count: i32, pointers: [UserPtr<u64>; 3], patience: Patience) -> Attempt {
    let table = ctx.thread.files();
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?.min(table_size(&table));
    let mut sets: Sets = [None, None, None];
    for (set, pointer) in sets.iter_mut().zip(pointers) {
        if let Some(pointer) = pointer.non_null() {
            let words = pointer.get_array(DescriptorSet::words(count))?;
            *set = Some(DescriptorSet::new(words, count));
        }
    }
    let descriptors = bitmap::all(&sets)?;
    let files = watched(&table, descriptors.iter().copied())?;
    if files.iter().any(Option::is_none) {
        return Err(Errno::EBADF.into());
    }
    let mut found: Sets = [None, None, None];
    for (found, set) in found.iter_mut().zip(&sets) {
        *found = set.as_ref().map(DescriptorSet::cleared).transpose()?;
    }
    watch(ctx, files, Selected { pointers, sets, descriptors, found }, patience)
}

/// How many descriptors Linux's table would have room for: those beyond are not looked at, whatever the program says.
fn table_size(table: &FileTable) -> usize {
    match table.highest() {
        Some(highest) if highest >= 64 => (highest + 1).next_power_of_two().max(256),
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Task};
    use core::cell::Cell;
    use core::task::Poll;
    use isopod_hal::user::UserContext;

    const PLACE: usize = 0x20_0000;

    /// Finds something once, and can be told when it is tried again.
    struct Fleeting {
        looks: usize,
        told: Cell<bool>,
    }

    impl Watch for Fleeting {
        fn look(&mut self, _: &Files) -> usize {
            self.looks += 1;
            usize::from(self.looks == 1)
        }

        fn put(&self) -> Result<(), Fault> {
            if self.told.replace(true) { Ok(()) } else { Err(Fault { address: PLACE, write: true }) }
        }

        fn tells_always(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_was_found_is_told_also_when_the_place_is_not_there_at_first() {
        let thread = testing::thread();
        testing::map_pages(&thread, PLACE, 1);
        let mut ctx = Ctx::new(&thread, UserContext::new(0, 0).unwrap());
        let patience = Patience { deadline: FOREVER, mask: None, left: None };
        let what = Fleeting { looks: 0, told: Cell::new(false) };
        let Err(Stop::Rest(rest)) = watch(&mut ctx, Files::new(), what, patience) else {
            panic!("only the telling is left");
        };
        assert_eq!(Task::new(rest.into_future()).poll(), Poll::Ready(Ok(1)));
    }
}
