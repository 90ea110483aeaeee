"""The figures of a result, drawn with matplotlib: PNG files, and the same as SVG for the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from wardgate.cli.bench.results import Result, Series, labels
from wardgate.cli.bench.table import Invalid

_COLOURS = ("#4d6a8a", "#c2702d", "#5b8c5a", "#a8506b", "#8a7a3c", "#6f5a9c", "#3f8f94", "#9a6a52",
            "#7a7a7a", "#b08cc0")  # fmt: skip
_OURS = ("#0b57d0", "#6ea8fe", "#003a99")
_MARKS = "osD^vPX<>h"
_INK, _SOFT, _GRID = "#1c2430", "#5d6878", "#e3e8ee"
HOP_COLOURS = ("#9ec5fe", "#6ea8fe", "#c5b3e6", "#8f7cc4", "#f0a35e", "#f6cf9c", "#a3cfbb",
               "#198754", "#ced4da", "#d98880", "#e9ecef")  # fmt: skip
_WHOLE = 1000
"""Figures from here on are told without digits behind the point."""
REST = "wire and wait"
"""What is left of the latency beside the hops that a system tells."""


def figures(
    result: Result, price: float | None, currency: str
) -> dict[str, tuple[str, bytes, str]]:
    """Return title, PNG and SVG of each figure by its name. Raises Invalid without matplotlib."""
    series = result.series()
    drawn: dict[str, tuple[str, Callable[[Any], None], tuple[float, float]]] = {
        "latency-throughput": (
            "Latency against throughput",
            lambda f: _tradeoff(f, series),
            (9, 5),
        ),
        "percentiles": ("Percentiles", lambda f: _percentiles(f, series), (9, 5)),
    }
    if any(each.mean_of("hops_ms") for each in series):
        rows = sum(1 for each in series if each.mean_of("hops_ms"))
        drawn["hops"] = ("Time per hop", lambda f: _hops(f, series), (9, 1.9 + 0.42 * rows))
    if any(each.mean_of("batches") for each in series):
        drawn["batches"] = ("Batch sizes and padding", lambda f: _batches(f, series), (9, 4.4))
    names = len(labels([result]))
    tall = 1.3 + 0.42 * names
    drawn["resources"] = ("Memory and processor time", lambda f: _resources(f, series), (9, tall))
    drawn["cost"] = ("Cost", lambda f: _cost(f, series, price, currency), (9, tall))
    said = result.scenario["title"]
    return {
        name: (title, *_render(draw, size, f"{said}: {title.lower()}"))
        for name, (title, draw, size) in drawn.items()
    }


def _render(
    draw: Callable[[Any], None], size: tuple[float, float], title: str
) -> tuple[bytes, str]:
    try:
        import matplotlib as mpl  # noqa: PLC0415 -- an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise Invalid(
            "'wardgate bench report' needs packages: install 'wardgate[bench]'."
        ) from None
    style: dict[Any, Any] = {
        "font.family": "sans-serif", "font.size": 10, "svg.fonttype": "none",
        "svg.hashsalt": "bench",
        "axes.edgecolor": _GRID, "axes.labelcolor": _SOFT, "axes.grid": True, "grid.color": _GRID,
        "xtick.color": _SOFT, "ytick.color": _SOFT, "text.color": _INK, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
        figure.suptitle(title, fontsize=11, color=_SOFT)  # the page has titles of its own
        figure.savefig(png, format="png", dpi=150)
    text = svg.getvalue()
    return png.getvalue(), text[text.index("<svg") :]


def _names(series: Sequence[Series]) -> list[str]:
    return list(dict.fromkeys(each.label for each in series))


def _colour(label: str, names: Sequence[str]) -> str:
    ours = [name for name in names if name.startswith("wardgate")]
    if label in ours:
        return _OURS[ours.index(label) % len(_OURS)]
    return _COLOURS[[n for n in names if n not in ours].index(label) % len(_COLOURS)]


def _look(label: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "color": _colour(label, names),
        "marker": _MARKS[names.index(label) % len(_MARKS)],
        "linewidth": 2.4 if label.startswith("wardgate") else 1.5,
        "markersize": 6,
        "label": label,
    }


def _tradeoff(figure: Any, series: Sequence[Series]) -> None:
    """Draw p95 over throughput: a point for each load, a bar over what its rounds gave."""
    axes = figure.subplots()
    names = _names(series)
    for label in names:
        mine = [each for each in series if each.label == label]
        x = [each.mean("requests_per_second") for each in mine]
        y = [each.mean("p95_ms") for each in mine]
        spans = [each.figures("p95_ms") for each in mine]
        bars = [[m - min(s) for m, s in zip(y, spans, strict=True)],
                [max(s) - m for m, s in zip(y, spans, strict=True)]]  # fmt: skip
        axes.errorbar(x, y, yerr=bars, capsize=2, elinewidth=1, **_look(label, names))
        axes.annotate(f"{mine[-1].level:g}", (x[-1], y[-1]), textcoords="offset points",
                      xytext=(5, 5), fontsize=8, color=_SOFT)  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    kind = "callers" if series[0].kind == "closed" else "requests due a second"
    axes.set_xlabel(f"requests answered a second (number: {kind}, the highest)")
    axes.set_ylabel("p95, ms")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _percentiles(figure: Any, series: Sequence[Series]) -> None:
    """Draw latency over percentile at the highest load, all rounds together."""
    axes = figure.subplots()
    names = _names(series)
    level = max(each.level for each in series)
    for each in (one for one in series if one.level == level):
        curve = each.latencies().curve()
        look = _look(each.label, names) | {"marker": ""}
        axes.plot([1 / max(1e-6, 1 - share) for share, _ in curve], [ms for _, ms in curve], **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = {
        1: "0",
        2: "50 %",
        10: "90 %",
        20: "95 %",
        100: "99 %",
        1000: "99.9 %",
        10000: "99.99 %",
    }
    right = axes.get_xlim()[1]
    axes.set_xticks([t for t in ticks if t <= right], [w for t, w in ticks.items() if t <= right])
    axes.minorticks_off()
    axes.set_xlabel(f"percentile, at {series[0].kind} load of {level:g}")
    axes.set_ylabel("latency, ms")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _hops(figure: Any, series: Sequence[Series]) -> None:
    """Draw the mean time of each hop, a bar for each system and load that tells them."""
    axes = figure.subplots()
    told = [(each, each.mean_of("hops_ms")) for each in series if each.mean_of("hops_ms")]
    hops = [*dict.fromkeys(name for _, found in told for name in found), REST]
    rows = [f"{each.label}, {each.load}" for each, _ in told]
    left = [0.0] * len(rows)
    for hop, colour in zip(hops, HOP_COLOURS * 2, strict=False):
        width = [
            max(0.0, each.mean("mean_ms") - sum(found.values()))
            if hop == REST
            else found.get(hop, 0)
            for each, found in told
        ]
        axes.barh(rows, width, left=left, color=colour, label=hop, height=0.62)
        left = [a + b for a, b in zip(left, width, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean time of a request, ms")
    figure.legend(loc="outside lower center", ncols=min(6, len(hops)), fontsize=9)


def _batches(figure: Any, series: Sequence[Series]) -> None:
    """Draw rows a batch and the share of padding over the load."""
    rows, padding = figure.subplots(1, 2)
    names = _names(series)
    for axes, key, words, scale in (
        (rows, "rows_a_batch", "texts a batch, mean", 1),
        (padding, "padding_share", "padding, % of all tokens", 100),
    ):
        for label in names:
            mine = [
                each for each in series if each.label == label and key in each.mean_of("batches")
            ]
            if mine:
                y = [each.mean_of("batches")[key] * scale for each in mine]
                axes.plot([each.level for each in mine], y, **_look(label, names))
        axes.set_ylabel(words)
        axes.set_xlabel("callers" if series[0].kind == "closed" else "requests due a second")
        axes.set_ylim(bottom=0)
    handles, words = rows.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=4, fontsize=9)


def _best(series: Sequence[Series]) -> list[Series]:
    """Return for each system its load with the most requests answered."""
    return [
        max((e for e in series if e.label == label), key=lambda e: e.mean("requests_per_second"))
        for label in _names(series)
    ]


def _bars(axes: Any, best: Sequence[Series], values: Sequence[float], words: str) -> None:
    names = [each.label for each in best]
    drawn = axes.barh(names, values, color=[_colour(n, names) for n in names], height=0.62)
    told = [f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}" for value in values]
    axes.bar_label(drawn, told, padding=4, fontsize=9, color=_INK)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(words)


def _resources(figure: Any, series: Sequence[Series]) -> None:
    """Draw memory, and processor time a request, at each system's best throughput."""
    memory, cpu = figure.subplots(1, 2, sharey=True)
    best = _best(series)
    _bars(memory, best, [each.mean("memory_mib") for each in best], "memory, MiB")
    _bars(cpu, best, [each.mean("cpu_ms_a_request") for each in best], "processor ms a request")
    memory.set_ylim(len(best) - 0.5, -0.5)


def _cost(figure: Any, series: Sequence[Series], price: float | None, currency: str) -> None:
    """Draw what a million notes cost at each system's best throughput."""
    axes = figure.subplots()
    best = _best(series)
    values = [cost(each.mean("requests_per_second"), price) for each in best]
    words = "machine-hours for a million notes" if price is None else (
        f"{currency} for a million notes, at {price:g} {currency} a machine-hour"
    )  # fmt: skip
    _bars(axes, best, values, f"{words}, at the load with most requests answered")


def cost(requests_per_second: float, price: float | None) -> float:
    """Return the price of a million notes, or the machine-hours where there is no price."""
    hours = 1e6 / requests_per_second / 3600 if requests_per_second else 0.0
    return hours * (1.0 if price is None else price)
