"""Every error as RFC 9457 problem+json, and the same table in OpenAPI."""

from __future__ import annotations

import json
import uuid

import pytest

from wardgate.errors import (
    ClientInvalid,
    Forbidden,
    Overloaded,
    RateLimited,
    TokenInvalid,
    TokenMissing,
    tree,
)
from wardgate.web.problems import MEDIA_TYPE, SCHEMA, own, problem, responses, type_uri

ID = "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10"


@pytest.mark.parametrize("error", tree(), ids=lambda cls: cls.__name__)
def test_every_error_becomes_a_problem(error) -> None:
    status, headers, body = problem(error(), request_id=ID)
    found = json.loads(body)
    assert found == {
        "type": f"urn:wardgate:problem:{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.sentence,
        "instance": f"urn:uuid:{ID}",
    }
    assert status == error.status
    assert (b"content-type", b"application/problem+json") in headers
    assert (b"www-authenticate" in dict(headers)) == (status == 401 or error is Forbidden)
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == found.keys()


@pytest.mark.parametrize("error", tree(), ids=lambda cls: cls.__name__)
def test_the_servers_own_reply_is_whole(error) -> None:
    status, headers, body = own(error)
    found = json.loads(body)
    instance = found["instance"].removeprefix("urn:uuid:")
    assert uuid.UUID(instance).version == 4
    assert (status, body) == problem(error(), request_id=instance)[::2]
    given = dict(headers)
    assert len(given) == len(headers)
    assert given[b"content-length"] == str(len(body)).encode()
    assert given[b"cache-control"] == b"no-store"
    assert (b"retry-after" in given) == (error.status == 503)


def test_every_reply_of_the_server_is_an_instance_of_its_own() -> None:
    first, second = (json.loads(own(Overloaded)[2])["instance"] for _ in range(2))
    assert first != second


def test_the_reason_stays_inside() -> None:
    _, headers, body = problem(TokenInvalid(reason="expired"), request_id=ID)
    assert b'expired"' not in body
    assert not any(b"reason" in value for _, value in headers)


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (TokenMissing(), b'Bearer realm="wardgate"'),
        (TokenInvalid(), b'Bearer realm="wardgate", error="invalid_token"'),
        (Forbidden(), b'Bearer realm="wardgate", error="insufficient_scope"'),
        (ClientInvalid(), b'Basic realm="wardgate"'),
    ],
)
def test_the_challenge_names_the_scheme_that_was_asked_for(error, challenge) -> None:
    """RFC 6750 §3, and RFC 6749 §5.2 for the token endpoint."""
    assert dict(problem(error, request_id=ID)[1])[b"www-authenticate"] == challenge


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.01, b"1"), (1.0, b"1"), (1.2, b"2"), (90, b"90")]
)
def test_retry_after_is_whole_seconds_rounded_up(seconds, shown) -> None:
    _, headers, _ = problem(RateLimited(retry_after=seconds), request_id=ID)
    assert dict(headers)[b"retry-after"] == shown


def test_what_is_unavailable_may_be_tried_again_in_a_second() -> None:
    assert dict(problem(Overloaded(), request_id=ID)[1])[b"retry-after"] == b"1"
    assert b"retry-after" not in dict(problem(Forbidden(), request_id=ID)[1])


def test_extension_members_are_added() -> None:
    _, _, body = problem(ClientInvalid(), request_id=ID, extra={"error": "invalid_client"})
    assert json.loads(body)["error"] == "invalid_client"


def test_openapi_has_one_entry_for_each_status_and_one_example_for_each_error() -> None:
    found = responses((*tree(), *tree()))
    assert set(found) == {error.status for error in tree()}
    for error in tree():
        entry = found[error.status]
        assert entry["description"].split("; ").count(error.title) == 1
        example = entry["content"][MEDIA_TYPE]["examples"][error.slug]["value"]
        assert example["type"] == type_uri(error)
        assert example["detail"] == error.sentence
        assert example.keys() == SCHEMA["properties"].keys()
