from __future__ import annotations

import json

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import notes, scenario, system
from wardgate.cli.bench.scenario import Lengths, Load
from wardgate.cli.bench.table import Invalid

MINIMAL = """
title = "t"
[notes]
file = "notes.jsonl"
[load]
kind = "closed"
concurrency = 4
[[system]]
name = "fastapi"
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        path = tmp_path / "one.toml"
        path.write_text(text)
        return scenario.read(path)

    return from_text


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_of_the_repository_can_be_run(path) -> None:
    found = scenario.read(path)
    assert found.title
    folder = system.folder_of(path)
    for entry in found.systems:
        named = system.read(folder, entry.name)
        assert named.call(entry.protocol)
        assert named.tls or not entry.tls
    assert len(notes.texts(found.notes, found.seed)) == found.notes.count
    json.dumps(found.settings())


def test_what_is_left_out_has_a_default(read) -> None:
    found = read(MINIMAL)
    assert (found.name, found.model, found.rounds) == ("one", "sentiment", 5)
    assert found.loads == (Load("closed", 4.0, lanes=4),)
    assert (found.systems[0].label, found.systems[0].protocol) == ("fastapi", "http1")


def test_an_open_load_with_all_that_it_takes(read) -> None:
    text = MINIMAL.replace('kind = "closed"\nconcurrency = 4', 'kind = "bursty"\nrate = [5, 10.5]')
    found = read(text.replace("[load]", "lengths = [{share = 1, characters = [1, 9]}]\n[load]"))
    assert found.loads == (Load("bursty", 5.0, 8.0), Load("bursty", 10.5, 8.0))
    assert found.notes.lengths == (Lengths(1.0, 1, 9),)
    assert [str(load) for load in found.loads] == ["bursty 5/s", "bursty 10.5/s"]
    assert [str(Load("closed", n)) for n in (1.0, 2.0)] == ["1 caller", "2 callers"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('title = "t"', 'titel = "t"', "'title' is missing"),
        ('title = "t"', 'title = "t"\nround = 1', "unknown key 'round'"),
        ('title = "t"', 'title = "t"\nrounds = 0', "above 0"),
        ('kind = "closed"', 'kind = "endless"', "one of closed, poisson, bursty"),
        ("concurrency = 4", "concurrency = 0", "above 0"),
        ("concurrency = 4", "rate = 4", "'concurrency' is missing"),
        ('kind = "closed"\nconcurrency = 4', 'kind = "bursty"\nrate = 4\nburst = 0.5', "burst"),
        ("[load]", "lengths = [{share = 0.5, characters = 9}]\n[load]", "do not make 1"),
        ("[load]", "lengths = [{share = 1, characters = [9, 1]}]\n[load]", "from low to high"),
        ("[load]", "[processors]\nsystem = [-1]\n[load]", "no list of processors"),
        ('name = "fastapi"', 'name = "fastapi"\nprotocol = "smtp"', "protocol is one of"),
        ('[[system]]\nname = "fastapi"', "system = []", "unknown key"),
        ('name = "fastapi"', 'name = "fastapi"\n[[system]]\nname = "fastapi"', "one label"),
    ],
)
def test_what_is_wrong_is_refused(read, before, after, said) -> None:
    assert before in MINIMAL
    with pytest.raises(Invalid, match=said):
        read(MINIMAL.replace(before, after))


def test_a_command_line_may_change_it(read) -> None:
    found = read(MINIMAL + '[[system]]\nname = "wardgate"\n')
    made = scenario.changed(found, rounds=1, seconds=2.5, only=("wardgate",))
    assert (made.rounds, made.seconds) == (1, 2.5)
    assert [entry.label for entry in made.systems] == ["wardgate"]
    with pytest.raises(Invalid, match="no system 'x'"):
        scenario.changed(found, only=("x",))
