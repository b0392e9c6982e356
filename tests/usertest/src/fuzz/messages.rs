//! Addresses and messages of sockets, made once and meant: random memory would hardly ever be one.

use std::sync::OnceLock;

use super::arguments::FIRST_FD;
use super::random::Random;

/// How many of each there are.
const COUNT: usize = 64;
/// Room of a message, for its bytes and for its ancillary data.
const ROOM: usize = 4096;

/// An address of the family, by path or not.
pub fn name(random: &mut Random) -> usize {
    static NAMES: OnceLock<[usize; COUNT]> = OnceLock::new();
    random.pick(NAMES.get_or_init(|| std::array::from_fn(make_name)))
}

/// A `struct msghdr`, and what follows it where an array is expected.
pub fn header(random: &mut Random) -> usize {
    static HEADERS: OnceLock<[usize; COUNT]> = OnceLock::new();
    random.pick(HEADERS.get_or_init(|| std::array::from_fn(make_header)))
}

/// Memory of this content that nobody ever frees.
fn leak<T>(content: T) -> usize {
    std::ptr::from_mut(Box::leak(Box::new(content))) as usize
}

fn make_name(index: usize) -> usize {
    let mut bytes = [0u8; 110];
    bytes[0] = if index.is_multiple_of(16) { 0 } else { libc::AF_UNIX as u8 };
    bytes[2 + index % 2] = b'a' + (index / 2 % 8) as u8;
    leak(bytes)
}

fn make_header(index: usize) -> usize {
    let mut headers = [crate::sys::zeroed::<libc::mmsghdr>(); 4];
    for (nth, entry) in headers.iter_mut().enumerate() {
        let header = &mut entry.msg_hdr;
        let vectors: [libc::iovec; 3] = std::array::from_fn(|vector| libc::iovec {
            iov_base: leak([0u8; ROOM]) as *mut _,
            iov_len: [0, 1, 100, ROOM][(index + vector + nth) % 4],
        });
        header.msg_iov = leak(vectors) as *mut _;
        header.msg_iovlen = (index + nth) % 4;
        if index.is_multiple_of(3) {
            header.msg_name = make_name(index) as *mut _;
            header.msg_namelen = [2, 4, 5, 110][index / 3 % 4];
        }
        if !index.is_multiple_of(4) {
            let fds: Vec<i32> = (0..index % 5).map(|fd| (FIRST_FD + (index + fd) % 16) as i32).collect();
            let mut control = vec![0u8; ROOM];
            control[..8].copy_from_slice(&(16 + fds.len() * 4).to_le_bytes());
            control[8] = libc::SOL_SOCKET as u8;
            control[12] =
                if index.is_multiple_of(7) { libc::SCM_CREDENTIALS } else { libc::SCM_RIGHTS } as u8;
            for (place, fd) in control[16..].chunks_mut(4).zip(fds) {
                place.copy_from_slice(&fd.to_le_bytes());
            }
            header.msg_control = control.leak().as_mut_ptr().cast();
            header.msg_controllen = [16, 24, 32, ROOM][index % 4];
        }
    }
    leak(headers)
}
