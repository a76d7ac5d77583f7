"""The transfer protocol of test/peers over aioquic.

Same command line, protocol and report as the Rust programs (rust/common): one line with the address for servers,
one line of JSON at the end. aioquic has one path and no multipath: --paths and --abandon are not taken.
"""

import argparse
import asyncio
import hashlib
import json
import ssl
import struct
import sys
import time

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated

ALPN = "qb-peer"
SERVER_NAME = "localhost"
STREAM_WINDOW = 1024 * 1024
CHUNK = 65_536
PERIOD = 65_521
TABLE = bytes((j * 40_503 >> 8) & 0xFF for j in range(PERIOD))


def patterned(count):
    """The first `count` patterned bytes."""
    return (TABLE * (count // PERIOD + 1))[:count]


class Wrong(Exception):
    """What came is not what should."""


class Peer(QuicConnectionProtocol):
    """A connection that keeps how it ended and how many bytes passed."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.ending = None
        self.sent = 0
        self.received = 0

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ending = event
        super().quic_event_received(event)

    def datagram_received(self, data, addr):
        self.received += len(data)
        super().datagram_received(data, addr)

    def connection_made(self, transport):
        super().connection_made(Counting(transport, self))


class Counting:
    """A datagram transport that counts what is sent."""

    def __init__(self, transport, peer):
        self.transport = transport
        self.peer = peer

    def sendto(self, data, addr=None):
        self.peer.sent += len(data)
        self.transport.sendto(data, addr)

    def __getattr__(self, name):
        return getattr(self.transport, name)


async def take(reader, count):
    """Reads everything, checks it, returns the hash."""
    received = await reader.read(-1)
    if received != patterned(count):
        raise Wrong(f"{len(received)} bytes, wrong ones or not {count}")
    return hashlib.sha256(received).digest()


def configuration(options, is_client):
    made = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        max_stream_data=STREAM_WINDOW,
        max_data=4 * STREAM_WINDOW,
        max_datagram_size=1452,
        server_name=SERVER_NAME if is_client else None,
    )
    if is_client:
        made.load_verify_locations(cafile=options.ca)
        made.verify_mode = ssl.CERT_REQUIRED
    else:
        made.load_cert_chain(options.cert, options.key)
    return made


async def run_server(options):
    host, port = options.listen.split(",")[0].rsplit(":", 1)
    totals = {"up": 0, "down": 0}
    failures = []
    peers = []
    tasks = set()

    async def on_stream(reader, writer):
        try:
            count, direction = struct.unpack(">QB", await reader.readexactly(9))
            if direction == ord("U"):
                writer.write(await take(reader, count))
                totals["up"] += count
            elif direction == ord("D"):
                writer.write(patterned(count))
                totals["down"] += count
            else:
                raise Wrong(f"direction {direction:#x}")
            writer.write_eof()
        except (Wrong, asyncio.IncompleteReadError, ConnectionError) as error:
            failures.append(str(error))

    def stream_handler(reader, writer):
        task = asyncio.ensure_future(on_stream(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def create_protocol(*arguments, **settings):
        peers.append(Peer(*arguments, **settings))
        return peers[-1]

    server = await serve(
        host,
        int(port),
        configuration=configuration(options, is_client=False),
        create_protocol=create_protocol,
        stream_handler=stream_handler,
    )
    address = server._transport.get_extra_info("sockname")
    print(json.dumps({"listening": [f"{address[0]}:{address[1]}"]}), flush=True)
    while not peers:
        await asyncio.sleep(0.005)
    peer = peers[0]
    await peer.wait_closed()
    server.close()
    if failures:
        raise Wrong(failures[0])
    if peer.ending.error_code != 0 or peer.ending.frame_type is not None:
        raise Wrong(f"closed with {peer.ending}")
    return report(peer, totals["up"], totals["down"])


async def run_client(options):
    host, port = options.connect.rsplit(":", 1)
    async with connect(
        host,
        int(port),
        configuration=configuration(options, is_client=True),
        create_protocol=Peer,
    ) as peer:
        if options.up:
            reader, writer = await peer.create_stream()
            body = patterned(options.up)
            writer.write(struct.pack(">QB", options.up, ord("U")) + body)
            writer.write_eof()
            if await reader.read(-1) != hashlib.sha256(body).digest():
                raise Wrong("the server's hash differs")
        if options.down:
            reader, writer = await peer.create_stream()
            writer.write(struct.pack(">QB", options.down, ord("D")))
            writer.write_eof()
            await take(reader, options.down)
        peer.close(0)
        await peer.wait_closed()
        return report(peer, options.up, options.down)


def report(peer, up, down):
    path = {"id": 0, "address": "", "sent": peer.sent, "received": peer.received, "abandoned": False}
    return {"up": up, "down": down, "multipath": None, "paths": [path]}


def arguments():
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("server")
    server.add_argument("--listen", required=True)
    server.add_argument("--cert", required=True)
    server.add_argument("--key", required=True)
    client = roles.add_parser("client")
    client.add_argument("--connect", required=True)
    client.add_argument("--ca", required=True)
    client.add_argument("--up", type=int, default=0)
    client.add_argument("--down", type=int, default=0)
    for role in (server, client):
        role.add_argument("--limit", type=float, default=30)
    return parser.parse_args()


async def main():
    options = arguments()
    started = time.monotonic()
    line = {"ok": True, "error": None, "up": 0, "down": 0, "multipath": None, "paths": []}
    try:
        work = run_server(options) if options.role == "server" else run_client(options)
        line |= await asyncio.wait_for(work, options.limit)
    except Exception as error:  # every failure becomes the report
        line |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
    line |= {"implementation": "aioquic", "role": options.role, "ms": round((time.monotonic() - started) * 1000)}
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
