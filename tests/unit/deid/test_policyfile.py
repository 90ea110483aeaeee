from __future__ import annotations

import json

import pytest

from wardgate.deid import fpe, policyfile
from wardgate.deid import policy as policies
from wardgate.deid.policyfile import line_of, parse_site, read, read_policy, read_site
from wardgate.errors import PolicyUnknown, SettingsInvalid

SITE = """# what we add; "deny" and pattern = stand below
salt = "0123456789abcdef"
allow = [
  "Kaposi",
  "Hodgkin",
]

[[identifiers]]
type = "MRN"
pattern = 'UH-\\\\d{7}'
examples = ["UH-1234567"]

[[identifiers]]
type = "ACCOUNT"
pattern = 'Q\\\\d{3}'
examples = ["Q123"]
after = ["visit"]

[deny]
NAME = ["zzyzx", "Jane Canary"]

[thresholds]
NAME = 0.5
""".replace("\\\\", "\\")


def _document(name="own", **actions):
    document = {**policies.get("safe_harbor").document, "name": name}
    document.pop("standard", None)
    return {**document, "actions": {**document["actions"], **actions}}


def _toml(document):
    lines = [f"{k} = {json.dumps(v)}" for k, v in document.items() if not isinstance(v, dict)]
    for table in ("shift", "actions"):
        if table in document:
            lines.append(f"[{table}]")
            lines += [f'"{k}" = {json.dumps(v)}' for k, v in document[table].items()]
    return "\n".join(lines) + "\n"


def test_toml_and_json_say_the_same(tmp_path):
    document = {**_document(DATE="shift"), "shift": {"days": 100}, "project": "p"}
    (tmp_path / "own.toml").write_text(_toml(document))
    one = read_policy(tmp_path / "own.toml")
    (tmp_path / "own.json").write_text(json.dumps(document, indent=4))
    two = read_policy(tmp_path / "own.json")
    assert one == two
    assert (one.shift.days, one.project) == (100, "p")


