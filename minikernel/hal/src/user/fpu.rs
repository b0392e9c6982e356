//! Floating-point and vector registers of a user thread, in the processor's own format (XSAVE, standard form; SDM
//! volume 1, chapter 13), or in FXSAVE's where there is no XSAVE.
//!
//! At a trap the kernel's entry stores `xmm0` to `xmm15` and MXCSR here, since the kernel's own code uses those. All
//! else (x87, the upper halves, masks) stays in the processor and is saved when another thread takes the CPU.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::{alloc::Layout, fmt, ptr::NonNull};

use crate::{machine, memory::OutOfMemory};

/// A signal frame's floating-point state that the processor would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Bytes of the legacy region, which FXSAVE fills too.
const LEGACY: usize = 512;
/// Bytes of the legacy region and the XSAVE header.
const WITH_HEADER: usize = LEGACY + 64;
/// Offset of MXCSR; its mask follows.
const MXCSR: usize = 24;
/// Where Linux describes the extended state, in bytes of the legacy region that the processor leaves alone
/// (`struct _fpx_sw_bytes` in `asm/sigcontext.h`).
const SOFTWARE: usize = 464;
/// `FP_XSTATE_MAGIC1`.
const MAGIC_1: u32 = 0x4650_5853;
/// `FP_XSTATE_MAGIC2`, behind the extended state.
const MAGIC_2: u32 = 0x4650_5845;
/// x87 control word and MXCSR of a new program (System V ABI, section 3.2.3): all exceptions masked.
const INITIAL_CONTROL: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// Components x87 and SSE, which are always there.
const X87_AND_SSE: u64 = 3;

/// What else of the thread changes hands with these registers. It lies before the XSAVE area, which must be aligned to 64 bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Prefix {
    /// The segment bases.
    pub(crate) fs: u64,
    pub(crate) gs: u64,
    /// Which CPU loaded the state last: its number and one, 0 for none.
    pub(crate) holder: u64,
    /// DR7 with the thread's breakpoints, 0 if it has none.
    pub(crate) control: u64,
    pub(crate) breakpoints: [u64; 4],
}

/// Bytes of the prefix.
const PREFIX: usize = size_of::<Prefix>();

/// The state that a thread keeps beyond [`super::Registers`].
pub struct Fpu {
    /// A [`Prefix`], then the XSAVE area.
    state: NonNull<u8>,
}

// SAFETY: the memory is this value's own; the CPU that holds its registers is told when they must be written back.
unsafe impl Send for Fpu {}
// SAFETY: shared access only copies the memory, after the CPU has written it back.
unsafe impl Sync for Fpu {}

impl Fpu {
    /// The state of a new program.
    pub fn initial() -> Result<Self, OutOfMemory> {
        let mut fpu = Self::empty()?;
        fpu.reset();
        Ok(fpu)
    }

    /// Back to the state of a new program; the bases stay.
    pub fn reset(&mut self) {
        machine::fpu_sync(self.area_pointer());
        machine::fpu_forget(self.area_pointer());
        let area = self.area_mut();
        area.fill(0);
        area[..2].copy_from_slice(&INITIAL_CONTROL.to_le_bytes());
        area[MXCSR..MXCSR + 4].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
        if let Some(components) = area.get_mut(LEGACY..LEGACY + 8) {
            components.copy_from_slice(&X87_AND_SSE.to_le_bytes());
        }
    }

    /// A copy of the present state.
    pub fn try_clone(&self) -> Result<Self, OutOfMemory> {
        let mut copy = Self::empty()?;
        let (fs, gs) = self.bases();
        copy.set_bases(fs, gs);
        copy.area_mut().copy_from_slice(self.area());
        Ok(copy)
    }

    /// Bytes that [`Fpu::save`] puts.
    pub fn xsave_size() -> usize {
        let size = machine::fpu_layout().size;
        if size > LEGACY { size + size_of_val(&MAGIC_2) } else { LEGACY }
    }

