"""Where models lie: `<root>/<name>/<version>/`, read so that what was verified is what runs.

A file's size and SHA-256 are checked on the very bytes that are handed on, so that nothing can be
swapped between check and use. Links are refused wherever they point; so is anything that is not a
plain file. Nothing is unpickled or imported: a model is an ONNX graph and a tokenizer, as data.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from wardgate.errors import ManifestInvalid, RegistryUnavailable
from wardgate.registry.manifest import NAME, SIGNATURE, VERSION, FileEntry
from wardgate.registry.signature import SIGNATURE_BYTES

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Home(Protocol):
    """One version of one model, while it is read. Every method raises ManifestInvalid."""

    def read(self, file: str, *, most: int) -> bytes:
        """Return a file of at most `most` bytes, not verified: the manifest."""
        ...

    def signature(self) -> bytes | None:
        """Return the signature file, None where there is none."""
        ...

    def file(self, name: str, entry: FileEntry) -> bytes:
        """Return a file of the model, verified."""
        ...


class Source(Protocol):
    """A place that holds models by name and version.

    Every method raises RegistryUnavailable where the place cannot be read: what cannot be read is
    not taken for empty, or a model of the same name from the next place would serve.
    """

    def names(self) -> list[str]:
        """Return the names that may have versions here."""
        ...

    def versions(self, name: str) -> list[str]:
        """Return the versions of a name, in no order.

        Raises ManifestInvalid where its folder is a link or cannot be read.
        """
        ...

    def open(self, name: str, version: str) -> AbstractContextManager[Home]:
        """Open a version that `versions` gave. Raises ManifestInvalid where it is not a folder."""
        ...


class Folder:
    """Models in a folder of this machine. A folder that is not there holds none."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        """Say which folder."""
        return str(self._root)

    def names(self) -> list[str]:
        """As `Source.names`."""
        try:
            with os.scandir(self._root) as found:
                return sorted(
                    each.name
                    for each in found
                    if NAME.fullmatch(each.name) and not each.is_file(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []
        except OSError:
            raise self._unreadable() from None

    def versions(self, name: str) -> list[str]:
        """As `Source.versions`."""
        if not NAME.fullmatch(name):
            return []
        with ExitStack() as opened:
            root = self._open_root()
            if root is None:
                return []
            opened.callback(os.close, root)
            home = _enter(root, name)
            if home is None:
                return []
            opened.callback(os.close, home)
            try:
                with os.scandir(home) as found:
                    return [
                        each.name
                        for each in found
                        if VERSION.fullmatch(each.name) and not each.is_file(follow_symlinks=False)
                    ]
            except OSError:
                raise ManifestInvalid(f"{name}: its folder cannot be read.") from None

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[FolderHome]:
        """As `Source.open`."""
        with ExitStack() as opened:
            at = self._open_root()
            for step in (name, version):
                if at is not None:
                    opened.callback(os.close, at)
                    at = _enter(at, step)
            if at is None:
                raise ManifestInvalid(f"{name}: version {version} is not there any more.")
            opened.callback(os.close, at)
            yield FolderHome(at)

    def _open_root(self) -> int | None:
        try:
            return os.open(self._root, _FOLDER)
        except FileNotFoundError:
            return None
        except OSError:
            raise self._unreadable() from None

    def _unreadable(self) -> RegistryUnavailable:
        return RegistryUnavailable(f"The registry's folder {self._root} cannot be read.")


class FolderHome:
    """One version of one model in a folder, by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, file: str, *, most: int) -> bytes:
        """Return the whole of a plain file, in one reading of at most `most` bytes."""
        content = self._optional(file, most=most)
        if content is None:
            raise ManifestInvalid(f"{file}: expected a readable file, and no link.")
        return content

    def signature(self) -> bytes | None:
        """As `Home.signature`."""
        return self._optional(SIGNATURE, most=SIGNATURE_BYTES)

    def file(self, name: str, entry: FileEntry) -> bytes:
        """As `Home.file`."""
        content = self.read(name, most=entry.bytes)
        check(name, entry, content)
        return content

    def _optional(self, file: str, *, most: int) -> bytes | None:
        try:
            descriptor = os.open(file, _PLAIN, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError:
            raise ManifestInvalid(f"{file}: expected a readable file, and no link.") from None
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ManifestInvalid(f"{file}: expected a plain file.")
            content = stream.read(most + 1)
        if len(content) > most:
            raise ManifestInvalid(f"{file}: it is larger than the {most} bytes allowed.")
        return content


def check(name: str, entry: FileEntry, content: bytes) -> None:
    """Hold a file's bytes against its manifest's entry. Raises ManifestInvalid."""
    if len(content) != entry.bytes:
        raise ManifestInvalid(f"{name}: expected {entry.bytes} bytes, found {len(content)}.")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ManifestInvalid(f"{name}: its SHA-256 is not the one in the manifest.")


def _enter(parent: int, name: str) -> int | None:
    """Open a folder in a folder, None where it is not there. Raises ManifestInvalid for a link."""
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ManifestInvalid(f"{name}: its folder cannot be read.") from None
    except OSError:
        raise ManifestInvalid(f"{name}: expected a folder, and no link.") from None
