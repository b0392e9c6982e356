//! Servers by HTTP as languages bring them, with a scheduler and a way to wait of their own, asked by clients on this host.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use isopod_e2e::image::{self, Image, Layer};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::neighbour::{ADDRESSES, Neighbour};
use isopod_e2e::server::{Server, connect, get, request};
use isopod_e2e::{cache, programs};

/// How many clients ask at the same time.
const CLIENTS: usize = 64;

/// Long enough for a compiler on a slow machine without hardware virtualisation.
const LIMIT: Duration = Duration::from_mins(10);

/// Starts a command in an image, once it says that it is ready.
fn serve(image: &Image, memory: &str, command: &[&str]) -> Result<Server> {
    let options = ["run", "-m", memory, "--cpus", "2", "-p", "127.0.0.1::80"];
    let reference = image.cached()?.reference();
    let mut server = Isopod::shared().limit(LIMIT).serve(&[&options[..], &[&reference], command].concat())?;
    server.line("ready")?;
    Ok(server)
}

/// Many clients, each with a connection that it asks again and again.
fn serves_many(
    server: &mut Server,
    connect: impl Fn() -> Result<TcpStream> + Clone + Send + 'static,
) -> Result<()> {
    let [page, missing] =
        ["/page", "/missing"].map(|path| server.ask_by(&connect, |stream| get(stream, path)));
    assert_eq!(page?.text(), "a page\n");
    assert_eq!(missing?.status, 404);
    let client = move |number: usize| -> Result<()> {
        let mut stream = connect()?;
        for count in 0..10 {
            let said = format!("client {number} says {count} ").repeat(count * 300);
            let answer = request(&mut stream, "POST", "/upper", said.as_bytes())?;
            ensure!(answer.text() == said.to_uppercase(), "{answer:?}");
            ensure!(get(&mut stream, "/page")?.body == b"a page\n");
        }
        ensure!(get(&mut stream, "/stream")?.body == vec![b'x'; 1 << 20]);
        Ok(())
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = client.clone();
            thread::spawn(move || client(number))
        })
        .collect();
    for client in clients {
        server.explain(client.join().expect("a client does not panic"))?;
    }
    Ok(())
}

/// The server written in a language, which is built and run in the machine; a client there asks it by IPv6, too.
fn serves(packages: &[&str], source: &str, line: &str) -> Result<()> {
    let mut layer = Layer::new();
    let content = std::fs::read(cache::workspace().join("tests/e2e/programs/served").join(source))?;
    layer.file(&format!("src/{source}"), 0o644, &content);
    let image = image::complete(&[packages, &["curl"]].concat())?.layer(layer.finish());
    let line = format!(
        "(until curl -sg6 -w 'by IPv6 %{{response_code}} %{{remote_ip}}\\n' 'http://[::1]/page'; do sleep 0.5; done) &
        {line}"
    );
    let mut server = serve(&image, "1G", &["/bin/sh", "-ec", &line])?;
    let address = server.address("80/tcp")?;
    serves_many(&mut server, move || connect(address))?;
    server.line("by IPv6 200 ::1")?;
    server.stop()?;
    Ok(())
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn node_serves() -> Result<()> {
    serves(&["nodejs"], "server.js", "exec node /src/server.js")
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn go_serves() -> Result<()> {
    let line = "CGO_ENABLED=0 HOME=/root go build -o /tmp/server /src/server.go && exec /tmp/server";
    serves(&["golang-go"], "server.go", line)
}

#[test]
#[ignore = "takes minutes, and hundreds of megabytes"]
fn java_serves() -> Result<()> {
    let java = "exec /usr/lib/jvm/java-17-openjdk-amd64/bin/java -Xmx192m /src/Server.java";
    serves(&["openjdk-17-jdk-headless"], "Server.java", java)
}

#[test]
#[ignore = "takes a minute to build"]
fn tokio_and_hyper_serve() -> Result<()> {
    let program = programs::bytes(&programs::hyper()?)?;
    let image = Image::new().layer(image::base_layer()).files(&[("server", &program)]);
    let mut machine = Neighbour::alone(&image.cached()?, &["-m", "64M", "--cpus", "2"], &["/server"])?;
    machine.server.line("ready")?;
    for address in ADDRESSES {
        let connect = machine.connector(address, 80)?;
        serves_many(&mut machine.server, connect)?;
    }
    Ok(())
}
