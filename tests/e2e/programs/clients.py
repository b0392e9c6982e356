"""A client in the guest. Its arguments are ports of the host that it was started on: of a web server, of an echo over TCP, of an echo over
UDP, and of an echo over IPv6."""
import asyncio
import errno
import socket
import sys
import urllib.request

HOST = "10.0.2.2"
http, echo, udp, echo6 = map(int, sys.argv[1:])

with urllib.request.urlopen(f"http://{HOST}:{http}/page") as answer:
    print(answer.status, answer.read())


async def ask(number):
    reader, writer = await asyncio.open_connection(HOST, echo)
    text = f"{number} " * 5000
    writer.write(text.encode())
    writer.write_eof()
    back = await reader.read()
    writer.close()
    return back == text.encode()


async def main():
    print(all(await asyncio.gather(*(ask(number) for number in range(20)))))


asyncio.run(main())

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    datagrams.settimeout(60)
    for size in (1, 1000, 1472):
        datagrams.sendto(b"x" * size, (HOST, udp))
        data, sender = datagrams.recvfrom(65536)
        print(len(data), sender == (HOST, udp))

with socket.create_connection(("fec0::2", echo6)) as stream:
    stream.sendall(b"sixth")
    stream.shutdown(socket.SHUT_WR)
    print(stream.recv(100), stream.getsockname()[0])

# Nobody listens: the host's refusal is passed on.
listener = socket.socket()
print(listener.connect_ex((HOST, 1)) == errno.ECONNREFUSED)
