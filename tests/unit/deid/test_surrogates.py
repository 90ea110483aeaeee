from __future__ import annotations

import ipaddress
import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.namepools import load
from wardgate.deid.spans import Place
from wardgate.deid.surrogates import Surrogates
from wardgate.types import EntityType as E

POOLS = load()


@pytest.fixture
def make():
    key = secrets.token_bytes(32)
    return lambda text="": Surrogates(key, text)


KEYS = [secrets.token_bytes(32) for _ in range(30)]


def _sex(name):
    return POOLS.first_of[name.lower()][1]


@pytest.mark.parametrize("key", KEYS)
def test_sex_and_origin_are_kept_where_they_can_be_told(key):
    john, smith = Surrogates(key, "").name("John Smith").split()
    assert _sex(john) in {"M", ""}
    assert POOLS.last_of[smith.lower()] == "english"
    maria, delgado = Surrogates(key, "").name("Maria Delgado").split()
    assert POOLS.first_of[maria.lower()][0] == "spanish"
    assert _sex(maria) in {"F", ""}
    assert POOLS.last_of[delgado.lower()] == "spanish"
    by_title = Surrogates(key, "").name("Xaviera Qu", "Mrs. ").split()[0]
    assert _sex(by_title) in {"F", ""}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("John Smith", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("SMITH, JOHN Q.", r"[A-Z]+, [A-Z]+ [A-Z]\."),
        ("john smith", r"[a-z]+ [a-z]+"),
        ("J. Smith-Jones", r"[A-Z]\. [A-Z][a-z]+-[A-Z][a-z]+"),
        ("Maria de la Cruz Jr.", r"[A-Z][a-z]+ de la [A-Z][a-z]+ Jr\."),
        ("Smith's", r"[A-Z][a-z]+'s"),
        ("Jos\u00e9 Guti\u00e9rrez", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("Jose\u0301", r"[A-Z][a-z]+"),
        ("John\nSmith", r"[A-Z][a-z]+\n[A-Z][a-z]+"),
        ("Smith, MD", r"[A-Z][a-z]+, MD"),
    ],
)
def test_the_form_of_a_name_is_kept(make, name, form):
    new = make().name(name)
    assert re.fullmatch(form, new)
    assert new != name


@pytest.mark.parametrize("name", ["", "...", "J0hn", "John \u200bSmith", "J o h n S", "J\u00b2"])
def test_what_is_no_plain_name_keeps_its_tag(make, name):
    assert make().name(name) is None


def test_one_person_is_one_person_in_all_forms(make):
    names = make()
    full = names.name("John Smith")
    first, last = full.split()
    assert names.name("SMITH, JOHN") == f"{last}, {first}".upper()
    assert names.name("Smith", "Mr. ") == last
    assert names.name("John") == first
    assert names.name("J. Smith") == f"{first[0]}. {last}"
    assert names.of(E.EMAIL, None, "john.smith@x.org", "").startswith(f"{first}.{last}@".lower())


def test_another_note_of_the_patient_has_the_same(make):
    assert make("John Smith").name("John Smith") == make("Seen: John Smith").name("John Smith")
    assert Surrogates(secrets.token_bytes(32), "").name("John Smith") != make().name("John Smith")


def test_no_surrogate_is_a_word_of_the_note_or_one_of_another_value():
    people = sorted(POOLS.last["english"])[::40]
    text = " ".join(people)
    for key in KEYS[:5]:
        names = Surrogates(key, text)
        given = [names.name(each.capitalize(), "Mr. ") for each in people]
        assert not {each.lower() for each in given} & set(people)
        assert len(set(given)) == len(people)


def test_a_small_pool_that_the_note_uses_up_still_gives_another_name():
    pool = POOLS.last["greek"]
    names = Surrogates(KEYS[0], " ".join(pool))
    for each in pool[:20]:
        new = names.name(each.capitalize(), "Dr. ")
        assert new.lower() != each


