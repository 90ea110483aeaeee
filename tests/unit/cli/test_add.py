"""`wardgate models add`, with graphs made on the spot; Hugging Face models in tests/training."""

from __future__ import annotations

import json
import stat
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto

import tiny_models
from tiny_classifiers import classifier, scorer
from wardgate.registry import signature
from wardgate.registry.remote import Remote
from wardgate.registry.store import SHIPPED, Store

WHO = ("--name", "tiny", "--version", "1", "--labels", "no, yes", "--max-length", "64")


@pytest.fixture
def source(tmp_path) -> Path:
    """A folder with an ONNX file as others export it, and its tokenizer."""
    home = tmp_path / "source"
    home.mkdir()
    (home / "model.onnx").write_bytes(classifier(types=True, out="scores").SerializeToString())
    (home / "tokenizer.json").write_bytes(tiny_models.tokenizer_json(truncation=8))
    return home


@pytest.fixture
def to(tmp_path) -> Path:
    return tmp_path / "models"


def loaded(to: Path, version: str | None = None):
    return Store([to], allow_unsigned=True).load("tiny", version)


def plain(count: int) -> list[str]:
    """Different texts in which no de-identifier sees anything."""
    words = ("fine", "stable")
    return [" ".join(words[int(bit)] for bit in f"{at:08b}") for at in range(count)]


@pytest.mark.parametrize("given", ["model.onnx", ""])
def test_an_onnx_file_with_its_tokenizer_becomes_an_unsigned_entry(wardgate, source, to, given):
    done = wardgate("models", "add", source / given, *WHO, "--to", to, "--by", "Jane of ML")
    assert done.code == 0, done.err
    assert done.out == f"added tiny 1 to {to}\n"
    assert "wardgate models sign tiny 1 --key FILE" in done.err
    manifest = loaded(to).manifest
    assert (manifest.labels, manifest.max_length) == (("no", "yes"), 64)
    assert manifest.added_by == "Jane of ML"
    assert sorted(path.name for path in (to / "tiny" / "1").iterdir()) == [
        "README.md", "manifest.json", "model.onnx", "tokenizer.json"]  # fmt: skip
    assert str(source) not in (to / "tiny" / "1" / "README.md").read_text()
    done = wardgate("models", "add", source, *WHO, "--to", to)
    assert done.code == 2
    assert "version 1 is there already" in done.err


def test_without_to_the_gateways_own_folder_is_taken(wardgate, source, tmp_path):
    done = wardgate("models", "add", source, *WHO, "--state", tmp_path / "state")
    assert done.code == 0, done.err
    assert loaded(tmp_path / "state" / "registry").id.name == "tiny"
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_model_goes_to_a_url(wardgate, source, tmp_path, monkeypatch):
    url = f"memory://{uuid.uuid4().hex}/models"
    monkeypatch.setenv("WARDGATE_REGISTRY__URL", url)
    assert wardgate("models", "add", source, *WHO, "--state", tmp_path).code == 0
    store = Store([Remote(url, tmp_path / "cache")], allow_unsigned=True)
    assert store.load("tiny").manifest.version == "1"


def test_int8_is_judged_on_the_sample(wardgate, source, to, tmp_path):
    sample = tmp_path / "sample.txt"
    sample.write_text("\n".join(plain(150)))
    done = wardgate("models", "add", source, *WHO, "--to", to, "--int8", "--sample", sample)
    assert done.code == 0, done.err
    assert "int8 gives the label of fp32 on" in done.err
    assert loaded(to).manifest.quantised.compared == 150
    assert "--int8 needs --sample" in wardgate("models", "add", source, *WHO, "--int8").err
    sample.write_text("\n".join(plain(99)))
    done = wardgate("models", "add", source, *WHO, "--to", to, "--int8", "--sample", sample)
    assert done.code == 2
    assert "at least 100 different texts to be judged on; there are 99" in done.err


def test_what_of_the_sample_is_kept_was_deidentified(wardgate, source, to, tmp_path):
    sample = tmp_path / "sample.jsonl"
    note = {"text": "Patient Jane Roe, MRN 44871234, was seen on 03/14/2021."}
    sample.write_text(json.dumps(note) + "\n")
    assert wardgate("models", "add", source, *WHO, "--to", to, "--sample", sample).code == 0
    raw = (to / "tiny" / "1" / "manifest.json").read_text()
    assert "[NAME]" in raw
    assert not any(word in raw for word in ("Jane", "Roe", "44871234", "03/14"))


