"""What a process sets for itself: no core file, no foreign log, a state folder of its own."""

from __future__ import annotations

import logging
import os

import pytest

from wardgate.errors import StateInvalid
from wardgate.web.process import StateLock, log_to_stderr, open_state


@pytest.fixture
def loggers():
    """Give the loggers back as they were."""
    own, root = logging.getLogger("wardgate"), logging.getLogger()
    kept = own.handlers, own.level, own.propagate, root.handlers
    yield
    own.handlers, own.level, own.propagate, root.handlers = kept


def test_our_own_sentences_are_logged_and_no_others(loggers, capsys) -> None:
    log_to_stderr()
    logging.getLogger("wardgate").info("ready")
    logging.getLogger("wardgate.server").warning("also ours")
    logging.getLogger("httpx").warning("POST Jane Roe")
    logging.getLogger("asyncio").error("Jane Roe")
    logging.warning("Jane Roe")  # noqa: LOG015 -- the root logger is the point
    shown = capsys.readouterr().err
    assert " INFO wardgate ready" in shown
    assert " WARNING wardgate.server also ours" in shown
    assert "Jane" not in shown


def test_logging_twice_says_everything_once(loggers, capsys) -> None:
    log_to_stderr()
    log_to_stderr()
    logging.getLogger("wardgate").info("ready")
    assert capsys.readouterr().err.count("ready") == 1


def test_the_state_folder_is_made_for_us_alone(tmp_path) -> None:
    folder = open_state(tmp_path / "a" / "state")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert open_state(folder) == folder


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o701])
def test_a_state_folder_that_is_open_to_others_is_refused(tmp_path, mode) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StateInvalid, match="0700"):
        open_state(tmp_path)


def test_a_state_folder_of_another_user_is_refused(tmp_path, monkeypatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StateInvalid, match="another user"):
        open_state(tmp_path)


def test_a_state_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateInvalid, match="cannot be made"):
        open_state(tmp_path / "file")
    with pytest.raises(StateInvalid, match="cannot be made"):
        open_state(tmp_path / "file" / "state")


def test_one_gateway_holds_a_state_folder(tmp_path) -> None:
    lock = StateLock(tmp_path)
    with pytest.raises(StateInvalid, match="Another gateway"):
        StateLock(tmp_path)
    lock.release()
    StateLock(tmp_path).release()