    /// Puts the state as a Linux signal frame holds it: bytes and where they belong, from the start of the frame's part.
    pub fn save<E>(&mut self, mut put: impl FnMut(usize, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let layout = machine::fpu_layout();
        machine::fpu_sync(self.area_pointer());
        let area = self.area_mut();
        area[SOFTWARE..LEGACY].fill(0);
        if layout.size == LEGACY {
            return put(0, area);
        }
        area[SOFTWARE..SOFTWARE + 4].copy_from_slice(&MAGIC_1.to_le_bytes());
        area[SOFTWARE + 4..SOFTWARE + 8].copy_from_slice(&(Self::xsave_size() as u32).to_le_bytes());
        area[SOFTWARE + 8..SOFTWARE + 16].copy_from_slice(&layout.components.to_le_bytes());
        area[SOFTWARE + 16..SOFTWARE + 20].copy_from_slice(&(layout.size as u32).to_le_bytes());
        put(0, area)?;
        put(layout.size, &MAGIC_2.to_le_bytes())
    }

    /// Takes over the state of a signal frame, which `get` fills in from an offset on. As Linux does, believes in the extended part only
    /// where both magic numbers are in place, and otherwise takes the legacy part alone. If it cannot be had as a whole, the state is that of a
    /// new program.
    pub fn restore<E: From<Invalid>>(
        &mut self,
        get: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // The bases stay, so they must be up to date before the CPU forgets the rest.
        machine::fpu_sync(self.area_pointer());
        machine::fpu_forget(self.area_pointer());
        let result = take_over(self.area_mut(), get);
        if result.is_err() {
            self.reset();
        }
        result
    }

    /// Bases of `fs` and `gs`.
    pub(super) fn bases(&self) -> (u64, u64) {
        machine::fpu_sync(self.area_pointer());
        // SAFETY: the prefix is initialised, and the CPU writes it only in `fpu_sync` and in `run`, which takes `&mut`.
        let prefix = unsafe { self.state.cast::<Prefix>().as_ref() };
        (prefix.fs, prefix.gs)
    }

    pub(super) fn set_bases(&mut self, fs: u64, gs: u64) {
        let prefix = self.prefix_mut();
        (prefix.fs, prefix.gs) = (fs, gs);
    }

    /// The prefix, up to date, to be changed while no CPU holds the state.
    pub(super) fn prefix_mut(&mut self) -> &mut Prefix {
        machine::fpu_sync(self.area_pointer());
        machine::fpu_forget(self.area_pointer());
        // SAFETY: as for `bases`; `&mut self`, and no CPU holds the state any more.
        unsafe { self.state.cast().as_mut() }
    }

    /// Where the XSAVE area lies; the prefix lies before it.
    #[inline]
    pub(crate) fn area_pointer(&self) -> *mut u8 {
        // SAFETY: the allocation is longer than its prefix.
        unsafe { self.state.as_ptr().add(PREFIX) }
    }

    fn empty() -> Result<Self, OutOfMemory> {
        // SAFETY: the layout is not empty.
        let state = unsafe { alloc_zeroed(Self::allocation()) };
        NonNull::new(state).map(|state| Self { state }).ok_or(OutOfMemory)
    }

    fn allocation() -> Layout {
        let size = PREFIX + machine::fpu_layout().size;
        Layout::from_size_align(size, 64).expect("a state has some kilobytes at most")
    }

    /// The XSAVE area, up to date.
    fn area(&self) -> &[u8] {
        machine::fpu_sync(self.area_pointer());
        // SAFETY: the allocation holds the prefix and `size` bytes, all initialised. The CPU writes them only in
        // `fpu_sync` and in `run`, which takes `&mut`.
        unsafe { core::slice::from_raw_parts(self.area_pointer(), machine::fpu_layout().size) }
    }

    /// The XSAVE area, to be changed while no CPU holds the state.
    fn area_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `area`, and `&mut self`.
        unsafe { core::slice::from_raw_parts_mut(self.area_pointer(), machine::fpu_layout().size) }
    }
}

impl Drop for Fpu {
    fn drop(&mut self) {
        machine::fpu_forget(self.area_pointer());
        // SAFETY: allocated with the same layout, which is fixed at boot; the CPU does not know the area any more.
        unsafe { dealloc(self.state.as_ptr(), Self::allocation()) };
    }
}

