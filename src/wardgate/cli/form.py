"""What `wardgate predict --jsonl` makes of a line: what is sent, kept and written, or why not.

The raw text is not written again unless the user says so: OUT then holds what a model's reader may
see. Nothing of a line is lost silently: one whose members the answer would replace is broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wardgate.cli.jsonl import Broken, dump, fault, parse
from wardgate.cli.sender import Row

ANSWER = ("label", "score", "scores", "deidentified", "windows", "version", "request_id")
"""Members that a line gets."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that can be sent."""

    number: int
    text: str
    kept: bytes
    """The object that is written, without the answer, as JSON."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that got no answer."""

    number: int
    why: Broken

    def written(self) -> bytes:
        """Return its line in the error file: nothing of the text."""
        return fault(self.number, self.why)


@dataclass(frozen=True, slots=True)
class Form:
    """How a line of OUT is made of a line of IN and its answer."""

    keep_text: bool = False
    under: str | None = None
    """Member that takes the whole answer; None puts its members beside the line's own."""

    def read(self, number: int, raw: bytes | None) -> Line | Fault:
        """Return a line as it can be sent, or why it cannot."""
        try:
            record = parse(raw)
            text = _unicode(record["text"] if self.keep_text else record.pop("text"))
            self._check_room(record)
            return Line(number, text, dump(record))
        except Broken as why:
            return Fault(number, why)

    def write(self, line: Line, row: Row) -> bytes:
        """Return the line of OUT."""
        answer = {name: row["text" if name == "deidentified" else name] for name in ANSWER}
        added = dump(answer if self.under is None else {self.under: answer})
        return line.kept[:-1] + (b", " if len(line.kept) > len(b"{}") else b"") + added[1:] + b"\n"

    def _check_room(self, record: dict[str, Any]) -> None:
        """Raise Broken where the answer would replace what the line holds."""
        for name in ANSWER if self.under is None else (self.under,):
            if name in record:
                raise Broken(
                    "member-taken",
                    f'it has a "{name}" of its own; rename that, or give --under another name',
                )


def _unicode(text: str) -> str:
    """Raise Broken for a text that cannot be sent (RFC 8259 §8.1)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Broken("not-unicode", "the text holds a lone surrogate") from None
    return text
