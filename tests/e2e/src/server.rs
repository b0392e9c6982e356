//! A guest that serves, and its clients on this host.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::isopod::Isopod;

/// Long enough for what a client waits for in a test, on a slow machine without hardware virtualisation.
const LIMIT: Duration = Duration::from_mins(3);

/// A wait between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// `isopod run` of a server, which ends with this value.
#[derive(Debug)]
pub struct Server {
    process: Child,
    limit: Duration,
    said: Arc<Said>,
    listeners: Vec<JoinHandle<()>>,
}

/// What it has written, line by line, to standard output and standard error.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Isopod {
    /// Starts a server, which has the time of a run for each thing that it is waited for. Each port that is published is to be one that
    /// Isopod finds: `-p 127.0.0.1::80`.
    pub fn serve(&self, arguments: &[&str]) -> Result<Server> {
        Ok(Server::start(&mut self.command(arguments))?.limit(self.time()))
    }
}

impl Server {
    /// Starts a command that becomes `isopod run`.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let said = Arc::new(Said::default());
        let out = process.stdout.take().context("a pipe")?;
        let err = process.stderr.take().context("a pipe")?;
        let listeners = vec![listen(out, &said), listen(err, &said)];
        Ok(Self { process, limit: LIMIT, said, listeners })
    }

    /// Changes the time that it has for each thing that it is waited for.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The first line that has this in it, once it has been said.
    pub fn line(&mut self, word: &str) -> Result<String> {
        let start = Instant::now();
        let mut lines = self.said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(word)) {
                return Ok(line.clone());
            }
            if start.elapsed() > self.limit || self.process.try_wait()?.is_some() {
                bail!("the guest did not say {word:?}, but\n{}", lines.join("\n"));
            }
            let waited = self.said.more.wait_timeout(lines, PAUSE);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Where a port of the machine is reached.
    pub fn address(&mut self, port: &str) -> Result<SocketAddr> {
        let line = self.line(&format!("port {port} of the machine is "))?;
        let word = line.split_whitespace().rev().nth(1).context("an address")?;
        word.parse().with_context(|| format!("no address in {line:?}"))
    }

    /// What `ask` makes of a connection to a TCP port of the machine. It is tried again until the server is there: before, QEMU takes
    /// connections and breaks them.
    pub fn ask<T>(&mut self, port: u16, ask: impl Fn(&mut TcpStream) -> Result<T>) -> Result<T> {
        let address = self.address(&format!("{port}/tcp"))?;
        self.ask_by(|| connect(address), ask)
    }

    /// As [`Server::ask`], by a connection made otherwise.
    pub fn ask_by<T>(
        &mut self,
        connect: impl Fn() -> Result<TcpStream>,
        ask: impl Fn(&mut TcpStream) -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            let answer = connect().and_then(|mut stream| ask(&mut stream));
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if start.elapsed() > self.limit || self.process.try_wait()?.is_some() => {
                    return self.explain(Err(error));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// A file by HTTP.
    pub fn get(&mut self, port: u16, path: &str) -> Result<Response> {
        self.ask(port, |stream| get(stream, path))
    }

    /// The answer to a datagram sent to a UDP port of the machine, which is one that `is_answer`. It is sent again while none comes:
    /// datagrams may get lost.
    pub fn datagram(
        &mut self,
        port: u16,
        bytes: &[u8],
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        let to = self.address(&format!("{port}/udp"))?;
        let socket = UdpSocket::bind(if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" })?;
        socket.connect(to)?;
        self.datagram_by(&socket, bytes, is_answer)
    }

    /// As [`Server::datagram`], by a socket that is connected to the machine.
    pub fn datagram_by(
        &mut self,
        socket: &UdpSocket,
        bytes: &[u8],
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut answer = vec![0; 1 << 16];
        let start = Instant::now();
        while start.elapsed() < self.limit && self.process.try_wait()?.is_none() {
            // Refused is what finds no server yet: it is sent again, too.
            let _: std::io::Result<usize> = socket.send(bytes);
            if let Ok(length) = socket.recv(&mut answer)
                && is_answer(&answer[..length])
            {
                answer.truncate(length);
                return Ok(answer);
            }
        }
        bail!("no answer to a datagram of {} bytes; the guest said\n{}", bytes.len(), self.log())
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        self.said.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// A client's failure tells what the guest said, too.
    pub fn explain<T>(&self, answer: Result<T>) -> Result<T> {
        answer.with_context(|| format!("the guest said\n{}", self.log()))
    }

    /// Panics unless a client was answered exactly this.
    #[track_caller]
    pub fn expect_answer(&self, answer: &str, expected: &str) {
        assert!(
            answer == expected,
            "{expected:?} was expected, not\n{answer}\nThe guest said\n{}",
            self.log()
        );
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The processes that `isopod` has started.
    pub fn children(&self) -> Result<Vec<String>> {
        crate::guest::children(self.process.id())
    }

    /// Asks it to end, which it must do well; all that it said.
    pub fn stop(self) -> Result<String> {
        crate::succeed(Command::new("kill").args(["-s", "TERM", &self.process.id().to_string()]))?;
        self.end()
    }

    /// Waits for it to end, which it must do well; all that it said.
    pub fn end(mut self) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                // What was said last may still be on its way.
                for listener in self.listeners.drain(..) {
                    ensure!(listener.join().is_ok(), "a thread that reads lines has panicked");
                }
                ensure!(status.success(), "the guest ended with {status}; it said\n{}", self.log());
                return Ok(self.log());
            }
            ensure!(start.elapsed() < self.limit, "the guest does not end; it said\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for listener in self.listeners.drain(..) {
            // A panic of a thread that only reads lines would be one of the standard library.
            let _ = listener.join();
        }
    }
}

/// Takes down what is said, until nothing more comes.
fn listen(from: impl std::io::Read + Send + 'static, said: &Arc<Said>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            said.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            said.more.notify_all();
        }
    })
}

/// A connection on which nothing waits for ever.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What a server answers by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header's fields, with names in small letters.
    pub fields: BTreeMap<String, String>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for a file by HTTP/1.1 (RFC 9112). The connection can be asked again.
pub fn get(stream: &mut TcpStream, path: &str) -> Result<Response> {
    request(stream, "GET", path, b"")
}

/// A request with content.
pub fn request(stream: &mut TcpStream, method: &str, path: &str, content: &[u8]) -> Result<Response> {
    let length = content.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: guest\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), content].concat())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).with_context(|| format!("no status in {line:?}"))?.parse()?;
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the head of the answer is cut short");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = fields.get("content-length") {
        body.resize(length.parse()?, 0);
        reader.read_exact(&mut body)?;
    } else if fields.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size =
                usize::from_str_radix(size.trim(), 16).with_context(|| format!("no size in {size:?}"))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(Response { status, fields, body })
}
