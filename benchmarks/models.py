"""Models of the benchmarks that the package does not ship: `python models.py NAME PRECISION REGISTRY`.

* `sentiment` in fp32: the shipped int8 model's own weights, see `float32.py`;
* `distilbert` in fp32 or int8: DistilBERT's sizes (6 layers, 768 wide, 12 heads, 66 million weights)
  with random weights of a fixed seed. A forward pass takes the same time whatever the weights are;
  its answers mean nothing, so only time and memory may be read from its results. Its int8 file is
  rounded as `wardgate models add --int8` rounds, with steps from the benchmark's own notes.

Writes a registry entry by `wardgate models add`, the command that users have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from float32 import made
from servers import SHIPPED, notes
from tokenizers import Tokenizer

from wardgate.registry.quantize import quantize, rounded_values
from wardgate.registry.ranges import reaches

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.sentiment.export import Weights, float32, write
from training.sentiment.shape import Shape

DISTILBERT = Shape(width=768, inner=3072)
LABELS, LENGTH = 2, 256
RANGE_NOTES = 60
"""Notes from which the int8 steps are taken."""
SEED = 2602
SPREAD = 0.02
"""Standard deviation of BERT's initial weights."""
HEAD = 0.2
"""That of the head: wide enough for answers that differ from text to text."""


def random_weights(shape: Shape) -> Weights:
    """Return random weights of a fixed seed, as `training.sentiment.export` takes them."""
    rng = np.random.default_rng(SEED)
    wide, inner = shape.width, shape.inner

    def drawn(*size: int, spread: float = SPREAD) -> np.ndarray:
        return rng.normal(0, spread, size).astype(np.float32)

    weights = {
        "words.weight": drawn(shape.vocabulary, wide),
        "places.weight": drawn(shape.positions, wide),
        "dense.weight": drawn(wide, wide),
        "dense.bias": np.zeros(wide, np.float32),
        "head.weight": drawn(2, wide, spread=HEAD),
        "head.bias": np.zeros(2, np.float32),
    }
    norms = ["norm"]
    for at in (f"layers.{number}" for number in range(shape.layers)):
        norms += [f"{at}.norm1", f"{at}.norm2"]
        sizes = {"qkv": (3 * wide, wide), "out": (wide, wide), "up": (inner, wide),
                 "down": (wide, inner)}  # fmt: skip
        for name, size in sizes.items():
            weights[f"{at}.{name}.weight"] = drawn(*size)
            weights[f"{at}.{name}.bias"] = np.zeros(size[0], np.float32)
    for name in norms:
        weights[f"{name}.weight"] = np.ones(wide, np.float32)
        weights[f"{name}.bias"] = np.zeros(wide, np.float32)
    return weights


def graph(name: str, precision: str, folder: Path) -> Path:
    """Write a model's graph to `folder` and return it."""
    out = folder / "model.onnx"
    if name == "sentiment" and precision == "fp32":
        return made(out)
    if name != "distilbert" or precision not in ("fp32", "int8"):
        raise SystemExit(f"there is no model '{name}' in {precision}")
    write(float32(random_weights(DISTILBERT), DISTILBERT), out)
    if precision == "int8":
        exact = onnx.load(out)
        tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
        rows = [tokenizer.encode(text).ids[:LENGTH] for text in notes()[:RANGE_NOTES]]
        met = reaches(exact, rounded_values(exact, LABELS), rows)
        write(quantize(exact, LABELS, reaches=met), out)
    return out


def main() -> None:
    """Make the graph and add it to the registry."""
    name, precision, registry = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = graph(name, precision, folder)
        (folder / "tokenizer.json").write_bytes((SHIPPED / "tokenizer.json").read_bytes())
        command = [sys.executable, "-m", "wardgate", "models", "add", str(source),
                   "--name", name, "--version", f"1-{precision}",
                   "--labels", "negative,positive", "--max-length", "256", "--windows", "mean",
                   "--by", "benchmarks/models.py", "--to", registry]  # fmt: skip
        env = {**os.environ, "WARDGATE_STATE": str(folder / "unused")}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)


if __name__ == "__main__":
    main()
