"""`wardgate deid`: text and JSONL without a server; nothing lost, nothing broken passed over."""

from __future__ import annotations

import json
import os

import pytest

from wardgate.cli import deid as module
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

    monkeypatch.setattr(module.Deidentifier, "deidentify", fails)
    done = wardgate("deid", stdin=NOTE.encode())
    assert (done.code, done.out) == (2, "")
    assert "Amy" not in done.err


# -- lines ----------------------------------------------------------------------------------------


@pytest.fixture
def lines(wardgate, tmp_path):
    """Return a way to de-identify lines; gives how it ended and the records written."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"

    def run(content: bytes, *arguments: str):
        source.write_bytes(content)
        done = wardgate("deid", "--jsonl", source, target, *arguments)
        written = target.read_bytes().decode()
        assert written == "" or written.endswith("\n")
        return done, [json.loads(line) for line in written.split("\n")[:-1]]

    return run


def test_every_line_keeps_its_fields_and_gets_two_more(lines) -> None:
    given = [
        {"id": 7, "text": "Dr. Amy Lee called.", "nested": {"a": [1, None, 1.5]}},
        {"text": "", "ünï": "\u2028"},
        {"text": "\U0001f600 MRN: 00482913"},
    ]
    done, found = lines("\n".join(json.dumps(line) for line in given).encode())
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(found) == 3
    for before, after in zip(given, found, strict=True):
        assert {key: after[key] for key in before} == before
        assert after.keys() - before.keys() == {"deidentified", "spans"}
        for span in after["spans"]:
            assert span.keys() == {"start", "end", "label", "score"}
    names = [(found[0]["text"][s["start"] : s["end"]], s["label"]) for s in found[0]["spans"]]
    assert names == [("Amy Lee", "NAME")]
    (span,) = found[2]["spans"]
    assert found[2]["text"][span["start"] : span["end"]] == "00482913"


BROKEN = {
    "no JSON": (b"{nope Jane", "not JSON"),
    "no object": (b'["Jane"]', "expected a JSON object"),
    "no text": (b'{"note": "Jane"}', "expected a JSON object"),
    "text of a wrong type": (b'{"text": ["Jane"]}', "expected a JSON object"),
    "invalid UTF-8": (b'{"text": "Jane \xff"}', "not UTF-8"),
    "cut short": (b'{"text": "Jane', "not JSON"),
    "too deep": (b"[" * 100_000, "not JSON"),
    "a number too long": (b'{"text": "a", "n": ' + b"9" * 5_000 + b"}", "not JSON"),
}


@pytest.mark.parametrize(("line", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named_left_out_and_exits_with_1(lines, line, told) -> None:
    good = b'{"text": "fine"}'
    done, found = lines(b"\n".join([good, line, b"", good]))
    assert done.code == 1
    assert f"line 2: {told}" in done.err
    assert "1 lines were left out" in done.err
    assert "Jane" not in done.err
    assert [record["deidentified"] for record in found] == ["fine", "fine"]


def test_a_line_that_the_detector_fails_on_is_left_out(lines, monkeypatch) -> None:
    real = module.Deidentifier.deidentify

    def sometimes(self, text, **options):
        if "Jane" in text:
            raise DetectorFailed
        return real(self, text, **options)

    monkeypatch.setattr(module.Deidentifier, "deidentify", sometimes)
    done, found = lines(b'{"text": "Jane"}\n{"text": "fine"}\n')
    assert done.code == 1
    assert f"line 1: {DetectorFailed.sentence}" in done.err
    assert len(found) == 1


def test_a_lone_surrogate_is_kept_as_it_was_written(lines) -> None:
    done, found = lines(b'{"text": "a \\ud800 b", "also": "\\udfff"}\n{"text": "fine"}\n')
    assert done.code == 0
    assert found[0]["text"] == found[0]["deidentified"] == "a \ud800 b"
    assert found[0]["also"] == "\udfff"
    assert len(found) == 2


def test_line_ends_and_blank_lines_lose_nothing(lines) -> None:
    done, found = lines(b'\r\n{"text": "one"}\r\n\n  \n{"text": "two\\u2028\\u0085"}')
    assert done.code == 0
    assert [record["text"] for record in found] == ["one", "two\u2028\x85"]


def test_in_and_out_may_not_be_one_file(wardgate, tmp_path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"text": "fine"}\n')
    (tmp_path / "symbolic").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("in.jsonl", "symbolic", "hard", "../" + tmp_path.name + "/in.jsonl"):
        done = wardgate("deid", "--jsonl", source, tmp_path / name)
        assert done.code == 2
        assert "same file" in done.err
        assert source.read_bytes() == b'{"text": "fine"}\n'


def test_a_file_that_is_not_there_costs_no_output(wardgate, tmp_path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("kept")
    done = wardgate("deid", "--jsonl", tmp_path / "absent", target)
    assert done.code == 1
    assert "No such file" in done.err
    assert target.read_text() == "kept"


def test_a_file_beside_jsonl_is_a_mistake(wardgate, tmp_path) -> None:
    done = wardgate("deid", "a.txt", "--jsonl", tmp_path / "a", tmp_path / "b")
    assert done.code == 2
    assert not (tmp_path / "b").exists()
