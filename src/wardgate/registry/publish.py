"""Writes registry entries: a version is there whole or not at all, and is never changed.

In a folder, files go to a draft beside, which gets its name in one step. Behind a URL, where there
is no such step, the manifest goes last: without it nothing of a version is read. A version that is
there already is refused. A signature is a file of its own, put in place of an older one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wardgate.errors import ManifestInvalid, RegistryUnavailable
from wardgate.registry.manifest import MANIFEST, NAME, SIGNATURE, VERSION
from wardgate.registry.remote import open_url, reading

_Files = Mapping[str, bytes]


def put(target: str, name: str, version: str, files: _Files) -> None:
    """Write a version to a folder or an fsspec URL; `files` holds the manifest.

    Raises ManifestInvalid where the version is there already or a name is not fit for a path,
    RegistryUnavailable where it cannot be written; nothing of it is left then.
    """
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise ManifestInvalid("The name or version is not fit for a folder's name.")
    if "://" in target:
        _put_url(target, name, version, files)
    else:
        _put_folder(Path(target), name, version, files)


def put_signature(target: str, name: str, version: str, content: bytes) -> None:
    """Put a signature beside a manifest that is there. Raises RegistryUnavailable."""
    if "://" in target:
        fs, root = open_url(target)
        with reading(SIGNATURE):
            fs.pipe_file(f"{root}/{name}/{version}/{SIGNATURE}", content)
        return
    with _writing(name):
        home = Path(target) / name / version
        descriptor, path = tempfile.mkstemp(prefix=".signature.", dir=home)
        draft = Path(path)
        try:
            _write(descriptor, content)
            draft.chmod(0o644)
            draft.replace(home / SIGNATURE)
            _sync(home)
        finally:
            draft.unlink(missing_ok=True)


def _put_folder(root: Path, name: str, version: str, files: _Files) -> None:
    home = root / name
    with _writing(name):
        home.mkdir(parents=True, exist_ok=True)
        if home.is_symlink():
            raise ManifestInvalid(f"{name}: expected a folder, and no link.")
        if os.path.lexists(home / version):
            raise _there(name, version)
        draft = Path(tempfile.mkdtemp(prefix=f".{version}.", suffix=".part", dir=home))
        try:
            for file, content in files.items():
                _write(os.open(draft / file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), content)
            draft.chmod(0o755)
            _sync(draft)
            try:
                draft.rename(home / version)  # refused where the name holds a folder by now
            except FileExistsError:
                raise _there(name, version) from None
            except OSError:
                if os.path.lexists(home / version):
                    raise _there(name, version) from None
                raise
            _sync(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            with contextlib.suppress(OSError):
                home.rmdir()  # only where nothing is in it


def _put_url(url: str, name: str, version: str, files: _Files) -> None:
    fs, root = open_url(url)
    home = f"{root}/{name}/{version}"
    written: list[str] = []
    try:
        with reading(name):
            if fs.exists(f"{home}/{MANIFEST}"):
                raise _there(name, version)
            fs.makedirs(home, exist_ok=True)
            for file in _manifest_last(files):
                written.append(f"{home}/{file}")
                fs.pipe_file(f"{home}/{file}", files[file])
    except RegistryUnavailable:
        for path in written:
            with contextlib.suppress(Exception):
                fs.rm_file(path)
        raise RegistryUnavailable(f"{name}: the storage did not take version {version}.") from None


def _manifest_last(files: Iterable[str]) -> list[str]:
    return sorted(files, key=lambda file: file == MANIFEST)


def _there(name: str, version: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"{name}: version {version} is there already; a version is never changed."
    )


@contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RegistryUnavailable(
            f"{name}: it cannot be written ({error.strerror or 'no reason given'})."
        ) from None


def _write(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
