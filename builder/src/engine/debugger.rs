//! Brings a machine to its program's first instruction and leaves it there for a debugger, in the language that debuggers speak with QEMU: the
//! remote serial protocol (GDB manual, appendix E).

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Registers by their number in QEMU's description of x86-64 (`gdb-xml/i386-64bit.xml`); up to the last of these each has 8 bytes.
const RSI: usize = 4;
const RDI: usize = 5;
const RIP: usize = 16;

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Its first instruction, which is its loader's if it has one.
    pub at: u64,
    /// Its own first instruction.
    pub entry: u64,
    /// The CPU, from 1 as debuggers number them.
    pub cpu: u64,
}

/// A port at which a debugger finds the machine once its program has been loaded.
pub struct Debugger {
    /// QEMU's own, when it runs.
    port: TcpListener,
    /// Where the kernel passes before the program begins: where user code does is in `rdi` then, where the program itself does in `rsi`.
    hook: u64,
    /// What is told when the program stands.
    told: Box<dyn FnOnce(Stopped) + Send>,
}

impl Debugger {
    /// For a kernel whose function at `hook` is called before the program begins.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn new(port: u16, hook: u64, told: impl FnOnce(Stopped) + Send + 'static) -> io::Result<Self> {
        Ok(Self { port: TcpListener::bind(("127.0.0.1", port))?, hook, told: Box::new(told) })
    }

    /// The socket for QEMU to listen on.
    pub(super) fn socket(&self) -> RawFd {
        self.port.as_raw_fd()
    }

    /// Takes the first connection, before QEMU runs. When the machine cannot be led, the reason is sent and `machine` shut down. Gives up the
    /// socket, for QEMU.
    pub(super) fn start(self, machine: UnixStream) -> io::Result<(Receiver<io::Error>, OwnedFd)> {
        let Self { port, hook, told } = self;
        let stream = TcpStream::connect(port.local_addr()?)?;
        stream.set_nodelay(true)?;
        let (sender, failure): (Sender<io::Error>, _) = channel();
        std::thread::Builder::new().spawn(move || match lead(&mut Remote(BufReader::new(stream)), hook) {
            Ok(Some(stopped)) => told(stopped),
            // Nothing is left to stop; how the machine ended is heard from itself.
            Ok(None) => {}
            Err(error) => {
                // Nobody waits for it only when the machine has ended.
                let _ = sender.send(error);
                let _ = machine.shutdown(Shutdown::Both);
            }
        })?;
        Ok((failure, port.into()))
    }
}

impl std::fmt::Debug for Debugger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Debugger").field("port", &self.port).field("hook", &self.hook).finish_non_exhaustive()
    }
}

/// Lets the machine run until its program is about to begin; `None` if it ends before.
fn lead(remote: &mut Remote, hook: u64) -> io::Result<Option<Stopped>> {
    let Some(_) = remote.run_to(hook)? else { return Ok(None) };
    let [at, entry] = [remote.register(RDI)?, remote.register(RSI)?];
    let Some(cpu) = remote.run_to(at)? else { return Ok(None) };
    Ok(Some(Stopped { at, entry, cpu }))
}

/// QEMU's end of the protocol. When the connection ends the machine stays as it is, stopped.
struct Remote(BufReader<TcpStream>);

impl Remote {
    /// Lets the machine run until one of its CPUs is at `address`, and tells which; `None` if the machine ends before.
    fn run_to(&mut self, address: u64) -> io::Result<Option<u64>> {
        // Hardware breakpoints: the code need not be there yet.
        self.order(&format!("Z1,{address:x},1"))?;
        let cpu = loop {
            let Some(reply) = self.ask("c")? else { return Ok(None) };
            match reply.as_bytes().first() {
                Some(b'W' | b'X') => return Ok(None),
                Some(b'T') if self.register(RIP)? == address => break thread(&reply),
                Some(b'T') => {}
                _ => return Err(strange(&reply)),
            }
        };
        self.order(&format!("z1,{address:x},1"))?;
        Ok(Some(cpu))
    }

