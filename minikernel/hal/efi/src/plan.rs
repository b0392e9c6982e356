//! What the builder tells this program (`builder/src/link/efi.rs` fills it in).

/// What is to be loaded, in memory behind the first entry (`start.s`, which reads it too).
#[repr(C)]
pub struct Plan {
    /// Where the kernel is entered by PVH.
    pub entry: u32,
    /// Where the kernel reads the address of its root.
    pub directory: u32,
    /// That address.
    pub root: u64,
    /// How long the root is; 0 for one that the kernel looks for.
    pub root_len: u32,
    /// Where it begins in this program, if it is there: then it is the last of the loads.
    pub root_from: u32,
    /// Else, the partition that it fills.
    pub partition: [u8; 16],
    /// The first address behind the kernel and what is linked to it.
    pub end: u32,
    /// How many loads there are.
    pub count: u32,
    /// By address; each goes to a higher one than it comes from, if the program lies where Linux would.
    pub loads: [Load; 16],
}

/// A part of this program that goes elsewhere.
#[repr(C)]
pub struct Load {
    /// Where it begins in this program.
    pub from: u32,
    /// Where it goes.
    pub to: u32,
    /// How long it is.
    pub len: u32,
    /// How many bytes behind it are zero.
    pub zero: u32,
}
