"""The template language, and the banks that ship: all of them compile."""

from __future__ import annotations

from collections import Counter

import pytest
from training.phi.generate.document import Draft
from training.phi.generate.gazetteer import FULL, HELD_OUT, TRAIN
from training.phi.generate.generator import HERE
from training.phi.generate.rng import Rng
from training.phi.generate.slots import slots
from training.phi.generate.template import Banks, TemplateError, load_banks


class Scene:
    def __init__(self, seed: int) -> None:
        self.rng = Rng(seed)


SLOTS = {"name": lambda _: (("Roe", "NAME"),), "n": lambda _: "5"}


def texts(banks: dict[str, list[str]], seeds: int = 40) -> Counter[str]:
    compiled = Banks(banks, SLOTS)
    found: Counter[str] = Counter()
    for seed in range(seeds):
        draft = Draft()
        compiled.write("main", Scene(seed), draft)
        found["".join(draft.parts)] += 1
    return found


def test_choices_slots_and_parts():
    assert set(texts({"main": ["{a|b {n}|} x"]})) == {"a x", "b 5 x", " x"}
    assert set(texts({"main": ["{name|n}"]})) == {"Roe", "5"}
    assert set(texts({"main": ["{>row:2:nl}"], "row": ["r{n}"]})) == {"r5\nr5"}
    assert set(texts({"main": ["{>row:1-2:comma}"], "row": ["r"]})) == {"r", "r, r"}
    assert set(texts({"main": [r"\{{n}\} a|b"]})) == {"{5} a|b"}


@pytest.mark.parametrize("text", ["{nobody}", "{n", "{n}}", "{>nowhere}"])
def test_a_wrong_template_is_refused(text):
    with pytest.raises(TemplateError):
        Banks({"main": [text]}, SLOTS)


@pytest.mark.parametrize("part", [TRAIN, HELD_OUT, FULL])
def test_the_banks_that_ship_compile(part):
    Banks(load_banks(HERE, part), slots())


def test_held_out_templates_are_not_in_training():
    train, held = load_banks(HERE, TRAIN), load_banks(HERE, HELD_OUT)
    own = {path.stem for path in (HERE / "templates_held_out").glob("*.txt")}
    # Lines that are one part and nothing else, such as `{>narr}`, say no words of their own.
    wording = {text for name in own for text in held[name] if not text.startswith("{>")}
    assert len(wording) > 150
    assert not wording & {text for bank in train.values() for text in bank}
