//! Servers in the guest, asked by clients on this host.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Result, ensure};
use isopod_e2e::image::{self, Image};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::packages::{DNSMASQ, DNSMASQ_ALONE, NGINX, PYTHON, REDIS};
use isopod_e2e::server::{Server, connect, get};
use isopod_e2e::{cache, host};

/// Publishes port 80.
const HTTP: [&str; 4] = ["-m", "128M", "-p", "127.0.0.1::80"];

/// Starts an image with these options and this command.
fn serve(image: &Image, options: &[&str], command: &[&str]) -> Result<Server> {
    let reference = image.cached()?.reference();
    Isopod::shared().serve(&[&["run"], options, &[&reference], command].concat())
}

/// Four megabytes that are not the same anywhere.
fn large() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn python_serves_files() -> Result<()> {
    let image = image::debian(&PYTHON)?.files(&[("srv/small", b"a page\n"), ("srv/large", &large())]);
    let mut server = serve(&image, &HTTP, &["/usr/bin/python3.11", "-m", "http.server", "-d", "/srv", "80"])?;
    assert_eq!(server.get(80, "/small")?.text(), "a page\n");
    assert_eq!(server.get(80, "/large")?.body, large());
    assert_eq!(server.get(80, "/missing")?.status, 404);
    Ok(())
}

/// `addresses` are those of this host on which the ports are published.
fn python_echoes(addresses: &str, options: &[&str]) -> Result<Server> {
    let script = std::fs::read(cache::workspace().join("tests/e2e/programs/echo.py"))?;
    let image = image::debian(&PYTHON)?.files(&[("echo.py", &script)]);
    let (streams, datagrams) = (format!("{addresses}7"), format!("{addresses}7/udp"));
    let ports = ["-m", "128M", "-p", &streams, "-p", &datagrams];
    let mut server = serve(&image, &[&ports, options].concat(), &["/usr/bin/python3.11", "/echo.py"])?;
    server.line("ready")?;
    let streams = server.address("7/tcp")?;
    let all: Vec<_> = (0..50).map(|_| connect(streams)).collect::<Result<_>>()?;
    for (number, mut stream) in all.iter().enumerate() {
        stream.write_all(number.to_string().repeat(1000).as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
    }
    for (number, mut stream) in all.iter().enumerate() {
        let mut back = String::new();
        stream.read_to_string(&mut back)?;
        assert_eq!(back, number.to_string().repeat(1000));
    }
    for size in [1, 1000, 1472] {
        let datagram = vec![b'x'; size];
        server.datagram(7, &datagram, |answer| answer == datagram)?;
    }
    Ok(server)
}

#[test]
fn python_echoes_streams_and_datagrams() -> Result<()> {
    python_echoes("127.0.0.1::", &[]).map(drop)
}

#[test]
fn python_echoes_to_clients_of_ipv6() -> Result<()> {
    python_echoes("[::1]::", &[]).map(drop)
}

/// As Docker listens where no address is named.
#[test]
fn a_port_is_published_on_addresses_of_both_families() -> Result<()> {
    let mut server = python_echoes("", &[])?;
    let port = server.address("7/tcp")?.port();
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()] {
        let mut stream = connect(address)?;
        stream.write_all(b"said")?;
        stream.shutdown(Shutdown::Write)?;
        let mut back = String::new();
        stream.read_to_string(&mut back)?;
        assert_eq!(back, "said");
    }
    // Who has a port of one family has it.
    let taken = TcpListener::bind("[::1]:0")?;
    let publish = format!("{}:7", taken.local_addr()?);
    let outcome = Isopod::shared().run(&["run", "-p", &publish, "elf:/bin/true"])?;
    outcome.expect_failure(&[125], "of ::1 is taken on this host");
    Ok(())
}

#[test]
fn python_echoes_on_a_pc_with_four_processors() -> Result<()> {
    python_echoes("127.0.0.1::", &["--machine", "q35", "--cpus", "4"]).map(drop)
}

