use isopod_hal::user::UserContext;

use super::*;
use crate::process::in_thread;
use crate::testing::{self, Task};

/// Where the program's memory lies.
const MEMORY: usize = 0x10_0000;

/// What is printed of the arguments of call `number`, by a program whose memory holds `bytes`.
fn shown(number: u64, registers: [u64; 6], result: Option<i64>, bytes: &[u8]) -> String {
    let thread = testing::thread();
    let memory = testing::map_pages(&thread, MEMORY, 1);
    assert!(Task::new(memory.write_bytes(MEMORY, bytes)).poll().is_ready());
    let ctx = Ctx::new(&thread, UserContext::new(0, 0).unwrap());
    let mut line = String::new();
    let kinds = table::find(number).unwrap().shown;
    let all = arguments(&ctx, Call { registers, result }, kinds, 0, &mut line);
    assert!(Task::new(in_thread(&thread, all)).poll().is_ready());
    line
}

fn plain(number: u64, registers: [u64; 6]) -> String {
    shown(number, registers, None, &[])
}

fn words(words: &[u64]) -> alloc::vec::Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const AT: u64 = MEMORY as u64;

#[test]
fn numbers_have_their_names() {
    assert_eq!(plain(62, [1, 15, 0, 0, 0, 0]), "1, SIGTERM");
    let anonymous = "NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0";
    assert_eq!(plain(9, [0, 0x1000, 3, 0x22, u64::MAX, 0]), anonymous);
    assert_eq!(plain(12, [0x1e0_1234, 0, 0, 0, 0, 0]), "0x1e01234");
    assert_eq!(plain(158, [0x1002, 0x40_0000, 0, 0, 0, 0]), "ARCH_SET_FS, 0x400000");
    assert_eq!(plain(90, [0, 0o4755, 0, 0, 0, 0]), "NULL, 04755");
    assert_eq!(plain(95, [0, 0, 0, 0, 0, 0]), "000");
    assert_eq!(plain(133, [0, 0o10644, 0, 0, 0, 0]), "NULL, S_IFIFO|0644, 0");
    assert_eq!(plain(41, [2, 0o2_000_001, 6, 0, 0, 0]), "AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP");
    let forked =
        "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7000";
    assert_eq!(plain(56, [0x120_0011, 0, 0, 0x7000, 0, 0]), forked);
}

#[test]
fn arguments_that_a_call_does_not_take_are_not_shown() {
    let cwd = -100_i64 as u64;
    assert_eq!(plain(257, [cwd, 0, 0o2_000_000, 0o644, 0, 0]), "AT_FDCWD, NULL, O_RDONLY|O_CLOEXEC");
    assert_eq!(plain(2, [0, 0o101, 0o644, 0, 0, 0]), "NULL, O_WRONLY|O_CREAT, 0644");
    assert_eq!(plain(72, [1, 1, 7, 0, 0, 0]), "1, F_GETFD");
    assert_eq!(plain(72, [1, 2, 1, 0, 0, 0]), "1, F_SETFD, FD_CLOEXEC");
    assert_eq!(plain(202, [0x5000, 0x81, 1, 9, 9, 9]), "0x5000, FUTEX_WAKE_PRIVATE, 1");
    assert_eq!(plain(202, [0x5000, 0x80, 1, 0, 9, 9]), "0x5000, FUTEX_WAIT_PRIVATE, 1, NULL");
    assert_eq!(plain(157, [38, 1, 0, 0, 0, 0]), "PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0");
    assert_eq!(plain(157, [3, 0, 0, 0, 0, 0]), "PR_GET_DUMPABLE");
}

#[test]
fn what_a_call_writes_is_shown_when_it_has() {
    assert_eq!(shown(0, [3, AT, 10, 0, 0, 0], None, b"abc"), "3, ");
    assert_eq!(shown(0, [3, AT, 10, 0, 0, 0], Some(3), b"abc"), "3, \"abc\", 10");
    assert_eq!(shown(0, [3, AT, 10, 0, 0, 0], Some(-9), b"abc"), "3, 0x100000, 10");
    assert_eq!(shown(22, [AT; 6], Some(0), &words(&[4 << 32 | 3])), "[3, 4]");
    assert_eq!(shown(61, [u64::MAX, AT, 1, 0, 0, 0], Some(0), &[]), "-1, 0x100000, WNOHANG, NULL");
    let status = |word| shown(61, [u64::MAX, AT, 0, 0, 0, 0], Some(7), &words(&[word]));
    assert_eq!(status(0x300), "-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL");
    assert_eq!(status(0x8b), "-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}], 0, NULL");
    assert_eq!(status(0x137f), "-1, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], 0, NULL");
    let events = [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 8];
    let two =
        "4, [{events=EPOLLIN, data={u32=7, u64=7}}, {events=EPOLLIN|EPOLLOUT, data={u32=8, u64=8}}], 9, -1";
    assert_eq!(shown(232, [4, AT, 9, 0xffff_ffff, 0, 0], Some(2), &events), two);
}

