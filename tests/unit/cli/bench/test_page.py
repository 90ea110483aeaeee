from __future__ import annotations

import re

import pytest
from tests.unit.cli.bench.conftest import content

from wardgate.cli.bench import page, results

SYSTEMS = {"fastapi": (10, 50), "triton-dynamic": (20, 20), "wardgate": (5, 100)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    told = content(SYSTEMS)
    told["scenario"]["title"] = "<b>Mixed</b>"
    told["rounds"][0]["measured"][0]["bottleneck"] = ["the generator was late"]
    told["systems"]["ray"] = {**told["systems"]["fastapi"], "absent": "pip could not install it"}
    results.write(out / "made.json", told)
    path = page.write(results.read_all(out), out, 0.1, "EUR")
    return out, path.read_text("utf-8")


def test_the_page_stands_alone(made) -> None:
    out, text = made
    assert not re.findall(r"(?:src|href)=['\"]?(?!#)[^'\"> ]*\.(?:js|css|png|woff)", text)
    assert not re.findall(r"<(?:script|link|iframe|img)\b", text)
    assert "@import" not in text
    assert len(list(out.glob("made-*.png"))) == 6


def test_it_shows_figures_and_the_papers_beside(made) -> None:
    _, text = made
    assert text.count("<svg") == 6
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    (plain,) = (row for row in rows if "<td class=paper>450</td>" in row)
    assert "<td class=paper>22</td><td class=paper>45</td>" in plain
    assert "<td>8 callers</td>" in plain  # the paper had 10 in flight
    (dynamic,) = (row for row in rows if "<td class=paper>780</td>" in row)
    assert "<td>32 callers</td>" in dynamic  # and 27
    assert "EUR for a million notes" in text


def test_it_says_what_may_not_be_compared_and_what_to_doubt(made) -> None:
    _, text = made
    assert "What may not" in text
    assert "the generator was late" in text
    assert "ray: pip could not install it" in text
    assert "&#9888;" in text


def test_names_cannot_break_the_page(made) -> None:
    _, text = made
    assert "<b>Mixed</b>" not in text
    assert "&lt;b&gt;Mixed&lt;/b&gt;" in text
