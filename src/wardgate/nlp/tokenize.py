"""De-identified text to rows of token ids: one row, or windows that together hold every token.

A note past the model's length is put into windows where the manifest has a rule to join them, and
is refused otherwise. It is never cut: truncation and padding that a `tokenizer.json` may ask for
are switched off, and the windows are made here.
"""

from __future__ import annotations

import os

# Read by the library at its first use: its own threads would compete with the engine's.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tokenizers

from wardgate.errors import ManifestInvalid, ModelOutputInvalid, NoteExceedsModel
from wardgate.types import CleanText, Encoding


class Tokenizer:
    """The tokenizer of one model. `encode` is safe from several threads at once.

    `max_length` is the longest row in tokens, the special ones included. `windows` is how many
    tokens neighbouring windows share, or None to refuse a longer note.
    Raises ManifestInvalid where the file does not parse or leaves no room for text.
    """

    def __init__(self, tokenizer_json: bytes, max_length: int, windows: int | None) -> None:
        try:
            self._native = tokenizers.Tokenizer.from_buffer(tokenizer_json)
        except Exception:  # noqa: BLE001 -- the library raises plain Exception and ValueError
            raise ManifestInvalid("tokenizer.json: expected a tokenizers file.") from None
        self._native.no_truncation()
        self._native.no_padding()
        self._first, self._last = _specials(self._native)
        self._room = max_length - len(self._first) - len(self._last)
        if self._room < 1:
            raise ManifestInvalid("max_length: expected room for text beside the special tokens.")
        if windows is not None and not 0 <= windows < self._room:
            raise ManifestInvalid("windows.overlap: expected less than a window holds.")
        self._overlap = windows

    def encode(self, text: CleanText) -> Encoding:
        """Return the rows of `text`, special tokens included, each of 1..max_length ids.

        The native call releases the interpreter lock: a long text may run in a thread.
        Raises NoteExceedsModel where the note needs windows and the model has no rule for them,
        ModelOutputInvalid where the library fails, as it does on a pattern that backtracks for
        too long.
        """
        try:
            (encoded,) = self._native.encode_batch_fast([text], add_special_tokens=False)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 -- a panic of the library is no Exception
            raise ModelOutputInvalid("The model's tokenizer failed.") from None
        ids = encoded.ids
        if len(ids) <= self._room:
            return Encoding(([*self._first, *ids, *self._last],))
        if self._overlap is None:
            raise NoteExceedsModel
        return Encoding(
            tuple(
                [*self._first, *ids[start:end], *self._last]
                for start, end in split(len(ids), self._room, self._overlap)
            )
        )


def split(tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Return `[start, end)` of the fewest windows over `tokens` tokens, each of at most `room`.

    Neighbours share exactly `overlap` tokens and sizes differ by at most one: windows of one length
    fill a batch without padding, and no window is a short tail that weighs as much as a full one.
    """
    count = max(1, -(-(tokens - overlap) // (room - overlap)))
    base, longer = divmod(tokens + (count - 1) * overlap, count)
    windows = []
    start = 0
    for index in range(count):
        end = start + base + (index < longer)
        windows.append((start, end))
        start = end - overlap
    return windows


def _specials(native: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and after a text."""
    probe = native.encode("a")
    marks = probe.special_tokens_mask
    if 0 not in marks:
        raise ManifestInvalid("tokenizer.json: expected at least one token for the text 'a'.")
    first = marks.index(0)
    last = len(marks) - marks[::-1].index(0)
    return probe.ids[:first], probe.ids[last:]
