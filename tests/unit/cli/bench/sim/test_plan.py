from __future__ import annotations

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench.sim import plan, service
from wardgate.cli.bench.table import Invalid

TEXT = 'title = "t"\nservice = "s.json"\nrate = [10, 20]\n'


def read(tmp_path, more=""):
    (tmp_path / "a.toml").write_text(TEXT + more)
    return plan.read(tmp_path / "a.toml")


def test_what_is_left_out_is_as_usual(tmp_path) -> None:
    found = read(tmp_path)
    assert found.rates == (10.0, 20.0)
    assert found.service == (tmp_path / "s.json").resolve()
    assert found.replicas == plan.Replicas()
    assert found.limits.concurrency == 256
    assert found.failure is None
    assert found.settings()["service"] == "s.json"


def test_the_example_in_its_docstring_is_right(tmp_path) -> None:
    (tmp_path / "a.toml").write_text(plan.__doc__.partition("\n\n")[2])
    found = plan.read(tmp_path / "a.toml")
    assert found.replicas.cells == 20
    assert found.failure == plan.Failure(1.0, 0.333, 0.2)
    assert found.settings()["limits"]["rate"] == 2000


@pytest.mark.parametrize(
    "more",
    [
        "seconds = 0",
        "unknown = 1",
        "[replicas]\nbalance = 'best'",
        "[replicas]\ncount = 2\ncells = 3",
        "[replicas]\nsessions = -1",
        "[admission]\nrate = 0",
        "[admission]\nunknown = 1",
        "[tenants]\nbulk = 2.0",
        "[failure]\nshare = 0.5",
        "[failure]\nat = 1.0\nshare = 1.5",
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, more) -> None:
    with pytest.raises(Invalid, match=r"a\.toml"):
        read(tmp_path, more)


@pytest.mark.parametrize(
    "path", sorted((SCENARIOS.parent / "simulations").glob("*.toml")), ids=lambda path: path.stem
)
def test_those_of_the_repository_can_be_run(path) -> None:
    found = plan.read(path)
    assert service.read(found.service).notes
