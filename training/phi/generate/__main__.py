"""Write `train.jsonl`, `dev.jsonl` and `held_out/<kind>.jsonl`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from training.phi.generate.document import Document
from training.phi.generate.gazetteer import DEV, HELD_OUT, TRAIN
from training.phi.generate.generator import HELD_KINDS, Generator


def save(path: Path, documents: Iterable[Document]) -> int:
    """Write the documents as gold lines; the number written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.with_suffix(".part").open("w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(document.as_json(), ensure_ascii=False) + "\n")
            count += 1
    path.with_suffix(".part").replace(path)
    return count


def main() -> None:
    """Parse the arguments and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder `data/phi`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=90_000, help="of train.jsonl")
    parser.add_argument("--dev", type=int, default=3_000)
    parser.add_argument("--held-out", type=int, default=400, help="of each held-out file but court")
    args = parser.parse_args()
    held = Generator(args.data, HELD_OUT)
    for kind in HELD_KINDS:
        save(args.out / "held_out" / f"{kind}.jsonl", held.held_out(kind, args.seed, args.held_out))
    save(args.out / "dev.jsonl", islice(Generator(args.data, DEV).documents(args.seed), args.dev))
    train = Generator(args.data, TRAIN)
    started = time.perf_counter()
    count = save(args.out / "train.jsonl", islice(train.documents(args.seed), args.documents))
    print(f"{count} documents, {count / (time.perf_counter() - started):.0f} a second")


if __name__ == "__main__":
    main()
