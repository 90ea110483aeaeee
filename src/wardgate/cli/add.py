"""`wardgate models add`: brings a model into a registry, tried and described, and never signed.

The source decides the way: a Hugging Face id or folder is exported, an ONNX file is adapted, a
registry entry is verified and copied with its signature. Sample texts and golden examples go
through the de-identifier, since a manifest must not hold PHI.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import click

from wardgate.cli.models import own_place, place_options, read_settings
from wardgate.deid.deidentify import Deidentifier
from wardgate.errors import ManifestInvalid
from wardgate.registry import huggingface
from wardgate.registry.manifest import GRAPH, GRAPH_BYTES, MANIFEST, SIGNATURE, TOKENIZER
from wardgate.registry.publish import put
from wardgate.registry.store import Store

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_SAMPLE_TEXTS = 10_000
"""Most texts of a sample that are looked at."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the options say."""

    labels: tuple[str, ...] | None
    max_length: int | None
    join: Literal["mean", "max"] | None
    tokenizer: Path | None
    golden: list[dict[str, Any]]
    sample: list[str]
    int8: bool


@click.command()
@click.argument("source")
@click.option("--name", help="Name in the registry: a-z, 0-9, '-' and '_'.")
@click.option("--version", help="Version in the registry.")
@click.option("--labels", help="Labels in the order of the logits, with commas between.")
@click.option("--max-length", type=int, help="Longest row, tokens with the special ones.")
@click.option(
    "--windows",
    type=click.Choice(["mean", "max"]),
    help="Read longer notes in windows, joined so.  [default: refuse them]",
)
@click.option(
    "--tokenizer", type=_file, help="tokenizer.json of an ONNX file.  [default: beside it]"
)
@click.option("--golden", type=_file, help="JSONL of examples that must come out right.")
@click.option("--int8", is_flag=True, help="Round to int8, if the labels of the sample stay.")
@click.option(
    "--sample", type=_file, help="At least 100 texts to judge int8 on: one a line, or JSONL."
)
@click.option("--card", type=_file, help="Model card in Markdown.")
@click.option(
    "--phi-free",
    is_flag=True,
    help="A tensor model: no tokenizer, and its inputs hold no PHI. Its signer answers for it.",
)
@click.option("--revision", help="Commit, branch or tag of the Hugging Face repository.")
@click.option("--by", default=getpass.getuser, help="Who adds it.  [default: the user's name]")
@click.option("--to", help="Folder or fsspec URL to add it to.  [default: as the settings say]")
@click.option("--key", hidden=True)
@place_options
def add(source: str, **options: Any) -> None:
    """Add the model SOURCE: a Hugging Face id or folder, an ONNX file, or a registry entry.

    The model is tried, described in a manifest and written, not signed: 'wardgate models sign' is
    an act of its own.
    """  # fmt: skip
    if options["key"] is not None:
        raise click.UsageError("'add' never signs: run 'wardgate models sign' afterwards.")
    target = _target(options)
    path = Path(source)
    if (path / MANIFEST).is_file():
        name, version, files, notes = _copy(path, options)
    else:
        name, version, files, notes = _make(source, path, options)
    put(target, name, version, files)
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"added {name} {version} to {target}")
    if SIGNATURE not in files:
        click.echo(f"not signed yet: wardgate models sign {name} {version} --key FILE", err=True)


def _target(options: dict[str, Any]) -> str:
    if options["to"]:
        return str(options["to"])
    found = read_settings(options["state"], options["folder"], options["url"])
    target = own_place(found, folder=options["folder"])
    if target == str(found.state / "registry"):  # the gateway refuses another mode
        found.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return target


_Made = tuple[str, str, dict[str, bytes], tuple[str, ...]]


def _copy(path: Path, options: dict[str, Any]) -> _Made:
    """Verify a registry entry `<name>/<version>` and return it as it is, signature and all."""
    home = path.resolve()
    name, version = home.parent.name, home.name
    for given, found in ((options["name"], name), (options["version"], version)):
        if given not in (None, found):
            raise ManifestInvalid(f"A registry entry keeps its name and version: {name} {version}.")
    trusted: tuple[str, ...] = ()
    if not options["to"] or options["state"]:
        trusted = read_settings(options["state"], None, None).registry.trusted_keys
    loaded = Store([home.parent.parent], trusted=trusted).inspect(name, version)
    if loaded.signed.state == "bad":
        raise ManifestInvalid(f"{name}: {loaded.signed}.")
    files = {**loaded.files, MANIFEST: loaded.raw}
    if loaded.signature is not None:
        files[SIGNATURE] = loaded.signature
    return name, version, files, (f"Every file is as declared; {loaded.signed}.",)


