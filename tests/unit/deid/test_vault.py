"""The vault on the event loop: one call for a request, groups, bounds, and faults that refuse."""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
from dataclasses import replace

import pytest

from wardgate.deid import policy as policies
from wardgate.deid.codes import read, standing, written
from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.vault import MOST_VALUES, Release, Vault
from wardgate.deid.vault_keys import KEY_BYTES
from wardgate.deid.vault_store import VaultStore
from wardgate.errors import (
    BodyInvalid,
    CodeUnknown,
    Overloaded,
    PolicyUnknown,
    TextTooLong,
    VaultUnavailable,
)
from wardgate.types import PHI, EntityType

POLICY = "safe_harbor_vault"
NOTE = "Patient: John Quill, MRN: 00482913. John Quill is well."
detector = Deidentifier(POLICY, vault=True)


def pseudonym(patient: PHI, *, tenant: str) -> str:
    return hmac.digest(tenant.encode(), str(len(patient)).encode(), "sha256").hex()


@pytest.fixture
def store(tmp_path):
    return VaultStore(tmp_path / "vault", os.urandom(KEY_BYTES), seconds=1_000, most=100_000)


@pytest.fixture
async def vault(store):
    found = Vault(store, policy=detector.chosen, pseudonym=pseudonym, queue=8, most_released=4)
    found.start()
    yield found
    await found.close()


async def fill(vault, *texts, tenant="clinic", patient="1", policy=POLICY):
    given = [PHI(text) for text in texts]
    notes = [detector.deidentify(text, policy=policy) for text in texts]
    who = PHI(patient) if patient else None
    return await vault.fill(given, notes, tenant=tenant, patient=who)


# -- there and back -------------------------------------------------------------------------------


async def test_notes_are_filled_and_released(vault) -> None:
    first, second = await fill(vault, NOTE, "Dr. Amy Lee knows him.\nPatient: John Quill")
    name, mrn = standing(first.text)
    assert first.text == f"Patient: {name}, MRN: {mrn}. {name} is well."
    assert standing(second.text)[1] == name
    assert (first.policy, first.spans) == (POLICY, detector.deidentify(NOTE).spans)
    for note, raw in ((first, NOTE), (second, "Dr. Amy Lee knows him.\nPatient: John Quill")):
        for row in note.alignment:
            out = note.text[row.out_start : row.out_end]
            assert read(out) is not None
            assert raw[row.start : row.end] not in note.text
    release = await vault.release("clinic", text=first.text)
    assert release == Release(
        NOTE,
        {name: "John Quill", mrn: "00482913"},
        {"NAME": 1, "MRN": 1},
        (pseudonym(PHI("1"), tenant="clinic"),),
    )
    assert "Quill" not in repr(release)


async def test_without_a_patient_each_request_has_its_own_codes(vault) -> None:
    both = await fill(vault, NOTE, NOTE, patient="")
    assert both[0].text == both[1].text
    again = await fill(vault, NOTE, patient="")
    assert not set(standing(both[0].text)) & set(standing(again[0].text))
    release = await vault.release("clinic", text=both[0].text)
    assert release.patients == ()


async def test_a_policy_without_codes_changes_nothing(vault) -> None:
    notes = await fill(vault, NOTE, policy="safe_harbor")
    assert notes[0] == detector.deidentify(NOTE, policy="safe_harbor")
    assert not vault.applies(notes[0])
    assert vault.applies(detector.deidentify(NOTE))
    assert policies.get(POLICY).vaulted


async def test_a_policy_that_nobody_knows_any_more_is_refused(vault) -> None:
    note = replace(detector.deidentify(NOTE), policy_hash="0" * 64)
    with pytest.raises(PolicyUnknown):
        vault.applies(note)
    with pytest.raises(PolicyUnknown):
        await vault.fill([PHI(NOTE)], [note], tenant="clinic", patient=None)


async def test_what_a_caller_sends_as_a_code_is_never_kept(vault) -> None:
    (first,) = await fill(vault, NOTE)
    name = standing(first.text)[0]
    (second,) = await fill(vault, f"Patient: {name}, MRN: {name[1:-1]}, Patient: Adam Bell")
    assert name not in second.text
    release = await vault.release("clinic", text=second.text)
    assert not any(name in value for value in release.values.values())
    assert "Quill" not in (release.text or "")


# -- groups ---------------------------------------------------------------------------------------


class Slow:
    """A store that holds up its first call; counts what comes together."""

    def __init__(self, store) -> None:
        self._store = store
        self.gate, self.entered = threading.Event(), threading.Event()
        self.groups: list[int] = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put(self, orders):
        self.groups.append(len(orders))
        if len(self.groups) == 1:
            self.entered.set()
            self.gate.wait(30)
        return self._store.put(orders)


@pytest.fixture
async def slow(store):
    held = Slow(store)
    found = Vault(held, policy=detector.chosen, pseudonym=pseudonym, queue=8)
    found.start()
    yield found, held
    held.gate.set()
    await found.close()


async def entered(held: Slow) -> None:
    await asyncio.to_thread(held.entered.wait, 30)


