//! `/proc/PID/mem`: a process's memory as a file, for debuggers (`proc_pid_mem(5)`).

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use isopod_fs::file::{FileOps, OpenFile, Seeking};
use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::PAGE_SIZE;

use super::subject::Subject;
use crate::mm::AddressSpace;

/// The memory that the process had when the file was opened; at its end, or when it executes another program, it is gone.
struct Memory(Weak<AddressSpace>);

/// Opens the memory of a process.
pub(super) fn open(subject: &Subject) -> Result<Box<dyn FileOps>> {
    subject.check_access()?;
    Ok(Box::new(Memory(Arc::downgrade(&subject.process()?.memory()))))
}

/// How many bytes are copied at a time.
const CHUNK: usize = 512;

impl FileOps for Memory {
    fn read(&self, _: &OpenFile, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        let Some(memory) = self.0.upgrade() else { return Ok(0) };
        let (mut done, mut chunk) = (0, [0; CHUNK]);
        while sink.remaining() > 0 {
            let length = sink.remaining().min(CHUNK);
            let read = match memory.peek((offset as usize).wrapping_add(done), &mut chunk[..length]) {
                Ok(read) => read,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let taken = sink.put(&chunk[..read]);
            done += taken;
            if taken < read {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _: &OpenFile, offset: u64, source: &mut dyn Source) -> Result<usize> {
        let memory = self.0.upgrade().ok_or(Errno::EIO)?;
        let at = offset as usize;
        // What has to be waited for comes before anything is taken.
        memory.poke(at, &[])?;
        let mut chunk = [0; CHUNK];
        let length = source.remaining().min(CHUNK).min(PAGE_SIZE - at % PAGE_SIZE);
        let taken = source.take(&mut chunk[..length]);
        memory.poke(at, &chunk[..taken])
    }

    fn seeking(&self) -> Seeking {
        Seeking::WithoutEnd
    }
}
