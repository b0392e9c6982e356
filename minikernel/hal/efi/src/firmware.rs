//! The firmware's tables and functions, as many as are used (UEFI specification 2.10).

use core::arch::asm;
use core::ffi::c_void;
use core::ptr;

/// What the firmware calls a thing of its own.
pub type Handle = *mut c_void;

/// How a function of the firmware ended; zero for well.
pub type Status = usize;

/// An identifier, with the byte order in which UEFI keeps them.
pub type Guid = [u8; 16];

const LOADED_IMAGE: Guid = *b"\xa1\x31\x1b\x5b\x62\x95\xd2\x11\x8e\x3f\x00\xa0\xc9\x69\x72\x3b";
const DEVICE_PATH: Guid = *b"\x91\x6e\x57\x09\x3f\x6d\xd2\x11\x8e\x39\x00\xa0\xc9\x69\x72\x3b";
const BLOCK_IO: Guid = *b"\x21\x5b\x4e\x96\x59\x64\xd2\x11\x8e\x39\x00\xa0\xc9\x69\x72\x3b";
const ACPI_20: Guid = *b"\x71\xe8\x68\x88\xf1\xe4\xd3\x11\xbc\x22\x00\x80\xc7\x3c\x88\x81";
const ACPI_10: Guid = *b"\x30\x2d\x9d\xeb\x88\x2d\xd3\x11\x9a\x16\x00\x90\x27\x3f\xc1\x4d";

/// Types of memory that are asked for.
const LOADER_CODE: u32 = 1;
const LOADER_DATA: u32 = 2;
/// Ways to ask for pages.
const MAX_ADDRESS: u32 = 1;
const AT_ADDRESS: u32 = 2;
const SHUT_DOWN: u32 = 2;

/// What pages of memory are asked for.
pub const PAGE: u64 = 4096;

/// `EFI_SYSTEM_TABLE`.
#[repr(C)]
pub struct SystemTable {
    header: [u64; 3],
    vendor: [u64; 2],
    input: [u64; 2],
    console_handle: Handle,
    console: *const Console,
    error_console: [u64; 2],
    runtime: *const RuntimeServices,
    boot: *const BootServices,
    configuration_count: usize,
    configuration: *const Configuration,
}

#[repr(C)]
struct Configuration {
    guid: Guid,
    table: u64,
}

/// `EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL`.
#[repr(C)]
struct Console {
    reset: usize,
    output_string: extern "efiapi" fn(*const Console, *const u16) -> Status,
}

#[repr(C)]
struct RuntimeServices {
    header: [u64; 3],
    until_reset: [usize; 10],
    reset_system: extern "efiapi" fn(u32, Status, usize, *const c_void) -> Status,
}

#[repr(C)]
struct BootServices {
    header: [u64; 3],
    task_priority: [usize; 2],
    allocate_pages: extern "efiapi" fn(u32, u32, usize, *mut u64) -> Status,
    free_pages: usize,
    get_memory_map: extern "efiapi" fn(*mut usize, *mut c_void, *mut usize, *mut usize, *mut u32) -> Status,
    until_handle_protocol: [usize; 11],
    handle_protocol: extern "efiapi" fn(Handle, *const Guid, *mut *mut c_void) -> Status,
    until_locate_device_path: [usize; 3],
    locate_device_path: extern "efiapi" fn(*const Guid, *mut *const u8, *mut Handle) -> Status,
    until_exit: [usize; 5],
    exit: extern "efiapi" fn(Handle, usize) -> Status,
    until_watchdog_timer: [usize; 2],
    set_watchdog_timer: extern "efiapi" fn(usize, u64, usize, *const u16) -> Status,
}

/// `EFI_LOADED_IMAGE_PROTOCOL`, as far as it is read.
#[repr(C)]
pub struct LoadedImage {
    revision: u64,
    parent: Handle,
    table: u64,
    /// What this program was read from.
    pub device: Handle,
    path: u64,
    reserved: u64,
    options: [u64; 2],
    /// Where this program lies.
    pub base: u64,
    /// How long it is.
    pub size: u64,
}

/// `EFI_BLOCK_IO_PROTOCOL`.
#[repr(C)]
pub struct BlockIo {
    revision: u64,
    pub media: *const Media,
    reset: usize,
    read_blocks: extern "efiapi" fn(*const BlockIo, u32, u64, usize, *mut u8) -> Status,
}

/// `EFI_BLOCK_IO_MEDIA`, as far as it is read.
#[repr(C)]
pub struct Media {
    id: u32,
    flags: [bool; 5],
    pub block_size: u32,
    align: u32,
    pub last_block: u64,
}

/// `EFI_MEMORY_DESCRIPTOR`. The firmware's may be longer.
#[repr(C)]
struct Descriptor {
    kind: u32,
    start: u64,
    mapped_at: u64,
    pages: u64,
    attributes: u64,
}