/// nginx with one server, that has these settings.
fn nginx(server: &str) -> Result<Image> {
    let config = format!(
        "daemon off;\nerror_log /dev/stderr;\nevents {{}}\nhttp {{\naccess_log off;\nsendfile on;\n\
         server {{\nlisten 80;\nlisten [::]:80;\nroot /srv;\n{server}\n}}\n}}\n"
    );
    Ok(image::debian(&NGINX)?
        .files(&[("etc/nginx/nginx.conf", config.as_bytes()), ("var/log/nginx/.keep", b"")])
        .files(&[("srv/small", b"a page\n"), ("srv/large", &large())])
        .entrypoint(&["/usr/sbin/nginx"])
        .set("StopSignal", "SIGQUIT"))
}

#[test]
fn nginx_serves_files() -> Result<()> {
    let mut server = serve(&nginx("")?, &HTTP, &[])?;
    assert_eq!(server.get(80, "/small")?.text(), "a page\n");
    // One connection for many requests.
    server.ask(80, |stream| {
        for _ in 0..50 {
            ensure!(get(stream, "/small")?.body == b"a page\n");
        }
        ensure!(get(stream, "/missing")?.status == 404);
        ensure!(get(stream, "/large")?.body == large());
        Ok(())
    })?;
    server.stop()?;
    Ok(())
}

/// Also: each exchange of notifications with the card is a chance to lose one, and then nobody is answered any more.
#[test]
fn nginx_serves_many_at_once_with_32_mib() -> Result<()> {
    let options = ["-m", "32M", "-p", "127.0.0.1::80"];
    let mut server = serve(&nginx("")?, &options, &[])?;
    assert_eq!(server.get(80, "/large")?.body, large());
    let address = server.address("80/tcp")?;
    let all: Vec<_> = (0..256).map(|_| connect(address)).collect::<Result<_>>()?;
    let answer_ends = b"a page\n";
    for _ in 0..20 {
        for mut stream in &all {
            stream.write_all(b"GET /small HTTP/1.1\r\nHost: nginx\r\n\r\n")?;
        }
        for mut stream in &all {
            let (mut answer, mut part) = (Vec::new(), [0; 4096]);
            while !answer.ends_with(answer_ends) {
                let length = stream.read(&mut part)?;
                ensure!(length > 0, "the connection ended behind {answer:?}");
                answer.extend(&part[..length]);
            }
        }
    }
    server.stop()?;
    Ok(())
}

