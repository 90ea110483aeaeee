from __future__ import annotations

import datetime as dt
import re
import secrets

import pytest

from wardgate import Deidentifier
from wardgate.deid import policy as policies
from wardgate.deid.derive import PSEUDONYM, masked, pseudonym, pseudonyms
from wardgate.deid.fpe import Encryption
from wardgate.deid.policyfile import Catalog
from wardgate.deid.secret import Secret, mac
from wardgate.deid.spans import to_input
from wardgate.types import EntityType as E

SECRET = secrets.token_bytes(32)
NOTE = (
    "Patient: Maria Delgado-Reyes, MRN 00123457, DOB 07/22/1951. Seen by Dr. John Smith on "
    "03/14/2024 and again on March 20, 2024. M. Delgado-Reyes called 212-523-0144. SSN 123-45-6789."
)


def _detector(secret=SECRET, project=None, **actions):
    document = {**policies.get("safe_harbor").document, "name": "own"}
    document.pop("standard")
    document["actions"] = {**document["actions"], **actions}
    if project:
        document["project"] = project
    own = policies.parse(document)
    return Deidentifier("own", catalog=Catalog({**policies.shipped(), "own": own}), secret=secret)


def _said(detector, text=NOTE, **more):
    more.setdefault("reference_date", dt.date(2024, 6, 1))
    result = detector.deidentify(text, **more)
    return {
        text[row.start : row.end]: result.text[row.out_start : row.out_end]
        for row in result.alignment
    }


def _day(text, form):
    return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC).date()


def test_masks_keep_length_and_signs():
    said = _said(_detector(SSN="mask", NAME="mask"))
    assert said["123-45-6789"] == "***-**-****"
    assert said["Maria Delgado-Reyes"] == "***** *******-*****"
    assert masked("...") is None
    assert masked("\u0661-a") == "*-*"


def test_pseudonyms_have_128_bits_and_tell_only_who_is_the_same():
    key = secrets.token_bytes(32)
    one = pseudonym(key, E.MRN, "UH-0012 345")
    assert PSEUDONYM.fullmatch(one)
    assert len(one.split("#")[1][:-1]) * 5 >= 128
    assert one == pseudonym(key, E.MRN, "uh 0012-345")
    assert pseudonym(key, E.NAME, "Jos\u00e9") == pseudonym(key, E.NAME, "JOSE")
    others = {
        pseudonym(key, E.MRN, "UH-0012346"),
        pseudonym(key, E.ACCOUNT, "UH-0012345"),
        pseudonym(secrets.token_bytes(32), E.MRN, "UH-0012345"),
        pseudonym(key, E.NAME, "\u674e"),
        pseudonym(key, E.NAME, "\u738b"),
    }
    assert len({one, *others}) == 6


def test_a_pseudonym_is_of_project_and_tenant_and_of_no_patient():
    detector = _detector(MRN="pseudonym")
    one = _said(detector, tenant="t", patient="p")["00123457"]
    assert one == _said(detector, tenant="t", patient="q")["00123457"]
    assert one == _said(detector, tenant="t")["00123457"]
    assert one != _said(detector, tenant="u")["00123457"]
    assert one != _said(_detector(MRN="pseudonym", project="other"), tenant="t")["00123457"]
    assert one != _said(_detector(secrets.token_bytes(32), MRN="pseudonym"), tenant="t")["00123457"]


def test_dates_move_by_one_offset_for_a_patient():
    detector = _detector(DATE="shift")
    offsets = set()
    for patient in "abcdefgh":
        said = _said(detector, patient=patient)
        birth = _day(said["07/22/1951"], "%m/%d/%Y")
        seen = _day(said["03/14/2024"], "%m/%d/%Y")
        again = _day(said["March 20, 2024"], "%B %d, %Y")
        assert (seen - birth).days == (dt.date(2024, 3, 14) - dt.date(1951, 7, 22)).days
        assert (again - seen).days == 6
        offsets.add((seen - dt.date(2024, 3, 14)).days)
        other = _said(detector, "Admitted 01/02/2020.", patient=patient)["01/02/2020"]
        moved = (_day(other, "%m/%d/%Y") - dt.date(2020, 1, 2)).days
        assert moved == (seen - dt.date(2024, 3, 14)).days != 0
    assert len(offsets) > 5


def test_encrypted_numbers_come_back_with_the_key():
    new = _said(_detector(MRN="fpe"), tenant="t")["00123457"]
    assert re.fullmatch(r"\d{8}", new)
    subject = Secret(SECRET).subject(project="own", tenant="t", patient=None, text="")
    assert Encryption(mac(subject.project, "fpe", "")).decrypt(E.MRN, new) == "00123457"


def test_an_initial_before_the_whole_name_is_that_names():
    said = _said(_detector(NAME="surrogate"), "J. Smith, that is Dr. John Smith, came.")
    whole = said["John Smith"].split()
    assert said["J. Smith"] == f"{whole[0][0]}. {whole[1]}"


@pytest.mark.parametrize("action", ["surrogate", "mask", "pseudonym"])
def test_what_would_touch_or_hides_something_keeps_its_tag(action):
    detector = _detector(NAME=action, MRN=action, SSN=action, PHONE=action)
    for text in ("Dr. Smi\u200bth came", "Dr. Smith\u200b came", "Dr. John Smith3/14/2019"):
        result = detector.deidentify(text)
        for row in result.alignment:
            start, end = to_input(row.out_start, row.out_end, result.alignment)
            assert (start, end) == (row.start, row.end)
        assert "Smi" not in result.text


def test_a_pseudonym_of_an_earlier_pass_is_taken_whole():
    detector = _detector(MRN="pseudonym")
    once = detector.deidentify("MRN 00123457 seen").text
    code = PSEUDONYM.search(once)[0]
    assert [c[:3] for c in pseudonyms(once)] == [(4, 4 + len(code), E.MRN)]
    twice = detector.deidentify(once).text
    assert PSEUDONYM.sub("X", twice) == PSEUDONYM.sub("X", once)
    assert detector.deidentify(once, policy="safe_harbor").text == "MRN [MRN] seen"


def test_without_a_secret_each_object_has_its_own():
    one, two = Deidentifier("expert_determination"), Deidentifier("expert_determination")
    text = "MRN 00123457 seen"
    assert one.deidentify(text) == one.deidentify(text)
    assert one.deidentify(text).text != two.deidentify(text).text


def test_safe_harbor_derives_nothing():
    for name in ("safe_harbor", "limited_data_set"):
        one = Deidentifier(name, secret=SECRET).deidentify(NOTE, patient="a", tenant="t")
        assert one == Deidentifier(name).deidentify(NOTE, patient="b", tenant="u")
