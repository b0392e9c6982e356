//! `/dev/console` as a terminal, with the host's user at its far end.

use alloc::sync::Arc;

use isopod_fs::file::OpenFile;
use isopod_fs::vfs::OpenHow;
use isopod_fs::{Buffer, Bytes, Result, SetAttributes};
use isopod_hal::sync::Once;

use super::terminal::Far;
use super::{Terminal, job};
use crate::host::Host;
use crate::process::{Process, Thread};
use crate::sched;
use crate::syscall::with_view;

/// The console, once something is known of it.
static CONSOLE: Once<Arc<Terminal>> = Once::new();
/// Set when the application's streams are the console.
static STARTED: Once<()> = Once::new();

fn console() -> Result<&'static Arc<Terminal>> {
    if let Some(made) = CONSOLE.get() {
        return Ok(made);
    }
    let made = Terminal::new(Far::Host)?;
    Ok(CONSOLE.get_or_init(|| made))
}

/// The console, if it is a terminal and not only a way to the host.
pub fn started() -> Option<&'static Arc<Terminal>> {
    STARTED.get().and_then(|()| CONSOLE.get())
}

/// The host's window has this size, which may be told before the console is a terminal.
pub fn resize(rows: u16, columns: u16) {
    // Without memory for a terminal there is nothing to be sized.
    if let Ok(console) = console() {
        console.resize([rows, columns, 0, 0]);
    }
}

/// Makes the console a terminal, and the controlling terminal of the first process, whose user `uid` gets it. `input` is whether
/// anything will ever be typed.
pub fn start(thread: &Arc<Thread>, host: &Arc<dyn Host>, input: bool, uid: u32) -> Result<Arc<OpenFile>> {
    let terminal = console()?;
    STARTED.get_or_init(|| ());
    let file = with_view(thread, |view| {
        let flags = isopod_fs::file::OpenFlags::RDWR;
        view.open(view.root, b"/dev/console", &OpenHow::new(flags, 0))
    })?;
    file.inode().set_attributes(&SetAttributes { uid: Some(uid), ..SetAttributes::default() })?;
    let process: &Process = thread.process();
    job::set(terminal, process, 0);
    sched::spawn(wake_writers(Arc::clone(host), Arc::clone(terminal)));
    if input {
        sched::spawn(receive(Arc::clone(host), Arc::clone(terminal)));
    }
    Ok(file)
}

/// Has programs that print look again when the way to the host is free.
async fn wake_writers(host: Arc<dyn Host>, terminal: Arc<Terminal>) {
    loop {
        host.sendable()
            .until(|| {
                let mut state = terminal.lock();
                let free = state.held_up && host.can_send();
                state.held_up &= !free;
                free.then_some(())
            })
            .await;
        terminal.changed.wake_all();
    }
}

/// Passes on what is typed, until the host's user has hung up.
async fn receive(host: Arc<dyn Host>, terminal: Arc<Terminal>) {
    loop {
        terminal.changed.until(|| (terminal.room() > 0).then_some(())).await;
        let mut chunk = [0; 256];
        let wanted = terminal.room().min(chunk.len());
        let length =
            host.input_arrived().until(|| host.read_input(&mut Buffer::new(&mut chunk[..wanted])).ok()).await;
        if length == 0 {
            return terminal.hang_up();
        }
        // Without memory to keep it, what was typed is lost.
        let _ = terminal.receive(&mut Bytes::new(&chunk[..length]));
    }
}