#[test]
fn nginx_passes_requests_on_to_another_host() -> Result<()> {
    let upstream = host::page(b"from the host\n")?;
    let upstream6 = host::page_at("[::1]:0", b"from the host by IPv6\n")?;
    let pass = format!(
        "location /up {{ proxy_pass http://10.0.2.2:{upstream}; }}
        location /six/up {{ proxy_pass http://[fec0::2]:{upstream6}; }}
        location /six/small {{ proxy_pass http://[::1]/small; }}"
    );
    let mut server = serve(&nginx(&pass)?, &HTTP, &[])?;
    assert_eq!(server.get(80, "/up")?.text(), "from the host\n");
    assert_eq!(server.get(80, "/six/up")?.text(), "from the host by IPv6\n");
    assert_eq!(server.get(80, "/six/small")?.text(), "a page\n");
    assert_eq!(server.get(80, "/small")?.text(), "a page\n");
    Ok(())
}

/// Sends commands to redis, and the line that answers each; of a string that is its length.
fn redis(stream: &mut TcpStream, commands: &[&str]) -> Result<Vec<String>> {
    stream.write_all(format!("{}\r\n", commands.join("\r\n")).as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut answers = Vec::new();
    for _ in commands {
        let mut line = String::new();
        // Before the server listens the connection ends at once.
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "the connection has ended");
        let text = line.trim_end();
        let answer = match text.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
            None => text.to_owned(),
            Some(length) => {
                let mut value = vec![0; length + 2];
                reader.read_exact(&mut value)?;
                String::from_utf8_lossy(&value).trim_end().to_owned()
            }
        };
        answers.push(answer);
    }
    Ok(answers)
}

#[test]
fn redis_keeps_values_and_copies_them_to_another_machine() -> Result<()> {
    let image = image::debian(&REDIS)?;
    let command =
        ["/usr/bin/redis-server", "--save", "", "--protected-mode", "no", "--repl-diskless-sync-delay", "0"];
    let options = ["-m", "128M", "-p", "127.0.0.1::6379"];
    let mut first = serve(&image, &options, &command)?;
    let answers = first.ask(6379, |stream| redis(stream, &["SET key value", "GET key", "INCR number"]))?;
    assert_eq!(answers, ["+OK", "value", ":1"]);
    let many: Vec<_> = (0..1000).map(|number| format!("SET key{number} {number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(first.ask(6379, |stream| redis(stream, &many))?.iter().all(|answer| answer == "+OK"));

    let port = first.address("6379/tcp")?.port().to_string();
    let mut second = serve(&image, &options, &[&command[..], &["--replicaof", "10.0.2.2", &port]].concat())?;
    second.line("Finished with success")?;
    assert_eq!(second.ask(6379, |stream| redis(stream, &["GET key999", "DBSIZE"]))?, ["999", ":1002"]);
    // What is written later comes along. The first waits until the second has it.
    let later = first.ask(6379, |stream| redis(stream, &["SET later on", "WAIT 1 60000"]))?;
    assert_eq!(later, ["+OK", ":1"]);
    assert_eq!(second.ask(6379, |stream| redis(stream, &["GET later", "SET not here"]))?[0], "on");
    Ok(())
}

#[test]
fn dnsmasq_answers_datagrams() -> Result<()> {
    let image = image::debian(&DNSMASQ)?;
    let options = ["-m", "64M", "-p", "127.0.0.1::53/udp"];
    let command = [&DNSMASQ_ALONE[..], &["--address=/name.test/192.0.2.7"]].concat();
    let mut server = serve(&image, &options, &command)?;
    server.line("started")?;
    // A question (RFC 1035, section 4) for the address of name.test.
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04name\x04test\0\0\x01\0\x01";
    let answer = server.datagram(53, question, |answer| answer.starts_with(b"\x12\x34"))?;
    assert!(answer.ends_with(&[192, 0, 2, 7]), "{answer:?}");
    Ok(())
}

#[test]
fn clients_reach_this_host() -> Result<()> {
    let script = std::fs::read(cache::workspace().join("tests/e2e/programs/clients.py"))?;
    let reference = image::debian(&PYTHON)?.files(&[("clients.py", &script)]).cached()?.reference();
    let ports = [
        host::page(b"from the host\n")?,
        host::streams("127.0.0.1")?,
        host::datagrams("127.0.0.1")?,
        host::streams("::1")?,
    ];
    let ports = ports.map(|port| port.to_string());
    let command = [
        &["run", "-m", "128M", &reference, "/usr/bin/python3.11", "/clients.py"][..],
        &ports.each_ref().map(String::as_str),
    ];
    let expected = "200 b'from the host\\n'\nTrue\n1 True\n1000 True\n1472 True\nb'sixth' fec0::15\nTrue\n";
    Isopod::shared().run(&command.concat())?.expect_stdout(expected).expect_status(0);
    Ok(())
}

#[test]
fn curl_and_wget_reach_this_host() -> Result<()> {
    let reference = image::complete(&["curl", "wget"])?.cached()?.reference();
    let port = host::page(b"from the host\n")?;
    let port6 = host::page_at("[::1]:0", b"by IPv6\n")?;
    let script = format!(
        "for host in 10.0.2.2:{port} '[fec0::2]:{port6}'; do curl -gsS http://$host/a && wget -qO- http://$host/b; done"
    );
    let outcome = Isopod::shared().run(&["run", "-m", "128M", &reference, "/bin/sh", "-c", &script])?;
    outcome.expect_stdout("from the host\nfrom the host\nby IPv6\nby IPv6\n").expect_status(0);
    Ok(())
}

#[test]
fn a_machine_without_a_network_reaches_nobody() -> Result<()> {
    let reference = image::debian(&PYTHON)?.cached()?.reference();
    let script = "import errno, socket
print([name for _, name in socket.if_nameindex()])
print(errno.errorcode[socket.socket().connect_ex(('10.0.2.2', 1))])";
    let run = |options: &[&str]| {
        Isopod::shared()
            .run(&[&["run"], options, &[&reference, "/usr/bin/python3.11", "-c", script]].concat())
    };
    run(&["--network", "none"])?.expect_stdout("['lo']\nENETUNREACH\n").expect_status(0);
    run(&["--network", "user"])?.expect_stdout("['lo', 'eth0']\nECONNREFUSED\n").expect_status(0);
    Ok(())
}
