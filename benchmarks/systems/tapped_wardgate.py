"""`wardgate` with a tap at its models' input (TAP, a file): its own engine's, or its Triton's."""

from __future__ import annotations

import os
from pathlib import Path

import tap

from wardgate.cli import main
from wardgate.registry import export

tap.listen(os.environ["TAP"])
if "TAPPED_BACKEND" in os.environ:
    export.PYTHON_BACKEND = Path(os.environ["TAPPED_BACKEND"])
main()
