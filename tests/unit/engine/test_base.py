from __future__ import annotations

import inspect

import pytest

from wardgate.engine.base import Engine
from wardgate.engine.onnx import OnnxEngine
from wardgate.engine.remote import RemoteEngine

PORT = {"infer", "check", "close", "local"}


def test_the_port_is_narrow():
    assert {name for name in vars(Engine) if not name.startswith("_")} == PORT


@pytest.mark.parametrize("cls", [OnnxEngine, RemoteEngine])
def test_every_engine_has_the_ports_own_signatures(cls):
    for name in PORT - {"local"}:
        assert inspect.signature(getattr(cls, name)) == inspect.signature(getattr(Engine, name))
    assert isinstance(cls.local, bool)
