//! What fcntl(2) and ioctl(2) answer about files of every kind, and `O_DIRECT` where it means nothing.

use libc::*;

use super::helpers::{NOWHERE, close, must_open, open, pipe, put};
use crate::report::Report;
use crate::sys::{self, Errno};

const FIBMAP: u32 = 1;
const FIGETBSZ: u32 = 2;
const FIOQSIZE: u32 = 0x5460;
const FICLONE: u32 = 0x4004_9409;
const FIEMAP: u32 = 0xc020_660b;
const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const F_GET_RW_HINT: i32 = 1035;
const F_SET_RW_HINT: i32 = 1036;
const TIOCGLCKTRMIOS: u32 = 0x5456;
const TIOCSLCKTRMIOS: u32 = 0x5457;

/// Runs the group.
pub fn run(t: &mut Report) {
    put("file", "content");
    let memory = sys!(SYS_memfd_create, c"requests", 0).expect("a file") as i32;
    sys!(SYS_write, memory, b"content", 7).expect("bytes");
    let [reader, writer] = pipe();
    let mut pair = [0; 2];
    sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &mut pair).expect("two sockets");
    let event = sys!(SYS_eventfd2, 0, 0).expect("an event") as i32;
    let kinds = [
        ("memory", memory),
        ("shm", must_open(c"/dev/shm", O_RDONLY)),
        ("pipe", reader),
        ("socket", pair[0]),
        ("event", event),
        ("null", must_open(c"/dev/null", O_RDWR)),
        ("proc", must_open(c"/proc/self/stat", O_RDONLY)),
        ("directory", must_open(c".", O_RDONLY)),
    ];
    for (name, fd) in kinds {
        of_file_system(t, name, fd);
        t.call(&format!("{name}_lease"), sys!(SYS_fcntl, fd, F_GETLEASE, 0));
    }
    // What a file in memory would do with it differs from Linux to Linux.
    for (name, fd) in &kinds[1..] {
        t.call(&format!("{name}_set_direct"), sys!(SYS_fcntl, *fd, F_SETFL, O_DIRECT));
    }
    clones(t, memory, reader);
    hints(t, memory);
    for (_, fd) in kinds {
        close(fd);
    }
    close(writer);
    close(pair[1]);
    direct(t);
    appending(t);
    locked_settings(t);
}

fn of_file_system(t: &mut Report, name: &str, fd: i32) {
    let mut number = -1i32;
    // A disk knows the blocks of its folders.
    if name != "directory" {
        t.call(&format!("{name}_block_size"), sys!(SYS_ioctl, fd, FIGETBSZ, &mut number));
        t.show(&format!("{name}_block_size_told"), number);
        t.call(&format!("{name}_extents"), sys!(SYS_ioctl, fd, FIEMAP, &mut [0u64, 4096, 0, 0]));
    }
    let mut block = 3i32;
    t.call(&format!("{name}_block"), sys!(SYS_ioctl, fd, FIBMAP, &mut block));
    t.show(&format!("{name}_block_told"), block);
    t.call(&format!("{name}_block_nowhere"), sys!(SYS_ioctl, fd, FIBMAP, NOWHERE));
    t.ok(&format!("{name}_size"), sys!(SYS_ioctl, fd, FIOQSIZE, &mut 0u64));
    t.call(&format!("{name}_size_nowhere"), sys!(SYS_ioctl, fd, FIOQSIZE, NOWHERE));
    t.ok(&format!("{name}_flags"), sys!(SYS_ioctl, fd, FS_IOC_GETFLAGS, &mut 0u64));
    let mut about = sys::zeroed::<statfs>();
    t.call(&format!("{name}_statfs"), sys!(SYS_fstatfs, fd, &mut about));
    if name != "directory" {
        t.show(&format!("{name}_magic"), format!("{:x}", about.f_type));
    }
}

fn clones(t: &mut Report, memory: i32, reader: i32) {
    let other = sys!(SYS_memfd_create, c"other", 0).expect("a file") as i32;
    let folder = must_open(c"/dev/shm", O_RDONLY);
    t.call("clone", sys!(SYS_ioctl, other, FICLONE, memory));
    t.call("clone_of_nothing", sys!(SYS_ioctl, other, FICLONE, -1));
    t.call("clone_of_pipe", sys!(SYS_ioctl, other, FICLONE, reader));
    t.call("clone_pipe_of_pipe", sys!(SYS_ioctl, reader, FICLONE, reader));
    t.call("clone_directory", sys!(SYS_ioctl, folder, FICLONE, folder));
    close(other);
    close(folder);
}

