"""Word lists of our own: `data/words.txt`, sections `[name]`, entries parted by commas or lines."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data"


def load_words(path: Path, comment: str = "# ") -> dict[str, list[str]]:
    """Return section name to entries."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            current = sections.setdefault(text[1:-1], [])
        elif text and not text.startswith(comment):
            current.extend(entry.strip() for entry in text.split(";") if entry.strip())
    return sections
