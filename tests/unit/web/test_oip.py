"""Tensors in, a question to the flow out; what is not known is refused, and nothing is echoed."""

from __future__ import annotations

import contextlib
import datetime as dt
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.errors import BodyInvalid, BodyNotUtf8, TextTooLong
from wardgate.setting_groups import Limits
from wardgate.types import Priority
from wardgate.web.oip import Inference, Input, Wanted, ask, flat

LIMITS = Limits(rows=4, text_chars=10)
CANARY = "Okonkwo"


def binary(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def text(data: Any = ("fine",), shape: tuple[int, ...] = (1,), **changes: Any) -> Input:
    given = {"name": "text", "datatype": "BYTES", "shape": shape, "data": data, **changes}
    return Input(**given)


def asked(
    *inputs: Input,
    parameters: dict[str, Any] | None = None,
    outputs: tuple[Wanted, ...] = (),
    request_id: str = "",
    **options: Any,
) -> Any:
    inference = Inference(request_id, parameters or {}, inputs or (text(),), outputs)
    given = {"limits": LIMITS, "digest": "d", "model": "m", "version": "", **options}
    return ask(inference, **given)


def texts(*inputs: Input, limits: Limits = LIMITS) -> list[int]:
    return [len(each) for each in asked(*inputs, limits=limits).texts]


def test_the_question_is_that_of_rest() -> None:
    found = asked()
    assert (found.model, found.version, found.body_digest) == ("m", None, "d")
    assert repr(found.texts) == "[PHI(4 chars)]"
    assert found.context.timeout_ms == 10_000
    assert found.context.priority is Priority.INTERACTIVE
    assert asked(version="2").version == "2"


@pytest.mark.parametrize(
    "tensor",
    [
        text(["a", "bc"], (2,)),
        text([b"a", b"bc"], (2,)),
        text([["a"], ["bc"]], (2, 1)),
        text(["a", "bc"], (2, 1)),
        text(binary(b"a", b"bc"), (2,)),
        text(memoryview(binary(b"a", b"bc")), (2, 1)),
    ],
)
def test_texts_in_every_form(tensor: Input) -> None:
    assert texts(tensor) == [1, 2]


@given(st.lists(st.text(max_size=10), min_size=1, max_size=4))
def test_the_binary_form_gives_back_every_text(given: list[str]) -> None:
    elements = [each.encode() for each in given]
    lengths = [len(each) for each in given]
    assert texts(text(binary(*elements), (len(given),))) == lengths


@given(st.binary(max_size=64), st.integers(1, 4))
def test_any_bytes_are_taken_or_refused(data: bytes, rows: int) -> None:
    with contextlib.suppress(BodyInvalid, BodyNotUtf8, TextTooLong):
        assert len(texts(text(data, (rows,)))) == rows


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (text(name="input_ids"), "its own tensors are never a caller's input"),
        (text(name="Text"), "its own tensors are never a caller's input"),
        (text(datatype="INT64", data=[1]), "The datatype of 'text' is BYTES"),
        (text(shape=()), "The shape of 'text' is"),
        (text(shape=(1, 2)), "The shape of 'text' is"),
        (text(shape=(1, 1, 1)), "The shape of 'text' is"),
        (text(shape=(0,), data=[]), "1 to 4 texts"),
        (text(shape=(-1,)), "1 to 4 texts"),
        (text(shape=(5,), data=["a"] * 5), "1 to 4 texts"),
        (text(shape=(10**30,)), "1 to 4 texts"),
        (text(shape=(2,)), "not of its shape"),
        (text(["a", "b"], (1,)), "not of its shape"),
        (text([["a"], "b"], (2, 1)), "not of its shape"),
        (text([7]), "Each element of 'text' is a string"),
        (text([None]), "Each element of 'text' is a string"),
        (text([["a"]]), "Each element of 'text' is a string"),
        (text(binary(b"a")[:-1]), "cut off"),
        (text(binary(b"a") + b"\0"), "cut off"),
        (text(struct.pack("<I", 2**32 - 1)), "cut off"),
        (text(binary(b"a", b"b")), "not of its shape"),
        (text(b""), "not of its shape"),
        (text(parameters={"shared_memory_region": CANARY}), "shared memory is not served"),
    ],
)
def test_other_tensors_are_refused(tensor: Input, words: str) -> None:
    with pytest.raises(BodyInvalid, match=words) as raised:
        asked(tensor)
    assert CANARY not in raised.value.detail
    assert raised.value.reason.startswith("oip-")


def test_more_rows_than_the_shape_says_are_not_looked_at() -> None:
    with pytest.raises(BodyInvalid, match="not of its shape"):
        asked(text(binary(*[b""] * 100_000)))


def test_two_inputs_are_refused() -> None:
    with pytest.raises(BodyInvalid, match="the one input 'text'"):
        asked(text(), text())
    with pytest.raises(BodyInvalid, match="the one input 'text'"):
        ask(Inference("", {}, (), ()), model="m", version=None, limits=LIMITS, digest="")


def test_a_text_is_utf8_and_not_too_long() -> None:
    with pytest.raises(BodyNotUtf8):
        asked(text([b"\xff"]))
    with pytest.raises(BodyNotUtf8):
        asked(text(binary(b"\xed\xa0\x80")))
    assert texts(text([("\N{SNOWMAN}" * 10).encode()])) == [10]
    with pytest.raises(TextTooLong):
        asked(text(["a" * 11]))


