"""What the tagger adds to the rules: `python benchmarks/deid/layers.py --gold DIR [--shared DIR]`.

For every gold file of a folder the token, span and leak figures of the rules alone and of the whole
detector, by the shared scorer, with bootstrap intervals; and the processor time of notes of 150
characters and of 1 kB, sparse and dense, on one core. Prints JSON and writes it to
benchmarks/results/deid-layers.json; `--quick` prints only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import servers
from rules import NOTE, load, scorer

from wardgate import Deidentifier
from wardgate.deid import gazetteer
from wardgate.deid.fold import readings, unfold
from wardgate.deid.rules import detect
from wardgate.deid.spans import Candidate, resolve
from wardgate.deid.tagger import Tagger

Predict = Callable[[str], list[dict[str, Any]]]
SIZES = (150, 1_024)


def rules_alone() -> Predict:
    """Return the first layer as a predictor."""
    words, today = gazetteer.load(), dt.datetime.now(tz=dt.UTC).date()

    def predict(text: str) -> list[dict[str, Any]]:
        forms, unread = readings(text)
        found: list[Candidate] = []
        for number, (folded, index) in enumerate(forms):
            read = detect(folded, today, words)
            if index is not None:
                if number:
                    read = [c for c in read if "\n" not in folded[c[0] : c[1]]]
                read = unfold(text, resolve(read), index)
            found += read
        spans = [{"start": c[0], "end": c[1], "label": str(c[2])} for c in resolve(found)]
        return spans + [{"start": a, "end": b, "label": "OTHER_ID"} for a, b in unread]

    return predict


def whole() -> Predict:
    """Return the detector as users have it."""
    detector = Deidentifier()

    def predict(text: str) -> list[dict[str, Any]]:
        return [
            {"start": s.start, "end": s.end, "label": str(s.label)}
            for s in detector.deidentify(text).spans
        ]

    return predict


def quality(score: Any, gold: list[dict[str, Any]], predict: Predict, boot: int) -> dict[str, Any]:
    """Return the figures that matter of one system on one file."""
    made = [{"id": note["id"], "spans": predict(note["text"])} for note in gold]
    out = score.score(gold, made, boot=boot)
    token = out["token"]
    figures = {
        "R": token["R"], "P": token["P"], "covered_R": out["span_covered"]["R"],
        "leak_docs": out["leak_docs"], "over_neg_docs": out["over_neg_docs"],
    }  # fmt: skip
    rounded = {k: None if v is None else round(v, 4) for k, v in figures.items()}
    if boot:
        rounded |= {k: [round(v, 4) for v in token[k]] for k in ("R_95", "P_95")}
    return rounded | {"token_R": {k: round(v["token_R"], 3) for k, v in out["by_label"].items()}}


def speed(texts: list[str], work: Callable[[str], object]) -> dict[str, float]:
    """Return percentiles of processor time, microseconds a text, each text's least of five."""
    least = []
    for text in texts:
        best = float("inf")
        for _ in range(5):
            start = time.process_time_ns()
            work(text)
            best = min(best, time.process_time_ns() - start)
        least.append(best / 1000)
    least.sort()
    return {
        "p50": round(least[len(least) // 2], 1),
        "p99": round(least[min(len(least) - 1, int(len(least) * 0.99))], 1),
        "a_second": round(1e6 * len(least) / sum(least)),
    }


def sized(texts: list[str], size: int) -> list[str]:
    """Return texts of `size` characters, cut from all of them joined."""
    joined = "\n".join(texts)
    return [joined[at : at + size] for at in range(0, min(len(joined), 200 * size) - size, size)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gold", type=Path, required=True, help="folder of gold JSONL files")
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    parser.add_argument("--boot", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="no intervals, nothing written")
    args = parser.parse_args()
    score = scorer(args.shared)
    systems = {"rules": rules_alone(), "whole": whole()}
    result: dict[str, Any] = {"quality": {}, "microseconds": {}}
    golds = {path.stem: load(path) for path in sorted(args.gold.glob("*.jsonl"))}
    for name, gold in golds.items():
        result["quality"][name] = {
            system: quality(score, gold, predict, 0 if args.quick else args.boot)
            for system, predict in systems.items()
        }
    detector, tagger = Deidentifier(), Tagger.load()
    texts = {
        "note": [NOTE],
        **{name: [str(n["text"]) for n in gold] for name, gold in golds.items()},
    }
    for name in ("note", "natural_notes", "visit_notes"):
        for size in SIZES if name in texts else ():
            cut = [(NOTE + "\n") * 7][:1] if name == "note" else sized(texts[name], size)
            cut = [text[:size] for text in cut]
            result["microseconds"][f"{name} {size}"] = {
                "whole": speed(cut, detector.deidentify), "tagger": speed(cut, tagger.tag),
                "rules": speed(cut, systems["rules"]),
            }  # fmt: skip
    if args.quick:
        print(json.dumps(result, indent=1))
    else:
        servers.write("deid-layers", result)


if __name__ == "__main__":
    main()
