from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.auth import encoding, jws
from wardgate.auth.keyset import KeySet, parse_key_set
from wardgate.errors import TokenInvalid, WardgateError

VECTORS = json.loads(
    (Path(__file__).parents[2] / "data" / "wycheproof" / "json_web_signature_test.json").read_text()
)


def wycheproof() -> list[Any]:
    cases = []
    for group in VECTORS["testGroups"]:
        jwk = group.get("public") or group["private"]
        jwk = json.loads(jwk) if isinstance(jwk, str) else jwk
        cases += [
            pytest.param(jwk, test["jws"], test["result"], id=f"{test['tcId']}-{test['comment']}")
            for test in group["tests"]
        ]
    return cases


def accepted(jwk: dict[str, Any], token: str) -> bool:
    try:
        verified = jws.verify(token, parse_key_set({"keys": [jwk]}))
    except WardgateError:
        return False
    assert verified.key_id == jwk.get("kid")
    return True


def test_all_wycheproof_vectors_are_here() -> None:
    assert len(wycheproof()) == VECTORS["numberOfTests"] == 401


@pytest.mark.parametrize(("jwk", "token", "result"), wycheproof())
def test_wycheproof(jwk: dict[str, Any], token: str, result: str) -> None:
    """No bad vector passes; of the valid ones only the classes named here may be refused."""
    if result != "valid":
        assert not accepted(jwk, token)
        return
    header = json.loads(encoding.decode(token.split(".", 1)[0].replace("?", "").encode()))
    symmetric = jwk["kty"] == "oct"
    stray_characters = "?" in token
    disagrees = jwk["alg"] != header["alg"]
    assert accepted(jwk, token) or symmetric or stray_characters or disagrees


def test_most_valid_wycheproof_vectors_pass() -> None:
    valid = [case.values for case in wycheproof() if case.values[2] == "valid"]
    assert sum(accepted(jwk, token) for jwk, token, _ in valid) == 32


@pytest.fixture(scope="module")
def keys(es256, es384, eddsa, rs256) -> KeySet:
    return parse_key_set({"keys": [each.jwk for each in (es256, es384, eddsa, rs256)]})


def reason(token: Any, keys: KeySet, **options: Any) -> str:
    with pytest.raises(TokenInvalid) as caught:
        jws.verify(token, keys, **options)
    return caught.value.reason


def test_each_algorithm_verifies(keys, es256, es384, eddsa, rs256) -> None:
    for signer in (es256, es384, eddsa, rs256):
        token = signer.token(b"any bytes at all")
        for form in (token, token.encode()):
            verified = jws.verify(form, keys)
            assert verified.payload == b"any bytes at all"
            assert verified.header["typ"] == "at+jwt"
            assert verified.key_id == signer.jwk["kid"]


@pytest.mark.parametrize("name", ["crit", "jku", "x5u", "jwk", "x5c", "zip", "b64", "enc"])
@pytest.mark.parametrize("value", [[], "", {"a": 1}, False])
def test_header_members_that_bring_meaning_or_keys_are_refused(keys, es256, name, value) -> None:
    assert reason(es256.token(**{name: value}), keys) == "header-member"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b'{"alg":"ES256","kid":"key-ES256","alg":"ES256"}', "header-duplicate"),
        (b'{"alg":"ES256","kid":"key-ES256","x":{"a":1,"a":2}}', "header-duplicate"),
        (b"[]", "header-json"),
        (b"{", "header-json"),
        (b"\xff", "header-json"),
        (b'{"kid":"key-ES256"}', "header-alg"),
        (b'{"alg":null,"kid":"key-ES256"}', "header-alg"),
        (b'{"alg":["ES256"],"kid":"key-ES256"}', "header-alg"),
        (b'{"alg":"ES256","kid":7}', "header-kid"),
        (b'{"alg":"ES256","kid":""}', "header-kid"),
        (b'{"alg":"ES256","kid":"' + b"k" * 257 + b'"}', "header-kid"),
        (b'{"alg":"ES256","kid":"other"}', "key-unknown"),
        (b'{"alg":"ES256","kid":"key-ES256 "}', "key-unknown"),
        (b'{"alg":"ES384","kid":"key-ES256"}', "alg-disagrees"),
        (b'{"alg":"RS256","kid":"key-ES256"}', "alg-disagrees"),
        (b'{"alg":"none","kid":"key-ES256"}', "alg-refused"),
        (b'{"alg":"None","kid":"key-ES256"}', "alg-refused"),
        (b'{"alg":"es256","kid":"key-ES256"}', "alg-refused"),
        (b'{"alg":"ES256 ","kid":"key-ES256"}', "alg-refused"),
        (b'{"alg":"HS256","kid":"key-ES256"}', "alg-refused"),
        (b'{"alg":"ES256K","kid":"key-ES256"}', "alg-refused"),
    ],
)
def test_the_header_is_settled_before_the_signature(keys, es256, header, expected) -> None:
    assert reason(es256.raw(header, b"{}"), keys) == expected


