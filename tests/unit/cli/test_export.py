"""`wardgate models export`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tiny_models
from wardgate.cli.export import export
from wardgate.errors import ModelUnknown, ModelUntrusted
from wardgate.registry.export import model_name
from wardgate.registry.publish import put
from wardgate.registry.signature import public_text, sign
from wardgate.registry.store import Store


def test_a_shipped_model_becomes_a_triton_repository(tmp_path) -> None:
    digest = Store().load("sentiment").id.digest
    done = CliRunner().invoke(
        export, ["sentiment", "--to", "triton", "--out", str(tmp_path), "--backend", "python"]
    )
    assert done.exit_code == 0, done.output
    home = tmp_path / model_name("sentiment", digest)
    assert f"{home}  sha256:{digest}\n" == done.output
    assert (home / "config.pbtxt").is_file()
    assert (home / "1" / "model.py").is_file()


def test_the_container_gets_onnx_runtime_on_its_gpus(tmp_path) -> None:
    done = CliRunner().invoke(
        export, ["sentiment", "--to", "triton", "--out", str(tmp_path), "--gpus", "2"]
    )
    assert done.exit_code == 0, done.output
    (config,) = tmp_path.glob("*/config.pbtxt")
    assert 'backend: "onnxruntime"' in config.read_text()
    assert "gpus: [ 0, 1 ]" in config.read_text()
    assert "priority_levels: 2" in config.read_text()


def test_priorities_may_be_left_to_the_gateway(tmp_path) -> None:
    for place, (wish, there) in enumerate(
        ((["--no-queue-policy"], False), (["--backend", "python"], False),
         (["--backend", "python", "--queue-policy"], True))
    ):  # fmt: skip
        out = tmp_path / str(place)
        done = CliRunner().invoke(export, ["sentiment", "--to", "triton", "--out", str(out), *wish])
        assert done.exit_code == 0, done.output
        (config,) = out.glob("*/config.pbtxt")
        assert ("priority_levels" in config.read_text()) is there


def test_what_torch_runs_goes_along_for_the_wheels_server_on_a_gpu(tmp_path, monkeypatch) -> None:
    torch = {"weights.safetensors": b"weights", "config.json": b"{}"}
    files = {"model.onnx": b"graph", "tokenizer.json": b"words", **torch}
    raw = tiny_models.as_json(tiny_models.manifest(files))
    put(str(tmp_path / "models"), "tiny", "1", {**files, "manifest.json": raw})
    monkeypatch.setenv("WARDGATE_REGISTRY__INSECURE_ALLOW_UNSIGNED", "true")
    place = ["--folder", str(tmp_path / "models"), "--state", str(tmp_path / "state")]
    for gpus, wanted in ((1, torch), (0, {})):
        out = tmp_path / str(gpus)
        wish = ["--backend", "python", "--gpus", str(gpus), "--out", str(out)]
        done = CliRunner().invoke(export, ["tiny", "--to", "triton", *wish, *place])
        assert done.exit_code == 0, done.output
        (version,) = out.glob("tiny.*/1")
        found = {each.name: each.read_bytes() for each in version.iterdir() if each.name in torch}
        assert found == wanted


def test_preferred_sizes_go_up_to_the_largest_batch(tmp_path) -> None:
    wish = ["sentiment", "--to", "triton", "--out", str(tmp_path), "--max-batch-size", "16"]
    wish += ["--preferred-batch-size", "8", "--preferred-batch-size"]
    done = CliRunner().invoke(export, [*wish, "32"])
    assert done.exit_code == 2
    assert "up to --max-batch-size" in done.output
    assert CliRunner().invoke(export, [*wish, "4"]).exit_code == 0
    (config,) = tmp_path.glob("*/config.pbtxt")
    assert "preferred_batch_size: [ 4, 8 ]" in config.read_text()


def test_a_model_that_is_not_there_is_refused(tmp_path) -> None:
    done = CliRunner().invoke(export, ["nothing", "--to", "triton", "--out", str(tmp_path)])
    assert isinstance(done.exception, ModelUnknown)


@pytest.mark.parametrize("arguments", [["sentiment"], ["sentiment", "--to", "csv", "--out", "x"]])
def test_what_is_missing_is_asked_for(arguments) -> None:
    assert CliRunner().invoke(export, arguments).exit_code == 2


def test_a_sites_own_model_is_found_and_trusted_as_the_settings_say(tmp_path, monkeypatch) -> None:
    files = {"model.onnx": b"graph", "tokenizer.json": b"words"}
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    raw = tiny_models.as_json(tiny_models.manifest(files))
    signed = {**files, "manifest.json": raw, "signature.json": sign(raw, key)}
    (tmp_path / "state").mkdir(mode=0o700)
    put(str(tmp_path / "state" / "registry"), "tiny", "1", signed)
    monkeypatch.setenv("WARDGATE_STATE", str(tmp_path / "state"))
    wanted = ["tiny", "--to", "triton", "--out", str(tmp_path / "out")]

    def exported(trusted: Ed25519PrivateKey) -> Result:
        text = json.dumps([public_text(trusted.public_key())])
        monkeypatch.setenv("WARDGATE_REGISTRY__TRUSTED_KEYS", text)
        return CliRunner().invoke(export, wanted)

    assert isinstance(exported(stranger).exception, ModelUntrusted)
    assert not (tmp_path / "out").exists()
    done = exported(key)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out").is_dir()
