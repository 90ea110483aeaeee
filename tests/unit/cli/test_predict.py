"""`wardgate predict`: a client that finds gateway and token by itself, and tells what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from tests.conftest import run_wardgate


@pytest.fixture
def predict(wardgate, gateway):
    return lambda *given, stdin=b"": wardgate(
        "predict", "--state", gateway.state, *given, stdin=stdin
    )


def test_a_text_goes_through_the_gateway(predict) -> None:
    done = predict("Mr. John Smith is wonderful and much better.", "--purpose", "TREAT")
    assert done.code == 0
    answer = json.loads(done.out)
    assert answer["label"] == "positive"
    assert "Smith" not in done.out
    assert answer["policy"] == "safe_harbor"


@pytest.mark.parametrize("given", [[], ["-"]])
def test_the_text_may_come_from_standard_input(predict, given) -> None:
    done = predict(*given, stdin="wonderful – ½ dose".encode())
    assert json.loads(done.out)["text"] == "wonderful – ½ dose"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system shows it this way")
@pytest.mark.parametrize("text", ["Jane Roe, MRN 44871234", "Zoë", "-x \n", "python"])
def test_a_text_does_not_stay_on_the_command_line(text) -> None:
    code = (
        "import sys; from pathlib import Path; from wardgate.cli.predict import _veil\n"
        "_veil(sys.argv[1]); sys.stdout.buffer.write(Path('/proc/self/cmdline').read_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code, text], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split(b"\0")[3:] == [b"*" * len(text.encode()), b""]
    assert done.stdout.startswith(sys.executable.encode())


def test_a_refusal_of_the_gateway_is_told_in_its_own_words(predict, monkeypatch) -> None:
    done = predict("Jane Roe", "--model", "other")
    assert done.code == 1
    assert "404 Model not served" in done.err
    assert done.out == ""
    assert "Jane" not in done.err
    monkeypatch.setenv("WARDGATE_TOKEN", "not-a-token")
    assert "401" in predict("Jane Roe").err


def test_a_text_that_is_no_utf8_is_refused_here(predict) -> None:
    done = predict(stdin=b"Jane \xff Roe")
    assert done.code == 1
    assert done.err == "Error: The text is not UTF-8.\n"


def test_without_a_gateway_it_says_how_to_start_one(wardgate, tmp_path) -> None:
    done = wardgate("predict", "fine", "--state", tmp_path)
    assert done.code == 2
    assert "wardgate serve" in done.err


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "nonsense", "http://[", "http://127.0.0.1:99999"]
)
def test_an_address_that_does_not_answer_is_told(predict, url) -> None:
    done = predict("fine", "--url", url)
    assert done.code == 1
    assert "did not answer" in done.err


class Other(BaseHTTPRequestHandler):
    """A server of another kind."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'"hello"', b"\xff"])
def test_a_server_of_another_kind_is_told(predict, answer) -> None:
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        server.answer = answer  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = predict("fine", "--url", f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert done.code == 1
    assert "is not a Wardgate gateway" in done.err


def test_a_file_of_authorities_that_holds_none_is_told(predict, tmp_path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    done = predict("fine", "--url", "https://127.0.0.1:1", "--ca", tmp_path / "ca.pem")
    assert done.code == 1
    assert "certificate" in done.err


def test_it_works_as_a_program(gateway) -> None:
    done = run_wardgate("predict", state=gateway.state, stdin="awful\n")
    assert done.returncode == 0
    assert json.loads(done.stdout)["label"] == "negative"


def test_a_note_goes_to_another_machine_over_https_alone(tmp_path) -> None:
    done = run_wardgate(
        "predict", "--url", "http://192.0.2.1:8080", "Jane Roe", state=tmp_path, WARDGATE_TOKEN="t"
    )
    assert done.returncode == 2
    assert "https" in done.stderr
    assert "Jane" not in done.stderr


# -- a file of lines; what a job does is told in test_bulk.py -------------------------------------


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "wonderful"}\n')
    return path


@pytest.fixture
def with_files(predict, source, tmp_path):
    """Return a way to run a command in which IN and OUT stand for files."""
    names = {"IN": source, "OUT": tmp_path / "out", "OUT.journal": tmp_path / "out.journal"}
    return lambda given: predict(*(names.get(word, word) for word in given))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["fine", "--keep-text"], "go with --jsonl"),
        (["fine", "--under", "x"], "go with --jsonl"),
        (["fine", "--errors", "x"], "go with --jsonl"),
        (["fine", "--jsonl", "IN", "OUT"], "not both"),
        (["--jsonl", "IN", "IN"], "same file"),
        (["--jsonl", "IN", "OUT", "--errors", "IN"], "same file"),
        (["--jsonl", "IN", "OUT", "--errors", "OUT"], "same file"),
        (["--jsonl", "IN", "OUT", "--errors", "OUT.journal"], "same file"),
        (["--jsonl", "IN", "OUT", "--url", "http://192.0.2.1:8080"], "https alone"),
        (["--jsonl", "IN", "OUT", "--batch", "0"], "--batch"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_file_is_made(
    with_files, tmp_path, given, told
) -> None:
    done = with_files(given)
    assert done.code == 2
    assert told in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_file_of_lines_goes_through_the_gateway(predict, source, tmp_path) -> None:
    faults = tmp_path / "faults"
    done = predict("--jsonl", source, tmp_path / "out", "--errors", faults)
    assert done.code == 0
    assert json.loads((tmp_path / "out").read_bytes())["label"] == "positive"
    assert faults.read_bytes() == b""
    assert json.loads(done.out)["lines"] == 1


def test_without_a_gateway_no_file_is_made(wardgate, source, tmp_path) -> None:
    done = wardgate("predict", "--state", tmp_path, "--jsonl", source, tmp_path / "out")
    assert done.code == 2
    assert "wardgate serve" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "priority", "timeout_ms"),
    [
        (["fine"], "interactive", 10_000),
        (["fine", "--priority", "bulk"], "bulk", 60_000),
        (["--jsonl", "IN", "OUT"], "bulk", 60_000),
        (["--jsonl", "IN", "OUT", "--priority", "interactive", "--timeout", "2"],
         "interactive", 2_000),
    ],
)  # fmt: skip
def test_a_file_yields_to_who_waits(with_files, monkeypatch, given, priority, timeout_ms) -> None:
    sent = []
    for client in (httpx.Client, httpx.AsyncClient):
        real = client.build_request

        def build(self, method, url, real=real, **options):
            request = real(self, method, url, **options)
            sent.append(json.loads(request.content))
            return request

        monkeypatch.setattr(client, "build_request", build)
    assert with_files(given).code == 0
    (body,) = sent
    assert (body["priority"], body["timeout_ms"]) == (priority, timeout_ms)
