"""The report: one HTML page that fetches nothing, with figures, tables and what may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from wardgate.cli.bench import figures, paper
from wardgate.cli.bench.results import Result, Series

_CAPTIONS = {
    "latency-throughput": "Each point is a load; its bar spans the rounds. Right and low is good.",
    "percentiles": "All rounds together, at the highest load. The slowest are on the right.",
    "hops": "From the reply's own <code>Server-Timing</code>, of each eighth reply.",
    "batches": "From the system's metrics, or counted in the model code of the benchmark.",
    "resources": "At each system's best throughput: proportional set size of all its processes.",
    "cost": "A machine that does nothing else, at each system's best throughput.",
}


def write(found: Sequence[Result], out: Path, price: float | None, currency: str) -> Path:
    """Write `report.html` and a PNG of each figure to `out`; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for result in found:
        drawn = figures.figures(result, price, currency) if result.series() else {}
        for name, (_, png, _) in drawn.items():
            (out / f"{result.scenario['name']}-{name}.png").write_bytes(png)
        parts.append(_scenario(result, drawn))
    path = out / "report.html"
    path.write_text(_page("".join(parts), found), "utf-8")
    return path


def _page(body: str, found: Sequence[Result]) -> str:
    css = files("wardgate.cli").joinpath("scorepage.css").read_text("utf-8")
    own = files("wardgate.cli.bench").joinpath("page.css").read_text("utf-8")
    links = "".join(
        f"<li><a href='#{escape(r.scenario['name'])}'>{escape(r.scenario['title'])}</a></li>"
        for r in found
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Wardgate benchmark</title><style>{css}{own}</style><main><h1>Benchmark</h1>"
        f"<ul class=links>{links}</ul>{body}{_statement()}</main></html>\n"
    )


def _statement() -> str:
    may = "".join(f"<li>{escape(each)}</li>" for each in paper.MAY)
    not_ = "".join(f"<li>{escape(each)}</li>" for each in paper.MAY_NOT)
    return (
        f"<h2>What may be compared</h2><ul>{may}</ul><h2>What may not</h2><ul>{not_}</ul>"
        "<p class=note>Paper: arXiv 2602.00053, DistilBERT; FastAPI on a CPU, Triton on an NVIDIA "
        "T4. In flight: throughput times latency (Little's law), p50 standing for the mean in the "
        "paper's rows, which stand beside the load of ours that is nearest in that. "
        "An open loop's latencies count from when a request was due.</p>"
    )


def _scenario(result: Result, drawn: Mapping[str, tuple[str, bytes, str]]) -> str:
    said, scenario = result.content, result.scenario
    machine = said["machine"]
    settings = (
        f"{scenario['model']}, {scenario['rounds']} rounds of {scenario['seconds']:g} s after "
        f"{scenario['warm']:g} s, seed {scenario['seed']}; notes of "
        f"{said['notes']['characters_p50']} characters at the median and "
        f"{said['notes']['characters_p95']} at p95"
    )
    where = (
        f"{machine['cpu']}, {machine['processors']} processors, {machine['memory_gib']} GiB"
        + (f", {machine['gpu']}" if machine["gpu"] else "")
        + f"; {said['time']}, commit {said['commit'][:12]}"
        + ("+changes" if said["commit"].endswith("+changes") else "")
    )
    plots = "".join(
        f"<figure><h3>{escape(title)}</h3><div class=plot>{svg}</div>"
        f"<figcaption>{_CAPTIONS[name]}</figcaption></figure>"
        for name, (title, _, svg) in drawn.items()
    )
    return (
        f"<section id='{escape(scenario['name'])}'><h2>{escape(scenario['title'])}</h2>"
        f"<p class=sub>{escape(scenario['about'])}</p>"
        f"<p class=note>{escape(settings)}.<br>{escape(where)}.</p>"
        f"{_table(result)}{_warnings(result)}{plots}{_systems(result)}</section>"
    )


