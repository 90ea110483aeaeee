"""The commands that change models, against a real gateway; and those of one that is not there."""

from __future__ import annotations

import pytest

import tiny_models
import tiny_registry
from tiny_registry import NAME, TRUSTED

ENV = {
    "WARDGATE_REGISTRY__MODELS": f'["{NAME}"]',
    "WARDGATE_REGISTRY__TRUSTED_KEYS": TRUSTED,
    "WARDGATE_DEID__PROCESSES": "0",
    "WARDGATE_ENGINE__SESSIONS": "1",
    "WARDGATE_ENGINE__THREADS": "1",
}


@pytest.fixture
def gateway(start, tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    tiny_registry.add(state / "registry", "1", tiny_models.fingerprint().graph, "yes")
    found = start(state=state, **ENV)
    tiny_registry.add(state / "registry", "2", tiny_registry.other().graph, "no")
    tiny_registry.add(state / "registry", "3", tiny_models.always_nan().graph, "no")
    return found


def test_the_way_of_a_version(gateway):
    def models(*arguments):
        return gateway.wardgate("models", *arguments)

    shown = models("status")
    assert shown.stdout.startswith(f"{NAME}  version 1 serves  sha256:")
    assert "worker-0 at" in shown.stdout
    canary = models("canary", NAME, "2", "--percent", "20")
    assert canary.returncode == 0
    assert "candidate: version 2 (canary, 20 % of the requests)" in canary.stdout
    assert "verifying ...\n" in canary.stderr
    promoted = models("promote", NAME, "2")
    assert promoted.returncode == 0
    assert "version 2 serves" in promoted.stdout
    back = models("rollback", NAME)
    assert "version 1 serves" in back.stdout
    shadow = models("shadow", NAME, "2")
    assert "candidate: version 2 (shadow)" in shadow.stdout
    assert "agreed: 0" in shadow.stdout
    assert "version 2 was taken back" in models("rollback", NAME).stdout
    bad = models("promote", NAME, "3")
    assert bad.returncode == 1
    assert "refused: The model gave no valid output" in bad.stdout
    retired = models("retire", NAME, "3")
    assert "retired: 3" in retired.stdout
    again = models("promote", NAME, "3")
    assert again.returncode == 1
    assert "409 Change refused: Version 3 is retired." in again.stderr
    unasked = models("promote", NAME, "2", "--wait", "0")
    assert unasked.returncode == 0
    assert "running" in unasked.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("promote", NAME), "Missing argument"),
        (("canary", NAME, "2", "--percent", "100"), "--percent"),
        (("status", "--url", "http://127.0.0.1:1"), "did not answer"),
        (("status", "--url", "http://192.0.2.1"), "https alone"),
    ],
)
def test_what_cannot_be_asked(tmp_path, arguments, told):
    from tests.conftest import run_wardgate

    done = run_wardgate("models", *arguments, state=tmp_path, WARDGATE_TOKEN="x")
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_gateway_or_an_issuer_it_says_so(tmp_path):
    from tests.conftest import run_wardgate

    done = run_wardgate("models", "status", state=tmp_path)
    assert done.returncode == 2
    assert "development issuer" in done.stderr
