//! socket(2), bind(2), and what names there are.

use libc::*;

use super::helpers::{
    Name, bind, close_all, connect, listener, name, name_of, option, pair, send_to, socket,
};
use crate::cases::helpers::{CLOSED, NOWHERE, close, fstat, lstat, status_of};
use crate::report::Report;

pub fn run(t: &mut Report) {
    making(t);
    files(t);
    paths(t);
    abstracts(t);
    lengths(t);
    permissions(t);
}

fn making(t: &mut Report) {
    for (case, [family, kind, protocol]) in [
        ("stream", [AF_UNIX, SOCK_STREAM, 0]),
        ("datagram", [AF_UNIX, SOCK_DGRAM, 0]),
        ("sequence", [AF_UNIX, SOCK_SEQPACKET, 0]),
        ("raw_is_datagram", [AF_UNIX, SOCK_RAW, 0]),
        ("protocol_unix", [AF_UNIX, SOCK_STREAM, 1]),
        ("protocol_other", [AF_UNIX, SOCK_STREAM, 2]),
        ("protocol_negative", [AF_UNIX, SOCK_STREAM, -1]),
        ("type_none", [AF_UNIX, 0, 0]),
        ("type_rdm", [AF_UNIX, SOCK_RDM, 0]),
        ("type_packet", [AF_UNIX, 10, 0]),
        ("type_beyond", [AF_UNIX, 11, 0]),
        ("type_beyond_protocol", [AF_UNIX, 11, 2]),
        ("type_and_protocol", [AF_UNIX, 0, 2]),
        ("flag_unknown", [AF_UNIX, SOCK_STREAM | 0x10, 0]),
        ("flag_unknown_family", [99, SOCK_STREAM | 0x10, 0]),
        ("family_none", [0, SOCK_STREAM, 0]),
        ("family_unknown", [45, SOCK_STREAM, 0]),
        ("family_beyond", [46, SOCK_STREAM, 0]),
        ("family_negative", [-1, SOCK_STREAM, 0]),
        ("family_unknown_type_beyond", [99, 12, 0]),
        ("family_none_type_beyond", [0, 12, 0]),
    ] {
        let made = sys!(SYS_socket, family, kind, protocol);
        t.call(case, made);
        if let Ok(fd) = made {
            t.show(&format!("{case}_type"), option(fd as i32, SO_TYPE));
            t.show(&format!("{case}_protocol"), option(fd as i32, SO_PROTOCOL));
            close(fd as i32);
        }
    }
    let fd = socket(SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    t.call("cloexec", sys!(SYS_fcntl, fd, F_GETFD));
    t.call("nonblock", sys!(SYS_fcntl, fd, F_GETFL));
    close(fd);
    t.call("pair_fault", sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, NOWHERE));
    t.call("pair_family", sys!(SYS_socketpair, 99, SOCK_STREAM, 0, NOWHERE));
    t.call("pair_flag", sys!(SYS_socketpair, AF_UNIX, SOCK_STREAM | 0x20, 0, NOWHERE));
    let ends = pair(SOCK_STREAM);
    t.show("pair", format!("{ends:?}"));
    close_all(ends);
}

