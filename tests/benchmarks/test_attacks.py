"""How attacks are run and what is kept of them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import attacks
from attacks import NOTHING, REFUSED, SUCCEEDS


class Server:
    def works(self):
        return True


@pytest.fixture
def starts(monkeypatch):
    """Two deployments that count their starts."""
    counted = []

    def deployment(name):
        @contextmanager
        def start(home):
            counted.append(name)
            yield Server()

        return start

    monkeypatch.setattr(attacks, "DEPLOYMENTS", {name: deployment(name) for name in ("a", "b")})
    return counted


def tried(monkeypatch, names=("a", "b"), before=None, **outcomes):
    """Run attacks of those names, each with that outcome."""

    def made(name, outcome):
        def attack(target):
            """Try it."""
            if isinstance(outcome, Exception):
                raise outcome
            return outcome, "seen"

        attack.__name__ = name
        return attack

    monkeypatch.setattr(
        attacks, "attacks", lambda cancels: [made(*each) for each in outcomes.items()]
    )
    return attacks.run(1, names, before or {})


def test_one_start_does_for_all_attacks(monkeypatch, starts):
    found = tried(monkeypatch, echo=SUCCEEDS, trace=REFUSED, metrics=NOTHING)
    assert starts == ["a", "b"]
    assert found["succeed"] == {"a": 1, "b": 1}
    assert found["each"]["trace"] == {
        "attack": "Try it",
        "a": {"verdict": REFUSED, "observed": "seen"},
        "b": {"verdict": REFUSED, "observed": "seen"},
    }


def test_a_server_that_was_stopped_is_started_for_the_next_attack(monkeypatch, starts):
    tried(monkeypatch, ("a",), malformed=SUCCEEDS, leaving=REFUSED, echo=REFUSED)
    assert starts == ["a", "a"]


def test_a_broken_connection_is_a_refusal(monkeypatch, starts):
    found = tried(monkeypatch, ("a",), echo=httpx.ReadError("broken"))
    assert found["each"]["echo"]["a"] == {"verdict": REFUSED, "observed": "ReadError"}


def test_what_was_found_of_others_is_kept(monkeypatch, starts):
    first = tried(monkeypatch, echo=SUCCEEDS)
    found = tried(monkeypatch, ("b",), first, echo=REFUSED)
    assert found["succeed"] == {"a": 1, "b": 0}


def test_each_attack_says_what_it_is_and_all_names_differ():
    made = attacks.attacks(1)
    assert all(attack.__doc__ for attack in made)
    assert len({attack.__name__ for attack in made}) == len(made)
    assert {attack.__name__ for attack in made} >= attacks.STOPPING
