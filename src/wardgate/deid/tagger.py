"""The trained layer: a small convolutional net that reads folded text and tags PHI piece by piece.

It runs in this process on one core, through ONNX Runtime, with integer products: the same text has
the same scores in one go or in parts, on every machine. It keeps nothing of a text. Weights, words
and thresholds lie in `data/tagger/`, made by `python -m training.phi`, and are used only if their
SHA-256 is the one pinned beside them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import repeat
from zlib import crc32

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from wardgate.deid.resolve import Vetoes
from wardgate.deid.spans import Candidate, Place
from wardgate.deid.tagger_features import (
    NUMBER_WIDTHS,
    SPECIALS,
    UNKNOWN,
    Floats,
    Pieces,
    affixes,
    all_codes,
    cut,
    number,
    special,
)
from wardgate.errors import DetectorFailed
from wardgate.types import EntityType

_FILES = ("net.onnx", "tables.npz", "words.txt", "tagger.json")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is PHI, by the tagger's own odds: frozen with the weights, chosen on dev notes."""

    start: Floats
    """float32 [tags]: from which probability of PHI a piece is taken, by its likeliest type."""
    spread: float
    """From which probability a piece beside a taken one is taken too."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tagger made of a text: candidates, and how likely each piece is PHI."""

    found: list[Candidate]
    """Sorted, disjoint."""
    _starts: list[int]
    _ends: list[int]
    _phi: Floats

    def odds(self, start: int, end: int) -> float:
        """Return the highest probability of PHI of any piece in `[start, end)`, in [0, 1]."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        return float(self._phi[first:last].max(initial=0.0))


class Tagger:
    """Tags PHI in folded text; `load` it once and share it. It keeps nothing of a text."""

    __slots__ = (
        "_affixes", "_chunk", "_halo", "_hashes", "_labels", "_lists", "_net", "_own", "_rows",
        "_shapes", "_table", "thresholds", "vetoes",
    )  # fmt: skip

    def __init__(self, files: dict[str, bytes]) -> None:
        """Take the contents of the files by name. Raises DetectorFailed."""
        try:
            about = json.loads(files["tagger.json"])
            tables = np.load(io.BytesIO(files["tables.npz"]), allow_pickle=False)
            self._table = _floats(tables["table"], tables["table_scale"])
            self._affixes = _floats(tables["affixes"], tables["affixes_scale"])
            self._shapes = tables["shapes"]
            self._hashes, self._own = tables["hashes"], tables["codes"]
            self._lists = all_codes(tables["lists"])
            self._rows = _rows(files["words.txt"].decode("utf-8").split("\n"))
            self._net = _session(files["net.onnx"])
            self._labels = [EntityType.OTHER_ID, *map(EntityType, about["tags"][1:])]
            self._halo, self._chunk = int(about["halo"]), int(about["chunk"])
            self.vetoes: Vetoes = {
                EntityType(tag): (float(score), float(odds))
                for tag, (score, odds) in about["vetoes"].items()
            }
            """Which candidates of the rules the odds may rule out."""
            start = [about["start"].get(tag, 2.0) for tag in about["tags"]]
            self.thresholds = Thresholds(np.array(start, np.float32), float(about["spread"]))
        except Exception:  # noqa: BLE001 -- whatever is wrong with the files, there is no tagger
            raise DetectorFailed(reason="tagger-files") from None

    @classmethod
    def load(cls) -> Tagger:
        """Return the packaged tagger. Raises DetectorFailed where a file is not the pinned one."""
        return _load()

    def tag(self, text: str) -> list[Candidate]:
        """Return sorted, disjoint candidates that begin and end with whole words or numbers.

        Linear in the length of the text. Raises DetectorFailed on any fault.
        """
        return self.read(text).found

    def read(self, text: str) -> Reading:
        """Return the candidates of `tag` and the odds of every stretch. Raises DetectorFailed."""
        try:
            pieces = cut(text)
            if not pieces.words:
                return Reading([], pieces.starts, pieces.ends, np.zeros(0, np.float32))
            odds = self._odds(pieces)
            phi = 1.0 - odds[:, 0]
            found = self._decide(text, pieces, odds, phi)
            return Reading(found, pieces.starts, pieces.ends, phi)
        except Exception:  # noqa: BLE001 -- whatever failed, the text must not pass or be told
            raise DetectorFailed(reason="tagger") from None

    def odds(self, text: str) -> tuple[Pieces, Floats]:
        """Return the pieces of a text and the probability of each tag, float32 [pieces, tags]."""
        pieces = cut(text)
        return pieces, self._odds(pieces) if pieces.words else np.zeros(
            (0, len(self._labels)), np.float32
        )

    def _odds(self, pieces: Pieces) -> Floats:
        given = self._vectors(pieces)
        total = len(given)
        if total <= self._chunk:
            return self._run(given)
        # what a piece's tag depends on lies within the halo, so parts give what the whole would
        parts = []
        for start in range(0, total, self._chunk):
            low, end = max(start - self._halo, 0), min(start + self._chunk, total)
            part = self._run(given[low : end + self._halo])
            parts.append(part[start - low : end - low])
        return np.concatenate(parts)

    def _run(self, given: Floats) -> Floats:
        (odds,) = self._net.run(None, {"pieces": given})
        if not np.isfinite(odds).all():
            raise ValueError
        return odds  # type: ignore[no-any-return]

    def _vectors(self, pieces: Pieces) -> Floats:
        """Return what the net is given, float32 [pieces, width]."""
        words = pieces.words
        rows = list(map(self._rows.get, words, repeat(_NONE)))
        unknown: list[int] = []
        for at, row in enumerate(rows):
            if row == _NONE:
                rows[at] = special(words[at])
                if rows[at] == UNKNOWN:
                    unknown.append(at)
        given: Floats = self._table.take(rows, 0)
        given += self._shapes.take(pieces.shapes, 0)
        if unknown:
            given[unknown] += self._made_of([words[at] for at in unknown])
        return given

    def _made_of(self, words: list[str]) -> Floats:
        """Return the vectors of words without a row: their lists and affixes."""
        made: Floats = self._affixes.take([affixes(word) for word in words], 0).sum(1)
        hashes = np.array([crc32(w.encode("utf-8", "surrogatepass")) for w in words], np.uint32)
        at = self._hashes.searchsorted(hashes)
        at[at == len(self._hashes)] = 0
        made += self._lists.take(np.where(self._hashes[at] == hashes, self._own[at], 0), 0)
        return made

    def _decide(self, text: str, pieces: Pieces, odds: Floats, phi: Floats) -> list[Candidate]:
        """Return the spans: runs of pieces that may be PHI, at least one of which surely is."""
        possible = np.flatnonzero(phi >= self.thresholds.spread)
        if not possible.size:
            return []
        likely = odds[possible]
        best = likely[:, 1:].argmax(1) + 1
        sure = phi[possible] >= self.thresholds.start[best]
        if not sure.any():
            return []
        places = possible.tolist()
        starts, ends = [pieces.starts[at] for at in places], [pieces.ends[at] for at in places]
        words = pieces.words
        runs: list[list[int]] = []
        holds = False  # whether the last run holds a sure piece
        before, tag_before, end_before = -2, 0, -1
        for i, (at, tag, is_sure) in enumerate(
            zip(places, best.tolist(), sure.tolist(), strict=True)
        ):
            if at != before + 1 or (tag != tag_before and starts[i] != end_before):
                if runs and not holds:
                    runs.pop()
                runs.append([])
                holds = False
            holds |= is_sure
            if words[at][-1].isalnum():  # signs and spaces at a span's ends are no part of it
                runs[-1].append(i)
            before, tag_before, end_before = at, tag, ends[i]
        if not holds:
            runs.pop()
        runs = [run for run in runs if run]
        if not runs:
            return []
        counts = np.fromiter(map(len, runs), np.int64, len(runs))
        inside = likely[[i for run in runs for i in run]]
        sums = np.add.reduceat(inside, np.cumsum(counts) - counts, axis=0)
        kinds = (sums[:, 1:].argmax(1) + 1).tolist()
        scores = (1.0 - sums[:, 0] / counts).tolist()
        spans = [(starts[run[0]], ends[run[-1]]) for run in runs]
        return _candidates(text, spans, [self._labels[kind] for kind in kinds], scores)


def _candidates(
    text: str, spans: list[tuple[int, int]], labels: list[EntityType], scores: list[float]
) -> list[Candidate]:
    """Return sorted, disjoint candidates; a date with the parts right beside it."""
    found: list[Candidate] = []
    for (first, last), label, score in zip(spans, labels, scores, strict=True):
        start, end = first, last
        if label is EntityType.DATE:
            start, end = _whole_date(text, first, last)
        if found and start < found[-1][1]:  # the one before took a part of it along
            start = found.pop()[0]
        found.append((start, end, label, round(score, 3), _place(text[start:end], label)))
    return found


_NONE = -1
"""No row."""
_DATE_LEFT = re.compile(r"(?<![0-9A-Za-z/.-])(?:[0-9]{1,4}[/-]){1,2}\Z")
_DATE_RIGHT = re.compile(r"(?:[/-][0-9]{1,4}){1,2}(?![0-9A-Za-z/-])")
_LONGEST_PART = 10
"""Characters of two parts of a date with their marks."""


def _whole_date(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a date with the parts that stand right beside it: `2` of `2/29` is all of it."""
    if text[start].isdigit():
        left = _DATE_LEFT.search(text, max(0, start - _LONGEST_PART), start)
        start = left.start() if left else start
    if text[end - 1].isdigit():
        right = _DATE_RIGHT.match(text, end)
        end = right.end() if right else end
    return start, end


