"""The pure verifier on chains in memory; `test_verify.py` tampers with real files."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from wardgate.audit.chain import GENESIS, EndMark, Linker, parse_head, sign_head
from wardgate.audit.findings import What
from wardgate.audit.verifier import check_chain

KEY, THIEF = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"ours": KEY.public_key()}


def build(sizes, key=KEY, key_id="ours", salt=""):
    """Records in groups of `sizes`, a head before the first and after each group."""
    linker, rows, heads, prev = Linker("w0-1", "ours"), [], [], GENESIS

    def seal():
        secret = bytes([len(heads) % 256]) * 32
        heads.append(
            sign_head(key, key_id, chain="w0-1", seq=len(rows), digest=prev, time=5, secret=secret)
        )

    seal()
    for size in sizes:
        for _ in range(size):
            seq = len(rows) + 1
            event = {"kind": "intent", "request_id": f"r{seq}{salt}", "tenant": "t", "time": seq}
            record = linker.link(orjson.dumps(event), seq, prev)
            prev = sha256(record).digest()
            rows.append((seq, "t", "intent", f"r{seq}{salt}", seq, prev, record))
        seal()
    return rows, heads


def check(rows, heads, end, **options):
    return check_chain(rows, [mark.head.line() for mark in heads], end, KEYS, **options)


def found(rows, heads, end):
    """The finding as the shell has it: a fault in what was signed is placed by a second pass."""
    result = check(rows, heads, end)
    if result.finding and result.finding.what in {
        What.REWRITTEN,
        What.HEAD_INVALID,
        What.HEAD_MISSING,
    }:
        result = check(rows, heads, end, every_signature=True)
    assert result.finding is not None
    return result.finding.what.value, result.finding.seq


def relink(rows, first):
    """Rewrite what follows from `first` on as a forger would: all links and hashes agree."""
    linker, prev, out = Linker("w0-1", "ours"), GENESIS, []
    for row in rows:
        seq = len(out) + 1
        if seq < first:
            record = row[6]
        else:
            event = orjson.loads(row[6])["event"]
            record = linker.link(orjson.dumps(event), seq, prev)
        prev = sha256(record).digest()
        event = orjson.loads(record)["event"]
        out.append((seq, "t", event["kind"], event["request_id"], event["time"], prev, record))
    return out


def edited(row, **values):
    event = orjson.loads(row[6])["event"] | values
    body = orjson.loads(row[6]) | {"event": event}
    record = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    digest = sha256(record).digest()
    return (row[0], "t", event["kind"], event["request_id"], event["time"], digest, record)


groups = st.lists(st.integers(1, 6), min_size=1, max_size=8)


@given(groups, st.booleans())
def test_a_chain_as_written_has_no_finding(sizes, every):
    rows, heads = build(sizes)
    result = check(rows, heads, heads[-1], every_signature=every)
    assert result.finding is None
    assert (result.records, result.heads, result.ahead) == (sum(sizes), len(heads), 0)


@given(groups, st.data())
def test_a_crash_may_leave_the_store_ahead_of_heads_and_heads_of_the_end(sizes, data):
    rows, heads = build(sizes)
    kept = data.draw(st.integers(1, len(heads)))
    end = data.draw(st.integers(0, kept - 1))
    result = check(rows, heads[:kept], heads[end])
    assert result.finding is None
    assert result.ahead == len(rows) - heads[kept - 1].head.seq


@given(groups, st.data())
def test_any_changed_byte_is_found_and_named(sizes, data):
    rows, heads = build(sizes)
    at = data.draw(st.integers(0, len(rows) - 1))
    record = bytearray(rows[at][6])
    record[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))
    rows[at] = (*rows[at][:6], bytes(record))
    assert found(rows, heads, heads[-1])[1] == at + 1


@given(groups, st.data(), st.sampled_from(["tenant", "kind", "request_id", "time", "hash"]))
def test_a_changed_column_is_found_and_named(sizes, data, column):
    rows, heads = build(sizes)
    at = data.draw(st.integers(0, len(rows) - 1))
    place = {"tenant": 1, "kind": 2, "request_id": 3, "time": 4, "hash": 5}[column]
    row = list(rows[at])
    row[place] = {4: 0, 5: bytes(32)}.get(place, "x")
    rows[at] = tuple(row)
    assert found(rows, heads, heads[-1]) == ("changed", at + 1)


@given(groups, st.data())
def test_a_change_with_its_own_hash_mended_is_found_and_named(sizes, data):
    """Only the last record of the chain cannot be told from its group rewritten."""
    rows, heads = build([*sizes, 2])
    at = data.draw(st.integers(0, len(rows) - 2))
    rows[at] = edited(rows[at], request_id="forged")
    assert found(rows, heads, heads[-1]) == ("changed", at + 1)


def test_the_last_record_changed_with_its_hash_is_found():
    rows, heads = build([4, 1])
    rows[4] = edited(rows[4], request_id="forged")
    assert found(rows, heads, heads[-1]) == ("rewritten", 5)


@given(groups, st.data())
def test_removed_records_are_found_and_named(sizes, data):
    rows, heads = build([*sizes, 1])
    at = data.draw(st.integers(0, len(rows) - 2))
    many = data.draw(st.integers(1, len(rows) - 1 - at))
    assert found(rows[:at] + rows[at + many :], heads, heads[-1]) == ("removed", at + 1)


@given(groups, st.data())
def test_removed_and_renumbered_records_are_found_and_named(sizes, data):
    rows, heads = build([*sizes, 1])
    at = data.draw(st.integers(0, len(rows) - 2))
    left = rows[:at] + rows[at + 1 :]
    left = [(seq, *row[1:]) for seq, row in enumerate(left, 1)]
    assert found(left, heads, heads[-1]) == ("removed", at + 1)


@given(groups, st.data())
def test_swapped_records_are_found_and_named(sizes, data):
    rows, heads = build([*sizes, 2])
    first = data.draw(st.integers(0, len(rows) - 2))
    second = data.draw(st.integers(first + 1, len(rows) - 1))
    a, b = rows[first], rows[second]
    rows[first], rows[second] = (a[0], *b[1:]), (b[0], *a[1:])
    what, seq = found(rows, heads, heads[-1])
    assert seq == first + 1
    assert what == "reordered"


def test_a_record_before_the_first_is_found():
    rows, heads = build([3])
    assert found([(0, *rows[0][1:]), *rows], heads, heads[-1]) == ("reordered", 0)


@given(groups, st.data())
def test_an_end_cut_off_is_found(sizes, data):
    rows, heads = build(sizes)
    kept = data.draw(st.integers(0, len(rows) - 1))
    assert found(rows[:kept], heads, heads[-1]) == ("cut-off", kept + 1)
    short = [mark for mark in heads if mark.head.seq <= kept]
    assert found(rows[:kept], short, heads[-1]) == ("cut-off", kept + 1)
    assert found(rows[:kept], heads, heads[0])[:1] == ("cut-off",)


@given(groups, st.data())
def test_an_older_head_does_not_pass_as_the_end(sizes, data):
    rows, heads = build(sizes)
    cut = data.draw(st.integers(0, len(heads) - 2))
    end = EndMark(heads[cut].head, heads[-1].secret)
    kept = rows[: heads[cut].head.seq]
    assert found(kept, heads[: cut + 1], end) == ("head-invalid", len(kept) + 1)
    assert found(kept, heads[: cut + 1], None) == ("head-missing", len(kept) + 1)


@given(groups, st.data())
def test_a_chain_rewritten_under_its_heads_is_found(sizes, data):
    rows, heads = build(sizes)
    first = data.draw(st.integers(0, len(rows) - 1))
    forged = relink(
        [*rows[:first], edited(rows[first], request_id="x"), *rows[first + 1 :]], first + 1
    )
    vouched = max(mark.head.seq for mark in heads if mark.head.seq <= first)
    assert found(forged, heads, heads[-1]) == ("rewritten", vouched + 1)


@given(groups)
def test_a_chain_rewritten_whole_and_signed_by_another_is_found(sizes):
    for key_id in ("ours", "theirs"):
        forged, signed = build(sizes, THIEF, key_id, salt="x")
        assert found(forged, signed, signed[-1]) == ("rewritten", 1)
        assert found(forged, signed, None) == ("rewritten", 1)
        assert found(forged, [], signed[-1]) == ("rewritten", 1)
    rows, heads = build(sizes)
    assert found(forged, signed, heads[-1])[0] == "rewritten"
    assert found(forged, heads, signed[-1]) == ("rewritten", 1)
    assert len(rows) == len(forged)


@given(groups, st.data())
def test_an_end_rewritten_and_signed_by_another_is_found(sizes, data):
    rows, heads = build(sizes)
    _, stolen = build(sizes, THIEF)
    cut = data.draw(st.integers(0, len(heads) - 1))
    mixed = heads[:cut] + stolen[cut:]
    first = heads[cut - 1].head.seq + 1 if cut else 1
    assert found(rows, mixed, stolen[-1]) == ("rewritten", first)


def test_one_damaged_head_is_named_where_later_ones_vouch():
    rows, heads = build([2, 2, 2])
    heads[2] = replace(heads[2], head=replace(heads[2].head, signature=bytes(64)))
    result = check(rows, heads, heads[-1], every_signature=True)
    assert result.finding is not None
    assert (result.finding.what, result.finding.seq) == ("head-invalid", 4)


@pytest.mark.parametrize("line", [b"{}\n", b"\x00\n", b"\n"])
def test_a_line_that_is_no_head_is_named(line):
    rows, heads = build([2, 2])
    lines = [mark.head.line() for mark in heads]
    result = check_chain(rows, [*lines[:2], line, *lines[2:]], heads[-1], KEYS)
    assert result.finding is not None
    assert result.finding.what == "head-invalid"
    assert parse_head(line) is None


def test_heads_out_of_order_are_named():
    rows, heads = build([2, 2])
    assert found(rows, [heads[0], heads[2], heads[1]], heads[-1])[0] == "head-invalid"


def test_a_head_of_another_hash_without_signature_is_named():
    rows, heads = build([2, 2])
    heads[1] = replace(heads[1], head=replace(heads[1].head, hash=bytes(32)))
    assert found(rows, heads, heads[-1]) == ("head-invalid", 2)


def test_heads_that_are_gone_are_missed():
    rows, heads = build([2, 2])
    assert found(rows, [], heads[-1]) == ("head-missing", 1)
    assert found(rows, [], None) == ("head-missing", 1)


def test_another_chains_records_are_found():
    rows, heads = build([2, 2])
    other = [(*row[:6], row[6].replace(b"w0-1", b"w0-2")) for row in rows]
    other = [(*row[:5], sha256(row[6]).digest(), row[6]) for row in other]
    assert found(other, heads, heads[-1]) == ("changed", 1)


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"event":3}', b'{"seq":2}', b"\xff"])
def test_bytes_that_are_no_record_are_found(record):
    rows, heads = build([3])
    rows[1] = (*rows[1][:5], sha256(record).digest(), record)
    assert found(rows, heads, heads[-1]) == ("changed", 2)


def test_an_empty_chain_that_was_just_made_has_no_finding():
    _, heads = build([])
    assert check([], heads, heads[-1]).finding is None
    assert check([], [], None).finding is None
