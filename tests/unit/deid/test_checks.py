from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid import checks


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (checks.luhn, "4111111111111111"),
        (checks.npi, "1234567893"),
        (checks.card, "378282246310005"),
        (checks.vin, "1HGCM82633A004352"),
        (checks.vin, "1M8GDM9AXKP042788"),
        (checks.iban, "GB82WEST12345698765432"),
        (checks.iban, "DE89370400440532013000"),
        (checks.dea, "AB1234563"),
        (checks.gs1, "00614141999996"),
        (checks.gs1, "4006381333931"),
    ],
)
def test_check_digit_accepts_the_number_and_refuses_every_other_digit(check, good):
    assert check(good)
    at = 8 if check is checks.vin else len(good) - 1
    others = [good[:at] + d + good[at + 1 :] for d in "0123456789" if d != good[at]]
    assert not any(check(other) for other in others)


@pytest.mark.parametrize("number", ["1EG4TE5MK73", "2AA2AA2AA22"])
def test_mbi_positions(number):
    assert checks.mbi(number)
    assert not checks.mbi("0" + number[1:])
    assert not checks.mbi(number[:1] + "S" + number[2:])
    assert not checks.mbi(number[:10] + "A")
    assert not checks.mbi(number[:10])


@pytest.mark.parametrize(
    ("digits", "valid"),
    [
        ("123456789", True),
        ("000456789", False),
        ("666456789", False),
        ("123006789", False),
        ("123450000", False),
        ("900456789", True),
        ("12345678", False),
    ],
)
def test_ssn_ranges(digits, valid):
    # 9xx is no SSN but an ITIN of the IRS, which identifies as well.
    assert checks.ssn(digits) is valid


@pytest.mark.parametrize("bad", ["1234567890", "3234567893", "123456789"])
def test_npi_refuses(bad):
    assert not checks.npi(bad)


@pytest.mark.parametrize("bad", ["1" * 16, "1234567890123", "41111111"])
def test_card_refuses(bad):
    assert not checks.card(bad)


@pytest.mark.parametrize("bad", ["XX00TEST", "GB82WEST1234569876543", "GBAAWEST12345698765432"])
def test_iban_refuses(bad):
    assert not checks.iban(bad)


@pytest.mark.parametrize("bad", ["1HGCM82633A00435", "IHGCM82633A004352"])
def test_vin_refuses(bad):
    assert not checks.vin(bad)


@pytest.mark.parametrize("bad", ["AB123456", "1B1234563", "ABC234563"])
def test_dea_refuses(bad):
    assert not checks.dea(bad)


def test_gs1_refuses_other_lengths():
    assert not checks.gs1("123")


def _is(kind, text):
    try:
        kind(text)
    except ValueError:
        return False
    return True


@given(st.ip_addresses(v=4).map(str))
def test_ipv4_accepts(text):
    assert checks.ipv4(text)


@given(st.text("0123456789.", max_size=16))
def test_ipv4_agrees_with_ipaddress(text):
    assert checks.ipv4(text) == _is(ipaddress.IPv4Address, text)


@given(st.ip_addresses(v=6), st.booleans())
def test_ipv6_accepts(address, long):
    assert checks.ipv6(address.exploded if long else str(address))


def test_ipv6_agrees_with_ipaddress():
    draw = random.Random(1)
    for _ in range(20_000):
        text = "".join(
            draw.choice(("a", "1f", ":", ":", "::", "0", "abcd", "12345", ".1"))
            for _ in range(draw.randrange(2, 16))
        )
        if ":" in text and "." not in text:
            assert checks.ipv6(text) == _is(ipaddress.IPv6Address, text), text
    assert checks.ipv6("::ffff:10.0.0.1")
    assert not checks.ipv6("::ffff:10.0.0.256")
