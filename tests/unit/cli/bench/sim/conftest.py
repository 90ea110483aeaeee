"""Service times made up: a batch costs a little, and a little for each token."""

from __future__ import annotations

import itertools

import pytest

from wardgate.cli.bench.sim.cell import Cell
from wardgate.cli.bench.sim.replica import Call, Replica
from wardgate.cli.bench.sim.service import Note, Overhead, Service
from wardgate.engine.batch import Bucket
from wardgate.setting_groups import Admission
from wardgate.types import Principal, Priority

LENGTHS = (16, 64)
FREE = Admission(rate=1e6, burst=1_000_000, concurrency=100_000, in_flight=100_000)
NUMBERS = itertools.count()


def made(**changes):
    """A service of one session on two processors."""
    shots = tuple(
        (rows, length, 0.001 + 0.00005 * rows * length) for length in LENGTHS for rows in (1, 2, 4)
    )
    given = {
        "model": "m",
        "sessions": 1,
        "threads": 1,
        "wide": 0,
        "buckets": tuple(Bucket(length, 4, 0.001 + 0.00005 * length) for length in LENGTHS),
        "rate": 10_000.0,
        "speed": (1.0, 2.0),
        "times": {1: shots, 2: shots},
        "notes": (Note((10,), 0.0001), Note((16,), 0.0), Note((50, 50), 0.0003)),
        "overhead": Overhead(front=0.0002, back=0.0001, wait=0.001),
    }
    return Service(**given | changes)


def fixed(seconds, **changes):
    """A service where each request takes exactly so long, alone on one processor."""
    return made(
        buckets=(Bucket(16, 1, seconds),),
        times={1: ((1, 16, seconds),)},
        notes=(Note((16,), 0.0),),
        overhead=Overhead(),
        speed=(1.0,),
        **changes,
    )


def replica(service=None, *, workers=1, limits=FREE, **changes):
    return Replica(service or made(), workers=workers, limits=limits, **changes)


def call(due=0.0, *, rows=(10,), priority=Priority.INTERACTIVE, timeout=100.0, who="a", tenant=0):
    return Call(
        next(NUMBERS), due, Principal("i", who, "", "t", frozenset(), "", 1e9), tenant, priority,
        [[0] * length for length in rows], 0.0, due + timeout,
    )  # fmt: skip


def drain(one):
    """Let a replica work until nothing is left; return (time, call) of each answer."""
    found = []
    while one.next() < float("inf"):
        found += one.step()
    return found


@pytest.fixture
def cell():
    """Return a way to make a cell whose balancer takes the replicas in turn."""

    def make(replicas, **changes):
        turn = itertools.count()
        given = {"begin": 0.0, "end": 1e9} | changes
        return Cell(replicas, lambda view: next(turn) % len(view), **given)

    return make
