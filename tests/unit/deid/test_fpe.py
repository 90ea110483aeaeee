from __future__ import annotations

import secrets
import string

import pytest
from ffx import FF1
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.fpe import Encryption, available
from wardgate.types import EntityType

KEY = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"
NIST = [
    # NIST, FF1 samples of SP 800-38G: bits of the key, radix, tweak, plain, encrypted
    (128, 10, "", "0123456789", "2433477484"),
    (128, 10, "39383736353433323130", "0123456789", "6124200773"),
    (128, 36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    (192, 10, "", "0123456789", "2830668132"),
    (192, 10, "39383736353433323130", "0123456789", "2496655549"),
    (192, 36, "3737373770717273373737", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
    (256, 10, "", "0123456789", "6657667009"),
    (256, 10, "39383736353433323130", "0123456789", "1001623463"),
    (256, 36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]


@pytest.mark.parametrize(("bits", "radix", "tweak", "plain", "encrypted"), NIST)
def test_the_library_gives_the_samples_of_the_standard(bits, radix, tweak, plain, encrypted):
    cipher = FF1(bytes.fromhex(KEY)[: bits // 8], radix=radix)
    assert cipher.encrypt(plain, tweak=bytes.fromhex(tweak)) == encrypted
    assert cipher.decrypt(encrypted, tweak=bytes.fromhex(tweak)) == plain


def test_digits_are_plain_ff1_in_radix_10_with_the_type_as_the_tweak():
    key = bytes.fromhex(KEY)
    new = Encryption(key).encrypt(EntityType.SSN, "123-45-6789")
    assert new.replace("-", "") == FF1(key, radix=10).encrypt("123456789", tweak=b"SSN")


ENCRYPTION = Encryption(secrets.token_bytes(32))
VALUES = st.text(string.ascii_letters + string.digits + "-/. ", min_size=6, max_size=24)


@given(VALUES, st.sampled_from([EntityType.MRN, EntityType.PHONE]))
def test_form_is_kept_and_it_comes_back(value, label):
    new = ENCRYPTION.encrypt(label, value)
    if new is None:
        assert sum(c.isalnum() for c in value) < 6
        return
    assert len(new) == len(value)
    for old, char in zip(value, new, strict=True):
        assert old.isdigit() == char.isdigit()
        assert old.isupper() == char.isupper()
        assert old.isalnum() or old == char
    assert ENCRYPTION.decrypt(label, new) == value


def test_types_and_keys_are_apart():
    value = "1234567890"
    mrn = ENCRYPTION.encrypt(EntityType.MRN, value)
    assert mrn != ENCRYPTION.encrypt(EntityType.PHONE, value)
    assert mrn != Encryption(secrets.token_bytes(32)).encrypt(EntityType.MRN, value)


@pytest.mark.parametrize("value", ["", "---", "12345", "AB12", "12345\uff16\uff17"])
def test_what_is_too_short_or_no_ascii_keeps_its_tag(value):
    assert ENCRYPTION.encrypt(EntityType.MRN, value) is None


def test_it_is_there():
    assert available()
