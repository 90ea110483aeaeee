"""The binary frames between gateway workers and the engine process: bytes to values and back.

A frame is `length u32 | kind u8 | id u32 | body`, little-endian; `length` counts what follows it.
Ids are the client's and mark a request and its one answer. Both ends are of one version and one
user, and still nothing is taken on trust: sizes are bounded and must agree, or a frame is refused.

=========  ===============================================================================
INFER      budget ms u32, priority u8, name u8 + bytes, rows u16, length of each u16, ids i32
CANCEL     empty; there is no answer
DESCRIBE   empty
RESULT     rows u16, labels u16, logits f32
ERROR      retry after f32 (NaN for none), slug
SERVED     JSON: [[name, version, digest], ...]
=========  ===============================================================================
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from enum import IntEnum
from itertools import chain
from struct import Struct, error

import numpy as np

from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    ModelUnknown,
    NoteExceedsModel,
    Overloaded,
    WardgateError,
)
from wardgate.types import Encoding, Logits, ModelId, Priority

FRAME_BYTES = 4 << 20
"""Largest frame: some 1,000,000 token ids, far more than a queue holds."""

_HEAD = Struct("<IBI")
_INFER = Struct("<IB")
_SHAPE = Struct("<HH")
_RETRY = Struct("<f")
_PRIORITIES = tuple(Priority)
_ERRORS: dict[str, type[WardgateError]] = {
    cls.slug: cls
    for cls in (
        DeadlineExceeded,
        EngineUnavailable,
        ModelOutputInvalid,
        ModelUnknown,
        NoteExceedsModel,
        Overloaded,
    )
}


class Kind(IntEnum):
    """What a frame is."""

    INFER = 1
    CANCEL = 2
    DESCRIBE = 3
    RESULT = 4
    ERROR = 5
    SERVED = 6


class FrameInvalid(ValueError):
    """The peer sent what no peer of this version sends; the connection is closed."""


def frame(kind: Kind, number: int, body: bytes = b"") -> bytes:
    """Return one frame. Raises NoteExceedsModel where it would be too large for the peer."""
    if len(body) > FRAME_BYTES - _HEAD.size:
        raise NoteExceedsModel("The note has more tokens than the engine's queue holds.")
    return _HEAD.pack(_HEAD.size - 4 + len(body), kind, number) + body


class Reader:
    """Cuts a stream of bytes into frames; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Yield kind, id and body of each frame that `data` completes. Raises FrameInvalid."""
        held = self._held
        held += data
        at = 0
        try:
            while len(held) - at >= _HEAD.size:
                length, kind, number = _HEAD.unpack_from(held, at)
                if not _HEAD.size - 4 <= length <= FRAME_BYTES:
                    raise FrameInvalid("frame length")
                end = at + 4 + length
                if end > len(held):
                    break
                try:
                    known = Kind(kind)
                except ValueError:
                    raise FrameInvalid("frame kind") from None
                body = bytes(held[at + _HEAD.size : end])
                at = end
                yield known, number, body
        finally:
            del held[:at]


def pack_infer(model: str, encoding: Encoding, priority: Priority, budget: float) -> bytes:
    """Return the body of INFER; `budget` is the time left, seconds."""
    name = model.encode()
    lengths = array("H", map(len, encoding.rows))
    return b"".join(
        (
            _INFER.pack(min(max(0, int(budget * 1000)), 0xFFFFFFFF), _PRIORITIES.index(priority)),
            bytes((len(name),)),
            name,
            len(lengths).to_bytes(2, "little"),
            lengths.tobytes(),
            array("i", chain.from_iterable(encoding.rows)).tobytes(),
        )
    )


def unpack_infer(body: bytes) -> tuple[str, Encoding, Priority, float]:
    """Return model, rows, priority and the time left in seconds. Raises FrameInvalid."""
    try:
        budget, priority = _INFER.unpack_from(body)
        at = _INFER.size
        end = at + 1 + body[at]
        model = body[at + 1 : end].decode()
        count = int.from_bytes(body[end : end + 2], "little")
        lengths, ids = array("H"), array("i")
        lengths.frombytes(body[end + 2 : end + 2 + 2 * count])
        ids.frombytes(body[end + 2 + 2 * count :])
        urgency = _PRIORITIES[priority]
    except (error, ValueError, IndexError):
        raise FrameInvalid("infer") from None
    if len(lengths) != count or not count or 0 in lengths or sum(lengths) != len(ids):
        raise FrameInvalid("infer rows")
    rows, start = [], 0
    for length in lengths:
        rows.append(ids[start : start + length].tolist())
        start += length
    return model, Encoding(tuple(rows)), urgency, budget / 1000


def pack_result(logits: Logits) -> bytes:
    """Return the body of RESULT."""
    return _SHAPE.pack(*logits.shape) + logits.astype("<f4", copy=False).tobytes()


def unpack_result(body: bytes) -> Logits:
    """Return float32 [rows, labels]. Raises FrameInvalid."""
    try:
        rows, columns = _SHAPE.unpack_from(body)
        logits = np.frombuffer(body, "<f4", offset=_SHAPE.size).reshape(rows, columns)
    except (error, ValueError):
        raise FrameInvalid("result") from None
    return logits.astype(np.float32)


def pack_error(refusal: WardgateError) -> bytes:
    """Return the body of ERROR: the slug alone; the peer knows its sentence."""
    slug = refusal.slug if refusal.slug in _ERRORS else EngineUnavailable.slug
    retry = math.nan if refusal.retry_after is None else refusal.retry_after
    return _RETRY.pack(retry) + slug.encode()


def unpack_error(body: bytes) -> WardgateError:
    """Return the error to raise. Raises FrameInvalid."""
    try:
        (retry,) = _RETRY.unpack_from(body)
        cls = _ERRORS[body[_RETRY.size :].decode()]
    except (error, ValueError, KeyError):
        raise FrameInvalid("error") from None
    return cls(retry_after=None if math.isnan(retry) else retry)


def pack_served(models: tuple[ModelId, ...]) -> bytes:
    """Return the body of SERVED."""
    return json.dumps([[model.name, model.version, model.digest] for model in models]).encode()


def unpack_served(body: bytes) -> tuple[ModelId, ...]:
    """Return the models the peer serves. Raises FrameInvalid."""
    try:
        found = [ModelId(*map(str, entry)) for entry in json.loads(body)]
    except (ValueError, TypeError):
        raise FrameInvalid("served") from None
    return tuple(found)