def test_a_public_key_is_no_shared_secret(rs256) -> None:
    """The confusion of RFC 8725 §2.1: HS256 with the bytes of the public key as its secret."""
    keys = parse_key_set({"keys": [rs256.jwk]})
    for secret in (rs256.jwk["n"].encode(), json.dumps(rs256.jwk).encode()):
        head = encoding.encode(json.dumps({"alg": "HS256", "kid": rs256.jwk["kid"]}).encode())
        mac = hmac.new(secret, f"{head}.e30".encode(), hashlib.sha256).digest()
        assert reason(f"{head}.e30.{encoding.encode(mac)}", keys) == "alg-refused"


def resized(token: str, by: int) -> str:
    """The token with its signature cut, or made longer, by some bytes."""
    head, payload, signature = token.split(".")
    data = encoding.decode(signature.encode())
    data = data[:by] if by < 0 else data + bytes(by)
    return f"{head}.{payload}.{encoding.encode(data)}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _: "", "token-parts"),
        (lambda t: t.replace(".", ""), "token-parts"),
        (lambda t: t.rsplit(".", 1)[0], "token-parts"),
        (lambda t: t + ".", "token-parts"),
        (lambda t: t + ".e30.AAAA", "token-parts"),
        (lambda t: t.rsplit(".", 1)[0] + ".", "token-unsigned"),
        (lambda t: "." + t.split(".", 1)[1], "header-json"),
        (lambda t: t + "=", "token-encoding"),
        (lambda t: t + "==", "token-encoding"),
        (lambda t: t + "\n", "token-encoding"),
        (lambda t: " " + t, "token-encoding"),
        (lambda t: t.replace(".", " .", 1), "token-encoding"),
        (lambda t: t + "é", "token-encoding"),
        (lambda t: t + "\udc80", "token-encoding"),
        (lambda t: t + "AAA", "token-encoding"),
        (lambda t: resized(t, -1), "signature"),
        (lambda t: resized(t, 1), "signature"),
        (lambda t: resized(t, -32), "signature"),
    ],
)
def test_the_form_is_exact(keys, es256, change, expected) -> None:
    token = es256.token()
    assert len(token.split(".")[2]) == 86
    assert reason(change(token), keys) == expected


def test_a_token_has_a_longest_length(keys, es256) -> None:
    token = es256.token(b" " * 3_000)
    assert jws.verify(token, keys, max_bytes=len(token)).payload == b" " * 3_000
    assert reason(token, keys, max_bytes=len(token) - 1) == "token-too-long"


def test_the_allow_list_narrows_what_a_key_may_do(keys, es256, rs256) -> None:
    allowed = frozenset({"ES256"})
    assert jws.verify(es256.token(), keys, algorithms=allowed)
    assert reason(rs256.token(), keys, algorithms=allowed) == "alg-refused"
    assert reason(es256.token(), keys, algorithms=frozenset()) == "alg-refused"


def test_a_token_without_kid_needs_exactly_one_key_that_fits(es256, rs256) -> None:
    unnamed = {name: value for name, value in es256.jwk.items() if name != "kid"}
    token = es256.token(kid=None)
    verified = jws.verify(token, parse_key_set({"keys": [unnamed, rs256.jwk]}))
    assert verified.key_id is None
    assert reason(token, parse_key_set({"keys": [unnamed, es256.jwk]})) == "key-ambiguous"
    assert reason(token, parse_key_set({"keys": [rs256.jwk]})) == "key-unknown"
    assert reason(es256.token(), parse_key_set({"keys": [unnamed]})) == "key-unknown"


def test_a_signature_of_another_key_is_refused(es256, es384, keys) -> None:
    token = es256.token()
    other = es384.raw(b'{"alg":"ES256","kid":"key-ES256"}', b"{}")
    assert reason(other, keys) == "signature"
    head, _, signature = token.split(".")
    assert reason(f"{head}.e31.{signature}", keys) in {"signature", "token-encoding"}


@given(data=st.data())
def test_a_token_with_one_bit_changed_is_refused(data, keys, es256, rs256, eddsa) -> None:
    signer = data.draw(st.sampled_from([es256, rs256, eddsa]))
    token = bytearray(signer.token(b'{"sub":"a"}').encode())
    place = data.draw(st.integers(0, len(token) * 8 - 1))
    token[place // 8] ^= 1 << place % 8
    with pytest.raises(TokenInvalid):
        jws.verify(bytes(token), keys)


@given(token=st.one_of(st.binary(max_size=200), st.text(alphabet="eyJ.-_A=\n ", max_size=60)))
def test_no_rubbish_raises_anything_but_a_refusal(keys, token) -> None:
    with pytest.raises(TokenInvalid):
        jws.verify(token, keys)
