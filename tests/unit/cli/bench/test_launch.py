from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wardgate.cli.bench import launch, probe
from wardgate.cli.bench.environment import Model
from wardgate.cli.bench.launch import Failed, running
from wardgate.cli.bench.scenario import Entry, Load, Notes, Processors, Scenario
from wardgate.cli.bench.system import Call, System

SERVER = """
import http.server, os, subprocess, sys
print(os.environ["WORD"], flush=True)
# one that leaves the group, and one that stays
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def system(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    return System(
        name="small", title="t", about="", folder=tmp_path, requires=(),
        command=("{python}", "{systems}/server.py", "{port}"), tls=(), ready="/", ready_line="",
        token=("{python}", "-c", "print('token of {name}')"), metrics="",
        environment=(("WORD", "{name} {threads}"),),
        registry_environment=(("REGISTRY", "{registry}"),),
        calls=(("http1", Call("/v/{name}", "text", "port", ())),),
    )  # fmt: skip


@pytest.fixture
def model(tmp_path):
    return Model("m", "int8", tmp_path, tmp_path / "m" / "1", {"labels": ["a"], "max_length": 9})


@pytest.fixture
def scenario(tmp_path):
    core = min(os.sched_getaffinity(0))
    return Scenario("s", tmp_path, "t", "", "m", 1, 1, 1.0, 0.0, 3, 1.0,
                    Notes(tmp_path, 1, 0.0, ()), (Load("closed", 1.0),),
                    Processors((core,), ()), ())  # fmt: skip


ENTRY = Entry("small", "small", "int8", "http1", False, (), (("MORE", "1"),))


def environ(pid):
    raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(each.decode().split("=", 1) for each in raw if each)


def test_it_runs_and_leaves_nothing_behind(system, model, scenario, monkeypatch) -> None:
    monkeypatch.setenv("WARDGATE_ENGINE__KIND", "triton")  # a developer's own settings do not count
    with running(system, ENTRY, model, scenario, Path(sys.executable)) as there:
        assert there.target.path == "/v/m"
        assert there.target.token == "token of m"
        tree = there.tree()
        assert len(tree) == 3
        variables = environ(there.pid)
        assert variables["WORD"] == "m 3"
        assert variables["MORE"] == "1"
        assert variables["REGISTRY"] == str(model.registry)
        assert "WARDGATE_ENGINE__KIND" not in variables
        assert os.sched_getaffinity(there.pid) == set(scenario.processors.system)
        assert there.batches().since(there.batches()) is None
        folder = there.counts.parent
    assert not any(probe.started(pid) for pid in tree)
    assert not folder.exists()


def test_an_interrupt_ends_it_too(system, model, scenario) -> None:
    with (  # noqa: PT012 -- it comes from inside
        pytest.raises(KeyboardInterrupt),
        running(system, ENTRY, model, scenario, Path(sys.executable)) as there,
    ):
        tree = there.tree()
        raise KeyboardInterrupt
    assert not any(probe.started(pid) for pid in tree)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": ("{python}", "-c", "raise SystemExit('no such model')")}, "no such model"),
        ({"token": ("{python}", "-c", "raise SystemExit('no issuer')")}, "no token: no issuer"),
        ({"ready": "", "ready_line": "never"}, "was not ready within"),
    ],
)
def test_what_does_not_start_says_why(  # noqa: PLR0917 -- fixtures
    system, model, scenario, monkeypatch, changes, said
) -> None:
    if "ready_line" in changes:
        monkeypatch.setattr(launch, "READY_SECONDS", 0.5)
    with (
        pytest.raises(Failed, match=said),
        running(replace(system, **changes), ENTRY, model, scenario, Path(sys.executable)),
    ):
        pass


def test_a_system_without_tls_cannot_be_asked_for_it(system, model, scenario) -> None:
    with (
        pytest.raises(Failed, match="no TLS"),
        running(system, replace(ENTRY, tls=True), model, scenario, Path(sys.executable)),
    ):
        pass


def test_a_line_makes_it_ready(system, model, scenario) -> None:
    lined = replace(system, ready="", ready_line="m 3")
    with running(lined, ENTRY, model, scenario, Path(sys.executable)) as there:
        assert there.started_seconds > 0
