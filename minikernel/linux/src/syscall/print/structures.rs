//! Values that no layout describes.

use super::printer::{Place, Printer, SHOWN};
use super::{layouts, names};
use crate::signal::{SigSet, Signal};
use crate::syscall::put;

/// The most bytes of a path that are printed.
const PATH: usize = 256;
/// More strings of an environment are not counted: the program says where it ends.
const COUNTED: u64 = 1 << 12;

impl Printer<'_> {
    /// Prints the value of a letter that is more than a number.
    pub(super) fn structure(&mut self, letter: u8, value: u64, place: Place) {
        match letter {
            b'V' => self.behind(value, |printer| printer.strings(value)),
            b'E' => self.environment(value),
            b'W' => self.status(value as u32),
            b'l' => self.limit(value),
            b'v' => {
                let (major, minor) =
                    ((value >> 8 & 0xfff) | (value >> 32 & !0xfff), value & 0xff | value >> 12 & !0xff);
                put!(&mut self.out, "makedev({major:#x}, {:#x})", minor & 0xffff_ffff);
            }
            b'N' => self.entries(value),
            b'F' => {
                let count = self.register(0).min(1024);
                self.behind(value, |printer| printer.bits(value, count));
            }
            b'K' => {
                let bytes = self.call.result.map_or(0, |result| result.clamp(0, 128) as u64);
                self.behind(value, |printer| printer.bits(value, 8 * bytes));
            }
            b'a' | b'A' | b'M' => {
                let next = self.register(self.index + 1);
                let length = match (letter, place) {
                    (b'M', Place::Memory(at)) => self.load(Place::Memory(at.wrapping_add(8)), 4),
                    (b'A', _) if next != 0 => self.load(Place::Memory(next), 4),
                    _ => Some(next),
                };
                let length = length.unwrap_or(0).min(128) as usize;
                self.behind(value, |printer| printer.address(value, length));
            }
            _ => {}
        }
    }

    pub(super) fn string(&mut self, address: u64) {
        self.text(address, PATH);
    }

    /// Prints a string, and at most `length` bytes of it.
    fn text(&mut self, address: u64, length: usize) {
        self.behind(address, |printer| {
            let mut bytes = [0; PATH + 1];
            let wanted = &mut bytes[..=length];
            let missing = printer.missing;
            let present = printer.read(address, wanted);
            if let Some(end) = wanted[..present].iter().position(|&byte| byte == 0) {
                // What lies behind the end is none of ours.
                printer.missing = missing;
                printer.quote(&bytes[..end]);
            } else if present > length {
                printer.quote(&bytes[..length]);
                printer.out.push_str("...");
            }
        });
    }

    /// Prints the characters of an array, which a 0 ends.
    pub(super) fn characters(&mut self, address: u64) {
        self.text(address, 64);
    }

    /// The entry of a list of addresses; none at its end, or where it cannot be read.
    fn entry(&mut self, list: u64, index: u64) -> Option<u64> {
        self.load(Place::Memory(list.wrapping_add(8 * index)), 8).filter(|entry| *entry != 0)
    }

    fn strings(&mut self, list: u64) {
        self.out.push('[');
        for index in 0..=SHOWN as u64 {
            let Some(string) = self.entry(list, index) else { break };
            if index > 0 {
                self.out.push_str(", ");
            }
            if index == SHOWN as u64 {
                self.out.push_str("...");
                break;
            }
            self.text(string, SHOWN);
        }
        self.out.push(']');
    }

    fn environment(&mut self, list: u64) {
        self.pointer(list);
        if list != 0 {
            let count = (0..COUNTED).take_while(|&index| self.entry(list, index).is_some()).count();
            put!(&mut self.out, " /* {count} var{} */", if count == 1 { "" } else { "s" });
        }
    }

    pub(super) fn mode(&mut self, mode: u32) {
        const KINDS: &str = "=: 1 S_IFIFO S_IFCHR 4 S_IFDIR 6 S_IFBLK 8 S_IFREG 10 S_IFLNK 12 S_IFSOCK";
        const BITS: &str = "=: |9 S_ISVTX S_ISGID S_ISUID";
        let kind = mode >> 12 & 0xf;
        if kind != 0 {
            names::write(&KINDS[1..], kind.into(), &mut self.out);
            self.out.push('|');
        }
        if kind != 0 && mode & 0o7000 != 0 {
            names::write(&BITS[1..], u64::from(mode & 0o7000), &mut self.out);
            self.out.push('|');
        }
        let shown = if kind == 0 { mode & 0o7777 } else { mode & 0o777 };
        put!(&mut self.out, "0{shown:02o}");
    }

    pub(super) fn clone_flags(&mut self, flags: u64) {
        let signal = Signal::new(flags as u32 & 0xff);
        if flags & !0xff != 0 || signal.is_none() {
            names::write(&layouts::named("Clone")[1..], flags & 0xffff_ff00, &mut self.out);
        }
        if let Some(signal) = signal {
            put!(&mut self.out, "{}{signal}", if flags & !0xff == 0 { "" } else { "|" });
        }
    }

    /// Prints a set of signals: those that are not in it, if they are fewer by far.
    pub(super) fn signals(&mut self, address: u64) {
        let Some(bits) = self.load(Place::Memory(address), 8) else { return };
        let is_most = bits.count_ones() as usize >= Signal::COUNT * 2 / 3;
        let set = SigSet::from_bits(if is_most { !bits } else { bits });
        self.out.push_str(if is_most { "~[" } else { "[" });
        let mut between = "";
        for signal in
            (1..=Signal::COUNT as u32).filter_map(Signal::new).filter(|signal| set.contains(*signal))
        {
            let begin = self.out.len();
            put!(&mut self.out, "{between}{signal}");
            // In a set they have no `SIG`.
            self.out.replace_range(begin + between.len()..begin + between.len() + 3, "");
            between = " ";
        }
        self.out.push(']');
    }

    /// Prints what became of a child as the macros of wait(2) tell it.
    fn status(&mut self, status: u32) {
        let out = &mut self.out;
        let signal = |number| Signal::new(number).unwrap_or(Signal::TRAP);
        match (status & 0x7f, status) {
            (_, 0xffff) => out.push_str("WIFCONTINUED(s)"),
            (0x7f, _) => put!(out, "WIFSTOPPED(s) && WSTOPSIG(s) == {}", signal(status >> 8 & 0x7f)),
            (0, _) => put!(out, "WIFEXITED(s) && WEXITSTATUS(s) == {}", status >> 8 & 0xff),
            _ => {
                put!(out, "WIFSIGNALED(s) && WTERMSIG(s) == {}", signal(status & 0x7f));
                if status & 0x80 != 0 {
                    out.push_str(" && WCOREDUMP(s)");
                }
            }
        }
    }

    fn limit(&mut self, limit: u64) {
        match limit {
            u64::MAX => self.out.push_str("RLIM64_INFINITY"),
            _ if limit > 1024 && limit.is_multiple_of(1024) => put!(&mut self.out, "{}*1024", limit / 1024),
            _ => put!(&mut self.out, "{limit}"),
        }
    }

    /// Prints how many entries of a folder there are in what the call has filled.
    fn entries(&mut self, list: u64) {
        let filled = self.call.result.map_or(0, |result| result.max(0) as u64);
        self.pointer(list);
        let (mut at, mut count) = (0, 0);
        while at < filled {
            // `d_reclen` of `struct linux_dirent64`.
            let Some(length @ 1..) = self.load(Place::Memory(list.wrapping_add(at + 16)), 2) else { break };
            (at, count) = (at + length, count + 1);
        }
        put!(&mut self.out, " /* {count} entries */");
    }

    /// Prints the numbers of the bits that are set.
    fn bits(&mut self, address: u64, count: u64) {
        self.out.push('[');
        let mut between = "";
        for bit in 0..count {
            let Some(byte) = self.load(Place::Memory(address.wrapping_add(bit / 8)), 1) else { return };
            if byte >> (bit % 8) & 1 == 1 {
                put!(&mut self.out, "{between}{bit}");
                between = " ";
            }
        }
        self.out.push(']');
    }

    /// Prints a socket's address of `length` bytes.
    fn address(&mut self, address: u64, length: usize) {
        let mut bytes = [0; 128];
        if self.read(address, &mut bytes[..length]) < length {
            return;
        }
        let family = u16::from_le_bytes([bytes[0], bytes[1]]);
        self.out.push_str("{sa_family=");
        names::write(&layouts::named("Domain")[1..], family.into(), &mut self.out);
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        match family {
            1 if length > 2 => {
                self.out.push_str(", sun_path=");
                let name = &bytes[2..length];
                if let [0, name @ ..] = name {
                    self.out.push('@');
                    self.quote(name);
                } else {
                    self.quote(name.split(|&byte| byte == 0).next().unwrap_or_default());
                }
            }
            2 => {
                let [a, b, c, d] = word(4).to_le_bytes();
                put!(&mut self.out, ", sin_port=htons({port}), sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")");
            }
            10 => {
                let mut own = [0; 16];
                own.copy_from_slice(&bytes[8..24]);
                let (flow, own) = (word(4).swap_bytes(), core::net::Ipv6Addr::from(own));
                put!(&mut self.out, ", sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), ");
                put!(&mut self.out, "inet_pton(AF_INET6, \"{own}\", &sin6_addr), sin6_scope_id={}", word(24));
            }
            16 => put!(&mut self.out, ", nl_pid={}, nl_groups={:08x}", word(4), word(8)),
            _ => {}
        }
        self.out.push('}');
    }
}
