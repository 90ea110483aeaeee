"""Errors as RFC 9457 `application/problem+json`: one table for the reply, OpenAPI and the docs.

The table is `wardgate.errors` itself. A problem holds our own sentences alone: never input text,
tensor values, a stack, or the body of another server.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from typing import Any

import orjson

from wardgate.errors import WardgateError

MEDIA_TYPE = "application/problem+json"
Headers = list[tuple[bytes, bytes]]
_UNAVAILABLE = 503
"""Always answered with when to come back (RFC 9110 §15.6.4)."""


def type_uri(error: type[WardgateError]) -> str:
    """Return the problem `type` of an error class; a URN, since no host of ours serves pages."""
    return f"urn:wardgate:problem:{error.slug}"


def problem(
    error: WardgateError, *, request_id: str, extra: dict[str, Any] | None = None
) -> tuple[int, Headers, bytes]:
    """Return status, headers and body that answer `error` (RFC 9457 §3).

    `extra` adds extension members, such as the `error` of RFC 6749 §5.2 at the token endpoint.
    """
    body = {
        "type": type_uri(type(error)),
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": f"urn:uuid:{request_id}",
    }
    if extra:
        body |= extra
    headers: Headers = [(b"content-type", MEDIA_TYPE.encode())]
    retry_after = error.retry_after
    if retry_after is None and error.status == _UNAVAILABLE:
        retry_after = 1.0
    if retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after))).encode()))
    if error.status == 401:  # noqa: PLR2004 -- RFC 9110 §15.5.2: a 401 carries a challenge
        scheme = "Basic" if error.slug == "client-invalid" else "Bearer"  # RFC 6749 §5.2
        challenge = f'{scheme} realm="wardgate"'
        if error.slug == "token-invalid":
            challenge += ', error="invalid_token"'  # RFC 6750 §3.1
        headers.append((b"www-authenticate", challenge.encode()))
    elif error.slug == "scope-insufficient":
        headers.append(
            (b"www-authenticate", b'Bearer realm="wardgate", error="insufficient_scope"')
        )
    return error.status, headers, orjson.dumps(body)


def own(error: type[WardgateError]) -> tuple[int, Headers, bytes]:
    """Return the whole reply that the HTTP server makes itself, length included.

    No request came through, so `instance` is made here and stands in no record.
    """
    status, headers, body = problem(error(), request_id=str(uuid.uuid4()))
    headers += (
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    )
    return status, headers, body


def responses(errors: Iterable[type[WardgateError]]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of these errors, grouped by status, each with its example."""
    found: dict[int | str, dict[str, Any]] = {}
    for error in sorted(set(errors), key=lambda cls: (cls.status, cls.slug)):
        entry = found.setdefault(
            error.status,
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["description"] = "; ".join(filter(None, (entry["description"], error.title)))
        entry["content"][MEDIA_TYPE]["examples"][error.slug] = {
            "summary": error.title,
            "value": {
                "type": type_uri(error),
                "title": error.title,
                "status": error.status,
                "detail": error.sentence,
                "instance": "urn:uuid:6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
            },
        }
    return found


SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem details; every error of every route has this form.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Which error; stable."},
        "title": {"type": "string", "description": "The error in words."},
        "status": {"type": "integer", "description": "HTTP status."},
        "detail": {"type": "string", "description": "What was expected; never what was sent."},
        "instance": {"type": "string", "format": "uri", "description": "The request id as a URN."},
    },
}