#[test]
fn structures_are_taken_apart() {
    assert_eq!(shown(35, [AT, 0, 0, 0, 0, 0], None, &words(&[1, 500])), "{tv_sec=1, tv_nsec=500}, NULL");
    let action = words(&[0x40_1000, 0x1400_0000, 0x40_2000, 1 << 16]);
    let text = "SIGINT, {sa_handler=0x401000, sa_mask=[CHLD], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x402000}, ";
    assert_eq!(shown(13, [2, AT, 0, 8, 0, 0], None, &action), text);
    let default = "SIGINT, {sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, ";
    assert_eq!(shown(13, [2, AT, 0, 8, 0, 0], None, &words(&[0; 4])), default);
    let all = shown(14, [0, AT, 0, 8, 0, 0], None, &words(&[!(1 << 8)]));
    assert_eq!(all, "SIG_BLOCK, ~[KILL], ");
    let address = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let there = "3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}, 16";
    assert_eq!(shown(42, [3, AT, 16, 0, 0, 0], None, &address), there);
    assert_eq!(
        shown(49, [3, AT, 5, 0, 0, 0], None, b"\x01\0\0ab"),
        "3, {sa_family=AF_UNIX, sun_path=@\"ab\"}, 5"
    );
    let mut stat = [0; 144];
    stat[24..28].copy_from_slice(&0o100_644_u32.to_le_bytes());
    stat[48] = 9;
    assert_eq!(shown(5, [3, AT, 0, 0, 0, 0], Some(0), &stat), "3, {st_mode=S_IFREG|0644, st_size=9, ...}");
    stat[24..28].copy_from_slice(&0o020_620_u32.to_le_bytes());
    stat[40..42].copy_from_slice(&[3, 1]);
    let device = "3, {st_mode=S_IFCHR|0620, st_rdev=makedev(0x1, 0x3), ...}";
    assert_eq!(shown(5, [3, AT, 0, 0, 0, 0], Some(0), &stat), device);
}

#[test]
fn lists_are_shown_with_what_they_point_to() {
    let mut bytes = words(&[AT + 64, AT + 68, 0, AT + 64, 0, 0, 0, 0]);
    bytes.extend(b"ls\0\0-l\0");
    assert_eq!(
        shown(59, [AT + 64, AT, AT + 24, 0, 0, 0], None, &bytes),
        "\"ls\", [\"ls\", \"-l\"], 0x100018 /* 1 var */"
    );
    // One that is not there is its address.
    assert_eq!(plain(59, [0, 0x5000, 0, 0, 0, 0]), "NULL, 0x5000, NULL");
    let mut bytes = words(&[AT + 64, 2, AT + 66, 1, 0, 0, 0, 0]);
    bytes.extend(b"ab\n");
    let vectors = "1, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"\\n\", iov_len=1}], 2";
    assert_eq!(shown(20, [1, AT, 2, 0, 0, 0], None, &bytes), vectors);
    let message = words(&[0, 0, AT + 64, 1, 0, 0, 0, 0, AT + 80, 2, u64::from_le_bytes(*b"hi......")]);
    let text = "3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"hi\", iov_len=2}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0";
    assert_eq!(shown(46, [3, AT, 0, 0, 0, 0], None, &message), text);
}

#[test]
fn results_are_shown_as_the_call_means_them() {
    let shown = |number, registers, value| {
        let mut line = String::new();
        let layout = layouts::of_result(table::find(number).unwrap().name());
        result(Call { registers, result: Some(value) }, value, layout, &mut line);
        line
    };
    assert_eq!(shown(2, [0; 6], -2), "-1 ENOENT (No such file or directory)");
    assert_eq!(shown(9, [0; 6], 0x7f00_0000_0000), "0x7f0000000000");
    assert_eq!(shown(95, [0; 6], 0o22), "022");
    assert_eq!(shown(72, [1, 3, 0, 0, 0, 0], 0x8002), "0x8002 (flags O_RDWR|O_LARGEFILE)");
    assert_eq!(shown(72, [1, 1, 0, 0, 0, 0], 0), "0");
    assert_eq!(shown(7, [0; 6], 0), "0 (Timeout)");
    assert_eq!(shown(0, [0; 6], -512), "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
    assert_eq!(shown(8, [0; 6], 5_000_000_000), "5000000000");
}

#[test]
fn bytes_are_quoted_so_that_they_can_be_read_back() {
    let quoted = |bytes: &[u8]| {
        let mut printer = Printer::of_structure(bytes);
        printer.quote(bytes);
        printer.out
    };
    assert_eq!(quoted(b"\x011a\n"), r#""\0011a\n""#);
    assert_eq!(quoted(b"\x01a\xff"), r#""\1a\377""#);
    assert_eq!(quoted(b"\t\x0b\"\\"), r#""\t\v\"\\""#);
}

#[test]
fn signals_say_why_they_were_sent() {
    let killed = SigInfo::user(Signal::TERM, SI_USER, 7, 1000);
    assert_eq!(
        description(Signal::TERM, &killed),
        "SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=1000}"
    );
    let fault = SigInfo::fault(Signal::SEGV, 1, 0x10);
    assert_eq!(
        description(Signal::SEGV, &fault),
        "SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10}"
    );
    let alarm = SigInfo::kernel(Signal::ALRM);
    assert_eq!(description(Signal::ALRM, &alarm), "SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL}");
    let change = crate::process::Change::Ended(ExitStatus::Killed(Signal::TERM));
    let child = SigInfo::child(Signal::CHLD, 9, 0, change);
    assert_eq!(
        description(Signal::CHLD, &child),
        "SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=9, si_uid=0, si_status=SIGTERM, si_utime=0, si_stime=0}"
    );
}
