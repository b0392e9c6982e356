//! The run queue of one CPU: tasks that are ready, first come first served, but for those that have had their share.

use alloc::sync::Arc;

use isopod_hal::clock;

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

    /// Puts a task that is in no queue at the end; one of real time, behind those of higher priorities, and of the same unless it `stays_first`.
    pub(super) fn push(&mut self, task: Arc<Task>, stays_first: bool) {
        if task.priority() > 0 {
            return self.insert(task, stays_first);
        }
        match self.last.replace(Arc::clone(&task)) {
            Some(last) => *last.next.lock() = Some(task),
            None => self.first = Some(task),
        }
        self.length += 1;
    }

    #[cold]
    fn insert(&mut self, task: Arc<Task>, stays_first: bool) {
        let below = task.priority().saturating_add(u8::from(stays_first));
        let mut before: Option<Arc<Task>> = None;
        let mut at = self.first.clone();
        while let Some(other) = at.take_if(|other| other.priority() >= below) {
            at.clone_from(&other.next.lock());
            before = Some(other);
        }
        if at.is_none() {
            self.last = Some(Arc::clone(&task));
        }
        *task.next.lock() = at;
        match before {
            Some(before) => *before.next.lock() = Some(task),
            None => self.first = Some(task),
        }
        self.length += 1;
    }

    /// Takes the first task out if it may not run on CPU `cpu`.
    pub(super) fn take_stray(&mut self, cpu: usize) -> Option<Arc<Task>> {
        if self.first.as_ref()?.may_run_on(cpu) {
            return None;
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<Arc<Task>> {
        let first = self.first.take()?;
        self.first = first.next.lock().take();
        if self.first.is_none() {
            self.last = None;
        }
        self.length -= 1;
        Some(first)
    }

    /// Takes the first task out that may run on CPU `cpu` and whose turn it is; if it is nobody's, the one whose it is next, as if it were that time.
    pub(super) fn take(&mut self, cpu: usize) -> Option<Arc<Task>> {
        let first = self.first.as_ref()?;
        if first.due() == 0 && first.may_run_on(cpu) {
            return self.pop();
        }
        self.choose(cpu)
    }

    /// As [`take`](Self::take), where it is not plainly the first.
    fn choose(&mut self, cpu: usize) -> Option<Arc<Task>> {
        let mut now = None;
        let mut is_turn =
            |task: &Task| task.due() == 0 || task.due() <= *now.get_or_insert_with(clock::monotonic_ns);
        if let Some(task) = self.take_first(&mut |task| task.may_run_on(cpu) && is_turn(task)) {
            return Some(task);
        }
        let now = now?;
        let mut next = u64::MAX;
        self.each(&mut |task| {
            if task.may_run_on(cpu) {
                next = next.min(task.due());
            }
        });
        self.each(&mut |task| {
            if task.may_run_on(cpu) {
                task.set_due(task.due().saturating_sub(next.saturating_sub(now)));
            }
        });
        self.take_first(&mut |task| task.may_run_on(cpu) && task.due() <= now)
    }

    /// Takes the first task out that is `wanted`.
    fn take_first(&mut self, wanted: &mut dyn FnMut(&Task) -> bool) -> Option<Arc<Task>> {
        let mut before: Option<Arc<Task>> = None;
        let mut at = self.first.clone()?;
        while !wanted(&at) {
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

    fn each(&self, act: &mut dyn FnMut(&Task)) {
        let mut at = self.first.clone();
        while let Some(task) = at {
            act(&task);
            let next = task.next.lock().clone();
            at = next;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::real_time::Share;
    use super::super::task::TaskRef;
    use super::*;

    fn numbers(queue: &mut Queue, cpu: usize) -> alloc::vec::Vec<u64> {
        core::iter::from_fn(|| queue.take(cpu)).map(|task| task.affinity()).collect()
    }

    fn queue(masks: &[u64]) -> Queue {
        let mut queue = Queue::new();
        for &mask in masks {
            let task = Task::new(async {});
            task.set_affinity(mask);
            queue.push(task, false);
        }
        queue
    }

    #[test]
    fn tasks_come_in_order_to_cpus_that_they_may_run_on() {
        crate::sched::processor::pretend(0b111);
        let mut queue = queue(&[0b1, 0b10, 0b11, 0b101, 0b110]);
        assert_eq!(numbers(&mut queue, 1), [0b10, 0b11, 0b110]);
        assert_eq!((queue.len(), numbers(&mut queue, 1).len()), (2, 0));
        queue.push(Task::new(async {}), false);
        assert_eq!(numbers(&mut queue, 0), [0b1, 0b101, u64::MAX]);
        queue.push(Task::new(async {}), false);
        assert_eq!(numbers(&mut queue, 0), [u64::MAX]);
    }

    #[test]
    fn those_that_have_had_their_share_come_after_others_and_in_the_order_of_their_turns() {
        crate::sched::processor::pretend(0b1);
        let mut queue = queue(&[1, 3, 5, 7]);
        let later = clock::monotonic_ns() + (1 << 50);
        let dues = [later + 20, later + 10, 0, 1];
        for due in dues {
            let task = queue.take_first(&mut |_| true).unwrap();
            task.set_due(due);
            queue.push(task, false);
        }
        // The time of the second has come when there was nobody else, so that of the first comes soon.
        assert_eq!(numbers(&mut queue, 0), [5, 7, 3, 1]);
    }

    #[test]
    fn real_time_comes_by_its_priorities_and_before_all_else() {
        crate::sched::processor::pretend(0b1);
        let mut queue = Queue::new();
        let mut push = |mask: u64, share, stays_first| {
            let task = TaskRef(Task::new(async {}));
            task.set_affinity(mask);
            task.set_share(share);
            queue.push(task.0, stays_first);
        };
        let first = |priority| Share::First { priority, in_turns: false };
        push(1, Share::Weight(1024), false);
        push(3, first(1), false);
        push(5, first(99), false);
        push(7, first(1), false);
        push(9, first(1), true);
        push(11, Share::Weight(88_761), true);
        assert_eq!(numbers(&mut queue, 0), [5, 9, 3, 7, 1, 11]);
        push_last_is_found(&mut queue);
    }

    fn push_last_is_found(queue: &mut Queue) {
        assert_eq!(queue.len(), 0);
        queue.push(Task::new(async {}), false);
        assert_eq!(numbers(queue, 0).len(), 1);
    }
}