/// The firmware, until its boot services end.
#[derive(Clone, Copy)]
pub struct Firmware {
    image: Handle,
    table: &'static SystemTable,
}

/// The node that ends a device path.
const END: [u8; 4] = [0x7f, 0xff, 4, 0];

/// Calls a function of the firmware with interrupts on, as firmware expects it.
macro_rules! call {
    ($function:expr $(, $argument:expr)*) => {{
        // SAFETY: the firmware handles its interrupts, and no function that calls another has anything below its stack.
        unsafe { asm!("sti", options(nomem, nostack)) };
        let status = ($function)($($argument),*);
        // SAFETY: as above.
        unsafe { asm!("cli", options(nomem, nostack)) };
        status
    }};
}

impl Firmware {
    /// # Safety
    /// They are what the firmware called this program with.
    pub unsafe fn new(image: Handle, table: *const SystemTable) -> Self {
        // SAFETY: by the caller; the table stays for good.
        Self { image, table: unsafe { &*table } }
    }

    fn boot(&self) -> &'static BootServices {
        // SAFETY: it is there until the boot services end, and then nobody asks.
        unsafe { &*self.table.boot }
    }

    /// Looks up what a handle can do.
    fn protocol<T>(&self, handle: Handle, guid: &Guid) -> Option<&'static T> {
        let mut found = ptr::null_mut();
        let status = call!(self.boot().handle_protocol, handle, guid, &raw mut found);
        // SAFETY: the firmware's protocols have the form that their identifier stands for, and stay.
        (status == 0).then(|| unsafe { found.cast::<T>().as_ref() }).flatten()
    }

    /// This program.
    pub fn loaded_image(&self) -> Option<&'static LoadedImage> {
        self.protocol(self.image, &LOADED_IMAGE)
    }

    /// The disk that has a partition.
    pub fn disk_of(&self, partition: Handle) -> Option<&'static BlockIo> {
        let path = self.protocol::<u8>(partition, &DEVICE_PATH)?;
        // The path of the disk is that of the partition without its last node. A node begins with its type (1 byte), subtype (1) and
        // length (2); 0x7f with 0xff is the end.
        let from = (&raw const *path).expose_provenance() as u64;
        // SAFETY: a path goes on until the node that ends it.
        let node = |at: u64| unsafe { ptr::with_exposed_provenance::<[u8; 4]>((from + at) as usize).read() };
        let (mut len, mut last) = (0, None);
        while node(len)[0] != END[0] {
            last = Some(len);
            len += u64::from(u16::from_le_bytes([node(len)[2], node(len)[3]]).max(4));
        }
        let copy = self.allocate(len, 1 << 32)?;
        let mut rest = ptr::with_exposed_provenance::<u8>(copy as usize);
        // SAFETY: these pages have just been allocated, and have room for all nodes.
        unsafe {
            copy_memory(from, copy, len);
            ptr::with_exposed_provenance_mut::<[u8; 4]>((copy + last?) as usize).write(END);
        }
        let mut handle = ptr::null_mut();
        let status = call!(self.boot().locate_device_path, &BLOCK_IO, &raw mut rest, &raw mut handle);
        (status == 0).then(|| self.protocol(handle, &BLOCK_IO)).flatten()
    }

    /// Where ACPI begins, zero where there is none.
    pub fn rsdp(&self) -> u64 {
        let mut found = 0;
        for index in 0..self.table.configuration_count {
            // SAFETY: the table has so many entries.
            let entry = unsafe { &*self.table.configuration.add(index) };
            if entry.guid == ACPI_20 || (entry.guid == ACPI_10 && found == 0) {
                found = entry.table;
            }
        }
        found
    }

    /// Takes the pages from `start` on, if they are free.
    pub fn claim(&self, start: u64, len: u64) {
        let mut at = start;
        let pages = len.div_ceil(PAGE) as usize;
        // Where it fails, the memory is somebody's who may be gone when it is needed; that is looked at then.
        let _ = call!(self.boot().allocate_pages, AT_ADDRESS, LOADER_DATA, pages, &raw mut at);
    }

    /// Takes pages for data that end below an address.
    pub fn allocate(&self, len: u64, below: u64) -> Option<u64> {
        self.pages(LOADER_DATA, len, below)
    }

    /// Takes pages for code that end below an address.
    pub fn allocate_code(&self, len: u64, below: u64) -> Option<u64> {
        self.pages(LOADER_CODE, len, below)
    }

    fn pages(&self, kind: u32, len: u64, below: u64) -> Option<u64> {
        let mut at = below - 1;
        let pages = len.div_ceil(PAGE) as usize;
        let status = call!(self.boot().allocate_pages, MAX_ADDRESS, kind, pages, &raw mut at);
        (status == 0).then_some(at)
    }

    /// Has no timer end what takes long.
    pub fn stop_watchdog(&self) {
        let _ = call!(self.boot().set_watchdog_timer, 0, 0, 0, ptr::null());
    }

    /// How many bytes the memory map takes now, and some more: allocating them makes it longer.
    pub fn memory_map_len(&self) -> u64 {
        let (mut len, mut key, mut step, mut version) = (0, 0, 0, 0);
        let function = self.boot().get_memory_map;
        let _ = call!(function, &raw mut len, ptr::null_mut(), &raw mut key, &raw mut step, &raw mut version);
        (len + 8 * step) as u64
    }

    /// Reads the memory map into the `room` bytes at `map`, gives each entry's type, address and length to `each`, and returns the key
    /// that stands for it.
    pub fn memory_map(&self, map: u64, room: u64, mut each: impl FnMut(u32, u64, u64)) -> Option<usize> {
        let (mut len, mut key, mut step, mut version) = (room as usize, 0, 0, 0);
        let into = ptr::with_exposed_provenance_mut::<c_void>(map as usize);
        let function = self.boot().get_memory_map;
        let status = call!(function, &raw mut len, into, &raw mut key, &raw mut step, &raw mut version);
        if status != 0 || step == 0 {
            return None;
        }
        for offset in (0..len).step_by(step) {
            // SAFETY: the firmware has written an entry there, which begins like ours.
            let entry = unsafe { &*into.byte_add(offset).cast::<Descriptor>() };
            each(entry.kind, entry.start, entry.pages.saturating_mul(PAGE));
        }
        Some(key)
    }

    /// Ends the boot services, if the memory map is still the one that `key` stands for. Interrupts are off from then on.
    pub fn exit(&self, key: usize) -> bool {
        call!(self.boot().exit, self.image, key) == 0
    }

    /// Says what is wrong, to the firmware's console and then to the first serial port: the one may be a screen that nobody sees, or go to
    /// the other, and characters would alternate. Then switches the machine off: nobody is there to choose another disk, and a machine
    /// that stands still looks like one that works.
    pub fn fail(&self, text: &str) -> ! {
        self.fail_with(text, None, "")
    }

    /// The same with a number in the middle.
    pub fn fail_with(&self, text: &str, number: Option<u64>, rest: &str) -> ! {
        // SAFETY: the console is there until the boot services end.
        if let Some(console) = unsafe { self.table.console.as_ref() } {
            spell(text, number, rest, |byte| {
                let unit = [u16::from(byte), 0];
                let _ = call!(console.output_string, console, unit.as_ptr());
            });
        }
        spell(text, number, rest, serial);
        // SAFETY: its functions are there for good.
        let runtime = unsafe { &*self.table.runtime };
        let _ = call!(runtime.reset_system, SHUT_DOWN, 0, 0, ptr::null());
        loop {
            // SAFETY: nothing follows.
            unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
        }
    }
}

