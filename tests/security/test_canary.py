"""PHI of every class, sent through every opening, is found nowhere but where it was sent from."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e.processes import Gateway, gateway, until

from wardgate.auth.issuer import AUDIENCE, ISSUER, DevelopmentIssuer
from wardgate.types import EntityType

PHI_BY_TYPE = {
    "NAME": "Thaddeus Okonkwo",
    "DATE": "07/22/1951",
    "AGE": "97-year-old",
    "LOCATION": "4417 Larkspur Terrace",
    "PHONE": "(617) 555-0186",
    "FAX": "(617) 555-0197",
    "EMAIL": "quackenbush.t@example.org",
    "SSN": "219-09-9871",
    "MRN": "84720913",
    "HEALTH_PLAN": "XKJ4471009283",
    "ACCOUNT": "7730019284",
    "LICENSE": "1245319599",
    "VEHICLE": "1HGCM82633A004352",
    "DEVICE": "QX99871Z",
    "URL": "https://portal.quackmed.example.com/p/99871",
    "IP": "203.0.113.77",
    "BIOMETRIC": "77123-QZ",
    "PHOTO": "okonkwo_face_0071.jpg",
    "OTHER_ID": "2024-771830",
}
NOTE = """\
Patient: Thaddeus Okonkwo   DOB: 07/22/1951   MRN: 84720913
A 97-year-old man of 4417 Larkspur Terrace, Poughkeepsie, NY 12603.
Phone: (617) 555-0186   Fax: (617) 555-0197   Email: quackenbush.t@example.org
SSN: 219-09-9871   Member ID: XKJ4471009283   Account number: 7730019284
NPI 1245319599   VIN 1HGCM82633A004352   Device serial number: SN-QX99871Z
URL https://portal.quackmed.example.com/p/99871   IP 203.0.113.77
Fingerprint ID: BIO-77123-QZ   photo: okonkwo_face_0071.jpg   Accession: ACC-2024-771830
He feels much better.
"""
MARK = "Zyxqvornamek"
"""Stands in what no detector sees: headers, claims, paths, unknown fields."""


def test_every_entity_type_has_a_canary() -> None:
    assert set(PHI_BY_TYPE) == set(EntityType)
    assert all(value in NOTE for value in PHI_BY_TYPE.values())


class Needles:
    """The canaries in every form in which they could lie somewhere."""

    def __init__(self, values: list[str]) -> None:
        self.forms: dict[bytes, str] = {}
        for value in values:
            for case in {value, value.lower(), value.upper()}:
                self._add(value, case.encode())
        # A plain hash of a short value can be found by trying values.
        for value in [*values, NOTE]:
            digest = hashlib.sha256(value.encode())
            self.forms[digest.digest()] = self.forms[digest.hexdigest().encode()] = (
                f"hash of {value}"
            )

    def _add(self, value: str, raw: bytes) -> None:
        text = raw.decode()
        self.forms[raw] = value
        self.forms[raw.hex().encode()] = self.forms[raw.hex().upper().encode()] = value
        self.forms[text.encode("utf-16-le")] = self.forms[text.encode("utf-16-be")] = value
        self.forms[urllib.parse.quote(text, safe="").encode()] = value
        self.forms[urllib.parse.quote_plus(text).encode()] = value
        self.forms[json.dumps(text)[1:-1].replace("/", "\\/").encode()] = value
        for shift in range(3):  # base64 at each of its three alignments, without the shared edges
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                body = encode(b"\0" * shift + raw).rstrip(b"=")
                inner = body[(0, 2, 3)[shift] : -1]
                if len(inner) >= 8:
                    self.forms[inner] = value

    def found(self, haystack: bytes) -> list[str]:
        """Return which canaries are in there."""
        return sorted({value for form, value in self.forms.items() if form in haystack})


NEEDLES = Needles([*PHI_BY_TYPE.values(), MARK])


def test_the_search_sees_every_form() -> None:
    for text in ("x" + MARK, f"Mr {MARK.lower()} q", f"ab{MARK}yz"):
        raw = text.encode()
        for form in (
            raw,
            base64.b64encode(raw),
            raw.hex().encode(),
            text.encode("utf-16-le"),
            hashlib.sha256(MARK.encode()).digest(),
        ):
            assert NEEDLES.found(b"--" + form + b"--") != [], (text, form)


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def assert_clean(found: Gateway) -> None:
    """Search the state, temporary files, working folder and output, byte for byte."""
    seen = 0
    for path in files(found.home):
        with contextlib.suppress(FileNotFoundError):  # a file of SQLite's that has just gone
            content = path.read_bytes()
            seen += len(content)
            assert NEEDLES.found(content) == [], path.relative_to(found.home)
            assert NEEDLES.found(str(path.relative_to(found.home)).encode()) == []
    assert seen > 10_000


class Sender:
    """Sends canaries, and looks through every reply."""

    def __init__(self, found: Gateway) -> None:
        self.gateway = found
        self.seen: set[int] = set()
        self.slugs: set[str] = set()
        # A connection for each request, so that both workers see all.
        self.client = found.client(limits=httpx.Limits(max_keepalive_connections=0))

    def check(self, reply: httpx.Response) -> httpx.Response:
        head = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        assert NEEDLES.found(head.encode() + b"\n\n" + reply.content) == [], reply.request.url
        self.seen.add(reply.status_code)
        if reply.status_code >= 400:
            assert reply.headers["content-type"] == "application/problem+json"
            self.slugs.add(reply.json()["type"].rpartition(":")[2])
        return reply

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send a canary in each header that a gateway could be tempted to keep."""
        headers = {**HEADERS, **self.gateway.bearer(), **options.pop("headers", {})}
        if body is not None:
            options["json"] = body
        return self.check(self.client.post(path, headers=headers, **options))

    def raw(self, content: bytes, *, leave: bool = False) -> bytes:
        """Send bytes as they are; return all that comes back."""
        address = httpx.URL(self.gateway.url)
        with socket.create_connection((address.host, address.port), timeout=20) as wire:
            wire.sendall(content)
            if leave:
                return b""
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := wire.recv(65_536):
                    received += piece
        assert NEEDLES.found(received) == [], received
        if received:
            self.seen.add(int(received.split(b" ", 2)[1]))
        return received


