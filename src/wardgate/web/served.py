"""The models that serve in this process, and who answers which request.

A `Rule` is what one model's standing means for a request; `Served` holds one for each name and
gives out leases. Leases are counted by the rule they were given under, so that a version goes only
when the last request routed to it has ended. Canary requests are chosen by a hash of the request's
id: at random, and by nothing about the caller.
"""

from __future__ import annotations

import functools
import hashlib
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from wardgate.errors import ModelUnknown
from wardgate.nlp.postprocess import predict
from wardgate.nlp.tokenize import Tokenizer
from wardgate.registry.golden import Golden
from wardgate.registry.manifest import TOKENIZER
from wardgate.registry.standing import BOUNDS, Arm, Goal, Tally
from wardgate.registry.store import LoadedModel
from wardgate.request import ServedModel
from wardgate.telemetry import CANARY
from wardgate.types import CleanText


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that this process can answer with, and the examples that say so."""

    served: ServedModel
    golden: tuple[Golden, ...]

    @classmethod
    def of(cls, model: LoadedModel) -> Prepared:
        """Make the tokenizer and what reads the logits."""
        manifest = model.manifest
        windows = manifest.windows
        tokenizer = _tokenizer(model, windows.overlap if windows else None)
        served = ServedModel(
            id=model.id,
            labels=manifest.labels,
            tokenize=tokenizer.encode,
            postprocess=functools.partial(
                predict, labels=manifest.labels, join=windows.join if windows else None
            ),
        )
        return cls(served, manifest.golden)


_tokenizers: WeakValueDictionary[tuple[object, ...], Tokenizer] = WeakValueDictionary()


def _tokenizer(model: LoadedModel, overlap: int | None) -> Tokenizer:
    """Return the model's tokenizer: that of another version where it is the same.

    Making one takes a tenth of a second of a processor.
    """
    max_length = model.manifest.max_length
    key = model.manifest.files[TOKENIZER].sha256, max_length, overlap
    found = _tokenizers.get(key)
    if found is None:
        found = _tokenizers[key] = Tokenizer(model.tokenizer, max_length, overlap)
    return found


class Count:
    """Counts of the requests that one version was given in this process."""

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self._slow = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count an answer and how long it took, seconds."""
        self.requests += 1
        self._slow[bisect_left(BOUNDS, seconds)] += 1

    def arm(self) -> Arm:
        """Return the counts so far."""
        return Arm(self.requests, self.errors, tuple(self._slow))


class Recent:
    """Counts of the last half to whole minute."""

    def __init__(self) -> None:
        self._now, self._before = Count(), Count()
        self._turned = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Count an answer that took `seconds`; `now` in seconds of one monotonic clock."""
        self._turn(now)
        self._now.add(seconds)

    def arm(self, now: float) -> Arm:
        """Return the counts."""
        self._turn(now)
        return self._before.arm() + self._now.arm()

    def _turn(self, now: float) -> None:
        if now - self._turned >= 2 * _RECENT_SECONDS:
            self._before, self._now, self._turned = Count(), Count(), now
        elif now - self._turned >= _RECENT_SECONDS:
            self._before, self._now, self._turned = self._now, Count(), now


_RECENT_SECONDS = 30.0


class Score:
    """Counts of one canary or shadow in this process."""

    def __init__(self, before: Arm | None = None) -> None:
        """`before` is what the version that serves did before the candidate saw requests."""
        self.stable, self.candidate = Count(), Count()
        self.before = before or Arm()
        self.agreed = self.differed = self.dropped = 0

    def failed(self) -> None:
        """Count a request that the candidate failed."""
        self.candidate.requests += 1
        self.candidate.errors += 1

    def tally(self) -> Tally:
        """Return the counts so far."""
        return Tally(
            self.stable.arm(),
            self.candidate.arm(),
            self.agreed,
            self.differed,
            self.dropped,
            self.before,
        )


_Model = TypeVar("_Model")


@dataclass(frozen=True, slots=True)
class Rule(Generic[_Model]):
    """How requests for one name are answered."""

    stable: _Model
    candidate: _Model | None = None
    """Sees requests, as a canary or as a shadow."""
    goal: Goal = Goal.PROMOTE
    percent: int = 0
    score: Score = field(default_factory=Score)
    recent: Recent = field(default_factory=Recent)

    def chosen(self, key: str) -> bool:
        """Whether the canary answers the request of this id."""
        if self.candidate is None or self.goal is not Goal.CANARY:
            return False
        # A request's id may be the caller's own: its hash spreads what that may have in common.
        digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % 10_000 < self.percent * 100


Mirror = Callable[[Rule[Prepared], Sequence[CleanText], Sequence[str]], None]
"""Shows the texts of a request, and the labels they got, to the shadow of a rule."""


class Leases:
    """Requests in flight, by the generation of the rules under which they were routed."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self._generation = 0

    def take(self, generation: int) -> None:
        """Count under this generation from the next request on."""
        self._generation = generation

    @property
    def drained(self) -> int:
        """The generation before which no request was routed that is still in flight."""
        return min(self._held, default=self._generation)

    def enter(self) -> Callable[[], None]:
        """Count a request; call what this returns, once, when it has ended."""
        under = self._generation
        self._held[under] += 1
        return functools.partial(self._leave, under)

    def _leave(self, under: int) -> None:
        self._held[under] -= 1
        if not self._held[under]:
            del self._held[under]


