//! Sockets as programs and language libraries use them.

use std::fs;

use anyhow::Result;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::PYTHON;
use isopod_e2e::{cache, image};

/// What the script prints on Linux.
const PYTHON_OUTPUT: &str = "\
pair b'hel' b'lo'
fds b'take this' 1 b'through the other descriptor' b''
child b'(True, 0, 0)' b'' 0
server 20 b'QUESTION 11\\n' 20
tasks [(600000, True), (600000, True), (600000, True)]
log b'<12>first\\x00' b'<11>second 2\\x00'
object [0, 1, 2, 3, 4] 200000
answer sdrawkcab
file b'written by the child'
end 0
events [b'0', b'1', b'2', b'3', b'4'] 2 b'' True
left b'unread'
broken 104
broken b''
broken 32
timed out
interrupted
ancillary b'in parts' [(1, 1, 8)] 8 None
";

#[test]
fn python_serves_asks_and_passes_descriptors() -> Result<()> {
    let script = fs::read(cache::workspace().join("tests/e2e/programs/sockets.py"))?;
    let image = image::debian(&PYTHON)?.files(&[("sockets.py", &script)]);
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&["run", "-m", "96M", &reference, "/usr/bin/python3.11", "/sockets.py"])?
        .expect_stdout(PYTHON_OUTPUT)
        .expect_status(0);
    Ok(())
}

/// socat, and what it needs to start.
const SOCAT: [&str; 13] = [
    "socat",
    "libssl3",
    "libwrap0",
    "libnsl2",
    "libtirpc3",
    "libgssapi-krb5-2",
    "libkrb5-3",
    "libk5crypto3",
    "libkrb5support0",
    "libkeyutils1",
    "libcom-err2",
    "busybox-static",
    "libc6",
];

/// An echo server and its clients; the server's children inherit their connections.
const SOCAT_SCRIPT: &str = r#"
socat UNIX-LISTEN:/tmp/echo,fork EXEC:'busybox cat' &
server=$!
while ! [ -S /tmp/echo ]; do sleep 0.01; done
for word in one two three; do echo "$word" | socat - UNIX-CONNECT:/tmp/echo; done
head -c 300000 /dev/zero | socat -t 10 - UNIX-CONNECT:/tmp/echo | wc -c
socat -u UNIX-RECV:/tmp/datagrams,type=2 OPEN:/tmp/received,creat &
receiver=$!
while ! [ -S /tmp/datagrams ]; do sleep 0.01; done
echo datagram | socat -u - UNIX-SENDTO:/tmp/datagrams
while ! [ -s /tmp/received ]; do sleep 0.01; done
cat /tmp/received
kill $server $receiver
wait
echo again | socat - UNIX-CONNECT:/tmp/echo 2> /tmp/error || echo gone
"#;

#[test]
fn socat_echoes() -> Result<()> {
    let image = image::debian(&SOCAT)?;
    let reference = image.cached()?.reference();
    Isopod::shared()
        .run(&[
            "run",
            "-m",
            "64M",
            &reference,
            "busybox",
            "sh",
            "-c",
            &format!("PATH=/usr/bin:/bin; {SOCAT_SCRIPT}"),
        ])?
        .expect_stdout("one\ntwo\nthree\n300000\ndatagram\ngone\n")
        .expect_status(0);
    Ok(())
}