def test_golden_examples_may_be_given_and_hold_no_phi(wardgate, source, to, tmp_path):
    golden = tmp_path / "golden.jsonl"
    wardgate("models", "add", source, *WHO, "--to", tmp_path / "first")
    found = loaded(tmp_path / "first").manifest.golden[0]
    golden.write_text(json.dumps({"text": found.text, "label": found.label}) + "\n")
    done = wardgate("models", "add", source, *WHO, "--to", to, "--golden", golden)
    assert done.code == 0, done.err
    assert [each.source for each in loaded(to).manifest.golden] == ["given"]
    golden.write_text(json.dumps({"text": "Jane Roe was here on 03/14/2021", "label": "no"}))
    done = wardgate("models", "add", source, *WHO, "--to", to, "--golden", golden)
    assert done.code == 2
    assert "golden[0].text: it holds what the de-identifier replaces" in done.err
    assert "Roe" not in done.err


def test_a_tensor_model_needs_the_word_of_who_adds_it(wardgate, to, tmp_path):
    graph = tmp_path / "risk.onnx"
    graph.write_bytes(scorer().SerializeToString())
    done = wardgate("models", "add", graph, "--name", "tiny", "--version", "1", "--to", to)
    assert done.code == 2
    assert "tokenizer.json" in done.err
    done = wardgate(
        "models", "add", graph, "--name", "tiny", "--version", "1", "--to", to, "--phi-free"
    )
    assert done.code == 0, done.err
    manifest = Store([to]).inspect("tiny").manifest
    assert (manifest.kind, manifest.phi_free) == ("tensor", True)
    assert manifest.inputs[0].name == "vitals"


def test_a_registry_entry_is_copied_with_its_signature(wardgate, source, to, tmp_path):
    wardgate("models", "add", source, *WHO, "--to", tmp_path / "from")
    home = tmp_path / "from" / "tiny" / "1"
    key = Ed25519PrivateKey.generate()
    signed = signature.sign((home / "manifest.json").read_bytes(), key)
    (home / "signature.json").write_bytes(signed)
    done = wardgate("models", "add", home, "--to", to)
    assert done.code == 0, done.err
    assert (to / "tiny" / "1" / "signature.json").read_bytes() == signed
    trusted = [signature.public_text(key.public_key())]
    assert Store([to], trusted=trusted).load("tiny").signed.state == "signed"
    done = wardgate("models", "add", home, "--to", tmp_path / "third", "--name", "other")
    assert "keeps its name and version" in done.err
    (home / "model.onnx").write_bytes(b"graph")
    done = wardgate("models", "add", home, "--to", tmp_path / "third")
    assert done.code == 2
    assert not (tmp_path / "third").exists()


def test_the_shipped_model_may_be_copied(wardgate, to):
    (version,) = Store().versions("sentiment")
    assert wardgate("models", "add", SHIPPED / "sentiment" / version, "--to", to).code == 0
    assert Store([to]).load("sentiment").signed.state == "shipped"


@pytest.mark.parametrize("name", ["weights.pt", "pytorch_model.bin", "model.pkl"])
def test_a_pickle_is_refused_and_never_opened(wardgate, to, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    done = wardgate("models", "add", tmp_path / name, *WHO, "--to", to)
    assert done.code == 2
    assert "it is never opened" in done.err


def test_weights_outside_the_graph_are_refused(wardgate, source, to, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    model = classifier()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    (source / "model.onnx").write_bytes(model.SerializeToString())
    done = wardgate("models", "add", source, *WHO, "--to", to)
    assert done.code == 2
    assert "files outside itself" in done.err
    assert not to.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "tiny"), "Give --version"),
        (("--version", "1"), "Give --name"),
        (("--name", "../tiny", "--version", "1", "--labels", "no,yes"), "name: expected a name"),
        (("--name", "tiny", "--version", "../1", "--labels", "no,yes"), "version: expected"),
        (("--name", "tiny", "--version", "1"), "Give --labels"),
        (("--name", "tiny", "--version", "1", "--labels", "no,no"), "labels: expected"),
        (("--name", "tiny", "--version", "1", "--labels", "a,b,c"), "where there are 3 labels"),
        ((*WHO, "--key", "own.key"), "'add' never signs"),
        ((*WHO, "--revision", "main"), "--revision goes with a Hugging Face id"),
    ],
)
def test_what_is_missing_or_wrong_is_said(wardgate, source, to, arguments, said):
    done = wardgate("models", "add", source, *arguments, "--to", to)
    assert done.code == 2
    assert said in done.err
    assert not to.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [("/no/such/file.onnx", "no Hugging Face id"), (".", "no ONNX file")],
)
def test_a_source_that_is_none_is_refused(wardgate, tmp_path, to, monkeypatch, given, said):  # noqa: PLR0917
    monkeypatch.chdir(tmp_path)
    done = wardgate("models", "add", given, *WHO, "--to", to)
    assert done.code == 2
    assert said in done.err
