"""The journal: whatever moment a job is cut off at, each row is in OUT once after it goes on."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.cli import journal as module
from wardgate.cli.journal import Journal, Refused, start_over
from wardgate.cli.jsonl import Place

JOB = {"size of IN": 30, "model": "sentiment"}
STEPS = [(f"row {n}\n".encode(), b"fault\n" if n % 3 == 0 else b"", Place(10 * n, n, "d"))
         for n in range(1, 5)]  # fmt: skip


def opened(folder: Path, job: dict[str, object] | None = None) -> Journal:
    return Journal(folder / "out", folder / "errors", job or JOB)


def work(folder: Path) -> None:
    """Do what is left of a job."""
    journal = opened(folder)
    try:
        for rows, broken, place in STEPS[journal.place.line :]:
            journal.tally.lines += 1
            journal.commit(rows, broken, place)
        journal.commit(b"", b"", journal.place, done=True)
    finally:
        journal.close()


class Cut(BaseException):
    """Power is lost."""


@pytest.mark.parametrize("half", [False, True])
def test_a_job_cut_off_at_any_call_goes_on_without_loss_or_repeat(
    tmp_path, monkeypatch, half
) -> None:
    work(tmp_path)
    whole = [(tmp_path / name).read_bytes() for name in ("out", "errors")]
    real = {"write": os.write, "fsync": os.fsync}
    cuts = 0
    for at in range(200):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        left = [at]

        def counted(name: str, left: list[int] = left):
            def call(file: int, *given: object):
                left[0] -= 1
                if left[0] < 0:
                    if half and name == "write" and left[0] == -1:
                        real["write"](file, bytes(given[0])[: len(given[0]) // 2])  # type: ignore[arg-type]
                    raise Cut
                return real[name](file, *given)  # type: ignore[operator]

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(module.os, name, counted(name))
            try:
                work(folder)
            except Cut:
                cuts += 1
        work(folder)
        assert [(folder / name).read_bytes() for name in ("out", "errors")] == whole
        said = json.loads((folder / "out.journal").read_bytes())
        assert said["tally"]["lines"] == 4
        assert said["done"]
        if left[0] >= 0:
            break
    assert cuts == at > 20


def test_the_files_are_durable_before_the_journal_says_so(tmp_path, monkeypatch) -> None:
    journal = opened(tmp_path)
    seen = []
    fsync, replace = os.fsync, Path.replace

    def synced(file: int) -> None:
        seen.append("fsync " + Path(f"/proc/self/fd/{file}").readlink().name)
        fsync(file)

    def replaced(self: Path, target: Path) -> Path:
        seen.append(f"{self.name} -> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(module.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    journal.commit(b"row\n", b"fault\n", Place(4, 1, "d"))
    journal.close()
    assert seen == ["fsync out", "fsync errors", "fsync out.journal.new",
                    "out.journal.new -> out.journal"]  # fmt: skip


@given(tail=st.binary(max_size=20), lost=st.binary(max_size=20))
def test_what_the_journal_does_not_know_is_cut_off(tmp_path_factory, tail, lost) -> None:
    folder = tmp_path_factory.mktemp("job")
    journal = opened(folder)
    journal.commit(b"row\n", b"", Place(4, 1, "d"))
    journal.close()
    for name, torn in (("out", tail), ("errors", lost)):
        with (folder / name).open("ab") as file:
            file.write(torn)
    journal = opened(folder)
    assert journal.place == Place(4, 1, "d")
    journal.commit(b"next\n", b"fault\n", Place(8, 2, "e"))
    journal.close()
    assert (folder / "out").read_bytes() == b"row\nnext\n"
    assert (folder / "errors").read_bytes() == b"fault\n"


def test_what_is_written_is_the_users_alone(tmp_path) -> None:
    work(tmp_path)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_no_job_is_left_alone(tmp_path) -> None:
    for name in ("out", "errors"):
        (tmp_path / name).write_text("kept")
        with pytest.raises(Refused, match=f"{name} holds something already"):
            opened(tmp_path)
        assert (tmp_path / name).read_text() == "kept"
        (tmp_path / name).unlink()
    assert not (tmp_path / "out.journal").exists()


def test_a_job_with_other_options_is_refused_by_their_names(tmp_path) -> None:
    work(tmp_path)
    before = (tmp_path / "out").read_bytes()
    with pytest.raises(Refused, match="another model, size of IN\\."):
        opened(tmp_path, {"size of IN": 31, "model": "other"})
    assert (tmp_path / "out").read_bytes() == before


@pytest.mark.parametrize("name", ["out", "errors"])
def test_a_file_that_was_changed_is_refused(tmp_path, name) -> None:
    work(tmp_path)
    (tmp_path / name).write_bytes(b"r")
    with pytest.raises(Refused, match=f"{name} holds less than"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "job": 7}']
)
def test_a_damaged_journal_is_refused(tmp_path, content) -> None:
    work(tmp_path)
    (tmp_path / "out.journal").write_bytes(content)
    with pytest.raises(Refused, match="damaged"):
        opened(tmp_path)


def test_a_journal_of_another_version_is_refused(tmp_path) -> None:
    work(tmp_path)
    said = json.loads((tmp_path / "out.journal").read_bytes())
    (tmp_path / "out.journal").write_text(json.dumps({**said, "format": 2}))
    with pytest.raises(Refused, match="another version"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["out", "errors"])
def test_two_jobs_never_write_to_one_file(tmp_path, name) -> None:
    with (tmp_path / name).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="Another job"):
            opened(tmp_path)
    opened(tmp_path).close()
    opened(tmp_path).close()


def test_beginning_anew_leaves_a_job_that_runs_alone(tmp_path) -> None:
    running = opened(tmp_path)
    running.commit(b"row\n", b"", Place(4, 1, "d"))
    with pytest.raises(Refused, match="Another job"):
        start_over(tmp_path / "out", tmp_path / "errors")
    running.commit(b"row\n", b"", Place(8, 2, "d"))
    running.close()
    assert (tmp_path / "out").read_bytes() == b"row\nrow\n"
    start_over(tmp_path / "out", tmp_path / "errors")
    start_over(tmp_path / "out", tmp_path / "errors")
    assert not list(tmp_path.iterdir())


def test_a_place_that_was_not_recorded_is_not_told(tmp_path, monkeypatch) -> None:
    journal = opened(tmp_path)
    journal.commit(b"row\n", b"", Place(4, 1, "d"))

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_save", full)
    with pytest.raises(OSError, match="No space"):
        journal.commit(b"row\n", b"", Place(8, 2, "d"), done=True)
    journal.close()
    assert (journal.place.line, journal.done) == (1, False)


def test_a_file_that_was_removed_before_it_was_locked_is_not_written(tmp_path, monkeypatch) -> None:
    flock = fcntl.flock

    def removed(file: int, how: int) -> None:
        (tmp_path / "out").unlink(missing_ok=True)
        flock(file, how)

    monkeypatch.setattr(module.fcntl, "flock", removed)
    with pytest.raises(Refused, match="Another job"):
        opened(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path) -> None:
    with pytest.raises(click.ClickException, match="No such file"):
        opened(tmp_path / "absent")


def test_a_finished_job_keeps_what_was_added_later(tmp_path) -> None:
    work(tmp_path)
    with (tmp_path / "out").open("ab") as file:
        file.write(b"more\n")
    journal = opened(tmp_path)
    assert journal.done
    journal.close()
    assert (tmp_path / "out").read_bytes().endswith(b"more\n")


@pytest.mark.parametrize("name", ["out", "errors"])
def test_a_file_that_was_edited_is_refused_and_kept(tmp_path, name) -> None:
    journal = opened(tmp_path)
    journal.commit(b"row\n", b"fault\n", Place(4, 1, "d"))
    journal.close()
    before = {each: (tmp_path / each).read_bytes() for each in ("out", "errors")}
    changed = b"R" + before[name][1:] + b"more"
    (tmp_path / name).write_bytes(changed)
    with pytest.raises(Refused, match=f"{name} is not what"):
        opened(tmp_path)
    assert (tmp_path / name).read_bytes() == changed
    (tmp_path / name).write_bytes(before[name])
    opened(tmp_path).close()


def test_an_empty_file_open_to_others_is_closed_to_them(tmp_path) -> None:
    (tmp_path / "out").touch(mode=0o666)
    work(tmp_path)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_a_pipe_and_another_users_file_are_refused(tmp_path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "out")
    with pytest.raises(Refused, match="no regular file"):
        opened(tmp_path)
    (tmp_path / "out").unlink()
    (tmp_path / "out").touch()
    own = os.geteuid()
    monkeypatch.setattr(module.os, "geteuid", lambda: own + 1)
    with pytest.raises(Refused, match="another user's"):
        opened(tmp_path)


def test_a_link_in_place_of_the_draft_is_not_written_through(tmp_path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "out.journal.new").symlink_to(tmp_path / "victim")
    work(tmp_path)
    assert (tmp_path / "victim").read_text() == "kept"
