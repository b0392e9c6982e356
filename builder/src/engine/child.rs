//! A child process that cannot outlive us. The one file outside the kernel and its test program that needs `unsafe`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// A running child. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(super) struct Leashed(Child);

impl Leashed {
    /// Starts `command` in a process group of its own, so that the terminal's Ctrl-C reaches us and not the child, and has the
    /// kernel kill it when this process ends, be it by `SIGKILL`. The child keeps the descriptors `inherit`, under their numbers; they
    /// are closed here.
    ///
    /// To be called from a thread that lives as long as the child is to: the kernel kills it when its parent *thread* ends
    /// (`PR_SET_PDEATHSIG`, prctl(2)).
    pub fn spawn(mut command: Command, inherit: Vec<OwnedFd>) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        command.process_group(0);
        #[expect(
            unsafe_code,
            reason = "the death signal can only be set by the child, between fork and exec"
        )]
        // SAFETY: between fork and exec the closure only makes system calls (prctl, getppid, fcntl), which are async-signal-safe:
        // it takes no lock and allocates nothing.
        unsafe {
            command.pre_exec(move || before_exec(parent, &inherit));
        }
        command.spawn().map(Self)
    }

    /// Its process.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Kills the child and waits for it.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }

    /// Waits for the child's end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        // Fails only when the child has been reaped.
        let _ = self.kill();
    }
}

fn before_exec(parent: Pid, inherit: &[OwnedFd]) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        // The parent ended before the death signal was set: nobody is left to be started for.
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    for fd in inherit {
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(())
}
