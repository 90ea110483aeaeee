from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardgate.errors import ManifestInvalid, ModelUntrusted, SettingsInvalid
from wardgate.registry.signature import _SMALL_ORDER, DOMAIN, Trust, pinned, public_key, sign

RAW = b'{"name": "tiny"}'


def changed(raw: bytes, **fields) -> bytes:
    return json.dumps(json.loads(raw) | fields).encode()


def test_a_signature_by_a_trusted_key_is_accepted(signer, stranger):
    trust = Trust([stranger.text, signer.text])
    found = trust.require(RAW, sign(RAW, signer.key))
    assert (found.state, found.key_id) == ("signed", signer.id)
    assert str(found) == f"signed by {signer.id}"


def test_the_message_is_the_manifest_behind_a_domain_of_its_own(signer):
    value = base64.b64decode(json.loads(sign(RAW, signer.key))["signature"])
    signer.key.public_key().verify(value, DOMAIN + RAW)
    bare = changed(sign(RAW, signer.key), signature=base64.b64encode(signer.key.sign(RAW)).decode())
    with pytest.raises(ModelUntrusted, match="not that of its manifest"):
        Trust([signer.text]).require(RAW, bare)


def test_a_signature_of_another_manifest_does_not_fit(signer):
    with pytest.raises(ModelUntrusted, match="not that of its manifest"):
        Trust([signer.text]).require(RAW, sign(RAW + b" ", signer.key))


def test_an_untrusted_key_vouches_for_nothing(signer, stranger):
    with pytest.raises(ModelUntrusted, match=f"{stranger.id}, a key that is not trusted here"):
        Trust([signer.text]).require(RAW, sign(RAW, stranger.key))


def test_a_stranger_cannot_sign_under_a_trusted_keys_name(signer, stranger):
    forged = changed(sign(RAW, stranger.key), key_id=signer.id)
    for allow in (False, True):
        with pytest.raises(ModelUntrusted, match="not that of its manifest"):
            Trust([signer.text], allow_unsigned=allow).require(RAW, forged)


def test_no_signature_is_refused_unless_the_setting_says_otherwise(signer, stranger):
    with pytest.raises(ModelUntrusted, match="not signed"):
        Trust([signer.text]).require(RAW, None)
    lax = Trust([signer.text], allow_unsigned=True)
    assert lax.require(RAW, None).state == "unsigned"
    assert lax.require(RAW, sign(RAW, stranger.key)).state == "unknown-key"


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 2},
        {"key_id": "x"},
        {"signature": "AAAA"},
        {"signature": ""},
        {"signature": None},
        {"public_key": "mine"},
    ],
)
def test_a_file_that_is_no_signature_is_refused_even_where_none_is_needed(signer, fields):
    bad = changed(sign(RAW, signer.key), **fields)
    with pytest.raises(ManifestInvalid):
        Trust([signer.text], allow_unsigned=True).require(RAW, bad)


@pytest.mark.parametrize(
    "text", ["", "AAAA", "not base64!", "A" * 43 + "é", base64.b64encode(b"x" * 33).decode()]
)
def test_a_setting_that_is_no_key_stops_the_start(text):
    with pytest.raises(SettingsInvalid, match=r"registry\.trusted_keys"):
        Trust([text])


@pytest.mark.parametrize("raw", sorted(_SMALL_ORDER))
def test_a_key_that_anybody_can_sign_for_is_none(raw):
    forged, hits = bytes([1, *bytes(63)]), 0
    for message in range(200):
        with suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(raw).verify(forged, b"%d" % message)
            hits += 1
    assert hits
    for sign_bit in (0, 0x80):
        text = base64.b64encode(bytes([*raw[:-1], raw[-1] | sign_bit])).decode()
        with pytest.raises(SettingsInvalid, match=r"registry\.trusted_keys"):
            Trust([text])


def test_a_public_key_comes_back_from_its_text(signer):
    raw = signer.key.public_key().public_bytes_raw()
    assert public_key(signer.text).public_bytes_raw() == raw


def test_pinned_manifests_need_no_signature(tmp_path):
    import hashlib

    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(RAW).hexdigest()}  tiny/1/manifest.json\n")
    trust = Trust(pinned=pinned(sums))
    assert trust.require(RAW, None).state == "shipped"
    with pytest.raises(ModelUntrusted):
        trust.require(RAW + b" ", None)
