"""Was the load generator the bottleneck, rather than what it measured? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CPU_SHARE = 0.9
"""Of one processor: above it the generator may have had no time to send or to take answers."""
WAITED_SHARE = 0.25
"""Ready without a processor: above it others, the measured system too, kept it from working."""
LAG_SHARE, LAG_MS = 0.25, 2.0
"""Its lag at p99 may be a quarter of the latency at p50, and 2 ms are nothing to speak of."""


def bottleneck(measured: Mapping[str, Any]) -> list[str]:
    """Return reasons not to trust a measurement; none where the generator kept up."""
    own = measured["generator"]
    reasons = []
    if own["cpu_share"] > CPU_SHARE:
        reasons.append(f"the generator used {own['cpu_share']:.0%} of a processor")
    if own["waited_for_cpu_share"] > WAITED_SHARE:
        reasons.append(
            f"the generator stood without a processor {own['waited_for_cpu_share']:.0%} of the time"
        )
    lag = own["lag"]["p99_ms"]
    if lag > max(LAG_MS, LAG_SHARE * measured["p50_ms"]):
        reasons.append(f"the generator was {lag:.1f} ms late at p99")
    return reasons