/// Gives a message of ASCII to `print`, with a line end.
fn spell(text: &str, number: Option<u64>, rest: &str, mut print: impl FnMut(u8)) {
    text.bytes().for_each(&mut print);
    if let Some(number) = number {
        let mut unit = 1;
        while number / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            print(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
    }
    rest.bytes().chain(*b"\r\n").for_each(print);
}

impl BlockIo {
    /// Reads `len` bytes from byte `offset` on, both of which are multiples of a page, to `into`.
    ///
    /// # Safety
    /// Nobody else uses the memory there.
    pub unsafe fn read(&self, offset: u64, len: u64, into: u64) -> Status {
        // SAFETY: a protocol has its medium's description.
        let media = unsafe { &*self.media };
        let block = offset / u64::from(media.block_size.max(1));
        let into = ptr::with_exposed_provenance_mut(into as usize);
        call!(self.read_blocks, self, media.id, block, len as usize, into)
    }
}

/// Copies `len` bytes.
///
/// # Safety
/// They can be read, and those at `to` are nobody else's and no part of them.
pub unsafe fn copy_memory(from: u64, to: u64, len: u64) {
    // SAFETY: by the caller.
    unsafe {
        asm!("rep movsb", inout("rsi") from => _, inout("rdi") to => _, inout("rcx") len => _, options(nostack, preserves_flags));
    }
}

/// Writes a byte to the first serial port, waiting for as long as it may take for one, where there is one.
fn serial(byte: u8) {
    for _ in 0..0x10000 {
        let status: u8;
        // SAFETY: reading the line's status changes no memory.
        unsafe { asm!("in al, dx", in("dx") 0x3fdu16, out("al") status, options(nomem, nostack)) };
        if status & 0x20 != 0 {
            break;
        }
    }
    // SAFETY: the port takes a byte, or there is none.
    unsafe { asm!("out dx, al", in("dx") 0x3f8u16, in("al") byte, options(nomem, nostack)) };
}
