"""Which code stands for which value, sealed, and found again by a keyed index.

A row holds the code, the type, an HMAC of patient, type and value, when it expires, and the value
sealed (`vault_seal.py`). Transactions are short, and the unique index decides who was first: all
processes of a gateway write to one file. No method may be called by two threads at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wardgate.deid.codes import CODE_BYTES, written
from wardgate.deid.vault_file import VaultFile
from wardgate.deid.vault_keys import KeyFolder, TenantKey
from wardgate.deid.vault_seal import Kept, Order, Row, index, seal, unseal
from wardgate.errors import CodeUnknown, VaultUnavailable, WardgateError
from wardgate.types import EntityType

_DESTROYED: Final = "SELECT tenant, key FROM destroyed WHERE gone = 0 LIMIT 1"
_TRIES: Final = 3
_SWEPT: Final = 1_000
"""Rows deleted in one transaction at most."""
_KEYS: Final = 1_024
"""Data keys kept unwrapped."""


_At = tuple[str, bytes]
"""Where a value is found: its tenant and the keyed index."""
_HELD: Final = (
    "SELECT json_group_array(json_array(c.tenant, hex(c.found_by), hex(c.code), c.expires)) "
    "FROM (VALUES {}) v CROSS JOIN codes c ON c.tenant = v.column1 AND c.found_by = v.column2"
)
_ASKED: Final = (
    "SELECT json_group_array(json_array("
    "c.type, c.expires, hex(c.code), hex(c.found_by), hex(c.sealed))) "
    "FROM (VALUES {}) v CROSS JOIN codes c "
    "ON c.tenant = v.column1 AND c.code = v.column2 AND c.type = v.column3 AND c.key = v.column4 "
    "AND c.expires > v.column5"
)
_INSERT: Final = "INSERT INTO codes VALUES {} ON CONFLICT (tenant, found_by) DO NOTHING"


@dataclass(slots=True)
class _Plan:
    """What a group of orders comes to."""

    orders: Sequence[Order]
    keys: dict[str, TenantKey]
    errors: dict[int, WardgateError]
    """Why an order has no codes, by its place."""
    places: list[list[_At]] = field(default_factory=list)
    """Where the values of each order are found."""
    codes: dict[_At, bytes] = field(default_factory=dict)
    fresh: dict[_At, tuple[str, bytes, str, str, bytes, int, bytes]] = field(default_factory=dict)
    """Rows to insert."""
    stale: list[_At] = field(default_factory=list)
    """Expired rows that no sweep has reached."""
    renewed: list[tuple[bytes, int, str, bytes]] = field(default_factory=list)
    """Sealed value, expiry, tenant and code of rows that live on."""

    def results(self) -> list[list[str] | WardgateError]:
        """Return the codes of each order, or why it has none."""
        return [
            self.errors.get(number)
            or [written(v.label, self.codes[at]) for v, at in zip(order.values, at_, strict=True)]
            for number, (order, at_) in enumerate(zip(self.orders, self.places, strict=True))
        ]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands in the vault."""

    tenant: str
    codes: int
    key: str
    """Id of the data key; empty where it was destroyed and no new one was needed."""


