//! Servers on this host for clients in a guest.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::thread;

use anyhow::Result;

/// Answers each connection with `answer`, for as long as the process lives; the port.
pub fn listen(
    address: impl ToSocketAddrs,
    answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
) -> Result<u16> {
    let listener = TcpListener::bind(address)?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // What a client broke is its own to tell of.
            thread::spawn(move || answer(&mut stream));
        }
    });
    Ok(port)
}

/// Sends back what comes on connections.
pub fn streams(address: &str) -> Result<u16> {
    listen((address, 0), |stream| {
        let mut reader = stream.try_clone()?;
        std::io::copy(&mut reader, stream)?;
        stream.shutdown(std::net::Shutdown::Write)
    })
}

/// Sends datagrams back.
pub fn datagrams(address: &str) -> Result<u16> {
    let socket = UdpSocket::bind((address, 0))?;
    let port = socket.local_addr()?.port();
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            // A sender that has gone is the next one's business.
            let _: Result<usize, _> = socket.send_to(&bytes[..length], from);
        }
    });
    Ok(port)
}

/// Serves one page by HTTP/1.0, whatever is asked for.
pub fn page(content: &'static [u8]) -> Result<u16> {
    page_at("127.0.0.1:0", content)
}

/// As [`page`], at an address and a port.
pub fn page_at(address: impl ToSocketAddrs, content: &'static [u8]) -> Result<u16> {
    serve(address, move |_| Some(content.to_vec()))
}

/// Serves files by HTTP/1.0 at their paths.
pub fn files(files: BTreeMap<String, Vec<u8>>) -> Result<u16> {
    let files = Arc::new(files);
    serve("127.0.0.1:0", move |path| files.get(path).cloned())
}

/// Serves by HTTP/1.0 what there is at a path.
fn serve(
    address: impl ToSocketAddrs,
    at: impl Fn(&str) -> Option<Vec<u8>> + Clone + Send + 'static,
) -> Result<u16> {
    listen(address, move |stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let content = head.split(' ').nth(1).and_then(&at);
        let status = if content.is_some() { "200 OK" } else { "404 Not Found" };
        let content = content.unwrap_or_default();
        let length = content.len();
        let answer =
            format!("HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[answer.as_bytes(), &content].concat())
    })
}
