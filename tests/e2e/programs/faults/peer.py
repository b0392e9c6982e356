"""Peers of a machine on a TAP device, in a network of its own, and a link between them that has faults.

The arguments start the machine on tap0, where it is 10.1.0.2. This host is 10.1.0.1 on tap1. What one sends comes to the other through this program,
which loses, repeats and reorders frames when it is to, and makes up others. Prints a line for each thing that the machine has stood.
"""
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

MACHINE = "10.1.0.2"
LIMIT = 120
# linux/if_tun.h
TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000
# linux/if_packet.h
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
VNET_HDR = 10


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Link:
    """Takes frames from one device to the other."""

    def __init__(self):
        ip("link", "set", "lo", "up")
        ip("tuntap", "add", "tap0", "mode", "tap")
        self.device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"tap1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(self.device, TUNSETVNETHDRSZ, struct.pack("i", VNET_HDR))
        for name in "tap0", "tap1":
            with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
                file.write("1")
            ip("link", "set", name, "up")
        ip("address", "add", "10.1.0.1/24", "dev", "tap1")
        self.packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.packets.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.packets.bind(("tap0", 3))
        self.faulty = False
        threading.Thread(target=self.run, daemon=True).start()

    def to_machine(self, frame):
        try:
            self.packets.send(frame)
        except OSError:
            pass  # A full queue, or nobody at the device: it is lost.

    def to_host(self, frame):
        try:
            os.write(self.device, frame)
        except OSError:
            pass  # What the host refuses is lost.

    def run(self):
        chance = random.Random(1)
        ways = {self.packets.fileno(): (self.to_host, []), self.device: (self.to_machine, [])}
        while True:
            for source in select.select(list(ways), [], [])[0]:
                send, held = ways[source]
                frame = self.packets.recv(1 << 17) if source == self.packets.fileno() else os.read(source, 1 << 17)
                fate = chance.random() if self.faulty else 1
                # The link is down for a third of a second in each three.
                if fate < 0.05 or self.faulty and time.monotonic() % 3 < 0.3:
                    continue
                if fate < 0.10:
                    held.append(frame)
                    continue
                send(frame)
                if fate < 0.15:
                    send(frame)
                if held and (not self.faulty or len(held) > 2):
                    for late in held:
                        send(late)
                    held.clear()


def connect(port):
    stream = socket.create_connection((MACHINE, port), timeout=LIMIT)
    stream.settimeout(LIMIT)
    return stream


def echo(content):
    """Has the machine send something back."""
    with connect(7) as stream:
        back = bytearray()
        for start in range(0, len(content), 16384):
            part = content[start:start + 16384]
            stream.sendall(part)
            while len(back) < start + len(part):
                more = stream.recv(65536)
                assert more, "the machine has ended the connection"
                back += more
    assert back == content, "what came back is not what was sent"


def free():
    """How many kilobytes of memory the machine's kernel has left."""
    with connect(9) as stream:
        return int(stream.makefile().read())


def at_once(count, work):
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, protocol, payload, fragment=0, options=b""):
    length = 20 + len(options)
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | length // 4, 0, length + len(payload), 7, fragment, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(MACHINE)) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