def _make(source: str, path: Path, options: dict[str, Any]) -> _Made:
    """Make an entry of a graph or of a Hugging Face model."""
    for option in ("name", "version"):
        if not options[option]:
            raise click.UsageError(f"Give --{option}.")
    if find_spec("onnx") is None:
        raise ManifestInvalid("Adding a model needs onnx: pip install 'wardgate[export]'.")
    from wardgate.registry.assemble import Origin, tensor_entry, text_entry  # noqa: PLC0415 -- onnx

    path, called = _found(source, path, options)
    origin = Origin(
        options["name"],
        options["version"],
        called,
        options["by"],
        dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        options["card"].read_text("utf-8") if options["card"] else None,
    )
    if options["phi_free"]:
        golden = _jsonl(options["golden"]) if options["golden"] else []
        entry = tensor_entry(_read(_graph_file(path)), origin, golden=golden)
        return entry.name, entry.version, dict(entry.files), entry.notes
    clean = Deidentifier("safe_harbor")
    wish = _Wish(
        labels=_labels(options["labels"]),
        max_length=options["max_length"],
        join=options["windows"],
        tokenizer=options["tokenizer"],
        golden=_golden(options["golden"], lambda text: clean.deidentify(text).text),
        sample=_sample(options["sample"], lambda text: clean.deidentify(text).text),
        int8=options["int8"],
    )
    if wish.int8 and not wish.sample:
        raise click.UsageError("--int8 needs --sample: texts to judge it on.")
    entry = text_entry(
        _text_model(path, wish),
        origin,
        golden=wish.golden,
        sample=wish.sample,
        int8=wish.int8,
    )
    return entry.name, entry.version, dict(entry.files), entry.notes


def _found(source: str, path: Path, options: dict[str, Any]) -> tuple[Path, str]:
    """Return the file or folder of a source, and its name; what is not here is downloaded."""
    if path.exists():
        if options["revision"]:
            raise click.UsageError("--revision goes with a Hugging Face id, not with a path.")
        return path, path.resolve().name
    if not huggingface.is_id(source):
        raise ManifestInvalid("The source is no file, no folder, and no Hugging Face id.")
    folder, commit = huggingface.fetch(source, options["revision"])
    return folder, f"{source}@{commit}"


def _text_model(path: Path, wish: _Wish) -> Any:
    from wardgate.registry.assemble import TextModel  # noqa: PLC0415 -- needs onnx

    if path.suffix in _PICKLED and path.is_file():
        raise ManifestInvalid(
            "A pickle runs whatever it holds when it is read: it is never opened."
        )
    if (path / huggingface.CONFIG).exists() and not _holds_graph(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch and transformers say about themselves
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            found = huggingface.export(path, wish.labels)
        length = wish.max_length or found.max_length
        if length > found.max_length:
            raise ManifestInvalid(f"The model takes at most {found.max_length} tokens a row.")
        return TextModel(found.graph, found.tokenizer, found.labels, length, wish.join, found.torch)
    graph = _graph_file(path)
    tokenizer = wish.tokenizer or graph.with_name(TOKENIZER)
    if not tokenizer.is_file():
        raise ManifestInvalid("The graph has no tokenizer.json beside it: give --tokenizer.")
    if wish.labels is None:
        raise click.UsageError("Give --labels: an ONNX file does not name them.")
    length = wish.max_length or huggingface.LONGEST
    return TextModel(_read(graph), _read(tokenizer), wish.labels, length, wish.join)


def _holds_graph(folder: Path) -> bool:
    return (folder / GRAPH).is_file() and not any(folder.glob("*.safetensors"))


def _graph_file(path: Path) -> Path:
    """Return the ONNX file that a source names: itself, or `model.onnx` in it."""
    graph = path / GRAPH if path.is_dir() else path
    if not graph.is_file():
        raise ManifestInvalid(
            "The source is no ONNX file, no folder with model.onnx or config.json, and no registry "
            "entry."
        )
    return graph


def _read(path: Path) -> bytes:
    if path.stat().st_size > GRAPH_BYTES:
        raise ManifestInvalid(f"{path.name}: it is larger than 2 GiB.")
    return path.read_bytes()


def _labels(given: str | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(label.strip() for label in given.split(","))


def _golden(path: Path | None, clean: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return given examples. Raises ManifestInvalid for a text that the de-identifier changes."""
    found = [] if path is None else _jsonl(path)
    for at, example in enumerate(found):
        text = example.get("text")
        if isinstance(text, str) and clean(text) != text:
            raise ManifestInvalid(
                f"golden[{at}].text: it holds what the de-identifier replaces; write tags such as "
                "[NAME] there, for that is what the model gets."
            )
    return found


def _sample(path: Path | None, clean: Callable[[str], str]) -> list[str]:
    """Return the sample, de-identified as what the model will get."""
    if path is None:
        return []
    if path.suffix == ".jsonl":
        texts = [example.get("text") for example in _jsonl(path)]
    else:
        texts = [line.strip() for line in _lines(path)]
    return [clean(text) for text in texts[:_SAMPLE_TEXTS] if isinstance(text, str) and text]


def _jsonl(path: Path) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(_lines(path), 1):
        try:
            tree = json.loads(line)
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, dict):
            raise ManifestInvalid(f"{path.name}: line {number} is not a JSON object.")
        found.append(tree)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ManifestInvalid(f"{path.name}: expected text in UTF-8.") from None
