from __future__ import annotations

from importlib import resources

from wardgate.deid.gazetteer import load


def test_lists_are_lower_case_ascii_and_small():
    words = load()
    for group in (words.first, words.last, words.common, words.cities):
        assert len(group) > 5000
        assert all(w == w.lower() and w.isascii() for w in group)
    folder = resources.files("wardgate.deid") / "data"
    assert sum(len(f.read_bytes()) for f in folder.iterdir() if f.is_file()) < 3_000_000


def test_sure_first_names_are_no_common_words_and_no_eponyms():
    words = load()
    assert {"martha", "jose", "michael"} <= words.sure_first
    assert not words.sure_first & (words.common | words.eponyms)
    assert not {"will", "may", "hope", "parkinson"} & words.sure_first


def test_loaded_once():
    assert load() is load()
