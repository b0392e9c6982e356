//! What leads to a machine, and how it is configured.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use isopod_e2e::image::{self, Layout};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, disk, run_limited};

const PROGRAM: [&str; 2] = ["/usr/bin/python3.11", "/configured.py"];

/// What somebody at a terminal asks `ip` of iproute2.
const QUESTIONS: &str = "ip -o -4 addr
    ip -br link
    ip -4 route list default
    ip -4 route list 10.0.2.0/24
    ip route get 10.0.2.2
    ip route get 192.0.2.1
    ip route get 192.0.2.1 from 10.0.2.15
    ip route get 127.0.0.1
    ip -6 route get ::1
    ip -6 route get 2001:db8::1
    ip route get fibmatch 192.0.2.1
    ip route get 192.0.2.1 oif lo || echo answered $?
    ip link show dev eth0
    ip link set dev lo mtu 4000
    ip addr add 192.0.2.9/32 dev lo
    ip route get 192.0.2.9
    ip -br addr show dev lo";

/// What it says, where spaces at the ends of lines do not count.
const ANSWERS: &str = r"1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0\       valid_lft forever preferred_lft forever
lo               UNKNOWN        00:00:00:00:00:00 <LOOPBACK,UP,LOWER_UP>
eth0             UP             52:54:00:12:34:56 <BROADCAST,MULTICAST,UP,LOWER_UP>
default via 10.0.2.2 dev eth0
10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.15
10.0.2.2 dev eth0 src 10.0.2.15 uid 0
    cache
192.0.2.1 via 10.0.2.2 dev eth0 src 10.0.2.15 uid 0
    cache
192.0.2.1 from 10.0.2.15 via 10.0.2.2 dev eth0 uid 0
    cache
local 127.0.0.1 dev lo src 127.0.0.1 uid 0
    cache <local>
local ::1 from :: dev lo table local proto kernel src ::1 metric 0 pref medium
2001:db8::1 from :: via fec0::2 dev eth0 src fec0::15 metric 1024 pref medium
default via 10.0.2.2 dev eth0
answered 2
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff
local 192.0.2.9 dev lo src 192.0.2.9 uid 0
    cache <local>
lo               UNKNOWN        127.0.0.1/8 192.0.2.9/32 ::1/128
";

/// The names that each machine has in `/etc/hosts`.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

fn layout() -> Result<Layout> {
    let script = fs::read(cache::workspace().join("tests/e2e/programs/configured.py"))?;
    image::debian(&PYTHON)?.files(&[("configured.py", &script)]).cached()
}

#[test]
fn a_machine_finds_its_network_configured() -> Result<()> {
    let reference = layout()?.reference();
    let run = |options: &[&str]| {
        Isopod::shared().run(&[&["run", "-m", "128M"], options, &[&reference], &PROGRAM].concat())
    };
    let mac = "52:54:00:12:34:56";
    run(&[])?.expect_status(0).expect_stdout(&format!(
        "isopod\n{HOSTS}10.0.2.15\tisopod\nnameserver 10.0.2.3\nlo 127.0.0.1 00:00:00:00:00:00 65536\n\
         eth0 10.0.2.15 {mac} 1500\n"
    ));
    let names = ["--hostname", "box", "--add-host", "db:192.0.2.7", "--add-host", "me:host-gateway"];
    let dns = ["--dns", "192.0.2.53", "--dns", "fec0::3", "--dns-search", "a.test", "--dns-search", "b.test"];
    // Cards are numbered as they were named, each with settings of its own.
    let cards = [
        "--network",
        "user,mac=02:00:00:00:00:01,ip=10.0.2.99",
        "--network",
        "user,mac=02:00:00:00:00:02,mtu=1400",
    ];
    let cards = [&cards[..], &["--network", "user,mac=02:00:00:00:00:03"]].concat();
    for machine in ["microvm", "q35"] {
        run(&[&["--machine", machine], &names[..], &dns, &cards].concat())?.expect_status(0).expect_stdout(&format!(
            "box\n{HOSTS}192.0.2.7\tdb\n10.0.2.2\tme\n10.0.2.99\tbox\nnameserver 192.0.2.53\nnameserver fec0::3\n\
             search a.test b.test\nlo 127.0.0.1 00:00:00:00:00:00 65536\neth0 10.0.2.99 02:00:00:00:00:01 1500\n\
             eth1 10.0.3.15 02:00:00:00:00:02 1400\neth2 10.0.4.15 02:00:00:00:00:03 1500\n"
        ));
    }
    Ok(())
}

#[test]
fn nothing_listens_and_nobody_waits_where_no_server_gives_addresses() -> Result<()> {
    let reference = layout()?.reference();
    // A table of the network has a heading, and a line for each socket.
    let line = "for name in ('tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6'):
    print(name, len(open('/proc/net/' + name).readlines()))";
    for options in [&[][..], &["--network", "none"], &["--network", "socket=239.255.77.3:5173"]] {
        let arguments = [&["run", "-m", "128M"], options, &[&reference, PROGRAM[0], "-c", line]].concat();
        Isopod::shared()
            .run(&arguments)?
            .expect_status(0)
            .expect_stdout("tcp 1\ntcp6 1\nudp 1\nudp6 1\nraw 1\nraw6 1\n");
    }
    Ok(())
}

#[test]
#[ignore = "takes long"]
fn ip_shows_and_changes_what_a_machine_has() -> Result<()> {
    let reference = image::complete(&["iproute2"])?.cached()?.reference();
    let outcome = Isopod::shared().run(&["run", "-m", "128M", &reference, "/bin/sh", "-ec", QUESTIONS])?;
    let found: String = outcome.stdout.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    assert_eq!(found, ANSWERS, "{}", outcome.stderr);
    outcome.expect_status(0);
    Ok(())
}

