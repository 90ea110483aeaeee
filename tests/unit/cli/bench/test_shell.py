from __future__ import annotations

import signal

import pytest

from wardgate.cli.bench import shell


def test_a_line_goes_to_standard_error(capsys) -> None:
    shell.say("so far")
    assert capsys.readouterr().err == "so far\n"


def test_terminate_is_taken_as_an_interrupt(monkeypatch) -> None:
    handlers = {}
    monkeypatch.setattr(shell.signal, "signal", handlers.__setitem__)
    shell.ends_on_terminate()
    with pytest.raises(KeyboardInterrupt):
        handlers[signal.SIGTERM](signal.SIGTERM, None)
