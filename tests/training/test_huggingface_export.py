"""Hugging Face models, made small on the spot, through export, registry and ONNX Runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import tiny_models  # noqa: E402
from tiny_classifiers import texts  # noqa: E402
from wardgate.errors import ManifestInvalid  # noqa: E402
from wardgate.registry import export, huggingface  # noqa: E402
from wardgate.registry.assemble import Origin, TextModel, text_entry  # noqa: E402
from wardgate.registry.manifest import TORCH_FILES, parse  # noqa: E402
from wardgate.registry.publish import put  # noqa: E402
from wardgate.registry.store import Store  # noqa: E402
from wardgate.registry.trial import TextTrial  # noqa: E402
from wardgate.registry.triton_backend.model import torch_run  # noqa: E402

# What the libraries say about themselves; the command line silences it as well.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {
    "vocab_size": 505,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 66,
}
NAMED = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
TAGS = {"id2label": {0: "O", 1: "A", 2: "B"}, "label2id": {"O": 0, "A": 1, "B": 2}}
DISTIL = {"vocab_size": 505, "dim": 32, "hidden_dim": 64, "n_heads": 4, "n_layers": 2,
          "max_position_embeddings": 64}  # fmt: skip


def made(kind: str, *, seed: int = 0, **more: object) -> object:
    """A random model of an architecture; some weights are scaled so that labels differ."""
    torch.manual_seed(seed)
    names = {**NAMED, **more}
    match kind:
        case "distilbert":
            config = transformers.DistilBertConfig(**DISTIL, **names)
            model = transformers.DistilBertForSequenceClassification(config)
        case "roberta":
            config = transformers.RobertaConfig(**SMALL, pad_token_id=1, **names)
            model = transformers.RobertaForSequenceClassification(config)
        case "bert":
            model = transformers.BertForSequenceClassification(
                transformers.BertConfig(**SMALL, **names)
            )
        case "bert-tokens":
            model = transformers.BertForTokenClassification(
                transformers.BertConfig(**SMALL, **TAGS)
            )
        case _:
            raise ValueError(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model.eval()


def save(model: object, folder: Path) -> Path:
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tiny_models.tokenizer_json())
    return folder


@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta", "bert-tokens"])
def test_an_export_gives_what_the_model_gives_and_can_be_served(tmp_path: Path, kind: str) -> None:
    model = made(kind)
    found = huggingface.export(save(model, tmp_path / "source"), None)
    assert found.labels == (("O", "A", "B") if kind == "bert-tokens" else ("no", "yes"))
    assert found.max_length == (66 if kind.startswith("bert") else 64)
    entry = text_entry(
        TextModel(found.graph, found.tokenizer, found.labels, found.max_length),
        Origin("tiny", "1", kind, "tests", "2026-11-22T10:00:00Z"),
    )
    put(str(tmp_path / "models"), "tiny", "1", entry.files)
    loaded = Store([tmp_path / "models"], allow_unsigned=True).load("tiny")
    trial = TextTrial(loaded.graph, loaded.tokenizer, len(found.labels), found.max_length)
    for text in texts(20):
        ids = torch.tensor([trial.ids(text)])
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
        assert np.allclose(trial.logits(text), wanted, atol=1e-4)
    content = b"".join([*entry.files.values(), *found.torch.values()])
    assert str(ROOT).encode() not in content  # no path of this machine, as in stack traces
    assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta", "bert-tokens"])
def test_what_torch_runs_on_a_gpu_is_kept_and_answers_as_the_graph_does(
    tmp_path: Path, kind: str
) -> None:
    """All but the device: `model.py` of the exported repository, in bfloat16, on the processor."""
    found = huggingface.export(save(made(kind), tmp_path / "source"), None)
    entry = text_entry(
        TextModel(found.graph, found.tokenizer, found.labels, found.max_length, torch=found.torch),
        Origin("tiny", "1", kind, "tests", "2026-11-22T10:00:00Z"),
    )
    put(str(tmp_path / "models"), "tiny", "1", entry.files)
    store = Store([tmp_path / "models"], allow_unsigned=True)
    assert TORCH_FILES[0] not in store.load("tiny").files
    loaded = store.load("tiny", whole=True)
    home = export.write(loaded, tmp_path / "triton", export.Options(gpus=1)) / export.VERSION
    half = torch_run(home, "cpu")
    graph = TextTrial(loaded.graph, loaded.tokenizer, len(found.labels), found.max_length)
    for text in texts(20):
        rows = [graph.ids(text), graph.ids("w1")]
        ids = np.zeros((2, len(rows[0])), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        (given,) = half([ids, mask])
        assert given.dtype == np.float32
        for at, row in enumerate(rows):
            wanted = graph.run([row])[0]
            seen = given[at][: len(row)] if wanted.ndim == 2 else given[at]
            scale = max(1.0, float(np.abs(wanted).max()))
            assert np.abs(seen - wanted).max() < 0.05 * scale


def test_weights_that_answer_otherwise_in_bfloat16_are_left_out(tmp_path: Path) -> None:
    found = huggingface.export(save(made("distilbert"), tmp_path / "source"), None)
    other = huggingface.export(save(made("distilbert", seed=5), tmp_path / "other"), None)
    origin = Origin("tiny", "1", "x", "tests", "2026-11-22T10:00:00Z")
    for torch_files, said in (
        (other.torch, "No weights for torch on a GPU are kept"),
        (found.torch | {"weights.safetensors": b"rubbish"}, "torch cannot load the weights"),
    ):
        model = TextModel(
            found.graph, found.tokenizer, found.labels, found.max_length, torch=torch_files
        )
        entry = text_entry(model, origin, sample=texts(100))
        assert not set(TORCH_FILES) & entry.files.keys()
        assert any(said in note for note in entry.notes)
        assert said in entry.files["README.md"].decode()


def test_int8_of_an_export_agrees_or_is_refused(tmp_path: Path) -> None:
    found = huggingface.export(save(made("distilbert"), tmp_path / "source"), None)
    origin = Origin("tiny", "1", "x", "tests", "2026-11-22T10:00:00Z")
    model = TextModel(found.graph, found.tokenizer, found.labels, found.max_length)
    entry = text_entry(model, origin, sample=texts(200), int8=True)
    manifest = parse(entry.files["manifest.json"])
    assert manifest.precision == "int8"
    assert manifest.quantised.agreed >= 0.99 * 200


def test_a_tokenizer_is_made_of_the_vocabulary_where_there_is_none(tmp_path: Path) -> None:
    folder = save(made("distilbert"), tmp_path / "source")
    (folder / "tokenizer.json").unlink()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{n}" for n in range(500))]
    (folder / "vocab.txt").write_text("\n".join(words))
    found = huggingface.export(folder, None)
    trial = TextTrial(found.graph, found.tokenizer, 2, 64)
    assert trial.ids("word0 word3") == [2, 5, 8, 3]


def test_labels_without_names_have_to_be_given(tmp_path: Path) -> None:
    model = made("distilbert", id2label={0: "LABEL_0", 1: "LABEL_1"})
    folder = save(model, tmp_path / "source")
    with pytest.raises(ManifestInvalid, match="does not name its 2 labels: give --labels"):
        huggingface.export(folder, None)
    assert huggingface.export(folder, ("a", "b")).labels == ("a", "b")


def test_pickled_weights_beside_safetensors_are_never_opened(tmp_path: Path) -> None:
    folder = save(made("distilbert"), tmp_path / "source")

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    assert huggingface.export(folder, None).labels == ("no", "yes")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ManifestInvalid, match="pickled"):
        huggingface.export(folder, None)
    assert not (tmp_path / "exploded").exists()


def test_a_head_that_nobody_trained_is_refused(tmp_path: Path) -> None:
    model = made("distilbert")
    folder = save(model, tmp_path / "source")
    safetensors = pytest.importorskip("safetensors.torch")
    weights = {n: w for n, w in model.state_dict().items() if not n.startswith("classifier")}
    safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ManifestInvalid, match="they would be random"):
        huggingface.export(folder, None)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = save(made("distilbert"), tmp_path / "source")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dim": 64}))
    with pytest.raises(ManifestInvalid, match=r"transformers cannot load|would be random"):
        huggingface.export(folder, None)
    (folder / "model.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ManifestInvalid, match="transformers cannot load the model"):
        huggingface.export(folder, None)
