r"""Templates: text with slots `{pt.full}`, choices `{a|b|}` and parts from other banks `{>hpi:2}`.

A choice may hold slots and choices; an option that is a slot's name is that slot. `{>bank:n}`
writes n templates of a bank joined by a space, `{>bank:n:nl}` by a line break; `{>bank:1-4}`
between one and four. `\{` is a brace.

`{4..18}` is a whole number between, `{0.5..2.4}` one with as many decimals. `{=##-@}` is text in a
shape (# a digit, @ a capital, % a small letter, & a hex digit) that is not PHI, `{NAME=%%%}` one
that is of that label, `{~=######}` one that counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from training.phi.generate.document import IGNORE, LABELS, Draft, Value
from training.phi.generate.gazetteer import FULL, HELD_OUT
from training.phi.generate.rng import Rng


class Scene(Protocol):
    """What a slot draws from: the people, places and dates of one document."""

    rng: Rng


Slot = Callable[..., Value]
Node = Callable[[Scene, Draft], None]


_BETWEEN = re.compile(r"(\d+(?:\.(\d+))?)\.\.(\d+(?:\.\d+)?)")


class TemplateError(ValueError):
    """A template names a slot or bank that does not exist, or does not close a brace."""


class Banks:
    """All banks of one part, compiled."""

    def __init__(self, sources: dict[str, list[str]], slots: dict[str, Slot]) -> None:
        self._slots = slots
        self._nodes: dict[str, list[Node]] = {name: [] for name in sources}
        for name, texts in sources.items():
            for text in texts:
                try:
                    self._nodes[name].append(self._compile(text))
                except (TemplateError, IndexError) as error:
                    raise TemplateError(f"{name}: {error}: {text[:80]!r}") from error

    def write(self, bank: str, scene: Scene, draft: Draft) -> None:
        """Append one template of the bank."""
        scene.rng.pick(self._nodes[bank])(scene, draft)

    def _compile(self, text: str) -> Node:
        node, at = self._sequence(text, 0, nested=False)
        if at != len(text):
            raise TemplateError("a brace too many")
        return node

    def _sequence(self, text: str, at: int, *, nested: bool) -> tuple[Node, int]:
        nodes: list[Node] = []
        literal: list[str] = []

        def flush() -> None:
            if literal:
                nodes.append(_literal("".join(literal)))
                literal.clear()

        while at < len(text):
            char = text[at]
            if char == "\\" and text[at + 1] in "{|}":
                literal.append(text[at + 1])
                at += 2
            elif char == "{":
                flush()
                node, at = self._brace(text, at + 1)
                nodes.append(node)
            elif char == "}" or (nested and char == "|"):
                break
            else:
                literal.append(char)
                at += 1
        flush()
        return _sequence(nodes), at

    def _brace(self, text: str, at: int) -> tuple[Node, int]:
        options: list[Node] = []
        start = at
        while True:
            begin = at
            node, at = self._sequence(text, at, nested=True)
            if at >= len(text):
                raise TemplateError("a brace that does not close")
            options.append(self._slot(text[begin:at]) if text[begin:at] in self._slots else node)
            if text[at] == "}":
                break
            at += 1
        if len(options) > 1:
            return _choice(options), at + 1
        name = text[start:at]
        return (self._part(name[1:]) if name[:1] == ">" else self._slot(name)), at + 1

    def _slot(self, name: str) -> Node:
        slot = self._slots.get(name) or _number(name) or _shape(name)
        if slot is None:
            raise TemplateError(f"no slot {name!r}")
        return lambda scene, draft: draft.value(slot(scene))

    def _part(self, call: str) -> Node:
        bank, _, rest = call.partition(":")
        count, _, joint = rest.partition(":")
        if bank not in self._nodes:
            raise TemplateError(f"no bank {bank!r}")
        low, _, high = (count or "1").partition("-")
        least, most = int(low), int(high or low)
        between = {"": " ", "nl": "\n", "para": "\n\n", "semi": "; ", "comma": ", "}[joint]
        nodes = self._nodes[bank]

        def write(scene: Scene, draft: Draft) -> None:
            for number in range(scene.rng.between(least, most)):
                if number:
                    draft.text(between)
                scene.rng.pick(nodes)(scene, draft)

        return write


def _number(name: str) -> Slot | None:
    """Return what writes a number between two."""
    match = _BETWEEN.fullmatch(name)
    if match is None:
        return None
    places = len(match[2] or "")
    low, high = (round(float(end) * 10**places) for end in (match[1], match[3]))
    return lambda scene: f"{scene.rng.between(low, high) / 10**places:.{places}f}"


def _shape(name: str) -> Slot | None:
    """Return what writes a shape, with a label or without one."""
    label, given, shape = name.partition("=")
    if not given or label not in ("", "~", *LABELS):
        return None
    if not label:
        return lambda scene: scene.rng.shape(shape)
    kind = IGNORE if label == "~" else label
    return lambda scene: ((scene.rng.shape(shape), kind),)


def _literal(text: str) -> Node:
    return lambda _, draft: draft.text(text)


def _sequence(nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]

    def write(scene: Scene, draft: Draft) -> None:
        for node in nodes:
            node(scene, draft)

    return write


def _choice(options: list[Node]) -> Node:
    return lambda scene, draft: scene.rng.pick(options)(scene, draft)


def load_banks(folder: Path, part: str) -> dict[str, list[str]]:
    """Return the templates of one part.

    Training and dev take `templates/`. Held-out text takes the banks of `templates_held_out/`,
    written apart and in other words; only parts without identifiers of their own come from
    `templates/`. `FULL` takes both.
    """
    banks = _read(folder / "templates")
    if part not in (HELD_OUT, FULL):
        return banks
    for name, texts in _read(folder / "templates_held_out").items():
        banks[name] = texts if part == HELD_OUT else banks.get(name, []) + texts
    return banks


def _read(folder: Path) -> dict[str, list[str]]:
    """Return files of lines, or of blocks between lines of `%%`."""
    banks = {}
    for path in sorted(folder.glob("*.txt")):
        raw = path.read_text(encoding="utf-8")
        entries = raw.split("%%\n") if "%%\n" in raw else raw.splitlines()
        banks[path.stem] = [
            text for text in (entry.strip("\n") for entry in entries) if text.strip()
        ]
    return banks
