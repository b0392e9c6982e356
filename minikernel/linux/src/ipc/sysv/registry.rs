//! The table of one kind of objects: numbers, keys, and how an object is found or made.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::sync::{SpinLock, SpinLockGuard};

use super::{PRIVATE, Permission};
use crate::process::Identity;
use crate::tunable::Tunable;

/// The lower bits of a number are the place in the table, the others say how often that has been used before (`IPCMNI_SHIFT`).
const INDEX_BITS: u32 = 15;
/// How many objects a table can have, and sequence numbers there are.
pub const OBJECTS_MAX: u64 = 1 << INDEX_BITS;
/// `IPC_CREAT`
const CREATE: u32 = 0o1000;
/// `IPC_EXCL`
const EXCLUSIVE: u32 = 0o2000;

/// What can change of an object.
#[derive(Debug)]
pub struct State<T> {
    /// Who may use it.
    pub permission: Permission,
    /// It is gone: who still has it learns that by `EIDRM`.
    pub removed: bool,
    /// What it is.
    pub body: T,
}

/// A shared memory segment, a set of semaphores or a message queue.
#[derive(Debug)]
pub struct Object<T> {
    /// Its number.
    pub id: i32,
    state: SpinLock<State<T>>,
}

impl<T> Object<T> {
    /// The object, whether or not it has been removed.
    pub fn lock(&self) -> SpinLockGuard<'_, State<T>> {
        self.state.lock()
    }

    /// The object. `EIDRM` once it is removed.
    pub fn get(&self) -> Result<SpinLockGuard<'_, State<T>>, Errno> {
        let state = self.state.lock();
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }
}

/// All objects of a kind.
#[derive(Debug)]
pub struct Registry<T> {
    slots: SpinLock<Slots<T>>,
    /// How many there can be.
    limit: &'static Tunable,
}

#[derive(Debug)]
struct Slots<T> {
    /// Each with its key.
    all: Vec<Option<(i32, Arc<Object<T>>)>>,
    count: usize,
    sequence: u16,
    /// The place that was used last.
    last: Option<usize>,
}

impl<T> Registry<T> {
    /// A table of at most `limit` objects.
    pub const fn new(limit: &'static Tunable) -> Self {
        Self { slots: SpinLock::new(Slots { all: Vec::new(), count: 0, sequence: 0, last: None }), limit }
    }

    /// The object with this number. `EINVAL` if there is none.
    pub fn get(&self, id: i32) -> Result<Arc<Object<T>>, Errno> {
        let found = usize::try_from(id).ok().and_then(|id| self.slots.lock().at(id));
        found.filter(|object| object.id == id).ok_or(Errno::EINVAL)
    }

    /// The object in a place of the table, or whose number ends with that. `EINVAL` if there is none.
    pub fn at(&self, index: i32) -> Result<Arc<Object<T>>, Errno> {
        usize::try_from(index).ok().and_then(|index| self.slots.lock().at(index)).ok_or(Errno::EINVAL)
    }

    /// All objects, by place.
    pub fn all(&self) -> Result<Vec<Arc<Object<T>>>, Errno> {
        let slots = self.slots.lock();
        let mut all = Vec::new();
        all.try_reserve_exact(slots.count).map_err(|_| Errno::ENOMEM)?;
        all.extend(slots.all.iter().flatten().map(|(_, object)| Arc::clone(object)));
        Ok(all)
    }

    /// How many objects there are, and the highest place in use (0 if none is).
    pub fn extent(&self) -> (usize, usize) {
        let slots = self.slots.lock();
        (slots.count, slots.all.iter().rposition(Option::is_some).unwrap_or(0))
    }

    /// The number of the object with `key`, which is made by `make` if `flags` want that; an existing one must pass `check` (`ipcget`).
    pub fn get_or_make(
        &self,
        caller: &Identity,
        key: i32,
        flags: u32,
        check: &dyn Fn(&T) -> Result<(), Errno>,
        make: &dyn Fn() -> Result<T, Errno>,
    ) -> Result<i32, Errno> {
        let mut slots = self.slots.lock();
        let keyed = |slot: &&Option<(i32, Arc<Object<T>>)>| slot.as_ref().is_some_and(|slot| slot.0 == key);
        let known = if key == PRIVATE { None } else { slots.all.iter().find(keyed) };
        if let Some(Some((_, object))) = known {
            if flags & CREATE != 0 && flags & EXCLUSIVE != 0 {
                return Err(Errno::EEXIST);
            }
            let state = object.lock();
            check(&state.body)?;
            state.permission.check(caller, flags)?;
            return Ok(object.id);
        }
        if key != PRIVATE && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        let body = make()?;
        if slots.count as u64 >= self.limit.get() {
            return Err(Errno::ENOSPC);
        }
        slots.insert(Permission::new(caller, key, flags), body)
    }

