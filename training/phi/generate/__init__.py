"""Training and held-out text for the PHI tagger, made from a seed.

`Generator(data).documents(seed, split)` streams `Document`s without end; `python -m
training.phi.generate` writes the files. See `training/phi/README.md` for kinds and splits.
"""

from training.phi.generate.document import Document, Span
from training.phi.generate.generator import Generator

__all__ = ["Document", "Generator", "Span"]