fn files(t: &mut Report) {
    let [one, other] = pair(SOCK_STREAM);
    t.show("mode", format!("{:o}", fstat(one).st_mode));
    t.call("seek", sys!(SYS_lseek, one, 0, SEEK_SET));
    t.call("pread", sys!(SYS_pread64, one, &mut [0u8; 4], 4, 0));
    t.call("pwrite", sys!(SYS_pwrite64, one, b"x", 1, 0));
    t.call("truncate", sys!(SYS_ftruncate, one, 0));
    t.call("sync", sys!(SYS_fsync, one));
    t.call("mmap", sys!(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, one, 0));
    t.call("getdents", sys!(SYS_getdents64, one, &mut [0u8; 64], 64));
    t.call("unknown_ioctl", sys!(SYS_ioctl, one, 0x1234_5678, 0));
    t.call("tty_ioctl", sys!(SYS_ioctl, one, TCGETS, &mut [0u8; 64]));
    let target = std::fs::read_link(format!("/proc/self/fd/{one}")).expect("a link");
    let inode = fstat(one).st_ino;
    t.is("link", target.to_str() == Some(&format!("socket:[{inode}]")));
    t.call("open_link", sys!(SYS_openat, AT_FDCWD, c"/proc/self/fd/3", O_RDWR, 0));
    t.call("chmod", sys!(SYS_fchmod, one, 0o600));
    t.show("mode_changed", format!("{:o}", fstat(one).st_mode));
    close(one);
    close(other);
    let file = crate::cases::helpers::must_open(c"plain", O_CREAT | O_RDWR);
    let place = crate::cases::helpers::must_open(c"plain", O_PATH);
    for (case, fd) in [("closed", CLOSED), ("file", file), ("place", place)] {
        t.call(&format!("{case}_bind"), sys!(SYS_bind, fd, NOWHERE, 1000));
        t.call(&format!("{case}_listen"), sys!(SYS_listen, fd, 1));
        t.call(&format!("{case}_accept"), sys!(SYS_accept, fd, NOWHERE, NOWHERE));
        t.call(&format!("{case}_accept4_flag"), sys!(SYS_accept4, fd, 0, 0, 1));
        t.call(&format!("{case}_connect"), sys!(SYS_connect, fd, NOWHERE, 1000));
        t.call(&format!("{case}_getsockname"), sys!(SYS_getsockname, fd, NOWHERE, NOWHERE));
        t.call(&format!("{case}_getpeername"), sys!(SYS_getpeername, fd, NOWHERE, NOWHERE));
        t.call(&format!("{case}_shutdown"), sys!(SYS_shutdown, fd, 9));
        t.call(&format!("{case}_send"), sys!(SYS_sendto, fd, NOWHERE, 1, 0, NOWHERE, 1000));
        t.call(&format!("{case}_send_range"), sys!(SYS_sendto, fd, usize::MAX - 10, 1000, 0, 0, 0));
        t.call(&format!("{case}_recv"), sys!(SYS_recvfrom, fd, NOWHERE, 1, 0, 0, 0));
        t.call(&format!("{case}_sendmsg"), sys!(SYS_sendmsg, fd, NOWHERE, 0));
        t.call(&format!("{case}_recvmsg"), sys!(SYS_recvmsg, fd, NOWHERE, 0));
        t.call(&format!("{case}_sendmmsg"), sys!(SYS_sendmmsg, fd, NOWHERE, 1, 0));
        t.call(&format!("{case}_recvmmsg"), sys!(SYS_recvmmsg, fd, NOWHERE, 1, 0, NOWHERE));
        t.call(
            &format!("{case}_getsockopt"),
            sys!(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, NOWHERE, NOWHERE),
        );
        t.call(
            &format!("{case}_setsockopt"),
            sys!(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, NOWHERE, -1),
        );
    }
    close(file);
    close(place);
}

