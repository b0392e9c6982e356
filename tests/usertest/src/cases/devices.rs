//! The devices that every program expects in `/dev`.

use libc::*;

use super::helpers::{close, fstat, get, must_open, open};
use crate::report::Report;
use crate::sys;

/// Runs the group.
pub fn run(t: &mut Report) {
    packets(t);
    numbers(t);
    null_zero_full(t);
    random(t);
    much(t);
    terminals(t);
    shared_memory(t);
}

fn numbers(t: &mut Report) {
    for (name, path) in [
        ("null", c"/dev/null"),
        ("zero", c"/dev/zero"),
        ("full", c"/dev/full"),
        ("random", c"/dev/random"),
        ("urandom", c"/dev/urandom"),
        ("tty", c"/dev/tty"),
    ] {
        let mut stat = sys::zeroed::<libc::stat>();
        t.call(&format!("{name}_stat"), sys!(SYS_stat, path, &mut stat));
        t.show(
            &format!("{name}_number"),
            format!("{:o} {}:{}", stat.st_mode, major(stat.st_rdev), minor(stat.st_rdev)),
        );
    }
    for (name, path) in
        [("stdin", "/dev/stdin"), ("stdout", "/dev/stdout"), ("stderr", "/dev/stderr"), ("fd", "/dev/fd")]
    {
        t.show(
            &format!("{name}_link"),
            std::fs::read_link(path)
                .map_or_else(|error| error.to_string(), |path| path.display().to_string()),
        );
    }
}

