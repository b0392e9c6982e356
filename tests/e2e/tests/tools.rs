//! The tools that look at a network: what they do in a guest.

use anyhow::Result;
use isopod_e2e::image;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::TOOLS;

/// What a script prints on a machine with QEMU's network.
fn script(lines: &str) -> Result<String> {
    let reference = image::debian(&TOOLS)?.cached()?.reference();
    let arguments = ["run", "-m", "128M", &reference, "/bin/busybox", "sh", "-c", lines];
    let outcome = Isopod::shared().run(&arguments)?;
    outcome.expect_status(0);
    Ok(outcome.stdout)
}

#[test]
fn pings_are_answered() -> Result<()> {
    // Echoes by sockets for these, then by sockets of whole packets, as `ping` does where its group may have no others.
    let found = script(
        "for range in '0 2147483647' '1 0'; do
            echo $range > /proc/sys/net/ipv4/ping_group_range
            for address in 127.0.0.1 ::1 10.0.2.2 fec0::2; do
                /usr/bin/ping -n -q -c 2 -i 0.1 $address | busybox grep -o '[0-9]* packets transmitted, [0-9]* received'
                busybox ping -q -c 1 $address | busybox grep -o '[0-9]* packets transmitted, [0-9]* packets received'
            done
        done
        /usr/bin/ping -n -c 1 -s 3000 10.0.2.2 | busybox grep -o '3008 bytes from 10.0.2.2'",
    )?;
    let each = "2 packets transmitted, 2 received\n1 packets transmitted, 1 packets received\n";
    assert_eq!(found, each.repeat(8) + "3008 bytes from 10.0.2.2\n");
    Ok(())
}
