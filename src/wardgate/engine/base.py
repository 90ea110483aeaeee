"""What the flow asks of an engine: rows of token ids in, one row of logits for each, or an error.

An engine holds no tokenizer and knows no text. It gives each caller exactly its own rows, keeps to
the caller's deadline, and refuses at once where it is full.
"""

from __future__ import annotations

from typing import Protocol

from wardgate.types import Encoding, Logits, ModelId, Priority


class ServedModel(Protocol):
    """What an engine needs of a model: its name, its verified graph, and the shapes it keeps to."""

    @property
    def id(self) -> ModelId:
        """Name, version and digest."""

    @property
    def graph(self) -> bytes:
        """The ONNX graph; `input_ids` and `attention_mask`, int64 [batch, length], to `logits`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One label for each column of the logits."""

    @property
    def max_length(self) -> int:
        """Longest row, tokens with the special ones."""


class Engine(Protocol):
    """Runs models. Each method may be called from one event loop, at any time until `close`."""

    @property
    def local(self) -> bool:
        """Whether rows stay in this process until they are answered."""

    async def infer(
        self, model: str, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """Return float32 [rows, labels], finite, one row for each row of `encoding`, in its order.

        `model` is the digest of its manifest (hex): what runs is the very version that was asked
        for. `deadline` is in seconds of `time.monotonic()`. A cancelled call leaves the queue at
        once.
        Raises ModelUnknown; NoteExceedsModel for rows that the model or the queue could never take;
        Overloaded (with `retry_after`) where the queue is full; DeadlineExceeded where the deadline
        passes or cannot be met; ModelOutputInvalid where the model gives NaN, infinity or another
        shape than declared; EngineUnavailable where the engine is gone or the run fails.
        """

    async def check(self) -> tuple[ModelId, ...]:
        """Return the models served, by name. Raises EngineUnavailable where the engine is gone."""

    async def close(self) -> None:
        """Stop: calls in flight end with EngineUnavailable. May be called twice."""


class Loader(Protocol):
    """Changes what an engine serves while it serves."""

    async def load(self, model: ServedModel) -> None:
        """Load a model beside the others and warm it on every shape that it will serve.

        The work yields to requests. Once it returns `infer` takes the model's digest. Loading what
        is loaded does nothing. Raises ManifestInvalid for a graph that is not as declared,
        ModelOutputInvalid where its first outputs are not valid, EngineUnavailable.
        """

    async def unload(self, digest: str) -> None:
        """Drain a model and let it go: calls in its queue are answered first, new ones refused.

        Unloading what is not loaded does nothing.
        """
