//! The console device (virtio 1.2, 5.3): its port 0, which needs no further negotiation.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_hal::dma::Dma;
use isopod_hal::sync::{SpinLock, wait::WaitQueue};
use isopod_hal::{PAGE_SIZE, PhysAddr, log};

use super::queue::{Direction, Queue, Segment};
use super::{Driver, StartError, Transport, Violation, start};
use crate::console::CharDevice;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Input buffers share a page.
const INPUT_BUFFERS: u16 = 4;
const INPUT_BUFFER: usize = PAGE_SIZE / INPUT_BUFFERS as usize;
/// Output buffers have a page each, which is allocated when first needed.
const OUTPUT_BUFFERS: u16 = 8;

#[derive(Debug)]
struct Input {
    queue: Queue,
    buffers: Dma,
    /// Buffers with input that nobody has read yet.
    arrived: VecDeque<Arrived>,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    buffer: u16,
    /// What is left of it.
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct Output {
    queue: Queue,
    buffers: [Option<Dma>; OUTPUT_BUFFERS as usize],
    /// Buffers that the device does not have.
    free: Vec<u16>,
}

/// A virtio console.
pub struct VirtioConsole {
    transport: Arc<dyn Transport>,
    input: SpinLock<Input>,
    output: SpinLock<Output>,
    readable: WaitQueue,
    writable: WaitQueue,
    /// The device broke the rules.
    dead: AtomicBool,
}

impl VirtioConsole {
    /// Starts the device behind `transport`, ready for input.
    pub fn start(transport: Box<dyn Transport>) -> Result<Arc<Self>, StartError> {
        let console = start(transport, 0, |transport, features| {
            let input = Input::new(Queue::new(&*transport, RECEIVE, INPUT_BUFFERS, 0, features)?)?;
            let output = Output::new(Queue::new(&*transport, TRANSMIT, OUTPUT_BUFFERS, 0, features)?)?;
            Ok(Self {
                transport,
                input: SpinLock::new(input),
                output: SpinLock::new(output),
                readable: WaitQueue::new(),
                writable: WaitQueue::new(),
                dead: AtomicBool::new(false),
            })
        })?;
        console.input.lock().queue.kick(&*console.transport);
        Ok(console)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Stops a device that broke the rules, and wakes all who wait for it.
    fn give_up(&self, violation: Violation) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            log!("virtio-console: device given up: {violation}");
            self.transport.reset();
            self.readable.wake_all();
            self.writable.wake_all();
        }
    }

    /// Collects input; true if there is any that was not there before.
    fn harvest_input(&self) -> Result<bool, Violation> {
        let mut input = self.input.lock();
        let before = input.arrived.len();
        input.harvest()?;
        input.queue.kick(&*self.transport);
        Ok(input.arrived.len() > before)
    }

    /// Collects returned output buffers; true if there are any.
    fn harvest_output(&self) -> Result<bool, Violation> {
        let mut output = self.output.lock();
        let before = output.free.len();
        output.harvest()?;
        while output.free.is_empty() && !output.queue.listen() {
            output.harvest()?;
        }
        Ok(output.free.len() > before)
    }

    /// Writes what there is room for.
    fn try_write(&self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut output = self.output.lock();
        let mut written = 0;
        loop {
            output.harvest()?;
            written += output.write(&bytes[written..]);
            output.queue.kick(&*self.transport);
            if written == bytes.len() && !output.free.is_empty() {
                output.queue.silence();
                return Ok(written);
            }
            // Whoever waits for room must hear of the next buffer that comes back. One that has come back already
            // is not announced.
            if output.queue.listen() {
                return Ok(written);
            }
        }
    }
}

impl Input {
    fn new(queue: Queue) -> Result<Self, StartError> {
        let mut arrived = VecDeque::new();
        arrived.try_reserve_exact(usize::from(INPUT_BUFFERS)).map_err(|_| StartError::OutOfMemory)?;
        let mut input = Self { queue, buffers: Dma::pages(1)?, arrived };
        for buffer in 0..INPUT_BUFFERS.min(input.queue.size()) {
            input.offer(buffer);
        }
        Ok(input)
    }

    /// Gives a buffer to the device.
    fn offer(&mut self, buffer: u16) {
        let offset = usize::from(buffer) * INPUT_BUFFER;
        let address = PhysAddr::new(self.buffers.phys().as_u64() + offset as u64);
        self.queue
            .push(buffer, &[Segment { address, len: INPUT_BUFFER as u32, direction: Direction::FromDevice }]);
    }

