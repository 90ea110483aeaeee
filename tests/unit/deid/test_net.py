from __future__ import annotations

import pytest

from wardgate.deid import net


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a@b.co x@y", ["a@b.co"]),
        ("by @quiet_owl7:", ["@quiet_owl7"]),
        ("a.b.c.", []),
        ("time 12:30:45", []),
        ("::ffff:10.0.0.1", ["::ffff:10.0.0.1"]),
        ("scan.dcm", ["scan.dcm"]),
    ],
)
def test_net(text, parts):
    assert [text[c[0] : c[1]] for c in net.net(text, text.lower())] == parts


@pytest.mark.parametrize(
    "text", ["Hydrochlorothiazide", "AAAAAAAAAAAAAAAA", "aaaabbbbccccdddd", "1234567890123456"]
)
def test_words_are_no_base64(text):
    assert not list(net.hidden(text, text.lower()))


def test_base64_of_readable_text():
    text = "x UGF0aWVudCBKb2huIERvZQ== y"
    assert [c[:2] for c in net.hidden(text, text.lower())] == [(2, 26)]
