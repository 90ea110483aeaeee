"""How often and how much: rate, concurrency and quota of each principal, and a limit for all.

The table of principals is bounded. Only an entry that says nothing (full bucket, nothing in flight,
no quota used today) is dropped, so that no flood of principals resets the bucket of one of them;
where none can be dropped, a new principal is refused. Not thread-safe: one event loop owns it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from types import TracebackType
from typing import Self

from wardgate.errors import Overloaded, QuotaUsedUp, RateLimited, TooManyInFlight
from wardgate.types import Principal

DAY = 86_400
"""Seconds of a UTC day; Unix time has no leap seconds."""
RETRY_IN_FLIGHT = 1.0
"""Seconds to wait where only the end of another request makes room: nobody knows when."""
_SWEEP = 8
"""Entries looked at for each new principal, so that one call stays short."""

Key = tuple[str, str, str]


class _Account:
    """What one principal has used."""

    __slots__ = ("day", "in_flight", "tokens", "updated", "used")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.updated = now
        self.in_flight = 0
        self.day = 0
        self.used = 0


class Permit:
    """Room for one request; give it back once the work is done, or use it as a context."""

    __slots__ = ("_account", "_admission")

    def __init__(self, admission: Admission, account: _Account) -> None:
        self._admission = admission
        self._account: _Account | None = account

    def release(self) -> None:
        """Give the room back; a second call does nothing."""
        account, self._account = self._account, None
        if account is not None:
            account.in_flight -= 1
            self._admission.in_flight -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Admission:
    """Admits requests of known principals.

    `rate`: requests per second and principal; `burst`: requests at once after a pause;
    `concurrency`: requests in flight for each principal; `in_flight`: for all together; `quota`:
    requests per principal and UTC day, 0 for none; `principals`: size of the table.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        concurrency: int,
        in_flight: int,
        quota: int = 0,
        principals: int = 10_000,
    ) -> None:
        self.in_flight = 0
        """Requests admitted and not yet released."""
        self._rate = rate
        self._burst = float(burst)
        self._concurrency = concurrency
        self._max_in_flight = in_flight
        self._quota = quota
        self._principals = principals
        self._accounts: OrderedDict[Key, _Account] = OrderedDict()

    def admit(self, principal: Principal, now: float) -> Permit:
        """Admit one request or refuse it at once; a refused request uses up nothing.

        `now` is Unix seconds. A token's id is no part of who a principal is: a new token brings no
        new allowance.

        Raises Overloaded, TooManyInFlight, QuotaUsedUp or RateLimited, each with `retry_after`.
        """
        if self.in_flight >= self._max_in_flight:
            raise Overloaded(reason="in-flight-full", retry_after=RETRY_IN_FLIGHT)
        account = self._account((principal.issuer, principal.subject, principal.client), now)
        if account.in_flight >= self._concurrency:
            raise TooManyInFlight(retry_after=RETRY_IN_FLIGHT)
        self._refill(account, now)
        if self._quota and account.used >= self._quota:
            raise QuotaUsedUp(retry_after=(account.day + 1) * DAY - now)
        if account.tokens < 1.0:
            raise RateLimited(retry_after=(1.0 - account.tokens) / self._rate)
        account.tokens -= 1.0
        account.used += 1
        account.in_flight += 1
        self.in_flight += 1
        return Permit(self, account)

    def _refill(self, account: _Account, now: float) -> None:
        """Add what time has brought; a clock set back brings nothing."""
        elapsed = max(0.0, now - account.updated)
        account.tokens = min(self._burst, account.tokens + elapsed * self._rate)
        account.updated = now
        day = math.floor(now / DAY)
        if day > account.day:
            account.day, account.used = day, 0

    def _account(self, key: Key, now: float) -> _Account:
        account = self._accounts.get(key)
        if account is not None:
            self._accounts.move_to_end(key)
            return account
        if len(self._accounts) >= self._principals:
            self._make_room(now)
        account = self._accounts[key] = _Account(self._burst, now)
        return account

    def _make_room(self, now: float) -> None:
        """Drop an entry that says nothing, the longest unused first."""
        for _ in range(min(_SWEEP, len(self._accounts))):
            key, account = next(iter(self._accounts.items()))
            self._refill(account, now)
            used_today = self._quota and account.used
            if account.tokens >= self._burst and not account.in_flight and not used_today:
                del self._accounts[key]
                return
            self._accounts.move_to_end(key)
        raise Overloaded(reason="principals-full", retry_after=RETRY_IN_FLIGHT)
