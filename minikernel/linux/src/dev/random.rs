//! `/dev/random` and `/dev/urandom`: `random(4)`. One generator stands behind both, as on Linux since 5.6.

use isopod_fs::file::{FileOps, OpenFile, UserMemory};
use isopod_fs::{Errno, Result, Sink, Source, next_bytes};

use crate::kernel;

/// Either of them.
#[derive(Debug)]
pub(super) struct Random;

/// Bytes made at a time.
const CHUNK: usize = 256;

impl FileOps for Random {
    fn read(&self, _: &OpenFile, _: u64, sink: &mut dyn Sink) -> Result<usize> {
        let mut done = 0;
        while sink.remaining() > 0 {
            let mut bytes = [0; CHUNK];
            let wanted = sink.remaining().min(CHUNK);
            kernel::fill_random(&mut bytes[..wanted]);
            let put = sink.put(&bytes[..wanted]);
            done += put;
            if put < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _: &OpenFile, _: u64, source: &mut dyn Source) -> Result<usize> {
        let mut done = 0;
        loop {
            let mut buffer = [0; CHUNK];
            let (bytes, more) = next_bytes(source, &mut buffer, CHUNK);
            kernel::stir_random(bytes);
            done += bytes.len();
            if !more {
                break;
            }
        }
        Ok(done)
    }

    fn ioctl(
        &self,
        _: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        const GET_ENTROPY_COUNT: u32 = 0x8004_5200;
        /// Bits that the pool is said to hold when it is seeded.
        const POOL_BITS: i32 = 256;
        match request {
            GET_ENTROPY_COUNT => {
                memory.write(argument, &POOL_BITS.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }
}
