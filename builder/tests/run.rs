//! `isopod run` against a QEMU that is not one (`support/fake_qemu.rs`): streams, signals, exit statuses, and ends of all kinds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// A home of its own with the fake in PATH.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Path::new(env!("CARGO_BIN_EXE_isopod")).with_file_name("examples").join("fake-qemu");
        assert!(
            fake.exists(),
            "build it first: cargo build -p isopod --examples (`cargo test -p isopod` does)"
        );
        std::os::unix::fs::symlink(fake, dir.path().join("qemu-system-x86_64")).unwrap();
        Self { dir }
    }

    /// `isopod run` of a small program, with `flags` before it and `args` behind it.
    fn run(&self, flags: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isopod"));
        command.env("PATH", self.dir.path()).env("ISOPOD_HOME", self.dir.path());
        command.args(["run", "--accel", "tcg"]).args(flags).arg("elf:/bin/true").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, flags: &[&str], args: &[&str]) -> (i32, String, String) {
        finished(self.run(flags, args).output().unwrap())
    }
}

fn finished(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The next line of a child's output.
fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Whether the process ends within a few seconds.
fn ends(pid: Pid) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        if test_kill_process(pid).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn streams_stay_apart_and_the_status_is_the_applications() {
    let (status, out, err) = Bench::new().output(&[], &["speak"]);
    assert_eq!((status, &*out, &*err), (7, "out\nput\n", "err\nlog\n"));
}

#[test]
fn all_behind_the_source_belongs_to_the_application() {
    let bench = Bench::new();
    let flags = ["-e", "A=b", "--hostname", "box", "-m", "64m"];
    let (status, out, err) = bench.output(&flags, &["manifest", "-m", "--rm", "--", "x"]);
    assert_eq!(status, 0, "{err}");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected =
        format!("[\"-m\", \"--rm\", \"--\", \"x\"] PATH={path} HOSTNAME=box HOME=/ A=b Disk Framed\n");
    assert_eq!(out, expected);
}

#[test]
fn input_is_passed_as_the_guest_asks_for_it() {
    let bench = Bench::new();
    let mut child = bench.run(&["-i"], &["cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let text = "some text that is longer than what the guest takes at once\n".repeat(20);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let (status, out, _) = finished(child.wait_with_output().unwrap());
    assert_eq!((status, out), (0, text));
}

#[test]
fn the_first_signal_asks_and_the_second_kills() {
    let bench = Bench::new();
    for asking in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = bench.run(&["--stop-signal", "SIGQUIT"], &["wait"]).spawn().unwrap();
        line(&mut child);
        signal(&child, asking);
        assert_eq!(line(&mut child), "signal 3");
        assert_eq!(child.wait().unwrap().code(), Some(131));
    }
    let mut child = bench.run(&[], &["wait", "stubborn"]).spawn().unwrap();
    let guest = Pid::from_raw(line(&mut child).parse().unwrap()).unwrap();
    signal(&child, Signal::TERM);
    assert_eq!(line(&mut child), "signal 15");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(ends(guest));
}

#[test]
fn a_guest_that_has_not_said_a_word_is_asked_too() {
    let bench = Bench::new();
    let mut child = bench.run(&[], &["mute"]).spawn().unwrap();
    // Nothing tells from outside when the signals are caught but their mask.
    let status = format!("/proc/{}/status", child.id());
    let catches =
        |text: String| text.lines().any(|line| line.starts_with("SigCgt:") && line.ends_with("6e47"));
    while !catches(std::fs::read_to_string(&status).unwrap()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

/// As `docker run` passes on what it gets.
#[test]
fn signals_without_a_meaning_for_isopod_are_the_applications() {
    let bench = Bench::new();
    let mut child = bench.run(&[], &["wait", "stubborn"]).spawn().unwrap();
    line(&mut child);
    for (sent, number) in
        [(Signal::USR1, 10), (Signal::QUIT, 3), (Signal::WINCH, 28), (Signal::USR2, 12), (Signal::USR1, 10)]
    {
        signal(&child, sent);
        assert_eq!(line(&mut child), format!("signal {number}"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_machine_dies_with_isopod_even_by_sigkill() {
    let bench = Bench::new();
    let mut child = bench.run(&[], &["wait", "stubborn"]).spawn().unwrap();
    let guest = Pid::from_raw(line(&mut child).parse().unwrap()).unwrap();
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    assert!(ends(guest));
}

#[test]
fn a_reader_that_leaves_ends_the_machine_without_a_word() {
    let bench = Bench::new();
    let mut child = bench.run(&[], &["flood"]).spawn().unwrap();
    let mut some = [0; 3];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let (status, _, err) = finished(child.wait_with_output().unwrap());
    assert_eq!((status, &*err), (128 + 13, ""));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let bench = Bench::new();
    let output = bench.run(&[], &["speak"]).stdout(full).output().unwrap();
    let (status, _, err) = finished(output);
    assert_eq!(status, 125);
    assert!(err.contains("No space left on device"), "{err}");
    assert!(err.contains("hint: free some space where standard output leads"), "{err}");
}

#[test]
fn a_machine_that_ends_too_early_leaves_its_last_words() {
    let (status, out, err) = Bench::new().output(&[], &["die"]);
    assert_eq!((status, &*out), (125, "half\n"));
    assert!(err.starts_with("isopod: the virtual machine ended before its application did"), "{err}");
    assert!(err.contains("panicked at the disco"), "{err}");
}

#[test]
fn guests_that_break_the_protocol_are_told_apart() {
    let bench = Bench::new();
    let (status, _, err) = bench.output(&[], &["babble"]);
    assert_eq!(status, 125);
    assert!(err.contains("version 99"), "{err}");
    let (status, _, err) = bench.output(&[], &["lie"]);
    assert_eq!(status, 125);
    assert!(err.contains("16777215 bytes"), "{err}");
}

#[test]
fn the_network_reaches_qemu_and_the_guest() {
    let bench = Bench::new();
    let (status, out, err) = bench.output(&[], &["network"]);
    assert_eq!(status, 0, "{err}");
    let own = "[InterfaceConfig { ipv4: Static { address: 10.0.2.15, prefix: 24, gateway: Some(10.0.2.2) }, \
               ipv6: Static { address: fec0::15, prefix: 64, gateway: Some(fec0::2) }, mtu: None }]";
    let cards = r#"["user,id=net0", "virtio-net-device,netdev=net0"]"#;
    assert_eq!(out, format!("{cards}\n{own}\n[10.0.2.3] [] []\n"));

    let options = [
        &["--network", "user", "--network", "user,mac=02:00:00:00:00:07,mtu=1400", "--ip", "10.0.2.99"][..],
        &["--dns", "192.0.2.53", "--dns-search", "example.org", "--add-host", "me:host-gateway"],
    ];
    let (_, out, _) = bench.output(&options.concat(), &["network"]);
    let mut lines = out.lines();
    let second = "user,net=10.0.3.0/24,ipv6-prefix=fec0:0:0:1::,ipv6-prefixlen=64,id=net1";
    let cards = format!(
        "[\"user,id=net0\", \"virtio-net-device,netdev=net0\", \"{second}\", \
         \"virtio-net-device,netdev=net1,mac=02:00:00:00:00:07\"]"
    );
    assert_eq!(lines.next(), Some(&*cards));
    let config = lines.next().unwrap();
    assert!(config.contains("address: 10.0.2.99, prefix: 24, gateway: Some(10.0.2.2)"), "{config}");
    assert!(config.contains("address: 10.0.3.15, prefix: 24, gateway: None"), "{config}");
    assert!(config.ends_with("mtu: Some(1400) }]"), "{config}");
    assert_eq!(lines.next(), Some("[192.0.2.53] [\"example.org\"] [(10.0.2.2, \"me\")]"));

    let (_, out, _) = bench.output(&["--network", "none"], &["network"]);
    assert_eq!(out, "[]\n[]\n[] [] []\n");
}

#[test]
fn what_a_file_was_built_with_holds_where_it_runs() {
    let bench = Bench::new();
    let file = bench.dir.path().join("app.elf").display().to_string();
    let isopod = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isopod"));
        command.env("PATH", bench.dir.path()).env("ISOPOD_HOME", bench.dir.path());
        finished(command.args(arguments).output().unwrap())
    };
    let names = ["--dns", "192.0.2.53", "--add-host", "db:192.0.2.7", "--mtu", "1400"];
    let build = [&["build", "-o", &file][..], &names, &["elf:/bin/true", "--", "network"]].concat();
    assert_eq!(isopod(&build).0, 0);
    let (status, out, err) = isopod(&["run", "--accel", "tcg", "--add-host", "me:192.0.2.8", &file]);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("mtu: Some(1400)"), "{out}");
    assert!(out.ends_with("[192.0.2.53] [] [(192.0.2.8, \"me\"), (192.0.2.7, \"db\")]\n"), "{out}");
}

/// What `isopod run -p PORT` says of a port that cannot be published.
fn refusal(bench: &Bench, options: &[&str]) -> String {
    let (status, out, err) = bench.output(options, &["network"]);
    assert_eq!((status, &*out), (125, ""), "{err}");
    err
}

#[test]
fn a_port_that_is_taken_is_told_before_the_machine_starts() {
    let bench = Bench::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let said = refusal(&bench, &["-p", &format!("127.0.0.1:{port}:80")]);
    let expected =
        format!("isopod: the port {port}/tcp of 127.0.0.1 is taken on this host\nhint: publish another one");
    assert!(said.starts_with(&expected), "{said}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port();
    let said = refusal(&bench, &["-p", &format!("127.0.0.1:{port}:53/udp")]);
    assert!(said.starts_with(&format!("isopod: the port {port}/udp of 127.0.0.1 is taken")), "{said}");
}

#[test]
fn ports_that_were_found_are_told() {
    let bench = Bench::new();
    let (status, out, err) = bench.output(&["-p", "127.0.0.1::80", "-p", "53/udp"], &["network"]);
    assert_eq!(status, 0, "{err}");
    let told: Vec<_> = err.lines().collect();
    let port = |line: &str, before: &str| {
        let rest = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(" here"));
        rest.and_then(|port| port.parse::<u16>().ok()).unwrap()
    };
    let tcp = port(told[0], "isopod: port 80/tcp of the machine is 127.0.0.1:");
    let udp = port(told[1], "isopod: port 53/udp of the machine is 0.0.0.0:");
    let rules = format!(",hostfwd=tcp:127.0.0.1:{tcp}-10.0.2.15:80,hostfwd=udp:0.0.0.0:{udp}-10.0.2.15:53,");
    assert!(out.contains(&rules), "{out}");
}
