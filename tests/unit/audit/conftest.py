from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from wardgate.audit.event import Entry, intent_entry, outcome_entry
from wardgate.audit.keys import SigningKey, open_signing_key
from wardgate.audit.sink import SqliteSink
from wardgate.types import Intent, ModelId, Outcome, Principal

NOW = 1_760_000_000_000_000


def principal(subject: str = "subject-1", tenant: str = "north") -> Principal:
    return Principal(
        issuer="https://issuer.test",
        subject=subject,
        client="client-1",
        tenant=tenant,
        scopes=frozenset({"infer:sentiment"}),
        token_id="jti-1",
        expires_at=2e9,
    )


def intent(request_id: str = "r-1", caller: Principal | None = None) -> Intent:
    return Intent(
        request_id=request_id,
        trace_id="0" * 32,
        principal=caller or principal(),
        route="/v1/predict",
        purpose="TREAT",
        policy="safe_harbor",
        policy_hash="b" * 64,
        model=ModelId("sentiment", "1.0.0", "a" * 64),
        patient_pseudonym=None,
        body_digest="c" * 64,
    )


def outcome(request_id: str = "r-1", tenant: str = "north") -> Outcome:
    return Outcome(request_id, tenant, 200, "ok", {"NAME": 1}, {"deid": 120})


def group(first: int, size: int) -> list[Entry]:
    """Alternating intents and outcomes, numbered from `first`."""
    return [
        intent_entry(intent(f"r-{n // 2}"), NOW + n)
        if n % 2 == 0
        else outcome_entry(outcome(f"r-{n // 2}"), NOW + n)
        for n in range(first, first + size)
    ]


class Store:
    """A real chain on disk: 6 groups of 5 records behind the start record, 31 in all."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.folder = folder / "audit"
        self.key: SigningKey = open_signing_key(self.state)
        self.path = self.folder / "w0.db"
        self.heads = self.folder / "w0.heads"
        self.end = self.folder / "w0.end"

    def open(self, name: str = "w0") -> SqliteSink:
        return SqliteSink(self.folder, name, key=self.key, version="test", clock=lambda: NOW)

    def fill(self, groups: int = 6, size: int = 5, name: str = "w0") -> Store:
        sink = self.open(name)
        for number in range(groups):
            sink.append(group(number * size, size))
            sink.seal()
        sink.close()
        return self

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        with closing(sqlite3.connect(self.path)) as store, store:
            for statement in statements:
                rows = store.execute(statement).fetchall()
        return rows

    def record(self, seq: int) -> bytes:
        (found,) = self.sql(f"SELECT record FROM records WHERE seq = {seq}")
        assert isinstance(found[0], bytes)
        return found[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Makers of sample values; invented identities."""
    return SimpleNamespace(
        principal=principal, intent=intent, outcome=outcome, group=group, store=Store, now=NOW
    )
