from __future__ import annotations

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import forms, system
from wardgate.cli.bench.table import Invalid

FOLDER = SCENARIOS.parent / "systems"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
ONE = """
title = "t"
command = ["x"]
ready = "/"
[call.http1]
path = "/p"
form = "text"
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_system_of_the_repository_is_whole(name) -> None:
    found = system.read(FOLDER, name)
    assert found.title
    assert found.about
    for _, call in found.calls:
        assert call.form in forms.FORMS
    scripts = [word.removeprefix("{systems}/") for word in found.command if "{systems}" in word]
    assert all((FOLDER / script).is_file() for script in scripts)


def test_the_systems_of_the_issue_are_there() -> None:
    assert {"fastapi", "triton-unbatched", "triton-dynamic", "pytriton", "wardgate",
            "wardgate-triton", "litserve", "ray", "bentoml", "mlserver"} <= set(NAMES)  # fmt: skip


def test_an_unknown_system_is_told_with_those_that_there_are() -> None:
    with pytest.raises(Invalid, match=r"no system 'x'; there are .*fastapi.*wardgate"):
        system.read(FOLDER, "x")


def test_a_protocol_that_it_does_not_speak() -> None:
    with pytest.raises(Invalid, match="litserve does not speak grpc"):
        system.read(FOLDER, "litserve").call("grpc")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('ready = "/"', "", "either 'ready' or 'ready_line'"),
        ('ready = "/"', 'ready = "/"\nready_line = "r"', "either"),
        ('form = "text"', 'form = "text"\nx = 1', "unknown key 'x'"),
        ("[call.http1]", "[call.http9]", "unknown key 'http9'"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path, before, after, said) -> None:
    (tmp_path / "one.toml").write_text(ONE.replace(before, after))
    with pytest.raises(Invalid, match=said):
        system.read(tmp_path, "one")


def test_the_folder_lies_beside_the_scenario_or_one_above(tmp_path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(Invalid, match="no folder 'systems'"):
        system.folder_of(tmp_path / "a" / "b" / "s.toml")
    (tmp_path / "a" / "systems").mkdir()
    assert system.folder_of(tmp_path / "a" / "b" / "s.toml") == tmp_path / "a" / "systems"
