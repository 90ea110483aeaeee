"""What a newcomer types: `wardgate up`, the client commands, and the mistakes that come first."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.processes import Gateway, await_ready, command, gateway, launched

NOTE = resources.files("wardgate.cli").joinpath("notes", "clinic.txt").read_text("utf-8")
PHI = (
    "Delgado", "Reyes", "Maria", "Whitfield", "Aaron", "Elena", "Somerville", "02143", "RIVERBEND",
    "03/14", "07/22", "1931", "00482913", "617", "555-0142", "m.delgado", "92-year", "February 2",
    "HXP-4471-0092", "1245319599",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("cli")) as found:
        yield found


def sections(shown: str) -> dict[str, str]:
    """Return what stands below each heading of `wardgate up`."""
    parts = re.split(r"^-- (.+?) -+$", shown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_up_once_shows_the_whole_path_and_exits(tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = command("up", "--once", "--port", "0", "--state", str(state))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    shown = sections(result.stdout)
    assert all(value in shown["the note, as it was sent"] for value in PHI)
    clean = next(text for name, text in shown.items() if name.startswith("de-identified"))
    assert "sertraline 50 mg daily" in clean
    assert "[NAME]" in clean
    assert [value for value in PHI if value in clean] == []
    after = result.stdout.partition("-- de-identified")[2] + result.stderr
    # Digits may stand in a hash or a time by chance.
    assert [value for value in PHI if value.isalpha() and value in after] == []
    scores = [float(score) for score in re.findall(r"\d\.\d{4}", shown["the prediction"])]
    assert len(scores) == 2
    assert sum(scores) == pytest.approx(1, abs=0.001)
    for hop in ("auth", "deid", "infer", "outcome"):
        assert re.search(rf"^  {hop} +\d+\.\d+ ms$", shown["where the time went"], re.MULTILINE)
    audit = next(text for name, text in shown.items() if name.startswith("the audit record"))
    assert re.search(r"kind=intent +sub=up +route=/v1/predict +model=sentiment", audit)
    assert re.search(r"kind=outcome +status=200 +phi_counts=.*NAME:", audit)
    assert "3 records verified" in audit
    assert not (state / "gateway.json").exists()
    report = command("audit", "verify", "--state", str(state))
    assert (report.returncode, "verified" in report.stdout) == (0, True)


def test_up_keeps_serving_and_its_three_lines_work(tmp_path: Path) -> None:
    with launched(tmp_path, program="up") as found:
        await_ready(found)
        lines = sections(found.stdout)["go on"].split("\n")
        token, curl, predict = (line.strip() for line in lines[1:4])
        assert token.startswith("export WARDGATE_TOKEN=$(")
        assert str(found.state) in token
        assert str(found.state) in predict
        assert found.url in curl
        token = command("token", "--state", str(found.state)).stdout.strip()
        with found.client(headers={"authorization": f"Bearer {token}"}) as client:
            body = json.loads(curl.partition("-d '")[2].rstrip("'"))
            reply = client.post("/v1/predict", json=body)
        assert reply.status_code == 200
        assert "Smith" not in reply.text
        assert found.stop(signal.SIGINT) == 0
        assert "Traceback" not in found.stderr


def test_predict_and_token(running: Gateway) -> None:
    state = ("--state", str(running.state))
    result = command("predict", "Dr. Amy Lee was kind.", *state)
    assert result.returncode == 0
    answer = json.loads(result.stdout)
    assert {"label", "score", "scores", "text", "model", "version", "policy", "windows", "request_id"} <= answer.keys()  # fmt: skip
    assert "Lee" not in result.stdout
    narrow = running.token("deid")
    refused = command("predict", "Dr. Amy Lee was kind.", *state, WARDGATE_TOKEN=narrow)
    assert refused.returncode == 1
    assert "403" in refused.stderr
    assert "Lee" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def one_line(*arguments: str, code: int = 2, **env: str) -> str:
    """Run a command that shall fail with one line and this code."""
    result = command(*arguments, **env)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


def test_a_second_gateway_on_the_same_state_is_refused(running: Gateway) -> None:
    said = one_line("serve", "--port", "0", "--state", str(running.state))
    assert "Another gateway" in said
    with running.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in one_line("serve", "--port", port, "--state", str(tmp_path / "state"))


def test_a_state_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert "0700" in one_line("serve", "--port", "0", "--state", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_is_none_is_refused(tmp_path: Path) -> None:
    said = one_line("serve", "--state", str(tmp_path / "state"), WARDGATE_TYPO="1")
    assert "WARDGATE_TYPO" in said
    said = one_line("serve", "--state", str(tmp_path / "s"), WARDGATE_LIMITS__BODY_BYTE="9999")
    assert "WARDGATE_LIMITS__BODY_BYTE" in said
    assert "9999" not in said


@pytest.mark.parametrize(
    "content",
    ["[limits\nbody_bytes = 5", "[limits]\nbody_byte = 77123", "[limits]\nbody_bytes = 'secret-77123'", "[limit]"],
)  # fmt: skip
def test_a_bad_settings_file_is_refused_without_its_values(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wardgate.toml"
    path.write_text(content)
    said = one_line("serve", "--state", str(tmp_path / "state"), WARDGATE_CONFIG=str(path))
    assert "77123" not in said


def test_a_settings_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    one_line("serve", "--state", str(tmp_path / "s"), WARDGATE_CONFIG=str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--prt", "1"),
        ("serve", "--port", "many"),
        ("serve", "--engine", "magic"),
        ("up", "--twice"),
        ("token", "--ttl", "0"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_a_wrong_flag_is_named(arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "Error: " in result.stderr.splitlines()[-1]


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    for flags in (("--port", "70000"), ("--workers", "0")):
        one_line("serve", *flags, "--state", str(tmp_path / "state"))


def test_client_commands_without_a_gateway_say_so(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    assert "No gateway runs" in one_line("predict", "Dr. Amy Lee", "--state", state)
    one_line("token", "--state", state)
    one_line("audit", "verify", "--state", state)
    assert not (tmp_path / "state").exists(), "a question makes no state"
    said = one_line(
        "predict", "Dr. Amy Lee", "--url", "http://127.0.0.1:1", code=1, WARDGATE_TOKEN="x"
    )
    assert "did not answer" in said
    assert "Lee" not in said


def test_ctrl_c_while_modules_load_shows_no_stack_trace(tmp_path: Path) -> None:
    """From when the interpreter is up."""
    code = (
        "import os, signal, sys, threading, time; delay = float(sys.argv.pop(1));"
        "threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), signal.SIGINT)),"
        "daemon=True).start();"
        "from wardgate.__main__ import main; main()"
    )
    for milliseconds in range(30, 280, 50):
        result = subprocess.run(
            [sys.executable, "-c", code, str(milliseconds / 1000), "serve", "--port", "0",
             "--state", str(tmp_path / "state")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.returncode in (0, 130, -signal.SIGINT)
        assert "Traceback" not in result.stderr, (milliseconds, result.stderr)
