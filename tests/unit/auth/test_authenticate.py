from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from typing import Any

import pytest

from wardgate.auth import authenticate, jws
from wardgate.auth.authenticate import Authenticator, TrustedIssuer
from wardgate.auth.keys import FileKeys, StaticKeys
from wardgate.auth.keyset import KeySet, parse_key_set
from wardgate.errors import KeysUnavailable, Overloaded, TokenInvalid, TokenMissing, WardgateError
from wardgate.types import Principal

NOW = 1_800_000_000.0


class CountedKeys:
    """Keys whose generation a test sets, that counts how often they are read."""

    def __init__(self, *jwks: dict[str, Any]) -> None:
        self.jwks = jwks
        self.number = 1
        self.loads = 0

    def generation(self, now: float) -> int:
        return self.number

    def load(self) -> KeySet:
        self.loads += 1
        if not self.jwks:
            raise KeysUnavailable(reason="keys-unreadable")
        return parse_key_set({"keys": list(self.jwks)})


def trusted(keys: Any, **changes: Any) -> TrustedIssuer:
    return TrustedIssuer(
        **{
            "issuer": "https://issuer.example",
            "audience": "wardgate",
            "keys": keys,
            "algorithms": frozenset({"ES256"}),
        }
        | changes
    )


def bearer(token: str) -> list[bytes]:
    return [b"Bearer " + token.encode()]


@pytest.fixture
def keys(es256) -> CountedKeys:
    return CountedKeys(es256.jwk)


@pytest.fixture
def verified(monkeypatch) -> list[str]:
    """The key ids of all signatures checked in a test."""
    seen: list[str] = []
    check = jws.check_signature

    def counted(token: Any, *args: Any, **options: Any) -> Any:
        seen.append(token.key_id)
        return check(token, *args, **options)

    monkeypatch.setattr(jws, "check_signature", counted)
    return seen


async def refusal(gate: Authenticator, headers: list[bytes], now: float = NOW) -> WardgateError:
    with pytest.raises(WardgateError) as caught:
        await gate.authenticate(headers, now=now)
    assert gate.cached(headers, now=now) is None
    return caught.value


async def test_a_good_token_gives_its_principal(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)])
    principal = await gate.authenticate(bearer(es256.token(good_claims)), now=NOW)
    assert principal == Principal(
        issuer="https://issuer.example",
        subject="clinician-7",
        client="ward-app",
        tenant="north",
        scopes=frozenset({"infer:sentiment", "deid"}),  # `openid` is not ours and goes no further
        token_id="0d6f7a2e",
        expires_at=NOW + 600,
    )


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER "])
async def test_the_scheme_ignores_case(es256, keys, good_claims, scheme: bytes) -> None:
    gate = Authenticator([trusted(keys)])
    token = es256.token(good_claims).encode()
    assert await gate.authenticate([scheme + token], now=NOW)
    assert gate.cached([b"bEaReR " + token], now=NOW)


@pytest.mark.parametrize(
    ("headers", "kind", "reason"),
    [
        ([], TokenMissing, "token-missing"),
        ([b""], TokenMissing, "authorization-scheme"),
        ([b"Bearer"], TokenMissing, "authorization-scheme"),
        ([b"Bearer "], TokenMissing, "authorization-scheme"),
        ([b"Basic YTpi"], TokenMissing, "authorization-scheme"),
        ([b"Bearer\te30.e30.AAAA"], TokenMissing, "authorization-scheme"),
        ([b"Bearer a", b"Bearer a"], TokenInvalid, "authorization-repeated"),
        ([b"Bearer a"], TokenInvalid, "token-parts"),
        ([b"Bearer  e30.e30.AAAA"], TokenInvalid, "token-encoding"),
        ([b"Bearer e30.e30.AAAA, Bearer a"], TokenInvalid, "token-encoding"),
        ([b"Bearer " + b"A" * 8_193], TokenInvalid, "token-too-long"),
        ([b"Bearer \xff\xfe"], TokenInvalid, "token-parts"),
    ],
)
async def test_headers_without_one_token_are_refused(keys, headers, kind, reason) -> None:
    error = await refusal(Authenticator([trusted(keys)]), headers)
    assert type(error) is kind
    assert error.reason == reason
    assert keys.loads == 0


async def test_a_token_known_to_be_good_is_not_verified_again(
    es256, keys, good_claims, verified
) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    assert gate.cached(headers, now=NOW) is None
    first = await gate.authenticate(headers, now=NOW)
    assert await gate.authenticate(headers, now=NOW + 59.9) is first
    assert gate.cached(headers, now=NOW + 59.9) is first
    assert len(verified) == 1


async def test_it_is_verified_anew_after_a_minute(es256, keys, good_claims, verified) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    assert gate.cached(headers, now=NOW + 60) is None
    await gate.authenticate(headers, now=NOW + 60)
    assert len(verified) == 2


