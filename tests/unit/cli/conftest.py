"""The command line in this process, and one real gateway for all its tests."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import Process

from wardgate.cli import main


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def wardgate(monkeypatch, capsys) -> Iterator[Callable[..., Done]]:
    """Return a way to run a command as `main` does, with its exit code.

    What a command sets for its whole process is set back, or not set at all.
    """
    monkeypatch.setattr("wardgate.web.run.forbid_core_files", lambda: None)
    own, root = logging.getLogger("wardgate"), logging.getLogger()
    kept = own.handlers, own.level, own.propagate, root.handlers

    def run(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["wardgate", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return Done(code, shown.out, shown.err)

    yield run
    own.handlers, own.level, own.propagate, root.handlers = kept


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway that runs as a user starts it."""
    home = tmp_path_factory.mktemp("served")
    log = home / "stderr.log"
    with log.open("w") as stderr:
        popen = subprocess.Popen(
            [sys.executable, "-m", "wardgate", "serve", "--port", "0", "--state", home / "state"],
            env={**os.environ, "WARDGATE_DEID__PROCESSES": "0"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert popen.stdout is not None
    line = popen.stdout.readline().split()
    try:
        assert line[:1] == ["ready"], log.read_text()
        yield Process(popen, home / "state", line[1], line[line.index("metrics") + 1])
    finally:
        if popen.poll() is None:
            popen.terminate()
        popen.wait(60)
        popen.stdout.close()
