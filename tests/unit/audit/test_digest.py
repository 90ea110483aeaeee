from __future__ import annotations

import hashlib
import hmac

import pytest

from wardgate.audit.digest import DIGEST_FILE, BodyDigest
from wardgate.errors import StateInvalid


def test_the_digest_is_keyed_and_lasts(tmp_path):
    body = b'{"text":"Jane Roe, seen today"}'
    digest = BodyDigest(tmp_path / "a")(body)
    key = (tmp_path / "a" / DIGEST_FILE).read_bytes()
    assert digest == hmac.new(key, body, hashlib.sha256).hexdigest()
    assert BodyDigest(tmp_path / "a")(body) == digest
    assert BodyDigest(tmp_path / "b")(body) != digest
    assert len(key) == 32


def test_a_damaged_key_is_refused(tmp_path):
    BodyDigest(tmp_path)
    (tmp_path / DIGEST_FILE).write_bytes(b"short")
    with pytest.raises(StateInvalid, match="damaged"):
        BodyDigest(tmp_path)
