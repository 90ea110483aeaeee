"""The store: the same code for the same value, durable, and what no longer opens."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from wardgate.deid.codes import Value, read
from wardgate.deid.vault_keys import KEY_BYTES
from wardgate.deid.vault_seal import Order
from wardgate.deid.vault_store import VaultStore
from wardgate.errors import CodeUnknown, VaultUnavailable
from wardgate.types import EntityType

NAME, DATE = EntityType.NAME, EntityType.DATE
KEK = os.urandom(KEY_BYTES)
LIFE = 1_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Open as many stores of one vault as a test asks for."""
    stores: list[VaultStore] = []

    def begin(*, most: int = 1_000_000, folder: Path = tmp_path / "vault") -> VaultStore:
        stores.append(VaultStore(folder, KEK, seconds=LIFE, most=most, clock=clock))
        return stores[-1]

    yield begin
    for store in stores:
        store.close()


def order(*texts: str, tenant="clinic", patient="p1", label=NAME, own=b"") -> Order:
    return Order(tenant, patient, [Value(label, text) for text in texts], own)


def one(store: VaultStore, given: Order) -> list[str]:
    (found,) = store.put([given])
    assert isinstance(found, list), found
    return found


def got(store: VaultStore, *codes: str, tenant="clinic") -> list[str]:
    return [kept.text for kept in store.get(tenant, [read(code) for code in codes])]


def rows(tmp_path, statement: str) -> list[tuple]:
    with sqlite3.connect(tmp_path / "vault" / "vault.db") as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


# -- giving and turning back ----------------------------------------------------------------------


def test_a_value_has_one_code_that_leads_back(opened) -> None:
    store = opened()
    first = one(store, order("John Smith", "Ada"))
    assert len(set(first)) == 2
    assert one(store, order("Ada", "john  smith")) == first[::-1]
    assert got(store, *first) == ["John Smith", "Ada"]
    kept = store.get("clinic", [read(first[0])])[0]
    assert (kept.label, kept.patient) == (NAME, "p1")


def test_codes_are_random(opened) -> None:
    codes = one(opened(), order(*(f"Name {n}" for n in range(200))))
    again = one(opened(folder=Path(opened()._file._path.parent.parent / "other")), order("Name 0"))
    assert len(set(codes)) == 200
    assert again[0] not in codes
    bits = sum(int.from_bytes(read(code)[1], "big").bit_count() for code in codes)
    assert abs(bits / (200 * 128) - 0.5) < 0.02


def test_patient_type_tenant_and_request_make_other_codes(opened) -> None:
    store = opened()
    codes = [
        one(store, given)[0]
        for given in (
            order("May"),
            order("May", patient="p2"),
            order("May", label=DATE),
            order("May", tenant="other"),
            order("May", patient="", own=b"1"),
            order("May", patient="", own=b"2"),
        )
    ]
    assert len(set(codes)) == 6


def test_a_code_outlives_the_process(opened) -> None:
    store = opened()
    codes = one(store, order("John Smith"))
    store.close()
    again = opened()
    assert got(again, *codes) == ["John Smith"]
    assert one(again, order("John Smith")) == codes


def test_a_group_is_one_transaction_and_finds_its_own_twins(opened) -> None:
    store = opened()
    statements: list[str] = []
    one(store, order("x"))
    store._file._connection.set_trace_callback(statements.append)
    first, second = store.put([order("Ada", "Bo"), order("Bo", "Cy")])
    assert first[1] == second[0]
    assert statements.count("COMMIT") == 1
    assert got(store, *first, *second) == ["Ada", "Bo", "Bo", "Cy"]
    statements.clear()
    assert store.put([order("Ada"), order("Bo")]) == [[first[0]], [first[1]]]
    assert "BEGIN IMMEDIATE" not in statements


# -- what does not come back ----------------------------------------------------------------------


def test_unknown_foreign_expired_and_mistyped_codes_are_refused_alike(opened, clock) -> None:
    store = opened()
    (code,) = one(store, order("John Smith"))
    one(store, order("Someone", tenant="other"))
    label, raw = read(code)
    refusals = []
    for tenant, asked in (
        ("clinic", (label, os.urandom(16))),
        ("other", (label, raw)),
        ("nobody", (label, raw)),
        ("clinic", (DATE, raw)),
    ):
        with pytest.raises(CodeUnknown) as refused:
            store.get(tenant, [asked])
        refusals.append((refused.value.detail, refused.value.reason))
    clock.now += LIFE
    with pytest.raises(CodeUnknown) as refused:
        store.get("clinic", [(label, raw)])
    refusals.append((refused.value.detail, refused.value.reason))
    assert len(set(refusals)) == 1


def test_all_codes_are_released_or_none(opened) -> None:
    store = opened()
    codes = one(store, order("Ada", "Bo"))
    with pytest.raises(CodeUnknown):
        store.get("clinic", [read(codes[0]), (NAME, os.urandom(16)), read(codes[1])])


@pytest.mark.parametrize("change", ["tenant = 'other'", "type = 'DATE'", "expires = expires + 1",
                                    "found_by = zeroblob(32)", "code = zeroblob(16)",
                                    "sealed = zeroblob(60)"])  # fmt: skip
