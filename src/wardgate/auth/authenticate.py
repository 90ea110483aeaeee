"""Who is calling: from the Authorization header to a principal.

A token seen before costs one hash and one look-up. A new token waits for its turn in a lane that
checks one signature in each turn of the event loop and holds a bounded number of tokens, so that a
flood of bad tokens cannot slow the callers whose tokens are known. A signature check takes less
than 0.1 ms and may hold the interpreter lock; a thread would cost more than it saves.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wardgate.auth import claims, jws, permissions
from wardgate.auth.keys import KeySource
from wardgate.auth.keyset import KeySet
from wardgate.errors import KeysUnavailable, Overloaded, TokenInvalid, TokenMissing
from wardgate.types import CheckState, Principal

CACHE_SECONDS = 60.0
"""A token is verified anew after this time, whatever its own end."""
LANE = 64
"""New tokens that may wait for verification."""
LANE_SECONDS = 2.0
"""Deadline of a new token; only an issuer whose keys cannot be read makes it pass."""
_SCHEME = b"bearer "


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens are accepted, and on which terms."""

    issuer: str
    """The `iss` of its tokens, byte for byte."""
    audience: str
    """The `aud` that its tokens must name."""
    keys: KeySource
    algorithms: frozenset[str]
    """Signature algorithms accepted from it, as far as a key agrees."""
    token_types: frozenset[str] = frozenset({"at+jwt", "application/at+jwt"})
    """Accepted `typ` headers (RFC 9068 §2.1)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A verified token, good in `[since, until)` (Unix seconds) under one generation of keys."""

    principal: Principal
    audience: tuple[str, ...]
    issuer: TrustedIssuer
    generation: int
    since: float
    until: float


