"""Says on port 9 how much memory is free or this program's, echoes on port 7, talks for ever on port 19, and takes no connection from the queue of port 8."""
import asyncio
import socket


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


def kilobytes(path, name):
    with open(path) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


async def free(reader, writer):
    own = kilobytes("/proc/self/status", "VmRSS:")
    writer.write(str(kilobytes("/proc/meminfo", "MemFree:") + own).encode())
    writer.close()


async def talk(reader, writer):
    try:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def main():
    for port, answer in (7, echo), (9, free), (19, talk):
        await asyncio.start_server(answer, "0.0.0.0", port, backlog=500)
    queue = socket.create_server(("0.0.0.0", 8), backlog=8)
    print("ready", flush=True)
    await asyncio.Event().wait()
    queue.close()


asyncio.run(main())
