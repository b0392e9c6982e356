//! `/dev/null`, `/dev/zero` and `/dev/full`: `null(4)`, `full(4)`.

use isopod_fs::file::{FileOps, Mapping, OpenFile, Seeking};
use isopod_fs::{Errno, Result, Sink, Source};

/// Nothing comes out, everything goes in.
#[derive(Debug)]
pub(super) struct Null;

/// Zeros come out, everything goes in.
#[derive(Debug)]
pub(super) struct Zero;

/// Zeros come out, nothing goes in.
#[derive(Debug)]
pub(super) struct Full;

impl FileOps for Null {
    fn read(&self, _: &OpenFile, _: u64, _: &mut dyn Sink) -> Result<usize> {
        Ok(0)
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        // Nothing is copied, so that no page of the program need be there.
        Ok(source.skip())
    }

    fn seeking(&self) -> Seeking {
        Seeking::AlwaysZero
    }
}

impl FileOps for Zero {
    fn read(&self, _: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        Ok(sink.put_zeros(sink.remaining()))
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        // Nothing is copied, so that no page of the program need be there.
        Ok(source.skip())
    }

    fn seeking(&self) -> Seeking {
        Seeking::AlwaysZero
    }

    fn mapping(&self) -> Result<Mapping> {
        Ok(Mapping::Anonymous)
    }
}

impl FileOps for Full {
    fn read(&self, _: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        Ok(sink.put_zeros(sink.remaining()))
    }

    fn write(&self, _: &OpenFile, _: u64, _: &mut dyn Source) -> Result<usize> {
        Err(Errno::ENOSPC.into())
    }

    fn seeking(&self) -> Seeking {
        Seeking::AlwaysZero
    }
}
