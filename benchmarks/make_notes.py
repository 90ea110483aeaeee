"""Write benchmarks/notes.jsonl: 80 % SST-2 dev sentences, 20 % passages of 500 characters of notes.

    python benchmarks/make_notes.py ../shared/data

Seeded; the same data gives the same file. SST-2 as GLUE distributes it (Socher et al. 2013);
passages of ACI-BENCH (Yim et al. 2023, CC BY 4.0; role-played visits, names made up).
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

SEED = 20260
NOTES = 500
PASSAGE = 500


def main(data: Path) -> None:
    """Write the notes."""
    rng = random.Random(SEED)
    lines = (data / "sst2" / "dev.tsv").read_text("utf-8").splitlines()[1:]
    sentences = [line.split("\t", 1)[1].strip() for line in lines]
    texts = [
        json.loads(line)["text"]
        for line in (data / "phi" / "aci_bench_text" / "text_dev.jsonl").open(encoding="utf-8")
    ]
    passages = []
    while len(passages) < NOTES // 5:
        text = rng.choice(texts)
        start = rng.randrange(max(1, len(text) - PASSAGE))
        passages.append(text[start : start + PASSAGE])
    notes = rng.sample(sentences, NOTES - len(passages)) + passages
    rng.shuffle(notes)
    out = Path(__file__).parent / "notes.jsonl"
    out.write_text("".join(json.dumps({"text": n}, ensure_ascii=False) + "\n" for n in notes))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
