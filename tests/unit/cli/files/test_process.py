"""The process: it answers what it is asked, tells what it cannot write, and ends with its owner."""

from __future__ import annotations

import contextlib
import marshal
import subprocess
import sys
import threading
from multiprocessing import Pipe

import pytest

from wardgate.cli.files import process
from wardgate.cli.files.choice import choose
from wardgate.cli.files.forms import JsonLine, TextFile, pack

CHOICE = choose("safe_harbor", None, None).pack()


@pytest.fixture
def asked():
    """Return a way to serve on one end of a link; gives the other."""
    threads, links = [], []

    def begin(form, policy="safe_harbor"):
        choice = choose(policy, None, None).pack()
        ours, theirs = Pipe()

        def run() -> None:
            with theirs, contextlib.suppress(EOFError):
                process.serve(theirs, process.detector_of)

        threads.append(threading.Thread(target=run))
        links.append(ours)
        threads[-1].start()
        ours.send_bytes(marshal.dumps((pack(form), choice)))
        assert ours.recv_bytes() == process.READY
        return ours

    yield begin
    for link in links:
        link.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def ask(link, items):
    link.send_bytes(marshal.dumps(items))
    return marshal.loads(link.recv_bytes())


def test_items_are_answered_in_their_order(asked) -> None:
    link = asked(JsonLine())
    for _ in range(2):
        rows, counts = ask(link, [(1, b'{"text": "Dr. Amy Lee"}'), (2, b"nope")])
        assert b"[NAME]" in rows[0]
        assert counts["NAME"] > 0
        assert rows[1] == ("not-json", "not JSON")


def test_the_policy_is_the_one_asked_for(asked) -> None:
    item = [(1, b'{"text": "Seen 03/14/2024."}')]
    kept = ask(asked(JsonLine(keep_text=False), "limited_data_set"), item)
    assert b"03/14/2024" in kept[0][0]


def test_a_file_that_cannot_be_written_is_told_without_a_name(asked, tmp_path) -> None:
    (tmp_path / "jane.txt").write_text("x")
    reply = ask(asked(TextFile(str(tmp_path), "/dev/null/x")), [(1, b"jane.txt")])
    assert reply == "File exists"


def test_a_process_of_its_own_ends_with_its_link_and_prints_nothing() -> None:
    ours, theirs = Pipe()
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", "wardgate.cli.files.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    ours.send_bytes(marshal.dumps((pack(JsonLine()), CHOICE)))
    assert ours.recv_bytes() == process.READY
    ours.close()
    assert child.communicate(timeout=30) == (b"", b"")
    assert child.returncode == 0
