"""Servers and clients of Python's library on the loopback interface."""
import asyncio
import http.server
import os
import select
import socket
import socketserver
import struct
import threading
import urllib.error
import urllib.request
import xmlrpc.client
import xmlrpc.server

os.makedirs("/tmp/pages/folder", exist_ok=True)
with open("/tmp/pages/large", "wb") as file:
    file.write(bytes(range(256)) * 8192)
with open("/tmp/pages/small.txt", "w") as file:
    file.write("a small page\n")
os.chdir("/tmp/pages")


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])


class V6Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


for name, server in [("127.0.0.1", http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)), ("[::1]", V6Server(("::1", 0), Quiet))]:
    port = serve(server)
    base = f"http://{name}:{port}"
    print("page", urllib.request.urlopen(f"{base}/small.txt").read())
    large = urllib.request.urlopen(f"{base}/large").read()
    print("large", len(large), large == bytes(range(256)) * 8192)
    try:
        urllib.request.urlopen(f"{base}/missing")
    except urllib.error.HTTPError as error:
        print("missing", error.code)
    print("posted", urllib.request.urlopen(base, data=b"0123456789" * 50000).read()[:12])
    connection = http.client.HTTPConnection(name.strip("[]"), port)
    lengths = []
    for _ in range(20):
        connection.request("GET", "/small.txt")
        lengths.append(len(connection.getresponse().read()))
    print("kept alive", sum(lengths))
    connection.close()
    server.shutdown()
    server.server_close()
    try:
        urllib.request.urlopen(f"{base}/small.txt")
    except urllib.error.URLError as error:
        print("closed", error.reason.errno)

print("localhost", socket.create_server(("127.0.0.1", 0)).getsockname()[0], socket.has_dualstack_ipv6())


async def talk():
    async def answer(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"question {number}\n".encode() * 100)
        writer.write_eof()
        text = await reader.read()
        writer.close()
        return text == f"QUESTION {number}\n".encode() * 100

    print("streams", sum(await asyncio.gather(*(ask(number) for number in range(50)))))
    server.close()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data[::-1], address)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("::1", 0))
    place = transport.get_extra_info("sockname")

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.answer = loop.create_future()

        def datagram_received(self, data, _):
            self.answer.set_result(data)

        def error_received(self, error):
            self.answer.set_result(error.errno)

    client, protocol = await loop.create_datagram_endpoint(Client, remote_addr=place[:2])
    client.sendto(b"datagram")
    print("datagram", await asyncio.wait_for(protocol.answer, 10))
    transport.close()
    await asyncio.sleep(0.01)
    protocol.answer = loop.create_future()
    client.sendto(b"to nobody")
    print("nobody", await asyncio.wait_for(protocol.answer, 10))
    client.close()
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError as error:
        print("refused", error.errno)


asyncio.run(talk())

with xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False) as server:
    server.register_function(pow)
    proxy = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{serve(server)}")
    print("call", proxy.pow(2, 10))
    server.shutdown()

# Processes that share a listening socket, and one that is inherited.
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        for _ in range(10):
            connection, _ = listener.accept()
            connection.sendall(connection.recv(100))
            connection.close()
        os._exit(0)
    children.append(child)
echoed = 0
for number in range(40):
    with socket.create_connection(listener.getsockname()) as connection:
        connection.sendall(b"%d" % number)
        echoed += connection.recv(100) == b"%d" % number
print("children", echoed, [os.waitpid(child, 0)[1] for child in children])

# A large file by sendfile, and a reader that is slow to begin.
connection = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()


def send():
    with open("/tmp/pages/large", "rb") as file:
        print("sent", connection.sendfile(file))
    connection.shutdown(socket.SHUT_WR)


sender = threading.Thread(target=send)
sender.start()
received = bytearray()
while piece := peer.recv(100_000):
    received += piece
sender.join()
print("received", len(received), received == bytes(range(256)) * 8192)

# Edge-triggered events.
peer.setblocking(False)
poll = select.epoll()
poll.register(peer, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
print("events", [hex(event) for _, event in poll.poll(1)], poll.poll(0))
connection.close()
print("events", [hex(event) for _, event in poll.poll(1)], poll.poll(0))
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
print("info", len(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)))
