"""Sends many notes to `POST /v1/predict`: waits and tries again, and finds the row to blame.

What a refusal means is decided by its slug (`docs/reference/errors.md`): a row's own fault is that
row's result; a gateway that is busy or away is asked again; all else stops the job. A fault that
may be either is a row's only where the gateway answers others meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from wardgate.cli.journal import Stopped
from wardgate.cli.jsonl import Broken
from wardgate.errors import (
    BodyInvalid,
    BodyTooLarge,
    DeadlineExceeded,
    DetectorFailed,
    ModelOutputInvalid,
    NoteExceedsModel,
    SecondLookFailed,
    TextTooLong,
    WardgateError,
    tree,
)

_SENTENCES = {error.slug: error.sentence for error in tree()}
_TO_BLAME = frozenset(
    {TextTooLong.slug, BodyTooLarge.slug, NoteExceedsModel.slug, SecondLookFailed.slug}
)
"""A row is to blame, and another try would end the same."""
_DOUBTFUL = frozenset(
    {DeadlineExceeded.slug, DetectorFailed.slug, ModelOutputInvalid.slug, WardgateError.slug}
)
"""A row may be to blame, or the moment."""
_LATER = frozenset({408, 429, 502, 503, 504})
_UNAUTHORIZED = 401
_TRIES = 3
"""Tries for a row that is doubtful on its own."""
_PROBE = "The patient is well."
"""A made-up note: shows whether a row is to blame or the gateway."""
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
"""Seconds between tries: doubled each time, up to the longest."""

Row = dict[str, Any]
"""What the gateway answers for a text, with `version` and `request_id`."""


class _Refusal(Exception):
    """The request was refused for what one of its rows may be."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


