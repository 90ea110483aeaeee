"""Latencies as HDR histograms: every value within 0.1 %, mergeable over rounds, small in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wardgate.cli.bench.table import Invalid

LARGEST = 3_600_000_000
"""Microseconds: an hour."""
DIGITS = 3
"""Significant digits kept: values differ from the true ones by less than 0.1 %."""
SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Latencies:
    """Latencies in milliseconds, kept in microseconds. Raises Invalid without `wardgate[bench]`."""

    def __init__(self) -> None:
        self._kept = _library().HdrHistogram(1, LARGEST, DIGITS)

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> Latencies:
        """Return the histogram of these values."""
        made = cls()
        for value in milliseconds:
            made._kept.record_value(min(LARGEST, max(1, round(value * 1000))))
        return made

    @classmethod
    def decode(cls, text: str) -> Latencies:
        """Return the histogram that `encode` wrote."""
        made = cls()
        made._kept = _library().HdrHistogram.decode(text)
        return made

    def encode(self) -> str:
        """Return it as HdrHistogram V2, compressed, in base64, which other tools read."""
        return str(self._kept.encode().decode())

    def add(self, other: Latencies) -> None:
        """Add the values of another."""
        self._kept.add(other._kept)

    def __len__(self) -> int:
        return int(self._kept.total_count)

    def percentile(self, share: float) -> float:
        """Return the value below which `share` of all lie, milliseconds; 0 where there is none."""
        return self.percentiles([share])[0]

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return the values of several shares, in one pass."""
        if not len(self):
            return [0.0] * len(shares)
        asked = [share * 100 for share in shares]
        found = self._kept.get_percentile_to_value_dict(asked)
        return [float(found[each]) / 1000 for each in asked]

    def summary(self) -> dict[str, float]:
        """Return percentiles and the largest value, milliseconds."""
        *values, most = self.percentiles([*SHARES, 1.0])
        found = {f"p{share * 100:g}_ms": v for share, v in zip(SHARES, values, strict=True)}
        return {**found, "max_ms": most}

    def curve(self, points: int = 60) -> list[tuple[float, float]]:
        """Return (share, milliseconds), closer towards the slowest, for a plot."""
        deepest = max(2.0, min(5.0, len(str(len(self)))))
        shares = [1 - 10 ** (-deepest * step / points) for step in range(points + 1)]
        return list(zip(shares, self.percentiles(shares), strict=True))


def _library() -> Any:
    try:
        import hdrh.histogram  # noqa: PLC0415 -- an extra
    except ImportError:
        raise Invalid(
            "'wardgate bench' needs packages of its own: install 'wardgate[bench]'."
        ) from None
    return hdrh.histogram
