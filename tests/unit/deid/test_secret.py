from __future__ import annotations

import secrets

import pytest

from wardgate.deid.secret import Secret, mac
from wardgate.errors import SettingsInvalid
from wardgate.types import PHI

SECRET = Secret(secrets.token_bytes(32))


def _subject(secret=SECRET, *, project="p", tenant="t", patient="x", text="a"):
    who = PHI(patient) if patient is not None else None
    return secret.subject(project=project, tenant=tenant, patient=who, text=text)


def test_a_patient_has_the_same_keys_in_all_texts():
    assert _subject() == _subject(text="b")
    assert _subject().person != _subject(patient="y").person
    assert _subject().project == _subject(patient="y").project


@pytest.mark.parametrize(
    "other", [{"project": "q"}, {"tenant": "u"}, {"secret": Secret(secrets.token_bytes(32))}]
)
def test_projects_tenants_and_secrets_share_nothing(other):
    one, two = _subject(), _subject(**other)
    assert len({one.project, one.person, two.project, two.person}) == 4


def test_without_a_patient_the_text_decides():
    assert _subject(patient=None) == _subject(patient=None)
    assert _subject(patient=None).person != _subject(patient=None, text="b").person
    assert _subject(patient=None, text="x").person != _subject(patient="x").person


@pytest.mark.parametrize("size", [0, 16, 33])
def test_a_secret_is_32_bytes(size):
    with pytest.raises(SettingsInvalid):
        Secret(bytes(size))


def test_it_is_not_printed():
    secret = Secret(b"\x07" * 32)
    assert "x07" not in repr(secret)
    assert "\\x" not in repr(_subject())


def test_purposes_are_apart_and_any_text_has_a_code():
    key = secrets.token_bytes(32)
    assert (
        len({mac(key, "a", "b"), mac(key, "b", "a"), mac(key, "a b", ""), mac(key, "a", "")}) == 4
    )
    assert len(mac(key, "a", "\ud800")) == 32
