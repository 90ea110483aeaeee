from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.auth import claims
from wardgate.errors import TokenInvalid

NOW = 1_800_000_000.0
MISSING = object()
LEEWAY = 30


def check(said: Any, *, header: Any = None, now: float = NOW) -> claims.Claims:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return claims.check(
        payload,
        {"typ": "at+jwt"} if header is None else header,
        issuer="https://issuer.example",
        audience="wardgate",
        token_types=("at+jwt", "application/at+jwt"),
        leeway=LEEWAY,
        now=now,
    )


def reason(said: Any, **options: Any) -> str:
    with pytest.raises(TokenInvalid) as caught:
        check(said, **options)
    return caught.value.reason


def changed(good: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    rest = {key: each for key, each in good.items() if key != name}
    return rest if value is MISSING else {**rest, name: value}


def test_a_good_token_is_read(good_claims) -> None:
    assert check(good_claims) == claims.Claims(
        issuer="https://issuer.example",
        subject="clinician-7",
        audience=("wardgate",),
        token_id="0d6f7a2e",
        client="ward-app",
        tenant="north",
        scopes=frozenset({"infer:sentiment", "deid", "openid"}),
        expires_at=NOW + 600,
        not_before=0.0,
    )


WRONG_NAMES = [
    None,
    True,
    7,
    1.5,
    [],
    {},
    ["a"],
    "",
    "a" * 256,
    "a\nb",
    "a\x00",
    "\u202ea",
    "\ud800",
]

TABLE = [
    # -- missing
    *[(name, MISSING, f"{name}-missing") for name in ("iss", "sub", "jti", "aud", "exp")],
    # -- of the wrong type, empty, too long, with control characters
    *[(name, wrong, f"{name}-invalid") for name in ("iss", "sub", "jti") for wrong in WRONG_NAMES],
    *[(name, wrong, f"{name}-invalid") for name in ("client_id", "azp") for wrong in WRONG_NAMES],
    *[
        ("aud", wrong, "aud-invalid")
        for wrong in (None, True, 7, {}, "", [], [7], ["wardgate", None], [["wardgate"]])
    ],
    ("aud", ["wardgate"] * 17, "aud-invalid"),
    ("aud", "a" * 256, "aud-invalid"),
    *[
        (name, wrong, f"{name}-invalid")
        for name in ("exp", "nbf", "iat")
        for wrong in (None, True, False, "1800000600", [1], {}, -1, -0.5, 1e300, 253_402_300_800)
    ],
    ("exp", int(NOW + 600) * 1000, "exp-invalid"),
    # -- not ours
    ("iss", "https://issuer.example/", "iss-refused"),
    ("iss", "HTTPS://issuer.example", "iss-refused"),
    ("aud", "wardgate2", "aud-refused"),
    ("aud", "Wardgate", "aud-refused"),
    ("aud", ["other", "wardgate "], "aud-refused"),
    # -- at the boundary: `exp` has no leeway, `nbf` and `iat` have
    ("exp", NOW, "expired"),
    ("exp", NOW - 1, "expired"),
    ("exp", 0, "expired"),
    ("exp", NOW + 0.5, None),
    ("exp", NOW + 1, None),
    ("exp", 253_402_300_799, None),
    ("nbf", NOW + LEEWAY, None),
    ("nbf", NOW + LEEWAY + 0.5, "not-yet-valid"),
    ("nbf", NOW + LEEWAY + 1, "not-yet-valid"),
    ("nbf", 0, None),
    ("nbf", MISSING, None),
    ("iat", NOW + LEEWAY, None),
    ("iat", NOW + LEEWAY + 1, "iat-future"),
    ("iat", MISSING, None),
    # -- accepted forms
    ("aud", ["wardgate"], None),
    ("aud", ["other", "wardgate"], None),
    ("aud", [*map(str, range(15)), "wardgate"], None),
    ("sub", "a" * 255, None),
    ("sub", "Zoë Müller", None),
    ("azp", "ward-app", None),
    ("azp", "another", "client-disagrees"),
    ("client_id", MISSING, None),
    # -- tenant
    *[
        ("tenant", wrong, "tenant-invalid")
        for wrong in (
            None,
            7,
            [],
            "",
            "North",
            "a b",
            "../x",
            "-a",
            "a-",
            "_a",
            "a" * 64,
            "a\n",
            "é",
        )
    ],
    ("tenant", "a" * 63, None),
    ("tenant", "st_mary-2", None),
    ("tenant", "a", None),
    # -- scope
    *[
        ("scope", wrong, "scope-invalid")
        for wrong in (
            None,
            7,
            False,
            {},
            [],
            ["deid"],
            " deid",
            "deid ",
            "a  b",
            "a\tb",
            'a"b',
            "é",
        )
    ],
    ("scope", " ".join(f"s{i}" for i in range(65)), "scope-invalid"),
    ("scope", "a" * 201, "scope-invalid"),
    ("scope", " ".join(f"s{i}" for i in range(64)), None),
    ("scope", "", None),
    ("scope", MISSING, None),
    ("scp", ["deid"], "scope-invalid"),  # beside `scope`
]


@pytest.mark.parametrize(("name", "value", "expected"), TABLE)
def test_claims(good_claims, name: str, value: Any, expected: str | None) -> None:
    said = changed(good_claims, name, value)
    if name == "azp" and expected == "azp-invalid":
        said.pop("client_id")
    if expected is None:
        check(said)
    else:
        assert reason(said) == expected


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "sub", "jti", "scope", "tenant", "custom"])
@pytest.mark.parametrize("same", [True, False])
def test_a_duplicate_claim_is_refused(good_claims, name: str, same: bool) -> None:
    value = json.dumps(good_claims.get(name, "x"))
    other = value if same else json.dumps("y")
    rest = json.dumps(changed(good_claims, name, MISSING))[1:]
    assert reason(f'{{"{name}":{value},"{name}":{other},{rest}'.encode()) == "claims-duplicate"