HEADERS = {
    "user-agent": f"agent/{MARK}",
    "x-request-id": f"{MARK}-1",
    "traceparent": f"00-{MARK}-00f067aa0ba902b7-01",
    "tracestate": f"vendor={MARK}",
    "baggage": f"patient={MARK}",
    "cookie": f"session={MARK}",
    "referer": f"https://example.org/{MARK}",
    "x-patient": PHI_BY_TYPE["NAME"],
    "accept": f"application/json;q={MARK}",
    "accept-language": MARK,
    "x-correlation-id": PHI_BY_TYPE["SSN"],
}
CLAIMS = {
    "name": PHI_BY_TYPE["NAME"],
    "email": PHI_BY_TYPE["EMAIL"],
    "birthdate": PHI_BY_TYPE["DATE"],
    "phone_number": PHI_BY_TYPE["PHONE"],
    "address": {"street_address": PHI_BY_TYPE["LOCATION"], "nested": [{"deep": MARK}]},
    "aud": [AUDIENCE, MARK],
    "scope": f"infer:sentiment deid patient/{MARK}.read infer:{MARK}",
    "act": {"sub": MARK},
    "groups": [MARK],
    "nonce": MARK,
}


def signed(
    found: Gateway, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Sign a token with the development issuer's key, or with another."""
    issuer = DevelopmentIssuer.open(found.state)
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "tester",
        "client_id": "canary",
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + 600,
        **CLAIMS,
        **claims,
    }
    headers = {"typ": "at+jwt", "kid": issuer.key_id, **(header or {})}
    return jwt.encode(said, key or issuer._key, algorithm="ES256", headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


PREDICT = {"model": "sentiment", "text": NOTE, "patient": PHI_BY_TYPE["MRN"], "purpose": "TREAT"}
LONG = {"text": NOTE * 100, "patient": PHI_BY_TYPE["NAME"]}


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """Two workers, an engine and processes for long texts: every place that sees a note."""
    home = tmp_path_factory.mktemp("canary")
    settings = {
        "WARDGATE_ADMISSION__RATE": "1",
        "WARDGATE_ADMISSION__BURST": "20",
        "WARDGATE_LIMITS__BODY_SECONDS": "0.5",
        "WARDGATE_LIMITS__HEADER_SECONDS": "1",
    }
    with gateway(home, "--workers", "2", **settings) as found:
        yield Sender(found)


def test_success_shows_nothing(sender: Sender) -> None:
    for headers in ({}, bearer(signed(sender.gateway))):
        reply = sender.post("/v1/predict", PREDICT, headers=headers)
        assert reply.status_code == 200
        assert reply.json()["label"] == "positive" or reply.json()["label"] == "negative"
        reply = sender.post("/v1/deidentify", {"text": NOTE}, headers=headers)
        assert {span["label"] for span in reply.json()["spans"]} == set(EntityType)
        assert sender.post("/v1/deidentify", LONG, headers=headers).status_code == 200
        query = {"patient": MARK, "text": NOTE}
        assert sender.post("/v1/predict", PREDICT, params=query, headers=headers).status_code == 200


def test_refused_callers_leave_nothing(sender: Sender) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    found = sender.gateway
    past = {"exp": int(time.time()) - 5}
    tokens = {
        "malformed": MARK,
        "three parts": f"{MARK}.{MARK}.{MARK}",
        "expired": signed(found, **past),
        "wrong signature": signed(found, key=other),
        "identities that nobody verified": signed(
            found, key=other, sub=MARK, jti=MARK, client_id=MARK
        ),
        "unknown issuer": signed(found, key=other, iss=MARK),
        "unknown key": signed(found, header={"kid": MARK}),
        "type": signed(found, header={"typ": MARK}),
        "header": signed(found, header={"crit": [MARK], MARK: MARK}),
        "audience": signed(found, aud=MARK),
        "tenant": signed(found, tenant=f"{MARK} Clinic"),
        "subject": signed(found, sub={"name": MARK}),
        "date": signed(found, exp=MARK),
        "two clients": signed(found, client_id="canary", azp=MARK),
    }
    for name, token in tokens.items():
        reply = sender.post("/v1/predict", PREDICT, headers=bearer(token))
        assert reply.status_code == 401, name
    for value in (
        f"Basic {base64.b64encode(MARK.encode()).decode()}",
        MARK,
        f"Bearer {MARK} {MARK}",
    ):
        assert (
            sender.post("/v1/predict", PREDICT, headers={"authorization": value}).status_code == 401
        )
    client = sender.client
    assert sender.check(client.post("/v1/predict", json=PREDICT)).status_code == 401
    secret = DevelopmentIssuer.open(found.state).client_secret
    for form in ({"grant_type": MARK}, {"grant_type": "client_credentials", "scope": MARK}):
        wrong = client.post("/oauth2/token", data=form, auth=(MARK, MARK))
        assert sender.check(wrong).status_code == 401
        right = client.post("/oauth2/token", data=form, auth=("development", secret))
        assert sender.check(right).status_code == 400
    no_scope = bearer(signed(found, scope=f"deid:{MARK} {MARK}"))
    assert sender.post("/v1/predict", PREDICT, headers=no_scope).status_code == 403
    proxied = {"x-forwarded-for": PHI_BY_TYPE["IP"], "forwarded": f"for={MARK}"}
    assert sender.post("/v1/predict", PREDICT, headers=proxied).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**PREDICT, MARK: PHI_BY_TYPE["NAME"]}, 422),
        ({**PREDICT, "policy": MARK}, 404),
        ({**PREDICT, "policy": PHI_BY_TYPE["NAME"]}, 422),
        ({**PREDICT, "policy": "limited_data_set"}, 403),
        ({**PREDICT, "model": MARK}, 403),
        ({**PREDICT, "model": PHI_BY_TYPE["NAME"]}, 422),
        ({**PREDICT, "purpose": MARK}, 422),
        ({**PREDICT, "purpose": MARK.upper()}, 422),
        ({**PREDICT, "priority": MARK}, 422),
        ({**PREDICT, "reference_date": PHI_BY_TYPE["DATE"]}, 422),
        ({**PREDICT, "timeout_ms": PHI_BY_TYPE["SSN"]}, 422),
        ({**PREDICT, "patient": MARK * 100}, 422),
        ({**PREDICT, "text": {"name": MARK}}, 422),
        ({**PREDICT, "text": [NOTE]}, 422),
        ([NOTE, MARK], 422),
        (MARK, 422),
        ({**PREDICT, "text": NOTE * 500}, 413),
        ({**PREDICT, "text": NOTE * 2000}, 413),
        ({"model": "sentiment", "text": NOTE * 8, "timeout_ms": 1}, 504),
    ],
)
def test_refused_bodies_leave_nothing(sender: Sender, body: Any, status: int) -> None:
    token = signed(sender.gateway, sub=f"bodies-{status}", scope="infer:sentiment deid")
    reply = sender.post("/v1/predict", body, headers=bearer(token))
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (NOTE.encode(), "application/json", 400),
        (b'{"text": "' + NOTE.encode("utf-16-le") + b'\xff"}', "application/json", 400),
        (json.dumps({"text": NOTE}).encode()[:-1], "application/json", 400),
        (json.dumps([[[[NOTE]]]]).encode().replace(b"[", b"[" * 30), "application/json", 400),
        (NOTE.encode(), f"text/{MARK}", 415),
        (json.dumps(PREDICT).encode(), f"application/json; charset={MARK}", 415),
        (json.dumps(PREDICT).encode(), f"application/json; {MARK}", 415),
    ],
)
def test_refused_bytes_leave_nothing(
    sender: Sender, content: bytes, kind: str, status: int
) -> None:
    token = signed(sender.gateway, sub="bytes")
    headers = {"content-type": kind, **bearer(token)}
    assert sender.post("/v1/predict", content=content, headers=headers).status_code == status