def _table(result: Result) -> str:
    """Return the paper's table, ours beside it."""
    head = ("system", "load", "p50 ms", "p95 ms", "p99 ms", "requests/s", "in flight", "errors")
    theirs = ("p50 ms", "p95 ms", "requests/s", "in flight")
    rows = []
    seen: set[str] = set()
    beside = _beside(result)
    for each in result.series():
        row = beside.get((each.label, each.level))
        first = each.label not in seen
        seen.add(each.label)
        rate = each.mean("requests_per_second")
        doubt = " <abbr title='the generator may have been the bottleneck'>&#9888;</abbr>"
        cells = [
            f"{escape(each.load)}{doubt if each.doubts else ''}",
            *(f"{each.mean(name):.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
            f"<b>{rate:,.1f}</b>{_spread(each)}",
            f"{_in_flight(each):.1f}",
            f"<b>{each.errors:,}</b>" if each.errors else "0",
        ]
        if row is not None:
            p95 = "&ndash;" if row.p95_ms is None else f"{row.p95_ms:g}"
            ours = (f"{row.p50_ms:g}", p95, f"{row.requests_per_second:g}", f"{row.in_flight:.0f}")
        else:
            ours = ("",) * 4
        marked = " class=first" if first else ""
        rows.append(
            f"<tr{marked}><th>{escape(each.label) if first else ''}</th>"
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "".join(f"<td class=paper>{cell}</td>" for cell in ours)
            + "</tr>"
        )
    names_row = "".join(f"<th>{each}</th>" for each in head)
    paper_row = "".join(f"<th class=paper>{each}</th>" for each in theirs)
    return (
        "<div class=wide><table><thead><tr><th colspan=8></th>"
        f"<th class=paper colspan=4>the paper, on other machines</th></tr>"
        f"<tr>{names_row}{paper_row}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _beside(result: Result) -> dict[tuple[str, float], paper.Row]:
    """Return the paper's rows, each beside the load of ours with the nearest number in flight."""
    names = {entry["label"]: entry["name"] for entry in result.scenario["systems"]}
    found: dict[tuple[str, float], paper.Row] = {}
    series = result.series()
    for label in dict.fromkeys(each.label for each in series):
        row = paper.row(names.get(label, ""))
        if row is not None:
            wanted = row.in_flight
            near = min(
                (each for each in series if each.label == label),
                key=lambda each: abs(_in_flight(each) - wanted),
            )
            found[label, near.level] = row
    return found


def _in_flight(each: Series) -> float:
    return each.mean("requests_per_second") * each.mean("mean_ms") / 1000


def _spread(each: Series) -> str:
    found = each.figures("requests_per_second")
    return f"<small>{min(found):,.0f} to {max(found):,.0f}</small>" if len(found) > 1 else ""


def _warnings(result: Result) -> str:
    found = [
        f"{each.label}, {each.load}: {doubt}" for each in result.series() for doubt in each.doubts
    ]
    found += [
        f"{label}: {said[key]}"
        for label, said in result.content["systems"].items()
        for key in ("absent", "failed")
        if key in said
    ]
    return _list("warnings", found)


def _list(kind: str, found: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in found)
    return f"<ul class={kind}>{items}</ul>" if items else ""


def _systems(result: Result) -> str:
    rows = []
    for label, said in result.content["systems"].items():
        packages = ", ".join(
            f"{name} {version}" for name, version in said.get("versions", {}).items()
        )
        rows.append(
            f"<dt>{escape(label)}: {escape(said['title'])}</dt><dd>{escape(said['about'])} "
            f"{escape(said['protocol'])}; {escape(said['model'])} {escape(said['precision'])}, "
            f"SHA-256 {said['model_sha256'][:12]}. {_golden(said)}"
            f"<br><small>{escape(packages)}</small></dd>"
        )
    return f"<details><summary>Systems and versions</summary><dl>{''.join(rows)}</dl></details>"


def _golden(said: Mapping[str, Any]) -> str:
    if "golden" not in said:
        return ""
    return f"{said['golden']['notes']} golden notes answered right."