class VaultStore:
    """The store of one process."""

    def __init__(
        self,
        folder: Path,
        key_encryption_key: bytes,
        *,
        seconds: int,
        most: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the vault in `folder`, made if there is none.

        A code lives for `seconds`; a tenant has `most` codes at most; `clock` gives Unix seconds.
        Raises StateInvalid where it cannot be opened, or was made under another key.
        """
        self._life, self._most, self._clock = seconds, most, clock
        self._open_keys: dict[str, TenantKey] = {}
        self._keys = KeyFolder(folder / "keys", key_encryption_key)
        self._file = VaultFile(folder, wrapped_by=self._keys.wrapped_by)

    def close(self) -> None:
        """Let go of the file and of all keys."""
        self._open_keys.clear()
        self._file.close()

    def put(self, orders: Sequence[Order]) -> list[list[str] | WardgateError]:
        """Return the codes of each order's values, all of them durable, or why it has none.

        Raises VaultUnavailable where nothing could be written.
        """
        with self._file.guarded():
            for _ in range(_TRIES):
                now = int(self._clock())
                plan = self._plan(orders, now)
                if not (plan.fresh or plan.renewed) or self._write(plan, now):
                    return plan.results()
        raise VaultUnavailable(reason="vault-race", retry_after=1.0)

    def get(self, tenant: str, codes: Sequence[tuple[EntityType, bytes]]) -> list[Kept]:
        """Return what the codes stand for.

        Raises CodeUnknown where one of them is unknown, expired, another tenant's, of another type
        or under a destroyed key: which one, and why, cannot be told apart. Raises VaultUnavailable.
        """
        with self._file.guarded():
            now = int(self._clock())
            key = self._current(tenant)
            asked = [(tenant, code, label.value, key, now) for label, code in codes]
            rows: dict[tuple[EntityType, bytes], tuple[Row, bytes]] = {}
            for label, expires, *parts in self._file.select(_ASKED, asked):
                code, found_by, sealed = map(bytes.fromhex, parts)
                rows[EntityType(label), code] = (Row(code, found_by, expires), sealed)
            if not key or not all(each in rows for each in codes):
                raise CodeUnknown
            opened = self._opened(tenant, key)
            return [unseal(opened, tenant, each[0], *rows[each]) for each in codes]

    def sweep(self) -> bool:
        """Delete some of what has expired or lost its key; return whether there may be more.

        Raises VaultUnavailable.
        """
        with self._file.guarded():
            for tenant, key in list(self._open_keys.items()):
                if self._current(tenant) != key.id:
                    del self._open_keys[tenant]
            deleted = self._sweep_destroyed() + self._sweep_expired()
            more = deleted >= _SWEPT or self._file.run(_DESTROYED).fetchone() is not None
            if deleted and not more:
                self._file.empty_log()
            return more

    def destroy(self, tenant: str) -> str | None:
        """Destroy a tenant's data key, and with it all its values at once; return the key's id.

        None where the tenant has no key. The rows go with the next sweeps. Raises VaultUnavailable.
        """
        with self._file.guarded():
            self._file.run("BEGIN IMMEDIATE")
            key = self._current(tenant)
            if not key:
                self._file.run("ROLLBACK")
                return None
            self._file.run("UPDATE tenants SET key = '', codes = 0 WHERE tenant = ?", (tenant,))
            self._file.run(
                "INSERT INTO destroyed VALUES (?, ?, ?, 0)", (tenant, key, int(self._clock()))
            )
            self._file.run("COMMIT")  # from here on no process opens a code with it
            self._open_keys.pop(tenant, None)
            self._keys.destroy(key)
            return key

    def standings(self) -> list[Standing]:
        """Return how every tenant stands. Raises VaultUnavailable."""
        with self._file.guarded():
            rows = self._file.run(
                "SELECT tenant, codes, key FROM tenants ORDER BY tenant"
            ).fetchall()
            return [Standing(*row) for row in rows]

    # -- giving codes -----------------------------------------------------------------------------

    def _plan(self, orders: Sequence[Order], now: int) -> _Plan:
        """Find the codes that there are, and seal what has none; a tenant's fault is its own."""
        plan = _Plan(orders, {}, {})
        for number, order in enumerate(orders):
            try:
                if order.tenant not in plan.keys:
                    plan.keys[order.tenant] = self._ensured(order.tenant)
                key = plan.keys[order.tenant]
                at_ = [(order.tenant, index(key, order, value)) for value in order.values]
            except VaultUnavailable as error:
                plan.errors[number], at_ = error, []
            plan.places.append(at_)
        held = self._held({at for at_ in plan.places for at in at_})
        for number, order in enumerate(orders):
            if number not in plan.errors:
                self._seal(plan, order, plan.places[number], held, now)
        return plan

    def _seal(
        self,
        plan: _Plan,
        order: Order,
        places: Sequence[_At],
        held: dict[_At, tuple[bytes, int]],
        now: int,
    ) -> None:
        """Add to the plan what one order needs."""
        key, until = plan.keys[order.tenant], now + self._life
        for value, at in zip(order.values, places, strict=True):
            if at in plan.codes:
                continue
            code, expires = held.get(at, (b"", 0))
            if expires <= now:
                if code:
                    plan.stale.append(at)
                code = os.urandom(CODE_BYTES)
                sealed = seal(key, order, value, Row(code, at[1], until))
                plan.fresh[at] = (at[0], code, key.id, value.label.value, at[1], until, sealed)
            elif expires - now < self._life // 2:
                sealed = seal(key, order, value, Row(code, at[1], until))
                plan.renewed.append((sealed, until, at[0], code))
            plan.codes[at] = code

    def _held(self, wanted: Iterable[_At]) -> dict[_At, tuple[bytes, int]]:
        """Return code and expiry of the values that are there."""
        return {
            (tenant, bytes.fromhex(found_by)): (bytes.fromhex(code), expires)
            for tenant, found_by, code, expires in self._file.select(_HELD, list(wanted))
        }

    def _write(self, plan: _Plan, now: int) -> bool:
        """Write the plan in one transaction; False where a key it goes by was destroyed."""
        run = self._file.run
        run("BEGIN IMMEDIATE")
        room: dict[str, int] = {}
        for tenant, key in plan.keys.items():
            found = run("SELECT key, codes FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
            if found is None or found[0] != key.id:
                run("ROLLBACK")
                return False
            room[tenant] = self._most - found[1]
        made = dict.fromkeys(plan.keys, 0)
        for at in plan.stale:
            made[at[0]] -= run(
                "DELETE FROM codes WHERE tenant = ? AND found_by = ? AND expires <= ?", (*at, now)
            ).rowcount
        taken = self._taken(plan, room)
        if self._file.change(_INSERT, [plan.fresh[at] for at in taken]) < len(taken):
            for at, (code, _) in self._held(taken).items():  # another process was first
                plan.codes[at] = code
        for at in taken:
            made[at[0]] += plan.codes[at] == plan.fresh[at][1]
        for row in plan.renewed:
            run("UPDATE codes SET sealed = ?, expires = ? WHERE tenant = ? AND code = ?", row)
        for tenant, number in made.items():
            run("UPDATE tenants SET codes = codes + ? WHERE tenant = ?", (number, tenant))
        run("COMMIT")
        return True

    def _taken(self, plan: _Plan, room: dict[str, int]) -> list[_At]:
        """Return which rows to insert: those of the orders that their tenants have room for."""
        taken: dict[_At, None] = {}
        for number, (order, places) in enumerate(zip(plan.orders, plan.places, strict=True)):
            new = [at for at in places if at in plan.fresh and at not in taken]
            if len(new) > room.get(order.tenant, 0):
                plan.errors[number] = VaultUnavailable(reason="vault-full", retry_after=3600.0)
                continue
            if new:
                room[order.tenant] -= len(new)
                taken |= dict.fromkeys(new)
        return list(taken)

    # -- keys -------------------------------------------------------------------------------------

    def _current(self, tenant: str) -> str:
        """Return the id of a tenant's data key, or nothing."""
        found = self._file.run("SELECT key FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
        return str(found[0]) if found else ""

    def _ensured(self, tenant: str) -> TenantKey:
        """Return a tenant's data key, made if there is none."""
        name = self._current(tenant)
        if not name:
            self._file.run("BEGIN IMMEDIATE")
            name = self._current(tenant)  # another process may have been first
            if not name:
                name = self._keys.make(tenant)
                self._file.run(
                    "INSERT INTO tenants VALUES (?, ?, 0) "
                    "ON CONFLICT (tenant) DO UPDATE SET key = excluded.key",
                    (tenant, name),
                )
            self._file.run("COMMIT")
        return self._opened(tenant, name)

    def _opened(self, tenant: str, name: str) -> TenantKey:
        """Return the data key of this id; one kept from before a destruction is let go."""
        key = self._open_keys.get(tenant)
        if key is not None and key.id == name:
            return key
        self._open_keys.pop(tenant, None)
        key = self._keys.open(tenant, name)
        if len(self._open_keys) >= _KEYS:
            self._open_keys.clear()
        self._open_keys[tenant] = key
        return key

    # -- deleting ---------------------------------------------------------------------------------

    def _sweep_destroyed(self) -> int:
        row = self._file.run(_DESTROYED).fetchone()
        if row is None:
            return 0
        self._keys.destroy(row[1])  # again: the process that destroyed it may have died before
        self._file.run("BEGIN IMMEDIATE")
        deleted = self._file.run(
            "DELETE FROM codes WHERE (tenant, code) IN "
            "(SELECT tenant, code FROM codes WHERE tenant = ? AND key = ? LIMIT ?)",
            (*row, _SWEPT),
        ).rowcount
        if deleted < _SWEPT:
            self._file.run("UPDATE destroyed SET gone = 1 WHERE key = ?", (row[1],))
        self._file.run("COMMIT")
        return deleted

    def _sweep_expired(self) -> int:
        now = int(self._clock())
        expired = "SELECT tenant, key, code FROM codes WHERE expires <= ? LIMIT ?"
        if self._file.run(expired, (now, 1)).fetchone() is None:
            return 0
        self._file.run("BEGIN IMMEDIATE")
        rows = self._file.run(expired, (now, _SWEPT)).fetchall()
        for tenant, key, code in rows:
            self._file.run("DELETE FROM codes WHERE tenant = ? AND code = ?", (tenant, code))
            self._file.run(
                "UPDATE tenants SET codes = codes - 1 WHERE tenant = ? AND key = ?", (tenant, key)
            )
        self._file.run("COMMIT")
        return len(rows)
