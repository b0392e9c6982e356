//! `/dev/vsock`, which tells the machine's address: vsock(7).

use isopod_fs::file::{FileOps, OpenFile, UserMemory};
use isopod_fs::{Errno, Result};

use super::{CID_ANY, link};

/// The device.
#[derive(Debug)]
pub struct Device;

impl FileOps for Device {
    fn ioctl(
        &self,
        _: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        /// `IOCTL_VM_SOCKETS_GET_LOCAL_CID`
        const LOCAL_CID: u32 = 0x7b9;
        if request != LOCAL_CID {
            return Err(Errno::ENOTTY.into());
        }
        memory.write(argument, &link::own_cid().unwrap_or(CID_ANY).to_le_bytes())?;
        Ok(0)
    }
}
