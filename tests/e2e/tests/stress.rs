//! `stress-ng --verify` finds nothing wrong with calls that are made as often as they can be, on one processor and on two.

use std::time::Duration;

use anyhow::Result;
use isopod_e2e::image;
use isopod_e2e::isopod::Isopod;

/// The script that runs them.
const SCRIPT: &[u8] = include_bytes!("../programs/scripts/stress.sh");

/// Runs stressors in a guest, each for so many seconds. They stand between commas, each with its options.
fn stress(cpus: &str, seconds: u64, stressors: &str) -> Result<()> {
    let stressors: Vec<_> = stressors.split(", ").collect();
    let image = image::complete(&["stress-ng"])?.files(&[("stress.sh", SCRIPT)]);
    let (reference, each) = (image.cached()?.reference(), seconds.to_string());
    let command = ["run", "--cpus", cpus, "-m", "512M", &reference, "/bin/sh", "/stress.sh", &each];
    let passed: Vec<_> = stressors.iter().map(|line| format!("{}: passed\n", name(line))).collect();
    // Some come to their end only after having undone what they did.
    let limit = Duration::from_secs(60 + stressors.len() as u64 * (seconds + 20));
    Isopod::shared()
        .limit(limit)
        .run(&[&command, &stressors[..]].concat())?
        .expect_stdout(&passed.concat())
        .expect_status(0);
    Ok(())
}

/// A stressor's name, without its options.
fn name(stressor: &str) -> &str {
    stressor.split(' ').next().unwrap_or(stressor)
}

/// Runs a kind of stressors for five seconds each on one processor and on two.
fn all_of(stressors: &str) -> Result<()> {
    stress("1", 5, stressors)?;
    stress("2", 5, stressors)
}

#[test]
fn some_of_each_kind_for_a_second() -> Result<()> {
    stress("2", 1, "fork, vfork, exec, sigq, timer, futex, mremap, vm, pipe, epoll, mq, rename")
}

#[test]
#[ignore = "takes minutes"]
fn processes_and_threads() -> Result<()> {
    all_of(
        "affinity, cap, chroot, clone, context, cpu, cyclic --cyclic-policy rr, daemon, dekker, dynlib, env, exec, exit-group, fork, forkheavy, \
         ioprio, kcmp, kill, loadavg, nice, personality, peterson, pidfd, prctl, priv-instr, pthread, ptrace, pty, race-sched, resched, \
         resources, rlimit, schedpolicy, seccomp, session, set, softlockup, spawn, switch, unshare, vfork, \
         vforkmany, wait, yield, zombie",
    )
}

#[test]
#[ignore = "takes minutes"]
fn memory() -> Result<()> {
    all_of(
        "atomic, bigheap, brk, far-branch, fault, icache, madvise, malloc, mcontend, memfd, memrate, memthrash, \
         mincore, misaligned, mlock, mlockmany --pathological, mmap, mmapaddr, mmapfixed, mmapfork, mmaphuge, \
         mmapmany, mprotect, mremap, msync, msyncmany, munmap, numa, opcode, pagemove, pageswap, physpage, pkey, \
         randlist, remap, rmap, seal, stack, stackmmap, tlb-shootdown, tree, vm, vm-addr, vm-rw, vm-segv, vm-splice",
    )
}

#[test]
#[ignore = "takes minutes"]
fn signals_and_time() -> Result<()> {
    all_of(
        "alarm, bad-altstack, clock, fp-error, goto, hrtimers, itimer, longjmp, nanosleep, sigabrt, sigchld, \
         sigfd, sigfpe, sigio, signal, signest, sigpending, sigpipe, sigq, sigrt, sigsegv, sigsuspend, \
         sigtrap, sleep, timer, timerfd, vdso",
    )
}

#[test]
#[ignore = "takes minutes"]
fn pipes_queues_and_locks() -> Result<()> {
    all_of(
        "dev-shm, epoll, eventfd, fifo, futex, inotify, membarrier, mq, msg, mutex, oom-pipe --pathological, \
         pipe, pipeherd, poll, ring-pipe, sem, sem-sysv, sendfile, shm, shm-sysv, sockfd, sockpair, splice, \
         tee",
    )
}

#[test]
#[ignore = "takes minutes"]
fn sockets_of_the_internet() -> Result<()> {
    all_of("sock, sockabuse, sockmany, udp, udp-flood")
}

#[test]
#[ignore = "takes minutes"]
fn files() -> Result<()> {
    all_of(
        "access, aio, aiol, chattr, chdir, chmod, chown, close, copy-file, dentry, dir, dirdeep, dirmany, dnotify, dup, \
         fallocate, fcntl, file-ioctl, filename, flock, fpunch, fsize, fstat, full, getdent, hdd, \
         inode-flags, io, iomix --iomix-bytes 8M, lease, link, locka, lockf, lockofd, mknod, null, open, \
         procfs, ramfs, readahead, rename, revio, seek, symlink, sync-file, sysfs, touch, umount, utime, \
         xattr, zero",
    )
}

#[test]
#[ignore = "takes minutes"]
fn calls_with_any_arguments() -> Result<()> {
    all_of("enosys, get, getrandom, reboot, sysbadaddr, sysinfo, sysinval --pathological, syscall, urandom")
}
