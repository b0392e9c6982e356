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
