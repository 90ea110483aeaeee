"""Tests each HTTP server against what the gateway needs, over real sockets; prints a table.

    python -m venv VENV && VENV/bin/pip install -e . uvicorn hypercorn granian
    VENV/bin/python benchmarks/http_servers/check.py [--only NAME ...] [--out FILE]

Each criterion starts the server afresh. A cell is `yes`, `no`, or a figure; `no` says what came
instead. Speed: closed loop, 16 connections, POST with a 600-byte token and a 150-byte body, servers
alternating, medians of the rounds; processor time is the server's own, from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import load
from candidates import Candidate, candidates
from certificates import Authority

HERE = Path(__file__).parent
HEADER_LIMIT = 10.5
"""Seconds: headers must end within 10."""

Result = str


@contextlib.contextmanager
def running(
    candidate: Candidate, **options: object
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    started = candidate.start(**options)  # type: ignore[arg-type]
    if started is None:
        raise NotImplementedError
    process, port = started
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(HEADER_LIMIT + 3)
    return client


def read_all(client: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while data := client.recv(65536):
            got += data
    return got


def status(got: bytes) -> int:
    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0


# -- criteria ------------------------------------------------------------------------------------------


def header_deadline(candidate: Candidate, _authority: Authority) -> Result:
    """Close half a head within 10 s; one that gets a byte each half second too."""

    def closed(port: int, *, trickle: bool) -> float:
        with connect(port) as client:
            client.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nX: ")
            client.settimeout(0.5)
            began = time.monotonic()
            while time.monotonic() - began < HEADER_LIMIT + 2:
                try:
                    if not client.recv(4096):
                        break
                except TimeoutError:
                    if trickle:
                        with contextlib.suppress(OSError):
                            client.sendall(b"a")
                except OSError:
                    break
            return time.monotonic() - began

    with running(candidate) as (_, port):
        times: dict[bool, float] = {}
        threads = [
            threading.Thread(target=lambda t=t: times.update({t: closed(port, trickle=t)}))
            for t in (False, True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    verdict = "yes" if max(times.values()) <= HEADER_LIMIT else "no"
    shown = {t: f"{s:.1f} s" if s <= HEADER_LIMIT + 1 else "never" for t, s in times.items()}
    return f"{verdict}: silent {shown[False]}, trickle {shown[True]}"


def body_pace(candidate: Candidate, _authority: Authority) -> Result:
    """Leave a body that nobody asked for with the caller (kernel buffers aside)."""
    with running(candidate) as (_, port), connect(port) as client:
        client.sendall(b"POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 268435456\r\n\r\n")
        client.settimeout(0.5)
        sent, piece = 0, b"a" * 65536
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 1.5:
                sent += client.send(piece)
    return f"{'yes' if sent < 16 << 20 else 'no'}: {sent / 2**20:.1f} MiB taken unasked"


def body_deadline(candidate: Candidate, _authority: Authority) -> Result:
    """Let the application's deadline on `receive` reach a caller who sends slowly: 408."""
    with running(candidate) as (_, port), connect(port) as client:
        client.sendall(b"POST /deadline HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        client.settimeout(5)
        with contextlib.suppress(OSError):
            got = client.recv(4096)
            return f"{'yes' if status(got) == 408 else 'no'}: {status(got)}"
        return "no: nothing came"


def early_reply(candidate: Candidate, _authority: Authority) -> Result:
    """Get a reply given before the body was read to a caller who sends 10 MB first, ten times."""
    seen = 0
    with running(candidate) as (_, port):
        for _ in range(10):
            with connect(port) as client:
                client.settimeout(5)
                client.sendall(
                    b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n"
                )
                with contextlib.suppress(OSError):
                    client.sendall(b"a" * 10485760)
                seen += status(read_all_quick(client)) == 401
    return f"{'yes' if seen == 10 else 'no'}: {seen} of 10"


def read_all_quick(client: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return client.recv(65536)
    return b""


def smuggling(candidate: Candidate, _authority: Authority) -> Result:
    """Refuse requests that two servers could read differently."""
    host = b"Host: a\r\n"
    heads = {
        "length and chunked": b"POST /echo HTTP/1.1\r\n" + host
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "two lengths": b"POST /echo HTTP/1.1\r\n" + host + b"Content-Length: 5\r\nContent-Length: 6\r\n",
        "signed length": b"POST /echo HTTP/1.1\r\n" + host + b"Content-Length: +5\r\n",
        "two codings": b"POST /echo HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip, chunked\r\n",
        "chunked in 1.0": b"POST /echo HTTP/1.0\r\n" + host + b"Transfer-Encoding: chunked\r\n",
        "bare LF": b"POST /echo HTTP/1.1\r\n" + host + b"X: a\nContent-Length: 5\r\n",
        "folded": b"POST /echo HTTP/1.1\r\n" + host + b"X: a\r\n Content-Length: 5\r\n",
        "space before colon": b"POST /echo HTTP/1.1\r\n" + host + b"Content-Length : 5\r\n",
        "no host": b"GET /echo HTTP/1.1\r\n",
        "two hosts": b"GET /echo HTTP/1.1\r\n" + host + b"Host: b\r\n",
        "host with path": b"GET /echo HTTP/1.1\r\nHost: a/b\r\n",
        "absolute target": b"GET http://other/echo HTTP/1.1\r\n" + host,
        "fragment": b"GET /echo#x HTTP/1.1\r\n" + host,
        "HTTP/0.9": b"GET /echo HTTP/0.9\r\n" + host,
    }  # fmt: skip
    served = []
    with running(candidate) as (_, port):
        for name, head in heads.items():
            with connect(port) as client:
                client.settimeout(2)
                client.sendall(head + b"\r\n0\r\n\r\n")
                if status(read_all_quick(client)) == 200:
                    served.append(name)
    what = f" (served: {', '.join(served)})" if served else ""
    return f"{'no' if served else 'yes'}: {len(heads) - len(served)} of {len(heads)} refused{what}"


def client_certificate(candidate: Candidate, authority: Authority) -> Result:
    """Hand a required client certificate to the application (ASGI TLS extension)."""
    server = authority.issue("localhost", "server")
    tls = type(server)(server.cert, server.key, authority.path)
    context = ssl.create_default_context(cafile=authority.path)
    with running(candidate, tls=tls) as (_, port):
        try:
            ask_tls(port, context)
        except OSError:
            refused = "refused without"
        else:
            refused = "SERVED WITHOUT"
        mine = authority.issue("ward-7", "client")
        context.load_cert_chain(mine.cert, mine.key)
        try:
            name = json.loads(ask_tls(port, context)[1])["client"]
        except OSError as error:
            return f"no: {type(error).__name__}, {refused}"
    return f"{'yes' if name == 'CN=ward-7' else 'no'}: application sees {name}, {refused}"


def ask_tls(port: int, context: ssl.SSLContext) -> tuple[str, bytes]:
    """Return the subject of the server's certificate and the body of /tls."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
    try:
        connection.request("GET", "/tls")
        assert isinstance(connection.sock, ssl.SSLSocket)
        subject = connection.sock.getpeercert()["subject"][0][0][1]  # type: ignore[index]
        return subject, connection.getresponse().read()
    finally:
        connection.close()


def http2(candidate: Candidate, authority: Authority) -> Result:
    """Speak HTTP/2 where ALPN offers it."""
    tls = authority.issue("localhost", "server")
    context = ssl.create_default_context(cafile=authority.path)
    with (
        running(candidate, tls=tls) as (_, port),
        httpx.Client(http2=True, verify=context) as client,
    ):
        reply = client.post(f"https://127.0.0.1:{port}/echo", content=b"a" * 300_000)
        good = reply.http_version == "HTTP/2" and len(reply.content) == 300_000
    return f"{'yes' if good else 'no'}: {reply.http_version}"


def inherited_socket(candidate: Candidate, _authority: Authority) -> Result:
    """Serve a listening socket that a parent hands over, and what waited in its backlog."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        with connect(listener.getsockname()[1]) as early, running(candidate, listener=listener):
            early.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            early.settimeout(3)
            got = status(read_all_quick(early))
    return f"{'yes' if got == 200 else 'no'}: {got or 'no reply'}"


def drain(candidate: Candidate, _authority: Authority) -> Result:
    """SIGTERM under load: every request that was sent on an open connection is answered, exit 0."""
    lost, served = [0], [0]
    with running(candidate) as (process, port):
        stop = threading.Event()

        def call() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=12)
            while not stop.is_set():
                try:
                    if connection.sock is None:
                        connection.connect()
                except OSError:
                    return
                try:
                    connection.request("POST", "/echo", body=b"a" * 150)
                    connection.getresponse().read()
                    served[0] += 1
                except (OSError, http.client.HTTPException):
                    lost[0] += 1
                    connection.close()

        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        slow = connect(port)
        time.sleep(0.5)
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        with slow:
            answered = status(read_all_quick(slow)) == 200
        code = process.wait(15)
        stop.set()
        for caller in callers:
            caller.join()
    good = answered and not lost[0] and code == 0
    slow_one = "answered" if answered else "LOST"
    return f"{'yes' if good else 'no'}: {lost[0]} of {served[0]} lost, slow one {slow_one}, exit {code}"


def tls_reload(candidate: Candidate, authority: Authority) -> Result:
    """Use new certificate files within 5 s, in the same process."""
    tls = authority.issue("before", "server")
    context = ssl.create_default_context(cafile=authority.path)
    with running(candidate, tls=tls) as (_, port):
        authority.issue("after", "server")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if ask_tls(port, context)[0] == "after":
                return "yes: by watching the files"
            time.sleep(0.2)
    return "no: needs a restart"


CRITERIA: dict[str, Callable[[Candidate, Authority], Result]] = {
    "header deadline": header_deadline,
    "body left unread": body_pace,
    "body deadline (408)": body_deadline,
    "early reply arrives": early_reply,
    "smuggling refused": smuggling,
    "client certificate to app": client_certificate,
    "HTTP/2": http2,
    "inherited socket": inherited_socket,
    "drain": drain,
    "TLS reload": tls_reload,
}


def speed(found: list[Candidate], rounds: int, requests: int) -> dict[str, dict[str, float]]:
    """Run the load on all servers in turn; return medians."""
    with contextlib.ExitStack() as stack:
        servers = {each.name: stack.enter_context(running(each)) for each in found}
        runs: dict[str, list[load.Load]] = {name: [] for name in servers}
        for _ in range(rounds + 1):
            for name, (process, port) in servers.items():
                runs[name].append(load.run(port, process.pid, requests=requests, callers=16))
    return {
        name: {
            "requests_per_second": round(statistics.median(each.rate for each in done[1:])),
            "cpu_us_per_request": round(statistics.median(each.cpu_us for each in done[1:]), 1),
            "p50_us": round(statistics.median(each.p50_us for each in done[1:])),
            "p99_us": round(statistics.median(each.p99_us for each in done[1:])),
        }
        for name, done in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of servers")
    parser.add_argument("--criteria", nargs="*", default=list(CRITERIA))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = [each for each in candidates() if not arguments.only or each.name in arguments.only]
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        for criterion in arguments.criteria:
            for each in found:
                try:
                    result = CRITERIA[criterion](each, authority)
                except NotImplementedError:
                    result = "no: not offered"
                except Exception as error:  # noqa: BLE001 -- a server that fails is a result
                    result = f"no: {type(error).__name__}"
                table.setdefault(criterion, {})[each.name] = result
                print(f"{criterion:28} {each.name:14} {result}", flush=True)
    figures = speed(found, arguments.rounds, arguments.requests) if arguments.rounds else {}
    for name, row in figures.items():
        print(f"{'speed':28} {name:14} {row}")
    if arguments.out:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
        ).stdout.strip()
        report = {
            "commit": commit,
            "machine": {
                "cpus": os.cpu_count(),
                "arch": platform.machine(),
                "load": os.getloadavg(),
            },
            "python": platform.python_version(),
            "openssl": ssl.OPENSSL_VERSION,
            "versions": {each.name: each.version for each in found}
            | {name: version(name) for name in ("httptools", "h2", "uvloop")},
            "criteria": table,
            "speed": figures,
        }
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