fn null_zero_full(t: &mut Report) {
    let mut buffer = [1u8; 100];
    let null = must_open(c"/dev/null", O_RDWR);
    t.call("null_read", sys!(SYS_read, null, &mut buffer, 100));
    t.call("null_write", sys!(SYS_write, null, &buffer, 100));
    t.call("null_write_fault", sys!(SYS_write, null, 8, 100));
    t.call("null_seek", sys!(SYS_lseek, null, 5, SEEK_SET));
    t.call("null_truncate", sys!(SYS_ftruncate, null, 0));
    t.call("null_tty", sys!(SYS_ioctl, null, TCGETS, &mut sys::zeroed::<termios>()));
    let again = must_open(c"/dev/null", O_WRONLY | O_CREAT | O_TRUNC);
    t.show("null_open_truncate", "ok");
    close(again);
    let mut poll = [pollfd { fd: null, events: POLLIN | POLLOUT, revents: 0 }];
    t.call("null_poll", sys!(SYS_poll, &mut poll, 1, 0));
    close(null);
    let zero = must_open(c"/dev/zero", O_RDWR);
    t.call("zero_read", sys!(SYS_read, zero, &mut buffer, 100));
    t.show("zero_bytes", buffer.iter().map(|&byte| u32::from(byte)).sum::<u32>());
    t.call("zero_write", sys!(SYS_write, zero, &buffer, 100));
    t.call("zero_read_fault", sys!(SYS_read, zero, 8, 100));
    let private = sys!(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    t.ok("zero_map", private);
    close(zero);
    let full = must_open(c"/dev/full", O_RDWR);
    t.call("full_read", sys!(SYS_read, full, &mut buffer, 100));
    t.call("full_write", sys!(SYS_write, full, &buffer, 1));
    close(full);
}

/// More than the kernel moves at once.
fn much(t: &mut Report) {
    const LENGTH: usize = (5 << 20) + 77;
    let mut bytes = vec![1u8; LENGTH];
    for (name, path) in [("zero", c"/dev/zero"), ("urandom", c"/dev/urandom")] {
        let fd = must_open(path, O_RDONLY);
        t.call(&format!("{name}_much"), sys!(SYS_read, fd, bytes.as_mut_ptr(), LENGTH));
        t.is(&format!("{name}_much_to_the_end"), bytes[LENGTH - 64..].iter().any(|&byte| byte != 1));
        close(fd);
    }
    t.call("getrandom_much", sys!(SYS_getrandom, bytes.as_mut_ptr(), LENGTH, 0));
    let fd = sys!(SYS_memfd_create, c"much", 0).expect("a file") as i32;
    t.call("file_write_much", sys!(SYS_write, fd, bytes.as_ptr(), LENGTH));
    let mut back = vec![0u8; LENGTH];
    t.call("file_read_much", sys!(SYS_pread64, fd, back.as_mut_ptr(), LENGTH, 0));
    t.is("file_much_is_the_same", back == bytes);
    let to = sys!(SYS_memfd_create, c"copy", 0).expect("a file") as i32;
    sys!(SYS_lseek, fd, 0, SEEK_SET).expect("the start");
    t.call("sendfile_much", sys!(SYS_sendfile, to, fd, 0, LENGTH));
    close(fd);
    close(to);
}

fn random(t: &mut Report) {
    let mut first = [0u8; 32];
    let mut second = [0u8; 32];
    t.call("getrandom", sys!(SYS_getrandom, &mut first, 32, 0));
    t.call("getrandom_nonblock", sys!(SYS_getrandom, &mut second, 32, GRND_NONBLOCK));
    t.is("getrandom_differs", first != second && first != [0; 32]);
    t.call("getrandom_random", sys!(SYS_getrandom, &mut second, 32, GRND_RANDOM));
    t.call("getrandom_insecure", sys!(SYS_getrandom, &mut second, 32, 4));
    t.call("getrandom_bad_flag", sys!(SYS_getrandom, &mut second, 32, 8));
    t.call("getrandom_both", sys!(SYS_getrandom, &mut second, 32, 6));
    t.call("getrandom_fault", sys!(SYS_getrandom, 8, 32, 0));
    t.call("getrandom_nothing", sys!(SYS_getrandom, 8, 0, 0));
    let fd = must_open(c"/dev/urandom", O_RDWR);
    t.call("urandom_read", sys!(SYS_read, fd, &mut first, 32));
    t.call("urandom_write", sys!(SYS_write, fd, &first, 32));
    t.is("urandom_differs", first != second);
    let mut large = vec![0u8; 100_000];
    t.call("urandom_large", sys!(SYS_read, fd, large.as_mut_ptr(), 100_000));
    let ones: u32 = large.iter().map(|byte| byte.count_ones()).sum();
    t.is("urandom_is_even", (395_000..405_000).contains(&ones));
    close(fd);
}

fn terminals(t: &mut Report) {
    let master = must_open(c"/dev/ptmx", O_RDWR | O_NOCTTY);
    t.show("ptmx", "ok");
    let mut number = -1i32;
    t.call("ptmx_number", sys!(SYS_ioctl, master, TIOCGPTN, &mut number));
    t.call("ptmx_unlock", sys!(SYS_ioctl, master, TIOCSPTLCK, &0i32));
    let path = std::ffi::CString::new(format!("/dev/pts/{number}")).expect("no NUL");
    let slave = must_open(&path, O_RDWR | O_NOCTTY);
    t.show("pts", "ok");
    let mut mode = sys::zeroed::<termios>();
    t.call("pts_tcgets", sys!(SYS_ioctl, slave, TCGETS, &mut mode));
    t.show(
        "pts_default_modes",
        format!("{:o} {:o} {:o} {:o}", mode.c_iflag, mode.c_oflag, mode.c_cflag, mode.c_lflag),
    );
    let mut old = [0x77u8; 20];
    t.call("pts_tcgeta", sys!(SYS_ioctl, slave, TCGETA, &mut old));
    t.show("pts_old_modes", format!("{old:x?}"));
    // Without signs for what is interrupted, and with another character for it.
    (old[6], old[9]) = (old[6] & !1, 5);
    t.call("pts_tcseta", sys!(SYS_ioctl, slave, TCSETA, &old));
    let mut changed = sys::zeroed::<termios>();
    let _ = sys!(SYS_ioctl, slave, TCGETS, &mut changed);
    t.show("pts_changed_modes", format!("{:o} {:?}", changed.c_lflag, &changed.c_cc[..10]));
    t.call("pts_tcseta_fault", sys!(SYS_ioctl, slave, TCSETA, 8));
    t.call("pts_tcsets_back", sys!(SYS_ioctl, slave, TCSETS, &mode));
    let mut size = winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    t.call("pts_set_size", sys!(SYS_ioctl, master, TIOCSWINSZ, &size));
    size.ws_row = 0;
    t.call("pts_get_size", sys!(SYS_ioctl, slave, TIOCGWINSZ, &mut size));
    t.show("pts_size", format!("{}x{}", size.ws_col, size.ws_row));
    let mut buffer = [0u8; 64];
    let _ = sys!(SYS_write, master, b"hello\r", 6);
    t.call("pts_line", sys!(SYS_read, slave, &mut buffer, 64));
    t.show("pts_line_bytes", format!("{:?}", String::from_utf8_lossy(&buffer[..6])));
    t.call("ptmx_echo", sys!(SYS_read, master, &mut buffer, 64));
    t.show("ptmx_echo_bytes", format!("{:?}", String::from_utf8_lossy(&buffer[..7])));
    let _ = sys!(SYS_close, slave);
    let _ = sys!(SYS_close, master);
}

fn shared_memory(t: &mut Report) {
    let fd = must_open(c"/dev/shm/usertest", O_CREAT | O_RDWR);
    t.show("shm_open", "ok");
    t.call("shm_truncate", sys!(SYS_ftruncate, fd, 4096));
    t.show("shm_size", fstat(fd).st_size);
    t.call("shm_unlink", sys!(SYS_unlink, c"/dev/shm/usertest"));
    let _ = sys!(SYS_close, fd);
    let mut stat = sys::zeroed::<libc::stat>();
    t.call("shm_stat", sys!(SYS_stat, c"/dev/shm", &mut stat));
    t.show("shm_mode", format!("{:o}", stat.st_mode & 0o7777));
    t.show("dev_null_content", get("/dev/null").len());
}

/// The packet mode of a pseudo terminal's master.
fn packets(t: &mut Report) {
    const TIOCGPKT: u64 = 0x8004_5438;
    let master = open(c"/dev/ptmx", O_RDWR | O_NOCTTY).expect("a pseudo terminal") as i32;
    sys!(SYS_ioctl, master, TIOCSPTLCK, &0i32).expect("it is ours");
    let slave = sys!(SYS_ioctl, master, 0x5441, O_RDWR | O_NOCTTY).expect("its other end") as i32;
    let read = || {
        let mut wanted = pollfd { fd: master, events: POLLIN | POLLPRI, revents: 0 };
        let ready = sys!(SYS_poll, &raw mut wanted as usize, 1, 0);
        let mut bytes = [0u8; 16];
        match ready {
            Ok(1) => {
                let got = sys!(SYS_read, master, &mut bytes, 16).unwrap_or(0);
                format!("{:#x} {:?}", wanted.revents, &bytes[..got])
            }
            other => format!("{other:?}"),
        }
    };
    let mut mode = 7i32;
    t.call("packet_on_the_slave", sys!(SYS_ioctl, slave, TIOCPKT, &1i32));
    t.call("packet_fault", sys!(SYS_ioctl, master, TIOCPKT, 8));
    t.call("packet_before", sys!(SYS_ioctl, master, TIOCGPKT, &mut mode));
    t.show("packet_before_mode", mode);
    t.call("packet_on", sys!(SYS_ioctl, master, TIOCPKT, &1i32));
    t.call("packet_get", sys!(SYS_ioctl, master, TIOCGPKT, &mut mode));
    t.show("packet_mode", mode);
    t.show("packet_nothing", read());
    let _ = sys!(SYS_write, slave, c"abc", 3);
    t.show("packet_data", read());
    for (name, queue) in [("in", 0), ("out", 1), ("both", 2)] {
        let _ = sys!(SYS_ioctl, slave, TCFLSH, queue);
        t.show(&format!("packet_flush_{name}"), read());
    }
    for (name, action) in [("stop", 0), ("stop_again", 0), ("start", 1), ("start_again", 1)] {
        let _ = sys!(SYS_ioctl, slave, TCXONC, action);
        t.show(&format!("packet_{name}"), read());
    }
    let mut settings = sys::zeroed::<termios>();
    sys!(SYS_ioctl, slave, TCGETS, &mut settings).expect("its settings");
    settings.c_iflag ^= IXON;
    sys!(SYS_ioctl, slave, TCSETS, &settings).expect("they can be set");
    t.show("packet_no_stop", read());
    settings.c_iflag ^= IXON;
    sys!(SYS_ioctl, slave, TCSETS, &settings).expect("they can be set");
    t.show("packet_do_stop", read());
    let _ = sys!(SYS_ioctl, slave, TCFLSH, 0);
    let _ = sys!(SYS_write, slave, c"x", 1);
    t.show("packet_news_first", read());
    t.show("packet_data_behind", read());
    t.call("packet_off", sys!(SYS_ioctl, master, TIOCPKT, &0i32));
    let _ = sys!(SYS_write, slave, c"y", 1);
    t.show("packet_none", read());
    close(slave);
    close(master);
}
