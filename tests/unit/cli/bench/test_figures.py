from __future__ import annotations

import struct
import sys

import pytest

from wardgate.cli.bench import figures
from wardgate.cli.bench.table import Invalid

TWO = {"fastapi": (10, 50), "wardgate": (5, 100)}


def test_all_figures_are_drawn_as_png_and_svg(written) -> None:
    drawn = figures.figures(written(TWO), 0.1, "USD")
    assert set(drawn) == {
        "latency-throughput", "percentiles", "hops", "batches", "resources", "cost",
    }  # fmt: skip
    for title, png, svg in drawn.values():
        assert title
        width, height = struct.unpack(">2I", png[16:24])
        assert width > 800
        assert height > 200
        assert svg.startswith("<svg")
        assert "http://localhost" not in svg


def test_what_no_system_tells_is_not_drawn(written) -> None:
    made = written({"fastapi": (10, 50)}, rounds=1, levels=(4.0,))
    for each in made.content["rounds"][0]["measured"]:
        each["batches"] = None
    drawn = figures.figures(made, None, "USD")
    assert not {"hops", "batches"} & set(drawn)


@pytest.mark.parametrize(
    ("rate", "price", "wanted"), [(1000, 3.6, 1.0), (1000, None, 0.2778), (0, 1, 0)]
)
def test_what_a_million_notes_cost(rate, price, wanted) -> None:
    assert figures.cost(rate, price) == pytest.approx(wanted, rel=1e-3)


def test_without_the_extra_one_sentence_says_what_to_install(written, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Invalid, match=r"wardgate\[bench\]"):
        figures.figures(written(TWO), None, "USD")
