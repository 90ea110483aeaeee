"""Wardgate: the privacy boundary for clinical AI.

`from wardgate import Deidentifier` de-identifies text in process, without any server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardgate.deid.deidentify import Deidentifier

    __version__: str

__all__ = ["Deidentifier", "__version__"]


def __getattr__(name: str) -> object:
    """Load on first use, so that `import wardgate` stays quick."""
    if name == "Deidentifier":
        return import_module("wardgate.deid.deidentify").Deidentifier
    if name == "__version__":
        return import_module("importlib.metadata").version("wardgate")
    raise AttributeError(f"module 'wardgate' has no attribute {name!r}")
