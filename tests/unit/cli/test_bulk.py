"""A bulk job with a real gateway: what goes in comes out once and in order, or is told."""

from __future__ import annotations

import json
import os

import pytest

from wardgate.audit.read import search


@pytest.fixture
def job(wardgate, gateway, tmp_path):
    """Return a way to run a job; gives how it ended, rows, faults and the report."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"

    def run(content: bytes | None, *arguments: object):
        if content is not None:
            source.write_bytes(content)
        done = wardgate("predict", "--state", gateway.state, "--jsonl", source, target, *arguments)
        rows = target.read_bytes() if target.exists() else b""
        assert rows == b"" or rows.endswith(b"\n")
        errors = tmp_path / "out.jsonl.errors"
        faults = errors.read_bytes().splitlines() if errors.exists() else []
        return (
            done,
            [json.loads(line) for line in rows.split(b"\n")[:-1]],
            [json.loads(line) for line in faults],
            json.loads(done.out) if done.out else None,
        )

    return run


def lines(count: int) -> bytes:
    words = [("wonderful", "awful")[n % 2] for n in range(count)]
    given = [{"id": n, "text": f"Mr. John Smith was {word}."} for n, word in enumerate(words)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in given)


def test_every_line_is_answered_in_order_without_its_raw_text(job, gateway, tmp_path) -> None:
    before = len(list(search(gateway.state / "audit", kind="intent")))
    done, rows, faults, report = job(lines(50), "--batch", 8, "--purpose", "TREAT")
    assert (done.code, done.err, faults) == (0, "", [])
    assert [row["id"] for row in rows] == list(range(50))
    assert [row["label"] for row in rows] == ["positive", "negative"] * 25
    assert rows[0]["deidentified"] == "Mr. [NAME] was wonderful."
    assert "Smith" not in (tmp_path / "out.jsonl").read_text()
    assert report.pop("seconds") > 0
    assert report == {"lines": 50, "answered": 50, "broken": 0, "retried": 0,
                      "labels": {"positive": 25, "negative": 25}}  # fmt: skip
    intents = [record["event"] for record in search(gateway.state / "audit", kind="intent")]
    mine = intents[before:]
    # one intent a request, with its row count
    assert sorted(event["rows"] for event in mine) == [2, 8, 8, 8, 8, 8, 8]
    assert {event["request_id"] for event in mine} == {row["request_id"] for row in rows}
    assert {event["purpose"] for event in mine} == {"TREAT"}


BROKEN = {
    2: (b"{nope Jane", "not-json"),
    4: (b'{"text": "Jane \xff"}', "not-utf8"),
    5: (b'{"note": "Jane"}', "no-text"),
    8: (b'{"text": "' + b"Jane " * 50_000 + b'"}', "text-too-long"),
    9: (b'{"text": "' + b"J" * 1_500_000 + b'"}', "body-too-large"),
    10: (b'{"text": "Jane", "label": "gold"}', "member-taken"),
    12: (b'{"text": "Jane \\ud800"}', "not-unicode"),
    13: (b'{"text": "' + b"J" * (17 << 20) + b'"}', "line-too-long"),
    14: (b'{"text": "Jane', "not-json"),
}


def test_broken_lines_go_to_the_error_file_and_stop_nothing(job, tmp_path) -> None:
    good = lines(20).splitlines()
    given = [BROKEN[n][0] if n in BROKEN else b"" if n == 3 else good[n] for n in range(1, 15)]
    done, rows, faults, report = job(b"\n".join(given), "--batch", 5)
    assert done.code == 0
    assert {each["line"]: each["error"] for each in faults} == {
        n: code for n, (_, code) in BROKEN.items()
    }
    assert [each["line"] for each in faults] == sorted(BROKEN)
    assert [row["id"] for row in rows] == [1, 6, 7, 11]
    assert (report["lines"], report["answered"], report["broken"]) == (13, 4, 9)
    for name in ("out.jsonl", "out.jsonl.errors", "out.jsonl.journal"):
        assert b"Jane" not in (tmp_path / name).read_bytes()
    assert "Jane" not in done.err + done.out


def test_a_finished_job_says_so_and_sends_nothing(job, gateway) -> None:
    _, rows, _, report = job(lines(10))
    before = len(list(search(gateway.state / "audit", kind="intent")))
    done, again, _, reported = job(None)
    assert done.code == 0
    assert "is complete" in done.err
    assert (again, reported) == (rows, report)
    assert len(list(search(gateway.state / "audit", kind="intent"))) == before


@pytest.mark.parametrize(
    ("content", "arguments", "told"),
    [
        (lines(11), (), "another size of IN"),
        (lines(10).replace(b"Smith", b"Jones"), (), "is not the file"),
        (None, ("--model", "other"), "another model"),
        (None, ("--policy", "safe_harbor"), "another policy"),
        (None, ("--keep-text",), "another keep-text"),
        (None, ("--under", "answer"), "another under"),
    ],
)
def test_another_file_or_other_options_are_refused(job, content, arguments, told) -> None:
    _, rows, _, _ = job(lines(10))
    done, again, _, _ = job(content, *arguments)
    assert done.code == 2
    assert told in done.err
    assert "Jones" not in done.err
    assert again == rows


def test_speed_may_be_changed_when_going_on(job) -> None:
    job(lines(10), "--batch", 3)
    done, _, _, _ = job(None, "--batch", 4, "--concurrency", 2, "--priority", "interactive")
    assert done.code == 0


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n"])
def test_an_empty_file_is_a_job_without_lines(job, content) -> None:
    done, rows, faults, report = job(content)
    assert (done.code, rows, faults, report["lines"]) == (0, [], [], 0)
    assert "is complete" in job(None)[0].err


def test_raw_text_is_kept_and_the_answer_put_under_a_name_on_request(job) -> None:
    done, rows, _, _ = job(lines(3), "--keep-text", "--under", "answer")
    assert done.code == 0
    assert rows[0]["text"] == "Mr. John Smith was wonderful."
    assert rows[0]["answer"]["label"] == "positive"
    assert "label" not in rows[0]


def test_a_job_that_stops_can_go_on(job, monkeypatch, gateway) -> None:
    monkeypatch.setenv("WARDGATE_TOKEN", "ran-out")
    done, rows, _, report = job(lines(10))
    assert (done.code, rows, report) == (1, [], None)
    assert "access token" in done.err
    assert "Run the same command again to go on after line 0." in done.err
    monkeypatch.delenv("WARDGATE_TOKEN")
    done, rows, _, _ = job(None)
    assert (done.code, len(rows)) == (0, 10)


def test_what_is_no_regular_file_is_refused(wardgate, gateway, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    given = ("predict", "--state", gateway.state, "--jsonl")
    done = wardgate(*given, tmp_path / "pipe", tmp_path / "out")
    os.close(writer)
    assert done.code == 2
    assert "not a regular file" in done.err
    done = wardgate(*given, tmp_path / "absent", tmp_path / "out")
    assert done.code == 1
    assert "No such file" in done.err
    assert not (tmp_path / "out").exists()
