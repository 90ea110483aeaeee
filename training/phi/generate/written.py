r"""Documents that were written by hand, PHI marked as `[[NAME|Ann Lee]]`: `../data/written/*.txt`.

Documents are parted by lines `%%`; `\uXXXX` stands for a character that an editor would not show.
One in eight, by a hash of its place, is for dev and the others for training: what judges the
detector is written by others (`benchmarks/deid/gold`).
"""

from __future__ import annotations

import re
from pathlib import Path

from training.phi.generate.document import LABELS, Document, Edit, Span
from training.phi.generate.gazetteer import DEV, HELD_OUT, TRAIN, part_of
from training.phi.generate.noise import edited
from training.phi.generate.rng import Rng

_MARK = re.compile(r"\[\[([A-Z_]*)\|((?:(?!\[\[|\]\]).)+)\]\]", re.DOTALL)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_PARTED = re.compile(r"^%%.*\n?", re.MULTILINE)
_SAME = {"FAX": "PHONE", "PHOTO": "OTHER_ID"}
_NUMBERED = frozenset(LABELS) - {"NAME", "DATE", "AGE", "LOCATION", "EMAIL", "URL"}


def load_written(folder: Path, part: str) -> list[Document]:
    """Return the documents of a part. Raises ValueError for a mark that is none, with its place."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        for number, text in enumerate(_PARTED.split(path.read_text("utf-8"))):
            name = f"{path.stem}-{number}"
            own = {DEV} if part == DEV else set() if part == HELD_OUT else {TRAIN, HELD_OUT}
            if text.strip() and part_of(name) in own:
                found.append(parsed(name, text.strip("\n")))
    return found


def parsed(name: str, source: str) -> Document:
    """Return a document from its marked text. Raises ValueError."""
    text, spans, at = "", [], 0
    source = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), source)
    for match in _MARK.finditer(source):
        text += source[at : match.start()]
        at = match.end()
        label = _SAME.get(match[1], match[1])
        if label not in LABELS and label != "IGNORE":
            raise ValueError(f"{name}: [[{match[1]}|: expected one of {', '.join(LABELS)}, IGNORE")
        ignore = label == "IGNORE"
        start = len(text)
        text += match[2]
        spans.append(Span(start, len(text), "OTHER_ID" if ignore else label, ignore))
    text += source[at:]
    if "[[" in text:
        raise ValueError(f"{name}: a mark that does not close: {text[text.index('[[') :][:40]!r}")
    return Document(name, text, tuple(spans), "written")


def renumbered(document: Document, rng: Rng) -> Document:
    """Return the document with other digits and letters in its numbers, of the same shape."""
    edits: list[Edit] = []
    for span in document.spans:
        old = document.text[span.start : span.end]
        if span.ignore or span.label not in _NUMBERED or not old.isascii():
            continue
        new = "".join(
            rng.pick("0123456789") if c.isdigit() else c if not c.isupper() or len(old) < 4
            else rng.pick("ABCDEFGHJKLMNPRSTUVWXYZ") if rng.chance(0.5) else c
            for c in old
        )  # fmt: skip
        edits.append((span.start, span.end, new))
    return edited(document, edits)
