//! Where things lie in the kernel's half of the address space.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_8000_0000_0000` | the direct map: RAM, as far as it is in use, at its physical address; 512 GiB |
//! | `0xffff_ffff_8000_0000` | the kernel's image, at its physical address |
//! | `0xffff_ffff_c000_0000` | windows to device registers, stacks of the other processors |

use crate::PhysAddr;

/// Start of the image's part: what the linker script calls `kernel_base`.
pub(super) const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
/// Start of the direct map.
pub(super) const DIRECT_BASE: usize = 0xffff_8000_0000_0000;
/// Length of the direct map: one entry of the highest table.
pub(super) const DIRECT_LEN: u64 = 512 << 30;
/// Start of the windows to device registers.
pub(super) const WINDOWS_BASE: usize = 0xffff_ffff_c000_0000;
/// Length of the windows. The last 2 MiB stay free: addresses there are errors.
pub(super) const WINDOWS_LEN: usize = (1 << 30) - (2 << 20);

macro_rules! symbols {
    ($($(#[$doc:meta])* $name:ident: $symbol:ident;)*) => {
        $(
            $(#[$doc])*
            pub(super) fn $name() -> usize {
                unsafe extern "C" {
                    safe static $symbol: u8;
                }
                &raw const $symbol as usize
            }
        )*
    };
}

symbols! {
    /// Start of the image, physical: the boot code.
    image_start: boot_start;
    /// Start of the kernel's code.
    text: text_start;
    /// End of the code before the one that may be kept compressed.
    first_end: first_end;
    /// Start of the code that may be kept compressed, and lies among the rest.
    packed: packed_start;
    /// End of it.
    packed_end: packed_end;
    /// End of the kernel's code, start of its constants.
    text_end: text_end;
    /// End of the constants, start of the variables.
    rodata_end: rodata_end;
    /// End of the image, without the parts linked to it later.
    image_end: image_end;
}

/// Physical address of something in the image.
pub(super) fn image_phys(at: usize) -> PhysAddr {
    PhysAddr::new((at - KERNEL_BASE) as u64)
}