def test_other_paths_and_methods_leave_nothing(sender: Sender) -> None:
    path = urllib.parse.quote(PHI_BY_TYPE["NAME"])
    assert sender.post(f"/patients/{path}/{MARK}?name={path}", PREDICT).status_code == 404
    assert sender.post(f"/v1/predict/{MARK}", PREDICT).status_code == 404
    reply = sender.client.delete(f"/v1/predict?patient={MARK}", headers=HEADERS)
    assert sender.check(reply).status_code == 405
    for page in ("/livez", "/readyz", "/openapi.json", "/docs", "/.well-known/jwks.json"):
        reply = sender.client.get(f"{page}?patient={MARK}", headers=HEADERS)
        assert sender.check(reply).status_code == 200


def test_bytes_that_are_no_request_leave_nothing(sender: Sender) -> None:
    note, mark = NOTE.encode(), MARK.encode()
    token = f"authorization: Bearer {sender.gateway.token(subject='wire')}\r\n".encode()
    post = (
        b"POST /v1/predict HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n" + token
    )
    for content, status in (
        (note, 400),
        (b"GET /" + mark + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + mark + b" HTTP/9.7\r\nhost: x\r\n\r\n", 400),
        (b"GET /" + mark + b" HTTP/1.0\r\n\r\n", 404),
        (b"GET http://" + mark + b"/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (mark + b" / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: " + mark + b" " + mark + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + (mark * 2000) + b"\r\n\r\n", 431),
        (post + b"content-length: " + mark + b"\r\n\r\n" + note, 400),
        (post + b"content-length: 50000\r\n\r\n" + note, 408),
        (post + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" + mark + b"\r\n", 400),
        (post + b"x-patient: " + mark, 408),
    ):
        received = sender.raw(content)
        assert int(received.split(b" ", 2)[1]) == status, (content[:60], received)


def test_a_flood_and_callers_who_leave_leave_nothing(sender: Sender) -> None:
    found = sender.gateway
    token = signed(found, sub="flood")
    with found.client(headers={**HEADERS, **bearer(token)}) as client:  # one connection, one worker
        replies = [sender.check(client.post("/v1/deidentify", json=PREDICT)) for _ in range(60)]
        refused = [sender.check(client.get(f"/{MARK}")) for _ in range(2)]
    assert {reply.status_code for reply in replies} == {422, 429}
    assert {reply.status_code for reply in refused} == {404}
    body = json.dumps({"text": NOTE * 100}).encode()
    head = (
        b"POST /v1/deidentify HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n"
        % (found.token(subject="leaver").encode(), len(body))
    )
    for content in (head + body, head + body[:5000]):
        for _ in range(3):
            sender.raw(content, leave=True)
    until(lambda: found.metric("wardgate_in_flight") == 0, why="all have left")


def test_processes_that_are_killed_leave_nothing(sender: Sender) -> None:
    found = sender.gateway
    token = bearer(signed(found, sub="killer"))

    def refused() -> bool:
        for pid in found.processes("wardgate.deid.process"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSEGV)
        return sender.post("/v1/deidentify", LONG, headers=token).status_code == 503

    until(refused, why="no process for long texts")
    os.kill(found.engine(), signal.SIGABRT)
    until(
        lambda: (
            sender.post(
                "/v1/predict", PREDICT, headers=bearer(signed(found, sub=uuid.uuid4().hex))
            ).status_code
            == 503
        ),
        why="no engine",
    )
    until(
        lambda: (
            sender.post(
                "/v1/predict", PREDICT, headers=bearer(signed(found, sub=uuid.uuid4().hex))
            ).status_code
            == 200
        ),
        why="a new engine",
    )


def test_a_sink_that_is_gone_leaves_nothing(sender: Sender) -> None:
    audit = sender.gateway.state / "audit"
    away = audit.with_name("audit-away")
    audit.rename(away)
    headers = bearer(signed(sender.gateway, sub="sink"))
    assert sender.post("/v1/predict", PREDICT, headers=headers).status_code == 503
    away.rename(audit)
    until(lambda: sender.post("/v1/deidentify", {"text": NOTE}).status_code == 200, why="audit")


def test_every_kind_of_failure_was_seen_and_nothing_was_kept(sender: Sender) -> None:
    assert sender.seen >= {200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 503, 504}
    assert sender.slugs >= {"audit-unavailable", "engine-unavailable", "detector-failed"}
    assert NEEDLES.found(sender.gateway.metrics().encode()) == []
    assert_clean(sender.gateway)
    assert sender.gateway.stop() == 0
    for folder in ("tmp", "user"):  # libraries keep no files there either: ids, telemetry, caches
        assert list((sender.gateway.home / folder).rglob("*")) == []
    assert_clean(sender.gateway)  # the last refusals are written at the end
    assert "Traceback" not in sender.gateway.stderr
    report = sender.gateway.verify()
    assert report.returncode == 0, report.stdout
    records = b"".join(
        path.read_bytes()
        for path in files(sender.gateway.state / "audit")
        if path.suffix != ".heads"
    )
    for identity in (b"flood", b"canary", b"tester", b"bodies-422"):  # recorded by design
        assert identity in records
