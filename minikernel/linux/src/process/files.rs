//! The table of open files.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_fs::file::{OpenFile, OpenFlags};
use isopod_hal::sync::SpinLock;

use crate::fail::Attempt;
use crate::ipc::pipe::Pipe;
use crate::mm::UserPtr;

/// An entry of the table: a reference to an open file description.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// What is open.
    pub file: Arc<OpenFile>,
    /// Closed by execve (`FD_CLOEXEC`).
    pub close_on_exec: bool,
}

/// The open files of a process, by descriptor number.
#[derive(Debug, Default)]
pub struct FileTable {
    inner: SpinLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Option<Descriptor>>,
    /// No slot below is free.
    first_free: usize,
}

impl FileTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy with the same open files, as fork makes it.
    pub fn duplicate(&self) -> Result<Self, Errno> {
        let inner = self.inner.lock();
        let mut slots = Vec::new();
        slots.try_reserve_exact(inner.slots.len()).map_err(|_| Errno::ENOMEM)?;
        slots.extend_from_slice(&inner.slots);
        Ok(Self { inner: SpinLock::new(Inner { slots, first_free: inner.first_free }) })
    }

    /// The open file `fd`. `EBADF` when there is none, or when it only names a place (`O_PATH`).
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.inner.lock().file(fd).cloned().ok_or(Errno::EBADF)
    }

    /// The open file or place `fd`, or `EBADF`: for the calls that open(2) lists under `O_PATH`.
    pub fn get_or_place(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.inner.lock().get(fd).map(|descriptor| Arc::clone(&descriptor.file)).ok_or(Errno::EBADF)
    }

    /// The entry `fd`, or `EBADF`.
    pub fn descriptor(&self, fd: i32) -> Result<Descriptor, Errno> {
        self.inner.lock().get(fd).cloned().ok_or(Errno::EBADF)
    }

    /// Adds what [`get`](Self::get) says of each of `descriptors` to `files`, which has room.
    pub fn get_each(&self, descriptors: impl Iterator<Item = i32>, files: &mut Vec<Option<Arc<OpenFile>>>) {
        let inner = self.inner.lock();
        files.extend(descriptors.map(|fd| inner.file(fd).cloned()));
    }

    /// Enters a file at the lowest free number that is at least `from`. `EMFILE` when that is not below `limit` (`RLIMIT_NOFILE`).
    pub fn insert(
        &self,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        from: usize,
        limit: u64,
    ) -> Result<i32, Errno> {
        let mut inner = self.inner.lock();
        let start = from.max(inner.first_free);
        let index = inner.free_from(start);
        if index as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        inner.make_room(index)?;
        inner.slots[index] = Some(Descriptor { file, close_on_exec });
        if start == inner.first_free {
            inner.first_free = index + 1;
        }
        Ok(index as i32)
    }

    /// Enters two files at the lowest free numbers once these are written to `place` (pipe2(2), socketpair(2)): nobody finds a file at a
    /// number that the program could not be told. `EMFILE` comes before a fault, and both before what kept the files from being made.
    pub fn insert_two(
        &self,
        files: Result<[Arc<OpenFile>; 2], Errno>,
        close_on_exec: bool,
        limit: u64,
        place: UserPtr<[i32; 2]>,
    ) -> Attempt {
        let mut inner = self.inner.lock();
        let first = inner.free_from(inner.first_free);
        let second = inner.free_from(first + 1);
        if second as u64 >= limit {
            return Err(Errno::EMFILE.into());
        }
        inner.make_room(second)?;
        place.put(&[first as i32, second as i32])?;
        for (index, file) in [first, second].into_iter().zip(files?) {
            inner.slots[index] = Some(Descriptor { file, close_on_exec });
        }
        inner.first_free = second + 1;
        Ok(0)
    }

    /// `EMFILE` when no number below `limit` is free.
    pub fn check_room(&self, limit: u64) -> Result<(), Errno> {
        let inner = self.inner.lock();
        let end = inner.slots.len() as u64;
        let free = end < limit
            || inner
                .slots
                .get(inner.first_free..)
                .is_some_and(|slots| slots.iter().take(limit as usize).any(Option::is_none))
                && (inner.first_free as u64) < limit;
        if free { Ok(()) } else { Err(Errno::EMFILE) }
    }

    /// Enters a file at exactly `fd`; returns what was there, to be closed by the caller. `EBADF` outside `limit` (`dup2(2)`).
    pub fn replace(
        &self,
        fd: i32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index as u64 >= limit {
            return Err(Errno::EBADF);
        }
        let mut inner = self.inner.lock();
        inner.make_room(index)?;
        let old = inner.slots[index].replace(Descriptor { file, close_on_exec });
        Ok(old.map(|descriptor| descriptor.file))
    }

    /// Takes `fd` out; the caller does what closing means. `EBADF` when it is not open.
    pub fn remove(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let mut inner = self.inner.lock();
        let taken = inner.slots.get_mut(index).and_then(Option::take).ok_or(Errno::EBADF)?;
        inner.first_free = inner.first_free.min(index);
        Ok(taken.file)
    }

    /// Takes out the first entry of `range` that `choose` wants, with its number (`close_range(2)`, close-on-exec).
    pub fn take_where(
        &self,
        range: core::ops::RangeInclusive<usize>,
        mut choose: impl FnMut(&Descriptor) -> bool,
    ) -> Option<(usize, Arc<OpenFile>)> {
        let mut inner = self.inner.lock();
        let end = inner.slots.len().min(range.end().saturating_add(1));
        let index =
            (*range.start()..end).find(|&index| inner.slots[index].as_ref().is_some_and(&mut choose))?;
        let taken = inner.slots[index].take()?;
        inner.first_free = inner.first_free.min(index);
        Some((index, taken.file))
    }

    /// Sets or clears close-on-exec. `EBADF` when `fd` is not open.
    pub fn set_close_on_exec(&self, fd: i32, close_on_exec: bool) -> Result<(), Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let mut inner = self.inner.lock();
        let descriptor = inner.slots.get_mut(index).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        descriptor.close_on_exec = close_on_exec;
        Ok(())
    }

    /// Sets close-on-exec on all of `range` (`CLOSE_RANGE_CLOEXEC`).
    pub fn set_close_on_exec_range(&self, range: core::ops::RangeInclusive<usize>) {
        let mut inner = self.inner.lock();
        let end = inner.slots.len().min(range.end().saturating_add(1));
        for slot in inner.slots.iter_mut().take(end).skip(*range.start()).flatten() {
            slot.close_on_exec = true;
        }
    }

    /// The numbers in use, rising. Each is looked for when it is asked for.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let inner = self.inner.lock();
            let index = from + inner.slots.get(from..)?.iter().position(Option::is_some)?;
            from = index + 1;
            Some(index as i32)
        })
    }

    /// Bytes that come back when it goes: its entries, and the files that nobody else has open, with what waits in pipes.
    pub fn footprint(&self) -> usize {
        let inner = self.inner.lock();
        let own =
            inner.slots.iter().flatten().map(|entry| &entry.file).filter(|file| Arc::strong_count(file) == 1);
        // Half of a pipe belongs to each end.
        let bytes = own.map(|file| file.footprint() + Pipe::of(file).map_or(0, Pipe::footprint) / 2);
        inner.slots.capacity() * size_of::<Option<Descriptor>>() + bytes.sum::<usize>()
    }

    /// The highest number in use.
    pub fn highest(&self) -> Option<usize> {
        self.inner.lock().slots.iter().rposition(Option::is_some)
    }
}

