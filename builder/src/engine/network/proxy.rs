//! Ports of the host's IPv6 addresses. QEMU's user network listens on IPv4 addresses only, so that it is this process that listens there
//! and passes on what comes, as `docker-proxy` does for containers without an IPv6 address.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::backlog::ROOM;
use super::{NetworkError, Transport};

/// How long a client that has been taken in waits for QEMU to listen: so many times this long.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: u32 = 1000;

/// How long answers to a client's datagrams are waited for after the last of them, as `docker-proxy` does.
const IDLE: Duration = Duration::from_secs(90);

/// From how many clients datagrams are passed on at a time. Those of others are dropped.
const CLIENTS_MAX: usize = 1024;

/// The longest datagram, in bytes.
const DATAGRAM_MAX: usize = 1 << 16;

/// A port of the host's IPv6 addresses, whose clients are led to one where QEMU listens.
#[derive(Debug)]
pub struct Proxy {
    /// Of which protocol.
    pub transport: Transport,
    /// Which it is.
    pub host: SocketAddrV6,
    /// Where QEMU listens.
    pub to: SocketAddrV4,
    socket: OwnedFd,
}

impl Proxy {
    /// Claims a port, where 0 stands for any that is free, and leads it to `to`. Nobody is let in yet.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn new(
        transport: Transport,
        ip: Ipv6Addr,
        port: u16,
        to: SocketAddrV4,
    ) -> Result<Self, NetworkError> {
        let host = SocketAddrV6::new(ip, port, 0, 0);
        let claimed = claim(transport, host).and_then(|socket| {
            let host = SocketAddrV6::try_from(getsockname(&socket)?)?;
            Ok(Self { transport, host, to, socket })
        });
        claimed.map_err(|source| NetworkError::Port { transport, host: host.into(), source })
    }
}

fn claim(transport: Transport, host: SocketAddrV6) -> io::Result<OwnedFd> {
    let kind = if transport == Transport::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, kind, flags, None)?;
    // The same port of IPv4 is QEMU's.
    set_ipv6_v6only(&socket, true)?;
    set_socket_reuseaddr(&socket, transport == Transport::Tcp)?;
    bind(&socket, &host)?;
    Ok(socket)
}

/// Lets clients in, until the process ends.
///
/// # Errors
/// When the operating system has no room for it.
pub fn serve(proxies: &[Proxy]) -> io::Result<()> {
    if proxies.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    for proxy in proxies {
        let (socket, to) = (proxy.socket.try_clone()?, proxy.to.into());
        match proxy.transport {
            Transport::Tcp => {
                listen(&socket, ROOM)?;
                runtime.spawn(streams(TcpListener::from_std(socket.into())?, to));
            }
            Transport::Udp => drop(runtime.spawn(datagrams(UdpSocket::from_std(socket.into())?, to))),
        }
    }
    drop(entered);
    thread::Builder::new().spawn(move || runtime.block_on(std::future::pending::<()>())).map(drop)
}

async fn streams(listener: TcpListener, to: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(stream(client, to))),
            // A client that has gone again, or no descriptor left (`accept(2)`): others end some time.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Passes on both ways what comes, and the end of each way by itself.
async fn stream(mut client: TcpStream, to: SocketAddr) {
    if let Ok(mut machine) = connect(to).await {
        // Delays of its own would add to the client's. Without the option it is slower, which is all.
        let _ = (client.set_nodelay(true), machine.set_nodelay(true));
        if copy_bidirectional(&mut client, &mut machine).await.is_ok() {
            return;
        }
        // One has broken the connection: the other is to see that, and not an end.
        let _ = machine.set_zero_linger();
    }
    let _ = client.set_zero_linger();
}

/// A connection to QEMU, which may be about to start.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    for _ in 0..TRIES {
        match TcpStream::connect(to).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => sleep(PAUSE).await,
            connected => return connected,
        }
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

/// Gives each client a socket of its own, by which QEMU tells their datagrams apart.
async fn datagrams(socket: UdpSocket, to: SocketAddr) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut bytes = vec![0; DATAGRAM_MAX];
    loop {
        // An error tells of a datagram before that could not be delivered.
        let Ok((length, client)) = socket.recv_from(&mut bytes).await else { continue };
        if clients.len() >= CLIENTS_MAX {
            // Only the client's own task has the socket besides, for as long as it waits for answers.
            clients.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let known = clients.get(&client).filter(|own| Arc::strong_count(own) > 1).cloned();
        let own = match known {
            Some(own) => own,
            None if clients.len() >= CLIENTS_MAX => continue,
            None => {
                let Ok(own) = UdpSocket::bind("127.0.0.1:0").await.map(Arc::new) else { continue };
                if own.connect(to).await.is_err() {
                    continue;
                }
                tokio::spawn(answers(Arc::clone(&own), Arc::clone(&socket), client));
                clients.insert(client, Arc::clone(&own));
                own
            }
        };
        // Datagrams may get lost: who needs an answer asks again.
        let _ = own.send(&bytes[..length]).await;
    }
}

/// Passes on the answers to one client, until none has come for a while.
async fn answers(own: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut bytes = vec![0; DATAGRAM_MAX];
    while let Ok(received) = timeout(IDLE, own.recv(&mut bytes)).await {
        // An error tells that QEMU does not listen yet.
        if let Ok(length) = received {
            let _ = socket.send_to(&bytes[..length], client).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, Shutdown};

    const HERE: Ipv6Addr = Ipv6Addr::LOCALHOST;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(address) = address else { panic!("an address of IPv4") };
        address
    }

    #[test]
    fn streams_are_passed_on_both_ways_and_end_each_by_itself() {
        let machine = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = v4(machine.local_addr().unwrap());
        let proxy = Proxy::new(Transport::Tcp, HERE, 0, to).unwrap();
        assert!(std::net::TcpStream::connect(proxy.host).is_err());
        serve(std::slice::from_ref(&proxy)).unwrap();
        let mut client = std::net::TcpStream::connect(proxy.host).unwrap();
        client.write_all(&vec![7; 1 << 20]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, _) = machine.accept().unwrap();
        let mut all = Vec::new();
        accepted.read_to_end(&mut all).unwrap();
        assert_eq!(all, vec![7; 1 << 20]);
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        let taken = Proxy::new(Transport::Tcp, HERE, proxy.host.port(), to).unwrap_err();
        assert!(taken.to_string().contains("of ::1 is taken"), "{taken}");
    }

    #[test]
    fn datagrams_of_each_client_are_answered() {
        let machine = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::new(Transport::Udp, HERE, 0, v4(machine.local_addr().unwrap())).unwrap();
        serve(std::slice::from_ref(&proxy)).unwrap();
        let clients = [0, 1].map(|_| {
            let client = std::net::UdpSocket::bind((HERE, 0)).unwrap();
            client.connect(proxy.host).unwrap();
            client
        });
        let mut bytes = [0; 16];
        for (number, client) in clients.iter().enumerate() {
            client.send(&[number as u8]).unwrap();
            let (length, from) = machine.recv_from(&mut bytes).unwrap();
            assert_eq!(bytes[..length], [number as u8]);
            machine.send_to(&[number as u8 + 10], from).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.recv(&mut bytes).unwrap(), 1);
            assert_eq!(bytes[0], number as u8 + 10);
        }
    }
}
