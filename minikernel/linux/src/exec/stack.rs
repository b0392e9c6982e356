//! The first stack of a program: strings, vectors, and the auxiliary vector (System V ABI, 3.4.1; `getauxval(3)`).

use alloc::vec;
use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::paging::Access;
use isopod_hal::{PAGE_SIZE, cpu};

use super::image::Loaded;
use crate::mm::{AddressSpace, Backing, FaultKind, MapRequest, Placement, Start, VmaFlags, page_down};
use crate::process::{Identity, Resource, Thread, rseq};

/// The longest single string, with its NUL (`MAX_ARG_STRLEN`).
pub const STRING_MAX: usize = 32 * PAGE_SIZE;
/// How much of the stack is there from the start, before it grows by itself.
const INITIAL: usize = 128 << 10;

/// What a program is started with.
#[derive(Debug)]
pub struct Strings<'a> {
    /// The arguments, its own name first.
    pub arguments: &'a [Vec<u8>],
    /// The environment.
    pub environment: &'a [Vec<u8>],
    /// The path as given to execve.
    pub path: &'a [u8],
}

/// What the auxiliary vector tells.
#[derive(Debug)]
pub struct About<'a> {
    /// The program.
    pub program: Loaded,
    /// Where the interpreter was loaded, if there is one.
    pub interpreter: Option<Loaded>,
    /// Where the vDSO is.
    pub vdso: usize,
    /// Who runs it.
    pub identity: &'a Identity,
    /// It has rights that its caller did not have.
    pub secure: bool,
    /// For the C library's stack protector and pointer guard.
    pub random: [u8; 16],
}

/// How many bytes arguments and environment may still take, with a pointer to each: a quarter of the stack in all, at most 6 MiB and at least
/// 128 KiB (`execve(2)`, "Limits on size of arguments and environment").
#[derive(Debug)]
pub struct Room(usize);

impl Room {
    /// What a program may take that `thread` executes.
    pub fn of(thread: &Thread) -> Self {
        let stack = thread.process().limits.lock().get(Resource::Stack).soft;
        Self((stack / 4).clamp(STRING_MAX as u64, 6 << 20) as usize)
    }

    /// One more string is passed. `E2BIG` when there is no room for it, or it is too long by itself.
    pub fn take(&mut self, string: &[u8]) -> Result<(), Errno> {
        if string.len() >= STRING_MAX {
            return Err(Errno::E2BIG);
        }
        // The string, its NUL, and its pointer.
        self.0 = self.0.checked_sub(string.len() + 1 + size_of::<u64>()).ok_or(Errno::E2BIG)?;
        Ok(())
    }
}

/// Maps the stack and fills it; returns the stack pointer.
pub async fn build(
    space: &AddressSpace,
    arguments: &Strings<'_>,
    about: &About<'_>,
    executable: bool,
) -> Result<usize, Errno> {
    let top = space.layout().stack_top;
    let mut content = Content::new(top);
    content.reserve(arguments)?;
    let auxiliary = content.fill(arguments, about)?;
    let pointer = content.start();
    let bottom = page_down(pointer).min(top - INITIAL);
    let mut access = Access::READ | Access::WRITE;
    access.set(Access::EXEC, executable);
    space.map(MapRequest {
        placement: Placement::Fixed(bottom),
        length: top - bottom,
        access,
        max_access: Access::all(),
        flags: VmaFlags::GROWS_DOWN | VmaFlags::STACK,
        backing: Backing::Anonymous,
    })?;
    space.set_start(Start {
        arguments: content.arguments.clone(),
        environment: content.environment.clone(),
        stack: pointer,
        auxiliary: auxiliary.into(),
    });
    content.write_to(space).await?;
    Ok(pointer)
}

/// The bytes of the stack, built from the top down.
struct Content {
    top: usize,
    /// In reverse order of addresses: the last byte pushed is the lowest.
    reversed: Vec<u8>,
    arguments: core::ops::Range<usize>,
    environment: core::ops::Range<usize>,
}

impl Content {
    fn new(top: usize) -> Self {
        Self { top, reversed: Vec::new(), arguments: 0..0, environment: 0..0 }
    }

    /// Makes room for everything that depends on what the program was given.
    fn reserve(&mut self, given: &Strings<'_>) -> Result<(), Errno> {
        /// The vectors' ends, the auxiliary vector, random bytes and the like.
        const REST: usize = 1024;
        let strings = given.arguments.iter().chain(given.environment);
        // Each string with its NUL and its pointer.
        let bytes: usize = strings.map(|string| string.len() + 1 + size_of::<u64>()).sum();
        self.reversed.try_reserve_exact(bytes + given.path.len() + REST).map_err(|_| Errno::ENOMEM)
    }

    fn start(&self) -> usize {
        self.top - self.reversed.len()
    }

    /// Pushes bytes; returns their address.
    fn push(&mut self, bytes: &[u8]) -> usize {
        self.reversed.extend(bytes.iter().rev());
        self.start()
    }

    /// Pushes a string with its NUL.
    fn push_string(&mut self, string: &[u8]) -> usize {
        self.push(&[0]);
        self.push(string)
    }

    /// Pushes strings so that the first lies lowest, as programs that rewrite their title expect.
    fn push_strings(&mut self, strings: &[Vec<u8>]) -> Result<Vec<usize>, Errno> {
        let mut addresses = Vec::new();
        addresses.try_reserve_exact(strings.len()).map_err(|_| Errno::ENOMEM)?;
        addresses.extend(strings.iter().rev().map(|string| self.push_string(string)));
        addresses.reverse();
        Ok(addresses)
    }

