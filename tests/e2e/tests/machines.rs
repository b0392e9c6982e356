//! Machines that meet each other.

use std::fs;
use std::net::UdpSocket;

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, image};

/// Asks the server on another machine, once it is there: by streams in IPv4 and IPv6, and a datagram, which may get lost.
const ASKS_ANOTHER: &str = r"
import socket, time
for host in '10.1.0.1', 'fd00::1':
    while True:
        try:
            stream = socket.create_connection((host, 7))
            break
        except OSError:
            time.sleep(0.1)
    sent = bytes(range(256)) * 4096
    back = bytearray()
    for start in range(0, len(sent), 32768):
        stream.sendall(sent[start:start + 32768])
        while len(back) < start + 32768 and (more := stream.recv(65536)):
            back += more
    print(back == sent)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.settimeout(1)
while True:
    datagrams.sendto(b'x' * 1400, ('10.1.0.1', 7))
    try:
        print(len(datagrams.recv(2000)))
        break
    except TimeoutError:
        pass
";

#[test]
fn machines_meet_at_a_socket() -> Result<()> {
    let script = fs::read(cache::workspace().join("tests/e2e/programs/echo.py"))?;
    let reference = image::debian(&PYTHON)?.files(&[("echo.py", &script)]).cached()?.reference();
    // A port that nobody else has: the group is this host's alone.
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let network = format!("socket=239.0.0.1:{port}");
    let options = ["run", "-m", "128M", "--network", &network];
    let first = ["--ip", "10.1.0.1/24", "--ip6", "fd00::1/64", &reference, "/usr/bin/python3.11", "/echo.py"];
    let mut server = Isopod::shared().serve(&[&options[..], &first].concat())?;
    server.line("ready")?;
    let second = ["--ip", "10.1.0.2/24", "--ip6", "fd00::2/64", &reference];
    let command = ["/usr/bin/python3.11", "-c", ASKS_ANOTHER];
    let outcome = Isopod::shared().run(&[&options[..], &second, &command].concat())?;
    outcome.expect_stdout("True\nTrue\n1400\n").expect_status(0);
    Ok(())
}
