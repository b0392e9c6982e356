//! sendto(2), sendmsg(2), sendmmsg(2).

use isopod_fs::file::OpenFlags;
use isopod_fs::{Errno, Error};

use super::{MessageHeader, MessageOfMany, STEP, check_socket, connect_to};
use crate::fail::{Attempt, Stop};
use crate::mm::{UserBuffers, UserPtr};
use crate::poll;
use crate::process::Ctx;
use crate::socket::inet::is_inet;
use crate::socket::unix::Rights;
use crate::socket::{
    ADDRESS_MAX, AF_UNSPEC, Address, Kind, MessageFlags, Outgoing, control, limits, socket_of,
};
use crate::syscall::argument::{Fd, Flags, InBytes};
use crate::syscall::file::io::{get_vectors, single};
use crate::syscall::unfinished::{Delivery, Transfer, attempt};

/// Connects a socket of TCP before the first byte is sent (`tcp_sendmsg_fastopen`). No peer has given this machine a cookie, so the message
/// follows the handshake (RFC 7413, section 3), and a program that does not wait sends it later.
fn connect_first(ctx: &Ctx, call: &mut Transfer, message: &Outgoing) -> Attempt<()> {
    let to = match &message.to {
        Some(to) if to.family() == Some(AF_UNSPEC) => return Err(Errno::EOPNOTSUPP.into()),
        Some(to) => to,
        None if socket_of(&call.file)?.peer_name().is_ok() => return Err(Errno::EISCONN.into()),
        None => return Err(Errno::EINVAL.into()),
    };
    let flags = call.file.flags();
    let waiting = !flags.contains(OpenFlags::NONBLOCK) && !message.flags.contains(MessageFlags::DONT_WAIT);
    connect_to(ctx, call, to, waiting)?;
    call.connected = true;
    Ok(())
}

/// Sends a message, of a stream to its last byte. EPIPE comes with SIGPIPE where nothing went.
fn send(ctx: &Ctx, call: &mut Transfer, message: &mut Outgoing, buffers: &mut UserBuffers) -> Attempt {
    let file = alloc::sync::Arc::clone(&call.file);
    let socket = socket_of(&file)?;
    let is_stream = socket.common().kind == Kind::Stream;
    if message.flags.contains(MessageFlags::FAST_OPEN)
        && is_stream
        && is_inet(socket.common().family)
        && !call.connected
    {
        connect_first(ctx, call, message)?;
    }
    if call.bytes > 0 {
        // They went with the first bytes.
        message.rights = Rights::default();
    }
    loop {
        if call.over && call.bytes > 0 {
            return Ok(call.bytes);
        }
        buffers.rewind(call.bytes);
        if is_stream {
            buffers.allow(STEP);
        }
        match socket.send(message, buffers) {
            Ok(count) => {
                call.bytes += count;
                if let Some(fault) = buffers.take_fault() {
                    return Err(fault.into());
                }
                if !is_stream || count == 0 || buffers.is_used_up() {
                    return Ok(call.bytes);
                }
                if count == STEP {
                    return Err(Stop::Turn);
                }
            }
            Err(Error::Errno(Errno::EAGAIN)) => {
                return call.not_yet(!message.flags.contains(MessageFlags::DONT_WAIT), true);
            }
            Err(Error::Errno(_)) if call.bytes > 0 => return Ok(call.bytes),
            Err(Error::Errno(Errno::EPIPE))
                if is_stream && !message.flags.contains(MessageFlags::NO_SIGNAL) =>
            {
                poll::broken_pipe(&ctx.thread)?;
                return Err(Errno::EPIPE.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// sendto(2)
pub fn sendto(
    ctx: &mut Ctx,
    fd: Fd,
    buffer: InBytes,
    count: usize,
    flags: Flags,
    to: UserPtr<u8>,
    length: i32,
) -> Attempt {
    let mut buffers = single(buffer.0.address(), count)?;
    attempt(ctx, fd, check_socket, &mut |ctx, call| {
        let mut message = outgoing(flags);
        if !to.is_null() {
            // An empty one is none.
            message.to = Some(Address::read(to, length)?).filter(|to| !to.bytes().is_empty());
        }
        send(ctx, call, &mut message, &mut buffers)
    })
}

fn outgoing(flags: Flags) -> Outgoing {
    Outgoing { flags: MessageFlags::from_bits_truncate(flags.0), ..Outgoing::default() }
}

/// Sends the message that a header describes (`__copy_msghdr`, `____sys_sendmsg`).
fn send_one(ctx: &Ctx, call: &mut Transfer, header: UserPtr<MessageHeader>, flags: Flags) -> Attempt {
    let header = header.get()?;
    let mut message = outgoing(flags);
    if header.name != 0 && header.name_length < 0 {
        return Err(Errno::EINVAL.into());
    }
    if header.name != 0 && header.name_length > 0 {
        let length = header.name_length.min(ADDRESS_MAX as i32);
        message.to = Some(Address::read(UserPtr::new(header.name as usize), length)?);
    }
    let (vectors, count) = header.vectors()?;
    let mut buffers = UserBuffers::new(get_vectors(vectors, count)?);
    if header.control_length > limits::CONTROL_MAX.get() {
        return Err(Errno::ENOBUFS.into());
    }
    if header.control_length > 0 {
        let control =
            UserPtr::<u8>::new(header.control as usize).get_array(header.control_length as usize)?;
        let family = socket_of(&call.file)?.common().family;
        control::understand(&control, &ctx.thread, family, &mut message)?;
    }
    send(ctx, call, &mut message, &mut buffers)
}

/// sendmsg(2)
pub fn sendmsg(ctx: &mut Ctx, fd: Fd, header: UserPtr<MessageHeader>, flags: Flags) -> Attempt {
    attempt(ctx, fd, check_socket, &mut |ctx, call| send_one(ctx, call, header, flags))
}

/// sendmmsg(2): how many went; an error only if none did.
pub fn sendmmsg(
    ctx: &mut Ctx,
    fd: Fd,
    messages: UserPtr<MessageOfMany>,
    count: u32,
    flags: Flags,
) -> Attempt {
    attempt(ctx, fd, check_socket, &mut |ctx, call| {
        call.each_message(count, ctx, &mut |call, index| {
            let message = messages.element(index);
            if call.delivery.is_none() {
                let length = send_one(ctx, call, message.cast(), flags)? as u32;
                let length = Some((MessageOfMany::length_of(message), length));
                call.delivery = Some(Delivery { length, ..Delivery::default() });
            }
            Ok(true)
        })
    })
}
