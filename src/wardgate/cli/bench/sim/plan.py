"""A simulation: how many replicas, behind which balancer, under whose load. Read from a TOML file.

title = "1,000 replicas, a zone fails"
service = "../service/sentiment.json"  # a measurement, beside this file (`wardgate bench service`)
seed = 1
seconds = 2                    # that count, of each rate
warm = 0.5                     # before them
timeout = 10
rate = [800000, 1000000]       # requests per second of all callers together, Poisson

[replicas]
count = 1000
cells = 20                     # groups of replicas, each behind a balancer of its own
balance = "two-choices"        # or random, round-robin, least-in-flight
workers = 4                    # event loops of each replica
sessions = 8                   # of each; 0 as measured
processors = 12                # of each; 0 as measured

[admission]                    # for each worker; the gateway's own settings where left out
rate = 2000

[tenants]
count = 1000
zipf = 1.1                     # the n-th sends in proportion to n ** -zipf; 0: all alike
bulk = 0.2                     # share of calls that are bulk
retries = 1                    # how often a caller tries again where its replica is gone

[failure]                      # a zone goes; left out: none does
at = 1.0                       # seconds after `warm`
share = 0.333                  # of the replicas
notice = 0.2                   # seconds until balancers leave it out; till then they try it
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wardgate.cli.bench.sim.balance import POLICIES
from wardgate.cli.bench.table import Invalid, Table
from wardgate.setting_groups import Admission


@dataclass(frozen=True, slots=True)
class Replicas:
    """The gateways; `sessions` and `processors` of 0 are those of the measurement."""

    count: int = 1
    cells: int = 1
    balance: str = "two-choices"
    workers: int = 1
    sessions: int = 0
    processors: int = 0


@dataclass(frozen=True, slots=True)
class Tenants:
    """Who calls."""

    count: int = 1
    zipf: float = 0.0
    bulk: float = 0.0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A zone that goes `at` seconds after the warm-up."""

    at: float
    share: float
    notice: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation. Times in seconds."""

    title: str
    about: str
    service: Path
    seed: int
    seconds: float
    warm: float
    timeout: float
    rates: tuple[float, ...]
    replicas: Replicas = Replicas()
    limits: Admission = field(default_factory=Admission)
    tenants: Tenants = Tenants()
    failure: Failure | None = None

    def settings(self) -> dict[str, Any]:
        """Return what a result says of it."""
        told = asdict(self)
        told["service"] = self.service.name
        told["limits"] = self.limits.model_dump()
        return told


def read(path: Path) -> Plan:
    """Read a simulation. Raises Invalid with file and key."""
    top = Table.read(path)
    found = Plan(
        title=top.take("title", str),
        about=top.take("about", str, ""),
        service=(path.parent / top.take("service", str)).resolve(),
        seed=top.take("seed", int, 1),
        seconds=top.take("seconds", float, 2.0),
        warm=top.take("warm", float, 0.5),
        timeout=top.take("timeout", float, 10.0),
        rates=top.numbers("rate"),
        replicas=_replicas(top.below("replicas")),
        limits=_limits(top.below("admission")),
        tenants=_tenants(top.below("tenants")),
        failure=_failure(top.below("failure")) if "failure" in top else None,
    )
    top.close()
    if found.seconds <= 0 or found.warm < 0 or found.timeout <= 0:
        raise Invalid(f"{path.name}: seconds and timeout are above 0.")
    return found


def _replicas(table: Table) -> Replicas:
    usual = Replicas()
    found = Replicas(
        count=table.take("count", int, usual.count),
        cells=table.take("cells", int, usual.cells),
        balance=table.take("balance", str, usual.balance),
        workers=table.take("workers", int, usual.workers),
        sessions=table.take("sessions", int, usual.sessions),
        processors=table.take("processors", int, usual.processors),
    )
    table.close()
    if found.balance not in POLICIES:
        raise Invalid(f"{table.where}: the balance is one of {', '.join(POLICIES)}.")
    if not 1 <= found.cells <= found.count or found.workers < 1:
        raise Invalid(f"{table.where}: each cell has a replica, and each replica a worker.")
    if min(found.sessions, found.processors) < 0:
        raise Invalid(f"{table.where}: sessions and processors are not below 0.")
    return found


def _limits(table: Table) -> Admission:
    try:
        return Admission(**table.rest())
    except ValidationError as error:
        raise Invalid(f"{table.where}: {error.errors()[0]['msg']}.") from None


def _tenants(table: Table) -> Tenants:
    found = Tenants(
        count=table.take("count", int, 1),
        zipf=table.take("zipf", float, 0.0),
        bulk=table.take("bulk", float, 0.0),
        retries=table.take("retries", int, 0),
    )
    table.close()
    if found.count < 1 or found.zipf < 0 or not 0 <= found.bulk <= 1 or found.retries < 0:
        raise Invalid(f"{table.where}: one tenant or more; bulk is a share.")
    return found


def _failure(table: Table) -> Failure:
    found = Failure(
        at=table.take("at", float),
        share=table.take("share", float, 1 / 3),
        notice=table.take("notice", float, 0.0),
    )
    table.close()
    if not 0 < found.share < 1 or found.at < 0 or found.notice < 0:
        raise Invalid(f"{table.where}: the share is above 0 and below 1, and no time below 0.")
    return found
