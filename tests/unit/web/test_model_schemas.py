"""What the routes that change models take."""

from __future__ import annotations

import pytest

from wardgate.errors import BodyInvalid
from wardgate.web.model_schemas import CanaryBody, RollbackBody, VersionBody
from wardgate.web.schemas import parse


def test_a_canary_has_defaults():
    body = parse(CanaryBody, b'{"version":"2"}', nesting=4)
    assert body.model_dump() == {
        "version": "2",
        "percent": 5,
        "max_error_rate": 0.01,
        "max_latency_ratio": 2.0,
        "min_requests": 100,
    }


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (VersionBody, b"{}"),
        (VersionBody, b'{"version":2}'),
        (VersionBody, b'{"version":"../2"}'),
        (VersionBody, b'{"version":"2","percent":5}'),
        (RollbackBody, b'{"version":"2"}'),
        (CanaryBody, b'{"version":"2","percent":0}'),
        (CanaryBody, b'{"version":"2","percent":100}'),
        (CanaryBody, b'{"version":"2","max_error_rate":2}'),
        (CanaryBody, b'{"version":"2","max_latency_ratio":0.5}'),
    ],
)
def test_what_is_not_as_declared_is_refused(kind, raw):
    with pytest.raises(BodyInvalid):
        parse(kind, raw, nesting=4)
