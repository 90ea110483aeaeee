from __future__ import annotations

import pytest

from wardgate.cli.bench import paper


def test_its_rows_and_what_they_had_in_flight() -> None:
    assert [round(row.in_flight) for row in paper.ROWS] == [10, 12, 27]
    assert paper.row("triton-dynamic").requests_per_second == 780
    assert paper.row("litserve") is None


@pytest.mark.parametrize("said", [paper.MAY, paper.MAY_NOT])
def test_the_statement_is_sentences(said) -> None:
    assert all(each.endswith(".") for each in said)
