//! Stands for QEMU and a guest in one: takes QEMU's command line, and speaks the control protocol as a guest would. What it plays
//! is the first argument of the application's command.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use isopod_manifest::Manifest;
use isopod_manifest::channel::{Frame, HEADER, Kind, MAX_PAYLOAD, VERSION, header};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| args.iter().skip_while(|arg| *arg != flag).nth(1).expect("the flag is given");
    let manifest = Manifest::decode(&fs::read(value("-initrd")).expect("the manifest is readable"));
    let manifest = manifest.expect("the manifest is valid");
    let fd =
        args.iter().find_map(|arg| arg.strip_prefix("socket,id=channel,fd=")).expect("a channel is given");
    // A descriptor known by its number, without `unsafe`: our own, duplicated.
    let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("pidfd_open works");
    let fd = fd.parse().expect("a descriptor is a number");
    let channel = pidfd_getfd(me, fd, PidfdGetfdFlags::empty()).expect("the channel is inherited");
    play(&args, &manifest, Guest { channel: channel.into(), unread: Vec::new() });
}

struct Guest {
    channel: UnixStream,
    unread: Vec<u8>,
}

impl Guest {
    fn send(&mut self, kind: Kind, payload: &[u8]) {
        let frame = [&header(kind, payload.len())[..], payload].concat();
        if self.channel.write_all(&frame).is_err() {
            std::process::exit(1);
        }
    }

    fn hello(&mut self) {
        self.send(Kind::Hello, &VERSION.to_le_bytes());
    }

    fn receive(&mut self) -> (Kind, Vec<u8>) {
        loop {
            if let Ok(Some((Frame { kind: Some(kind), payload }, rest))) = Frame::parse(&self.unread) {
                let found = (kind, payload.to_vec());
                self.unread = rest.to_vec();
                return found;
            }
            let mut bytes = vec![0; HEADER + MAX_PAYLOAD];
            let count = self.channel.read(&mut bytes).expect("the channel works");
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }
}

fn play(args: &[String], manifest: &Manifest, mut guest: Guest) {
    let command: Vec<String> =
        manifest.args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    match command.get(1).map_or("", String::as_str) {
        "speak" => {
            guest.hello();
            guest.send(Kind::Stdout, b"out\n");
            guest.send(Kind::Stderr, b"err\n");
            guest.send(Kind::Log, b"log\n");
            guest.send(Kind::Stdout, b"put\n");
            guest.send(Kind::Exit, &[7]);
        }
        "manifest" => {
            guest.hello();
            let env = String::from_utf8_lossy(&manifest.env.join(&b' ')).into_owned();
            let text = format!("{:?} {env} {:?} {:?}\n", &command[2..], manifest.root, manifest.channel);
            guest.send(Kind::Stdout, text.as_bytes());
            guest.send(Kind::Exit, &[0]);
        }
        "network" => {
            guest.hello();
            let network = &manifest.network;
            let cards: Vec<_> =
                args.iter().filter(|arg| arg.contains("net0") || arg.contains("net1")).collect();
            let text = format!("{cards:?}\n{:?}\n", network.interfaces);
            let rest = format!("{:?} {:?} {:?}\n", network.nameservers, network.search, network.hosts);
            guest.send(Kind::Stdout, format!("{text}{rest}").as_bytes());
            guest.send(Kind::Exit, &[0]);
        }
        "cat" => {
            guest.hello();
            loop {
                // Two grants that only together make five bytes.
                guest.send(Kind::Credit, &[2, 0, 0, 0]);
                guest.send(Kind::Credit, &[3, 0, 0, 0]);
                let mut taken = 0;
                while taken < 5 {
                    match guest.receive() {
                        (Kind::Stdin, bytes) if bytes.is_empty() => return guest.send(Kind::Exit, &[0]),
                        (Kind::Stdin, bytes) => {
                            taken += bytes.len();
                            assert!(taken <= 5, "more than was asked for");
                            guest.send(Kind::Stdout, &bytes);
                        }
                        _ => {}
                    }
                }
            }
        }
        "wait" => {
            guest.hello();
            guest.send(Kind::Stdout, format!("{}\n", std::process::id()).as_bytes());
            loop {
                if let (Kind::Signal, number) = guest.receive() {
                    guest.send(Kind::Stdout, format!("signal {}\n", number[0]).as_bytes());
                    if command.get(2).is_none() {
                        guest.send(Kind::Exit, &[128 + number[0]]);
                    }
                }
            }
        }
        "mute" => {
            // The real guest, too, introduces itself with its first output only.
            println!("listening");
            let number = loop {
                if let (Kind::Signal, number) = guest.receive() {
                    break number[0];
                }
            };
            guest.hello();
            guest.send(Kind::Exit, &[128 + number]);
        }
        "flood" => {
            guest.hello();
            loop {
                guest.send(Kind::Stdout, &vec![b'y'; MAX_PAYLOAD]);
            }
        }
        "die" => {
            guest.hello();
            guest.send(Kind::Stdout, b"half\n");
            println!("panicked at the disco");
        }
        "babble" => guest.send(Kind::Hello, &99u32.to_le_bytes()),
        "lie" => guest.channel.write_all(&[2, 0xff, 0xff, 0xff]).expect("the channel works"),
        other => panic!("nothing to play for {other:?}"),
    }
    // A machine takes a moment to power off; nobody should wait for it.
    thread::sleep(Duration::from_millis(if command[1] == "die" { 0 } else { 20_000 }));
}
