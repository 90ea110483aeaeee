from __future__ import annotations

import subprocess
from pathlib import Path

from wardgate.cli.bench import machine


def test_it_says_where_a_result_comes_from(tmp_path) -> None:
    said = machine.describe(Path(__file__).parent)
    assert len(said["commit"].removesuffix("+changes")) == 40
    assert said["machine"]["processors"] >= 1
    assert said["machine"]["memory_gib"] > 0
    assert said["time"].endswith("Z")
    assert machine.describe(tmp_path)["commit"] == ""


def test_a_changed_tree_is_marked(tmp_path) -> None:
    def git(*words):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            check=True, capture_output=True,
        )  # fmt: skip

    git("init", "-q")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-qm", "one")
    assert not machine.describe(tmp_path)["commit"].endswith("+changes")
    (tmp_path / "f").write_text("2")
    assert machine.describe(tmp_path)["commit"].endswith("+changes")
