from __future__ import annotations

import os

import pytest

from wardgate.engine import cpus


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 16 processors whose control groups are files of the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    class Machine:
        own = tmp_path / "own"
        groups = tmp_path / "cgroup"

        def write(self, file, content):
            path = self.groups / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

        def count(self):
            return cpus.available(self.groups, self.own)

    return Machine()


def test_without_a_quota_it_is_the_affinity(machine):
    assert machine.count() == 16
    machine.write("cpu.max", "max 100000\n")
    assert machine.count() == 16


@pytest.mark.parametrize(("quota", "count"), [("200000", 2), ("150000", 2), ("10000", 1)])
def test_a_quota_counts_and_a_part_of_a_processor_is_one(machine, quota, count):
    machine.write("cpu.max", f"{quota} 100000\n")
    assert machine.count() == count


def test_the_smallest_quota_from_the_own_group_up_counts(machine):
    machine.own.write_text("0::/pods/one\n")
    machine.write("cpu.max", "max 100000")
    machine.write("pods/cpu.max", "800000 100000")
    machine.write("pods/one/cpu.max", "300000 100000")
    assert machine.count() == 3


def test_version_1_quotas_count(machine):
    machine.own.write_text("5:cpu,cpuacct:/one\n4:memory:/two\n")
    machine.write("cpu/cpu.cfs_quota_us", "-1")
    machine.write("cpu/cpu.cfs_period_us", "100000")
    assert machine.count() == 16
    machine.write("cpu/one/cpu.cfs_quota_us", "400000")
    machine.write("cpu/one/cpu.cfs_period_us", "100000")
    assert machine.count() == 4


def test_a_group_outside_the_view_is_not_followed(machine):
    machine.own.write_text("0::/../outside\n")
    machine.write("../cpu.max", "100000 100000")
    assert machine.count() == 16


@pytest.mark.parametrize("content", ["", "nonsense", "0 0", "100000", "100000 0"])
def test_a_file_that_makes_no_sense_is_no_quota(machine, content):
    machine.write("cpu.max", content)
    assert machine.count() == 16


def test_on_this_machine_it_is_between_one_and_all():
    assert 1 <= cpus.available() <= (os.cpu_count() or 1)
