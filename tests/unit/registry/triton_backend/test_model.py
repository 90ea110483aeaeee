"""The model file inside Triton, without Triton: who runs with whom, and who gets which rows.

Triton's module exists only in its own process: its two value types stand in here. The contract
tests run the file in the real server; what torch runs is tested in tests/training.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_models
from tiny_models import LOST_ID, NAN_ID, expected
from wardgate.registry.export import PYTHON_BACKEND


@dataclass
class Tensor:
    name: str
    values: np.ndarray

    def as_numpy(self) -> np.ndarray:
        return self.values


@dataclass
class InferenceResponse:
    tensors: list[Tensor]
    error: object = None


@dataclass
class Request:
    ids: np.ndarray
    mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.ids = np.asarray(self.ids, np.int64)
        self.mask = np.ones_like(self.ids)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The model file with the tiny model, as Triton's stub would load it."""
    utils = ModuleType("triton_python_backend_utils")
    utils.Tensor, utils.InferenceResponse, utils.TritonError = Tensor, InferenceResponse, str
    utils.get_input_tensor_by_name = lambda request, name: Tensor(
        name, request.ids if name == "input_ids" else request.mask
    )
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "1").mkdir()
    (folder / "1" / "model.onnx").write_bytes(tiny_models.fingerprint().graph)
    spec = importlib.util.spec_from_file_location("triton_model", PYTHON_BACKEND)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton_python_backend_utils", utils)
        patch.setattr(sys, "path", list(sys.path))
        spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    config = {
        "input": [{"name": "input_ids"}, {"name": "attention_mask"}],
        "output": [{"name": "logits"}],
        "max_batch_size": 8,
        "instance_group": [{"count": 1}],
    }
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(folder),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    return model


rows = st.integers(1, 40).flatmap(
    lambda length: st.lists(
        st.lists(st.integers(1, 500), min_size=length, max_size=length), min_size=1, max_size=3
    )
)


@settings(max_examples=50)
@given(calls=st.lists(rows, min_size=1, max_size=6))
def test_each_request_gets_exactly_its_rows(loaded, calls) -> None:
    answers = loaded.execute([Request(call) for call in calls])
    for call, answer in zip(calls, answers, strict=True):
        assert answer.error is None
        (logits,) = answer.tensors
        np.testing.assert_array_equal(logits.values, expected(call))


def test_one_length_is_one_run_and_short_ones_go_first(loaded, monkeypatch) -> None:
    shapes = []
    run = loaded._run

    def watched(inputs):
        shapes.append(inputs[0].shape)
        return run(inputs)

    monkeypatch.setattr(loaded, "_run", watched)
    loaded.execute([Request([[1] * length] * count) for length, count in ((9, 1), (4, 2), (9, 3))])
    assert shapes == [(2, 4), (4, 9)]


def test_without_batching_every_request_runs_alone(loaded, monkeypatch) -> None:
    monkeypatch.setattr(loaded, "_batched", False)
    assert list(loaded._by_shape([[np.ones((1, 4))]] * 3)) == [[0], [1], [2]]


def test_rows_that_go_missing_fail_their_length_and_no_other(loaded) -> None:
    answers = loaded.execute([Request([[LOST_ID, 1]]), Request([[5, 6]]), Request([[7, 8, 9]])])
    assert [answer.error for answer in answers] == ["The model's run failed."] * 2 + [None]
    np.testing.assert_array_equal(answers[2].tensors[0].values, expected([[7, 8, 9]]))


def test_what_is_not_finite_is_the_gateways_to_refuse(loaded) -> None:
    answers = loaded.execute([Request([[NAN_ID, 1]]), Request([[5, 6]])])
    assert np.isnan(answers[0].tensors[0].values).all()
    np.testing.assert_array_equal(answers[1].tensors[0].values, expected([[5, 6]]))


@pytest.fixture
def threads(loaded, monkeypatch):
    """What is asked for each thread, in place of being done: nice value, policy, cores."""
    inside = type(loaded).initialize.__globals__
    asked = {"nice": {}, "policy": {}, "cores": {}}
    for name, value in {
        "setpriority": lambda _, thread, nice: asked["nice"].__setitem__(thread, nice),
        "sched_setscheduler": lambda thread, policy, _: asked["policy"].__setitem__(thread, policy),
        "sched_getaffinity": lambda _: {2, 3, 4, 5},
        "sched_setaffinity": asked["cores"].__setitem__,
    }.items():
        monkeypatch.setattr(inside["os"], name, value)
    return inside, asked


def each(value):
    return dict.fromkeys((int(task.name) for task in Path("/proc/self/task").iterdir()), value)


def test_while_it_warms_up_others_go_first(threads, monkeypatch) -> None:
    inside, asked = threads
    monkeypatch.setitem(inside, "may_come_back", lambda: True)
    monkeypatch.setattr(inside["threading"], "Timer", Later)
    aside = inside["Aside"]()
    assert asked == {"nice": each(10), "policy": each(os.SCHED_IDLE), "cores": {}}
    aside.busier()
    assert asked == {"nice": each(10), "policy": each(os.SCHED_OTHER), "cores": {}}
    aside.end()
    aside.busier()  # the timer may be late
    assert asked == {"nice": each(0), "policy": each(os.SCHED_OTHER), "cores": {}}


def test_without_the_right_to_come_back_it_keeps_to_half_of_the_cores(threads, monkeypatch) -> None:
    inside, asked = threads
    monkeypatch.setitem(inside, "may_come_back", lambda: False)
    aside = inside["Aside"]()
    assert asked == {"nice": {}, "policy": {}, "cores": each([2, 3])}
    aside.end()
    assert asked == {"nice": {}, "policy": {}, "cores": each([2, 3, 4, 5])}


@pytest.mark.parametrize("limit", [0, 20])
def test_the_right_to_come_back_is_a_limit_or_a_capability(threads, monkeypatch, limit) -> None:
    inside, _ = threads
    monkeypatch.setattr(inside["resource"], "getrlimit", lambda _: (limit, limit))
    holds = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16) >> 23 & 1
    assert inside["may_come_back"]() == bool(limit or holds)


def test_the_first_row_that_is_none_of_the_warm_up_ends_it(loaded, threads, monkeypatch) -> None:
    inside, _ = threads
    ended = []
    monkeypatch.setitem(inside, "_aside", SimpleNamespace(end=lambda: ended.append(True)))
    loaded.execute([Request([[1] * 4] * 2), Request([[1] * 9])])
    assert ended == []
    for _ in range(2):
        loaded.execute([Request([[1] * 4]), Request([[1, 2, 3]])])
    assert ended == [True]


def test_the_end_of_the_process_gives_way_too(loaded, threads) -> None:
    loaded.finalize()
    assert threads[1]["nice"] == each(10)


class Later:
    """A timer that never comes."""

    def __init__(self, seconds, do) -> None:
        self.daemon = False

    def start(self) -> None:
        assert self.daemon