fn paths(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    t.show("unnamed", name_of(SYS_getsockname, fd));
    t.call("bind", bind(fd, "place"));
    t.show("named", name_of(SYS_getsockname, fd));
    t.show("node", format!("{:o} {}", lstat(c"place").st_mode, lstat(c"place").st_size));
    t.call("open_node", sys!(SYS_openat, AT_FDCWD, c"place", O_RDWR, 0));
    t.call("bind_again", bind(fd, "elsewhere"));
    t.is("bind_again_leaves_nothing", !std::path::Path::new("elsewhere").exists());
    t.call("bind_again_taken", bind(fd, "place"));
    t.call("bind_again_abstract", bind(fd, "\0usertest-elsewhere"));
    let second = socket(SOCK_STREAM);
    t.call("bind_taken", bind(second, "place"));
    t.call("bind_file", bind(second, "plain"));
    t.call("bind_folder", bind(second, "."));
    t.call("bind_nowhere", bind(second, "none/place"));
    t.call("bind_in_file", bind(second, "plain/place"));
    t.call("bind_slash", bind(second, "slash/"));
    t.call("connect_not_listening", connect(second, "place"));
    t.call("connect_file", connect(second, "plain"));
    t.call("connect_nowhere", connect(second, "none"));
    t.call("connect_in_file", connect(second, "plain/place"));
    t.call("unlink", sys!(SYS_unlinkat, AT_FDCWD, c"place", 0));
    t.show("named_after_unlink", name_of(SYS_getsockname, fd));
    t.call("rebind", bind(second, "place"));
    close(fd);
    close(second);
    let third = socket(SOCK_STREAM);
    t.call("bind_left_behind", bind(third, "place"));
    t.call("connect_left_behind", connect(third, "place"));
    close(third);
    t.call("mknod", sys!(SYS_mknodat, AT_FDCWD, c"made", S_IFSOCK | 0o666, 0));
    let fourth = socket(SOCK_STREAM);
    t.call("connect_made", connect(fourth, "made"));
    let _ = sys!(SYS_umask, 0o077);
    t.call("bind_umask", bind(fourth, "masked"));
    let _ = sys!(SYS_umask, 0o022);
    t.show("node_umask", format!("{:o}", lstat(c"masked").st_mode));
    close(fourth);
    let listening = listener(SOCK_STREAM, "original", 5);
    sys!(SYS_symlinkat, c"original", AT_FDCWD, c"linked").expect("a link");
    sys!(SYS_linkat, AT_FDCWD, c"original", AT_FDCWD, c"hard", 0).expect("a link");
    let client = socket(SOCK_STREAM);
    t.call("connect_through_link", connect(client, "linked"));
    t.show("peer_through_link", name_of(SYS_getpeername, client));
    close(client);
    let client = socket(SOCK_STREAM);
    sys!(SYS_renameat, AT_FDCWD, c"hard", AT_FDCWD, c"renamed").expect("a rename");
    t.call("connect_renamed", connect(client, "renamed"));
    close(client);
    let client = socket(SOCK_STREAM);
    t.call("bind_over_link", bind(client, "linked"));
    close(client);
    close(listening);
}

fn abstracts(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    t.call("abstract", bind(fd, "\0usertest"));
    t.show("abstract_name", name_of(SYS_getsockname, fd));
    t.call("abstract_again", bind(fd, "\0usertest2"));
    let second = socket(SOCK_STREAM);
    t.call("abstract_taken", bind(second, "\0usertest"));
    t.call("abstract_longer", bind(second, "\0usertest\0"));
    t.show("abstract_longer_name", name_of(SYS_getsockname, second));
    let datagrams = socket(SOCK_DGRAM);
    t.call("abstract_other_kind", bind(datagrams, "\0usertest"));
    t.call("abstract_connect_other_kind", connect(socket(SOCK_SEQPACKET), "\0usertest"));
    t.call("abstract_connect_not_listening", connect(socket(SOCK_STREAM), "\0usertest"));
    t.call("abstract_connect_nobody", connect(socket(SOCK_STREAM), "\0usertest-nobody"));
    for extra in [6, 7, 8] {
        close(extra);
    }
    close(fd);
    let third = socket(SOCK_STREAM);
    t.call("abstract_free_again", bind(third, "\0usertest"));
    for fd in [second, datagrams, third] {
        close(fd);
    }
    let any = socket(SOCK_DGRAM);
    t.call("autobind", sys!(SYS_bind, any, &name("").0, 2));
    let found = name_of(SYS_getsockname, any);
    t.is("autobind_name", found.starts_with("8 1 \"\\0") && found.len() == "8 1 \"\\000000\"".len());
    t.call("autobind_again", sys!(SYS_bind, any, &name("").0, 2));
    t.is("autobind_keeps", found == name_of(SYS_getsockname, any));
    t.call("autobind_then_bind", bind(any, "\0usertest-other"));
    close(any);
}

