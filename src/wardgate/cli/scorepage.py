"""The report of `wardgate deid eval` as one HTML page: inline SVG, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = (Path(__file__).parent / "scorepage.css").read_text("utf-8")
_STEPS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
"""Where the axis of recalls may begin: the best that shows every interval."""
_ROW = 26
_LEFT, _WIDTH, _RIGHT = 190, 520, 90
_WORDS = 300
"""What the axis of a curve may hold, in viewBox units of height."""


def page(said: Mapping[str, Any]) -> str:
    """Return the page of what `evaluate` writes as JSON."""
    scores: Sequence[Mapping[str, Any]] = said["scores"]
    first = scores[0]
    docs, spans = first["figures"]["docs"], first["figures"]["gold_spans"]
    parts = [
        "<h1>De-identification against gold</h1>",
        f"<p class=sub>{escape(said['system'])} · {docs:,} documents · {spans:,} spans</p>",
        _tiles(first),
    ]
    if len(scores) > 1:
        parts.append(_by_file(scores))
    parts.append(_plots(first))
    parts += [
        f"<details><summary>{escape(score['name'])}</summary>{_tiles(score)}{_plots(score)}</details>"
        for score in scores[1:]
    ]
    parts.append(_notes(said))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>De-identification against gold</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _tiles(score: Mapping[str, Any]) -> str:
    of, between = score["figures"], score["intervals"]
    tiles = [
        ("Token recall", of["token"]["R"], between.get("R"), "of PHI tokens found"),
        ("Token precision", of["token"]["P"], between.get("P"), "of taken tokens are PHI"),
        ("Spans covered", of["span_covered"]["R"], None, "of PHI spans found whole"),
        ("Documents that leak", of["leak_docs"], between.get("leak_docs"),
         f"of {of['phi_docs']:,} with PHI"),
        ("Touched without PHI", of["over_neg_docs"], between.get("over_neg_docs"),
         f"of {of['negative_docs']:,} without PHI"),
    ]  # fmt: skip
    cards = "".join(
        f"<div class=tile><b>{name}</b><span class=value>{_share(value)}</span>"
        f"<span class=range>{_range(low_high) or '&nbsp;'}</span><small>{what}</small></div>"
        for name, value, low_high, what in tiles
    )
    return f"<section class=tiles>{cards}</section>"


def _by_file(scores: Sequence[Mapping[str, Any]]) -> str:
    head = ("file", "documents", "spans", "token recall", "precision", "F2", "covered", "leak",
            "touched")  # fmt: skip
    rows = []
    for score in scores:
        of, between = score["figures"], score["intervals"]
        token = of["token"]
        cells = [
            f"{of['docs']:,}",
            f"{of['gold_spans']:,}",
            f"{_share(token['R'])} <small>{_range(between.get('R'))}</small>",
            f"{_share(token['P'])} <small>{_range(between.get('P'))}</small>",
            _share(token["F2"]),
            _share(of["span_covered"]["R"]),
            _share(of["leak_docs"]),
            _share(of["over_neg_docs"]),
        ]
        rows.append(f"<tr><th>{escape(score['name'])}</th>{_cells(cells)}</tr>")
    return f"<h2>By file</h2>{_table(head, rows)}"


def _plots(score: Mapping[str, Any]) -> str:
    of, between = score["figures"], score["intervals"]
    recalls = [
        (label, each["token_R"], between.get(f"R {label}"), f"{each['spans']:,}")
        for label, each in of["by_label"].items()
    ]
    precisions = [
        (label, each["overlap_P"], None, f"{each['spans']:,}")
        for label, each in of["by_pred_label"].items()
    ]
    parts = []
    if recalls:
        parts.append(f"<h2>Token recall by type of gold</h2>{_dots(recalls, 'recall')}")
    if precisions:
        parts.append(
            f"<h2>Span precision by type of prediction</h2>{_dots(precisions, 'precision')}"
        )
    if score["curve"]:
        parts.append(f"<h2>Were only spans kept above a score</h2>{_curve(score['curve'])}")
    return "".join(parts)


def _dots(rows: Sequence[tuple[str, float, tuple[float, float] | None, str]], kind: str) -> str:
    """Return a plot with a dot and an interval for each row; the axis begins where it says."""
    lowest = min(min(value, *(between or (value,))) for _, value, between, _ in rows)
    begin = max(step for step in _STEPS if step <= lowest)
    height = _ROW * len(rows) + 44

    def x(value: float) -> float:
        return round(_LEFT + (value - begin) / (1 - begin) * _WIDTH, 1)

    shapes = []
    for tick in range(6):
        value = begin + (1 - begin) * tick / 5
        shapes.append(
            f"<line class=grid x1={x(value)} x2={x(value)} y1=8 y2={height - 30} />"
            f"<text class=tick x={x(value)} y={height - 12} text-anchor=middle>{value:.4g}</text>"
        )
    for place, (label, value, between, count) in enumerate(rows):
        y = 8 + _ROW * place + _ROW / 2
        if between is not None:
            shapes.append(
                f"<line class=interval x1={x(between[0])} x2={x(between[1])} y1={y} y2={y} />"
            )
        told = f"{label}: {_share(value)} {_range(between)}, {count} spans"
        shapes.append(
            f"<text x={_LEFT - 66} y={y + 4} text-anchor=end>{escape(label)}</text>"
            f"<text class=count x={_LEFT - 14} y={y + 4} text-anchor=end>{count}</text>"
            f"<circle class={kind} cx={x(value)} cy={y} r=5><title>{escape(told)}</title></circle>"
            f"<text class=number x={_LEFT + _WIDTH + 16} y={y + 4}>{_share(value)}</text>"
        )
    width = _LEFT + _WIDTH + _RIGHT
    note = f"<p class=note>The axis begins at {begin:.4g}.</p>" if begin else ""
    return (
        f'<svg viewBox="0 0 {width} {height}" role=img aria-label="{kind} by type">'
        f"{''.join(shapes)}</svg>{note}"
    )


def _curve(points: Sequence[Mapping[str, float]]) -> str:
    """Return recall and precision over the threshold."""
    low = min(point["threshold"] for point in points)
    high = max(point["threshold"] for point in points)
    floor = min(min(point["P"], point["R"]) for point in points)
    begin = max(step for step in _STEPS if step <= floor)
    top, bottom = 12, _WORDS

    def x(value: float) -> float:
        return round(70 + (value - low) / (high - low) * (_LEFT + _WIDTH - 70), 1)

    def y(value: float) -> float:
        return round(bottom - (value - begin) / (1 - begin) * (bottom - top), 1)

    shapes = []
    for tick in range(6):
        value, level = begin + (1 - begin) * tick / 5, low + (high - low) * tick / 5
        shapes.append(
            f"<line class=grid x1=70 x2={_LEFT + _WIDTH} y1={y(value)} y2={y(value)} />"
            f"<text class=tick x=60 y={y(value) + 4} text-anchor=end>{value:.4g}</text>"
            f"<text class=tick x={x(level)} y={bottom + 20} text-anchor=middle>{level:.2f}</text>"
        )
    for name, kind in (("R", "recall"), ("P", "precision")):
        path = " ".join(f"{x(point['threshold'])},{y(point[name])}" for point in points)
        end = points[-1]
        shapes.append(
            f'<polyline class="line {kind}" points="{path}" />'
            + "".join(
                f"<circle class={kind} cx={x(point['threshold'])} cy={y(point[name])} r=3><title>"
                f"{kind} {point[name]:.4f} from score {point['threshold']:.3g}</title></circle>"
                for point in points
            )
            + f'<text class="name {kind}" x={_LEFT + _WIDTH + 10} y={y(end[name]) + 4}>'
            f"{kind}</text>"
        )
    shapes.append(
        f"<text class=tick x={_LEFT + _WIDTH} y={bottom + 40} text-anchor=end>score</text>"
    )
    return (
        f'<svg viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {bottom + 48}" role=img '
        f'aria-label="recall and precision over the threshold">{"".join(shapes)}</svg>'
    )


def _notes(said: Mapping[str, Any]) -> str:
    drawn = (
        f"Intervals: 95 %, bootstrap over documents, {said['draws']:,} draws, seed {said['seed']}. "
        if said["draws"]
        else ""
    )
    return (
        "<p class=note>A token is a run of letters or digits; it is found only if each of its PHI "
        "characters is covered. Labels count in the plots by type alone. A document leaks if one "
        f"character of its PHI is left. {drawn}Zones that gold ignores count for nothing.</p>"
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    names = "".join(f"<th>{name}</th>" for name in head)
    return (
        f"<div class=wide><table><thead><tr>{names}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _share(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.4f}"


def _range(between: Sequence[float] | None) -> str:
    return "" if between is None else f"{between[0]:.3f} to {between[1]:.3f}"
