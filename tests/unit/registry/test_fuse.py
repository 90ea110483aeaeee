from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from wardgate.registry import graph
from wardgate.registry.fuse import ATTENTION_OPSET, MICROSOFT, fused
from wardgate.registry.quantize import quantize
from wardgate.registry.trial import session

HEADS, WIDE = 2, 16


def attention(*, opset=18, bias=True, mask=True, padding=False, **more) -> onnx.ModelProto:
    """Projections of `x` [batch, length, WIDE] and com.microsoft's attention over them."""
    rng = np.random.default_rng(7)
    tensors = {name: rng.normal(size=(WIDE, WIDE)) for name in ("wq", "wk", "wv")}
    tensors["bias"] = rng.normal(size=3 * WIDE)
    given = ["q", "k", "v", "bias" * bias, "padding" * padding, "added" * mask]
    nodes = [helper.make_node("MatMul", ["x", f"w{name}"], [name]) for name in "qkv"]
    nodes.append(
        helper.make_node(
            "MultiHeadAttention", given, ["mixed"], domain=MICROSOFT, num_heads=HEADS, **more
        )
    )
    value, floats = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs = [value("x", floats, ["b", "n", WIDE])]
    inputs += [value("added", floats, ["b", 1, "n", "n"])] if mask else []
    inputs += [value("padding", onnx.TensorProto.INT32, ["b", "n"])] if padding else []
    made = helper.make_graph(
        nodes,
        "g",
        inputs,
        [value("mixed", floats, None)],
        [numpy_helper.from_array(each.astype("f"), name) for name, each in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def feed(*, mask=True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    gone = np.arange(5) >= np.array([[5], [3]])  # the second row ends after three
    added = np.broadcast_to(np.where(gone, -1e4, 0.0)[:, None, None, :], (2, 1, 5, 5))
    x = rng.normal(size=(2, 5, WIDE)).astype("f")
    return {"x": x, "added": added.astype("f")} if mask else {"x": x}


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> np.ndarray:
    return session(graph.write(model)).run(None, given)[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("more", [{}, {"scale": 0.5}])
def test_attention_is_onnx_s_own_and_gives_the_same(bias, mask, more):
    exact = attention(bias=bias, mask=mask, **more)
    quick = fused(exact)
    assert "Attention" in kinds(quick)
    assert "MultiHeadAttention" not in kinds(quick)
    assert quick.opset_import[0].version == ATTENTION_OPSET
    given = feed(mask=mask)
    assert run(quick, given) == pytest.approx(run(exact, given), abs=1e-5)


def test_the_bias_of_attention_becomes_part_of_the_products():
    exact = attention()
    given = feed()
    rounded = quantize(exact, 2, reaches={"x": float(np.abs(given["x"]).max())})
    assert kinds(rounded) == ["QuantizeLinear", *["MatMulIntegerToFloat"] * 3, "Attention"]
    wanted = run(exact, given)
    assert np.abs(run(rounded, given) - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize(
    "unlike", [{"opset": 17}, {"padding": True}, {"unidirectional": 1}, {"mask_filter_value": -9.0}]
)
def test_attention_of_another_form_stays(unlike):
    exact = attention(**unlike)
    assert fused(exact) == exact


@pytest.mark.parametrize(("opset", "domain"), [(18, MICROSOFT), (20, "")])
def test_gelu_loses_its_bias_to_an_addition_and_gives_the_same(opset, domain):
    value, floats = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    bias = np.random.default_rng(9).normal(size=WIDE).astype("f")
    made = helper.make_graph(
        [helper.make_node("BiasGelu", ["x", "bias"], ["y"], domain=MICROSOFT)],
        "g",
        [value("x", floats, ["n", WIDE])],
        [value("y", floats, None)],
        [numpy_helper.from_array(bias, "bias")],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    exact = helper.make_model(made, opset_imports=opsets, ir_version=9)
    quick = fused(exact)
    assert [(node.op_type, node.domain) for node in quick.graph.node] == [
        ("Add", ""),
        ("Gelu", domain),
    ]
    given = {"x": np.random.default_rng(10).normal(size=(5, WIDE)).astype("f")}
    assert run(quick, given) == pytest.approx(run(exact, given), abs=1e-6)


def test_what_is_given_is_not_changed():
    exact = attention()
    before = exact.SerializeToString()
    fused(exact)
    assert exact.SerializeToString() == before
