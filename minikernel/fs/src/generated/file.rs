//! A generated file that is open.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::{PAGE_SIZE, sync::SpinLock};

use super::File;
use crate::Result;
use crate::file::{FileOps, OpenFile, Seeking};
use crate::transfer::{Sink, Source};
use crate::vfs::Process;

/// A file and the text that its reader sees.
pub(super) struct OpenText {
    file: Arc<dyn File>,
    process: Process,
    text: SpinLock<Option<Vec<u8>>>,
}

impl OpenText {
    pub(super) fn new(file: Arc<dyn File>, process: Process) -> Self {
        Self { file, process, text: SpinLock::new(None) }
    }
}

impl FileOps for OpenText {
    fn read(&self, _open: &OpenFile, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        let known = self.text.lock().is_some();
        if offset == 0 || !known {
            // Made without the lock: what is asked may itself be busy with files.
            let text = self.file.read(self.process)?;
            *self.text.lock() = Some(text);
        }
        let text = self.text.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.as_ref().and_then(|text| text.get(start..)).unwrap_or_default();
        Ok(sink.put(&rest[..rest.len().min(sink.remaining())]))
    }

    fn write(&self, _open: &OpenFile, _offset: u64, source: &mut dyn Source) -> Result<usize> {
        let length = source.remaining().min(PAGE_SIZE);
        let mut text = Vec::new();
        text.try_reserve_exact(length)?;
        text.resize(length, 0);
        let taken = source.take(&mut text);
        if taken < length {
            // The rest of the source must be brought in first: the text is taken as a whole, by another call.
            return Ok(0);
        }
        self.file.write(self.process, &text)?;
        Ok(taken)
    }

    fn seeking(&self) -> Seeking {
        Seeking::WithoutEnd
    }
}