fn lengths(t: &mut Report) {
    let fd = socket(SOCK_STREAM);
    let Name(address, _) = name("x");
    for length in [0usize, 1, 111, 128, 129, usize::MAX] {
        t.call(&format!("bind_length_{}", length as i32), sys!(SYS_bind, fd, &address, length));
        t.call(&format!("connect_length_{}", length as i32), sys!(SYS_connect, fd, &address, length));
    }
    t.call("bind_fault", sys!(SYS_bind, fd, NOWHERE, 10));
    t.call("bind_fault_long", sys!(SYS_bind, fd, NOWHERE, 200));
    t.call("connect_fault", sys!(SYS_connect, fd, NOWHERE, 10));
    let mut other = address;
    other.sun_family = AF_INET as u16;
    t.call("bind_family", sys!(SYS_bind, fd, &other, 10));
    t.call("connect_family", sys!(SYS_connect, fd, &other, 10));
    other.sun_family = AF_UNSPEC as u16;
    t.call("connect_unspec", sys!(SYS_connect, fd, &other, 10));
    // A path needs no NUL; 108 bytes of it fit.
    let long = "y".repeat(108);
    t.call("bind_longest", sys!(SYS_bind, fd, &name(&long).0, 110));
    t.show("longest_name", name_of(SYS_getsockname, fd).len());
    t.is("longest_node", std::path::Path::new(&long).exists());
    close(fd);
    let fd = socket(SOCK_STREAM);
    t.call("bind_no_nul", sys!(SYS_bind, fd, &name("nonul").0, 2 + 3));
    t.show("no_nul_name", name_of(SYS_getsockname, fd));
    let mut address = sys_zeroed();
    let mut length = 4i32;
    t.call("getsockname_short", sys!(SYS_getsockname, fd, &raw mut address, &mut length));
    t.show("getsockname_short_length", format!("{length} {}", address.sun_path[1]));
    length = -1;
    t.call("getsockname_negative", sys!(SYS_getsockname, fd, &raw mut address, &mut length));
    length = 0;
    t.call("getsockname_nothing", sys!(SYS_getsockname, fd, NOWHERE, &mut length));
    t.show("getsockname_nothing_length", length);
    length = 10;
    t.call("getsockname_fault", sys!(SYS_getsockname, fd, NOWHERE, &mut length));
    t.call("getsockname_fault_length", sys!(SYS_getsockname, fd, &raw mut address, NOWHERE));
    t.call("getpeername_alone", sys!(SYS_getpeername, fd, NOWHERE, NOWHERE));
    close(fd);
}

fn sys_zeroed() -> sockaddr_un {
    crate::sys::zeroed::<sockaddr_un>()
}

fn permissions(t: &mut Report) {
    std::fs::create_dir("locked").expect("a folder");
    std::fs::set_permissions("locked", std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let stream = listener(SOCK_STREAM, "guarded", 5);
    sys!(SYS_fchmodat, AT_FDCWD, c"guarded", 0o755).expect("a mode");
    let datagrams = socket(SOCK_DGRAM);
    bind(datagrams, "guarded-datagrams").expect("a name");
    sys!(SYS_fchmodat, AT_FDCWD, c"guarded-datagrams", 0o744).expect("a mode");
    let as_other = |run: &dyn Fn() -> Result<usize, crate::sys::Errno>| {
        status_of(|| {
            sys!(SYS_setgid, 1234).expect("root may");
            sys!(SYS_setuid, 1234).expect("root may");
            run().map_or_else(|errno| errno.0, |_| 0)
        })
    };
    t.show("bind_forbidden", as_other(&|| bind(socket(SOCK_STREAM), "locked/place")));
    t.show("connect_forbidden", as_other(&|| connect(socket(SOCK_STREAM), "guarded")));
    t.show("send_forbidden", as_other(&|| send_to(socket(SOCK_DGRAM), b"x", "guarded-datagrams")));
    sys!(SYS_fchmodat, AT_FDCWD, c"guarded", 0o722).expect("a mode");
    t.show("connect_allowed", as_other(&|| connect(socket(SOCK_STREAM), "guarded")));
    close(stream);
    close(datagrams);
}
