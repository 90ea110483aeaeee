"""De-identification as the flow uses it: detector, processes for long texts, patient pseudonyms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from wardgate.deid import policy as policies
from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.pool import LongTextPool
from wardgate.deid.pseudonym import Pseudonyms
from wardgate.errors import DeadlineExceeded, DetectorFailed, Overloaded
from wardgate.types import PHI, CheckState, Deidentified, RequestContext

_RESTART_SECONDS = 4.0
"""A process for long texts that ended is up again within this time."""


class Detector:
    """One gateway process's detector; `start` it, `close` it."""

    def __init__(
        self, policy: str, *, pseudonym_key: bytes, inline_chars: int, processes: int
    ) -> None:
        """Take the default policy by name. Raises PolicyUnknown."""
        default = policies.get(policy)
        self._pool = LongTextPool(
            Deidentifier(policy), processes=processes, inline_chars=inline_chars
        )
        self.pseudonym = Pseudonyms(pseudonym_key)
        self.strengths: Mapping[str, int] = {
            name: 0 if name == policy else -1 if other.weaker_than(default) else 1
            for name, other in policies.shipped().items()
        }
        """Each policy against the default: 0 it is the default, 1 nowhere weaker, -1 weaker."""

    async def start(self) -> None:
        """Start the processes for long texts. Raises DetectorFailed."""
        await self._pool.start()

    async def close(self) -> None:
        """End them."""
        await self._pool.stop()

    async def check(self) -> CheckState:
        """Say whether the processes for long texts are up; one that is replaced gets some time."""
        end = time.monotonic() + _RESTART_SECONDS
        while not self._pool.ready and time.monotonic() < end:  # noqa: ASYNC110 -- a rare wait
            await asyncio.sleep(0.1)
        if self._pool.ready:
            return CheckState("detector", ok=True)
        return CheckState("detector", ok=False, detail="a process for long texts is not up")

    def policy_hash(self, policy: str) -> str:
        """Return the SHA-256 of a policy, hex. Raises PolicyUnknown."""
        return policies.get(policy).hash

    async def deidentify(
        self, text: PHI, *, policy: str, context: RequestContext, deadline: float
    ) -> Deidentified:
        """Return de-identified text; `deadline` in seconds of `time.monotonic()`.

        Years are measured against the note's own date where the caller gave it, else against today.
        Raises PolicyUnknown, DetectorFailed, Overloaded or DeadlineExceeded.
        """
        try:
            return await self._pool.deidentify(
                text,
                policy=policy,
                reference_date=context.reference_date or "today",
                timeout=max(0.0, deadline - time.monotonic()),
            )
        except (DetectorFailed, Overloaded):
            if time.monotonic() >= deadline:
                raise DeadlineExceeded from None
            raise