# -- parameters -----------------------------------------------------------------------------------


def test_the_context_is_what_was_sent() -> None:
    context = asked(
        parameters={
            "purpose": "TREAT",
            "patient": "MRN 1",
            "policy": "limited_data_set",
            "timeout_ms": 50,
            "priority": "bulk",
            "reference_date": "2024-03-14",
        }
    ).context
    assert (context.purpose, context.policy, context.timeout_ms) == (
        "TREAT",
        "limited_data_set",
        50,
    )
    assert (context.priority, context.reference_date) == (Priority.BULK, dt.date(2024, 3, 14))
    assert repr(context.patient) == "PHI(5 chars)"


@pytest.mark.parametrize(
    ("sent", "priority"),
    [
        (0, Priority.INTERACTIVE),
        (1, Priority.INTERACTIVE),
        (2, Priority.BULK),
        (2**63, Priority.BULK),
        ("interactive", Priority.INTERACTIVE),
        ("bulk", Priority.BULK),
    ],
)
def test_tritons_priorities(sent: Any, priority: Priority) -> None:
    assert asked(parameters={"priority": sent}).context.priority is priority


@pytest.mark.parametrize(
    ("sent", "milliseconds"),
    [(0, 10_000), (1, 1), (1_000, 1), (1_001, 2), (2_500_000, 2_500), (10**30, 60_000)],
)
def test_tritons_timeout_is_in_microseconds(sent: int, milliseconds: int) -> None:
    assert asked(parameters={"timeout": sent}).context.timeout_ms == milliseconds


@pytest.mark.parametrize(("left", "milliseconds"), [(5, 5), (0, 1), (-3, 1), (90_000, 10_000)])
def test_the_transports_deadline_is_a_cap(left: int, milliseconds: int) -> None:
    assert asked(cap_ms=left).context.timeout_ms == milliseconds


@pytest.mark.parametrize(
    "parameters",
    [
        {"sequence_id": 1},
        {"sequence_start": False},
        {"model": CANARY},
        {CANARY: 1},
        {"headers": "x"},
        {"binary_data_output": True},
        {"priority": -1},
        {"priority": True},
        {"priority": 1.0},
        {"priority": CANARY},
        {"timeout": -1},
        {"timeout": 1.5},
        {"timeout": True},
        {"timeout": "5"},
        {"timeout": 5, "timeout_ms": 5},
        {"timeout_ms": 0},
        {"timeout_ms": 1.0},
        {"timeout_ms": True},
        {"timeout_ms": "5"},
        {"timeout_ms": float("nan")},
        {"purpose": CANARY},
        {"purpose": 1},
        {"patient": ""},
        {"patient": CANARY * 100},
        {"policy": f"{CANARY} {CANARY}"},
        {"reference_date": f"{CANARY}-01-01"},
        {"reference_date": "2999-01-01"},
        {"reference_date": 0},
    ],
)
def test_other_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(BodyInvalid) as raised:
        asked(parameters=parameters)
    assert CANARY not in raised.value.detail


@pytest.mark.parametrize("request_id", ["", "a", "batch-7.a:1_Z", "x" * 128])
def test_ids_that_come_back(request_id: str) -> None:
    asked(request_id=request_id)


@pytest.mark.parametrize("request_id", ["Mr Okonkwo", "a/b", "é", "x" * 129, "a\n", "<a>", "٣"])
def test_ids_that_do_not(request_id: str) -> None:
    with pytest.raises(BodyInvalid, match="The id has up to 128") as raised:
        asked(request_id=request_id)
    assert request_id not in raised.value.detail


def test_outputs_are_known_and_named_once() -> None:
    asked(outputs=(Wanted("scores"), Wanted("label", {"binary_data": True})))
    for outputs in ((Wanted("logits"),), (Wanted("label"), Wanted("label"))):
        with pytest.raises(BodyInvalid, match="each output at most once"):
            asked(outputs=outputs)
    for name in ("classification", "shared_memory_region", CANARY):
        with pytest.raises(BodyInvalid, match="no parameter but binary_data") as raised:
            asked(outputs=(Wanted("label", {name: 1}),))
        assert CANARY not in raised.value.detail


@pytest.mark.parametrize(
    ("data", "shape", "found"),
    [
        ([], [2], []),
        ([1, 2], [2], [1, 2]),
        ([1, 2, 3, 4], [2, 2], [1, 2, 3, 4]),
        ([[1, 2], [3, 4]], [2, 2], [1, 2, 3, 4]),
        ([[[1], [2]], [[3], [4]]], [2, 2, 1], [1, 2, 3, 4]),
        ([[1], [2, 3, 4]], [2, 2], []),
        ([[1, 2, 3, 4]], [2, 2], []),
        ([[1, 2], 3, 4], [2, 2], []),
        ([1, [2, 3], 4], [2, 2], [1, [2, 3], 4]),
        ([[1, 2], [3, 4]], [4], [[1, 2], [3, 4]]),
        ([[1] * 3], [1, 1 << 40], []),
        ((1, 2), [2], [1, 2]),
    ],
)
def test_elements_come_flat_or_nested_just_as_the_shape_is(data: Any, shape: Any, found: Any):
    assert flat(data, shape) == found