    fn register(&mut self, number: usize) -> io::Result<u64> {
        // `p` would be for one, but QEMU answers it only after its description of them has been read.
        let reply = self.answer("g")?;
        let bytes = unhex(&reply).unwrap_or_default();
        let register = bytes.as_chunks().0.get(number).copied();
        register.map(u64::from_le_bytes).ok_or_else(|| strange(&reply))
    }

    fn order(&mut self, packet: &str) -> io::Result<()> {
        match &*self.answer(packet)? {
            "OK" => Ok(()),
            other => Err(strange(other)),
        }
    }

    fn answer(&mut self, packet: &str) -> io::Result<String> {
        self.ask(packet)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends a packet and returns the reply; `None` if the machine has ended.
    fn ask(&mut self, packet: &str) -> io::Result<Option<String>> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        let asked = self.0.get_mut().write_all(format!("${packet}#{sum:02x}").as_bytes());
        match asked.and_then(|()| self.reply()) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if is_end(error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `+$reply#sum`, and confirms it. TCP leaves nothing for the sum to find.
    fn reply(&mut self) -> io::Result<String> {
        self.0.skip_until(b'$')?;
        let mut text = Vec::new();
        self.0.read_until(b'#', &mut text)?;
        text.pop_if(|byte| *byte == b'#').ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0.read_exact(&mut [0; 2])?;
        self.0.get_mut().write_all(b"+")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// The CPU that `T05thread:02;` names, which stands for all when there is but one.
fn thread(reply: &str) -> u64 {
    let number = reply.split_once("thread:").and_then(|(_, rest)| rest.split([';', '.']).next());
    number.and_then(|number| u64::from_str_radix(number, 16).ok()).unwrap_or(1)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
}

fn strange(reply: &str) -> io::Error {
    io::Error::other(format!("QEMU's debug server answered {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_led_to_its_program_or_heard_to_end() {
        let lead_by = |replies: &[&str]| {
            let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let qemu = std::thread::spawn(move || {
                let mut peer = BufReader::new(server.accept().unwrap().0);
                let mut asked = Vec::new();
                for reply in replies {
                    let mut packet = Vec::new();
                    peer.skip_until(b'$').unwrap();
                    peer.read_until(b'#', &mut packet).unwrap();
                    peer.read_exact(&mut [0; 2]).unwrap();
                    asked.push(String::from_utf8(packet).unwrap());
                    peer.get_mut().write_all(format!("+${reply}#00").as_bytes()).unwrap();
                }
                asked.concat()
            });
            let led = lead(&mut Remote(BufReader::new(stream)), 0xabc);
            (led, qemu.join().unwrap())
        };
        let registers = |rdi: u64, rsi: u64, rip: u64| {
            let mut all = [0; 17];
            (all[RDI], all[RSI], all[RIP]) = (rdi, rsi, rip);
            all.map(|word: u64| format!("{:016x}", word.swap_bytes())).concat()
        };
        let [hook, begun] = [registers(0x1000, 0x1234, 0xabc), registers(0, 0, 0x1000)];
        let (led, asked) =
            lead_by(&["OK", "T05thread:01;", &hook, "OK", &hook, &hook, "OK", "T05thread:02;", &begun, "OK"]);
        assert_eq!(led.unwrap(), Some(Stopped { at: 0x1000, entry: 0x1234, cpu: 2 }));
        assert_eq!(asked, "Z1,abc,1#c#g#z1,abc,1#g#g#Z1,1000,1#c#g#z1,1000,1#");
        assert_eq!(lead_by(&["OK", "W00"]).0.unwrap(), None);
        assert_eq!(lead_by(&["OK"]).0.unwrap(), None);
        assert!(lead_by(&["E22"]).0.is_err());
    }
}
