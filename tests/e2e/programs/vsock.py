"""Sockets of AF_VSOCK within this machine."""
import fcntl
import select
import socket
import struct
import threading

LOCAL, ANY = 1, socket.VMADDR_CID_ANY
SIZE = 1 << 20


def own_address():
    with open("/dev/vsock") as device:
        return struct.unpack("I", fcntl.ioctl(device, socket.IOCTL_VM_SOCKETS_GET_LOCAL_CID, b"\0" * 4))[0]


def vsock(kind=socket.SOCK_STREAM):
    return socket.socket(socket.AF_VSOCK, kind)


def failing(action):
    try:
        return action()
    except OSError as error:
        return error.errno


def listener(kind=socket.SOCK_STREAM):
    found = vsock(kind)
    found.bind((ANY, socket.VMADDR_PORT_ANY))
    found.listen(5)
    return found


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()


def ask(client):
    """Sends much, and receives it back."""
    sent = bytes(range(256)) * (SIZE // 256)
    sender = threading.Thread(target=client.sendall, args=(sent,))
    sender.start()
    answer = b""
    while len(answer) < SIZE and (data := client.recv(65536)):
        answer += data
    sender.join()
    return answer == sent


def within():
    server = listener()
    port = server.getsockname()[1]
    print("bound", port > 1023, server.getsockname()[0] == ANY)
    print("errors", failing(lambda: vsock().connect((LOCAL, 7))), failing(lambda: vsock(socket.SOCK_DGRAM)),
          failing(lambda: vsock().bind((77, 5000))), failing(lambda: vsock().bind((ANY, port))),
          failing(lambda: vsock().getpeername()), failing(lambda: vsock().send(b"x")))
    client = vsock()
    client.connect((LOCAL, port))
    accepted, peer = server.accept()
    print("peer", peer == (LOCAL, client.getsockname()[1]), client.getpeername() == (LOCAL, port))
    threading.Thread(target=echo, args=(accepted,)).start()
    print("echo", ask(client))
    client.shutdown(socket.SHUT_WR)
    print("end", client.recv(1))
    late = vsock()
    late.setblocking(False)
    print("later", late.connect_ex((LOCAL, port)))
    poll = select.poll()
    poll.register(late, select.POLLOUT)
    print("ready", [event for _, event in poll.poll()], late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    accepted, _ = server.accept()
    accepted.send(b"last words")
    accepted.close()
    late.setblocking(True)
    poll.modify(late, select.POLLRDHUP)
    print("left", [event for _, event in poll.poll()], late.recv(100), late.recv(100))
    print("broken", failing(lambda: late.send(b"x")))
    messages = listener(socket.SOCK_SEQPACKET)
    one = vsock(socket.SOCK_SEQPACKET)
    one.connect((LOCAL, messages.getsockname()[1]))
    other, _ = messages.accept()
    one.send(b"a message")
    one.send(b"m" * 100_000)
    print("messages", other.recv(4), len(other.recv(200_000)))
    print("buffer", failing(lambda: one.getsockopt(socket.AF_VSOCK, socket.SO_VM_SOCKETS_BUFFER_SIZE)))


print("address", own_address() == ANY)
within()
