"""Gold and predictions: what is right is read, and each fault has its file and line."""

from __future__ import annotations

import json

import click
import pytest

from wardgate.cli import gold as module
from wardgate.cli.gold import gold, predictions
from wardgate.cli.journal import Refused
from wardgate.deid.score import Marked


def span(start: int, end: int, label: str = "NAME", **more) -> dict:
    return {"start": start, "end": end, "label": label, **more}


def written(tmp_path, *records: object, name: str = "gold.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return path


def test_spans_zones_and_blank_lines(tmp_path) -> None:
    path = written(
        tmp_path,
        {"id": 7, "text": "Amy Lee", "spans": [span(0, 7), span(2, 5, "ORG", ignore=True)]},
        "",
        {"text": "", "spans": []},
    )
    first, second = gold(path)
    assert first.spans == (Marked(0, 7, "NAME"), Marked(2, 5, "ORG", ignore=True))
    assert (first.id, second.id, second.line) == ("7", None, 3)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("{nope Amy", "not JSON"),
        ([1], 'no JSON object with a list "spans"'),
        ({"text": "Amy"}, 'no JSON object with a list "spans"'),
        ({"spans": []}, 'no string "text"'),
        ({"text": "Amy", "spans": [{"start": 0}]}, 'span 1: no "start", "end" and "label"'),
        ({"text": "Amy", "spans": [3]}, 'span 1: no "start"'),
        ({"text": "Amy", "spans": [span(0, "3")]}, "span 1: start and end are integers"),  # type: ignore[arg-type]
        ({"text": "Amy", "spans": [span(0, True)]}, "span 1: start and end are integers"),
        ({"text": "Amy", "spans": [span(0, 3), span(2, 4)]}, r"span 2: \[2, 4\) is no part"),
        ({"text": "Amy", "spans": [span(2, 2)]}, r"span 1: \[2, 2\) is no part"),
        ({"text": "Amy", "spans": [span(-1, 2)]}, r"span 1: \[-1, 2\) is no part"),
        (
            {"text": "Amy", "spans": [span(0, 2, "PATIENT")]},
            "unknown label 'PATIENT'; know ACCOUNT",
        ),
        ({"text": "Amy", "spans": [span(1, 3), span(0, 2)]}, "spans 2 and 1 overlap"),
        ({"text": "Amy", "spans": [span(0, 2, score=2)]}, "score is not in"),
    ],
)
def test_a_fault_has_its_file_and_line(tmp_path, record, why) -> None:
    path = written(tmp_path, {"text": "fine", "spans": []}, record)
    with pytest.raises(Refused, match=why) as refused:
        gold(path)
    assert f"{path}:2: " in refused.value.message
    assert "Amy" not in refused.value.message


def test_many_faults_are_told_but_not_all(tmp_path) -> None:
    path = written(tmp_path, *["{"] * 30)
    with pytest.raises(Refused, match="and 20 more") as refused:
        gold(path)
    assert refused.value.message.count(":") < 30


def test_no_documents_and_no_file(tmp_path) -> None:
    with pytest.raises(Refused, match="no documents"):
        gold(written(tmp_path))
    with pytest.raises(click.ClickException, match="No such file"):
        gold(tmp_path / "absent")


# -- predictions ----------------------------------------------------------------------------------


def documents(tmp_path, *ids: object):
    records = [{"text": "Amy Lee", "spans": [], **({} if i is None else {"id": i})} for i in ids]
    return gold(written(tmp_path, *records))


def test_predictions_go_by_id_or_by_order(tmp_path) -> None:
    found = [{"id": 2, "spans": [span(0, 3, "PER", score=0.5)]}, {"id": 1, "spans": []}]
    path = written(tmp_path, *found, name="p")
    by_id = predictions(path, documents(tmp_path, 1, 2))
    assert by_id == [(), (Marked(0, 3, "PER", score=0.5),)]
    by_order = predictions(path, documents(tmp_path, None, None))
    assert by_order == by_id[::-1]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([{"id": 1, "spans": []}], "no line for the document of line 2 of gold"),
        ([{"id": 1, "spans": []}, {"id": 1, "spans": []}], "the same id"),
        ([{"spans": []}], "1 lines for 2 documents"),
        ([{"id": 1, "spans": []}, {"id": 2, "spans": [span(5, 9)]}], r"p:2: span 1: \[5, 9\)"),
        ([{"id": 1, "spans": []}, "{"], "p:2: not JSON"),
        ([], "0 lines for 2 documents"),
    ],
)
def test_predictions_that_do_not_fit(tmp_path, found, why) -> None:
    path = written(tmp_path, *found, name="p")
    with pytest.raises(Refused, match=why):
        predictions(path, documents(tmp_path, 1, 2))


def test_every_entity_type_is_a_label() -> None:
    assert {"NAME", "OTHER_ID", "FAX"} <= module._LABELS
