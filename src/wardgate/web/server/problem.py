"""Replies that the server itself makes: RFC 9457 problem documents, never an echo of the input."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from wardgate.errors import WardgateError


@dataclass(frozen=True, slots=True)
class Problem:
    """A whole reply: status, headers in lower case (content-length included), and body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def problem(error: type[WardgateError]) -> Problem:
    """Make the reply for a class of error; `instance` is new for each reply."""
    body = json.dumps(
        {
            "type": f"urn:wardgate:problem:{error.slug}",
            "title": error.title,
            "status": error.status,
            "detail": error.sentence,
            "instance": f"urn:uuid:{uuid.uuid4()}",
        },
        separators=(",", ":"),
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if error.status == 503:  # noqa: PLR2004 -- Service Unavailable, RFC 9110 §15.6.4
        headers.append((b"retry-after", b"1"))
    return Problem(error.status, headers, body)
