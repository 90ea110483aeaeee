from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS
from tests.unit.cli.bench.sim.conftest import made

from wardgate.cli.bench.sim import command


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(command, "ends_on_terminate", lambda: None)


def test_simulate(wardgate, tmp_path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"commit": "abc", **made().to_json()}))
    (tmp_path / "few.toml").write_text(
        'title = "t"\nservice = "s.json"\nseconds = 0.3\nwarm = 0.1\nrate = [100, 200]\n'
        "[replicas]\ncount = 4\ncells = 2\n"
    )
    done = wardgate(
        "bench", "simulate", tmp_path / "few.toml", "--out", tmp_path / "out", "--processes", 1
    )
    assert done.out == f"{tmp_path / 'out' / 'few.json'}\n"
    content = json.loads((tmp_path / "out" / "few.json").read_text())
    assert [each["rate"] for each in content["rates"]] == [100.0, 200.0]
    assert content["measured"]["commit"] == "abc"
    assert content["simulation"]["replicas"]["count"] == 4


@pytest.mark.parametrize(("within", "code"), [(True, 0), (False, 1)])
def test_validate_fails_where_it_is_too_far_off(wardgate, monkeypatch, within, code) -> None:
    asked = []
    monkeypatch.setattr(
        command.validate, "validate", lambda *given: asked.append(given) or (Path("v.json"), within)
    )
    done = wardgate("bench", "validate", SCENARIOS / "validate.toml", "--rounds", 1)
    assert (done.code, done.out) == (code, "v.json\n")
    assert asked[0][0].rounds == 1
    assert asked[0][1] == (0.3, 0.6, 0.85)


def test_service(wardgate, monkeypatch) -> None:
    monkeypatch.setattr(command.validate, "service", lambda *_: Path("s.json"))
    assert wardgate("bench", "service", SCENARIOS / "validate.toml").out == "s.json\n"
