//! Servers by HTTP as languages bring them, with a scheduler and a way to wait of their own, asked by clients on this host.

use std::thread;

use anyhow::{Result, ensure};
use isopod_e2e::image::{self, Image};
use isopod_e2e::isopod::Isopod;
use isopod_e2e::server::{Server, connect, get, request};
use isopod_e2e::{longer, programs};

/// How many clients ask at the same time.
const CLIENTS: usize = 16;

/// Many clients, each with a connection that it asks again and again.
fn serves_many(mut server: Server) -> Result<()> {
    server.line("ready")?;
    assert_eq!(server.get(80, "/page")?.text(), "a page\n");
    assert_eq!(server.get(80, "/missing")?.status, 404);
    let address = server.address("80/tcp")?;
    let client = move |number: usize| -> Result<()> {
        let mut stream = connect(address)?;
        for count in 0..10 {
            let said = format!("client {number} says {count} ").repeat(count * 300);
            let answer = request(&mut stream, "POST", "/upper", said.as_bytes())?;
            ensure!(answer.text() == said.to_uppercase(), "{answer:?}");
            ensure!(get(&mut stream, "/page")?.body == b"a page\n");
        }
        ensure!(get(&mut stream, "/stream")?.body == vec![b'x'; 1 << 20]);
        Ok(())
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| thread::spawn(move || client(number))).collect();
    for client in clients {
        client.join().expect("a client does not panic")?;
    }
    Ok(())
}

#[test]
fn tokio_and_hyper_serve() -> Result<()> {
    // A minute to build.
    if longer(0, 1) == 0 {
        return Ok(());
    }
    let program = programs::bytes(&programs::hyper()?)?;
    let image = Image::new().layer(image::base_layer()).files(&[("server", &program)]);
    let options = ["run", "-m", "64M", "--cpus", "2", "-p", "127.0.0.1::80"];
    let reference = image.cached()?.reference();
    serves_many(Isopod::shared().serve(&[&options[..], &[&reference, "/server"]].concat())?)
}