async def test_the_end_of_a_token_is_checked_on_a_hit(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims | {"exp": NOW + 10}))
    await gate.authenticate(headers, now=NOW)
    assert gate.cached(headers, now=NOW + 9.999)
    assert gate.cached(headers, now=NOW + 10) is None
    assert (await refusal(gate, headers, NOW + 10)).reason == "expired"


async def test_the_audience_is_checked_on_a_hit(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    ((digest, entry),) = gate._cache.items()
    gate._cache[digest] = dataclasses.replace(entry, audience=("other",))
    assert gate.cached(headers, now=NOW) is None
    assert not gate._cache


async def test_a_known_token_in_two_headers_is_refused(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    assert (await refusal(gate, headers * 2)).reason == "authorization-repeated"


async def test_a_clock_set_back_verifies_anew(es256, keys, good_claims, verified) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    assert gate.cached(headers, now=NOW - 1) is None


async def test_an_entry_dies_with_the_generation_of_the_keys(
    es256, es384, keys, good_claims
) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    keys.jwks, keys.number = (es384.jwk,), 2
    assert (await refusal(gate, headers)).reason == "key-unknown"
    keys.jwks, keys.number = (), 3
    assert type(await refusal(gate, headers)) is KeysUnavailable
    keys.jwks, keys.number = (es256.jwk,), 4
    assert await gate.authenticate(headers, now=NOW)


async def test_keys_in_a_file_that_changes(tmp_path, es256, es384, good_claims) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [es256.jwk]}))
    gate = Authenticator([trusted(FileKeys(path))])
    headers = bearer(es256.token(good_claims))
    await gate.authenticate(headers, now=NOW)
    path.unlink()
    assert gate.cached(headers, now=NOW + 0.9)
    assert type(await refusal(gate, headers, NOW + 1)) is KeysUnavailable
    path.write_text(json.dumps({"keys": [es384.jwk]}))
    assert (await refusal(gate, headers, NOW + 2)).reason == "key-unknown"


async def test_keys_are_read_once_for_a_generation(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)])
    for number in range(5):
        await gate.authenticate(bearer(es256.token(good_claims | {"jti": str(number)})), now=NOW)
    assert keys.loads == 1


async def test_only_good_tokens_are_remembered(es256, keys, good_claims, verified) -> None:
    gate = Authenticator([trusted(keys)])
    for said in ({"exp": NOW - 1}, {"aud": "other"}, {"iss": "https://other.example"}):
        headers = bearer(es256.token(good_claims | said))
        await refusal(gate, headers)
        await refusal(gate, headers)
    head, payload, _ = es256.token(good_claims).split(".")
    await refusal(gate, bearer(f"{head}.{payload}.{'A' * 86}"))
    assert not gate._cache


async def test_the_cache_is_bounded(es256, keys, good_claims, verified) -> None:
    gate = Authenticator([trusted(keys)], cache_tokens=3)
    tokens = [bearer(es256.token(good_claims | {"jti": str(n)})) for n in range(5)]
    for headers in tokens:
        await gate.authenticate(headers, now=NOW)
        assert len(gate._cache) <= 3
    assert [gate.cached(headers, now=NOW) is not None for headers in tokens] == [
        False, False, True, True, True,
    ]  # fmt: skip


async def test_a_cache_of_none_verifies_each_time(es256, keys, good_claims, verified) -> None:
    gate = Authenticator([trusted(keys)], cache_tokens=0)
    headers = bearer(es256.token(good_claims))
    for _ in range(3):
        await gate.authenticate(headers, now=NOW)
    assert len(verified) == 3


async def test_an_issuers_keys_serve_its_own_tokens_alone(es256, es384, good_claims) -> None:
    first = trusted(StaticKeys({"keys": [es256.jwk]}))
    second = trusted(
        StaticKeys({"keys": [es384.jwk]}),
        issuer="https://second.example",
        audience="wardgate-2",
        algorithms=frozenset({"ES384"}),
    )
    gate = Authenticator([first, second])
    theirs = {"iss": "https://second.example", "aud": "wardgate-2"}
    assert await gate.authenticate(bearer(es384.token(good_claims | theirs)), now=NOW)
    for token, reason in (
        (es256.token(good_claims | theirs), "alg-refused"),
        (es384.token(good_claims), "alg-refused"),
        (es384.token(good_claims | {"iss": "https://second.example"}), "aud-refused"),
        (es256.token(good_claims | {"iss": "https://third.example"}), "iss-refused"),
        (es256.token(good_claims | {"iss": ["https://issuer.example"]}), "iss-refused"),
    ):
        assert (await refusal(gate, bearer(token))).reason == reason


async def test_the_issuers_allow_list_and_types_hold(es256, keys, good_claims) -> None:
    token = bearer(es256.token(good_claims))
    gate = Authenticator([trusted(keys, algorithms=frozenset({"RS256"}))])
    assert (await refusal(gate, token)).reason == "alg-refused"
    gate = Authenticator([trusted(keys, token_types=frozenset({"jwt"}))])
    assert (await refusal(gate, token)).reason == "typ-refused"
    id_token = es256.token(good_claims | {"nonce": "n", "at_hash": "h"}, typ="JWT")
    assert (await refusal(Authenticator([trusted(keys)]), bearer(id_token))).reason == "typ-refused"