def test_all_policies_of_a_folder_and_the_shipped_ones(tmp_path):
    (tmp_path / "own.toml").write_text(_toml(_document()))
    (tmp_path / "notes.txt").write_text("not read")
    (tmp_path / "site.toml~").write_text("not read")
    (tmp_path / ".site.toml.swp").write_text("not read")
    (tmp_path / "README.md").write_text("not read")
    plain = read(tmp_path)
    assert set(plain.policies) == {*policies.shipped(), "own"}
    assert plain.get(None).hash == policies.get(None).hash
    (tmp_path / "site.toml").write_text(SITE)
    added = read(tmp_path)
    assert all(added.policies[n].hash != p.hash for n, p in plain.policies.items())
    (tmp_path / "site.toml").write_text(SITE.replace("zzyzx", "zzyzy"))
    assert read(tmp_path).get("own").hash != added.get("own").hash
    with pytest.raises(PolicyUnknown):
        added.get("none_such")


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("a.toml", "name = \n", 1, "no TOML"),
        ("a.toml", _toml(_document("a")) + "\n[", None, "no TOML"),
        ("a.json", '{\n"name": 1,,\n}', 2, "no JSON"),
        ("a.json", '{"name": "a",\n "name": "b"}', 2, "twice"),
        ("a.json", "[" * 100_000, 1, "cannot be read"),
        ("a.toml", "a = '\udcff'", 1, "UTF-8"),
        ("a.toml", "nam = 'a'", 1, "unknown: nam"),
        ("a.toml", _toml(_document("b")), 1, "not that of its file"),
        ("a.toml", _toml(_document("a", PHONE="shift")), "PHONE", "no date"),
        ("a.toml", _toml(_document("a", SSN="hide")), "SSN", "SSN is none of"),
        ("a.toml", _toml({**_document("a"), "shift": {"days": 3}}), "days", "from 90"),
        ("a.json", json.dumps(_document("a", SSN="hide"), indent=1), "SSN", "SSN is none of"),
        ("site.toml", "salt = 1", 1, "salt"),
        ("site.toml", "colour = 1", 1, "unknown: colour"),
        ("site.toml", SITE.replace("0123456789abcdef", "short"), "salt =", "salt"),
        ("site.toml", SITE.replace('"Kaposi"', '"room 5"'), "room 5", "no digit"),
        ("site.toml", SITE.replace('"Hodgkin"', '"..."'), '"..."', "words"),
        ("site.toml", SITE.replace("UH-1234567", "1234567"), 'examples = ["1234567', "own examples"),
        ("site.toml", SITE.replace("d{3}", "d+"), "pattern = 'Q", "character 4"),
        ("site.toml", SITE.replace("Q\\d{3}", "\\d{3}").replace("after", "afters"), '[[identifiers]]\ntype = "ACCOUNT', "afters"),
        ("site.toml", SITE.replace("UH-\\d{7}", "\\d{3}").replace("UH-1234567", "123"), "pattern = '\\d{3}", "needs after"),
        ("site.toml", SITE.replace('"visit"', '"a visit"'), "after =", "single words"),
        ("site.toml", SITE.replace('"ACCOUNT"', '"ACCOUNTS"'), "ACCOUNTS", "type is one of"),
        ("site.toml", SITE.replace("NAME = [", "NAMES = ["), "NAMES", "type is one of"),
        ("site.toml", SITE.replace("NAME = 0.5", "NAME = 5"), "NAME = 5", "from 0 to 1"),
        ("site.json", '{"allow":\n "Kaposi"}', 1, "list of strings"),
        ("site.json", '{"identifiers": [\n {"type": "MRN"},\n {"type": "MRN", "pattern": 1}]}', 2, "missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_line_and_reason(tmp_path, name, content, line, reason):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    if isinstance(line, str):
        line = content[: content.index(line)].count("\n") + 1
    with pytest.raises(SettingsInvalid) as refused:
        (read_site if name.startswith("site") else read_policy)(path)
    assert reason in refused.value.detail
    place = refused.value.detail.split(" ")[0]
    assert place == f"{name}:{line}:" or (line is None and place.startswith(f"{name}:"))
    assert "Canary" not in refused.value.detail
    with pytest.raises(SettingsInvalid) as all_of_them:
        read(tmp_path)
    assert refused.value.detail in all_of_them.value.detail


def test_every_wrong_file_is_named_at_once(tmp_path):
    for name in ("a.toml", "b.json", "site.toml"):
        (tmp_path / name).write_text("?")
    with pytest.raises(SettingsInvalid) as refused:
        read(tmp_path)
    assert [line.split(":")[0] for line in refused.value.detail.split("\n")] == [
        "a.toml",
        "b.json",
        "site.toml",
    ]


@pytest.mark.parametrize("name", ["site.yaml", "SITE.TOML", "site", "own.yml", "own.Json"])
def test_a_file_that_was_meant_and_is_not_read_is_refused(tmp_path, name):
    (tmp_path / name).write_text(SITE)
    with pytest.raises(SettingsInvalid, match=rf"^{name}:1: .*ends with .toml or .json"):
        read(tmp_path)


def test_names_are_taken_once(tmp_path):
    (tmp_path / "safe_harbor.json").write_text(json.dumps(_document("safe_harbor")))
    with pytest.raises(SettingsInvalid, match="shipped names"):
        read(tmp_path)
    (tmp_path / "safe_harbor.json").unlink()
    (tmp_path / "own.json").write_text(json.dumps(_document()))
    (tmp_path / "own.toml").write_text(_toml(_document()))
    with pytest.raises(SettingsInvalid, match="already"):
        read(tmp_path)
    (tmp_path / "own.toml").unlink()
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "site.json").write_text("{}")
    with pytest.raises(SettingsInvalid, match="another site"):
        read(tmp_path)


def test_a_folder_that_is_not_there_and_a_file_that_is_too_large(tmp_path, monkeypatch):
    with pytest.raises(SettingsInvalid, match="no such folder"):
        read(tmp_path / "none")
    monkeypatch.setattr(policyfile, "LARGEST", 10)
    (tmp_path / "a.toml").write_text("#" * 11)
    with pytest.raises(SettingsInvalid, match="larger"):
        read(tmp_path)
    monkeypatch.setattr(policyfile, "MOST", 0)
    with pytest.raises(SettingsInvalid, match="more than"):
        read(tmp_path)


def test_encryption_needs_its_library(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(_toml(_document(MRN="fpe")))
    read(tmp_path)
    monkeypatch.setattr(policyfile, "available", lambda: False)
    with pytest.raises(SettingsInvalid, match="wardgate\\[fpe\\]"):
        read(tmp_path)
    assert fpe.available()


def test_a_site_is_read():
    site = read_site_text()
    assert [each.label for each in site.identifiers] == ["MRN", "ACCOUNT"]
    assert site.identifiers[1].after == {"visit"}
    assert site.allow == {"kaposi": {("kaposi",)}, "hodgkin": {("hodgkin",)}}
    assert set(site.deny["NAME"]) == {"zzyzx", "jane"}
    assert site.thresholds == {"NAME": 0.5}
    assert "zzyzx" not in repr(site)


def read_site_text():
    import tomllib

    return parse_site(tomllib.loads(SITE))


def test_a_line_of_something_that_is_not_there_is_that_of_what_holds_it():
    assert line_of("a = 1\n[b]\nc = 2\n", ("b", "x")) == 2
    assert line_of("", ("b",)) == 1
    assert line_of('# b = 1\nb = ["x",\n "y"]', ("b", 1)) == 3
