from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import environment, system
from wardgate.cli.bench.environment import Absent
from wardgate.cli.bench.table import Invalid

SYSTEMS = SCENARIOS.parent / "systems"
MAKER = """
import json, pathlib, sys
name, precision, registry = sys.argv[1:]
if name == "broken":
    sys.exit("it is broken")
entry = pathlib.Path(registry) / name / "1"
entry.mkdir(parents=True)
(entry / "manifest.json").write_text(json.dumps({"labels": ["a"], "max_length": 8}))
print("made", file=open(pathlib.Path(registry).parent / "times", "a"))
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "wardgate-bench"


def test_wardgates_own_environment_serves_what_needs_no_other() -> None:
    assert environment.python(system.read(SYSTEMS, "fastapi")) == Path(sys.executable)
    assert environment.versions(Path(sys.executable))["wardgate"]


def test_an_environment_is_made_once(monkeypatch, cache) -> None:
    ran = []
    monkeypatch.setattr(environment.venv, "create", lambda home, **_: home.mkdir(parents=True))
    monkeypatch.setattr(
        environment.subprocess,
        "run",
        lambda c, **_: ran.append(c) or CompletedProcess(c, 0, "", ""),
    )
    lit = system.read(SYSTEMS, "litserve")
    first, second = environment.python(lit), environment.python(lit)
    assert first == second == cache / "environments" / "litserve" / "bin" / "python"
    assert len(ran) == 1
    assert ran[0][-3:] == list(lit.requires)


def test_what_does_not_install_is_absent(monkeypatch) -> None:
    monkeypatch.setattr(environment.venv, "create", lambda home, **_: home.mkdir(parents=True))
    monkeypatch.setattr(
        environment.subprocess, "run",
        lambda c, **_: CompletedProcess(c, 1, "", "x\nERROR: No matching distribution\n"),
    )  # fmt: skip
    with pytest.raises(Absent, match="No matching distribution"):
        environment.python(system.read(SYSTEMS, "litserve"))


def test_the_shipped_model_is_the_packages_own() -> None:
    found = environment.model("sentiment", "int8", SYSTEMS)
    assert found.shipped
    assert (found.entry / "model.onnx").is_file()
    assert found.manifest["labels"] == ["negative", "positive"]


def test_other_models_are_made_once(tmp_path, cache) -> None:
    (tmp_path / "systems").mkdir()
    with pytest.raises(Invalid, match="no model 'sentiment' in fp32"):
        environment.model("sentiment", "fp32", tmp_path / "systems")
    (tmp_path / "models.py").write_text(MAKER)
    for _ in range(2):
        found = environment.model("distilbert", "int8", tmp_path / "systems")
    assert not found.shipped
    assert json.loads((found.entry / "manifest.json").read_text()) == found.manifest
    assert (cache / "models" / "times").read_text() == "made\n"
    with pytest.raises(Invalid, match="could not make broken in int8: it is broken"):
        environment.model("broken", "int8", tmp_path / "systems")
