"""Policies that change without a restart: the folder is looked at twice a second by each process.

New files come into force whole or not at all. Where one of them is wrong, the policies before stay
in force, and the log, a metric and `/readyz` say so until the files are right. Files are taken once
two looks in a row found the same, so that a copy that is under way is not read half done.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from wardgate.audit.keys import secret_file
from wardgate.deid.detector import Detector
from wardgate.deid.policyfile import Catalog, read
from wardgate.errors import StateInvalid, WardgateError
from wardgate.settings import Settings
from wardgate.telemetry import POLICIES_REFUSED, POLICY_RELOADS
from wardgate.types import CheckState

log = logging.getLogger("wardgate")
EVERY_SECONDS = 0.5
_Mark = tuple[tuple[str, int, int, int], ...]


class Reload:
    """Follows a folder of policies. Belongs to one event loop; `start` it, `close` it."""

    def __init__(
        self, folder: Path, take: Callable[[Catalog], None], *, every: float = EVERY_SECONDS
    ) -> None:
        """`take` puts policies into force, or raises a WardgateError that says why it cannot."""
        self._folder, self._take, self._every = folder, take, every
        self._seen: _Mark | None = None
        self._last: _Mark | None = None
        self._task: asyncio.Task[None] | None = None
        self.refused = ""
        """Why the newest files are not in force; empty where they are."""

    def open(self) -> Catalog:
        """Read the folder for the first time. Raises SettingsInvalid."""
        self._seen = self._last = mark(self._folder)
        return read(self._folder)

    def start(self) -> None:
        """Follow the folder from now on, until `close`."""
        self._task = asyncio.create_task(self._run(), name="policies")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def check(self) -> CheckState:
        """Say whether the newest files are in force; those before them serve on if not."""
        return CheckState(
            "policies", ok=True, detail="the newest files are refused" if self.refused else ""
        )

    async def look(self) -> None:
        """Look at the folder once, and go by what is new and has come to rest."""
        found = await asyncio.to_thread(mark, self._folder)
        rests, self._last = found == self._last, found
        if found == self._seen or not rests:
            return
        self._seen = found
        try:
            self._take(await asyncio.to_thread(read, self._folder))
        except WardgateError as error:
            self._refuse(error.detail)
        except Exception as error:  # noqa: BLE001 -- the process must go on following
            self._refuse(f"reading failed with {type(error).__name__}")
        else:
            self.refused = ""
            POLICIES_REFUSED.set(0)
            POLICY_RELOADS.labels("taken").inc()
            log.info("the policies have changed; the new ones are in force")

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        POLICIES_REFUSED.set(1)
        POLICY_RELOADS.labels("refused").inc()
        log.warning("the new policies are refused, those before stay in force: %s", reason)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.look()


def open_detector(settings: Settings) -> tuple[Detector, Reload | None]:
    """Return the detector and what follows the site's policies, where there is a folder of them.

    Raises SettingsInvalid with what is wrong there, PolicyUnknown, StateInvalid.
    """
    folder = settings.deid.policies
    # the detector is made below
    reload = Reload(folder, lambda catalog: detector.take(catalog)) if folder else None  # noqa: PLW0108
    detector = Detector(
        settings.deid.policy,
        pseudonym_key=secret_file(settings.state / "pseudonym.key", lambda: os.urandom(32)),
        inline_chars=settings.deid.inline_chars,
        processes=settings.deid.processes,
        catalog=reload.open() if reload else None,
        secret=deid_secret(settings.state, settings.deid.key_file),
        vault=True,
    )
    return detector, reload


def deid_secret(state: Path, named: Path | None) -> bytes:
    """Return the secret of derived values; made where there is none and none was named.

    Raises StateInvalid.
    """
    path = named or state / "deid.key"
    if named is not None and not path.exists():
        raise StateInvalid(f"The secret of derived values {path.name} is not there.")
    return secret_file(path, lambda: os.urandom(32))


def mark(folder: Path) -> _Mark:
    """Return what tells one state of a folder from another; empty where it cannot be read."""
    found = []
    try:
        for path in folder.iterdir():
            status = path.stat()
            found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError:
        return ()
    return tuple(sorted(found))
