"""Exports a Hugging Face encoder classifier as an ONNX graph, from safetensors alone.

A repository's own code is never run and no pickle is opened, whatever its files ask for. Sequence
and token classifiers are taken; classifiers of several labels at once and regressions are refused,
since a softmax over their logits means nothing. Needs torch and transformers (extra `export`).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardgate.errors import ManifestInvalid
from wardgate.registry.manifest import GRAPH_BYTES, TOKENIZER, TORCH_FILES
from wardgate.registry.triton_backend.model import Run, torch_run

CONFIG = "config.json"
FILES = (CONFIG, "*.safetensors", "*.safetensors.index.json", TOKENIZER, "tokenizer_config.json",
         "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt")  # fmt: skip
"""What is fetched of a repository; everything else stays where it is."""
OPSET = 18
LONGEST = 512
"""Tokens of a row where neither the model nor the caller sets less."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")
_HEADS = ("ForSequenceClassification", "ForTokenClassification")
_UNNAMED = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, slots=True)
class Exported:
    """A model as it came out."""

    graph: bytes
    tokenizer: bytes
    labels: tuple[str, ...]
    max_length: int
    """Longest row that the model's positions and tokenizer allow, at most 512."""
    torch: Mapping[str, bytes]
    """`TORCH_FILES`: the same weights in bfloat16, and the configuration."""


def is_id(source: str) -> bool:
    """Tell whether a source reads as a Hugging Face id."""
    return bool(_ID.fullmatch(source))


def fetch(source: str, revision: str | None) -> tuple[Path, str]:
    """Download what is needed of a repository; return its folder and the commit that it is of.

    `revision` is a commit, branch or tag; None takes the repository's main branch.
    Raises ManifestInvalid.
    """
    hub = _library("huggingface_hub")
    try:
        found = hub.snapshot_download(source, revision=revision, allow_patterns=list(FILES))
        return Path(found), Path(found).name  # <cache>/.../snapshots/<commit>
    except Exception as error:  # noqa: BLE001 -- network, names, permissions: many classes
        raise ManifestInvalid(
            f"'{source}' is no file or folder here, and Hugging Face did not give it "
            f"({type(error).__name__})."
        ) from None


def examine(folder: Path) -> dict[str, Any]:
    """Return the configuration of a model that may be loaded.

    Raises ManifestInvalid where it has no safetensors, asks for code of its own, or classifies
    nothing.
    """
    config = _json(folder / CONFIG)
    for name in (CONFIG, "tokenizer_config.json"):
        if (folder / name).exists() and "auto_map" in _json(folder / name):
            raise ManifestInvalid(
                f"{name} asks for code from the model's repository, which is never run."
            )
    if not any(folder.glob("*.safetensors")):
        if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
            raise ManifestInvalid(
                "The weights are pickled, and unpickling runs whatever they hold: save the model "
                "as safetensors first."
            )
        raise ManifestInvalid("The folder has no *.safetensors.")
    for index in folder.glob("*.safetensors.index.json"):
        parts = _json(index).get("weight_map")
        if not isinstance(parts, dict) or not all(
            isinstance(part, str) and part.endswith(".safetensors") and Path(part).name == part
            for part in parts.values()
        ):
            raise ManifestInvalid(f"{index.name}: expected *.safetensors of the same folder alone.")
    if (folder / "adapter_config.json").exists():
        raise ManifestInvalid("An adapter takes its weights from elsewhere: merge it first.")
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else None
    if not isinstance(architecture, str) or not architecture.endswith(_HEADS):
        raise ManifestInvalid(f"{CONFIG}: expected a sequence classifier or a token classifier.")
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise ManifestInvalid(f"{CONFIG}: only models of one label for each text are taken.")
    return config


