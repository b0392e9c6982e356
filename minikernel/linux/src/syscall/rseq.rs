//! rseq(2)

use isopod_fs::Errno;
use isopod_hal::paging::USER_END;

use super::argument::Flags;
use crate::fail::Attempt;
use crate::mm::UserPtr;
use crate::process::{Ctx, rseq};

/// rseq(2), with the checks of Linux and in their order (`kernel/rseq.c`).
pub fn rseq(ctx: &mut Ctx, address: usize, length: u32, flags: Flags, signature: u32) -> Attempt {
    const UNREGISTER: u32 = 1;
    /// `RSEQ_CPU_ID_UNINITIALIZED`
    const NOT_REGISTERED: u32 = u32::MAX;
    let own = &ctx.thread.rseq;
    let (known, known_length, known_signature) = own.registration();
    let matches = || match () {
        () if known != address || known_length != length => Err(Errno::EINVAL),
        () if known_signature != signature => Err(Errno::EPERM),
        () => Ok(()),
    };
    match flags.0 {
        UNREGISTER if known == 0 => Err(Errno::EINVAL.into()),
        UNREGISTER => {
            matches()?;
            rseq::tell(address, [0, NOT_REGISTERED], 0)?;
            own.register((0, 0, 0));
            Ok(0)
        }
        0 if known != 0 => {
            matches()?;
            Err(Errno::EBUSY.into())
        }
        0 => {
            if length < rseq::SIZE || !address.is_multiple_of(rseq::SIZE as usize) {
                return Err(Errno::EINVAL.into());
            }
            if address.checked_add(length as usize).is_none_or(|end| end > USER_END) {
                return Err(Errno::EFAULT.into());
            }
            // A section that is named already would be left before it was entered.
            let section = UserPtr::<u64>::new(address + rseq::CRITICAL);
            if section.get()? != 0 {
                section.put(&0)?;
            }
            own.register((address, length, signature));
            ctx.thread.set_work();
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
