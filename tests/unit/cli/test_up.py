"""`wardgate up`: a newcomer's first minute, and what is shown in it."""

from __future__ import annotations

import re

import click
import pytest
from tests.conftest import run_wardgate

from wardgate.cli.up import _coloured, _hops
from wardgate.telemetry import HOPS
from wardgate.types import EntityType


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> str:
    done = run_wardgate(
        "up", "--once", "--port", "0", state=tmp_path_factory.mktemp("up") / "state",
        WARDGATE_DEID__PROCESSES="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def section(shown: str, title: str) -> str:
    found = re.search(rf"^-- {title}.*\n((?:(?!-- ).*\n)*)", shown, re.MULTILINE)
    assert found is not None, shown
    return found[1]


def test_the_note_goes_in_and_comes_out_without_its_names(shown) -> None:
    note = section(shown, "the note, as it was sent")
    clean = section(shown, "de-identified")
    numbers = set(re.findall(r"\d{5,}", note)) | set(re.findall(r"\S+@\S+", note))
    assert len(numbers) >= 3
    for secret in numbers:
        assert secret not in clean
    assert "[NAME]" in clean
    assert len(note.splitlines()) > 5


def test_the_prediction_and_every_hop_are_shown(shown) -> None:
    scores = [float(s) for s in re.findall(r"\d\.\d{4}", section(shown, "the prediction"))]
    assert sum(scores) == pytest.approx(1, abs=0.001)
    timed = section(shown, "where the time went")
    assert {line.split()[0] for line in timed.splitlines() if line} == set(HOPS)


def test_the_audit_record_is_shown_and_verified(shown) -> None:
    record = section(shown, "the audit record")
    assert "kind=intent" in record
    assert "kind=outcome" in record
    assert "status=200" in record
    assert re.search(r"\d+ records verified", record)


def test_what_to_type_next_is_shown(shown) -> None:
    following = section(shown, "go on")
    for command in ("WARDGATE_TOKEN=$(", "curl ", " predict "):
        assert command in following
    assert "/docs" in shown


@pytest.mark.parametrize("arguments", [["--tls-cert", __file__, "--tls-key", __file__]])
def test_it_shows_the_development_gateway_alone(wardgate, tmp_path, arguments) -> None:
    done = wardgate("up", "--once", "--state", tmp_path / "state", *arguments)
    assert done.code == 2
    assert "without TLS" in done.err


def test_a_gateway_that_cannot_start_is_no_success(wardgate, tmp_path) -> None:
    tmp_path.chmod(0o755)
    done = wardgate("up", "--once", "--port", "0", "--state", tmp_path)
    assert done.code == 2
    assert "0700" in done.err


def test_tags_are_coloured_by_type_and_nothing_else_is() -> None:
    text = "[NAME] met [NAME] on [DATE] [sic] [UNKNOWN]"
    coloured = _coloured(text)
    assert click.unstyle(coloured) == text
    assert coloured.count("\x1b[0m") == 3
    assert all("\x1b" in _coloured(f"[{label}]") for label in EntityType)


def test_hops_are_read_from_server_timing() -> None:
    assert _hops("auth;dur=0.031, infer;dur=2.500") == [("auth", 0.031), ("infer", 2.5)]