def test_a_duplicate_inside_a_claim_is_refused(good_claims) -> None:
    rest = json.dumps(good_claims)[1:]
    assert reason(f'{{"act":{{"sub":"a","sub":"b"}},{rest}'.encode()) == "claims-duplicate"
    assert reason(f'{{"x":[{{"a":1,"\\u0061":1}}],{rest}'.encode()) == "claims-duplicate"


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_none_are_refused(good_claims, number: bytes) -> None:
    rest = json.dumps(changed(good_claims, "exp", MISSING)).encode()[1:]
    assert reason(b'{"exp":' + number + b"," + rest) == "claims-json"


def test_a_number_too_large_for_a_float_is_refused(good_claims) -> None:
    rest = json.dumps(changed(good_claims, "exp", MISSING)).encode()[1:]
    assert reason(b'{"exp":1e999,' + rest) == "exp-invalid"
    assert reason(b'{"exp":' + b"9" * 400 + b"," + rest) == "exp-invalid"


@pytest.mark.parametrize("payload", [b"", b"foo", b"[]", b"null", b"\xff", b"[" * 90_000])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    assert reason(payload) == "claims-json"


@pytest.mark.parametrize(
    "typ",
    [MISSING, None, "", "JWT", "jwt", "id+jwt", "at+jwt ", "at", 7, ["at+jwt"], "at+jwt\u212a"],
)
def test_only_access_tokens_are_taken(good_claims, typ: Any) -> None:
    header = {} if typ is MISSING else {"typ": typ}
    assert reason(good_claims, header=header) == "typ-refused"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_the_type_ignores_case(good_claims, typ: str) -> None:
    assert check(good_claims, header={"typ": typ})


def test_what_is_not_said_has_a_default(good_claims) -> None:
    for name in ("client_id", "tenant", "scope"):
        good_claims.pop(name)
    said = check(good_claims)
    assert (said.client, said.tenant, said.scopes) == ("", "default", frozenset())


@pytest.mark.parametrize("scp", [["deid", "audit:read"], "deid audit:read"])
def test_scp_is_read_where_there_is_no_scope(good_claims, scp: Any) -> None:
    said = {**changed(good_claims, "scope", MISSING), "scp": scp}
    assert check(said).scopes == {"deid", "audit:read"}


@pytest.mark.parametrize("scp", [[7], [None], ["a b"], [""], None, 0, {}])
def test_wrong_scp_is_refused(good_claims, scp: Any) -> None:
    said = {**changed(good_claims, "scope", MISSING), "scp": scp}
    assert reason(said) == "scope-invalid"


@given(
    now=st.floats(0, claims.MAX_DATE, allow_nan=False),
    exp=st.floats(0, claims.MAX_DATE, allow_nan=False),
    nbf=st.floats(0, claims.MAX_DATE, allow_nan=False),
)
def test_a_token_is_good_in_its_time_and_in_no_other(now: float, exp: float, nbf: float) -> None:
    said = {"iss": "https://issuer.example", "aud": "wardgate", "sub": "a", "jti": "b"}
    try:
        check({**said, "exp": exp, "nbf": nbf}, now=now)
    except TokenInvalid:
        assert now >= exp or now + LEEWAY < nbf
    else:
        assert nbf - LEEWAY <= now < exp


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
        max_leaves=8,
    ),
    st.sampled_from(["iss", "aud", "exp", "sub", "jti", "nbf", "iat", "scope", "tenant", "azp"]),
)
def test_no_value_raises_anything_but_a_refusal(value: Any, name: str) -> None:
    said = {
        "iss": "https://issuer.example", "aud": "wardgate", "sub": "a", "jti": "b",
        "exp": NOW + 9, name: value,
    }  # fmt: skip
    try:
        found = check(said)
    except TokenInvalid:
        return
    assert found.issuer == "https://issuer.example"
    assert "wardgate" in found.audience
    assert found.expires_at > NOW
