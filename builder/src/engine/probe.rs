//! The probe guest: the smallest program that shows whether KVM runs the guest kernel's instructions at the CPU's speed.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use object::Endianness;
use object::elf;
use object::write::elf::{FileHeader, ProgramHeader, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::child::Leashed;
use super::qemu::CommandLine;
use super::{Accelerator, Machine, in_memory, inherited};

/// Rises when the probe changes, so that verdicts of an older one are not used.
pub(super) const VERSION: u32 = 1;

/// How long the probe may take. A CPU needs some 10 ms for its loop, and QEMU some 20 ms to start; a busy host a multiple of both.
const LIMIT: Duration = Duration::from_millis(1500);

/// The probe's answers on the serial line.
const GOOD: u8 = b'K';

/// Where it is loaded.
const BASE: u64 = 0x10_0000;
/// Where its code starts in the file, and behind [`BASE`] in memory.
const CODE_OFFSET: u64 = 0x1000;

/// What it runs, in 32-bit protected mode, where PVH enters. It needs no stack.
#[rustfmt::skip]
const CODE: &[u8] = &[
    0xb8, 0x01, 0x00, 0x00, 0x00,       //    mov eax, 1
    0x0f, 0xa2,                         //    cpuid
    0x81, 0xe2, 0x70, 0x81, 0x00, 0x07, //    and edx, TSC|MSR|PAE|CX8|CMOV|FXSR|SSE|SSE2 (0x0700_8170)
    0x81, 0xfa, 0x70, 0x81, 0x00, 0x07, //    cmp edx, the same
    0x75, 0x21,                         //    jne bad
    0xb8, 0x01, 0x00, 0x00, 0x80,       //    mov eax, 0x8000_0001
    0x0f, 0xa2,                         //    cpuid
    0x81, 0xe2, 0x00, 0x08, 0x10, 0x20, //    and edx, SYSCALL|NX|LM (0x2010_0800)
    0x81, 0xfa, 0x00, 0x08, 0x10, 0x20, //    cmp edx, the same
    0x75, 0x0c,                         //    jne bad
    0xb9, 0x00, 0x00, 0x00, 0x01,       //    mov ecx, 1 << 24
    0x49,                               // l: dec ecx
    0x75, 0xfd,                         //    jnz l
    0xb0, GOOD,                         //    mov al, GOOD
    0xeb, 0x02,                         //    jmp say
    0xb0, b'F',                         // bad: mov al, 'F'
    0x66, 0xba, 0xf8, 0x03,             // say: mov dx, 0x3f8 (COM1)
    0xee,                               //    out dx, al
    0xf4,                               // h: hlt
    0xeb, 0xfd,                         //    jmp h
];

/// Runs the probe under KVM; an error is the reason not to use it.
pub(super) fn run(qemu: &Path) -> Result<(), String> {
    run_under(Accelerator::Kvm, qemu)
}

fn run_under(accelerator: Accelerator, qemu: &Path) -> Result<(), String> {
    match try_run(accelerator, qemu) {
        Ok(Outcome::Said(GOOD)) => Ok(()),
        Ok(Outcome::Said(_)) => Err("the CPU that it offers lacks features of x86-64".to_owned()),
        Ok(Outcome::Silent) => Err(format!("a probe guest did not finish within {} ms", LIMIT.as_millis())),
        Ok(Outcome::Ended(words)) => Err(format!("a probe guest did not run{words}")),
        Err(error) => Err(format!("a probe guest could not be started: {error}")),
    }
}

/// What became of a probe.
enum Outcome {
    /// It gave an answer.
    Said(u8),
    /// It ran out of time.
    Silent,
    /// QEMU ended. What it complained about is added to a message.
    Ended(String),
}

fn try_run(accelerator: Accelerator, qemu: &Path) -> io::Result<Outcome> {
    let image = in_memory("probe", &image().map_err(io::Error::other)?)?;
    let mut line = CommandLine(vec![qemu.into()]);
    line.add(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "16M"]);
    line.machine(Machine::Microvm);
    line.accelerator(accelerator);
    line.add(["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]);
    line.add(["-kernel".as_ref(), inherited(&image).as_os_str()]);
    let (mut answer, serial) = io::pipe()?;
    let (mut complaints, errors) = io::pipe()?;
    let mut command = line.command();
    command.stdin(Stdio::null()).stdout(serial).stderr(errors);
    let mut guest = Leashed::spawn(command, vec![image.into()])?;

    let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: i64::from(LIMIT.subsec_nanos()) };
    if poll(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&limit))? == 0 {
        return Ok(Outcome::Silent);
    }
    let mut byte = [0];
    if answer.read(&mut byte)? == 1 {
        return Ok(Outcome::Said(byte[0]));
    }
    guest.kill()?;
    let mut words = String::new();
    complaints.read_to_string(&mut words)?;
    Ok(Outcome::Ended(words.trim().lines().next().map_or(String::new(), |line| format!(": {line}"))))
}

/// The probe as an ELF that loaders enter by PVH.
fn image() -> Result<Vec<u8>, object::write::Error> {
    let entry = BASE + CODE_OFFSET;
    // XEN_ELFNOTE_PHYS32_ENTRY (18): name and description are four bytes each.
    let note: Vec<u8> = [4u32, 4, 18, u32::from_le_bytes(*b"Xen\0"), entry as u32]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(2);
    let note_offset = writer.reserve(note.len() as u64, 4);
    writer.reserve_until(CODE_OFFSET);
    let length = writer.reserve(CODE.len() as u64, 1) + CODE.len() as u64;
    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_X86_64,
        e_entry: entry,
        e_flags: elf::FileFlags(0),
    })?;
    writer.write_align_program_headers();
    for (p_type, offset, size) in [(elf::PT_LOAD, 0, length), (elf::PT_NOTE, note_offset, note.len() as u64)]
    {
        writer.write_program_header(&ProgramHeader {
            p_type,
            p_flags: elf::PF_R | elf::PF_X,
            p_offset: offset,
            p_vaddr: BASE + offset,
            p_paddr: BASE + offset,
            p_filesz: size,
            p_memsz: size,
            p_align: 4,
        });
    }
    writer.write(&note);
    writer.pad_until(CODE_OFFSET);
    writer.write(CODE);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The emulator stands for a KVM that works.
    #[test]
    fn the_probe_reports_a_machine_that_works() {
        let qemu = super::super::find_qemu().expect("QEMU is needed for this test");
        assert_eq!(run_under(Accelerator::Tcg, &qemu), Ok(()));
    }

    /// A program in the place of QEMU.
    fn stand_in(dir: &tempfile::TempDir, script: &str) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join("qemu");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_machine_that_hangs_is_given_up_soon() {
        let dir = tempfile::tempdir().unwrap();
        let started = std::time::Instant::now();
        let reason = run_under(Accelerator::Kvm, &stand_in(&dir, "exec sleep 60")).unwrap_err();
        assert_eq!(reason, "a probe guest did not finish within 1500 ms");
        assert!(started.elapsed() < LIMIT + Duration::from_secs(2));
    }

    #[test]
    fn a_machine_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let reason = run_under(Accelerator::Kvm, &stand_in(&dir, "echo no such thing >&2; echo >&2"));
        assert_eq!(reason.unwrap_err(), "a probe guest did not run: no such thing");
        let reason = run_under(Accelerator::Kvm, &stand_in(&dir, "echo F; exec sleep 60"));
        assert_eq!(reason.unwrap_err(), "the CPU that it offers lacks features of x86-64");
    }
}
