"""Reading SST-2, holding phrases out of it, and putting the detector's tags into its text.

Decides which training phrases are held out to choose a checkpoint, how often each is seen, and
what is done to its text. It never reads the dev file for training: dev only judges.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHARED_WORDS = 5  # two phrases with this many words in a row in common are of one sentence
SHORT_WORDS = 4  # phrases below this length are sampled, and shared ones stay in training
FULL_WORDS = 12  # from here on a phrase stands for a whole sentence

MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
DATES = re.compile(rf"\b(?:(?:{MONTHS}) \d{{1,4}}|(?:19|20)\d\d|\d0s|'\d0s)\b")
BEFORE = (
    "[NAME] says",
    "[NAME] writes :",
    "according to [NAME] ,",
    "[DATE] :",
    "[NAME] , [DATE] :",
    "on [DATE]",
    "in [LOCATION] ,",
    "[NAME] ( [AGE] ) from [LOCATION] wrote",
    "from : [EMAIL]",
    "[ID] [DATE]",
    "dear [NAME] ,",
    "[NAME]",
    "mrn [MRN]",
    "note of [DATE] by [NAME] :",
)
AFTER = (
    "on [DATE]",
    "in [LOCATION]",
    "says [NAME]",
    ", [NAME] said on [DATE]",
    "- [NAME]",
    "( [NAME] , [DATE] )",
    "[NAME] , [PHONE]",
    "[EMAIL]",
    ". signed [NAME] [DATE]",
    ", said [NAME] of [LOCATION]",
    "at [LOCATION] on [DATE]",
)
JOINED = (  # SST-2 comes with its punctuation set apart; people do not write so
    (" n't", "n't"),
    (" 's", "'s"),
    (" 're", "'re"),
    (" 've", "'ve"),
    (" 'll", "'ll"),
    (" 'd", "'d"),
    (" 'm", "'m"),
    (" ,", ","),
    (" .", "."),
    (" ;", ";"),
    (" :", ":"),
    (" ?", "?"),
    (" !", "!"),
    ("-lrb- ", "("),
    (" -rrb-", ")"),
    ("`` ", '"'),
    (" ''", '"'),
)


@dataclass(frozen=True)
class Example:
    """One phrase, its label (0 negative, 1 positive) and what a teacher makes of it."""

    text: str
    label: int
    taught: float | None = None  # the teacher's probability of positive

    def target(self, distil: float) -> float:
        """Probability of positive to learn: `distil` of it the teacher's, the rest the label."""
        if self.taught is None:
            return float(self.label)
        return distil * self.taught + (1 - distil) * self.label

    @property
    def words(self) -> int:
        """Length in space-separated words."""
        return self.text.count(" ") + 1


def read_tsv(path: Path) -> list[Example]:
    """Read `label<TAB>sentence` lines under one header line."""
    examples = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        label, text = line.split("\t")
        examples.append(Example(text.strip(), int(label)))
    return examples


class _Forest:
    """Union-find over example numbers."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))

    def find(self, item: int) -> int:
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]
            item = self.parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        self.parent[self.find(one)] = self.find(other)


def sentence_groups(examples: list[Example]) -> list[int]:
    """Give each example a group number; examples of one sentence share it.

    Phrases are of one sentence when they share `SHARED_WORDS` words in a row, or when one lies
    whole within the other and is met in no other group. A shorter phrase met in several groups
    is nobody's in particular and gets a group of its own.
    """
    forest = _Forest(len(examples))
    words = [example.text.split() for example in examples]
    seen: dict[tuple[str, ...], int] = {}
    for number, tokens in enumerate(words):
        for start in range(len(tokens) - SHARED_WORDS + 1):
            gram = tuple(tokens[start : start + SHARED_WORDS])
            forest.join(number, seen.setdefault(gram, number))
    homes: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, tokens in enumerate(words):
        if len(tokens) >= SHARED_WORDS:
            for size in range(1, SHARED_WORDS):
                for start in range(len(tokens) - size + 1):
                    homes[tuple(tokens[start : start + size])].add(forest.find(number))
    for number, tokens in enumerate(words):
        if len(tokens) < SHARED_WORDS:
            where = homes.get(tuple(tokens), set())
            if len(where) == 1:
                forest.join(number, next(iter(where)))
    return [forest.find(number) for number in range(len(examples))]


def split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split into training and held-out examples by whole groups of `sentence_groups`.

    Only groups that hold a phrase of `FULL_WORDS` words are held out, as dev is whole sentences.
    """
    groups: defaultdict[int, list[Example]] = defaultdict(list)
    for example, group in zip(examples, sentence_groups(examples), strict=True):
        groups[group].append(example)
    limit = len(examples) * share
    order = sorted(
        group
        for group, members in groups.items()
        if len(members) <= limit / 20 and any(member.words >= FULL_WORDS for member in members)
    )
    random.Random(seed).shuffle(order)
    held: list[Example] = []
    chosen: set[int] = set()
    for group in order:
        if len(held) >= limit:
            break
        held += groups[group]
        chosen.add(group)
    texts = {example.text for example in held}
    train = [
        example
        for group, members in groups.items()
        if group not in chosen
        for example in members
        if example.text not in texts
    ]
    return train, held


