"""De-identification as the flow uses it: detector, processes for long texts, patient pseudonyms."""

from __future__ import annotations

import asyncio
import time

from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.policyfile import Catalog
from wardgate.deid.pool import LongTextPool
from wardgate.deid.pseudonym import Pseudonyms
from wardgate.errors import DeadlineExceeded, DetectorFailed, Overloaded
from wardgate.types import PHI, CheckState, Deidentified, RequestContext

_RESTART_SECONDS = 4.0
"""A process for long texts that ended is up again within this time."""


class Detector:
    """One gateway process's detector; `start` it, `close` it."""

    def __init__(
        self,
        policy: str,
        *,
        pseudonym_key: bytes,
        inline_chars: int,
        processes: int,
        catalog: Catalog | None = None,
        secret: bytes | None = None,
        vault: bool = False,
    ) -> None:
        """Take the default policy by name.

        `catalog`, `secret` and `vault` are those of `Deidentifier`. Raises PolicyUnknown, or
        SettingsInvalid where the default cannot be carried out.
        """
        self._deidentifier = Deidentifier(
            policy,
            catalog=catalog,
            secret=secret,
            vault=vault,
        )
        self._pool = LongTextPool(
            self._deidentifier, processes=processes, inline_chars=inline_chars
        )
        self.pseudonym = Pseudonyms(pseudonym_key)
        self.chosen = self._deidentifier.chosen
        """Returns a policy by name. Raises PolicyUnknown."""
        self.strengths: dict[str, int] = {}
        """Each policy against the default: 0 it is the default, 1 nowhere weaker, -1 weaker.
        It changes with the policies."""
        self.safe_harbor: set[str] = set()
        """The policies whose text is de-identified by Safe Harbor. It changes with them too."""
        self._rank()

    async def start(self) -> None:
        """Start the processes for long texts. Raises DetectorFailed."""
        await self._pool.start()

    async def close(self) -> None:
        """End them."""
        await self._pool.stop()

    def take(self, catalog: Catalog) -> None:
        """Go by other policies from now on.

        Raises PolicyUnknown or SettingsInvalid where the default is not among them or cannot be
        carried out; then the old ones stay in force.
        """
        self._deidentifier.take(catalog)
        self._rank()

    def _rank(self) -> None:
        """Work out anew how each policy stands to the default; in one turn of the event loop."""
        known = self._deidentifier.catalog.policies
        default = known[self._deidentifier.policy]
        self.strengths.clear()
        self.strengths |= {
            name: 0 if other is default else -1 if other.weaker_than(default) else 1
            for name, other in known.items()
        }
        self.safe_harbor.clear()
        self.safe_harbor |= {name for name, other in known.items() if other.standard}

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
        return self._deidentifier.chosen(policy).hash

    async def deidentify(
        self,
        text: PHI,
        *,
        policy: str,
        context: RequestContext,
        deadline: float,
        policy_hash: str | None = None,
        tenant: str = "",
    ) -> Deidentified:
        """Return de-identified text; `deadline` in seconds of `time.monotonic()`.

        `policy_hash` is that of the policy when it was decided on, None for now.
        Years are measured against the note's own date where the caller gave it, else against today.
        Raises PolicyUnknown, DetectorFailed, Overloaded or DeadlineExceeded.
        """
        try:
            return await self._pool.deidentify(
                text,
                policy=policy,
                policy_hash=policy_hash,
                tenant=tenant,
                patient=context.patient,
                reference_date=context.reference_date or "today",
                timeout=max(0.0, deadline - time.monotonic()),
            )
        except (DetectorFailed, Overloaded):
            if time.monotonic() >= deadline:
                raise DeadlineExceeded from None
            raise
