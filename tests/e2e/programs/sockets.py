"""Sockets between processes as Python's own library uses them."""
import array
import asyncio
import logging
import logging.handlers
import multiprocessing.connection
import multiprocessing.reduction
import os
import selectors
import signal
import socket
import socketserver
import struct
import tempfile
import threading

folder = tempfile.mkdtemp()


def path(name):
    return os.path.join(folder, name)


def pairs():
    one, other = socket.socketpair()
    one.sendall(b"hello")
    print("pair", other.recv(3), other.recv(10))
    reader, writer = os.pipe()
    socket.send_fds(one, [b"take this"], [writer])
    os.close(writer)
    message, fds, flags, _ = socket.recv_fds(other, 100, 4)
    os.write(fds[0], b"through the other descriptor")
    os.close(fds[0])
    print("fds", message, len(fds), os.read(reader, 100), os.read(reader, 100))
    pid = os.fork()
    if pid == 0:
        one.close()
        credentials = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = struct.unpack("iII", credentials)
        other.sendall(str((pid == os.getppid(), uid, gid)).encode())
        os._exit(0)
    other.close()
    print("child", one.recv(100), one.recv(100), os.waitpid(pid, 0)[1])


def servers():
    class Upper(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line.upper())

    with socketserver.ThreadingUnixStreamServer(path("server"), Upper) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        answers = []

        def ask(number):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path("server"))
                with client.makefile("rwb", buffering=0) as file:
                    file.write(b"question %d\n" % number)
                    answers.append(file.readline())

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        print("server", len(answers), sorted(answers)[3], len(set(answers)))
        server.shutdown()
        thread.join()


async def tasks():
    async def double(reader, writer):
        while data := await reader.read(5000):
            writer.write(data + data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(double, path("tasks"))
    size = 300_000

    async def talk(letter):
        reader, writer = await asyncio.open_unix_connection(path("tasks"))
        writer.write(letter * size)
        writer.write_eof()
        data = await reader.read(-1)
        writer.close()
        return len(data), set(data) == set(letter)

    print("tasks", await asyncio.gather(*(talk(letter) for letter in (b"a", b"b", b"c"))))
    server.close()


def log():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path("log"))
        logger = logging.getLogger("guest")
        logger.addHandler(logging.handlers.SysLogHandler(path("log")))
        logger.warning("first")
        logger.error("second %d", 2)
        print("log", server.recv(100), server.recv(100))


def processes():
    with multiprocessing.connection.Listener(path("listener"), authkey=b"secret") as listener:
        pid = os.fork()
        if pid == 0:
            with multiprocessing.connection.Client(path("listener"), authkey=b"secret") as client:
                client.send({"numbers": list(range(5)), "bytes": b"x" * 200_000})
                fd = multiprocessing.reduction.recv_handle(client)
                os.write(fd, b"written by the child")
                client.send(client.recv()[::-1])
            os._exit(0)
        with listener.accept() as connection:
            received = connection.recv()
            print("object", received["numbers"], len(received["bytes"]))
            with open(path("file"), "w+b") as file:
                multiprocessing.reduction.send_handle(connection, file.fileno(), pid)
                connection.send("backwards")
                print("answer", connection.recv())
                file.seek(0)
                print("file", file.read())
        print("end", os.waitpid(pid, 0)[1])


def events():
    """A server without threads, and clients that leave as they like."""
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0isopod-events")
    server.listen(8)
    server.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    clients = []
    for number in range(5):
        client = socket.socket(socket.AF_UNIX)
        client.connect("\0isopod-events")
        client.sendall(b"%d" % number)
        clients.append(client)
    clients[1].close()
    clients[2].shutdown(socket.SHUT_WR)
    received, ended = [], 0
    while len(received) < 5 or ended < 2:
        for key, _ in selector.select(5):
            if key.fileobj is server:
                connection, _ = server.accept()
                selector.register(connection, selectors.EVENT_READ)
            elif data := key.fileobj.recv(10):
                received.append(data)
            else:
                ended += 1
                selector.unregister(key.fileobj)
                key.fileobj.close()
    print("events", sorted(received), ended, clients[2].recv(1), clients[3].fileno() > 0)


def broken():
    one, other = socket.socketpair()
    other.sendall(b"unread")
    one.sendall(b"unread, too")
    other.close()
    print("left", one.recv(100))
    for attempt in (lambda: one.recv(1), lambda: one.recv(1), lambda: one.send(b"x")):
        try:
            print("broken", attempt())
        except OSError as error:
            print("broken", error.errno)
    one.close()
    one, other = socket.socketpair()
    one.settimeout(0.05)
    try:
        one.recv(1)
    except TimeoutError:
        print("timed out")

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    one.settimeout(None)
    try:
        one.recv(1)
    except KeyboardInterrupt:
        print("interrupted")


def ancillary():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds = array.array("i", [0, 1, 2])
    one.sendmsg([b"in ", b"parts"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    data, control, flags, address = other.recvmsg(100, socket.CMSG_LEN(8))
    print("ancillary", data, [(level, kind, len(part)) for level, kind, part in control], flags, address)


pairs()
servers()
asyncio.run(tasks())
log()
processes()
events()
broken()
ancillary()