@pytest.mark.parametrize(
    ("place", "value", "form"),
    [
        (
            Place.STREET,
            "12 North Main Street, Apt 4",
            r"[1-9]\d North [A-Z][a-z]+ Street, Apt [1-9]",
        ),
        (Place.STREET, "P.O. Box 1234", r"P\.O\. Box [1-9]\d{3}"),
        (Place.CITY, "Boston", r"[A-Z][a-z]+(?: [A-Z][a-z]+)*"),
        (Place.CITY, "BOSTON", r"[A-Z]+(?: [A-Z]+)*"),
        (Place.COUNTY, "Worcester County", r"[A-Z][a-z]+ County"),
        (Place.FACILITY, "St. Mary's Hospital", r"St\. [A-Z][a-z]+'s Hospital"),
        (Place.STREET, "12 West 4th Street, Apt 4B", r"[1-9]\d West \dth Street, Apt [1-9][A-Z]"),
        (Place.STREET, "Suite 300", r"Suite [1-9]\d\d"),
        (Place.ZIP, "02115-1234", r"0\d{4}-\d{4}|[1-9]\d{4}-\d{4}"),
    ],
)
def test_places(make, place, value, form):
    new = make().of(E.LOCATION, place, value, "")
    assert re.fullmatch(form, new)
    assert new != value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (Place.FACILITY, "the University Hospital"),
        (Place.FACILITY, "Community Hospital 12"),
        (Place.STREET, "100 Memorial Drive"),
        (Place.STREET, "\u0661\u0662 Main Street"),
        (Place.STREET, "\uff14\uff12 Elm St"),
    ],
)
def test_a_place_that_would_show_through_keeps_its_tag(make, place, value):
    assert make().of(E.LOCATION, place, value, "") is None


@pytest.mark.parametrize(
    ("label", "value", "form"),
    [
        (E.PHONE, "(617) 523-0199", r"\([1-9]\d\d\) 555-\d{4}"),
        (E.PHONE, "523-0199", r"555-\d{4}"),
        (E.FAX, "1-617-523-0199", r"1-\d{3}-555-\d{4}"),
        (E.SSN, "123-45-6789", r"9\d\d-(?:0[1-9]|[1-4]\d)-\d{4}"),
        (E.MRN, "UH-0012345", r"[A-Z]{2}-\d{7}"),
        (E.DEVICE, "00:1A:2b:3C:4d:5E", r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"),
        (E.EMAIL, "jsmith77@mayo.org", r"[a-z]+\d\d@example\.(?:com|org|net)"),
        (E.EMAIL, "@someone", r"@[a-z]+"),
        (E.URL, "https://mayo.org/p/jane", r"https://example\.org/[0-9a-f]{12}"),
        (E.URL, "www.mayo.org", r"www\.example\.org/[0-9a-f]{12}"),
    ],
)
def test_numbers_and_addresses(make, label, value, form):
    new = make().of(label, None, value, "")
    assert re.fullmatch(form, new)
    assert new != value
    assert make().of(label, None, value, "") == new


def test_addresses_of_the_net_are_nobodys(make):
    four = make().of(E.IP, None, "10.1.2.3", "")
    assert ipaddress.ip_address(four) in ipaddress.ip_network("198.18.0.0/15")
    six = make().of(E.IP, None, "fe80::1", "")
    assert ipaddress.ip_address(six) in ipaddress.ip_network("2001:db8::/32")


@pytest.mark.parametrize(
    ("label", "value"),
    [(E.MRN, "123"), (E.MRN, "12\u0663\u0664567"), (E.IP, "1.2.3"), (E.EMAIL, "a at b dot org")],
)
def test_what_is_too_short_or_not_understood_keeps_its_tag(make, label, value):
    assert make().of(label, None, value, "") is None


KINDS = [(label, None) for label in E if label not in {E.DATE, E.AGE, E.LOCATION}] + [
    (E.LOCATION, place) for place in Place
]


@given(st.text(max_size=40), st.sampled_from(KINDS), st.sampled_from(KEYS[:2]))
def test_any_text_has_another_value_or_none(value, kind, key):
    new = Surrogates(key, value).of(*kind, value, "")
    if new is not None:
        assert new
        assert "\n" not in new or "\n" in value
