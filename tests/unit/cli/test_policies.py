from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from wardgate.cli.policies import policies
from wardgate.deid import policy
from wardgate.errors import PolicyUnknown, SettingsInvalid

SITE = 'salt = "0123456789abcdef"\n[deny]\nNAME = ["zzyzx"]\n'


def _run(*arguments, env=None):
    result = CliRunner().invoke(
        policies, [str(argument) for argument in arguments], env=env, catch_exceptions=True
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path):
    document = {**policy.get("expert_determination").document, "name": "own"}
    (tmp_path / "own.json").write_text(json.dumps(document))
    (tmp_path / "site.toml").write_text(SITE)
    return tmp_path


def test_list_names_hash_and_standard():
    rows = [line.split("\t") for line in _run("list").stdout.splitlines()]
    found = {row[0]: row[1:3] for row in rows}
    assert found == {p.name: [p.hash[:12], p.standard or "-"] for p in policy.shipped().values()}


def test_a_folder_by_option_or_setting(folder):
    one = _run("list", "--folder", folder).stdout
    assert one == _run("list", env={"WARDGATE_DEID__POLICIES": str(folder)}).stdout
    assert "own\t" in one


def test_show_prints_what_can_be_a_file(tmp_path):
    shown = json.loads(_run("show", "limited_data_set").stdout)
    assert shown == policy.get("limited_data_set").document
    (tmp_path / "mine.json").write_text(json.dumps({**shown, "name": "mine"}))
    assert _run("check", tmp_path / "mine.json").stdout.startswith("mine: right")
    with pytest.raises(PolicyUnknown):
        _run("show", "none_such")


def test_check_says_what_is_derived(folder):
    said = _run("check", folder).stdout
    assert "own: right" in said
    assert "not Safe Harbor's own: shift (DATE)" in said
    assert "1 policies of the site" in said
    assert "site.toml: right" in _run("check", folder / "site.toml").stdout
    assert "zzyzx" not in said


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("bad.toml", "name = ", r"bad\.toml:1: is no TOML"),
        ("site.toml", "salt = 1", r"site\.toml:1: "),
        ("notes.txt", "x", r"notes\.txt:1: "),
    ],
)
def test_check_refuses_with_file_line_and_reason(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsInvalid, match=told):
        _run("check", tmp_path / name)
