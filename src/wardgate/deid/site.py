r"""What a site adds to what is found: its own identifiers, words never to touch, persons to hide.

It holds under every policy. Decides which candidates there are, never what becomes of them. Pure:
folded text and candidates in, candidates out.

An identifier's pattern is a part of the syntax of regular expressions that cannot backtrack: `\d`,
classes of characters, characters as they are, `{m}`, `{m,n}` and `?`. A repeat takes as many as it
can and gives none back, and the whole is at most 64 characters long, so a text costs at most 64
steps a character whatever the pattern (ADR 0003).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from wardgate.deid.spans import Candidate, Place, outside
from wardgate.errors import SettingsInvalid
from wardgate.types import EntityType

LONGEST = 64
"""Characters of the longest text that a pattern may match."""
SHORTEST = 4
"""A pattern that may match less needs words that stand before it, or it would take everything."""
MOST_WORDS = 8
"""Words of the longest entry of a list."""
_BEFORE = 32
"""Characters to the left in which such a word must stand."""
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(
    r"(?P<one>\\d|\[[0-9A-Za-z_ /#:.-]{1,64}\]|\\[-.+*?()\[\]{}|^$/]|[0-9A-Za-z _/#:,@&=-])"
    r"(?P<times>\?|\{(?P<low>[0-9]{1,2})(?:,(?P<high>[0-9]{1,2}))?\})?"
)

Phrases = Mapping[str, frozenset[tuple[str, ...]]]
"""Phrases as tuples of folded words, by their first word."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number of the site's own: what it is, how it looks, and which words stand before it."""

    label: EntityType
    pattern: re.Pattern[str]
    after: frozenset[str] = frozenset()
    """Folded words, one of which must stand close to the left; empty asks for none."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a site adds. `digest` names exactly that (SHA-256, hex); it shows no entry."""

    identifiers: tuple[Identifier, ...] = ()
    allow: Phrases = field(default_factory=dict, repr=False)
    deny: Mapping[EntityType, Phrases] = field(default_factory=dict, repr=False)
    thresholds: Mapping[EntityType, float] = field(default_factory=dict)
    """Candidates of a type below its threshold are dropped; in [0, 1]."""
    digest: str = ""
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What was read."""

    def judge(self, text: str, found: list[Candidate], written: re.Pattern[str]) -> list[Candidate]:
        """Return the candidates in folded text: those found, as the site wants them, and its own.

        A candidate is dropped where all its words are allowed. What the site itself adds counts as
        certain and is never dropped; `written` matches what an earlier pass wrote, which stays.
        """
        if self.thresholds:
            found = [c for c in found if c[3] >= self.thresholds.get(c[2], 0.0)]
        if not (self.identifiers or self.allow or self.deny):
            return found
        lowered = text.lower()
        words: list[re.Match[str]] | None = None
        if self.allow or self.deny:
            words = list(_WORD.finditer(lowered))
        if words and self.allow and found:
            allowed = {m.start() for run in _phrases(words, self.allow) for m in run}
            found = [c for c in found if not _covered(lowered, c, allowed)]
        own = list(self._own(text, lowered, words or []))
        if not own:
            return found
        return [*found, *outside(own, [match.span() for match in written.finditer(text)])]

    def unspared(self, text: str, found: list[Candidate]) -> list[Candidate]:
        """Return the candidates in folded text but those whose every word is allowed."""
        lowered = text.lower()
        words = list(_WORD.finditer(lowered))
        allowed = {m.start() for run in _phrases(words, self.allow) for m in run}
        return [c for c in found if not _covered(lowered, c, allowed)]

    def _own(self, text: str, lowered: str, words: list[re.Match[str]]) -> Iterator[Candidate]:
        for each in self.identifiers:
            for match in each.pattern.finditer(text):
                start, end = match.span()
                if each.after:
                    left = lowered[max(0, start - _BEFORE) : start]
                    if each.after.isdisjoint(_WORD.findall(left)):
                        continue
                yield (start, end, each.label, 1.0, _place(each.label))
        for label, phrases in self.deny.items():
            for run in _phrases(words, phrases):
                yield (run[0].start(), run[-1].end(), label, 1.0, _place(label))


NONE = Site()
"""What a site adds that adds nothing."""


def _place(label: EntityType) -> Place | None:
    """Return the kind of a site's own location: the one that no shipped policy keeps."""
    return Place.FACILITY if label is EntityType.LOCATION else None


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the compiled form of an identifier's pattern, that is linear and cannot backtrack.

    Raises SettingsInvalid with the place of what it does not take, or where it is too long.
    """
    parts: list[str] = []
    at = longest = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise SettingsInvalid(
                f"the pattern is not understood from character {at + 1} on: it takes \\d, classes "
                "like [A-Z0-9], plain characters, {m}, {m,n} and ?"
            )
        low, high = (0, 1) if token["times"] == "?" else (token["low"] or 1, token["high"])
        least, most = int(low), int(high if high is not None else low)
        if not least <= most or not most:
            raise SettingsInvalid(f"the repeat before character {token.end() + 1} is wrong")
        longest += most
        parts.append(f"(?:{token['one']}){{{least},{most}}}+")
        at = token.end()
    if not parts or longest > LONGEST:
        raise SettingsInvalid(f"the pattern matches nothing, or more than {LONGEST} characters")
    try:
        return re.compile(
            f"(?<![0-9A-Za-z]){''.join(parts)}(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE
        )
    except re.error:
        raise SettingsInvalid("a class of the pattern has a range that runs backwards") from None


def shortest(pattern: str) -> int:
    """Return the length of the shortest text that a pattern that `compiled` takes can match."""
    return sum(
        0 if token["times"] == "?" else int(token["low"] or 1) for token in _TOKEN.finditer(pattern)
    )


def words_of(entry: str) -> tuple[str, ...]:
    """Return the words of a folded entry, as they are looked up."""
    return tuple(_WORD.findall(entry.lower()))


def phrases(entries: Iterable[tuple[str, ...]]) -> Phrases:
    """Return entries as they are looked up: by their first word."""
    table: dict[str, set[tuple[str, ...]]] = {}
    for entry in entries:
        table.setdefault(entry[0], set()).add(entry)
    return {first: frozenset(found) for first, found in table.items()}


def _phrases(words: list[re.Match[str]], table: Phrases) -> Iterator[list[re.Match[str]]]:
    """Yield the runs of words that are a phrase; the longest at each word."""
    for at, word in enumerate(words):
        entries = table.get(word[0])
        if entries is None:
            continue
        run = words[at : at + MOST_WORDS]
        said = tuple(match[0] for match in run)
        for size in range(len(said), 0, -1):
            if said[:size] in entries:
                yield run[:size]
                break


def _covered(lowered: str, candidate: Candidate, allowed: set[int]) -> bool:
    """Whether every word of a candidate is one of those that are allowed where it stands."""
    spelt = False
    for word in _WORD.finditer(lowered, candidate[0], candidate[1]):
        if word.start() not in allowed:
            return False
        spelt = True
    return spelt