#[test]
fn all_ports_that_an_image_names_are_published() -> Result<()> {
    let ports = serde_json::json!({ "80/tcp": {}, "53/udp": {}, "8000-8001/tcp": {} });
    let image = image::debian(&PYTHON)?.set("ExposedPorts", ports).cached()?;
    let arguments = ["run", "-P", "-p", "127.0.0.1::8001", "--print-cmd", &image.reference(), "/bin/true"];
    let outcome = Isopod::shared().run(&arguments)?;
    let told = |port: &str| {
        let line =
            outcome.stderr.lines().find(|line| line.contains(&format!("port {port} of the machine is ")));
        let place = line.and_then(|line| line.split(" is ").nth(1)?.split(' ').next());
        place.with_context(|| format!("nothing is told of {port}: {}", outcome.stderr))
    };
    // One that is published by hand is not published again.
    for (port, host, guest) in [
        ("80/tcp", "tcp:0.0.0.0", "80"),
        ("53/udp", "udp:0.0.0.0", "53"),
        ("8000/tcp", "tcp:0.0.0.0", "8000"),
        ("8001/tcp", "tcp:127.0.0.1", "8001"),
    ] {
        let place = told(port)?;
        let rule = format!("hostfwd={}:{place}-10.0.2.15:{guest}", &host[..3]);
        assert!(
            outcome.stdout.contains(&rule) && place.starts_with(&host[4..]),
            "{rule}\n{}",
            outcome.stdout
        );
    }
    assert_eq!(outcome.stdout.matches("hostfwd=").count(), 4, "{}", outcome.stdout);
    outcome.expect_status(0);
    Ok(())
}

#[test]
fn a_file_that_was_built_asks_the_network() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.elf").display().to_string();
    let reference = layout()?.reference();
    Isopod::shared()
        .run(&[&["build", "-o", &file, &reference, "--"], &PROGRAM[..]].concat())?
        .expect_status(0);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "microvm", "-m", "256M", "-nographic", "-no-reboot", "-kernel", &file]);
    qemu.args(["-netdev", "user,id=net0,net=10.9.8.0/24,dns=10.9.8.7"]);
    qemu.args(["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-net-device,netdev=net0"]);
    let finished = run_limited(&mut qemu, b"", Duration::from_mins(3))?;
    let text = String::from_utf8_lossy(&finished.stdout).replace('\r', "");
    assert!(text.contains("nameserver 10.9.8.7\n"), "{text}");
    assert!(text.contains("eth0 10.9.8.15 52:54:00:12:34:56 1500\n"), "{text}");
    Ok(())
}

/// In a network of its own: makes a device, starts a machine that serves on it, asks it for a page, and ends it. The first argument is the device, the
/// second makes it, the rest is `isopod run`.
const ON_A_DEVICE: &str = r#"
device=$1
mount -t sysfs sysfs /sys
ip link set lo up
eval "$2"
ip address add 10.1.0.1/24 dev $device
ip link set $device up
shift 2
"$@" &
machine=$!
ask() { exec 3<>/dev/tcp/10.1.0.2/80 && printf 'GET /page HTTP/1.0\r\n\r\n' >&3 && cat <&3; }
until (ask) 2>/dev/null; do
    kill -0 $machine || exit 1
    sleep 0.1
done
kill -KILL $machine
"#;

/// A machine on a device of this host is a host among others.
fn serves_on_a_device(device: &str, make: &str, options: &[&str]) -> Result<()> {
    let reference = image::debian(&PYTHON)?.files(&[("srv/page", b"by a device\n")]).cached()?.reference();
    let network = ["-m", "128M", "--ip", "10.1.0.2/24", "--gateway", "10.1.0.1"];
    let command = ["/usr/bin/python3.11", "-m", "http.server", "-d", "/srv", "80"];
    let arguments = [&["run"], &network[..], options, &[&reference], &command].concat();
    let isopod = Isopod::shared().command(&arguments);
    let mut script = Command::new("unshare");
    // Without root, as the root of a user namespace.
    script.arg(if disk::is_root()? { "-mn" } else { "-rmn" });
    script.args(["bash", "-c", ON_A_DEVICE, "bash", device, make]);
    script.arg(isopod.get_program()).args(isopod.get_args());
    script.envs(isopod.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let finished =
        run_limited(&mut script, b"", Duration::from_mins(3)).context("the machine does not answer")?;
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(
        text.ends_with("\r\n\r\nby a device\n"),
        "{text:?} {}",
        String::from_utf8_lossy(&finished.stderr)
    );
    Ok(())
}

#[test]
fn a_machine_serves_on_a_tap_device() -> Result<()> {
    serves_on_a_device("tap0", "ip tuntap add tap0 mode tap", &["--network", "tap=tap0"])
}

#[test]
fn a_machine_serves_on_a_tap_device_with_several_queues() -> Result<()> {
    let make = "ip tuntap add tap0 mode tap multi_queue";
    serves_on_a_device("tap0", make, &["--network", "tap=tap0", "--cpus", "2"])
}

/// QEMU's helper makes a TAP device on the bridge, if its file allows that.
#[test]
fn a_machine_serves_on_a_bridge() -> Result<()> {
    let make = "mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/etc/qemu /mnt/work && echo allow br0 > /mnt/etc/qemu/bridge.conf &&
        mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work /etc && ip link add br0 type bridge";
    serves_on_a_device("br0", make, &["--network", "bridge=br0"])
}
