"""A caller's tensors as arrays of numpy: of the model's names, types and sizes, or refused. Pure.

They come in JSON, element by element, or in binary form. No sentence of a refusal holds a value.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardgate.engine.runner import Port
from wardgate.errors import BodyInvalid
from wardgate.types import DTYPES
from wardgate.web import oip

_KINDS = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}
"""What an element of JSON may be, by numpy's kind of the data type."""
_SIZE = 1 << 31
"""Largest size of a dimension."""


def wanted(ports: Sequence[Port], outputs: Sequence[oip.Wanted]) -> list[Port]:
    """Return the outputs to give, in the order asked for; all where none was named.

    Raises BodyInvalid for one that the model has not, or that was named twice.
    """
    known = {port.name: port for port in ports}
    oip.check_outputs(outputs, list(known))
    return [known[each.name] for each in outputs] or list(ports)


def arrays(ports: Sequence[Port], inputs: Sequence[oip.Input]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a model by name. Raises BodyInvalid."""
    known = {port.name: port for port in ports}
    names = [tensor.name for tensor in inputs]
    if len(set(names)) != len(names) or set(names) != set(known):
        raise BodyInvalid(
            f"Give each input of the model once: {', '.join(known)}.", reason="tensor-inputs"
        )
    return {tensor.name: _array(known[tensor.name], tensor) for tensor in inputs}


def _array(port: Port, tensor: oip.Input) -> NDArray[Any]:
    wrong = BodyInvalid(
        f"Input '{port.name}' is {port.dtype} of shape {port.sizes}, its data of that size and "
        "in the range of the type.",
        reason="tensor-shape",
    )
    if tensor.parameters or tensor.datatype != port.dtype or len(tensor.shape) != len(port.shape):
        raise wrong
    # Before the product: sizes are the caller's, and may be of any length. None is 0: beside it no
    # data bounds the others, and a graph may make an output of that size.
    if any(not 0 < size <= _SIZE for size in tensor.shape):
        raise wrong
    if any(own not in (-1, size) for own, size in zip(port.sizes, tensor.shape, strict=True)):
        raise wrong
    dtype = np.dtype(DTYPES[port.dtype]).newbyteorder("<")
    count = math.prod(tensor.shape)
    if isinstance(tensor.data, bytes | memoryview):
        if len(tensor.data) != count * dtype.itemsize:
            raise wrong
        found = np.frombuffer(tensor.data, dtype)
        if port.dtype == "BOOL" and found.view(np.uint8).max() > 1:
            raise wrong
    else:
        elements = oip.flat(tensor.data, tensor.shape)
        if len(elements) != count or not _fits(elements, dtype):
            raise wrong
        with np.errstate(over="ignore"):
            found = np.array(elements, dtype)
        # JSON has no infinity: it is a number that the type cannot hold
        if dtype.kind == "f" and not np.isfinite(found).all():
            raise wrong
    return found.astype(DTYPES[port.dtype], copy=False).reshape(tensor.shape)


def _fits(elements: Sequence[Any], dtype: np.dtype[Any]) -> bool:
    """Whether each element of JSON is of the kind of a data type, and numpy takes it as it is."""
    if any(type(element) not in _KINDS[dtype.kind] for element in elements):
        return False
    if dtype.kind == "b":
        return True
    # numpy would wrap an integer around; a float it makes of whatever Python's own can hold
    if dtype.kind == "f":
        return all(-sys.float_info.max <= element <= sys.float_info.max for element in elements)
    bounds = np.iinfo(dtype.str)
    return all(bounds.min <= element <= bounds.max for element in elements)
