"""A registry of small real tensor models: `vitals` FP32 [n, 3] to `risk` FP32 [n, 1]."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

import tiny_models
from tiny_registry import KEY
from wardgate.registry.signature import sign

NAME = "risk"
GOLDEN = {"vitals": {"shape": [1, 3], "data": [1, 2, 3]}}
"""Its sum is 6."""


def graph(factor: float = 1.0, *, columns: int = 3) -> bytes:
    """Return a graph that sums each row and multiplies by `factor`: its version tells it apart."""
    nodes = [
        helper.make_node("ReduceSum", ["vitals", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "factor"], ["risk"]),
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "scorer",
            [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", columns])],
            [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["n", 1])],
            [
                numpy_helper.from_array(np.array([1], np.int64), "axis"),
                numpy_helper.from_array(np.array(factor, np.float32), "factor"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def manifest(model: bytes, version: str, risk: float, **changes: Any) -> dict[str, Any]:
    """Return a manifest whose golden example comes out as `risk`."""
    digest = hashlib.sha256(model).hexdigest()
    right = {"risk": {"shape": [1, 1], "data": [risk]}}
    return {
        "format": 1,
        "name": NAME,
        "version": version,
        "kind": "tensor",
        "phi_free": True,
        "precision": "fp32",
        "files": {"model.onnx": {"sha256": digest, "bytes": len(model)}},
        "inputs": [{"name": "vitals", "dtype": "FP32", "shape": ["n", 3]}],
        "outputs": [{"name": "risk", "dtype": "FP32", "shape": ["n", 1]}],
        "golden": [{"inputs": GOLDEN, "outputs": right, "tolerance": 0.001}],
        "added_by": "tests",
        "added_at": "2026-11-22T10:00:00Z",
        **changes,
    }


def add(
    registry: Path,
    version: str,
    factor: float = 1.0,
    *,
    risk: float | None = None,
    model: bytes | None = None,
    key: Ed25519PrivateKey | None = KEY,
    **changes: Any,
) -> Path:
    """Write a version of the model, signed unless `key` is None, and return its folder."""
    home = registry / NAME / version
    home.mkdir(parents=True)
    content = graph(factor) if model is None else model
    (home / "model.onnx").write_bytes(content)
    right = 6.0 * factor if risk is None else risk
    raw = tiny_models.as_json(manifest(content, version, right, **changes))
    (home / "manifest.json").write_bytes(raw)
    if key is not None:
        (home / "signature.json").write_bytes(sign(raw, key))
    return home
