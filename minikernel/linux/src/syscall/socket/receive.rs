//! recvfrom(2), recvmsg(2), recvmmsg(2).

use isopod_fs::Errno;
use isopod_fs::file::OpenFlags;
use isopod_hal::clock;
use zerocopy::IntoBytes;

use super::{MessageHeader, MessageOfMany, STEP, check_socket};
use crate::fail::{Attempt, Fail, Stop};
use crate::ipc::pidfd::new_pidfd;
use crate::mm::{UserBuffers, UserPtr};
use crate::poll::FOREVER;
use crate::process::{Ctx, find_process};
use crate::socket::control::{self, ControlOut};
use crate::socket::credentials::Sender;
use crate::socket::options::{PASS_CREDENTIALS, PASS_PIDFD};
use crate::socket::{Incoming, Kind, MessageFlags, Socket, socket_of};
use crate::syscall::argument::{Fd, Flags, OutBytes};
use crate::syscall::file::io::{get_vectors, single};
use crate::syscall::file::open::install;
use crate::syscall::unfinished::{Delivery, Transfer, attempt};
use crate::time::Timespec;

/// Receives a message, or of a stream what there is, with `MSG_WAITALL` all that was asked for.
fn receive(call: &mut Transfer, flags: MessageFlags, buffers: &mut UserBuffers) -> Attempt {
    let file = alloc::sync::Arc::clone(&call.file);
    let socket = socket_of(&file)?;
    let is_stream = socket.common().kind == Kind::Stream;
    let nonblocking = file.flags().contains(OpenFlags::NONBLOCK);
    call.incoming.flags = flags;
    let hurries = nonblocking || call.over || flags.contains(MessageFlags::DONT_WAIT);
    call.incoming.flags.set(MessageFlags::DONT_WAIT, hurries);
    let waits = !call.incoming.flags.contains(MessageFlags::DONT_WAIT);
    let whole = is_stream && flags.contains(MessageFlags::WAIT_ALL);
    loop {
        if call.over && call.bytes > 0 {
            return Ok(call.bytes);
        }
        buffers.rewind(call.bytes);
        if is_stream {
            buffers.allow(STEP);
        }
        match socket.receive(&mut call.incoming, buffers) {
            Ok(count) => {
                call.bytes += count;
                if let Some(fault) = buffers.take_fault() {
                    return Err(fault.into());
                }
                if !whole || count == 0 || buffers.is_used_up() {
                    return Ok(call.bytes);
                }
            }
            // Only who asked for all waits for more than there is.
            Err(Errno::EAGAIN) => {
                // When the wait ends without enough of it, what there is is taken (`tcp_recvmsg_locked`).
                call.little = is_stream && socket.readable_bytes().is_ok_and(|count| count > 0);
                return call.not_yet(waits && (whole || call.bytes == 0), false);
            }
            Err(_) if call.bytes > 0 => return Ok(call.bytes),
            Err(Errno::ENOMEM) => return Err(Stop::Memory),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// recvfrom(2)
pub fn recvfrom(
    ctx: &mut Ctx,
    fd: Fd,
    buffer: OutBytes,
    count: usize,
    flags: Flags,
    from: UserPtr<u8>,
    length: UserPtr<i32>,
) -> Attempt {
    let mut buffers = single(buffer.0.address(), count)?;
    attempt(ctx, fd, check_socket, &mut |_, call| {
        if call.delivery.is_none() {
            call.incoming.wants_name = !from.is_null();
            receive(call, MessageFlags::from_bits_truncate(flags.0), &mut buffers)?;
            if from.is_null() {
                return Ok(call.bytes);
            }
            let name = Some((call.incoming.from, from, length));
            call.delivery = Some(Delivery { name, ..Delivery::default() });
        }
        call.deliver()?;
        Ok(call.bytes)
    })
}

/// Receives as a header says; what came besides bytes is then to be delivered.
fn receive_one(ctx: &Ctx, call: &mut Transfer, at: UserPtr<MessageHeader>, flags: MessageFlags) -> Attempt {
    let header = at.get()?;
    if header.name != 0 && header.name_length < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (vectors, count) = header.vectors()?;
    let mut buffers = UserBuffers::new(get_vectors(vectors, count)?);
    call.incoming.wants_name = header.name != 0;
    receive(call, flags, &mut buffers)?;
    let room = if header.control == 0 { 0 } else { header.control_length as usize };
    let control = tell(ctx, &**socket_of(&call.file)?, &mut call.incoming, room);
    let mut found = call.incoming.found | flags & MessageFlags::CLOSE_ON_EXEC;
    found.set(MessageFlags::CONTROL_CUT, control.cut);
    let mut rest = [0; 12];
    rest[..8].copy_from_slice(&(control.bytes.len() as u64).to_le_bytes());
    rest[8..].copy_from_slice(&found.bits().to_le_bytes());
    let place = |offset: usize| at.address() + offset;
    let length = UserPtr::new(place(core::mem::offset_of!(MessageHeader, name_length)));
    let name = (header.name != 0).then(|| (call.incoming.from, UserPtr::new(header.name as usize), length));
    call.delivery = Some(Delivery {
        name,
        control: (header.control as usize, control.bytes),
        header: Some((place(core::mem::offset_of!(MessageHeader, control_length)), rest)),
        length: None,
    });
    Ok(call.bytes)
}

/// The ancillary data of a message (`scm_recv_unix`). The descriptors that it tells of are in place.
fn tell(ctx: &Ctx, socket: &dyn Socket, message: &mut Incoming, room: usize) -> ControlOut {
    let mut control = ControlOut::new(room);
    let options = &socket.common().options;
    let sender = message.sender.unwrap_or(Sender::UNKNOWN);
    for part in core::mem::take(&mut message.parts) {
        control.put_at(part.level, part.kind, &part.data);
    }
    if options.has(PASS_CREDENTIALS) {
        control.put(control::CREDENTIALS, sender.as_bytes());
    }
    let files = message.take_files();
    let count = files.len();
    let fit = control.room() / size_of::<i32>();
    let close_on_exec = message.flags.contains(MessageFlags::CLOSE_ON_EXEC);
    let mut fds = alloc::vec::Vec::new();
    for file in files.into_iter().take(fit) {
        match install(ctx, file, close_on_exec) {
            Ok(fd) => fds.push(fd as i32),
            Err(_) => break,
        }
    }
    control.cut |= fds.len() < count;
    if !fds.is_empty() {
        control.put(control::RIGHTS, fds.as_bytes());
    }
    if options.has(PASS_PIDFD) {
        if control.room() < size_of::<i32>() {
            control.cut = true;
        } else {
            control.put(control::PIDFD, &sender_file(ctx, sender).to_le_bytes());
        }
    }
    control
}

/// A descriptor of the process that sent a message, or why there is none.
fn sender_file(ctx: &Ctx, sender: Sender) -> i32 {
    let found = find_process(sender.pid).ok_or(Errno::ESRCH);
    let file = found.and_then(|process| new_pidfd(&process, OpenFlags::empty()));
    match file.map_err(Fail::from).and_then(|file| install(ctx, file, true)) {
        Ok(fd) => fd as i32,
        Err(Fail::Errno(errno)) => -i32::from(errno.number()),
        Err(_) => -i32::from(Errno::EINTR.number()),
    }
}

/// recvmsg(2)
pub fn recvmsg(ctx: &mut Ctx, fd: Fd, header: UserPtr<MessageHeader>, flags: Flags) -> Attempt {
    attempt(ctx, fd, check_socket, &mut |ctx, call| {
        if call.delivery.is_none() {
            receive_one(ctx, call, header, MessageFlags::from_bits_truncate(flags.0))?;
        }
        call.deliver()?;
        Ok(call.bytes)
    })
}

/// recvmmsg(2): how many came; an error only if none did. The time is looked at after each, and never ends a wait.
pub fn recvmmsg(
    ctx: &mut Ctx,
    fd: Fd,
    messages: UserPtr<MessageOfMany>,
    count: u32,
    flags: Flags,
    timeout: UserPtr<Timespec>,
) -> Attempt {
    let until = match timeout.non_null() {
        Some(timeout) if ctx.unfinished.is_none() => timeout.get()?.deadline_from_now()?,
        _ => FOREVER,
    };
    attempt(ctx, fd, check_socket, &mut |ctx, call| {
        let until = *call.until.get_or_insert(until);
        if call.messages.is_none()
            && let Some(error) = socket_of(&call.file)?.take_error()
        {
            return Err(error.into());
        }
        let mut flags = MessageFlags::from_bits_truncate(flags.0);
        let done = call.each_message(count, ctx, &mut |call, index| {
            let message = messages.element(index);
            if index > 0 && flags.contains(MessageFlags::WAIT_FOR_ONE) {
                flags |= MessageFlags::DONT_WAIT;
            }
            if call.delivery.is_none() {
                let length = receive_one(ctx, call, message.cast(), flags)? as u32;
                if let Some(delivery) = &mut call.delivery {
                    delivery.length = Some((MessageOfMany::length_of(message), length));
                }
            }
            Ok(clock::monotonic_ns() < until)
        })?;
        // No more of them come if only the time has still to be told.
        call.over = true;
        if let Some(timeout) = timeout.non_null() {
            timeout.put(&Timespec::from_ns(until.saturating_sub(clock::monotonic_ns())))?;
        }
        Ok(done)
    })
}
