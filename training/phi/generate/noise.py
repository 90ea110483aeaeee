"""What happens to text on its way: case, line wraps, spacing, typing slips."""

from __future__ import annotations

from training.phi.generate.document import Document, Edit, Span, rewrite
from training.phi.generate.rng import Rng


def cased(document: Document, upper: bool) -> Document:
    """Return it all in capitals or in lower case, but for letters whose other case is two."""

    def change(char: str) -> str:
        new = char.upper() if upper else char.lower()
        return new if len(new) == 1 else char

    return Document(document.id, "".join(map(change, document.text)), document.spans, document.kind)


def wrapped(document: Document, rng: Rng) -> Document:
    """Return lines broken at a width, names and numbers with them."""
    width = rng.pick((40, 55, 60, 72, 80))
    indent = rng.pick(("", "", "", "  ", "    ", "> "))
    edits: list[Edit] = []
    text, column, space = document.text, 0, -1
    for at, char in enumerate(text):
        column += 1
        if char == "\n":
            column, space = 0, -1
        elif char == " ":
            space = at
        if column > width and space >= 0:
            edits.append((space, space + 1, "\n" + indent))
            column, space = at - space, -1
    return edited(document, edits)


def slips(document: Document, rng: Rng, rate: float) -> Document:
    """Return typing slips outside identifiers and double spaces anywhere."""
    edits: list[Edit] = []
    text, at = document.text, 0
    covered = _cover(len(text), document.spans)
    count = int(len(text) * rate)
    for position in sorted({rng.below(max(1, len(text) - 2)) for _ in range(count)}):
        if position < at or covered[position] or covered[position + 1]:
            continue
        here, after = text[position], text[position + 1]
        if here == " ":
            edits.append((position, position + 1, "  " if rng.chance(0.7) else "   "))
        elif here.isalpha() and after.isalpha():
            edits.append(
                (position, position + 2, rng.pick((after + here, here, here + here + after)))
            )
        elif here in ",;:." and after == " ":
            edits.append((position, position + 2, rng.pick((here, " " + here + " ", after))))
        else:
            continue
        at = position + 2
    return edited(document, edits)


def split_names(document: Document, rng: Rng) -> Document:
    """Return a line break or doubled space inside some identifiers of several words."""
    edits: list[Edit] = []
    for span in document.spans:
        if span.ignore or not rng.chance(0.3):
            continue
        at = document.text.find(" ", span.start, span.end)
        if at > 0:
            edits.append((at, at + 1, rng.pick(("\n", "\n", "  ", "\n  ", "\t", "\u00a0"))))
    return edited(document, edits)


_SCANNED = {
    "l": "1",
    "I": "l",
    "O": "0",
    "0": "O",
    "1": "l",
    "5": "S",
    "S": "5",
    "8": "B",
    "m": "rn",
    "e": "c",
    "c": "e",
    "h": "b",
    "u": "ii",
    "i": "1",
    "t": "f",
    "g": "q",
    ",": ".",
    ".": ",",
}


def scanned(document: Document, rng: Rng) -> Document:
    """Return a page read by a machine: some letters taken for others, in identifiers too."""
    rate = rng.pick((0.005, 0.01, 0.03, 0.05))
    edits = [
        (at, at + 1, _SCANNED[char])
        for at, char in enumerate(document.text)
        if char in _SCANNED and rng.chance(rate)
    ]
    return edited(document, edits)


def glued(document: Document, rng: Rng) -> Document:
    """Return identifiers that touch their neighbours: a space beside them is lost."""
    edits: list[Edit] = []
    text, last = document.text, 0
    for span in document.spans:
        if span.ignore or not rng.chance(0.25):
            continue
        before, after = span.start - 1, span.end
        if before > last and text[before] == " " and not text[before - 1].isalnum():
            edits.append((before, before + 1, ""))
        elif after + 1 < len(text) and text[after] == " " and not text[after + 1].isalnum():
            edits.append((after, after + 1, ""))
        elif after + 1 < len(text) and text[after] == " " and rng.chance(0.3):
            edits.append((after, after + 1, rng.pick(("/", "-", ",", ";", ".", "|", "_"))))
        last = after + 1
    return edited(document, edits)


FILLERS = (" uh", " um", " like", " you know", " so", " well", " i mean", " okay", " yeah")


def transcribed(document: Document, rng: Rng) -> Document:
    """Return speech as a machine writes it: small letters, few stops, fillers, words said twice."""
    document = cased(document, upper=False) if rng.chance(0.8) else document
    edits: list[Edit] = []
    text, at = document.text, 0
    covered = _cover(len(text), document.spans)
    for position, char in enumerate(text[:-1]):
        if position < at or covered[position]:
            continue
        after = text[position + 1]
        if char in ",.?!;" and after in " \n" and rng.chance(0.9):
            edits.append((position, position + 1, ""))
        elif char == " " and after.isalpha() and rng.chance(0.02):
            edits.append((position, position, rng.pick(FILLERS)))
        else:
            continue
        at = position + 1
    return edited(document, edits)


def marked_up(document: Document, rng: Rng) -> Document:
    """Return the text as a web page or a mail has it: entities and breaks outside identifiers."""
    line = rng.pick(("<br>", "<br/>\n", "</p>\n<p>", "\\n", "=0A", "\r\n"))
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&quot;", "\n": line}
    covered = _cover(len(document.text), document.spans)
    edits = [
        (at, at + 1, signs[char])
        for at, char in enumerate(document.text)
        if char in signs and not covered[at]
    ]
    return edited(document, edits)


def edited(document: Document, edits: list[Edit]) -> Document:
    """Return the document after the edits."""
    text, spans = rewrite(document.text, document.spans, edits)
    return Document(document.id, text, spans, document.kind)


def _cover(length: int, spans: tuple[Span, ...]) -> bytearray:
    cover = bytearray(length + 2)
    for span in spans:
        cover[span.start : span.end] = b"\1" * (span.end - span.start)
    return cover


def roughened(document: Document, rng: Rng) -> Document:
    """Return the slips of one document, if any."""
    roll = rng.random()
    if roll < 0.07:
        document = cased(document, upper=True)
    elif roll < 0.17:
        document = cased(document, upper=False)
    if rng.chance(0.1):
        document = split_names(document, rng)
    if rng.chance(0.07):
        document = glued(document, rng)
    if rng.chance(0.03):
        document = scanned(document, rng)
    if rng.chance(0.01):
        document = marked_up(document, rng)
    if rng.chance(0.12):
        document = slips(document, rng, rng.pick((0.003, 0.01, 0.02)))
    if rng.chance(0.12):
        document = wrapped(document, rng)
    return document