    /// Pushes everything; returns the auxiliary vector.
    fn fill(&mut self, arguments: &Strings<'_>, about: &About<'_>) -> Result<Vec<(u64, u64)>, Errno> {
        self.push(&[0; 8]);
        let path = self.push_string(arguments.path);
        let end = self.start();
        let environment = self.push_strings(arguments.environment)?;
        self.environment = self.start()..end;
        let end = self.start();
        let list = self.push_strings(arguments.arguments)?;
        self.arguments = self.start()..end;
        let platform = self.push_string(b"x86_64");
        let random = self.push(&about.random);
        let vector = auxiliary(about, path, platform, random);
        let words = 1 + list.len() + 1 + environment.len() + 1 + vector.len() * 2;
        // The stack pointer must be a multiple of 16 where the words begin.
        let padding = (self.start() - words * 8) % 16;
        self.push(&vec![0; padding]);
        for (kind, value) in vector.iter().rev() {
            self.push(&value.to_le_bytes());
            self.push(&kind.to_le_bytes());
        }
        self.push_pointers(&environment);
        self.push_pointers(&list);
        self.push(&(list.len() as u64).to_le_bytes());
        Ok(vector)
    }

    /// Pushes a NULL-terminated array of pointers.
    fn push_pointers(&mut self, addresses: &[usize]) {
        self.push(&[0; 8]);
        for address in addresses.iter().rev() {
            self.push(&(*address as u64).to_le_bytes());
        }
    }

    /// Copies the bytes into an address space that is not active.
    async fn write_to(mut self, space: &AddressSpace) -> Result<(), Errno> {
        self.reversed.reverse();
        let start = self.start();
        space.fault_in(start..self.top, FaultKind::Write).await.map_err(|_| Errno::ENOMEM)?;
        let mut at = start;
        while at < self.top {
            let step = (page_down(at) + PAGE_SIZE - at).min(self.top - at);
            let frame = space.frame_at(at).ok_or(Errno::ENOMEM)?;
            frame.write(at % PAGE_SIZE, &self.reversed[at - start..at - start + step]);
            at += step;
        }
        Ok(())
    }
}

/// `HWCAP2_FSGSBASE`: the program may use rdfsbase and its like (`arch/x86/include/uapi/asm/hwcap2.h`).
fn hwcap2() -> u64 {
    u64::from(cpu::features().fsgsbase) << 1
}

/// The auxiliary vector: pairs of type and value, `AT_NULL` last (`include/uapi/linux/auxvec.h`).
fn auxiliary(about: &About<'_>, path: usize, platform: usize, random: usize) -> Vec<(u64, u64)> {
    const AT_NULL: u64 = 0;
    const AT_PHDR: u64 = 3;
    const AT_PHENT: u64 = 4;
    const AT_PHNUM: u64 = 5;
    const AT_PAGESZ: u64 = 6;
    const AT_BASE: u64 = 7;
    const AT_FLAGS: u64 = 8;
    const AT_ENTRY: u64 = 9;
    const AT_UID: u64 = 11;
    const AT_EUID: u64 = 12;
    const AT_GID: u64 = 13;
    const AT_EGID: u64 = 14;
    const AT_PLATFORM: u64 = 15;
    const AT_HWCAP: u64 = 16;
    const AT_CLKTCK: u64 = 17;
    const AT_SECURE: u64 = 23;
    const AT_RANDOM: u64 = 25;
    const AT_HWCAP2: u64 = 26;
    const AT_RSEQ_FEATURE_SIZE: u64 = 27;
    const AT_RSEQ_ALIGN: u64 = 28;
    const AT_EXECFN: u64 = 31;
    const AT_SYSINFO_EHDR: u64 = 33;
    const AT_MINSIGSTKSZ: u64 = 51;
    let Identity { users, groups, .. } = about.identity;
    let program = about.program;
    vec![
        (AT_SYSINFO_EHDR, about.vdso as u64),
        (AT_HWCAP, u64::from(cpu::features().hwcap)),
        (AT_PAGESZ, PAGE_SIZE as u64),
        (AT_CLKTCK, crate::time::TICKS_PER_SECOND),
        (AT_PHDR, program.headers as u64),
        (AT_PHENT, 56),
        (AT_PHNUM, program.headers_count as u64),
        (AT_BASE, about.interpreter.map_or(0, |interpreter| interpreter.bias as u64)),
        (AT_FLAGS, 0),
        (AT_ENTRY, program.entry as u64),
        (AT_UID, u64::from(users.real)),
        (AT_EUID, u64::from(users.effective)),
        (AT_GID, u64::from(groups.real)),
        (AT_EGID, u64::from(groups.effective)),
        (AT_SECURE, u64::from(about.secure)),
        (AT_RANDOM, random as u64),
        (AT_HWCAP2, hwcap2()),
        (AT_EXECFN, path as u64),
        (AT_PLATFORM, platform as u64),
        (AT_RSEQ_FEATURE_SIZE, u64::from(rseq::FEATURE_SIZE)),
        (AT_RSEQ_ALIGN, u64::from(rseq::SIZE)),
        (AT_MINSIGSTKSZ, crate::signal::minimum_stack() as u64),
        (AT_NULL, 0),
    ]
}
