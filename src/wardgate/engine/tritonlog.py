"""What may be said of Triton's own log: our sentences, for the few lines whose shape is known.

Its lines may quote a request, a path or a stack, so none is passed on. A model's name is repeated
only where it has the form of an exported model's.
"""

from __future__ import annotations

import re

_MODEL = r"'([a-z0-9][a-z0-9_-]{0,63}\.[0-9a-f]{16})'"
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (r'\] "successfully loaded ' + _MODEL + '"$', "Triton loaded the model {}."),
        (r'\] "successfully unloaded ' + _MODEL, "Triton unloaded the model {}."),
        (r'\] "failed to load ' + _MODEL + '"$', "Triton could not load the model {}."),
        (
            r"No module named '(numpy|onnxruntime|torch|transformers|safetensors)'",
            "A model in Triton needs the Python package {}, which is not there.",
        ),
        (r'\] "Started GRPCInferenceService at ', "Triton listens."),
        (r"Non-graceful termination detected", "A model's process in Triton was left alone."),
        (r"Stub process .*is not healthy", "A model's process in Triton died."),
        (r"failed to start GRPC service", "Triton could not listen on its port."),
        (r"No space left on device", "Triton has no room left in shared memory."),
        (
            r"libpython\d\.\d+\.so\.1\.0: cannot open shared object",
            "Triton's Python has no shared library (libpython).",
        ),
    )
)


def sentence(line: str) -> str | None:
    """Return our sentence for a line of Triton's log, or None where it stays unsaid."""
    for shape, said in _SHAPES:
        found = shape.search(line)
        if found:
            return said.format(*found.groups())
    return None
