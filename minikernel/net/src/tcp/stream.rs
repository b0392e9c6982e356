//! A connection as the table and a socket share it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_hal::sync::{RwSpinLock, SpinLock};

use super::deadlines::Alarm;
use super::memory::Charge;
use super::ports::Binding;
use super::time_wait::TimeWait;
use super::{Connection, Events, Flow, Tcp};

/// Who wants to know what happens to a connection or a listener.
pub trait Observer: Send + Sync {
    /// Something happened. No lock of TCP's is held.
    fn notify(&self, events: Events);
}

impl core::fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Observer")
    }
}

/// A connection, its lock, and who watches it.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    hash: u32,
    flow: Flow,
    inner: SpinLock<Inner>,
    observer: RwSpinLock<Option<Arc<dyn Observer>>>,
    /// Whether the table has it.
    linked: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// As long as the table has it.
    alarm: Option<Alarm>,
    charge: Charge,
    /// Goes on to TIME-WAIT.
    binding: Option<Arc<Binding>>,
}

impl Stream {
    pub(super) fn new(
        id: u32,
        hash: u32,
        connection: Connection,
        alarm: Alarm,
        charge: Charge,
        binding: Arc<Binding>,
    ) -> Self {
        let flow = *connection.flow();
        let inner = Inner { connection, alarm: Some(alarm), charge, binding: Some(binding) };
        Self {
            id,
            hash,
            flow,
            inner: SpinLock::new(inner),
            observer: RwSpinLock::new(None),
            linked: AtomicBool::new(true),
        }
    }

    /// Its two ends.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Has `observer` told what happens from now on; look at the connection after that, and not before.
    pub fn observe(&self, observer: Option<Arc<dyn Observer>>) {
        *self.observer.write() = observer;
    }

    /// Whether somebody is told: no connection has that before it is accepted, and none after it was closed.
    pub fn is_watched(&self) -> bool {
        self.observer.read().is_some()
    }

    /// Does something with the connection, locked, and then what follows from it: timers, the table, and telling the observer.
    pub fn with<R>(&self, tcp: &Tcp, now: u64, action: impl FnOnce(&mut Connection) -> R) -> R {
        let mut inner = self.inner.lock();
        inner.connection.pressure = inner.charge.pressure();
        let result = action(&mut inner.connection);
        let events = self.settle(tcp, now, &mut inner);
        drop(inner);
        if !events.is_empty() {
            self.tell(events);
        }
        result
    }

    /// Looks at the connection.
    pub fn look<R>(&self, look: impl FnOnce(&Connection) -> R) -> R {
        look(&self.inner.lock().connection)
    }

    /// Does something with the connection from which nothing follows: it sends nothing, and wakes nobody.
    pub fn touch<R>(&self, action: impl FnOnce(&mut Connection) -> R) -> R {
        let mut inner = self.inner.lock();
        inner.connection.pressure = inner.charge.pressure();
        action(&mut inner.connection)
    }

    /// An entry for `at` among the deadlines came true.
    pub(super) fn expire(&self, tcp: &Tcp, now: u64, at: u64, out: &mut dyn super::Output) {
        let mut inner = self.inner.lock();
        if !inner.alarm.as_mut().is_some_and(|alarm| alarm.came(at)) {
            return;
        }
        if inner.connection.deadline().is_some_and(|deadline| deadline <= now) {
            inner.connection.expire(now, out);
        }
        let events = self.settle(tcp, now, &mut inner);
        drop(inner);
        if !events.is_empty() {
            self.tell(events);
        }
    }

    fn settle(&self, tcp: &Tcp, now: u64, inner: &mut Inner) -> Events {
        let Inner { connection, charge, .. } = inner;
        let events = connection.take_events();
        charge.update(connection.held(), connection.is_orphan());
        if events.contains(Events::CLOSED) && self.linked.swap(false, Ordering::Relaxed) {
            let binding = inner.binding.take();
            let alarm = inner.alarm.take().filter(|_| events.contains(Events::TIME_WAIT));
            let successor =
                alarm.map(|alarm| TimeWait::new(tcp.next_id(), &inner.connection, now, alarm, binding));
            tcp.replace(self.hash, self.id, successor);
        } else if let Some(alarm) = &mut inner.alarm {
            alarm.watch(inner.connection.deadline());
        }
        events
    }

    fn tell(&self, events: Events) {
        let observer = self.observer.read().clone();
        if let Some(observer) = observer {
            observer.notify(events);
        }
    }
}
