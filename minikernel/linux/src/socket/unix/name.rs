//! Names: bind(2), and finding who has one (unix(7), "Address format").

use alloc::format;
use alloc::sync::Arc;

use isopod_fs::vfs::{Access, Resolve};
use isopod_fs::{DeviceId, Errno, Error, FileType, Result};

use super::{AF_UNIX, Address, UnixSocket, table};
use crate::kernel;
use crate::process::Thread;
use crate::syscall::with_view;

/// `sizeof(sun_path)`
const PATH_MAX: usize = 108;
/// How many names there are for those who take any (`unix_autobind`).
const AUTOMATIC: u64 = 0x10_0000;

/// The bytes of a name: a path up to its NUL, or a NUL and what follows. EINVAL without any, or with too many, or of another family.
pub(super) fn check(address: &Address) -> Result<&[u8]> {
    let rest = address.rest();
    if address.family() != Some(AF_UNIX) || rest.is_empty() || rest.len() > PATH_MAX {
        return Err(Errno::EINVAL.into());
    }
    let end = rest.iter().position(|&byte| byte == 0).filter(|&end| end > 0);
    Ok(&rest[..end.unwrap_or(rest.len())])
}

impl UnixSocket {
    /// bind(2). Without a name it gets any.
    pub(super) fn bind_to(&self, caller: &Thread, address: &Address) -> Result<()> {
        if address.family() == Some(AF_UNIX) && address.rest().is_empty() {
            return self.name_itself();
        }
        match check(address)? {
            name @ [0, ..] => {
                let name = Arc::new(Address::new(AF_UNIX, name));
                let mut state = self.state.lock();
                if state.name.is_some() {
                    return Err(Errno::EINVAL.into());
                }
                table::name(self, &name)?;
                state.name = Some(name);
                Ok(())
            }
            path => self.bind_to_path(caller, path),
        }
    }

    /// A new inode at `path` leads to this socket.
    fn bind_to_path(&self, caller: &Thread, path: &[u8]) -> Result<()> {
        let name = Arc::new(Address::new(AF_UNIX, &[path, &[0]].concat()));
        let socket = self.me.upgrade().ok_or(Errno::EINVAL)?;
        with_view(caller, |view| {
            let made = view.mknod(view.directory, path, FileType::Socket, 0o777, DeviceId::default());
            let place = made.map_err(|error| match error {
                Error::Errno(Errno::EEXIST) => Errno::EADDRINUSE.into(),
                error => error,
            })?;
            let mut state = self.state.lock();
            if state.name.is_some() {
                drop(state);
                view.unlink(view.directory, path)?;
                return Err(Errno::EINVAL.into());
            }
            place.inode().state().attach(|| Ok(socket))?;
            state.name = Some(name);
            state.path = Some(place);
            Ok(())
        })
    }

    /// Takes a name of five digits that nobody has, unless it has one. ENOSPC
    pub(super) fn name_itself(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.name.is_some() {
            return Ok(());
        }
        let first = kernel::random_u64() % AUTOMATIC;
        for offset in 0..AUTOMATIC {
            let number = (first + offset) % AUTOMATIC;
            let name = Arc::new(Address::new(AF_UNIX, format!("\0{number:05x}").as_bytes()));
            match table::name(self, &name) {
                Err(Error::Errno(Errno::EADDRINUSE)) => {}
                outcome => {
                    outcome?;
                    state.name = Some(name);
                    return Ok(());
                }
            }
        }
        Err(Errno::ENOSPC.into())
    }

    /// As [`name_itself`](Self::name_itself), for a socket that is about to send and wants to know who sends to it.
    pub(super) fn name_itself_to_send(&self) -> Result<()> {
        if self.passes_credentials() { self.name_itself() } else { Ok(()) }
    }

    /// The socket of the same kind with the name that `address` says. ECONNREFUSED if there is none, EPROTOTYPE if it is of another kind; the errors of
    /// path resolution, and EACCES if it must not be written to.
    pub(super) fn find(&self, caller: &Thread, address: &Address) -> Result<Arc<Self>> {
        let found = match check(address)? {
            name @ [0, ..] => table::find(self.kind(), &Address::new(AF_UNIX, name)),
            path => with_view(caller, |view| {
                let place = view.resolve(view.directory, path, Resolve::FOLLOW)?;
                view.access(&place, Access::WRITE)?;
                Ok::<_, Error>(place.inode().state().attached::<Self>())
            })?,
        };
        match found.filter(|socket| !socket.state.lock().dead) {
            Some(socket) if socket.kind() != self.kind() => Err(Errno::EPROTOTYPE.into()),
            Some(socket) => Ok(socket),
            None => Err(Errno::ECONNREFUSED.into()),
        }
    }
}
