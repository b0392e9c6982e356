//! The run queue of one CPU: tasks that are ready, first come first served.

use alloc::sync::Arc;

use super::task::Task;

/// Tasks in a row, each of which knows the next: a queue takes no memory, however long it gets.
pub(super) struct Queue {
    first: Option<Arc<Task>>,
    last: Option<Arc<Task>>,
    length: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { first: None, last: None, length: 0 }
    }

    /// How many tasks it holds.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts a task that is in no queue at the end.
    pub(super) fn push(&mut self, task: Arc<Task>) {
        match self.last.replace(Arc::clone(&task)) {
            Some(last) => *last.next.lock() = Some(task),
            None => self.first = Some(task),
        }
        self.length += 1;
    }

    /// Takes the first task out if it may not run on CPU `cpu`.
    pub(super) fn take_stray(&mut self, cpu: usize) -> Option<Arc<Task>> {
        if self.first.as_ref()?.may_run_on(cpu) {
            return None;
        }
        let stray = self.first.take()?;
        self.first = stray.next.lock().take();
        if self.first.is_none() {
            self.last = None;
        }
        self.length -= 1;
        Some(stray)
    }

    /// Takes the first task out that may run on CPU `cpu`.
    pub(super) fn take(&mut self, cpu: usize) -> Option<Arc<Task>> {
        let mut before: Option<Arc<Task>> = None;
        let mut at = self.first.clone()?;
        while !at.may_run_on(cpu) {
            let next = at.next.lock().clone()?;
            before = Some(core::mem::replace(&mut at, next));
        }
        let next = at.next.lock().take();
        if next.is_none() {
            self.last.clone_from(&before);
        }
        match before {
            Some(before) => *before.next.lock() = next,
            None => self.first = next,
        }
        self.length -= 1;
        Some(at)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn numbers(queue: &mut Queue, cpu: usize) -> alloc::vec::Vec<u64> {
        core::iter::from_fn(|| queue.take(cpu)).map(|task| task.affinity()).collect()
    }

    fn queue(masks: &[u64]) -> Queue {
        let mut queue = Queue::new();
        for &mask in masks {
            let task = Task::new(async {});
            task.set_affinity(mask);
            queue.push(task);
        }
        queue
    }

    #[test]
    fn tasks_come_in_order_to_cpus_that_they_may_run_on() {
        crate::sched::processor::pretend(0b111);
        let mut queue = queue(&[0b1, 0b10, 0b11, 0b101, 0b110]);
        assert_eq!(numbers(&mut queue, 1), [0b10, 0b11, 0b110]);
        assert_eq!((queue.len(), numbers(&mut queue, 1).len()), (2, 0));
        queue.push(Task::new(async {}));
        assert_eq!(numbers(&mut queue, 0), [0b1, 0b101, u64::MAX]);
        queue.push(Task::new(async {}));
        assert_eq!(numbers(&mut queue, 0), [u64::MAX]);
    }
}
