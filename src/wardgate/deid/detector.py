"""De-identification as the flow uses it: the detector, its policies and the patient pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping

from wardgate.deid import policy as policies
from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.pseudonym import Pseudonyms
from wardgate.types import PHI, Deidentified, RequestContext


class Detector:
    """One process's detector."""

    def __init__(
        self, policy: str, *, pseudonym_key: bytes, inline_chars: int, processes: int
    ) -> None:
        """Take the default policy by name. Raises PolicyUnknown."""
        self._deidentifier = Deidentifier(policy)
        self.pseudonym = Pseudonyms(pseudonym_key)
        self.strengths: Mapping[str, int] = {
            "limited_data_set": 0,
            "expert_determination": 1,
            "safe_harbor": 2,
        }

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def policy_hash(self, policy: str) -> str:
        """Return the SHA-256 of a policy, hex. Raises PolicyUnknown."""
        return policies.get(policy).hash

    async def deidentify(
        self, text: PHI, *, policy: str, context: RequestContext, deadline: float
    ) -> Deidentified:
        return self._deidentifier.deidentify(
            text, policy=policy, reference_date=context.reference_date or "today"
        )