@dataclass(frozen=True)
class Gazetteer:
    """Lower-case words that make up names of people and places."""

    first: frozenset[str]
    last: frozenset[str]
    cities: frozenset[str]

    @classmethod
    def load(cls, folder: Path) -> Gazetteer:
        """Read the name and city lists under `folder`; words of plain English are left out."""
        philter = folder / "gaz_philter"

        def words(name: str) -> set[str]:
            return set(json.loads((philter / name).read_text(encoding="utf-8")))

        def census(name: str) -> set[str]:
            lines = (folder / "gaz_census1990" / name).read_text(encoding="utf-8").splitlines()
            return {line.split()[0].lower() for line in lines if line.strip()}

        plain = words("whitelist_plus_fps_091718_nonames.json")
        first = words("firstnames_minus_fps.json") | census("dist.male.first")
        first |= census("dist.female.first")
        last = words("lastnames_minus_fps.json") | census("dist.all.last")
        rows = (folder / "gaz_us_cities" / "us_cities.csv").read_text(encoding="utf-8").splitlines()
        cities = {row.split(",")[3].lower() for row in rows[1:]}
        return cls(
            frozenset(word for word in first - plain if len(word) > 2),
            frozenset(word for word in last - plain if len(word) > 2),
            frozenset(city for city in cities - plain if len(city) > 4),
        )


def tag_mentions(text: str, gazetteer: Gazetteer) -> str:
    """Replace names of two words, dates and cities by the tags that the detector writes."""
    tokens = text.split(" ")
    out: list[str] = []
    place = 0
    while place < len(tokens):
        pair = tokens[place : place + 2]
        if len(pair) == 2 and pair[0] in gazetteer.first and pair[1] in gazetteer.last:
            out.append("[NAME]")
            place += 2
            continue
        known = pair[0] in gazetteer.cities and pair[0] not in gazetteer.first
        out.append("[LOCATION]" if known else pair[0])
        place += 1
    return DATES.sub("[DATE]", " ".join(out))


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How often, as a share of the examples seen, each change is made to the text."""

    mention: float = 0.5  # tags in place of the names and dates found; few examples have any
    carrier: float = 0.12  # a neutral phrase of tags before or after
    joined: float = 0.15  # punctuation set close, as people write
    several: float = 0.02  # two to five sentences of one label in a row


def change(
    example: Example, pool: list[Example], gazetteer: Gazetteer, rates: Augment, rng: random.Random
) -> str:
    """Return the text of `example` as it is shown once; `pool` gives whole sentences to join."""
    text = example.text
    if rng.random() < rates.several:
        count = rng.randint(1, 4)
        more = [rng.choice(pool) for _ in range(count * 3)]
        text = " ".join([text, *[m.text for m in more if m.label == example.label][:count]])
    if rng.random() < rates.mention:
        text = tag_mentions(text, gazetteer)
    if rng.random() < rates.carrier:
        if rng.random() < 0.5:
            text = f"{rng.choice(BEFORE)} {text}"
        else:
            text = f"{text} {rng.choice(AFTER)}"
    if rng.random() < rates.joined:
        for apart, close in JOINED:
            text = text.replace(apart, close)
    return text


def epoch_batches(
    examples: list[Example],
    gazetteer: Gazetteer,
    rates: Augment,
    *,
    size: int,
    short_share: float,
    distil: float,
    seed: int,
    epoch: int,
) -> Iterator[list[tuple[str, float]]]:
    """Yield the batches of one epoch: the same ones for the same arguments, whenever asked.

    Each text comes with its target (`Example.target`). `short_share` of the phrases under
    `SHORT_WORDS` words are seen. Texts of like length share a
    batch, which saves most of the padding; the batches then come in random order.
    """
    rng = random.Random(f"{seed}/{epoch}")
    pool = [example for example in examples if example.words >= FULL_WORDS] or examples
    kept = [e for e in examples if e.words >= SHORT_WORDS or rng.random() < short_share]
    rng.shuffle(kept)
    shown = [(change(e, pool, gazetteer, rates, rng), e.target(distil)) for e in kept]
    batches = []
    for start in range(0, len(shown), size * 40):
        chunk = sorted(shown[start : start + size * 40], key=lambda pair: pair[0].count(" "))
        batches += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    rng.shuffle(batches)
    yield from batches