def test_two_issuers_of_one_name_are_refused(keys) -> None:
    with pytest.raises(ValueError):
        Authenticator([trusted(keys), trusted(keys)])


async def test_the_lane_is_bounded_and_known_callers_pass_it_by(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)], lane=8)
    known = bearer(es256.token(good_claims))
    await gate.authenticate(known, now=NOW)
    head, payload, _ = es256.token(good_claims).split(".")
    bad = bearer(f"{head}.{payload}.{'A' * 86}")
    flood = [asyncio.ensure_future(gate.authenticate(bad, now=NOW)) for _ in range(100)]
    await asyncio.sleep(0)
    assert gate._waiting == 8
    assert await gate.authenticate(known, now=NOW)
    assert not any(each.done() and each.exception() is None for each in flood)
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    kinds = [type(each) for each in outcomes]
    assert kinds.count(Overloaded) == 92
    assert kinds.count(TokenInvalid) == 8
    assert gate._waiting == 0
    assert all(each.retry_after for each in outcomes if isinstance(each, Overloaded))


async def test_one_signature_is_checked_in_a_turn_of_the_loop(
    es256, keys, good_claims, verified
) -> None:
    gate = Authenticator([trusted(keys)])
    await gate.authenticate(bearer(es256.token(good_claims)), now=NOW)
    verified.clear()
    flood = [
        asyncio.ensure_future(
            gate.authenticate(bearer(es256.token(good_claims | {"jti": str(n)})), now=NOW)
        )
        for n in range(20)
    ]
    while not all(each.done() for each in flood):
        before = len(verified)
        await asyncio.sleep(0)
        assert len(verified) - before <= 1
    assert len(verified) == 20


async def test_one_token_sent_many_times_at_once_is_verified_once(
    es256, keys, good_claims, verified
) -> None:
    gate = Authenticator([trusted(keys)])
    headers = bearer(es256.token(good_claims))
    found = await asyncio.gather(*(gate.authenticate(headers, now=NOW) for _ in range(30)))
    assert len(set(map(id, found))) == 1
    assert len(verified) == 1


async def test_a_caller_that_leaves_frees_its_place(es256, keys, good_claims) -> None:
    gate = Authenticator([trusted(keys)], lane=2)
    tokens = [bearer(es256.token(good_claims | {"jti": str(n)})) for n in range(2)]
    waiting = [asyncio.ensure_future(gate.authenticate(each, now=NOW)) for each in tokens]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert gate._waiting == 0
    assert await gate.authenticate(tokens[0], now=NOW)


async def test_keys_that_never_come_have_a_deadline(monkeypatch, es256, keys, good_claims) -> None:
    monkeypatch.setattr(authenticate, "LANE_SECONDS", 0.01)
    arrived = threading.Event()
    monkeypatch.setattr(keys, "load", lambda: arrived.wait(30))
    try:
        error = await refusal(Authenticator([trusted(keys)]), bearer(es256.token(good_claims)))
    finally:
        arrived.set()
    assert type(error) is KeysUnavailable
    assert error.reason == "keys-slow"


async def test_ready_says_whether_the_keys_are_there(keys) -> None:
    gate = Authenticator([trusted(keys)])
    assert gate.ready().ok
    keys.jwks = ()
    state = gate.ready()
    assert not state.ok
    assert "keys-unreadable" in state.detail


async def test_a_token_that_was_good_does_not_queue_behind_a_flood(
    es256, keys, good_claims
) -> None:
    gate = Authenticator([trusted(keys)], lane=1)
    good = bearer(es256.token(good_claims))
    await gate.authenticate(good, now=NOW)
    gate._waiting = 1  # the lane is full of tokens that nobody has seen
    new = bearer(es256.token({**good_claims, "jti": "another"}))
    assert isinstance(await refusal(gate, new, NOW + 61), Overloaded)
    assert gate.cached(good, now=NOW + 61) is None
    assert (await gate.authenticate(good, now=NOW + 61)).subject == "clinician-7"
    assert gate.cached(good, now=NOW + 62) is not None
    assert isinstance(await refusal(gate, good, NOW + 601), Overloaded)  # it ended: no way past


async def test_tokens_never_sent_again_leave_room_for_those_that_are(
    es256, keys, good_claims
) -> None:
    gate = Authenticator([trusted(keys)], cache_tokens=1)
    first = bearer(es256.token({**good_claims, "jti": "first"}))
    second = bearer(es256.token({**good_claims, "jti": "second"}))
    for headers in (first, second):
        await gate.authenticate(headers, now=NOW)
        assert gate.cached(headers, now=NOW + 61) is None
    gate._waiting = authenticate.LANE  # the lane is full of tokens that nobody has seen
    assert isinstance(await refusal(gate, first, NOW + 61), Overloaded)
    assert (await gate.authenticate(second, now=NOW + 61)).token_id == "second"
