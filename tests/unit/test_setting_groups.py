"""The groups of settings by themselves: what goes together, and what is loopback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.setting_groups import Engine, Registry, is_loopback


@given(st.ip_addresses(v=4))
def test_loopback_is_the_block_of_this_machine(address) -> None:
    assert is_loopback(str(address)) == str(address).startswith("127.")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("::1", True),
        ("127.8.9.1", True),
        ("localhost.example", False),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback_by_name(host, local) -> None:
    assert is_loopback(host) is local


ELSEWHERE = {"kind": "triton", "triton_url": "triton.example:8001"}


@pytest.mark.parametrize(
    "engine",
    [
        {"kind": "triton"},
        {"kind": "triton", "triton_url": "127.0.0.1:8001"},
        {"kind": "triton", "triton_url": "[::1]:8001"},
        {**ELSEWHERE, "triton_ca": "ca.pem"},
        {**ELSEWHERE, "triton_ca": "ca.pem", "triton_cert": "c.pem", "triton_key": "k.pem"},
        {**ELSEWHERE, "triton_insecure_plaintext": True, "triton_cancel": True},
    ],
)
def test_a_triton_of_ones_own_or_elsewhere(engine) -> None:
    assert Engine(**engine).kind == "triton"


@pytest.mark.parametrize(
    "engine",
    [
        ELSEWHERE,  # plain text to another host
        {"triton_url": "127.0.0.1:8001"},
        {"kind": "triton", "triton_url": "127.0.0.1"},
        {"kind": "triton", "triton_url": ":8001"},
        {"kind": "triton", "triton_url": "127.0.0.1:http"},
        {"kind": "triton", "triton_ca": "ca.pem"},
        {"kind": "triton", "triton_cancel": True},
        {**ELSEWHERE, "triton_ca": "ca.pem", "triton_cert": "c.pem"},
        {**ELSEWHERE, "triton_insecure_plaintext": True, "triton_cert": "c", "triton_key": "k"},
        {**ELSEWHERE, "triton_ca": "ca.pem", "triton_control": "control"},
    ],
)
def test_a_triton_that_cannot_be_reached_safely_is_refused(engine) -> None:
    with pytest.raises(ValueError, match="triton"):
        Engine(**engine)


def test_a_model_is_served_as_text_or_as_tensors() -> None:
    assert Registry(models=("a",), tensor_models=("b",)).names == ("a", "b")
    with pytest.raises(ValueError, match="different names"):
        Registry(models=("a",), tensor_models=("a",))