class Authenticator:
    """Verifies bearer tokens and remembers those that were good.

    `leeway`: seconds of clock difference allowed for `nbf` and `iat`. `cache_tokens`: good tokens
    remembered, 0 for none. `max_token_bytes`: longest token. Belongs to one event loop.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        leeway: float = 30.0,
        cache_tokens: int = 4_096,
        max_token_bytes: int = jws.MAX_BYTES,
        lane: int = LANE,
    ) -> None:
        """Raise ValueError where two issuers have one name."""
        self._issuers: Mapping[str, TrustedIssuer] = {each.issuer: each for each in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("two issuers have one name")
        self._leeway = leeway
        self._cache_tokens = cache_tokens
        self._max_token_bytes = max_token_bytes
        self._max_waiting = lane
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._cache: dict[bytes, _Entry] = {}
        self._lapsed: dict[bytes, None] = {}
        self._loaded: dict[str, tuple[int, KeySet]] = {}

    def cached(self, authorization: Sequence[bytes], *, now: float) -> Principal | None:
        """Return the principal of a token that is known to be good; None leaves it to others.

        Checked on every hit: the token's end, its audience and the generation of the keys.
        """
        if len(authorization) != 1:
            return None
        value = authorization[0]
        if value[:7].lower() != _SCHEME or len(value) > self._max_token_bytes + 7:
            return None
        digest = hashlib.sha256(value[7:]).digest()
        entry = self._cache.get(digest)
        if entry is None:
            return None
        issuer = entry.issuer
        if (
            entry.since <= now < entry.until
            and issuer.audience in entry.audience
            and issuer.keys.generation(now) == entry.generation
        ):
            return entry.principal
        del self._cache[digest]
        if now < entry.principal.expires_at:
            if len(self._lapsed) >= self._cache_tokens:  # tokens never sent again must not fill it
                del self._lapsed[next(iter(self._lapsed))]
            self._lapsed[digest] = None
        return None

    async def authenticate(self, authorization: Sequence[bytes], *, now: float) -> Principal:
        """Return the principal of the bearer token in the Authorization headers of a request.

        `authorization` holds the value of every such header as it came; `now` is Unix seconds.

        Raises TokenMissing where there is no bearer token, TokenInvalid with the reason where it is
        not accepted, KeysUnavailable where its issuer's keys cannot be had, Overloaded where too
        many new tokens wait.
        """
        known = self.cached(authorization, now=now)
        if known is not None:
            return known
        token = _bearer(authorization)
        unverified = jws.parse(token, max_bytes=self._max_token_bytes)
        issuer = self._issuer(unverified.payload)
        digest = hashlib.sha256(token).digest()
        if digest in self._lapsed:
            # It was good a minute ago: it does not queue behind tokens that nobody has seen.
            del self._lapsed[digest]
            return await self._verify(token, unverified, issuer, now)
        if self._waiting >= self._max_waiting:
            raise Overloaded(reason="token-lane-full", retry_after=1.0)
        self._waiting += 1
        try:
            async with asyncio.timeout(LANE_SECONDS), self._turn:
                await asyncio.sleep(0)  # one verification in each turn of the loop
                known = self.cached(authorization, now=now)  # verified while this one waited
                if known is not None:
                    return known
                return await self._verify(token, unverified, issuer, now)
        except TimeoutError:
            raise KeysUnavailable(reason="keys-slow") from None
        finally:
            self._waiting -= 1

    def ready(self) -> CheckState:
        """Whether every issuer's keys are there; reads files that have changed."""
        for issuer in self._issuers.values():
            try:
                issuer.keys.load()
            except KeysUnavailable as error:
                return CheckState("keys", ok=False, detail=f"{error.sentence} ({error.reason})")
        return CheckState("keys", ok=True)

    def _issuer(self, payload: bytes) -> TrustedIssuer:
        """Return whose keys to use; the claim is no more than a hint until the signature holds."""
        name = claims.load(payload).get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenInvalid(reason="iss-refused")
        return issuer

    async def _verify(
        self, token: bytes, unverified: jws.Unverified, issuer: TrustedIssuer, now: float
    ) -> Principal:
        generation, keys = await self._keys(issuer, now)
        verified = jws.check_signature(unverified, keys, algorithms=issuer.algorithms)
        said = claims.check(
            verified.payload,
            verified.header,
            issuer=issuer.issuer,
            audience=issuer.audience,
            token_types=issuer.token_types,
            leeway=self._leeway,
            now=now,
        )
        principal = Principal(
            issuer=said.issuer,
            subject=said.subject,
            client=said.client,
            tenant=said.tenant,
            scopes=permissions.known(said.scopes),
            token_id=said.token_id,
            expires_at=said.expires_at,
        )
        until = min(said.expires_at, now + CACHE_SECONDS)
        self._remember(token, _Entry(principal, said.audience, issuer, generation, now, until))
        return principal

    async def _keys(self, issuer: TrustedIssuer, now: float) -> tuple[int, KeySet]:
        """Return the issuer's keys; a change is read in a thread."""
        generation = issuer.keys.generation(now)
        loaded = self._loaded.get(issuer.issuer)
        if loaded is None or loaded[0] != generation:
            loaded = generation, await asyncio.to_thread(issuer.keys.load)
            self._loaded[issuer.issuer] = loaded
        return loaded

    def _remember(self, token: bytes, entry: _Entry) -> None:
        """Keep a good token; the one kept longest makes room."""
        if self._cache_tokens == 0:
            return
        if len(self._cache) >= self._cache_tokens:
            del self._cache[next(iter(self._cache))]
        self._cache[hashlib.sha256(token).digest()] = entry


def _bearer(authorization: Sequence[bytes]) -> bytes:
    """Return the token of the one header `Authorization: Bearer <token>` (RFC 6750 §2.1)."""
    if not authorization:
        raise TokenMissing
    if len(authorization) > 1:
        raise TokenInvalid(reason="authorization-repeated")
    value = authorization[0]
    if value[:7].lower() != _SCHEME or len(value) == len(_SCHEME):
        raise TokenMissing(reason="authorization-scheme")
    return value[7:]