class Held:
    """A lease; see `request.Lease`."""

    __slots__ = ("_candidate", "_mirror", "_rule", "fallback", "leave", "model", "shadow")

    def __init__(
        self,
        leave: Callable[[], None],
        rule: Rule[Prepared],
        mirror: Mirror,
        *,
        canary: bool,
        named: bool,
    ) -> None:
        """Hold the rule; `named` says that the caller asked for this version and takes no other."""
        self.leave, self._rule, self._mirror = leave, rule, mirror
        self._candidate = canary
        self.model = rule.stable.served
        self.fallback: ServedModel | None = None
        self.shadow = ""
        candidate = rule.candidate
        if candidate is not None and canary:
            self.model = candidate.served
            self.fallback = None if named else rule.stable.served
        elif candidate is not None and rule.goal is Goal.SHADOW:
            self.shadow = candidate.served.id.version

    def until(self, now: float, deadline: float) -> float:
        """As `request.Lease.until`: a canary gets half of the time that is left."""
        return deadline if self.fallback is None else now + (deadline - now) / 2

    def answered(self, seconds: float) -> None:
        """As `request.Lease.answered`."""
        rule = self._rule
        if not self._candidate:
            rule.recent.add(seconds, time.monotonic())
        if rule.goal is Goal.CANARY:
            (rule.score.candidate if self._candidate else rule.score.stable).add(seconds)
            arm = "candidate" if self._candidate else "stable"
            CANARY.labels(self.model.id.name, arm, "ok").inc()

    def failed(self) -> None:
        """As `request.Lease.failed`."""
        self._rule.score.failed()
        CANARY.labels(self.model.id.name, "candidate", "failed").inc()

    def mirror(self, texts: Sequence[CleanText], labels: Sequence[str]) -> None:
        """As `request.Lease.mirror`."""
        if self.shadow:
            self._mirror(self._rule, texts, labels)


class Served:
    """The text models that serve; see `request.Models`. A `Host` of `web/follow.py`."""

    def __init__(
        self, rules: Mapping[str, Rule[Prepared]] | None = None, *, mirror: Mirror
    ) -> None:
        self._rules = dict(rules or {})
        self._mirror = mirror
        self._leases = Leases()

    def prepare(self, model: LoadedModel) -> Prepared:
        """Make what this process needs to answer with a model."""
        return Prepared.of(model)

    def differs(self, model: Prepared, beside: Prepared) -> str:
        """Say why a version cannot take the place of another: its callers must not notice."""
        if model.served.labels != beside.served.labels:
            return "its labels are not those of the version that serves"
        return ""

    def take(self, generation: int, rules: Mapping[str, Rule[Prepared]]) -> None:
        """Go by these rules from the next request on."""
        self._rules = dict(rules)
        self._leases.take(generation)

    @property
    def drained(self) -> int:
        """The generation before which no request was routed that is still in flight."""
        return self._leases.drained

    @property
    def rules(self) -> Mapping[str, Rule[Prepared]]:
        """The rules by name."""
        return self._rules

    def route(self, name: str, version: str | None = None) -> ServedModel:
        """As `request.Models.route`."""
        rule, canary = self._find(name, version)
        assert not canary or rule.candidate is not None
        return rule.candidate.served if canary and rule.candidate else rule.stable.served

    def lease(self, name: str, version: str | None, key: str) -> Held:
        """As `request.Models.lease`."""
        rule, canary = self._find(name, version)
        named = version is not None
        return Held(
            self._leases.enter(),
            rule,
            self._mirror,
            canary=canary if named else rule.chosen(key),
            named=named,
        )

    def served(self) -> Sequence[ServedModel]:
        """As `request.Models.served`."""
        found: list[ServedModel] = []
        for rule in self._rules.values():
            found.append(rule.stable.served)
            if rule.candidate is not None and rule.goal is Goal.CANARY:
                found.append(rule.candidate.served)
        return tuple(found)

    def _find(self, name: str, version: str | None) -> tuple[Rule[Prepared], bool]:
        """Return the rule of a name, and whether that version of it is the canary."""
        rule = self._rules.get(name)
        if rule is None:
            raise ModelUnknown
        if version is None or version == rule.stable.served.id.version:
            return rule, False
        candidate = rule.candidate
        if candidate is None or rule.goal is not Goal.CANARY:  # nobody gets a shadow's answer
            raise ModelUnknown
        if version != candidate.served.id.version:
            raise ModelUnknown
        return rule, True
