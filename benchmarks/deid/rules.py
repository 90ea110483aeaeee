"""Time and quality of the rules: `python benchmarks/deid/rules.py [--shared DIR] [--quick]`.

Prints JSON and writes it to benchmarks/results/deid-rules.json (a partial run only prints):
microseconds of processor time per note by kind and size, and token precision and
recall on the development sets that are there, scored by the shared scorer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import adversarial
import servers

from wardgate import Deidentifier

NOTE = (
    "The patient is a 55-year-old male seen in clinic with chest pain. BP 120/80, HR 72. "
    "Dr. Smith recommended 81 mg aspirin daily. Follow up on 3/14/2024 please."
)
GOLD = (
    "aci_natural_en/gold_dev", "piianon_clinical_en/gold_train", "presidio_synth_v2/gold",
    "presidio_generated_large/gold", "tab144/gold_dev", "wikigold/gold",
)  # fmt: skip
PROSE = ("aci_bench_text/text_dev", "mts_dialog_text/text", "primock57_text/text")


def cpu_us(detector: Deidentifier, text: str, repeats: int) -> float:
    """Least processor time of one call, microseconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time_ns()
        detector.deidentify(text)
        best = min(best, time.process_time_ns() - start)
    return best / 1000


def cpu_us_many(detector: Deidentifier, text: str, calls: int, repeats: int) -> float:
    """Least mean processor time of a call over `calls` calls, microseconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time_ns()
        for _ in range(calls):
            detector.deidentify(text)
        best = min(best, time.process_time_ns() - start)
    return best / 1000 / calls


def load(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def predict(detector: Deidentifier, notes: list[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {
            "id": note["id"],
            "spans": [
                {"start": s.start, "end": s.end, "label": str(s.label)}
                for s in detector.deidentify(str(note["text"])).spans
            ],
        }
        for note in notes
    ]


def scorer(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_phi", shared / "score_phi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    parser.add_argument("--quick", action="store_true", help="no 64 kB texts")
    parser.add_argument("--only", default="", help="gold sets whose name holds this")
    args = parser.parse_args()
    detector = Deidentifier()
    result: dict[str, object] = {
        "us_150_chars": round(cpu_us_many(detector, NOTE, 100, 40), 1),
        "us_1_kB": round(cpu_us_many(detector, (NOTE + "\n") * 6 + NOTE[:75], 40, 20), 1),
    }
    if not args.quick:
        result["ms_64_kB"] = {
            name: round(cpu_us(detector, adversarial.of_size(name, 65_536), 7) / 1000, 1)
            for name in adversarial.PIECES
        }
    data = args.shared / "data" / "phi"
    if data.is_dir():
        score = scorer(args.shared)
        quality = {}
        for name in GOLD:
            if args.only in name:
                gold = load(data / f"{name}.jsonl")
                out = score.score(gold, predict(detector, gold))
                quality[name] = {
                    "P": round(out["token"]["P"], 4),
                    "R": round(out["token"]["R"], 4),
                    "token_R": {k: round(v["token_R"], 3) for k, v in out["by_label"].items()},
                    "overlap_P": {
                        k: (v["spans"], round(v["overlap_P"], 3))
                        for k, v in out["by_pred_label"].items()
                    },
                }
        result["quality"] = quality
        result["spans_per_kB_of_prose"] = {
            name: round(
                sum(len(p["spans"]) for p in predict(detector, notes))  # type: ignore[arg-type, misc]
                / sum(len(str(n["text"])) for n in notes) * 1000, 3,
            )
            for name in PROSE
            for notes in [load(data / f"{name}.jsonl")]
        }  # fmt: skip
    if args.quick or args.only:
        print(json.dumps(result, indent=1))
    else:
        servers.write("deid-rules", result)


if __name__ == "__main__":
    main()
