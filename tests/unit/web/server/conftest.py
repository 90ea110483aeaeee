"""A raw client, small applications and run-time certificates for the server's tests."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded

from wardgate.web.server import HttpServer, Limits, TlsFiles, bind
from wardgate.web.server.state import untold

WAIT = 10


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes


class Wire:
    """One raw connection. Every wait has a deadline, so a hanging server fails a test."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data)

    async def reply(self, *, head=False):
        async with asyncio.timeout(WAIT):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            status = int(lines[0].split()[1])
            headers = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(": ")
                assert name not in headers, f"{name} came twice"
                headers[name] = value
            body = b""
            if head or status in (100, 204, 304):
                pass
            elif headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
            return Reply(status, headers, body)

    async def ask(self, data, **options):
        self.send(data)
        return await self.reply(**options)

    async def end(self):
        """Everything up to the server's close; a reset counts as an end."""
        async with asyncio.timeout(WAIT):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@dataclass
class Recorder:
    """An application that echoes, and remembers what it was given."""

    scopes: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    disconnects: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition):
        async with asyncio.timeout(WAIT):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def __call__(self, scope, receive, send):  # noqa: C901, PLR0912 -- a table of behaviours
        self.scopes.append(scope)
        self.changed.set()
        path = scope["path"]
        if path == "/early":  # answers before it looks at the body
            return await answer(send, 413, b"too large")
        if path == "/gate":  # reads once the gate is open
            await self.gate.wait()
        if path == "/boom":
            message = "secret words"
            raise ValueError(message)
        pieces = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return self.left()
            pieces.append(message["body"])
            if not message["more_body"]:
                break
        body = b"".join(pieces)
        self.bodies.append(body)
        self.changed.set()
        if path == "/wait":  # works until the caller leaves
            message = await receive()
            assert message["type"] == "http.disconnect"
            return self.left()
        if path == "/work":  # works until the gate is open
            await self.gate.wait()
        if path == "/big":
            return await answer(send, 200, b"x" * 3_000_000)
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200})
            for piece in (b"one", b"two", b""):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            return await send({"type": "http.response.body"})
        if path == "/half":
            await send(start(200, 10))
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
            message = "secret words"
            raise ValueError(message)
        if path == "/short":
            await send(start(200, 10))
            return await send({"type": "http.response.body", "body": b"abc"})
        if path == "/silent":
            return None
        if path == "/split":
            await send(start(200, 0, (b"x-bad", b"a\r\nset-cookie: b")))
            return await send({"type": "http.response.body"})
        return await answer(send, 200, body)

    def left(self):
        self.disconnects += 1
        self.changed.set()


def start(status, length, *headers):
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-length", str(length).encode()), *headers],
    }


async def answer(send, status, body):
    await send(start(status, len(body), (b"content-type", b"text/plain")))
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def serve(recorder):
    """Start servers of the recorder with given limits; stop them all at the end."""
    servers = []

    async def begin(app=None, *, tls=None, refused=untold, **limits):
        limits = {"linger_seconds": 0.5, "grace_seconds": 0.1} | limits
        listener = bind("127.0.0.1", 0)
        server = HttpServer(
            app or recorder, [listener], limits=Limits(**limits), tls=tls, refused=refused
        )
        server.address = server.addresses[0]
        await server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        await server.drain(0)


@pytest.fixture
async def connect():
    """Open raw connections; close them all at the end."""
    wires = []

    async def begin(server, **options):
        wire = Wire(*await asyncio.open_connection(*server.address, **options))
        wires.append(wire)
        return wire

    yield begin
    for wire in wires:
        await wire.close()


class Authority:
    """A certificate authority that lives for one test run."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.key, self.certificate = issue(name, None, None, authority=True)
        self.path = write(folder / f"{name}.pem", self.certificate)

    def issue(self, name, file=None):
        """Write a certificate and key for `name`; return their paths."""
        key, certificate = issue(name, self.key, self.certificate, authority=False)
        file = file or name
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / f"{file}.key").write_bytes(pem)
        return write(self.folder / f"{file}.crt", certificate), self.folder / f"{file}.key"

    def files(self, *, client_ca=False):
        """Files of a server called localhost."""
        cert, key = self.issue("localhost")
        return TlsFiles(cert, key, self.path if client_ca else None)

    def client(self, cert=None, key=None, *, alpn=None):
        """A client's context that trusts this authority."""
        context = ssl.create_default_context(cafile=self.path)
        if cert is not None:
            context.load_cert_chain(cert, key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def issue(name, issuer_key, issuer, *, authority):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return key, builder.sign(issuer_key or key, hashes.SHA256())


def write(path, certificate):
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "hospital")


class H2Wire:
    """One raw HTTP/2 connection."""

    def __init__(self, reader, writer, **config):
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None, **config))
        self.events = []
        self.acknowledge = True
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    def request(self, path=b"/echo", *, method=b"GET", body=None, headers=(), fields=None):
        """Send a request; None as `body` ends it with its headers."""
        stream = self.h2.get_next_available_stream_id()
        fields = fields or [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
            *headers,
        ]
        self.h2.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    async def until(self, kind, stream=None):
        """Read until an event of a kind came (for a stream); return it. None at the end."""
        async with asyncio.timeout(WAIT):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", 0)):
                        self.events.remove(event)
                        return event
                data = await self.reader.read(65536)
                if not data:
                    return None
                for event in self.h2.receive_data(data):
                    if self.acknowledge and isinstance(event, DataReceived):
                        count = event.flow_controlled_length
                        self.h2.acknowledge_received_data(count, event.stream_id)
                    self.events.append(event)
                self.flush()

    async def reply(self, stream):
        """Return the whole reply of a stream."""
        response = await self.until(ResponseReceived, stream)
        await self.until(StreamEnded, stream)
        body = b""
        for event in list(self.events):
            if isinstance(event, DataReceived) and event.stream_id == stream:
                body += event.data
                self.events.remove(event)
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return Reply(int(headers.pop(":status")), headers, body)

    async def ask(self, *arguments, **options):
        return await self.reply(self.request(*arguments, **options))

    async def end(self):
        """Read to the server's close; return the GOAWAY that came, if one did."""
        with contextlib.suppress(ConnectionError):
            return await self.until(ConnectionTerminated)
        return None

    async def closed(self):
        async with asyncio.timeout(WAIT):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@pytest.fixture
async def connect2(authority):
    """Open raw HTTP/2 connections; close them all at the end."""
    wires = []

    async def begin(server, **config):
        context = authority.client(alpn=["h2"])
        streams = await asyncio.open_connection(*server.address, ssl=context)
        wire = H2Wire(*streams, **config)
        wires.append(wire)
        return wire

    yield begin
    for wire in wires:
        await wire.close()
