"""`wardgate deid eval`: score the de-identifier, or the predictions of any other, against gold."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from wardgate.cli import gold as golds
from wardgate.cli.files.choice import Choice, choose
from wardgate.cli.files.crew import Crew
from wardgate.cli.files.forms import Item, JsonLine
from wardgate.cli.gold import Document
from wardgate.cli.journal import Refused, Stopped
from wardgate.cli.jsonl import Broken, dump
from wardgate.cli.options import policies_option
from wardgate.cli.scorepage import page
from wardgate.deid.score import Counts, Marked, curve, figures, intervals
from wardgate.engine.cpus import available

_CHUNK = 32
"""Documents that a process works on at a time."""
_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Scored:
    """What came out for some documents: figures, their intervals, the curve over thresholds."""

    name: str
    figures: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    curve: list[dict[str, float]]


@click.command("eval")
@click.argument("gold", nargs=-1, required=True, type=_FILE)
@click.option(
    "--predictions",
    type=_FILE,
    default=None,
    help="Score the spans of this JSONL file for the one GOLD, and run no detector.",
)
@click.option("--policy", default="safe_harbor", show_default=True, help="Policy to apply.")
@policies_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("deid-eval"),
    show_default=True,
    help="Write OUT.html and OUT.json.",
)
@click.option(
    "--draws",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    help="Draws of the bootstrap; 0 gives no intervals.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    default=None,
    help="Processes that de-identify.  [default: one for each core]",
)
def evaluate(  # noqa: PLR0917 -- click passes options by name
    gold: tuple[Path, ...],
    predictions: Path | None,
    policy: str,
    policies: Path | None,
    out: Path,
    draws: int,
    seed: int,
    processes: int | None,
) -> None:
    """Score the de-identifier against GOLD and write a report with plots.

    A line of GOLD is {"text", "spans": [{"start", "end", "label", "ignore"}]}: code points, end
    exclusive; a span with "ignore": true counts neither for nor against. The report holds figures,
    and no text.
    """
    if predictions is not None and len(gold) > 1:
        raise click.UsageError("Give one GOLD with --predictions.")
    choice = choose(policy, policies, None)
    sets = [golds.gold(path) for path in gold]
    if predictions is not None:
        found = [golds.predictions(predictions, sets[0])]
        system = predictions.name
    else:
        found = _detect(gold, sets, choice, processes or available())
        system = f"wardgate {version('wardgate')}, {policy}"
    every, all_rows, parts = Counts(), list[dict[str, int]](), list[Scored]()
    for path, documents, spans in zip(gold, sets, found, strict=True):
        counts, rows = Counts(), []
        for document, guesses in zip(documents, spans, strict=True):
            one = Counts()
            for each in (one, counts, every):
                each.add(document.text or "", document.spans, guesses)
            rows.append(one.row())
        parts.append(_scored("/".join(path.parts[-2:]), counts, rows, draws, seed))
        all_rows += rows
    if len(parts) > 1:
        parts.insert(0, _scored("all", every, all_rows, draws, seed))
    _write(out, system, parts, draws=draws, seed=seed)
    for part in parts:
        click.echo(_line(part))


def _scored(name: str, counts: Counts, rows: list[dict[str, int]], draws: int, seed: int) -> Scored:
    between = intervals(rows, draws=draws, seed=seed) if draws else {}
    return Scored(name, figures(counts), between, curve(counts))


def _detect(
    gold: tuple[Path, ...], sets: list[list[Document]], choice: Choice, processes: int
) -> list[list[tuple[Marked, ...]]]:
    """Return the spans found in each document. Raises Refused where one could not be read."""
    items: list[Item] = []
    for documents in sets:
        items += [
            (len(items) + number, dump({"text": document.text}))
            for number, document in enumerate(documents)
        ]
    with closing(Crew(JsonLine(keep_text=False), choice.pack(), processes=processes)) as crew:
        futures = [crew.submit(items[at : at + _CHUNK]) for at in range(0, len(items), _CHUNK)]
        with click.progressbar(futures, label="deid", file=sys.stderr) as bar:
            try:
                rows = [row for future in bar for row in future.result().rows]
            except Stopped as end:
                raise click.ClickException(end.detail) from None
    found: list[list[tuple[Marked, ...]]] = []
    left = iter(rows)
    for path, documents in zip(gold, sets, strict=True):
        found.append([])
        for document in documents:
            row = next(left)
            if isinstance(row, Broken):
                raise Refused(f"{path}:{document.line}: {row.detail}")
            found[-1].append(
                tuple(
                    Marked(span["start"], span["end"], span["label"], score=span["score"])
                    for span in json.loads(row)["spans"]
                )
            )
    return found


def _write(out: Path, system: str, parts: list[Scored], *, draws: int, seed: int) -> None:
    said = {
        "system": system,
        "draws": draws,
        "seed": seed,
        "scores": [
            {
                "name": part.name,
                "figures": part.figures,
                "intervals": part.intervals,
                "curve": part.curve,
            }
            for part in parts
        ],
    }
    try:
        out.with_name(out.name + ".json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
        out.with_name(out.name + ".html").write_text(page(said), "utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from None


def _line(part: Scored) -> str:
    """Return the figures that matter most, as two lines and one for each type."""
    of, token = part.figures, part.figures["token"]
    touched = "-" if of["over_neg_docs"] is None else f"{of['over_neg_docs']:.4f}"
    recall, precision = _between(part, "R"), _between(part, "P")
    covered = of["span_covered"]["R"]
    lines = [
        f"{part.name}: {of['docs']:,} documents, {of['gold_spans']:,} spans",
        f"  token recall {token['R']:.4f}{recall}  precision {token['P']:.4f}{precision}",
        f"  token F2 {token['F2']:.4f}  spans covered {covered:.4f}",
        f"  documents that leak {of['leak_docs']:.4f} of {of['phi_docs']:,}",
        f"  touched without PHI {touched} of {of['negative_docs']:,}",
    ]
    lines += [
        f"    {label:<12} {each['spans']:>6}  token recall {each['token_R']:.4f}"
        f"{_between(part, f'R {label}')}"
        for label, each in of["by_label"].items()
    ]
    return "\n".join(lines)


def _between(part: Scored, name: str) -> str:
    low_high = part.intervals.get(name)
    return "" if low_high is None else f" [{low_high[0]:.4f}, {low_high[1]:.4f}]"
