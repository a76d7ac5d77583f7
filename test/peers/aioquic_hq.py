"""Client and server of the quic-interop-runner over aioquic.

Told by environment variables, as `quicbraid interop` is (docs/interop.md): ROLE, TESTCASE, REQUESTS, CERTS, WWW, DOWNLOADS, PORT, HOST,
SSLKEYLOGFILE. Exit 127: aioquic does not have the case. Speaks hq-interop: "GET /path\\r\\n", the answer is the file and FIN.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

ALPN = "hq-interop"
# Greased: no server has it (RFC 9000 section 15).
RESERVED_VERSION = 0x1A2A3A4A
LIMIT_SECONDS = 290
UNSUPPORTED = 127
PLAIN = {
    "handshake", "transfer", "longrtt", "multiplexing", "blackhole", "amplificationlimit", "transferloss", "transfercorruption",
    "ipv6", "rebind-port", "rebind-addr", "goodput", "crosstraffic", "chacha20", "retry", "v2", "versionnegotiation", "keyupdate",
    "resumption", "zerortt",
}
EACH = {"multiconnect", "handshakeloss", "handshakecorruption"}
CASES = {"client": PLAIN | EACH | {"connectionmigration"}, "server": PLAIN | EACH}


class Incomplete(Exception):
    """A download did not end as it should."""


def say(name, otherwise=""):
    return os.environ.get(name) or otherwise


def configuration(case, is_client):
    made = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        max_datagram_size=1200,
        idle_timeout=30.0,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_NONE if is_client else None,
    )
    if say("SSLKEYLOGFILE"):
        made.secrets_log_file = open(say("SSLKEYLOGFILE"), "a", buffering=1)
    if case == "chacha20":
        made.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    if case == "v2":
        made.supported_versions = [QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1]
        made.original_version = QuicProtocolVersion.VERSION_1 if is_client else None
    if case == "versionnegotiation" and is_client:
        made.supported_versions = [RESERVED_VERSION, QuicProtocolVersion.VERSION_1]
    return made


class Server(QuicConnectionProtocol):
    """Answers each stream with the file it asks for."""

    root = Path(".")

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.requests = {}

    def quic_event_received(self, event):
        if not isinstance(event, StreamDataReceived):
            return
        request = self.requests.setdefault(event.stream_id, bytearray())
        request += event.data
        if not event.end_stream:
            return
        words = bytes(self.requests.pop(event.stream_id)).split()
        file = self.root / unquote(words[1].decode()).lstrip("/") if len(words) == 2 and words[0] == b"GET" else None
        if file is None or file.resolve().parent != self.root.resolve() or not file.is_file():
            self._quic.reset_stream(event.stream_id, 0x404)
        else:
            self._quic.send_stream_data(event.stream_id, file.read_bytes(), end_stream=True)
        self.transmit()


class Client(QuicConnectionProtocol):
    """Asks for files and collects them."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.streams = {}
        self.received = 0
        self.on_bytes = lambda: None

    def get(self, path):
        """A future of the file's bytes."""
        stream = self._quic.get_next_available_stream_id()
        done = self._loop.create_future()
        self.streams[stream] = (bytearray(), done)
        self._quic.send_stream_data(stream, f"GET {path}\r\n".encode(), end_stream=True)
        return done

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            print(f"handshake complete, resumed {event.session_resumed}, early data {event.early_data_accepted}", file=sys.stderr)
        elif isinstance(event, ConnectionTerminated):
            for _, done in self.streams.values():
                if not done.done():
                    done.set_exception(Incomplete(f"closed: {event.error_code:#x} {event.reason_phrase}"))
        elif isinstance(event, StreamDataReceived) and event.stream_id in self.streams:
            body, done = self.streams[event.stream_id]
            body += event.data
            self.received += len(event.data)
            if event.end_stream and not done.done():
                done.set_result(bytes(body))
            self.on_bytes()


async def fetch(urls, case, made, tickets, early=False):
    """All files over one connection."""
    target = urlsplit(urls[0])
    downloads = Path(say("DOWNLOADS", "/downloads"))
    options = {"configuration": made, "create_protocol": Client, "session_ticket_handler": tickets.append, "wait_connected": not early}
    async with connect(target.hostname, target.port or 443, **options) as client:
        if case == "keyupdate":
            await client.ping()
            client.request_key_update()
        if case == "connectionmigration":
            migrate_on_the_way(client)
        names = [unquote(urlsplit(url).path) for url in urls]
        waiting = [(name, client.get(name)) for name in names if name != "/"]
        client.transmit()
        for name, body in waiting:
            (downloads / name.rsplit("/", 1)[-1]).write_bytes(await body)
        if early:
            await client.ping()
        client.close()
        await client.wait_closed()


def migrate_on_the_way(client):
    """Another socket, another connection ID, once the transfer runs."""

    async def move():
        old = client._transport
        family = old.get_extra_info("socket").family
        await client._loop.create_datagram_endpoint(lambda: client, local_addr=("::", 0), family=family)
        client.change_connection_id()
        old.close()

    def on_bytes():
        if client.received > 300_000:
            client.on_bytes = lambda: None
            client.moving = asyncio.ensure_future(move())

    client.on_bytes = on_bytes


async def run_client(case):
    urls = say("REQUESTS").split()
    made = configuration(case, is_client=True)
    tickets = []
    if case in EACH:
        for url in urls:
            await fetch([url], case, made, tickets)
    elif case in ("resumption", "zerortt"):
        await fetch(urls[:1], case, made, tickets)
        if not tickets:
            raise Incomplete("no session ticket came")
        made.session_ticket = tickets[-1]
        await fetch(urls[1:], case, made, tickets, early=case == "zerortt")
    else:
        await fetch(urls, case, made, tickets)


async def run_server(case):
    made = configuration(case, is_client=False)
    certs = Path(say("CERTS", "/certs"))
    made.load_cert_chain(certs / "cert.pem", certs / "priv.key")
    Server.root = Path(say("WWW", "/www"))
    tickets = {}
    await serve(
        say("HOST", "::"),
        int(say("PORT", "443")),
        configuration=made,
        create_protocol=Server,
        retry=case == "retry",
        session_ticket_fetcher=lambda ticket: tickets.pop(ticket, None),
        session_ticket_handler=lambda ticket: tickets.__setitem__(ticket.ticket, ticket),
    )
    print(f"listening on port {say('PORT', '443')}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


async def main():
    role, case = say("ROLE"), say("TESTCASE")
    if case not in CASES.get(role, ()):
        print(f"case {case} is not supported as {role}", file=sys.stderr)
        return UNSUPPORTED
    try:
        await asyncio.wait_for(run_client(case) if role == "client" else run_server(case), LIMIT_SECONDS)
    except Exception as error:  # every failure becomes the exit code
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