def test_a_row_that_was_changed_does_not_open(opened, tmp_path, change) -> None:
    store = opened()
    (code,) = one(store, order("John Smith"))
    one(store, order("Someone", tenant="other"))
    (row,) = rows(tmp_path, "SELECT tenant, key FROM codes WHERE tenant = 'other'")
    with sqlite3.connect(tmp_path / "vault" / "vault.db") as connection:
        connection.execute(f"UPDATE codes SET {change} WHERE tenant = 'clinic'")
        if "tenant" in change:
            connection.execute("UPDATE codes SET key = ?", (row[1],))
    connection.close()
    tenant = "other" if "tenant" in change else "clinic"
    label, raw = read(code)
    asked = (DATE if "type" in change else label, bytes(16) if "code =" in change else raw)
    with pytest.raises(VaultUnavailable) as refused:
        store.get(tenant, [asked])
    assert refused.value.reason == "vault-tampered"


# -- expiry ---------------------------------------------------------------------------------------


def test_a_code_given_again_late_in_its_life_lives_on(opened, clock) -> None:
    store = opened()
    (code,) = one(store, order("John Smith"))
    clock.now += LIFE * 0.4
    assert one(store, order("John Smith")) == [code]
    clock.now += LIFE * 0.3
    assert one(store, order("John Smith")) == [code]
    clock.now += LIFE * 0.9
    assert got(store, code) == ["John Smith"]
    clock.now += LIFE * 0.1
    with pytest.raises(CodeUnknown):
        got(store, code)


def test_an_expired_value_gets_another_code_swept_or_not(opened, clock, tmp_path) -> None:
    store = opened()
    (first,) = one(store, order("John Smith"))
    clock.now += LIFE
    (second,) = one(store, order("John Smith"))
    clock.now += LIFE
    assert store.sweep() is False
    assert rows(tmp_path, "SELECT * FROM codes") == []
    (third,) = one(store, order("John Smith"))
    assert len({first, second, third}) == 3
    assert store.standings()[0].codes == 1


def test_what_has_expired_leaves_no_bytes_in_any_file(opened, clock, tmp_path) -> None:
    store = opened()
    one(store, order("John Smith"))
    ((sealed,),) = rows(tmp_path, "SELECT sealed FROM codes")

    def held() -> bool:
        return any(sealed in p.read_bytes() for p in (tmp_path / "vault").glob("vault.db*"))

    assert held()
    clock.now += LIFE
    store.sweep()
    assert not held()


def test_a_sweep_takes_a_bounded_number_at_a_time(opened, clock) -> None:
    store = opened()
    one(store, order(*(f"Name {n}" for n in range(1_500))))
    clock.now += LIFE
    assert store.sweep() is True
    assert store.standings()[0].codes == 500
    assert store.sweep() is False
    assert store.standings()[0].codes == 0


# -- destruction by key ---------------------------------------------------------------------------


def test_destroying_a_key_ends_all_codes_of_a_tenant_at_once_in_every_process(
    opened, tmp_path
) -> None:
    worker, other, operator = opened(), opened(), opened()
    codes = one(worker, order("Ada", "Bo"))
    foreign = one(worker, order("Cy", tenant="other"))
    got(other, *codes)
    key = operator.destroy("clinic")
    assert key is not None
    for store in (worker, other, operator):
        with pytest.raises(CodeUnknown):
            got(store, codes[0])
        assert got(store, *foreign, tenant="other") == ["Cy"]
    assert not (tmp_path / "vault" / "keys" / key).exists()
    again = one(worker, order("Ada"))
    assert again[0] not in codes
    assert got(other, *again) == ["Ada"]
    assert operator.destroy("nobody") is None


def test_the_rows_of_a_destroyed_key_go_with_the_next_sweeps(opened, tmp_path) -> None:
    store = opened()
    one(store, order(*(f"Name {n}" for n in range(1_200))))
    store.destroy("clinic")
    one(store, order("Ada"))
    while store.sweep():
        pass
    assert rows(tmp_path, "SELECT count(*) FROM codes") == [(1,)]
    assert store.standings()[0].codes == 1
    store.destroy("clinic")
    assert store.destroy("clinic") is None
    assert store.standings()[0].key == ""


def test_a_sweep_ends_a_destruction_that_was_cut_short(opened, tmp_path) -> None:
    store = opened()
    one(store, order("Ada"))
    key = store.standings()[0].key
    store._keys.destroy = lambda _: (_ for _ in ()).throw(OSError)  # killed after the commit
    with pytest.raises(VaultUnavailable):
        store.destroy("clinic")
    assert (tmp_path / "vault" / "keys" / key).exists()
    again = opened()
    again.sweep()
    assert not (tmp_path / "vault" / "keys" / key).exists()


def test_a_key_in_use_is_let_go_by_the_next_sweep(opened) -> None:
    worker = opened()
    one(worker, order("Ada"))
    opened().destroy("clinic")
    worker.sweep()
    assert worker._open_keys == {}


