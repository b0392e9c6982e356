//! The entropy device (virtio 1.2, 5.4).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use isopod_hal::log;
use isopod_hal::sync::SpinLock;

use super::queue::Queue;
use super::{Driver, StartError, Transport, Violation, start};
use crate::entropy::Random;
use crate::segment::Segment;

/// Bytes asked for at a time: twice the generator's key.
const WANTED: usize = 64;

/// A virtio entropy source, which feeds a generator.
pub struct VirtioRandom {
    transport: Arc<dyn Transport>,
    /// `None` once the device broke the rules.
    queue: SpinLock<Option<Queue>>,
    random: Arc<Random>,
}

impl VirtioRandom {
    /// Starts the device behind `transport` and asks it for bytes, which go to `random` when they arrive.
    pub fn start(transport: Box<dyn Transport>, random: Arc<Random>) -> Result<Arc<Self>, StartError> {
        let device = start(
            transport,
            |_| 0,
            1,
            |transport, features| {
                let queue = Queue::new(&*transport, 0, 1, WANTED, features)?;
                Ok(Self { transport, queue: SpinLock::new(Some(queue)), random })
            },
        )?;
        device.request();
        Ok(device)
    }

    /// Asks for fresh bytes, unless a request is on its way already.
    pub fn request(&self) {
        if let Some(queue) = &mut *self.queue.lock() {
            let segment = Segment { address: queue.address(queue.spare()), len: WANTED as u32 };
            queue.push(0, &[segment], 1);
            queue.kick(&*self.transport);
        }
    }

    fn harvest(&self, queue: &mut Queue) -> Result<(), Violation> {
        loop {
            while let Some(completion) = queue.pop()? {
                let mut bytes = [0; WANTED];
                // The queue has checked that the length is that of the buffer at most.
                let bytes = &mut bytes[..completion.written as usize];
                queue.memory().read(queue.spare(), bytes);
                self.random.add(bytes);
            }
            if queue.listen() {
                return Ok(());
            }
        }
    }
}

impl Driver for VirtioRandom {
    fn on_interrupt(&self, _: Option<u16>) {
        self.transport.acknowledge_interrupt(false);
        let mut queue = self.queue.lock();
        if let Some(Err(violation)) = queue.as_mut().map(|queue| self.harvest(queue)) {
            log!("virtio-rng: device given up: {violation}");
            self.transport.reset();
            *queue = None;
        }
    }
}

impl fmt::Debug for VirtioRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtioRandom")
    }
}

#[cfg(test)]
mod tests;
