from __future__ import annotations

from wardgate.deid import lexicon

LISTS = {key: value for key, value in vars(lexicon).items() if key.isupper()}


def test_lists_are_lower_case_words():
    assert LISTS
    for words in LISTS.values():
        assert words
        assert all(word == word.lower() and " " not in word for word in words)


def test_what_announces_a_name_is_not_itself_a_name():
    assert {"dr", "mr", "mrs"} <= lexicon.TITLES & lexicon.NEVER
    assert lexicon.SPEAKERS <= lexicon.LABELS
    assert lexicon.SOFT_TITLES <= lexicon.TITLES