async def test_requests_share_a_transaction(slow) -> None:
    vault, held = slow
    tasks = [asyncio.create_task(fill(vault, NOTE, patient="1"))]
    await asyncio.sleep(0)
    await entered(held)
    tasks += [asyncio.create_task(fill(vault, NOTE, patient="2" * n)) for n in range(2, 6)]
    await asyncio.sleep(0)
    held.gate.set()
    notes = await asyncio.gather(*tasks)
    assert held.groups == [1, 4]
    assert len({note.text for (note,) in notes}) == 5


async def test_a_full_queue_refuses_at_once(slow) -> None:
    vault, held = slow
    tasks = [asyncio.create_task(fill(vault, NOTE))]
    await asyncio.sleep(0)
    await entered(held)
    refused = None
    while refused is None and len(tasks) < 20:
        task = asyncio.create_task(fill(vault, NOTE))
        await asyncio.sleep(0)
        refused = task.exception() if task.done() else tasks.append(task)
    assert isinstance(refused, Overloaded)
    assert 7 <= len(tasks) <= 8  # the sweep at the start may have left the queue by now
    assert refused.reason == "vault-queue-full"
    held.gate.set()
    await asyncio.gather(*tasks)
    assert (await fill(vault, NOTE))[0].text != NOTE


async def test_who_left_is_not_waited_for_and_not_written(slow, store) -> None:
    vault, held = slow
    first = asyncio.create_task(fill(vault, NOTE))
    await asyncio.sleep(0)
    await entered(held)
    left = asyncio.create_task(fill(vault, "Patient: Adam Bell", tenant="left"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    held.gate.set()
    await first
    assert [s.tenant for s in store.standings()] == ["clinic"]


async def test_closing_answers_what_is_queued_and_refuses_the_rest(slow) -> None:
    vault, held = slow
    task = asyncio.create_task(fill(vault, NOTE))
    await asyncio.sleep(0)
    await entered(held)
    held.gate.set()
    await vault.close()
    assert standing((await task)[0].text)
    with pytest.raises(VaultUnavailable):
        await fill(vault, NOTE)
    await vault.close()


# -- refusals -------------------------------------------------------------------------------------


async def test_codes_are_released_all_or_none(vault) -> None:
    (note,) = await fill(vault, NOTE)
    name = standing(note.text)[0]
    for given in ([name, "nonsense"], [name, written(EntityType.NAME, os.urandom(16))]):
        with pytest.raises(CodeUnknown):
            await vault.release("clinic", given=given)
    with pytest.raises(CodeUnknown):
        await vault.release("other", given=[name])
    release = await vault.release("clinic", given=[name])
    assert (release.text, dict(release.values)) == (None, {name: "John Quill"})


async def test_no_codes_and_too_many_are_refused(vault) -> None:
    for text in ("", "[NAME] and [NAME:7f3k]"):
        with pytest.raises(BodyInvalid):
            await vault.release("clinic", text=text)
    many = [written(EntityType.NAME, os.urandom(16)) for _ in range(5)]
    with pytest.raises(BodyInvalid):
        await vault.release("clinic", given=many)


async def test_too_many_values_in_one_request_are_refused(vault) -> None:
    text = "\n".join(f"SSN: {n // 10000:03}-{n // 100 % 100:02}-{n:04}" for n in range(1000, 9999))
    notes = [detector.deidentify(text)]
    assert len(notes[0].spans) > MOST_VALUES
    with pytest.raises(TextTooLong):
        await vault.fill([PHI(text)], notes, tenant="clinic", patient=None)


@pytest.mark.parametrize("fault", [VaultUnavailable(reason="x"), KeyError("John Quill")])
async def test_a_fault_of_the_store_refuses_and_the_thread_lives_on(
    vault, store, monkeypatch, fault
) -> None:
    def fails(*_):
        raise fault

    (note,) = await fill(vault, NOTE)
    with monkeypatch.context() as patched:
        for method in ("put", "get", "sweep"):
            patched.setattr(store, method, fails)
        for asked in (fill(vault, NOTE), vault.release("clinic", text=note.text)):
            with pytest.raises(VaultUnavailable) as refused:
                await asked
            assert "Quill" not in str(refused.value)
    assert (await fill(vault, NOTE))[0] == note


async def test_one_tenants_fault_is_not_anothers(vault, store) -> None:
    await fill(vault, NOTE, tenant="broken")
    store._open_keys.clear()
    for key in store._keys._folder.iterdir():
        key.unlink()
    broken, well = await asyncio.gather(
        fill(vault, NOTE, tenant="broken"), fill(vault, NOTE, tenant="well"), return_exceptions=True
    )
    assert isinstance(broken, VaultUnavailable)
    assert standing(well[0].text)


async def test_expired_codes_are_swept_without_being_asked(tmp_path) -> None:
    now, key = [1_000.0], os.urandom(KEY_BYTES)

    def opened() -> tuple[VaultStore, Vault]:
        store = VaultStore(tmp_path / "v", key, seconds=10, most=100, clock=lambda: now[0])
        return store, Vault(store, policy=detector.chosen, pseudonym=pseudonym)

    _, vault = opened()
    vault.start()
    await fill(vault, NOTE)
    await vault.close()
    now[0] += 10
    store, vault = opened()
    swept = threading.Event()
    sweep = store.sweep
    store.sweep = lambda: (sweep(), swept.set())[0]
    vault.start()
    assert await asyncio.to_thread(swept.wait, 30)
    await vault.close()
    store, _ = opened()
    assert [each.codes for each in store.standings()] == [0]
    store.close()
