"""Runs an exported model inside Triton's Python backend: ONNX Runtime, or torch on a GPU.

The requests of one call may have different lengths: those of one shape run together, small ones
first, and each request gets exactly its own rows back. Triton has checked names, types and ranks,
the gateway checks what comes back; here nothing is checked twice. No message quotes a value.

Until the first row that is none of the warm-up's, the process goes last (`Aside`): loading and
warming up take seconds of processor time, which the models that serve would wait for.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# The backend's Python leaves its environment aside. Names the folders of numpy and ONNX Runtime
# where Triton runs from a wheel; in NVIDIA's container they are installed where Python looks.
sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]

_STUB = "triton_python_backend_stub"
"""The program that runs this file inside Triton."""
_NICE = 10
_IDLE_SECONDS = 60.0
_NICE_TO_ZERO = 20
"""RLIMIT_NICE from which a thread may come back to nice 0 (getrlimit(2))."""
_CAP_SYS_NICE = 23
"""linux/capability.h"""


class Aside:
    """Lets all other processes go first, until `end`.

    SCHED_IDLE (sched(7)) gives way at once; a mere nice value lets a thread finish its slice first,
    of some milliseconds, and every step of a model that serves would wait for that. Under full load
    an idle thread hardly runs, so after a while a nice value takes its place. Coming back takes a
    right; without it the process keeps to half of the cores instead.
    """

    def __init__(self) -> None:
        self.cores = sorted(os.sched_getaffinity(0))
        """Those that are there when it has ended."""
        self._may = may_come_back()
        self._ended = False
        if self._may:
            _each_thread(lambda thread: _set(thread, os.SCHED_IDLE, _NICE))
            timer = threading.Timer(_IDLE_SECONDS, self.busier)
            timer.daemon = True
            timer.start()
        else:
            half = self.cores[: max(1, len(self.cores) // 2)]
            _each_thread(lambda thread: os.sched_setaffinity(thread, half))

    def end(self) -> None:
        """Be as any other process from now on, with all threads there are."""
        self._ended = True
        if self._may:
            _each_thread(lambda thread: _set(thread, os.SCHED_OTHER, 0))
        else:
            _each_thread(lambda thread: os.sched_setaffinity(thread, self.cores))

    def busier(self) -> None:
        """Take a nice value in the place of the idle policy."""
        if not self._ended:
            _each_thread(lambda thread: _set(thread, os.SCHED_OTHER, _NICE))
        if self._ended:  # meanwhile
            self.end()


def may_come_back() -> bool:
    """Whether this process may raise its priority again."""
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= _NICE_TO_ZERO:
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


def _set(thread: int, policy: int, nice: int) -> None:
    os.sched_setscheduler(thread, policy, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, thread, nice)


def _each_thread(do: Callable[[int], None]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended
            do(int(thread.name))


_aside: Aside | None = None
# Before the imports, which take long. A gateway that may do so raises and lowers it from outside.
if Path("/proc/self/exe").resolve().name == _STUB and "MODEL_RAISED" not in os.environ:
    _aside = Aside()

import numpy as np  # noqa: E402

with suppress(ImportError):  # outside Triton only `torch_run` is wanted
    import triton_python_backend_utils as pb_utils

_IDS = ["input_ids", "attention_mask"]

Run = Callable[[list[Any]], list[Any]]
"""From the inputs to the outputs, each in the order of the configuration."""


class TritonPythonModel:
    """One instance of the model, as Triton's Python backend calls it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model of `<repository>/<version>`."""
        _close_shared_memory()
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        self._batched = config["max_batch_size"] > 0
        gpu = args["model_instance_kind"] == "GPU"
        self._text = self._batched and not gpu and self._inputs == _IDS
        cores = len(os.sched_getaffinity(0) if _aside is None else _aside.cores)
        if not config.get("model_warmup"):
            _serve()
        folder = Path(args["model_repository"], args["model_version"])
        device = int(args["model_instance_device_id"]) if gpu else None
        if gpu and (folder / "weights.safetensors").is_file():
            self._run = torch_run(folder, f"cuda:{device}")
        else:
            count = sum(int(group.get("count", 1)) for group in config["instance_group"])
            threads = int(os.environ.get("MODEL_THREADS", "0")) or max(1, cores // count)
            self._run = _onnx(folder, self._outputs, device, threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its rows, in the order of the requests."""
        answers: list[Any] = [None] * len(requests)
        inputs = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]
            for request in requests
        ]
        if _aside is not None and not all(map(_warms_up, inputs)):
            _serve()
        for places in self._by_shape(inputs):
            try:
                shares = self._together([inputs[place] for place in places])
            except Exception:  # noqa: BLE001 -- whatever it is, its text may quote values
                failed = pb_utils.TritonError("The model's run failed.")
                for place in places:
                    answers[place] = pb_utils.InferenceResponse([], failed)
                continue
            for place, share in zip(places, shares, strict=True):
                tensors = map(pb_utils.Tensor, self._outputs, share)
                answers[place] = pb_utils.InferenceResponse(list(tensors))
        return answers

    def finalize(self) -> None:
        """Give way: the end of the process takes a while, and nobody waits for it."""
        _each_thread(lambda thread: os.setpriority(os.PRIO_PROCESS, thread, _NICE))

    def _by_shape(self, inputs: list[list[Any]]) -> Iterator[list[int]]:
        """Yield the places of requests that run together, small shapes first."""
        places: dict[Any, list[int]] = {}
        for place, arrays in enumerate(inputs):
            shape = tuple(array.shape[1:] for array in arrays) if self._batched else place
            places.setdefault(shape, []).append(place)
        for shape in sorted(places):
            yield places[shape]

    def _together(self, inputs: list[list[Any]]) -> list[list[Any]]:
        """Run the rows of several requests as one batch; return each request's share."""
        columns = [
            column[0] if len(column) == 1 else np.concatenate(column)
            for column in zip(*inputs, strict=True)
        ]
        if self._text:  # the bucket is for Triton's batcher; no row needs what all leave unused
            used = np.flatnonzero(columns[1].any(0))
            length = int(used[-1]) + 1 if len(used) else 1
            columns = [np.ascontiguousarray(column[:, :length]) for column in columns]
        if len(inputs) == 1:
            return [self._run(columns)]
        found = self._run(columns)
        rows = len(columns[0])
        if any(len(output) != rows for output in found):  # a row could go to another's caller
            raise ValueError
        ends = np.cumsum([len(arrays[0]) for arrays in inputs])[:-1]
        return list(map(list, zip(*(np.split(output, ends) for output in found), strict=True)))


def _warms_up(inputs: list[Any]) -> bool:
    """Whether a request is of the warm-up: rows of ones alone, which no text gives."""
    return all((array == 1).all() for array in inputs)


def _serve() -> None:
    """Take the model's place among those that serve."""
    global _aside  # noqa: PLW0603 -- there is one process for each model
    if _aside is not None:
        _aside.end()
        _aside = None


def _onnx(folder: Path, outputs: list[str], device: int | None, threads: int) -> Run:
    """Return a run of `model.onnx` on a GPU, or on the processor with so many threads."""
    import onnxruntime  # noqa: PLC0415 -- torch models do without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A plan of memory would be kept for ever for each shape seen.
    options.enable_mem_pattern = False
    # Spinning threads would take the processor from the gateway.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device is not None:
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device}))
    graph = str(folder / "model.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    names = [tensor.name for tensor in session.get_inputs()]

    def run(inputs: list[Any]) -> list[Any]:
        found = session.run(outputs, dict(zip(names, inputs, strict=True)))
        return list(found)

    return run


def torch_run(folder: Path, device: str) -> Run:
    """Return a run of `weights.safetensors` in bfloat16, as `config.json` says.

    `wardgate models add` tries the weights with it on the processor (`device` `cpu`).
    """
    import safetensors.torch  # noqa: PLC0415
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    task = str(config.architectures[0]).partition("For")[2]
    kind = getattr(transformers, f"AutoModelFor{task}")
    model = kind.from_config(config, trust_remote_code=False).to(torch.bfloat16)
    model.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    model.eval().to(device)

    def run(inputs: list[Any]) -> list[Any]:
        ids, mask = (torch.from_numpy(array).to(device) for array in inputs)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        return [logits.float().cpu().numpy()]

    return run


def _close_shared_memory() -> None:
    """Make the memory shared with Triton this user's alone: it is created readable for all."""
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            _, found, name = line.partition(" /dev/shm/")
            if found:
                with suppress(OSError):
                    Path("/dev/shm", name).chmod(0o600)  # noqa: S108 -- of shm_open(3)