def test_an_old_copy_of_the_file_does_not_bring_back_a_destroyed_key(opened, tmp_path) -> None:
    store = opened()
    codes = one(store, order("Ada"))
    store.close()
    shutil.copy(tmp_path / "vault" / "vault.db", tmp_path / "old.db")
    store = opened()
    store.destroy("clinic")
    store.close()
    shutil.copy(tmp_path / "old.db", tmp_path / "vault" / "vault.db")
    store = opened()
    with pytest.raises(VaultUnavailable) as refused:
        got(store, *codes)
    assert refused.value.reason == "vault-key"
    (result,) = store.put([order("Ada")])
    assert isinstance(result, VaultUnavailable)
    store.destroy("clinic")
    assert got(store, *one(store, order("Ada"))) == ["Ada"]


def test_an_old_copy_of_the_keys_does_not_bring_back_a_destroyed_one(opened, tmp_path) -> None:
    store = opened()
    codes = one(store, order("Ada"))
    shutil.copytree(tmp_path / "vault" / "keys", tmp_path / "old")
    store.destroy("clinic")
    shutil.copytree(tmp_path / "old", tmp_path / "vault" / "keys", dirs_exist_ok=True)
    with pytest.raises(CodeUnknown):
        got(store, *codes)
    store.sweep()
    assert list((tmp_path / "vault" / "keys").iterdir()) == []


def test_an_old_copy_of_the_file_does_not_make_a_code_live_longer(opened, clock, tmp_path) -> None:
    store = opened()
    codes = one(store, order("Ada"))
    store.close()
    shutil.copy(tmp_path / "vault" / "vault.db", tmp_path / "old.db")
    clock.now += LIFE
    shutil.copy(tmp_path / "old.db", tmp_path / "vault" / "vault.db")
    with pytest.raises(CodeUnknown):
        got(opened(), *codes)


def test_a_key_destroyed_between_reading_and_writing_is_noticed(opened) -> None:
    worker, operator = opened(), opened()
    one(worker, order("Ada"))
    planned = worker._plan
    done: list[int] = []

    def slow(given, now):
        plan = planned(given, now)
        if not done:
            done.append(1)
            operator.destroy("clinic")
        return plan

    worker._plan = slow
    (code,) = one(worker, order("Bo"))
    assert got(operator, code) == ["Bo"]


# -- bounds and faults ----------------------------------------------------------------------------


def test_a_full_tenant_is_refused_and_no_other_in_the_same_group(opened) -> None:
    store = opened(most=3)
    known = one(store, order("Ada", "Bo"))
    full, well, found = store.put([order("Cy", "Di"), order("Cy", tenant="other"), order("Ada")])
    assert isinstance(full, VaultUnavailable)
    assert full.reason == "vault-full"
    assert isinstance(well, list)
    assert found == known[:1]
    assert [s.codes for s in store.standings()] == [2, 1]
    one(store, order("Cy"))


def test_a_full_disk_refuses_and_leaves_no_half_of_a_request(opened, tmp_path) -> None:
    store = opened()
    known = one(store, order("Ada"))
    (pages,) = store._file.run("PRAGMA page_count").fetchone()
    store._file.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(VaultUnavailable):
        store.put([order(*(f"Name {n}" for n in range(500)))])
    assert got(store, *known) == ["Ada"]
    assert rows(tmp_path, "SELECT count(*) FROM codes") == [(1,)]
    store._file.run("PRAGMA max_page_count = 1000000")
    assert len(one(store, order("Name 0"))) == 1


def test_writers_in_several_threads_agree_on_one_code(opened) -> None:
    stores = [opened() for _ in range(4)]
    found: list[list[str]] = []

    def give(store: VaultStore) -> None:
        found.append([one(store, order(f"Name {n}"))[0] for n in range(20)])

    threads = [threading.Thread(target=give, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(each == found[0] for each in found)
    assert stores[0].standings()[0].codes == 20


_GIVE = """
import sys
from pathlib import Path
from wardgate.deid.codes import Value
from wardgate.deid.vault_seal import Order
from wardgate.deid.vault_store import VaultStore
from wardgate.types import EntityType
store = VaultStore(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), seconds=10**6, most=10**6)
for n in range(30):
    order = Order("clinic", "p1", [Value(EntityType.NAME, f"Name {n}")])
    print(store.put([order])[0][0], flush=True)
    if n == 20 and sys.argv[3] == "die":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_share_one_vault_and_what_a_killed_one_gave_still_leads_back(tmp_path) -> None:
    command = [sys.executable, "-c", _GIVE, str(tmp_path / "vault"), KEK.hex()]
    with (
        subprocess.Popen([*command, "live"], stdout=subprocess.PIPE, text=True) as one_,
        subprocess.Popen([*command, "die"], stdout=subprocess.PIPE, text=True) as two,
    ):
        first, second = (
            one_.communicate(timeout=60)[0].split(),
            two.communicate(timeout=60)[0].split(),
        )
    assert len(first) == 30
    assert second == first[:21]
    store = VaultStore(tmp_path / "vault", KEK, seconds=10**6, most=10**6)
    assert got(store, *first) == [f"Name {n}" for n in range(30)]
    store.close()
