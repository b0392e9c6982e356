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

#[test]
fn frames_are_seen_and_sent() -> Result<()> {
    // What is seen of what: the filters are programs that choose frames, and a ring is where tcpdump finds them.
    let found = script(
        r#"echo 'test $1 = bound && echo $ip $router' | busybox sed '1i #!/bin/busybox sh' > /tmp/udhcpc
        busybox chmod 755 /tmp/udhcpc
        watch() { /usr/bin/tcpdump --immediate-mode -n -t -Z root -q "$@" 2>/tmp/said & watcher=$!
            until busybox grep -q 'listening on' /tmp/said; do busybox sleep 0.1; done; }
        watch -c 2 -i lo icmp and dst 127.0.0.1
        /usr/bin/ping -n -q -c 1 127.0.0.1 >/dev/null; wait $watcher
        watch -c 2 -i eth0 icmp
        /usr/bin/ping -n -q -c 1 10.0.2.2 >/dev/null; wait $watcher
        watch -c 2 -i any icmp
        /usr/bin/ping -n -q -c 1 10.0.2.2 >/dev/null; wait $watcher
        /usr/bin/arping -c 1 -I eth0 10.0.2.2 | busybox grep -o 'Received 1 response(s)'
        busybox arping -c 1 -I eth0 10.0.2.2 | busybox grep -o 'Received 1 response(s)'
        busybox udhcpc -f -q -n -i eth0 -s /tmp/udhcpc 2>/dev/null"#,
    )?;
    // The identifiers of echoes are ports, whichever are free.
    let found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
    let begins = [
        "IP 127.0.0.1 > 127.0.0.1: ICMP echo request, id ",
        "IP 127.0.0.1 > 127.0.0.1: ICMP echo reply, id ",
        "IP 10.0.2.15 > 10.0.2.2: ICMP echo request, id ",
        "IP 10.0.2.2 > 10.0.2.15: ICMP echo reply, id ",
        "eth0  Out IP 10.0.2.15 > 10.0.2.2: ICMP echo request, id ",
        "eth0  In  IP 10.0.2.2 > 10.0.2.15: ICMP echo reply, id ",
        "Received 1 response(s)",
        "Received 1 response(s)",
        "10.0.2.15 10.0.2.2",
    ];
    let same =
        found.len() == begins.len() && found.iter().zip(begins).all(|(line, begin)| line.starts_with(begin));
    assert!(same, "{found:#?}");
    Ok(())
}
