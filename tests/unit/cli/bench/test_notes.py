from __future__ import annotations

import json
from dataclasses import replace

import pytest

from wardgate import Deidentifier
from wardgate.cli.bench import notes
from wardgate.cli.bench.scenario import Lengths, Notes
from wardgate.cli.bench.table import Invalid


@pytest.fixture
def some(tmp_path):
    path = tmp_path / "notes.jsonl"
    texts = [f"note {n} says that all is well " * (1 + n % 5) for n in range(40)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Notes(path, 50, 0.0, ())


def test_they_are_those_of_the_file_over_and_over(some) -> None:
    found = notes.texts(some, 1)
    assert len(found) == 50
    assert found[0] == found[40]


def test_lengths_come_in_their_shares(some) -> None:
    wanted = replace(some, count=200, lengths=(Lengths(0.8, 1, 40), Lengths(0.2, 500, 500)))
    found = notes.texts(wanted, 1)
    assert len(found) == 200
    assert sum(len(text) == 500 for text in found) == 40
    assert sum(len(text) <= 40 for text in found) == 160
    assert found == notes.texts(wanted, 1) != notes.texts(wanted, 2)


def test_identifiers_are_put_in_at_the_asked_density(some) -> None:
    plain, full = notes.texts(some, 1), notes.texts(replace(some, phi=2.0, count=400), 1)
    assert sum(map(len, full)) / 400 > sum(map(len, plain)) / 50 + 15
    deidentify = Deidentifier().deidentify
    spans = sum(len(deidentify(text).spans) for text in full[:60]) / 60
    assert 1.4 < spans < 2.8


@pytest.mark.parametrize("content", ["", "x\n", '{"note": 1}\n', "[]\n"])
def test_a_file_that_holds_none_is_refused(tmp_path, some, content) -> None:
    (tmp_path / "bad.jsonl").write_text(content)
    with pytest.raises(Invalid):
        notes.texts(replace(some, file=tmp_path / "bad.jsonl"), 1)


def test_a_length_that_the_file_has_not(some) -> None:
    with pytest.raises(Invalid, match="no note of 900 to 999"):
        notes.texts(replace(some, lengths=(Lengths(1.0, 900, 999),)), 1)
    with pytest.raises(Invalid, match="No such file"):
        notes.texts(replace(some, file=some.file.with_name("none")), 1)
