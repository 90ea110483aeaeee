"""Decides whether a call may go out to a service that has stopped answering.

After `failures` failures in a row no call goes out until a pause is over. Then one call goes out as
a probe in each pause, and pauses double up to a bound; the first success ends it all. Calls in
between are refused at once rather than left to wait for a connection that will not come.

Time comes in as `now`, seconds of one monotonic clock.
"""

from __future__ import annotations

from wardgate.errors import EngineUnavailable


class Breaker:
    """Closed at first. `failures` in a row open it; `pause_first` and `pause_most` in seconds."""

    def __init__(
        self, *, failures: int = 3, pause_first: float = 0.1, pause_most: float = 2.0
    ) -> None:
        self._most_failures = failures
        self._first, self._most = pause_first, pause_most
        self._failures = 0
        self._pause = pause_first
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for probes."""
        return self._failures >= self._most_failures

    def enter(self, now: float) -> None:
        """Let a call out, or raise EngineUnavailable with `retry_after`.

        While open, one call in each pause is let out as a probe: it need not report back, so a
        caller that leaves cannot keep the breaker open.
        """
        if not self.open:
            return
        if now < self._until:
            raise EngineUnavailable(reason="breaker-open", retry_after=self._until - now)
        self._pause = min(2 * self._pause, self._most)
        self._until = now + self._pause

    def failed(self, now: float) -> None:
        """Count a call that did not reach the service, or lost it."""
        if self.open:  # calls that were out when it opened, or a probe: its pause runs already
            return
        self._failures += 1
        if self.open:
            self._until = now + self._pause

    def succeeded(self) -> None:
        """Close: the service answered, whatever the answer was."""
        self._failures = 0
        self._pause = self._first
