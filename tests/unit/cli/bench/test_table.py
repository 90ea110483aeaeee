from __future__ import annotations

import pytest

from wardgate.cli.bench.table import Invalid, Table


def test_values_come_in_their_kind() -> None:
    table = Table("f", {"a": 1, "b": "x", "c": [1, 2.5], "d": 3, "e": ["x"], "g": {"h": True}})
    assert table.take("a", float) == 1.0
    assert table.take("b", str) == "x"
    assert table.numbers("c") == (1.0, 2.5)
    assert table.numbers("d") == (3.0,)
    assert table.words("e") == ("x",)
    assert table.below("g").take("h", bool) is True
    assert table.take("none", int, 7) == 7
    assert "a" not in table
    table.close()


@pytest.mark.parametrize(
    ("values", "ask", "said"),
    [
        ({}, lambda t: t.take("a", int), "'a' is missing"),
        ({"a": "1"}, lambda t: t.take("a", int), "'a' is no int"),
        ({"a": True}, lambda t: t.take("a", float), "'a' is no float"),
        ({"a": [0]}, lambda t: t.numbers("a"), "above 0"),
        ({"a": [True]}, lambda t: t.numbers("a"), "no list of numbers"),
        ({"a": [1]}, lambda t: t.words("a"), "no list of words"),
        ({"a": 1}, lambda t: t.close(), "unknown key 'a'"),
        ({"a": {"b": 1}}, lambda t: t.below("a").close(), r"\[a\]: unknown key 'b'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(values, ask, said) -> None:
    with pytest.raises(Invalid, match=f"^f.*{said}"):
        ask(Table("f", values))


def test_a_file_that_is_missing_or_no_toml(tmp_path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        Table.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(Invalid, match=r"bad\.toml"):
        Table.read(tmp_path / "bad.toml")
