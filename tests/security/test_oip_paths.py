"""What Triton offers besides inference is not there, by any spelling of a path; nothing leaks."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Running
from tests.e2e.processes import Gateway, gateway
from tests.security.test_tls import Authority

EVERYTHING = ("infer:sentiment", "infer:stats", "deid", "models:read", "models:write", "audit:read")
BESIDES = [
    "/v2/repository/index",
    "/v2/repository/models/sentiment/load",
    "/v2/repository/models/sentiment/unload",
    "/v2/systemsharedmemory/status",
    "/v2/systemsharedmemory/region/a/register",
    "/v2/systemsharedmemory/region/a/unregister",
    "/v2/cudasharedmemory/status",
    "/v2/cudasharedmemory/region/a/register",
    "/v2/cudasharedmemory/unregister",
    "/v2/trace/setting",
    "/v2/models/sentiment/trace/setting",
    "/v2/logging",
    "/v2/models/stats",
    "/v2/models/sentiment/stats",
    "/v2/models/sentiment/versions/1/stats",
    "/v2/models/sentiment/generate",
    "/v2/models/sentiment/generate_stream",
    "/v2/models/sentiment/versions/1/generate",
    "/metrics",
]
SERVED = [
    "/v2",
    "/v2/health/live",
    "/v2/models/sentiment",
    "/v2/models/sentiment/ready",
    "/v2/models/sentiment/config",
    "/v2/models/sentiment/versions/1/ready",
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "LOAD"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[tuple[Gateway, ssl.SSLContext]]:
    cert, key = authority.issue("server")
    home = tmp_path_factory.mktemp("paths")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    with gateway(home, *flags, WARDGATE_ADMISSION__RATE="100000") as found:
        yield found, ssl.create_default_context(cafile=authority.file)


class Wire:
    """One kept-alive connection that sends a target as it stands."""

    def __init__(self, found: Gateway, context: ssl.SSLContext) -> None:
        self.found, self.context = found, context
        self.bearer = found.bearer(*EVERYTHING)["authorization"]
        self.wire: ssl.SSLSocket | None = None

    def status(self, method: str, target: bytes, body: bytes = b"{}") -> int:
        head = b"%b %b HTTP/1.1\r\nHost: gate\r\nAuthorization: %b\r\nContent-Length: %d\r\n\r\n"
        sent = head % (method.encode(), target, self.bearer.encode(), len(body)) + body
        address = httpx.URL(self.found.url)
        with contextlib.closing(
            self.context.wrap_socket(
                socket.create_connection((address.host, address.port), 20),
                server_hostname="127.0.0.1",
            )
        ) as wire:
            wire.sendall(sent)
            received = wire.recv(65_536)
        return int(received.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def wire(running: tuple[Gateway, ssl.SSLContext]) -> Wire:
    return Wire(*running)


# -- spellings ------------------------------------------------------------------------------------


def _encode(path: str, places: list[int], *, twice: bool) -> str:
    found = list(path)
    for each in places:
        place = each % len(found)
        if place and len(found[place]) == 1:
            found[place] = f"%{'25' if twice else ''}{ord(found[place]):02x}"
    return "".join(found)


@st.composite
def spelled(draw: st.DrawFn, paths: list[str], *, changed: bool) -> str:
    """Return another spelling of a path, of which some server might make the path itself."""
    path = draw(st.sampled_from(paths))
    ways = [
        lambda p: _encode(p, draw(st.lists(st.integers(1, 60), min_size=1)), twice=False),
        lambda p: _encode(p, draw(st.lists(st.integers(1, 60), min_size=1)), twice=True),
        lambda p: p.replace("/", "//", draw(st.integers(1, 3))),
        lambda p: p.replace("/", "/./", draw(st.integers(1, 3))),
        lambda p: p.replace("/", "%2f", draw(st.integers(1, 3))),
        lambda p: p.replace("/", "\\", draw(st.integers(1, 3))),
        lambda p: p + draw(st.sampled_from(["/", "/.", "//", "%00", ";a=b", ".json", "%20", "%0a"])),
        lambda p: draw(st.sampled_from(["/v2/..", "/v2/models/sentiment/../../..", "/livez/..",
                                        "/v2/models/sentiment/infer/../../../..", "/."])) + p,
        lambda p: p[:3].upper() + p[3:],
        lambda p: p.upper(),
        lambda p: p[1:],
        lambda p: f"http://gate{p}",
        lambda p: f"//gate{p}",
    ]  # fmt: skip
    for way in draw(st.lists(st.sampled_from(ways), min_size=int(changed), max_size=2)):
        path = way(path)
    return path.replace(" ", "%20")


QUIET = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUIET
@given(path=spelled(BESIDES, changed=False), method=st.sampled_from(METHODS))
def test_nothing_besides_is_reached_by_any_spelling(wire: Wire, path: str, method: str) -> None:
    assert wire.status(method, path.encode()) in (400, 404, 405)


@QUIET
@given(path=spelled(SERVED, changed=True))
def test_a_route_has_one_spelling(wire: Wire, path: str) -> None:
    expected = (200,) if path in SERVED else (400, 404)
    assert wire.status("GET", path.encode()) in expected


def test_each_of_them_as_it_is_written(wire: Wire) -> None:
    for path in BESIDES:
        for method in METHODS:
            assert wire.status(method, path.encode()) in (400, 404, 405), (method, path)
    for path in SERVED:
        assert wire.status("GET", path.encode()) == 200


def test_over_http2_too(running: tuple[Gateway, ssl.SSLContext]) -> None:
    found, context = running
    headers = found.bearer(*EVERYTHING)
    with found.client(verify=context, http2=True, headers=headers) as client:
        for path in [*BESIDES, "/v2//models/sentiment", "/v2/models/%73entiment",
                     "/v2/models/sentiment/../sentiment", "/V2", "/v2/", "/v2/models/Sentiment",
                     "/v2/models/sentiment%2fready", "/v2/models/sentiment/ready/"]:  # fmt: skip
            for method in ("GET", "POST"):
                reply = client.request(method, "/", extensions={"target": path.encode()})
                assert reply.http_version == "HTTP/2"
                assert reply.status_code in (400, 404, 405), path
        for path in SERVED:
            reply = client.request("GET", "/", extensions={"target": path.encode()})
            assert reply.status_code == 200, path


# -- nothing of a body before the caller is known -------------------------------------------------


class Body:
    """A body that counts what is taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self):
        for _ in range(100):
            self.taken += 65_536
            yield b"x" * 65_536


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "path", ["/v2/models/sentiment/infer", "/v2/models/sentiment/versions/1/infer"]
)
async def test_no_byte_is_taken_of_a_refused_caller(open_gateway, path) -> None:
    async with open_gateway() as inside:
        await refused_untouched(inside, path)


async def refused_untouched(inside: Running, path: str) -> None:
    for headers, status in (
        ({}, 401),
        ({"authorization": "Bearer x"}, 401),
        (inside.bearer("deid"), 403),
        (inside.bearer("models:read"), 403),
        ({**inside.bearer(), "content-type": "text/plain"}, 415),
        ({**inside.bearer(), "content-encoding": "gzip"}, 415),
        ({**inside.bearer(), "content-length": "6553600"}, 413),
        ({**inside.bearer(), "inference-header-content-length": "x"}, 422),
    ):
        body = Body()
        async with inside.client() as client:
            reply = await client.post(path, content=body, headers=headers)
        assert reply.status_code == status
        assert reply.json()["error"] == reply.json()["detail"]
        assert body.taken == 0