fn hints(t: &mut Report, file: i32) {
    let mut hint = 9u64;
    let mut told = |t: &mut Report, case: &str| {
        t.call(case, sys!(SYS_fcntl, file, F_GET_RW_HINT, &mut hint));
        t.show(&format!("{case}_is"), hint);
    };
    told(t, "hint");
    t.call("hint_set", sys!(SYS_fcntl, file, F_SET_RW_HINT, &3u64));
    told(t, "hint_then");
    t.call("hint_unknown", sys!(SYS_fcntl, file, F_SET_RW_HINT, &6u64));
    t.call("hint_large", sys!(SYS_fcntl, file, F_SET_RW_HINT, &(1u64 << 32)));
    t.call("hint_nowhere", sys!(SYS_fcntl, file, F_SET_RW_HINT, NOWHERE));
    t.call("hint_to_nowhere", sys!(SYS_fcntl, file, F_GET_RW_HINT, NOWHERE));
}

fn direct(t: &mut Report) {
    sys!(SYS_mknod, c"fifo", S_IFIFO | 0o600, 0).expect("a FIFO");
    let opened = |t: &mut Report, name: &str, fd: Result<usize, Errno>| {
        t.ok(name, fd);
        if let Ok(fd) = fd {
            close(fd as i32);
        }
    };
    for (name, path) in [
        ("null", c"/dev/null"),
        ("fifo", c"fifo"),
        ("proc", c"/proc/self/stat"),
        ("directory", c"."),
        ("file", c"file"),
    ] {
        opened(t, &format!("open_direct_{name}"), open(path, O_RDONLY | O_NONBLOCK | O_DIRECT));
    }
}

fn appending(t: &mut Report) {
    let (from, to) = (must_open(c"file", O_RDONLY), must_open(c"log", O_CREAT | O_WRONLY | O_APPEND));
    t.call("sendfile_appending", sys!(SYS_sendfile, to, from, 0, 4));
    t.call("sendfile_appending_nothing", sys!(SYS_sendfile, to, from, 0, 0));
    let [reader, writer] = pipe();
    t.call("sendfile_pipe_append_flag", sys!(SYS_fcntl, writer, F_SETFL, O_APPEND));
    t.call("sendfile_pipe", sys!(SYS_sendfile, writer, from, 0, 4));
    for fd in [from, to, reader, writer] {
        close(fd);
    }
}

/// Settings of a terminal that programs cannot change (`ioctl_tty(2)`).
fn locked_settings(t: &mut Report) {
    let master = must_open(c"/dev/ptmx", O_RDWR | O_NOCTTY);
    sys!(SYS_ioctl, master, TIOCSPTLCK, &0i32).expect("it is ours");
    let terminal = sys!(SYS_ioctl, master, 0x5441, O_RDWR | O_NOCTTY).expect("its other end") as i32;
    let mut locked = [0x55u8; 36];
    t.call("locked_settings", sys!(SYS_ioctl, terminal, TIOCGLCKTRMIOS, &mut locked));
    t.show("locked_settings_are", format!("{locked:?}"));
    // Echo, and the character that interrupts.
    locked[12] = 8;
    locked[17] = 1;
    t.call("lock_settings", sys!(SYS_ioctl, terminal, TIOCSLCKTRMIOS, &locked));
    t.call("lock_settings_nowhere", sys!(SYS_ioctl, terminal, TIOCSLCKTRMIOS, NOWHERE));
    let mut mode = sys::zeroed::<termios>();
    sys!(SYS_ioctl, terminal, TCGETS, &mut mode).expect("its settings");
    mode.c_lflag &= !(ECHO | ISIG);
    (mode.c_cc[VINTR], mode.c_cc[VQUIT]) = (7, 7);
    t.call("set_what_is_locked", sys!(SYS_ioctl, terminal, TCSETS, &mode));
    sys!(SYS_ioctl, terminal, TCGETS, &mut mode).expect("its settings");
    t.show("what_was_locked", format!("{:o} {:?}", mode.c_lflag, &mode.c_cc[..2]));
    close(terminal);
    close(master);
}
