"""Echoes streams on port 7 by asyncio, and datagrams, in IPv4 and IPv6."""
import asyncio


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        self.transport.sendto(data, sender)


async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 7))
    server = await asyncio.start_server(echo, None, 7, backlog=100)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
