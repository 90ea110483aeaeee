"""Jobs as a user starts them: resumed, refused, reported; what is there already is not lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wardgate.cli.files import start
from wardgate.cli.files.choice import choose
from wardgate.cli.files.start import BROKEN, Files
from wardgate.cli.files.table import Table
from wardgate.cli.journal import Journal, Refused


@pytest.fixture
def files(worker, tmp_path):
    """Return a way to name the files of a job with the test's detector."""

    def named(
        source: str, target: str, errors: str | None = None, policy="safe_harbor", **options
    ) -> Files:
        place = None if errors is None else tmp_path / errors
        given = {"choice": choose(policy, None, None), "processes": 2, "command": worker, **options}
        return Files(tmp_path / source, tmp_path / target, place, **given)

    return named


def report(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


LINES = b'{"text": "Jane"}\nbroken Jane\n{"text": "fine", "n": 1}\n'


def test_lines_are_written_counted_and_reported(files, tmp_path, capsys) -> None:
    (tmp_path / "in").write_bytes(LINES)
    with pytest.raises(SystemExit) as end:
        start.jsonl(files("in", "out"), keep_text=True)
    assert end.value.code == BROKEN
    said = report(capsys)
    assert (said["lines"], said["written"], said["broken"]) == (3, 2, 1)
    assert said["spans"] == {"NAME": 1}
    assert said["policy"] == "safe_harbor"
    assert len(said["policy_hash"]) == 64
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [each["deidentified"] for each in found] == ["[NAME]", "fine"]
    errors = (tmp_path / "out.errors").read_text()
    assert json.loads(errors)["line"] == 2
    assert "Jane" not in errors
    for name in ("out", "out.errors", "out.journal"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert "Jane" not in (tmp_path / "out.journal").read_text()


def test_a_job_that_is_complete_says_so_again(files, tmp_path, capsys) -> None:
    (tmp_path / "in").write_bytes(LINES)
    codes = []
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            start.jsonl(files("in", "out"), keep_text=True)
        codes.append(end.value.code)
    assert codes == [BROKEN, BROKEN]
    assert "nothing to do" in capsys.readouterr().err


def test_another_job_is_not_gone_on_with(files, tmp_path) -> None:
    (tmp_path / "in").write_bytes(LINES)
    with pytest.raises(SystemExit):
        start.jsonl(files("in", "out"), keep_text=True)
    before = (tmp_path / "out").read_bytes()
    for options, keep in (({}, False), ({"policy": "limited_data_set"}, True)):
        with pytest.raises(Refused, match="belongs to a job with another"):
            start.jsonl(files("in", "out", **options), keep_text=keep)
    (tmp_path / "in").write_bytes(LINES.replace(b"fine", b"good"))
    with pytest.raises(Refused, match="is not what the job"):
        start.jsonl(files("in", "out"), keep_text=True)
    assert (tmp_path / "out").read_bytes() == before


def test_what_is_there_is_kept_unless_the_user_says_so(files, tmp_path, capsys) -> None:
    (tmp_path / "in").write_bytes(b'{"text": "Jane"}\n')
    (tmp_path / "out").write_text("kept")
    with pytest.raises(Refused, match="holds something already"):
        start.jsonl(files("in", "out"), keep_text=True)
    assert (tmp_path / "out").read_text() == "kept"
    start.jsonl(files("in", "out", overwrite=True), keep_text=False)
    assert b"Jane" not in (tmp_path / "out").read_bytes()
    capsys.readouterr()
    start.jsonl(files("in", "out", overwrite=True), keep_text=True)
    assert report(capsys)["lines"] == 1


def test_a_job_goes_on_after_a_cut(files, tmp_path, monkeypatch, capsys) -> None:
    lines = b"".join(b'{"text": "Jane %d"}\n' % n for n in range(3000))
    (tmp_path / "in").write_bytes(lines)
    start.jsonl(files("in", "whole"), keep_text=True)
    real, calls = Journal.commit, []

    def cut(self, *given, **named) -> None:
        real(self, *given, **named)
        calls.append(self.place.line)
        if len(calls) == 1:
            raise MemoryError

    monkeypatch.setattr(Journal, "commit", cut)
    monkeypatch.setattr("wardgate.cli.files.job._COMMIT_BYTES", 1)
    monkeypatch.setattr("wardgate.cli.files.source.CHUNK_BYTES", 2000)
    with pytest.raises(MemoryError):
        start.jsonl(files("in", "out"), keep_text=True)
    assert 0 < calls[0] < 3000
    capsys.readouterr()
    start.jsonl(files("in", "out"), keep_text=True)
    shown = capsys.readouterr()
    assert f"Going on after line {calls[0]:,}." in shown.err
    assert json.loads(shown.out)["spans"] == {"NAME": 3000}
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


def test_standard_output_takes_rows_alone(files, tmp_path, capsys) -> None:
    (tmp_path / "in").write_bytes(LINES)
    named = files("in", "out")
    streamed = Files(named.source, Path("-"), None, named.choice, 1, command=named.command)
    with pytest.raises(SystemExit):
        start.jsonl(streamed, keep_text=False)
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    fault, said = [json.loads(line) for line in shown.err.splitlines()]
    assert (fault["line"], said["broken"]) == (2, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "worker.py"}


# -- the other kinds ------------------------------------------------------------------------------


def test_csv(files, tmp_path, capsys) -> None:
    (tmp_path / "in").write_bytes(
        b'\xef\xbb\xbfid,note\r\n1,"Jane, ok\nJane"\r\n2,x,y\r\n\r\nJane,z'
    )
    with pytest.raises(SystemExit):
        start.csv(files("in", "out"), columns=["note"], delimiter=",", header=True)
    written = (tmp_path / "out").read_bytes()
    assert written == b'\xef\xbb\xbfid,note\r\n1,"[NAME], ok\n[NAME]"\r\n\r\nJane,z'
    assert report(capsys)["records"] == 5
    (tmp_path / "bare").write_bytes(b"\xef\xbb\xbfJane;1\n")
    start.csv(files("bare", "b"), columns=["1"], delimiter=";", header=False)
    assert (tmp_path / "b").read_bytes() == b"[NAME];1\n"


def test_csv_without_the_column_makes_no_file(files, tmp_path) -> None:
    for content in (b"id,text\n1,Jane\n", b""):
        (tmp_path / "in").write_bytes(content)
        with pytest.raises(Refused, match="no column"):
            start.csv(files("in", "out"), columns=["note"], delimiter=",", header=True)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "worker.py"}


def test_folder(files, tmp_path, capsys) -> None:
    (tmp_path / "in" / "ward").mkdir(parents=True)
    (tmp_path / "in" / "ward" / "a").write_text("Jane")
    (tmp_path / "in" / "b").write_text("ok")
    start.folder(files("in", "out"))
    assert report(capsys)["files"] == 2
    assert (tmp_path / "out" / "ward" / "a").read_text() == "[NAME]"
    listed = [json.loads(line) for line in (tmp_path / "out.files").read_text().splitlines()]
    assert [each["file"] for each in listed] == ["b", "ward/a"]
    # the same job where it was moved to
    (tmp_path / "moved").mkdir()
    for path in [*tmp_path.glob("out*"), tmp_path / "in"]:
        shutil.move(path, tmp_path / "moved" / path.name)
    start.folder(files("moved/in", "moved/out"))
    assert "nothing to do" in capsys.readouterr().err


def test_folders_within_each_other_or_with_something_in_them(files, tmp_path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    for source, target in (("in", "in"), ("in", "in/below"), ("in/below", "in"), ("in", "in/x/y")):
        with pytest.raises(click.UsageError, match="within the other"):
            start.folder(files(source, target))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("kept")
    with pytest.raises(Refused, match="holds something already"):
        start.folder(files("in", "out"))
    with pytest.raises(click.ClickException, match="No such file"):
        start.folder(files("absent", "new"))
    assert not (tmp_path / "new").exists()


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "in.parquet"
    notes = [f"Jane {n}" for n in range(500)]
    notes[3] = "fail"
    pq.write_table(pa.table({"n": list(range(500)), "note": notes}), path)
    return path


def test_parquet_goes_on_where_it_was_cut(files, tmp_path, parquet, monkeypatch, capsys) -> None:
    monkeypatch.setattr("wardgate.cli.files.table.CHUNK_BYTES", 100)

    def fails(*_) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "finish", fails)
        with pytest.raises(click.ClickException, match=r"No space left.*go on after row 500"):
            start.parquet(files("in.parquet", "out"), columns=["note"])
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as end:
        start.parquet(files("in.parquet", "out"), columns=["note"])
    assert end.value.code == BROKEN
    assert report(capsys)["rows"] == 500
    table = pq.read_table(tmp_path / "out").to_pydict()
    assert table["n"] == [n for n in range(500) if n != 3]
    assert table["note"][:4] == ["[NAME] 0", "[NAME] 1", "[NAME] 2", "[NAME] 4"]
    assert {p.name for p in tmp_path.glob("out*")} == {"out", "out.errors"}
    with pytest.raises(Refused, match="there already"):
        start.parquet(files("in.parquet", "out"), columns=["note"])


@pytest.mark.parametrize(
    ("source", "errors"), [("out.new", None), ("in.parquet", "out"), ("in.parquet", "out.new")]
)
def test_parquet_takes_no_file_for_two(files, tmp_path, parquet, source, errors) -> None:
    if source != "in.parquet":
        shutil.copy(parquet, tmp_path / source)
    with pytest.raises(click.UsageError, match="the same file"):
        start.parquet(files(source, "out", errors), columns=["note"])
    assert (tmp_path / source).exists()


@pytest.mark.parametrize("source", ["out", "out.errors", "out.journal", "out.journal.new"])
def test_no_file_of_a_job_is_its_input(files, tmp_path, source) -> None:
    (tmp_path / source).write_bytes(LINES)
    with pytest.raises(click.UsageError, match="the same file"):
        start.jsonl(files(source, "out", overwrite=True), keep_text=True)
    assert (tmp_path / source).read_bytes() == LINES


def test_parquet_of_another_content_is_not_gone_on_with(
    files, tmp_path, parquet, monkeypatch
) -> None:
    def fails(*_) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "finish", fails)
        with pytest.raises(click.ClickException):
            start.parquet(files("in.parquet", "out"), columns=["note"])
    pq.write_table(pa.table({"n": list(range(500)), "note": ["x"] * 500}), parquet)
    with pytest.raises(Refused, match="another sha256 of IN"):
        start.parquet(files("in.parquet", "out"), columns=["note"])