    /// Collects buffers that the device has filled.
    fn harvest(&mut self) -> Result<(), Violation> {
        loop {
            while let Some(completion) = self.queue.pop()? {
                // The queue has checked that the length is that of the buffer at most.
                match completion.written as usize {
                    0 => self.offer(completion.token),
                    to => self.arrived.push_back(Arrived { buffer: completion.token, from: 0, to }),
                }
            }
            if self.queue.listen() {
                return Ok(());
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(front) = self.arrived.front_mut() {
            let len = (front.to - front.from).min(into.len() - done);
            let offset = usize::from(front.buffer) * INPUT_BUFFER + front.from;
            self.buffers.read(offset, &mut into[done..done + len]);
            done += len;
            front.from += len;
            if front.from < front.to {
                break;
            }
            let buffer = front.buffer;
            self.arrived.pop_front();
            self.offer(buffer);
        }
        done
    }
}

impl Output {
    fn new(mut queue: Queue) -> Result<Self, StartError> {
        // Returned buffers are collected at the next write; an interrupt is wanted only while none is left.
        queue.silence();
        // Last in, first out: so that one page serves a quiet console.
        let free = (0..OUTPUT_BUFFERS.min(queue.size())).rev().collect();
        let mut buffers = [const { None }; OUTPUT_BUFFERS as usize];
        // With one buffer at hand from the start, output can wait for memory but not for ever.
        buffers[0] = Some(Dma::pages(1)?);
        Ok(Self { queue, buffers, free })
    }

    fn harvest(&mut self) -> Result<(), Violation> {
        while let Some(completion) = self.queue.pop()? {
            self.free.push(completion.token);
        }
        Ok(())
    }

    /// A free buffer: one that has its page, or else one that gets it now.
    fn take_buffer(&mut self) -> Option<u16> {
        let buffer = *self.free.last()?;
        let slot = &mut self.buffers[usize::from(buffer)];
        if slot.is_none() {
            *slot = Some(Dma::pages(1).ok()?);
        }
        self.free.pop()
    }

    /// Copies as much as there is room for into buffers, and puts them into the queue.
    fn write(&mut self, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while !bytes.is_empty()
            && let Some(buffer) = self.take_buffer()
            && let Some(page) = &self.buffers[usize::from(buffer)]
        {
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_SIZE));
            page.write(0, now);
            let segment =
                Segment { address: page.phys(), len: now.len() as u32, direction: Direction::ToDevice };
            self.queue.push(buffer, &[segment]);
            bytes = later;
        }
        all - bytes.len()
    }
}

impl CharDevice for VirtioConsole {
    fn write(&self, bytes: &[u8]) -> usize {
        if self.is_dead() {
            return 0;
        }
        self.try_write(bytes).unwrap_or_else(|violation| {
            self.give_up(violation);
            0
        })
    }

    fn read(&self, into: &mut [u8]) -> usize {
        let mut input = self.input.lock();
        let done = input.read(into);
        if !self.is_dead() {
            input.queue.kick(&*self.transport);
        }
        done
    }

    fn can_write(&self) -> bool {
        let mut output = self.output.lock();
        // That it broke the rules shows at the next write.
        !self.is_dead() && (output.harvest().is_err() || !output.free.is_empty())
    }

    fn can_read(&self) -> bool {
        !self.input.lock().arrived.is_empty()
    }

    fn hung_up(&self) -> bool {
        self.is_dead()
    }

    fn writable(&self) -> &WaitQueue {
        &self.writable
    }

    fn readable(&self) -> &WaitQueue {
        &self.readable
    }

    fn write_polled(&self, bytes: &[u8]) {
        /// Looks at the queue before the device is taken for stuck.
        const PATIENCE: u32 = 100_000_000;
        let Some(mut output) = self.output.try_lock() else { return };
        let (mut written, mut looks) = (0, 0);
        while !self.is_dead() && looks < PATIENCE {
            if output.harvest().is_err() {
                return;
            }
            written += output.write(&bytes[written..]);
            output.queue.kick(&*self.transport);
            let all_back = output.free.len() == usize::from(OUTPUT_BUFFERS.min(output.queue.size()));
            if written == bytes.len() && all_back {
                return;
            }
            looks += 1;
            core::hint::spin_loop();
        }
    }
}

impl Driver for VirtioConsole {
    fn on_interrupt(&self) {
        self.transport.acknowledge_interrupt();
        if self.is_dead() {
            return;
        }
        for (harvested, queue) in
            [(self.harvest_input(), &self.readable), (self.harvest_output(), &self.writable)]
        {
            match harvested {
                Ok(true) => queue.wake_all(),
                Ok(false) => {}
                Err(violation) => self.give_up(violation),
            }
        }
    }
}

impl fmt::Debug for VirtioConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtioConsole")
    }
}

#[cfg(test)]
mod tests;
