"""The shipped sentiment model in float32, made from its int8 file: `python benchmarks/float32.py OUT`.

The plain graph that a float32 export has, of the weights that `training/sentiment/restore.py` reads
from the int8 file. What is measured against runs on this file where the trained float32 weights are
not at hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from servers import SHIPPED

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.sentiment.export import float32, write
from training.sentiment.restore import restored
from training.sentiment.shape import Shape


def made(out: Path) -> Path:
    """Write the float32 graph to `out`, unless it is there; return `out`."""
    if not out.exists():
        shape = Shape()
        write(float32(restored(SHIPPED / "model.onnx", shape), shape), out)
    return out


if __name__ == "__main__":
    print(made(Path(sys.argv[1])))