class _Later(Exception):
    """The gateway cannot answer at the moment."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.seconds = seconds


@dataclass(slots=True)
class Sender:
    """Asks the gateway, at most `room` requests at once; `stop` ends every wait."""

    client: httpx.AsyncClient
    address: Callable[[], str]
    """Where the gateway is; asked for each try, since a gateway may come back elsewhere."""
    token: Callable[[], str]
    """Gives an access token; asked again once one is no longer accepted."""
    fields: Mapping[str, Any]
    """Members of the request body besides `texts`."""
    room: asyncio.Semaphore
    stop: asyncio.Event
    patience: float
    """Seconds that the gateway may be away or busy before the job stops."""
    tell: Callable[[str], None]
    """Shows a sentence of ours to the user."""
    most: int
    """Rows in a request; lowered where the gateway takes fewer."""
    retried: int = 0
    _bearer: str = field(default="", repr=False)
    _answered: float = 0.0
    _told: bool = False

    async def answer(self, texts: Sequence[str]) -> list[Row | Broken]:
        """Return the gateway's row for each text, or why it has none.

        Raises Stopped where no answer is to be had.
        """
        if not texts:
            return []
        try:
            return list(await self._insist(texts))
        except _Refusal as refusal:
            if len(texts) == 1:
                return [Broken(refusal.slug, _SENTENCES[refusal.slug])]
            if refusal.slug == BodyInvalid.slug:  # more rows than the gateway takes
                self.most = min(self.most, len(texts) // 2)
        middle = len(texts) // 2
        return [*await self.answer(texts[:middle]), *await self.answer(texts[middle:])]

    async def _insist(self, texts: Sequence[str]) -> list[Row]:
        """Ask until there is an answer, or patience or a row's tries are used up."""
        begun, tries, wait = time.monotonic(), 0, _FIRST_WAIT
        renewed = False
        while True:
            try:
                async with self.room:
                    if self.stop.is_set():
                        raise Stopped
                    bearer = self._bearer = self._bearer or self.token()
                    reply = await self._post(texts, bearer)
                if reply.status_code == _UNAUTHORIZED:
                    self._renew(bearer, again=not renewed)
                    renewed = True
                    continue
                rows = self._rows(reply, len(texts))
            except WardgateError as error:  # of the state folder
                raise Stopped(error.detail) from None
            except _Refusal as refusal:
                tries, pause = tries + 1, wait
                if len(texts) > 1 or refusal.slug not in _DOUBTFUL:
                    raise
                if tries >= _TRIES:
                    await self._blame(refusal, pause, since=begun)
            except _Later as later:
                pause = max(later.seconds or 0.0, wait)
                self._check_patience(later, pause, since=begun)
            else:
                self._answered, self._told = time.monotonic(), False
                return rows
            self.retried += 1
            wait = min(2 * wait, _LONGEST_WAIT)
            # spread, or all that were refused together come back together
            await self._wait(pause * random.uniform(1.0, 1.25))  # noqa: S311 -- no secret

    async def _blame(self, refusal: _Refusal, pause: float, *, since: float) -> None:
        """Raise the refusal where the gateway answers another text; the gateway's fault if not."""
        if self._answered <= since:
            try:
                async with self.room:
                    self._rows(await self._post([_PROBE], self._bearer), 1)
            except (_Refusal, _Later):
                self._check_patience(_Later(_SENTENCES[refusal.slug]), pause, since=since)
                return
        raise refusal

    def _check_patience(self, later: _Later, pause: float, *, since: float) -> None:
        """Tell once that the gateway is away. Raises Stopped where a pause would be too long."""
        left = max(since, self._answered) + self.patience - time.monotonic()
        if pause > left:
            asked = f" It asks to wait {pause:,.0f} s." if later.seconds else ""
            raise Stopped(later.why + asked) from None
        if not self._told:
            self._told = True
            self.tell(f"{later.why} Trying again for up to {left:,.0f} s.")

    async def _post(self, texts: Sequence[str], bearer: str) -> httpx.Response:
        try:
            address = self.address()
        except WardgateError as error:  # a gateway that restarts has no address for a moment
            raise _Later(error.detail) from None
        body = json.dumps({**self.fields, "texts": texts}, ensure_ascii=False)
        try:
            return await self.client.post(
                f"{address}/v1/predict",
                content=body.encode(),
                headers={"authorization": f"Bearer {bearer}", "content-type": "application/json"},
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise Stopped(f"{address} did not answer ({type(error).__name__}).") from None
        except httpx.HTTPError as error:
            raise _Later(f"{address} did not answer ({type(error).__name__}).") from None

    def _renew(self, bearer: str, *, again: bool) -> None:
        """Take a new token where the one used is the current one."""
        if self._bearer != bearer:  # another request has taken one meanwhile
            return
        renewed = self.token() if again else bearer
        if renewed == bearer:
            raise Stopped("The gateway does not accept the access token, or no longer.")
        self._bearer = renewed

    def _rows(self, reply: httpx.Response, count: int) -> list[Row]:
        """Return the rows of a reply. Raises _Refusal, _Later or Stopped."""
        try:
            said = reply.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            said = {}
        if reply.status_code == httpx.codes.OK:
            rows = said.get("rows")
            if (
                not isinstance(rows, list)
                or len(rows) != count
                or not all(isinstance(row, dict) for row in rows)
            ):
                raise Stopped("The answer is not that of a Wardgate gateway.")
            more = {"version": said.get("version"), "request_id": said.get("request_id")}
            return [{**row, **more} for row in rows]
        slug = str(said.get("type", "")).rpartition(":")[2]
        if slug in _TO_BLAME or slug in _DOUBTFUL or (slug == BodyInvalid.slug and count > 1):
            raise _Refusal(slug)
        title = str(said.get("title", "no Wardgate gateway"))
        why = f"{reply.status_code} {title}: {said.get('detail', 'it answers in another form')}"
        if reply.status_code in _LATER:
            raise _Later(why, _seconds(reply.headers.get("retry-after")))
        raise Stopped(why)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)
        if self.stop.is_set():
            raise Stopped


def _seconds(retry_after: str | None) -> float | None:
    """Return `Retry-After` in seconds (RFC 9110 §10.2.3); a date counts as none."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
