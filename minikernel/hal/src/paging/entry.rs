//! Page-table entries (SDM volume 3, section 4.5.4).

use bitflags::bitflags;

use crate::{PhysAddr, cpu::features, frame::Frame};

bitflags! {
    /// What user code may do with a page. The processor lets it read whatever it may write or execute.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Access: u8 {
        /// Load.
        const READ = 1;
        /// Store.
        const WRITE = 2;
        /// Execute.
        const EXEC = 4;
    }
}

bitflags! {
    /// Bits of an entry, of a table or of a page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Bits: u64 {
        const PRESENT = 1 << 0;
        const WRITABLE = 1 << 1;
        const USER = 1 << 2;
        const WRITE_THROUGH = 1 << 3;
        const CACHE_DISABLE = 1 << 4;
        const ACCESSED = 1 << 5;
        const DIRTY = 1 << 6;
        /// In the upper tables: the entry maps 2 MiB or 1 GiB.
        const LARGE = 1 << 7;
        const GLOBAL = 1 << 8;
        /// Ours: the frame is not the allocator's.
        const UNMANAGED = 1 << 9;
        /// Ours: the entry keeps its frame though nobody has access (`PROT_NONE`).
        const HELD = 1 << 10;
        const NO_EXECUTE = 1 << 63;
        const _ = !0;
    }
}

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A copy of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    pub(crate) const EMPTY: Self = Self(0);

    /// An entry of an upper table; rights are those of the leaves.
    pub(super) fn table(at: PhysAddr) -> Self {
        Self(at.as_u64() | (Bits::PRESENT | Bits::WRITABLE | Bits::USER).bits())
    }

    /// A leaf that owns one reference to `frame`.
    pub(super) fn page(frame: Frame, access: Access) -> Self {
        let (at, managed) = frame.into_raw();
        let owner = if managed { Bits::empty() } else { Bits::UNMANAGED };
        Self(at.as_u64() | owner.bits()).with_access(access)
    }

    /// The same leaf with other rights.
    pub(super) fn with_access(self, access: Access) -> Self {
        let mut bits =
            self.bits() & !(Bits::PRESENT | Bits::HELD | Bits::WRITABLE | Bits::NO_EXECUTE) | Bits::USER;
        bits |= if access.is_empty() { Bits::HELD } else { Bits::PRESENT };
        bits.set(Bits::WRITABLE, access.contains(Access::WRITE));
        // A processor that lacks the bit, or where firmware has hidden it, takes it for an error.
        bits.set(Bits::NO_EXECUTE, !access.contains(Access::EXEC) && features().nx);
        Self(bits.bits())
    }

    pub(crate) fn bits(self) -> Bits {
        Bits::from_bits_retain(self.0)
    }

    pub(crate) fn address(self) -> PhysAddr {
        PhysAddr::new(self.0 & ADDRESS)
    }

    pub(crate) fn is_present(self) -> bool {
        self.bits().contains(Bits::PRESENT)
    }

    /// Whether a leaf has a frame, with or without access.
    pub(super) fn has_page(self) -> bool {
        self.bits().intersects(Bits::PRESENT | Bits::HELD)
    }

    pub(crate) fn access(self) -> Access {
        let bits = self.bits();
        if !bits.contains(Bits::PRESENT) {
            return Access::empty();
        }
        let mut access = Access::READ;
        access.set(Access::WRITE, bits.contains(Bits::WRITABLE));
        access.set(Access::EXEC, !bits.contains(Bits::NO_EXECUTE));
        access
    }

    /// The frame of a leaf that has a page.
    ///
    /// # Safety
    /// The entry was a leaf that owned a reference, which passes to the result: the entry is used no more.
    pub(super) unsafe fn into_frame(self) -> Frame {
        // SAFETY: `Entry::page` stored what `Frame::into_raw` gave; the caller passes the reference on.
        unsafe { Frame::from_raw(self.address(), !self.bits().contains(Bits::UNMANAGED)) }
    }
}