def _place(inside: str, label: EntityType) -> Place | None:
    """Tell a ZIP code; of other places the kind is not known, and the strictest rule holds."""
    if label is EntityType.LOCATION and len(inside) in {5, 10} and inside[:5].isdigit():
        return Place.ZIP
    return None


def _floats(values: NDArray[np.int8], scale: Floats) -> Floats:
    return values.astype(np.float32) * scale[:, None]


def _rows(words: list[str]) -> dict[str, int]:
    """Return the row of each word and short number."""
    rows = {word: SPECIALS + i for i, word in enumerate(words)}
    for width in NUMBER_WIDTHS:
        for value in range(10**width):
            digits = f"{value:0{width}}"
            rows[digits] = number(digits)
    return rows


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def folder() -> Traversable:
    """Return the folder of the packaged files."""
    return resources.files("wardgate.deid").joinpath("data/tagger")


def checked(place: Traversable) -> dict[str, bytes]:
    """Return the tagger's files. Raises DetectorFailed where one is not the pinned one."""
    try:
        lines = place.joinpath("SHA256SUMS").read_text("ascii").splitlines()
        pins = {name: pin for pin, name in (line.split() for line in lines)}
        files = {name: place.joinpath(name).read_bytes() for name in _FILES}
    except (OSError, ValueError):
        raise DetectorFailed(reason="tagger-files") from None
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != pins.get(name):
            raise DetectorFailed(reason="tagger-files")
    return files


@cache
def _load() -> Tagger:
    return Tagger(checked(folder()))
