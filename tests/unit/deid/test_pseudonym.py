"""Patient pseudonyms: one for each patient and tenant, and nothing of the patient in it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.pseudonym import Pseudonyms
from wardgate.types import PHI

KEY = bytes(range(32))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(NAMES, NAMES)
def test_a_pseudonym_is_stable_and_has_one_form(patient, tenant) -> None:
    found = Pseudonyms(KEY)(PHI(patient), tenant=tenant)
    assert re.fullmatch("[0-9a-f]{64}", found)
    assert found == Pseudonyms(KEY)(PHI(patient), tenant=tenant)


@given(st.sets(st.tuples(NAMES, NAMES), min_size=2, max_size=8))
def test_every_patient_and_every_tenant_has_its_own(pairs) -> None:
    """The border between tenant and patient counts: (`ab`, `c`) is not (`a`, `bc`)."""
    found = {Pseudonyms(KEY)(PHI(patient), tenant=tenant) for tenant, patient in pairs}
    assert len(found) == len(pairs)


def test_another_key_gives_another_pseudonym_and_no_key_is_shown() -> None:
    other = Pseudonyms(bytes(32))
    assert other(PHI("patient-7"), tenant="north") != Pseudonyms(KEY)(
        PHI("patient-7"), tenant="north"
    )
    assert repr(other) == "Pseudonyms()"