    /// Takes an object out of the table, if `doomed` agrees. Whoever waits for it must be told by the caller.
    pub fn remove_if(&self, id: i32, doomed: impl FnOnce(&mut State<T>) -> bool) -> Option<Arc<Object<T>>> {
        let mut slots = self.slots.lock();
        let object = slots.at(usize::try_from(id).ok()?).filter(|object| object.id == id)?;
        {
            let mut state = object.lock();
            if !doomed(&mut state) {
                return None;
            }
            state.removed = true;
        }
        let index = id as usize & (OBJECTS_MAX as usize - 1);
        slots.all[index] = None;
        slots.count -= 1;
        Some(object)
    }

    /// Has an object lose its key, so that the key is free.
    pub fn forget_key(&self, id: i32) {
        let mut slots = self.slots.lock();
        let index = id as usize & (OBJECTS_MAX as usize - 1);
        if let Some(Some((key, object))) = slots.all.get_mut(index)
            && object.id == id
        {
            *key = PRIVATE;
            object.lock().permission.key = PRIVATE;
        }
    }
}

impl<T> Slots<T> {
    fn at(&self, index: usize) -> Option<Arc<Object<T>>> {
        let index = index & (OBJECTS_MAX as usize - 1);
        self.all.get(index)?.as_ref().map(|(_, object)| Arc::clone(object))
    }

    /// Puts an object into the first free place. Its number was not used for as long as can be.
    fn insert(&mut self, mut permission: Permission, body: T) -> Result<i32, Errno> {
        let index = self.all.iter().position(Option::is_none).unwrap_or(self.all.len());
        if index == self.all.len() {
            if index as u64 >= OBJECTS_MAX {
                return Err(Errno::ENOSPC);
            }
            self.all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.all.push(None);
        }
        if self.last.is_some_and(|last| index <= last) {
            self.sequence = (self.sequence + 1) % OBJECTS_MAX as u16;
        }
        self.last = Some(index);
        permission.sequence = self.sequence;
        let key = permission.key;
        let id = i32::from(self.sequence) << INDEX_BITS | index as i32;
        let state = SpinLock::new(State { permission, removed: false, body });
        self.all[index] = Some((key, Arc::new(Object { id, state })));
        self.count += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LIMIT: Tunable = Tunable::new(|| 3, 0, 9);

    fn root() -> Identity {
        Identity::first(0, 0, Vec::new())
    }

    fn make(table: &Registry<u32>, key: i32, flags: u32) -> Result<i32, Errno> {
        table.get_or_make(&root(), key, flags, &|_| Ok(()), &|| Ok(0))
    }

    #[test]
    fn a_key_leads_to_one_object() {
        let table = Registry::new(&LIMIT);
        assert_eq!(make(&table, 7, 0o600), Err(Errno::ENOENT));
        let id = make(&table, 7, CREATE | 0o600).unwrap();
        assert_eq!(make(&table, 7, 0o600), Ok(id));
        assert_eq!(make(&table, 7, CREATE | EXCLUSIVE), Err(Errno::EEXIST));
        table.forget_key(id);
        assert_ne!(make(&table, 7, CREATE | 0o600).unwrap(), id);
    }

    #[test]
    fn numbers_come_back_late_and_the_table_ends() {
        let table = Registry::new(&LIMIT);
        let ids: Vec<_> = (0..3).map(|_| make(&table, PRIVATE, 0o600).unwrap()).collect();
        assert_eq!(ids, [0, 1, 2]);
        assert_eq!(make(&table, PRIVATE, 0o600), Err(Errno::ENOSPC));
        assert!(table.remove_if(1, |_| true).is_some());
        assert_eq!(make(&table, PRIVATE, 0o600), Ok(1 << 15 | 1));
        assert_eq!(table.get(1).err(), Some(Errno::EINVAL));
        assert_eq!(table.at(1).unwrap().id, 1 << 15 | 1);
    }

    #[test]
    fn rights_are_those_of_owner_group_and_others() {
        let owner = Identity::first(1000, 1000, Vec::new());
        let other = Identity::first(2000, 1000, Vec::new());
        let permission = Permission::new(&owner, 1, 0o640);
        assert_eq!(permission.check(&owner, 0o666), Ok(()));
        assert_eq!(
            (permission.check(&other, 0o444), permission.check(&other, 0o222)),
            (Ok(()), Err(Errno::EACCES))
        );
        assert_eq!(permission.check(&root(), 0o666), Ok(()));
        assert_eq!(permission.check_owner(&other), Err(Errno::EPERM));
    }
}
