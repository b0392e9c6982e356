//! `/proc/net`: `proc_pid_net(5)`.

use isopod_fs::Result;

use super::inet;
use super::subject::Subject;
use super::table::{Row, put};
use super::text::Text;
use crate::socket::unix::table::for_each;

/// The names in `/proc/PID/net`, which are the same for all: there is one network namespace.
pub(super) static NET: [Row; 15] = [
    Row::machine("arp", inet::arp),
    Row::thread("dev", inet::dev),
    Row::thread("if_inet6", inet::if_inet6),
    Row::thread("ipv6_route", inet::ipv6_route),
    Row::thread("raw", inet::raw),
    Row::thread("raw6", inet::raw6),
    Row::thread("route", inet::route),
    Row::thread("snmp", inet::snmp),
    Row::thread("sockstat", inet::sockstat),
    Row::thread("sockstat6", inet::sockstat6),
    Row::thread("tcp", inet::tcp),
    Row::thread("tcp6", inet::tcp6),
    Row::thread("udp", inet::udp),
    Row::thread("udp6", inet::udp6),
    Row::thread("unix", unix),
];

/// Addresses in the kernel are nobody's business. An abstract name's NULs are shown as `@`.
fn unix(_: &Subject, text: &mut Text) -> Result<()> {
    /// `SO_ACCEPTCON`
    const LISTENS: u32 = 1 << 16;
    /// `SS_UNCONNECTED`, `SS_CONNECTED`
    const STATES: [u32; 2] = [1, 3];
    text.put_line(b"Num       RefCount Protocol Flags    Type St Inode Path");
    for_each(&mut |socket| {
        let flags = if socket.listens { LISTENS } else { 0 };
        let (references, kind) = (socket.references, socket.kind as u32);
        let state = STATES[usize::from(socket.connected)];
        put!(
            text,
            "{:016x}: {references:08X} {:08X} {flags:08X} {kind:04X} {state:02X} {:5}",
            0,
            0,
            socket.inode
        );
        if let Some(name) = &socket.name {
            let (is_abstract, bytes) = match name.rest() {
                [path @ .., 0] if path.first() != Some(&0) => (false, path),
                bytes => (true, bytes),
            };
            text.put(b" ");
            for byte in bytes {
                let shown = if is_abstract && *byte == 0 { b'@' } else { *byte };
                text.put(&[shown]);
            }
        }
        text.put(b"\n");
    })
}
