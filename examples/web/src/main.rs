//! A small web server: serves the files below `/srv` over HTTP/1.1 (RFC 9112), a thread for each connection.
//!
//! ```sh
//! cargo isopod run -p web --publish 8080:8080
//! ```

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use std::{env, fs, thread};

/// The longest request head that is read, in bytes.
const HEAD_MAX: u64 = 16 << 10;

/// How long a client may stay silent.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let root = env::var_os("ROOT").map_or_else(|| PathBuf::from("/srv"), PathBuf::from);
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening on port {}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let (connection, root) = (connection?, root.clone());
        thread::spawn(move || {
            if let Err(error) = serve(&connection, &root) {
                eprintln!("a connection failed: {error}");
            }
        });
    }
    Ok(())
}

/// Answers requests until the client has no more.
fn serve(connection: &TcpStream, root: &Path) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = Request::read(&mut reader)? {
        let (status, body) = answer(&request, root);
        let is_text = Path::new(&request.path).extension().is_some_and(|extension| extension == "txt");
        let kind = if is_text { "text/plain" } else { "text/html" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut response = head.into_bytes();
        if request.method != "HEAD" {
            response.extend_from_slice(&body);
        }
        let mut writer = connection;
        writer.write_all(&response)?;
        if request.is_last {
            break;
        }
    }
    Ok(())
}

/// The part of a request that counts here.
struct Request {
    method: String,
    path: String,
    /// The client wants the connection closed behind the answer.
    is_last: bool,
}

impl Request {
    /// Reads the next request; `None` at the end of the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = io::Read::take(reader, HEAD_MAX);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a request"));
        };
        let mut request = Self {
            method: method.to_owned(),
            path: path.split('?').next().unwrap_or(path).to_owned(),
            is_last: version == "HTTP/1.0",
        };
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let field = line.trim().to_ascii_lowercase();
            if field.is_empty() {
                return Ok(Some(request));
            }
            request.is_last |= field == "connection: close";
        }
    }
}

/// Status and body for a request.
fn answer(request: &Request, root: &Path) -> (&'static str, Vec<u8>) {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return ("405 Method Not Allowed", b"Only GET and HEAD are served here.\n".to_vec());
    }
    let relative = Path::new(request.path.trim_start_matches('/'));
    let stays_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let mut path = root.join(relative);
    if stays_inside && path.is_dir() {
        path.push("index.html");
    }
    match stays_inside.then(|| fs::read(path)) {
        Some(Ok(body)) => ("200 OK", body),
        _ => ("404 Not Found", b"There is no such page.\n".to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::read(&mut text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn files_are_served_and_nothing_above_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("srv");
        let status = |path: &str| answer(&request(&format!("GET {path} HTTP/1.1\r\n\r\n")), &root).0;
        assert_eq!(status("/"), "200 OK");
        assert_eq!(status("/index.html?x=1"), "200 OK");
        assert_eq!(status("/missing"), "404 Not Found");
        assert_eq!(status("/../Cargo.toml"), "404 Not Found");
        assert_eq!(answer(&request("POST / HTTP/1.1\r\n\r\n"), &root).0, "405 Method Not Allowed");
    }

    #[test]
    fn the_client_decides_when_the_connection_ends() {
        assert!(!request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_last);
        assert!(request("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").is_last);
        assert!(request("GET / HTTP/1.0\r\n\r\n").is_last);
    }
}