impl fmt::Debug for Fpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fs, gs) = self.bases();
        write!(f, "Fpu {{ fs_base: {fs:#x}, gs_base: {gs:#x}, .. }}")
    }
}

/// What the processor's state looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FpuLayout {
    /// Bytes of the area: 512 for FXSAVE, more for XSAVE.
    pub(crate) size: usize,
    /// Components in use (XCR0).
    pub(crate) components: u64,
    /// Bits of MXCSR that exist.
    pub(crate) mxcsr_mask: u32,
}

/// Fills `area` as [`Fpu::restore`] has it. What is checked has been read, once: nobody changes it afterwards.
fn take_over<E: From<Invalid>>(
    area: &mut [u8],
    mut get: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let layout = machine::fpu_layout();
    get(0, &mut area[..LEGACY])?;
    if word(area, MXCSR) & !layout.mxcsr_mask != 0 {
        return Err(Invalid.into());
    }
    let said = word(area, SOFTWARE + 16) as usize;
    let mut size = LEGACY;
    if word(area, SOFTWARE) == MAGIC_1 && (WITH_HEADER..=layout.size).contains(&said) {
        let mut magic = [0; 4];
        get(said, &mut magic)?;
        if magic == MAGIC_2.to_le_bytes() {
            get(LEGACY, &mut area[LEGACY..said])?;
            size = said;
        }
    }
    area[size..].fill(0);
    if layout.size == LEGACY {
        return Ok(());
    }
    let components = match size {
        LEGACY => X87_AND_SSE,
        _ => double(area, LEGACY) & double(area, SOFTWARE + 8) & layout.components,
    };
    // The rest of the header is reserved, and the first word of it would announce the compacted form.
    if area[LEGACY + 8..WITH_HEADER].chunks_exact(8).any(|word| word != [0; 8]) {
        return Err(Invalid.into());
    }
    // The entry writes xmm registers and MXCSR straight into the area, so their component is always in use;
    // a component that is not in use stands for its initial values, which are not all in the bytes.
    if components & 2 == 0 {
        area[160..416].fill(0);
        area[MXCSR..MXCSR + 4].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
    }
    area[LEGACY..LEGACY + 8].copy_from_slice(&(components | 2).to_le_bytes());
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn double(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn saved(fpu: &mut Fpu) -> Vec<u8> {
        let mut frame = vec![0xaa; Fpu::xsave_size()];
        fpu.save(|at, bytes| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            Ok::<_, Invalid>(())
        })
        .unwrap();
        frame
    }

    /// Fails where the frame ends too early.
    fn restore(fpu: &mut Fpu, frame: &[u8]) -> Result<(), Invalid> {
        fpu.restore(|at, bytes| {
            bytes.copy_from_slice(frame.get(at..at + bytes.len()).ok_or(Invalid)?);
            Ok(())
        })
    }

    #[test]
    fn a_signal_frame_comes_back() {
        let mut fpu = Fpu::initial().unwrap();
        fpu.area_mut()[160..164].copy_from_slice(b"xmm0");
        let frame = saved(&mut fpu);
        assert_eq!(word(&frame, SOFTWARE), MAGIC_1);
        let mut other = Fpu::initial().unwrap();
        restore(&mut other, &frame).unwrap();
        assert_eq!(other.area()[..SOFTWARE], fpu.area()[..SOFTWARE]);
    }

    #[test]
    fn a_damaged_frame_is_refused_or_taken_in_part() {
        let mut frame = saved(&mut Fpu::initial().unwrap());
        let mut other = Fpu::initial().unwrap();
        assert_eq!(restore(&mut other, &frame[..511]), Err(Invalid));
        let mut reserved = frame.clone();
        reserved[LEGACY + 9] = 1;
        assert_eq!(restore(&mut other, &reserved), Err(Invalid));
        let mut mxcsr = frame.clone();
        mxcsr[MXCSR + 3] = 1;
        assert_eq!(restore(&mut other, &mxcsr), Err(Invalid));
        // Without the second magic number only the legacy part counts.
        let last = frame.len() - 1;
        frame[last] = 0;
        frame[160] = 7;
        restore(&mut other, &frame).unwrap();
        assert_eq!(other.area()[160], 7);
    }
}
