"""`wardgate deid`: text and files without a server; wrong options make no file."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wardgate.cli.files.forms import TEXT_CHARS
from wardgate.deid import policy as policies
from wardgate.deid.deidentify import Deidentifier
from wardgate.errors import DetectorFailed

NOTE = "Seen 03/14/2024: Dr. Amy Lee, MRN: 00482913.\r\n"


def test_a_file_and_standard_input_give_the_same(wardgate, tmp_path) -> None:
    (tmp_path / "note.txt").write_bytes(NOTE.encode())
    from_file = wardgate("deid", tmp_path / "note.txt")
    assert from_file.code == 0
    for secret in ("Amy", "Lee", "00482913", "03/14"):
        assert secret not in from_file.out
    assert "2024" in from_file.out
    for given in ([], ["-"]):
        assert wardgate("deid", *given, stdin=NOTE.encode()).out == from_file.out


def test_text_without_phi_comes_through_to_the_byte(wardgate) -> None:
    text = "BP 124/78, naïve – \U0001f600\r\n\r\n\tno change\x0b\n".encode()
    done = wardgate("deid", "-", stdin=text)
    assert done.out.encode() == text


def test_a_policy_by_name(wardgate) -> None:
    kept = wardgate("deid", "--policy", "limited_data_set", stdin=b"Seen 03/14/2024.")
    assert kept.out == "Seen 03/14/2024."
    unknown = wardgate("deid", "--policy", "none", stdin=b"Seen 03/14/2024.")
    assert unknown.code == 2
    assert unknown.out == ""


def test_what_cannot_be_read_is_told(wardgate, tmp_path) -> None:
    absent = wardgate("deid", tmp_path / "absent.txt")
    assert absent.code == 1
    assert "No such file" in absent.err
    folder = wardgate("deid", tmp_path)
    assert folder.code == 1
    binary = wardgate("deid", stdin=b"Jane \xff")
    assert (binary.code, binary.out) == (1, "")
    assert "UTF-8" in binary.err
    assert "Jane" not in binary.err


def test_a_fault_in_the_detector_prints_no_text(wardgate, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DetectorFailed

    monkeypatch.setattr(Deidentifier, "deidentify", fails)
    done = wardgate("deid", stdin=NOTE.encode())
    assert (done.code, done.out) == (2, "")
    assert "Amy" not in done.err


# -- files ----------------------------------------------------------------------------------------


def test_a_text_too_long_is_refused(wardgate, tmp_path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (TEXT_CHARS + 1))
    for given, stdin in (([tmp_path / "long"], b""), ([], b"x" * (TEXT_CHARS + 1))):
        done = wardgate("deid", *given, stdin=stdin)
        assert (done.code, done.out) == (1, "")
        assert "more than 1,048,576 characters" in done.err


def test_lines_of_a_file(wardgate, tmp_path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"text": NOTE, "id": 1}) + "\nJane\n")
    done = wardgate("deid", "--jsonl", source, target)
    assert done.code == 3
    assert json.loads(done.out)["written"] == 1
    assert "Jane" not in done.err + (tmp_path / "out.jsonl.errors").read_text()
    (record,) = map(json.loads, target.read_text().splitlines())
    assert record["text"] == NOTE
    assert record["id"] == 1
    for secret in ("Amy", "Lee", "00482913", "03/14"):
        assert secret not in record["deidentified"]
    for span in record["spans"]:
        assert span.keys() >= {"start", "end", "label", "score"}


def test_a_lone_surrogate_is_kept_as_it_was_written(wardgate, tmp_path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b'{"text": "BP 124/78 \\ud800 now.", "also": "\\udfff"}\n{"text": "fine"}\n')
    assert wardgate("deid", "--jsonl", source, target).code == 0
    first = json.loads(target.read_text().splitlines()[0])
    assert first["text"] == first["deidentified"] == "BP 124/78 \ud800 now."
    assert first["also"] == "\udfff"


def test_columns_of_a_table(wardgate, tmp_path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f'id\t"a, b"\tnote\n1\tDr. Amy Lee\t{NOTE}')
    columns = 'note,"a, b"'
    done = wardgate(
        "deid", "--csv", source, "-", "--columns", columns, "--delimiter", "tab", "--processes", "1"
    )
    assert done.code == 0
    assert done.out.startswith('id\t"a, b"\tnote\n1\t')
    assert "Amy" not in done.out
    assert json.loads(done.err)["records"] == 2


def test_a_folder_and_a_parquet_file(wardgate, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.txt").write_text("Dr. Amy Lee")
    assert wardgate("deid", "--folder", tmp_path / "in", tmp_path / "out").code == 0
    assert "Amy" not in (tmp_path / "out" / "note.txt").read_text()
    pq.write_table(pa.table({"note": ["Dr. Amy Lee"]}), tmp_path / "in.parquet")
    made = tmp_path / "out.parquet"
    done = wardgate("deid", "--parquet", tmp_path / "in.parquet", made, "--columns", "note")
    assert done.code == 0
    assert "Amy" not in pq.read_table(made)["note"][0].as_py()


def test_in_and_out_may_not_be_one_file(wardgate, tmp_path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"text": "fine"}\n')
    (tmp_path / "symbolic").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("in.jsonl", "symbolic", "hard", "../" + tmp_path.name + "/in.jsonl"):
        done = wardgate("deid", "--jsonl", source, tmp_path / name, "--overwrite")
        assert done.code == 2
        assert "same file" in done.err
        assert source.read_bytes() == b'{"text": "fine"}\n'


def test_a_file_that_is_not_there_costs_no_output(wardgate, tmp_path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("kept")
    done = wardgate("deid", "--jsonl", tmp_path / "absent", target, "--overwrite")
    assert done.code == 1
    assert "No such file" in done.err
    assert target.read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a.txt", "--jsonl", "a", "b"], "Give one of"),
        (["--csv", "a", "b", "--jsonl", "a", "b"], "Give one of"),
        (["--jsonl", "a", "b", "--columns", "x"], "--columns goes with"),
        (["--folder", ".", "b", "--overwrite"], "--overwrite goes with"),
        (["a.txt", "--processes", "2"], "--processes goes with"),
        (["--csv", "a", "b"], "Name the columns"),
        (["--parquet", "a", "b", "--columns", " , "], "Name the columns"),
        (["--csv", "a", "b", "--columns", "x", "--delimiter", "ab"], "one ASCII character"),
        (["--csv", "a", "b", "--columns", "x", "--delimiter", '"'], "one ASCII character"),
        (["--jsonl", "a", "b", "--processes", "0"], "not in the range"),
        (["a.txt", "b.txt"], "unexpected extra argument"),
        (["--jsonl", "a"], "requires 2 arguments"),
    ],
)
def test_options_that_do_not_go_together(wardgate, tmp_path, monkeypatch, arguments, why) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text('{"text": "fine"}\n')
    done = wardgate("deid", *arguments)
    assert done.code == 2
    assert why in done.err
    assert not (tmp_path / "b").exists()


def test_an_unknown_policy_makes_no_file(wardgate, tmp_path) -> None:
    (tmp_path / "a").write_text('{"text": "fine"}\n')
    done = wardgate("deid", "--jsonl", tmp_path / "a", tmp_path / "b", "--policy", "none")
    assert done.code == 2
    assert not (tmp_path / "b").exists()


def test_eval_is_a_command_and_a_file_of_that_name_is_not_lost(
    wardgate, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval").write_text("BP 124/78.")
    assert wardgate("deid", "./eval").out == "BP 124/78."
    assert "GOLD" in wardgate("deid", "eval", "--help").out
    assert "eval" in wardgate("deid", "--help").out
    assert "Missing argument" in wardgate("deid", "eval").err


def test_a_line_that_the_second_look_refuses_goes_to_the_error_file(wardgate, tmp_path) -> None:
    document = {**policies.get("safe_harbor").document, "name": "strict", "second_look": "refuse"}
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "strict.json").write_text(json.dumps(document))
    (folder / "site.json").write_text(json.dumps({"thresholds": {"DATE": 1.0}}))
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "is well"}\n{"text": "Seen 03/14/2019."}\n{"text": "ok"}\n')
    options = ["--policies", folder, "--policy", "strict", "--processes", "1"]
    done = wardgate("deid", *options, "--jsonl", source, target)
    assert done.code == 3
    assert json.loads(done.out)["written"] == 2
    errors = (tmp_path / "out.jsonl.errors").read_text()
    assert "second-look" in errors
    assert "2019" not in errors + target.read_text()
