from __future__ import annotations

import pytest

from rules_alone import rules_alone

DETECTOR = rules_alone()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Dr. Gutierrez agreed", ["Gutierrez"]),
        ("Mrs. Brown came in", ["Brown"]),
        ("Patient: Thomas Wilson\nMRN", ["Thomas Wilson"]),
        ("Attending: K. Okafor", ["K. Okafor"]),
        ("Martha Collins is well", ["Martha Collins"]),
        ("John Q. Public came", ["John Q. Public"]),
        ("Karen O'Neil, RN", ["Karen O'Neil"]),
        ("SMITH, JOHN", ["SMITH", "JOHN"]),
        ("Smith, Mary A.", ["Smith", "Mary A."]),
        ("Seen by J. R. Hartley, MD.", ["J. R. Hartley"]),
        ("her son Michael drove", ["Michael"]),
        ("José Núñez called", ["José Núñez"]),
        ("Jose\u0301 Nu\u0301n\u0303ez called", ["Jose\u0301 Nu\u0301n\u0303ez"]),
        ("Ludwig van Beethoven wrote", ["Ludwig van Beethoven"]),
        ("hi , martha . how are you", ["martha"]),
        ("i saw dr. gutierrez today", ["gutierrez"]),
        ("John Hartwell came. Later Hartwell left.", ["John Hartwell", "Hartwell"]),
        ("Patrick Allen is a 42-year-old man", ["Patrick Allen"]),
        ("J\u200bohn Smi\u200bth came", ["J\u200bohn Smi\u200bth"]),
        ("[Jerry]: Hi", ["Jerry"]),
        ("her daughter Elena. Since Dr. Aaron Whitfield started", ["Elena", "Aaron Whitfield"]),
        ("her daughter Elena. Since then", ["Elena"]),
        ("Prof. Jane Smith and Capt. Ron Weaver", ["Jane Smith", "Ron Weaver"]),
        ("12 Oak Street SMITH, JOHN", ["SMITH", "JOHN"]),
        ("Mercy Hospital SMITH, JOHN", ["SMITH", "JOHN"]),
        ("Patient initials: J.K.", ["J.K."]),
        ("Initials: JK", ["JK"]),
        ("pt JK", ["JK"]),
        ("Pt. J.K. was seen", ["J.K."]),
        ("pt bobby lund came in", ["bobby lund"]),
        ("patient: john smith", ["john smith"]),
        ("attending: jane doe", ["jane doe"]),
        ("dr smith saw her", ["smith"]),
    ],
)
def test_names(text, names):
    spans = [s for s in DETECTOR.deidentify(text).spans if s.label == "NAME"]
    assert [text[s.start : s.end] for s in spans] == names


@pytest.mark.parametrize(
    "text",
    [
        "Parkinson's disease and Crohn's disease",
        "Foley catheter placed, Glasgow coma scale 15",
        "Babinski sign absent, Romberg negative",
        "Will follow up. May need surgery. Hope to see her.",
        "PHYSICAL EXAMINATION: General appearance normal",
        "Patient: Nope. Doctor: I'm sorry.",
        "Doctor: Hi there! Patient: Hello, doctor.",
        "Lisinopril, Metoprolol and Gabapentin",
        "Virginia and Georgia are states",
        "Graves disease, Hashimoto thyroiditis, Hodgkin lymphoma",
        "Clark level 4, Gleason 7, Apgar 9",
        "Discharge Instructions. Chief Complaint. Review Of Systems",
        "Tylenol, Ambien, Lyrica and Allegra",
        "pt ED visit, patient IV started, pt PT evaluation",
        "patient: i am well. doctor: good to hear",
        "The pain initially was mild. pt denies pain",
    ],
)
def test_no_name(text):
    assert DETECTOR.deidentify(text).text == text


def test_an_eponym_stays_beside_a_person_of_that_name():
    text = "Mr. Parkinson has Parkinson's disease."
    assert DETECTOR.deidentify(text).text == "Mr. [NAME] has Parkinson's disease."
