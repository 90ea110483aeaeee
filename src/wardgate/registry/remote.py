"""Models behind an fsspec URL (S3, GCS, Azure, ...), through a cache that is verified on each use.

What is fetched goes to `<cache>/<digest of the manifest>/`: first into a draft, never larger than
the manifest says, checked, and only then under its name. A download that ends early, a full disk or
a wrong byte leaves nothing under that name. A cached file is read and verified as any other; one
that does not fit is fetched again. The store asks for a file only after the manifest is trusted.
Manifest and signature are kept beside, so that a version whose digest is known can be read, and
judged anew, while the storage is away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wardgate.errors import ManifestInvalid, RegistryUnavailable, SettingsInvalid
from wardgate.registry.manifest import MANIFEST, NAME, SIGNATURE, VERSION, FileEntry
from wardgate.registry.signature import SIGNATURE_BYTES
from wardgate.registry.source import Folder, FolderHome

_CHUNK = 1 << 20
"""Bytes of one read of a download."""


class Remote:
    """Models under an fsspec URL such as `s3://bucket/models`, cached in the folder `cache`.

    Credentials come from where the storage's own library looks for them, never from the URL.
    Raises SettingsInvalid for a URL that fsspec cannot open, or that has credentials or a chain.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self._fs, self._root = open_url(url)
        self._cache = cache

    def __str__(self) -> str:
        """Say where."""
        return self._root

    def names(self) -> list[str]:
        """As `Source.names`."""
        return [name for name in self._folders(self._root) if NAME.fullmatch(name)]

    def versions(self, name: str) -> list[str]:
        """As `Source.versions`."""
        if not NAME.fullmatch(name):
            return []
        found = self._folders(f"{self._root}/{name}")
        return [version for version in found if VERSION.fullmatch(version)]

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[RemoteHome]:
        """As `Source.open`."""
        yield RemoteHome(self._fs, f"{self._root}/{name}/{version}", self._cache)

    def _folders(self, path: str) -> list[str]:
        with reading("the registry"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return sorted(
            each["name"].rstrip("/").rpartition("/")[2]
            for each in found
            if each["type"] == "directory"
        )


class RemoteHome:
    """One version of one model behind a URL."""

    def __init__(self, fs: Any, path: str, cache: Path) -> None:
        self._fs, self._path, self._cache = fs, path, cache
        self._digest: str | None = None
        self._described: dict[str, bytes] = {}

    def read(self, file: str, *, most: int) -> bytes:
        """As `Home.read`."""
        content = self._small(file, most)
        if content is None:
            raise ManifestInvalid(f"{file}: expected a readable file.")
        if file == MANIFEST:
            self._digest = hashlib.sha256(content).hexdigest()
            self._described[MANIFEST] = content
        return content

    def signature(self) -> bytes | None:
        """As `Home.signature`."""
        content = self._small(SIGNATURE, SIGNATURE_BYTES)
        if content is not None:
            self._described[SIGNATURE] = content
        return content

    def file(self, name: str, entry: FileEntry) -> bytes:
        """As `Home.file`; from the cache where it is there and right.

        Raises RegistryUnavailable where it can be neither fetched nor kept.
        """
        if self._digest is None:
            raise ManifestInvalid(f"{name}: expected the manifest to be read first.")
        try:
            content = self._cached(name, entry)
        except ManifestInvalid:
            self._keep(name, self._chunks(name, entry))
            content = self._cached(name, entry)
        for file, described in self._described.items():
            with contextlib.suppress(RegistryUnavailable):  # only a day without the storage asks
                self._keep(file, [described])
        self._described.clear()
        return content

    def _cached(self, name: str, entry: FileEntry) -> bytes:
        assert self._digest is not None
        with Folder(self._cache.parent).open(self._cache.name, self._digest) as home:
            content: bytes = FolderHome.file(home, name, entry)
        return content

    def _keep(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file into a draft and give it its name once all of it is there."""
        assert self._digest is not None
        home = self._cache / self._digest
        draft: Path | None = None
        try:
            for folder in (self._cache, home):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=home)
            draft = Path(path)
            with os.fdopen(descriptor, "wb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(home / name)
        except OSError as error:
            raise RegistryUnavailable(
                f"{name}: it cannot be kept in the cache ({error.strerror or 'no reason given'})."
            ) from None
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)

    def _chunks(self, name: str, entry: FileEntry) -> Iterator[bytes]:
        """Give a remote file piece by piece. Raises ManifestInvalid where it is not as declared."""
        digest, size = hashlib.sha256(), 0
        with reading(name):
            stream = self._fs.open(f"{self._path}/{name}", "rb")
        with contextlib.closing(stream):
            while True:
                with reading(name):
                    chunk = stream.read(min(_CHUNK, entry.bytes + 1 - size))
                if not chunk:
                    break
                size += len(chunk)
                if size > entry.bytes:
                    raise ManifestInvalid(
                        f"{name}: it is larger than the {entry.bytes} bytes declared."
                    )
                digest.update(chunk)
                yield chunk
        if size != entry.bytes:
            raise RegistryUnavailable(
                f"{name}: the download ended after {size} of {entry.bytes} bytes."
            )
        if digest.hexdigest() != entry.sha256:
            raise ManifestInvalid(f"{name}: its SHA-256 is not the one in the manifest.")

    def _small(self, file: str, most: int) -> bytes | None:
        with reading(file):
            try:
                with self._fs.open(f"{self._path}/{file}", "rb") as stream:
                    content: bytes = stream.read(most + 1)
            except FileNotFoundError:
                return None
        if len(content) > most:
            raise ManifestInvalid(f"{file}: it is larger than the {most} bytes allowed.")
        return content


def open_url(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it. Raises SettingsInvalid."""
    scheme, mark, rest = url.partition("://")
    # abfs://container@account has an @ of its own. A secret may hold a slash, a query may be one.
    user, at, _ = rest.rpartition("@")
    secret = ":" in user or "?" in rest or (at and scheme in ("http", "https"))
    if not mark or not scheme or "::" in url or secret:
        raise SettingsInvalid(
            "registry.url: expected one URL such as s3://bucket/models, with no credentials in it."
        )
    try:
        import fsspec  # noqa: PLC0415 -- an extra; plain folders need nothing
    except ImportError:
        raise SettingsInvalid(
            "registry.url needs fsspec: pip install 'wardgate[remote]', and the storage's library "
            "(s3fs, gcsfs or adlfs)."
        ) from None
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SettingsInvalid(
            f"registry.url: fsspec cannot open {scheme}:// here ({type(error).__name__}); its "
            "library may be missing (s3fs, gcsfs or adlfs)."
        ) from None
    return fs, str(root).rstrip("/")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a storage's library raises into RegistryUnavailable, without its words."""
    try:
        yield
    except (ManifestInvalid, RegistryUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 -- each library has errors of its own
        raise RegistryUnavailable(
            f"{what}: the storage did not give it ({type(error).__name__})."
        ) from None
