"""Identifiers by class: what is found, and what looks like one and stays."""

from __future__ import annotations

import pytest

from rules_alone import rules_alone

DETECTOR = rules_alone()

FOUND = [
    ("PHONE", "Phone: (617) 555-0123", "(617) 555-0123"),
    ("PHONE", "call 617-555-0123 today", "617-555-0123"),
    ("PHONE", "1-800-555-0199", "1-800-555-0199"),
    ("PHONE", "at +44 20 7946 0958", "+44 20 7946 0958"),
    ("PHONE", "cell 6175550123", "6175550123"),
    ("PHONE", "Phone: 51 516 33 75", "51 516 33 75"),
    ("PHONE", "617.555.0123 ext 42", "617.555.0123 ext 42"),
    ("PHONE", "five five five one two one two", "five five five one two one two"),
    ("FAX", "Fax: 617-555-0199", "617-555-0199"),
    ("EMAIL", "write jane.doe+x@mail.example.org.", "jane.doe+x@mail.example.org"),
    ("SSN", "SSN 123-45-6789", "123-45-6789"),
    ("SSN", "social security number is 123456789", "123456789"),
    ("SSN", "last four of SSN: 6789", "6789"),
    ("SSN", "SSN last 4 6789", "6789"),
    ("MRN", "MRN: 1234567", "1234567"),
    ("MRN", "MRN-1015952", "1015952"),
    ("MRN", "medical record number 00123456", "00123456"),
    ("HEALTH_PLAN", "1EG4-TE5-MK73", "1EG4-TE5-MK73"),
    ("HEALTH_PLAN", "Member ID: XYZ123456789", "XYZ123456789"),
    ("HEALTH_PLAN", "Insurance member ID HXP-4471-0092", "HXP-4471-0092"),
    ("HEALTH_PLAN", "Policy # 55-AB-221", "55-AB-221"),
    ("HEALTH_PLAN", "Group number 44712", "44712"),
    ("HEALTH_PLAN", "Subscriber ID W123456", "W123456"),
    ("HEALTH_PLAN", "Medicaid ID: 12345678A", "12345678A"),
    ("HEALTH_PLAN", "Health plan beneficiary number 884-221-09", "884-221-09"),
    ("HEALTH_PLAN", "Policy No. ZX9928841", "ZX9928841"),
    ("OTHER_ID", "user thomassanchez240 logged in", "thomassanchez240"),
    ("HEALTH_PLAN", "policy number 88123456", "88123456"),
    ("ACCOUNT", "card 4111 1111 1111 1111", "4111 1111 1111 1111"),
    ("ACCOUNT", "4111111111111111", "4111111111111111"),
    ("ACCOUNT", "IBAN GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
    ("ACCOUNT", "DE89370400440532013000", "DE89370400440532013000"),
    ("ACCOUNT", "Account #: 99120", "99120"),
    ("LICENSE", "NPI 1234567893", "1234567893"),
    ("LICENSE", "DEA AB1234563", "AB1234563"),
    ("LICENSE", "AB1234563", "AB1234563"),
    ("LICENSE", "RN license no. 552211", "552211"),
    ("VEHICLE", "1HGCM82633A004352", "1HGCM82633A004352"),
    ("VEHICLE", "VIN: 1HGCM82633A004353", "1HGCM82633A004353"),
    ("VEHICLE", "license plate 7ABC123", "7ABC123"),
    ("DEVICE", "(01)00614141999996(17)250101(10)A1B2", "(01)00614141999996(17)250101(10)A1B2"),
    ("DEVICE", "serial number SN4471234", "SN4471234"),
    ("DEVICE", "MAC 00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
    ("URL", "see https://example.org/p?id=1.", "https://example.org/p?id=1"),
    ("URL", "at www.example.com today", "www.example.com"),
    ("URL", "visit example.org now", "example.org"),
    ("IP", "from 192.168.1.1.", "192.168.1.1"),
    ("IP", "from 2001:db8::8a2e:370:7334 on", "2001:db8::8a2e:370:7334"),
    ("BIOMETRIC", "BIO-FP-a3f8c2e1d5", "FP-a3f8c2e1d5"),
    ("PHOTO", "image IMG_2041.JPG attached", "IMG_2041.JPG"),
    ("OTHER_ID", "Accession: S19-12345", "S19-12345"),
    ("OTHER_ID", "Encounter # 7781234", "7781234"),
    ("OTHER_ID", "Order number 551234", "551234"),
    ("OTHER_ID", "specimen 22-P-10443", "22-P-10443"),
    ("OTHER_ID", "user edwardortiz102 logged in", "edwardortiz102"),
    ("OTHER_ID", "UGF0aWVudCBKb2huIERvZQ==", "UGF0aWVudCBKb2huIERvZQ=="),
    ("OTHER_ID", "application (no. 28045/02)", "28045/02"),
]

STAYS = [
    "BP 120/80, HR 72, RR 16, SpO2 98%, temp 98.6",
    "5/5 strength, 2/6 systolic murmur, 1/2 tablet, pain 7/10",
    "WBC 12.5, platelets 250000, glucose 110, A1c 7.2",
    "aspirin 81 mg, heparin 5000 units, 1000 mL normal saline",
    "C5-C6 disc, L4-5, T12 fracture, S1",
    "ICD-10 E11.65, CPT 99213, LOINC 4548-4, HCPCS J3490",
    "COVID-19, SARS-CoV-2, HbA1c, CYP2D6, BRCA1, rs1801133",
    "NDC 0069-2587-41 was given",
    "GCS 15, NIHSS 4, Apgar 8/9, EF 55-60%",
    "at 1430 hours, 07:45, 3 pm",
    "a 45-year-old man, 3 weeks ago, for 10 days",
    "1,200 calories; 2000 steps; 300-1000 mg",
    "phase 2 trial, grade 3, stage IIIA, type 2 diabetes",
    "20/20 vision, 14 French Foley, 0.5 cc, 10 mL/hr",
    "version 2.10.1, ratio 1:200, 2:1 block",
    "ventilator FiO2 0.4 PEEP 5 rate 12 tidal volume 450",
    "plan for 2000 calories in case 3 fails",
    "Hydrochlorothiazide and Hydroxychloroquine",
    "account for 3000 cells",
]


@pytest.mark.parametrize(("label", "text", "part"), FOUND, ids=[f"{a}-{c}" for a, _, c in FOUND])
def test_found_whole_and_typed(label, text, part):
    spans = DETECTOR.deidentify(text).spans
    assert [(s.label, text[s.start : s.end]) for s in spans] == [(label, part)]


@pytest.mark.parametrize("text", STAYS)
def test_near_misses_stay(text):
    assert DETECTOR.deidentify(text).text == text


@pytest.mark.parametrize(
    "text",
    ["M\u200bRN: 123\u200b4567", "ＭＲＮ： １２３４５６７", "MRN\u00a0\u2013\u00a01234567"],
)
def test_obfuscated_numbers(text):
    assert [s.label for s in DETECTOR.deidentify(text).spans] == ["MRN"]
