"""What a machine knows of its network: the files that tell, and its cards in order."""
import fcntl
import socket
import struct


def text(path):
    with open(path) as file:
        return file.read()


for name in ("hostname", "hosts", "resolv.conf"):
    print(text(f"/etc/{name}"), end="")
with socket.socket() as control:
    for _, name in sorted(socket.if_nameindex()):
        request = struct.pack("40s", name.encode())
        address = socket.inet_ntoa(fcntl.ioctl(control, 0x8915, request)[20:24])
        about = [text(f"/sys/class/net/{name}/{file}").strip() for file in ("address", "mtu")]
        print(name, address, *about)
