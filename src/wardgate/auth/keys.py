"""Where an issuer's keys come from: a JSON Web Key Set in a file, or one held in memory.

A source has a generation. It changes as soon as the source may have changed, so that tokens
verified under the old keys are verified anew; the keys themselves are read by `load`, away from the
path of requests. A source that cannot be read gives no keys: the last good ones are not kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from wardgate.auth.keyset import MAX_BYTES, KeySet, parse_key_set
from wardgate.errors import KeysUnavailable

CHECK_SECONDS = 1.0
"""A file is looked at no more often than this."""


class KeySource(Protocol):
    """Gives the keys of one issuer."""

    def generation(self, now: float) -> int:
        """Return a number that changes with the keys; takes microseconds. `now`: Unix seconds."""
        ...

    def load(self) -> KeySet:
        """Return the keys of the current generation; may read a file.

        Raises KeysUnavailable where they cannot be had.
        """
        ...


class StaticKeys:
    """A key set held in memory."""

    def __init__(self, jwks: bytes | Mapping[str, Any]) -> None:
        self._keys = parse_key_set(jwks)

    def generation(self, now: float) -> int:  # noqa: ARG002 -- never changes
        """Return 0."""
        return 0

    def load(self) -> KeySet:
        """Return the keys."""
        return self._keys


class FileKeys:
    """A key set in a file, read again once the file has changed.

    One `stat` each second tells whether it has, by modification time, size and inode. `load` may
    run in any thread; `generation` belongs to the event loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = 0
        self._checked_at = float("-inf")
        self._stamp: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[int, int, int], KeySet] | None = None

    def generation(self, now: float) -> int:
        """Return the generation, after a look at the file where the last is a second old."""
        if not 0 <= now - self._checked_at < CHECK_SECONDS:
            self._checked_at = now
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._generation += 1
        return self._generation

    def load(self) -> KeySet:
        """Read the file, unless it is as it was when last read.

        Raises KeysUnavailable where it cannot be read or is refused.
        """
        with self._lock:
            stamp = self._look()
            if stamp is None:
                raise KeysUnavailable(reason="keys-unreadable")
            if self._loaded is not None and self._loaded[0] == stamp:
                return self._loaded[1]
            try:
                with self._path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    keys = parse_key_set(file.read(MAX_BYTES + 1))
            except OSError:
                raise KeysUnavailable(reason="keys-unreadable") from None
            # The stamp of what was read: a file replaced in between is read again next time.
            self._loaded = (_stamp(status), keys)
            return keys

    def _look(self) -> tuple[int, int, int] | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_mtime_ns, status.st_size, status.st_ino)
