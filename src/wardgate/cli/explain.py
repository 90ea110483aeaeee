"""`wardgate deid --explain`: a line for every span: where, what, who found it, and what it beat.

Offsets and labels alone: what stands there is the reader's own text.
"""

from __future__ import annotations

from collections.abc import Iterable

from wardgate.deid.resolve import Claim, Explanation


def lines(told: Iterable[Explanation]) -> Iterable[str]:
    """Give a line for every span and for everything that was ruled out."""
    for each in told:
        place = f"{each.start}-{each.end}"
        beaten = "; ".join(map(_claim, each.beat))
        if each.label is None:
            yield f"{place:<12} -            ruled out: {beaten} (tagger's odds {each.odds:.2f})"
            continue
        won = "another reading or the site" if each.won is None else _claim(each.won)
        beat = f", beat {beaten}" if beaten else ""
        yield f"{place:<12} {each.label:<12} {won}{beat}"


def _claim(claim: Claim) -> str:
    kind = "" if claim.kind is None else f" {claim.kind}"
    return f"{claim.layer} {claim.label}{kind} {claim.score:.2f} at {claim.start}-{claim.end}"
