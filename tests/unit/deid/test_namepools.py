from __future__ import annotations

from wardgate.deid import gazetteer
from wardgate.deid.namepools import USUAL, load

POOLS = load()


def test_no_pool_is_so_small_that_a_note_could_use_it_up():
    assert min(len(pool) for pool in POOLS.first.values()) >= 80
    assert min(len(pool) for pool in POOLS.last.values()) >= 100
    assert len(POOLS.last[USUAL]) > 2_000
    assert len(POOLS.cities) > 10_000


def test_no_name_is_a_word_or_an_eponym():
    words = gazetteer.load()
    names = {n for pool in (*POOLS.first.values(), *POOLS.last.values()) for n in pool}
    assert not names & (words.common | words.eponyms)
    assert all(name.isascii() and name.islower() for name in names)


def test_sex_and_origin_of_a_name():
    assert POOLS.first_of["john"] == (USUAL, "M")
    assert POOLS.first_of["maria"] == ("spanish", "F")
    assert POOLS.first_of["leslie"] == (USUAL, "")
    assert POOLS.last_of["delgado"] == "spanish"
    assert POOLS.last_of["anderson"] == USUAL
    for (origin, sex), pool in POOLS.first.items():
        assert all(POOLS.first_of[n][1] in {sex, ""} for n in pool if sex), (origin, sex)
