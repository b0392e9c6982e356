//! What can be asked of a terminal: `ioctl_tty(2)`.

use alloc::sync::Arc;

use isopod_fs::file::{OpenFile, UserMemory};
use isopod_fs::{Capabilities, Errno, Result};
use zerocopy::IntoBytes;

use super::screen::news;
use super::termios::Termios;
use super::{Terminal, job};
use crate::ipc::FIONREAD;
use crate::process;
use crate::signal::Signal;

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCGETA: u32 = 0x5405;
const TCSETA: u32 = 0x5406;
const TCSETAW: u32 = 0x5407;
const TCSETAF: u32 = 0x5408;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCEXCL: u32 = 0x540c;
const TIOCNXCL: u32 = 0x540d;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
pub(super) const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCSTI: u32 = 0x5412;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCNOTTY: u32 = 0x5422;
const TIOCSETD: u32 = 0x5423;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCSBRK: u32 = 0x5427;
const TIOCCBRK: u32 = 0x5428;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TIOCVHANGUP: u32 = 0x5437;
const TIOCGLCKTRMIOS: u32 = 0x5456;
const TIOCSLCKTRMIOS: u32 = 0x5457;
const TIOCGEXCL: u32 = 0x8004_5440;

/// Writes an `int`.
pub(super) fn put(memory: &mut dyn UserMemory, address: usize, value: u32) -> Result<usize> {
    memory.write(address, &value.to_le_bytes())?;
    Ok(0)
}

/// Reads an `int`.
pub(super) fn get(memory: &mut dyn UserMemory, address: usize) -> Result<i32> {
    let mut bytes = [0; 4];
    memory.read(address, &mut bytes)?;
    Ok(i32::from_le_bytes(bytes))
}

/// Serves a request that either end of a terminal takes. `ERESTART` when a process in the background was stopped; `ENOTTY` for all that
/// is not known.
pub(super) fn terminal(
    terminal: &Arc<Terminal>,
    master: bool,
    file: &OpenFile,
    request: u32,
    argument: usize,
    memory: &mut dyn UserMemory,
) -> Result<usize> {
    if matches!(
        request,
        TCSETS
            | TCSETSW
            | TCSETSF
            | TCSETS2
            | TCSETSW2
            | TCSETSF2
            | TCSETA
            | TCSETAW
            | TCSETAF
            | TCSBRK
            | TCSBRKP
            | TIOCSBRK
            | TIOCCBRK
            | TCXONC
            | TCFLSH
            | TIOCSETD
    ) {
        job::check_foreground(terminal, Signal::TTOU)?;
    }
    match request {
        TCGETS | TCGETS2 => {
            let termios = terminal.lock().line.termios;
            let length = if request == TCGETS { Termios::SHORT } else { size_of::<Termios>() };
            memory.write(argument, &termios.as_bytes()[..length])?;
        }
        TCGETA => {
            let old = terminal.lock().line.termios.old();
            memory.write(argument, &old)?;
        }
        TCSETA | TCSETAW | TCSETAF => set(terminal, argument, memory, Termios::OLD, request == TCSETAF)?,
        TCSETS | TCSETSW | TCSETSF => set(terminal, argument, memory, Termios::SHORT, request == TCSETSF)?,
        TCSETS2 | TCSETSW2 | TCSETSF2 => {
            set(terminal, argument, memory, size_of::<Termios>(), request == TCSETSF2)?;
        }
        TIOCSETD if get(memory, argument)? != 0 => return Err(Errno::EINVAL.into()),
        // What is printed is on its way already, and there is no line to break.
        TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK | TIOCSETD => {}
        TCXONC => match argument {
            0 | 1 => {
                let mut state = terminal.lock();
                state.line.screen.stop(argument == 0);
                terminal.settle(state);
            }
            2 | 3 => {}
            _ => return Err(Errno::EINVAL.into()),
        },
        TCFLSH => match argument {
            0 | 2 => {
                let mut state = terminal.lock();
                state.line.flush();
                if argument == 2 {
                    state.line.screen.tell(news::FLUSH_WRITE, 0);
                }
                state.pump();
                terminal.settle(state);
            }
            1 => {
                let mut state = terminal.lock();
                state.line.screen.tell(news::FLUSH_WRITE, 0);
                terminal.settle(state);
            }
            _ => return Err(Errno::EINVAL.into()),
        },
        TIOCEXCL | TIOCNXCL => terminal.lock().exclusive = request == TIOCEXCL,
        TIOCGEXCL => return put(memory, argument, u32::from(terminal.lock().exclusive)),
        TIOCSCTTY => {
            return job::acquire_explicitly(terminal, argument == 1, file.flags().readable());
        }
        TIOCNOTTY => return job::give_up(terminal),
        TIOCGPGRP => return put(memory, argument, job::foreground(terminal, master)?),
        TIOCSPGRP => {
            job::check_foreground(terminal, Signal::TTOU).map_err(|error| match error {
                isopod_fs::Error::Errno(Errno::EIO) => Errno::ENOTTY.into(),
                other => other,
            })?;
            job::foreground(terminal, false)?;
            job::set_foreground(terminal, get(memory, argument)?)?;
        }
        TIOCGSID => {
            job::foreground(terminal, master)?;
            let session = terminal.lock().session;
            return if session == 0 { Err(Errno::ENOTTY.into()) } else { put(memory, argument, session) };
        }
        FIONREAD => return put(memory, argument, terminal.lock().line.unread() as u32),
        // Typing for others has been a way out of a container once too often.
        TIOCSTI => return Err(Errno::EIO.into()),
        TIOCGWINSZ => memory.write(argument, terminal.lock().size.as_bytes())?,
        TIOCSWINSZ => {
            let mut size = [0u16; 4];
            memory.read(argument, size.as_mut_bytes())?;
            terminal.resize(size);
        }
        // Nothing printed waits for the line, and N_TTY, whose number is 0, is the only line discipline.
        TIOCOUTQ | TIOCGETD => return put(memory, argument, 0),
        TIOCGLCKTRMIOS => {
            let locked = terminal.lock().line.locked;
            memory.write(argument, &locked.as_bytes()[..Termios::SHORT])?;
        }
        TIOCSLCKTRMIOS => {
            check_administrator()?;
            let mut locked = terminal.lock().line.locked;
            memory.read(argument, &mut locked.as_mut_bytes()[..Termios::SHORT])?;
            terminal.lock().line.locked = locked;
        }
        TIOCVHANGUP => {
            check_administrator()?;
            terminal.hang_up();
        }
        _ => return Err(Errno::ENOTTY.into()),
    }
    Ok(0)
}

fn check_administrator() -> Result<()> {
    let caller = process::current().ok_or(Errno::EPERM)?;
    if caller.identity().capable(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Takes new settings, of which the program gives `length` bytes.
fn set(
    terminal: &Terminal,
    argument: usize,
    memory: &mut dyn UserMemory,
    length: usize,
    flush: bool,
) -> Result<()> {
    let mut termios = terminal.lock().line.termios;
    if length == Termios::OLD {
        let mut old = [0; Termios::OLD];
        memory.read(argument, &mut old)?;
        termios.take_old(&old);
    } else {
        memory.read(argument, &mut termios.as_mut_bytes()[..length])?;
    }
    let mut state = terminal.lock();
    termios.keep_locked(&state.line.termios, &state.line.locked);
    termios.settle();
    if flush {
        state.line.flush();
    }
    state.line.set(termios);
    state.pump();
    terminal.settle(state);
    Ok(())
}