def export(folder: Path, labels: tuple[str, ...] | None) -> Exported:
    """Export the model of a folder; `labels` None takes those of its configuration.

    Raises ManifestInvalid as `examine`, and where a part cannot be loaded or labels have no names.
    """
    config = examine(folder)
    transformers, torch = _library("transformers"), _library("torch")
    _library("onnxscript")
    token = str(config["architectures"][0]).endswith(_HEADS[1])
    auto = (
        transformers.AutoModelForTokenClassification
        if token
        else transformers.AutoModelForSequenceClassification
    )
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, loading = auto.from_pretrained(
            folder,
            use_safetensors=True,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
            **safe,
        )
        tokenizer = _tokenizer(folder, transformers, safe)
    except ManifestInvalid:
        raise
    except Exception as error:  # noqa: BLE001 -- the libraries raise what they like
        raise ManifestInvalid(
            f"transformers cannot load the model ({type(error).__name__})."
        ) from None
    if any(loading.get(kind) for kind in ("missing_keys", "mismatched_keys")):
        raise ManifestInvalid(
            "The file lacks weights that the classifier has: they would be random. Was the model "
            "never fine-tuned?"
        )
    model.eval()
    found = labels or _labels(model.config.id2label)
    length = _max_length(model.config, folder)
    return Exported(_graph(model, torch), tokenizer, found, length, _torch_files(model, torch))


class TorchRunner:
    """Runs `TORCH_FILES` on the processor as Triton's Python backend does on a GPU.

    Raises ManifestInvalid where torch does not load them.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for name in TORCH_FILES:
                (Path(scratch) / name).write_bytes(files[name])
            try:
                self._run: Run = torch_run(Path(scratch), "cpu")
            except Exception as error:  # noqa: BLE001 -- the libraries raise what they like
                raise ManifestInvalid(
                    f"torch cannot load the weights ({type(error).__name__})."
                ) from None

    def run(self, _: list[str], given: dict[str, Any]) -> list[Any]:
        """Return the logits, float32."""
        return self._run([given["input_ids"], given["attention_mask"]])


def _torch_files(model: Any, torch: Any) -> dict[str, bytes]:
    """Return the weights by the names that the model's own class has for them, and its form."""
    weights = {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }
    content = _library("safetensors.torch").save(weights, metadata={"format": "pt"})
    model.config.name_or_path = ""  # a path of this machine
    return dict(zip(TORCH_FILES, (content, model.config.to_json_string().encode()), strict=True))


def _graph(model: Any, torch: Any) -> bytes:
    """Trace the model with open batch and length, and return the ONNX graph."""

    class Logits(torch.nn.Module):  # type: ignore[misc]
        """The model with tensors in and one tensor out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """Return the logits."""
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.full((2, 7), 5, dtype=torch.int64)
    open_sizes = {0: "batch", 1: "length"}
    with torch.no_grad(), tempfile.TemporaryDirectory() as scratch:
        program = torch.onnx.export(
            Logits().eval(),
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": open_sizes, "attention_mask": open_sizes},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        if program.model_proto.ByteSize() > GRAPH_BYTES:
            raise ManifestInvalid(
                "The graph is larger than 2 GiB, which ONNX cannot hold in one file."
            )
        path = Path(scratch) / "model.onnx"
        program.save(path, external_data=False)
        return path.read_bytes()


def _tokenizer(folder: Path, transformers: Any, safe: dict[str, Any]) -> bytes:
    """Return the `tokenizer.json` of a folder, made from its vocabulary where it has none."""
    path = folder / TOKENIZER
    if path.is_file():
        return path.read_bytes()
    fast = getattr(
        transformers.AutoTokenizer.from_pretrained(folder, **safe), "backend_tokenizer", None
    )
    if fast is None:
        raise ManifestInvalid("The model has no tokenizer.json, and none can be made of its files.")
    return str(fast.to_str()).encode()


def _labels(by_number: dict[int, str]) -> tuple[str, ...]:
    found = tuple(by_number[at] for at in sorted(by_number))
    if any(_UNNAMED.fullmatch(label) for label in found):
        raise ManifestInvalid(f"{CONFIG} does not name its {len(found)} labels: give --labels.")
    return found


def _max_length(config: Any, folder: Path) -> int:
    """Return the longest row, tokens: of the positions, the tokenizer and 512 the least."""
    positions = getattr(config, "max_position_embeddings", None) or LONGEST
    if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.pad_token_id + 1  # RoBERTa counts positions from above its padding id
    limits = [positions, LONGEST]
    path = folder / "tokenizer_config.json"
    if path.exists():
        given = _json(path).get("model_max_length")
        if isinstance(given, int) and given > 0:
            limits.append(given)
    return int(min(limits))


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise ManifestInvalid(f"{path.name}: expected a JSON object.")
    return tree


def _library(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 -- beside its use

    try:
        return import_module(name)
    except ImportError:
        raise ManifestInvalid(
            f"This needs {name}: pip install 'wardgate[export]'. An ONNX file with its tokenizer "
            "needs onnx alone."
        ) from None