impl Inner {
    #[inline]
    fn get(&self, fd: i32) -> Option<&Descriptor> {
        // No slot has the number of a negative one.
        self.slots.get(fd as usize)?.as_ref()
    }

    /// The open file, unless it only names a place.
    #[inline]
    fn file(&self, fd: i32) -> Option<&Arc<OpenFile>> {
        let file = &self.get(fd)?.file;
        (!file.flags().contains(OpenFlags::PATH)).then_some(file)
    }

    /// The lowest free number that is at least `start`.
    fn free_from(&self, start: usize) -> usize {
        let slots = self.slots.get(start..).unwrap_or(&[]);
        start + slots.iter().position(Option::is_none).unwrap_or(slots.len())
    }

    /// Makes the slot `index`. Nothing is put there before that has succeeded: a file must not be closed under the table's lock.
    fn make_room(&mut self, index: usize) -> Result<(), Errno> {
        if index >= self.slots.len() {
            let more = index + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(index + 1, None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::eventfd::new_eventfd;
    use crate::mm::FaultKind;
    use crate::testing;

    #[test]
    fn a_pair_that_the_program_cannot_be_told_of_is_never_there() {
        const PLACE: usize = 0x20_0000;
        let memory = testing::map_pages(&testing::thread(), PLACE, 1);
        let table = FileTable::new();
        let file = || new_eventfd(0, false, OpenFlags::empty()).unwrap();
        let pair = || Ok([file(), file()]);
        for _ in 0..4 {
            table.insert(file(), false, 0, 8).unwrap();
        }
        table.remove(1).unwrap();
        assert!(table.insert_two(pair(), false, 8, UserPtr::new(PLACE)).is_err());
        assert!(table.numbers().eq([0, 2, 3]));
        memory.fault(PLACE, FaultKind::Write).unwrap();
        assert!(table.insert_two(pair(), false, 4, UserPtr::new(PLACE)).is_err());
        assert!(table.insert_two(Err(Errno::EOPNOTSUPP), false, 8, UserPtr::new(PLACE)).is_err());
        assert!(table.numbers().eq([0, 2, 3]));
        assert_eq!(table.insert_two(pair(), false, 5, UserPtr::new(PLACE)).unwrap(), 0);
        assert!(table.numbers().eq(0..5));
        assert_eq!(table.insert(file(), false, 0, 8), Ok(5));
    }
}
