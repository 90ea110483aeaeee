from __future__ import annotations

import hashlib
import hmac
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.pseudonym import Pseudonyms
from wardgate.types import PHI

KEY = secrets.token_bytes(32)
PSEUDONYM = Pseudonyms(KEY)
WORDS = st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable())


@given(WORDS, WORDS)
def test_the_same_patient_of_the_same_tenant_has_the_same_pseudonym(patient, tenant):
    assert PSEUDONYM(PHI(patient), tenant=tenant) == Pseudonyms(KEY)(PHI(patient), tenant=tenant)


@given(WORDS, WORDS, WORDS, WORDS)
def test_another_patient_or_tenant_has_another(patient, tenant, patient2, tenant2):
    same = PSEUDONYM(PHI(patient), tenant=tenant) == PSEUDONYM(PHI(patient2), tenant=tenant2)
    assert same is ((patient, tenant) == (patient2, tenant2))


def test_the_key_decides_and_is_not_shown():
    other = Pseudonyms(secrets.token_bytes(32))
    assert other(PHI("p-1"), tenant="a") != PSEUDONYM(PHI("p-1"), tenant="a")
    assert repr(KEY) not in repr(PSEUDONYM)
    with pytest.raises(TypeError):
        Pseudonyms()


def test_it_is_hmac_sha256_under_the_tenants_own_key():
    tenant_key = hmac.new(KEY, b"a", hashlib.sha256).digest()
    expected = hmac.new(tenant_key, b"p-1", hashlib.sha256).hexdigest()
    got = PSEUDONYM(PHI("p-1"), tenant="a")
    assert got == expected
    assert len(got) == 64