class Frames:
    """Makes up frames for the machine."""

    def __init__(self, link):
        with open("/proc/net/arp") as table:
            rows = [line.split() for line in table]
        self.machine = bytes.fromhex(next(row[3] for row in rows if row[0] == MACHINE).replace(":", ""))
        self.link = link

    def send(self, payload, kind=0x0800, sum_at=None):
        """Sends one. The sum of what is within is left to the receiver, as of a peer on the same host, where it is said where it would be."""
        vnet = struct.pack("=BBHHHH", 0, 0, 0, 0, 0, 0)
        if sum_at is not None and len(payload) >= 20 + sum_at + 2:
            vnet = struct.pack("=BBHHHH", 1, 0, 0, 0, 34, sum_at)
        frame = self.machine + b"\2\0\0\0\0\x77" + struct.pack("!H", kind) + payload
        self.link.to_machine(vnet + frame)

    def syn(self, source, port, to, sequence):
        tcp = struct.pack("!HHIIBBHHH", port, to, sequence, 0, 0x60, 2, 64240, 0, 0) + b"\2\4\5\xb4"
        self.send(ipv4(source, 6, tcp), sum_at=16)

    def seeds(self):
        """Frames as they should be: their types, and where the sum of what they carry would be."""
        tcp = struct.pack("!HHIIBBHHH", 4000, 7, 1, 1, 0x80, 0x18, 500, 0, 0) + b"\1\1\x08\x0a" + bytes(8) + b"data"
        udp = struct.pack("!HHHH", 4000, 7, 12, 0) + b"data"
        other = "10.1.0.77"
        inner = ipv4(MACHINE, 6, tcp)
        yield 0x0800, 16, ipv4(other, 6, tcp)
        yield 0x0800, 16, ipv4(other, 6, tcp, options=b"\x83\x0b\4" + bytes(8) + b"\0")
        yield 0x0800, 6, ipv4(other, 17, udp)
        yield 0x0800, None, ipv4(other, 17, udp + bytes(60), fragment=0x2000)
        yield 0x0800, None, ipv4(other, 17, bytes(64), fragment=9)
        yield 0x0800, 2, ipv4(other, 1, struct.pack("!BBHI", 8, 0, 0, 1) + b"echo")
        yield 0x0800, 2, ipv4(other, 1, struct.pack("!BBHI", 3, 4, 0, 600) + inner)
        yield 0x0800, 2, ipv4(other, 2, struct.pack("!BBHI", 0x11, 10, 0, 0))
        arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, b"\2\0\0\0\0\x77", socket.inet_aton(other), bytes(6),
                          socket.inet_aton(MACHINE))
        yield 0x0806, None, arp
        here, there = socket.inet_pton(socket.AF_INET6, "fe80::77"), socket.inet_pton(socket.AF_INET6, "ff02::1")
        for next_header, body in [
            (58, struct.pack("!BBHI", 134, 0, 0, 0x40000708) + bytes(8) + b"\3\4\x40\xc0" + b"\0\0\7\x08" * 2 + bytes(20)),
            (58, struct.pack("!BBHI", 135, 0, 0, 0) + there + b"\1\1\2\0\0\0\0\x77"),
            (58, struct.pack("!BBHI", 136, 0, 0, 0x60000000) + here + b"\2\1\2\0\0\0\0\x77"),
            (0, b"\x3a\0\5\2\0\0\1\0" + struct.pack("!BBHI", 130, 0, 0, 1000) + bytes(16)),
            (44, b"\x11\0\0\1\0\0\0\7" + udp + bytes(4)),
            (43, b"\x11\2\0\1" + bytes(20) + udp),
        ]:
            yield 0x86DD, None, struct.pack("!IHBB", 6 << 28, len(body), next_header, 255) + here + there + body

    def malformed(self, count, chance):
        seeds = list(self.seeds())
        for _ in range(count):
            kind, sum_at, payload = chance.choice(seeds)
            payload = bytearray(payload)
            for _ in range(chance.randrange(1, 4)):
                how = chance.randrange(5)
                if how < 3:
                    payload[chance.randrange(len(payload))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
                elif how == 3:
                    del payload[chance.randrange(1, len(payload) + 1):]
                else:
                    payload += chance.randbytes(chance.choice((1, 3, 40, 1400)))
            if kind == 0x0800 and len(payload) >= 20:
                payload[10:12] = bytes(2)
                payload[10:12] = struct.pack("!H", checksum(bytes(payload[:min(len(payload), (payload[0] & 15) * 4)])))
            self.send(bytes(payload[:1500]), kind, sum_at)


def main():
    link = Link()
    machine = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=2)
    try:
        while True:
            assert machine.poll() is None, "the machine has ended"
            try:
                before = free()
                break
            except (OSError, ValueError):
                time.sleep(0.1)
        content = random.Random(2).randbytes(1 << 19)
        at_once(4, lambda number: echo(content))
        before = free()
        stand(link, content, random.Random(3))
        # Queues and caches are given back at their own time.
        end = time.monotonic() + LIMIT
        while (after := free()) < before - 4096:
            assert time.monotonic() < end, f"{before - after} KB are gone"
            time.sleep(0.5)
        print("its memory is free again")
        assert machine.poll() is None, "the machine has ended"
    finally:
        machine.kill()
        machine.wait()


def stand(link, content, chance):
    link.faulty = True
    at_once(4, lambda number: echo(content))
    link.faulty = False
    print("a link that loses, repeats and reorders")
    frames = Frames(link)
    for number in range(20000):
        source = f"{chance.randrange(11, 200)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        frames.syn(source, chance.randrange(1024, 65536), 7, chance.randrange(1 << 32))
        if number % 5000 == 0:
            echo(b"still there")
    echo(content)
    print("a flood of first segments")
    queue = []
    for _ in range(300):
        stream = socket.socket()
        stream.setblocking(False)
        stream.connect_ex((MACHINE, 8))
        queue.append(stream)
    echo(content)
    for stream in queue:
        stream.close()
    print("more connections than a queue has room for")
    silent = [connect(19) for _ in range(100)]
    echo(content)
    for stream in silent:
        stream.close()
    echo(content)
    print("peers that do not read")
    for _ in range(10):
        frames.malformed(3000, chance)
        echo(b"still there")
    echo(content)
    print("frames that make no sense")


main()
