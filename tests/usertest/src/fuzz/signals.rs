//! Signals: every one is handled by nothing, and one of them wakes whatever waits.

use std::sync::OnceLock;

use super::WAKE;
use super::arguments::address;
use super::random::Random;

/// `struct kernel_sigaction`: handler, flags, restorer, mask.
type Action = [usize; 4];

/// Dispositions that calls may set: to ignore, the default, and to handle in several ways.
#[derive(Debug)]
pub struct Signals {
    actions: &'static [Action; 6],
}

extern "C" fn ignore(_: i32) {}

impl Signals {
    /// Handles every signal that can be handled.
    pub fn new() -> Self {
        static ACTIONS: OnceLock<[Action; 6]> = OnceLock::new();
        // With the first thread the C library takes two signals for itself; both are taken back below.
        let _ = std::thread::spawn(|| ()).join();
        // SAFETY: the handler does nothing, which is safe at any moment.
        unsafe { libc::signal(libc::SIGUSR2, ignore as *const () as usize) };
        // How the C library returns from a handler is seen in what it set. Without SA_RESTART, which it adds, calls are interrupted.
        let mut plain: Action = [0; 4];
        let _ = sys!(SYS_rt_sigaction, libc::SIGUSR2, 0, &mut plain, 8);
        let restorer = 0x0400_0000;
        plain[1] = restorer;
        let fatal = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
        for signal in (1..=64).filter(|signal| !fatal.contains(signal)) {
            let _ = sys!(SYS_rt_sigaction, signal, &plain, 0, 8);
        }
        let with = |flags: i32, mask: usize| [plain[0], restorer | flags as usize, plain[2], mask];
        let actions = ACTIONS.get_or_init(|| {
            [
                plain,
                [libc::SIG_DFL, 0, 0, 0],
                [libc::SIG_IGN, 0, 0, 0],
                with(libc::SA_RESTART, 0),
                with(libc::SA_SIGINFO | libc::SA_NODEFER, 0x5555_5555),
                with(libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_ONSTACK, !(1 << (WAKE - 1))),
            ]
        });
        Self { actions }
    }

    /// The address of a disposition.
    pub fn disposition(&self, random: &mut Random) -> usize {
        address(&self.actions[random.below(self.actions.len())])
    }
}
