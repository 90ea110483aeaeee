from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import command, probe

TWO = {"fastapi": (10, 50), "wardgate": (5, 100)}


def test_run_takes_changes_and_says_where_the_results_are(wardgate, monkeypatch, tmp_path) -> None:
    ran = []
    monkeypatch.setattr(command, "ends_on_terminate", lambda: None)
    monkeypatch.setattr(
        command.rounds, "run", lambda found, out, say: ran.append(found) or out / "x.json"
    )
    given = ("--out", tmp_path, "--rounds", 2, "--seconds", "1.5", "--only", "wardgate")
    done = wardgate("bench", "run", SCENARIOS / "smoke.toml", *given)
    assert done.out == f"{tmp_path / 'x.json'}\n"
    assert (ran[0].rounds, ran[0].seconds) == (2, 1.5)
    assert [entry.label for entry in ran[0].systems] == ["wardgate"]


def test_a_file_that_is_no_scenario_is_one_line_and_exit_code_2(wardgate, tmp_path) -> None:
    (tmp_path / "a.toml").write_text("title = 1")
    done = wardgate("bench", "run", tmp_path / "a.toml")
    assert done.code == 2
    assert done.err == "Error: a.toml: 'title' is no str.\n"


def test_report_and_compare(wardgate, written, tmp_path) -> None:
    written(TWO)
    folder = tmp_path / "results"
    done = wardgate("bench", "report", folder, "--price", "0.2")
    assert done.out == f"{folder / 'report.html'}\n"
    assert (folder / "made-cost.png").is_file()
    done = wardgate("bench", "compare", f"{folder}:fastapi", f"{folder}:wardgate")
    assert "made, fastapi -> wardgate, 8 callers" in done.out
    assert "better" in done.out
    assert wardgate("bench", "compare", folder, folder / "none").code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_system_and_generator(tmp_path, number) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "wardgate", "bench", "run", SCENARIOS / "smoke.toml",
         "--only", "fastapi", "--seconds", "60", "--out", tmp_path],
        stderr=subprocess.PIPE, text=True,
        # a shell's background jobs, and what they start, are deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:  # fmt: skip
        for line in process.stderr:
            if line.startswith("round 1"):
                break
        children = _children(process.pid, wanted=2)  # the system and the generator
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not any(map(probe.started, children))


def _children(parent, wanted):
    """The processes under one, once there are so many."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = probe.tree(parent)[1:]
        if len(found) >= wanted:
            return found
        time.sleep(0.05)
    raise AssertionError("it started no system and no generator")
