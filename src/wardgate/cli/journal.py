"""The files that a bulk job writes, and the journal beside them that lets it go on.

OUT and the error file are durable before the journal says so. Going on cuts off whatever stands
behind what the journal says: a row is in OUT once, however often the job was cut off. The journal
is replaced as a whole, so that it is never half written. No file but OUT holds text.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from wardgate.cli.jsonl import Place

FORMAT = 1
"""Version of the journal's form."""


class Refused(click.ClickException):
    """A job that does not begin: nothing was read, sent or written."""

    exit_code = 2


class Stopped(Exception):
    """The job cannot go on now; what is committed stays."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(slots=True)
class Tally:
    """What a job has done, over all its runs."""

    lines: int = 0
    """Lines that were not blank."""
    answered: int = 0
    broken: int = 0
    """Lines in the error file."""
    retried: int = 0
    """Requests that were sent again."""
    seconds: float = 0.0
    labels: dict[str, int] = field(default_factory=dict)


class Journal:
    """OUT, the error file and the place in IN up to which both are done; locked while open."""

    def __init__(self, target: Path, errors: Path, job: Mapping[str, Any]) -> None:
        """Open or make the files of a job, and cut off what was not recorded.

        `job` says what the job is: the size of IN and the options that decide what is written.

        Raises Refused where OUT belongs to another job, to one that runs, or to none;
        ClickException where a file cannot be opened.
        """
        self.path = target.with_name(target.name + ".journal")
        self.target, self.errors = target, errors
        self.place, self.tally, self.done = Place(), Tally(), False
        self._job = dict(job)
        self._sizes = [0, 0]
        self._hashes = [hashlib.sha256(), hashlib.sha256()]
        self._files: list[int] = []
        try:
            for path in (target, errors):
                self._files.append(_locked(path, os.O_RDWR | os.O_CREAT))
            stored = self._stored()
            self._begin() if stored is None else self._resume(stored)
        except BlockingIOError:
            self.close()
            raise Refused(f"Another job writes to {target} or {errors}.") from None
        except OSError as error:
            self.close()
            raise click.ClickException(f"{error.filename or target}: {error.strerror}.") from None
        except BaseException:
            self.close()
            raise

    def commit(self, rows: bytes, broken: bytes, place: Place, *, done: bool = False) -> None:
        """Append rows and broken lines, make them durable, and then say so.

        Raises OSError, after which the job can be taken up again from the last commit.
        """
        for index, (file, added) in enumerate(zip(self._files, (rows, broken), strict=True)):
            if added:
                _write(file, added)
                os.fsync(file)
                self._sizes[index] += len(added)
                self._hashes[index].update(added)
        before = self.place, self.done
        self.place, self.done = place, done
        try:
            self._save()
        except OSError:
            self.place, self.done = before
            raise

    def close(self) -> None:
        """Close the files; the locks go with them."""
        while self._files:
            os.close(self._files.pop())

    # -- going on ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        for file, path in zip(self._files, (self.target, self.errors), strict=True):
            if os.fstat(file).st_size:
                raise Refused(
                    f"{path} holds something already, and no job that could go on: there is no "
                    f"{self.path.name}. Name another file, or remove it."
                )
            os.fchmod(file, 0o600)  # it may have been there, empty, and open to others
        self._save()
        for folder in {self.target.parent, self.errors.parent}:
            _sync_folder(folder)

    def _resume(self, stored: dict[str, Any]) -> None:
        try:
            if stored["format"] != FORMAT:
                raise Refused(f"{self.path} is of another version of wardgate.")
            job = dict(stored["job"])
            place, tally = Place(**stored["in"]), Tally(**stored["tally"])
            sizes, done = [int(stored["out"]), int(stored["errors"])], bool(stored["done"])
            digests = list(map(str, stored["sha256"]))
        except (KeyError, TypeError, ValueError):
            raise Refused(f"{self.path} is damaged. Remove it and OUT to start over.") from None
        if job != self._job:
            names = {**job, **self._job}
            other = ", ".join(sorted(n for n in names if job.get(n) != self._job.get(n)))
            raise Refused(
                f"{self.target} belongs to a job with another {other}. Give what it was begun "
                f"with, name another OUT, or remove it and {self.path.name} to start over."
            )
        paths = (self.target, self.errors)
        for index, (file, path, size) in enumerate(zip(self._files, paths, sizes, strict=True)):
            if os.fstat(file).st_size < size:
                raise Refused(
                    f"{path} holds less than {self.path.name} says: it was changed or moved. "
                    f"Remove both to start over."
                )
            if not done:
                self._hashes[index] = _digest(file, size)
                if [self._hashes[index].hexdigest()] != digests[index : index + 1]:
                    raise Refused(
                        f"{path} is not what {self.path.name} says: it was changed or replaced. "
                        f"Remove both to start over."
                    )
        for file, size in zip(self._files, sizes, strict=True):
            if not done:
                os.ftruncate(file, size)
            os.lseek(file, size, os.SEEK_SET)
        self.place, self.tally, self._sizes, self.done = place, tally, sizes, done

    def _stored(self) -> dict[str, Any] | None:
        """Return the journal as it stands; None where there is none."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(f"{self.path} is damaged. Remove it and OUT to start over.")
        return found

    def _save(self) -> None:
        said = {
            "format": FORMAT,
            "job": self._job,
            "in": asdict(self.place),
            "out": self._sizes[0],
            "errors": self._sizes[1],
            "sha256": [each.hexdigest() for each in self._hashes],
            "tally": asdict(self.tally),
            "done": self.done,
        }
        # A crash leaves the old journal or the new one, and both are true of the files.
        draft = self.path.with_name(self.path.name + ".new")
        draft.unlink(missing_ok=True)  # never written through a link that somebody put there
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(file, json.dumps(said, indent=1).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(self.path)


def start_over(target: Path, errors: Path) -> None:
    """Remove what an earlier job wrote, and its journal.

    Raises Refused where a job that runs writes there, ClickException where it cannot be removed.
    """
    locked: list[int] = []
    try:
        for path in (target, errors):
            try:
                locked.append(_locked(path, os.O_RDONLY | os.O_NONBLOCK))
            except FileNotFoundError:
                continue
        journal = target.with_name(target.name + ".journal")
        for each in (journal, target, errors):
            each.unlink(missing_ok=True)
    except BlockingIOError:
        raise Refused(f"Another job writes to {target} or {errors}.") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or target}: {error.strerror}.") from None
    finally:
        for file in locked:
            os.close(file)


def drafts(target: Path) -> tuple[Path, ...]:
    """Return the names beside OUT that a job writes over without asking."""
    journal = target.name + ".journal"
    return target.with_name(journal), target.with_name(journal + ".new")


def _locked(path: Path, flags: int) -> int:
    """Open a file and lock it. Raises BlockingIOError where it is another job's, or Refused."""
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        _check_own(file, path)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(file, path):  # another job has just begun anew there
            raise BlockingIOError  # noqa: TRY301 -- the file is closed below
    except BaseException:
        os.close(file)
        raise
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _write(file: int, raw: bytes) -> None:
    left = memoryview(raw)
    while left:
        left = left[os.write(file, left) :]


def _check_own(file: int, path: Path) -> None:
    """Refuse a file that is no regular one, or that another user put there to read it."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(f"{path} is no regular file, or another user's.")


def _digest(file: int, size: int) -> hashlib._Hash:
    """Return the digest of the first `size` bytes of a file."""
    found, at = hashlib.sha256(), 0
    while at < size and (piece := os.pread(file, min(1 << 20, size - at), at)):
        found.update(piece)
        at += len(piece)
    return found


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
