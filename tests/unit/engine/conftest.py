"""The real Triton server, started once for the tests of this folder."""

from __future__ import annotations

import pytest

from triton_bench import TritonBench, need


@pytest.fixture(scope="session")
def triton_bench(tmp_path_factory):
    need()
    folder = tmp_path_factory.mktemp("triton")
    folder.chmod(0o700)
    bench = TritonBench(folder)
    yield bench
    bench.close()


@pytest.fixture
def triton(triton_bench):
    """The server as the test before left it, started again where that ended it."""
    triton_bench.settle()
    return triton_bench
