"""A detector that any process can have: it redacts every `Jane`, and fails in ways that are asked for."""

from __future__ import annotations

import sys
import textwrap

import pytest

WORKER = """
    import os, time
    from wardgate.cli.files import process
    from wardgate.errors import DetectorFailed
    from wardgate.types import Deidentified, EntityType, Replacement, Span

    def detect(text, *, patient=None):
        if "die" in text:
            os._exit(9)
        if "once" in text and not os.path.exists("died"):
            open("died", "w").close()
            os._exit(9)
        if "hang" in text:
            time.sleep(3600)
        if "fail" in text:
            raise DetectorFailed
        at, spans, edits = 0, [], []
        while (at := text.find("Jane", at)) >= 0:
            spans.append(Span(at, at + 4, EntityType.NAME, 1.0))
            edits.append(Replacement(at, at + 4, at, at + 6))
            at += 4
        clean = text.replace("Jane", "[NAME]") + (f" of {patient}" if patient else "")
        return Deidentified(clean, tuple(spans), tuple(edits), "test", "0")

    process.main(lambda choice: detect)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch) -> tuple[str, ...]:
    """The command of a process with that detector; it runs in the test's folder."""
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    monkeypatch.chdir(tmp_path)
    return (sys.executable, str(script))
