"""Loads models that somebody trusted vouches for, and whose every file is as declared.

The order is: the manifest's bytes are read once; a signature by a trusted key over these very bytes
is required (`signature.py`); they are parsed; each file is held against them. Nothing of a model
that is not trusted is parsed beyond its manifest, and none of its files is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wardgate.errors import ManifestInvalid, ModelUnknown, ModelUntrusted, RegistryUnavailable
from wardgate.registry.manifest import (
    GRAPH,
    MANIFEST,
    MANIFEST_BYTES,
    NAME,
    TOKENIZER,
    TORCH_FILES,
    VERSION,
    Manifest,
    parse,
)
from wardgate.registry.remote import Remote
from wardgate.registry.signature import Signed, Trust, pinned
from wardgate.registry.source import Folder, Home, Source
from wardgate.types import ModelId

SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the models that come with the package."""
SUMS = SHIPPED / "SHA256SUMS"
"""Digests of the shipped manifests, as `sha256sum` writes them."""

NOBODY = Signed("unsigned")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A manifest and the verified bytes of its files."""

    manifest: Manifest
    files: Mapping[str, bytes]
    """All of them, or all but `TORCH_FILES`: see `Store.load`."""
    signed: Signed = NOBODY
    """Who vouches for it."""
    raw: bytes = b""
    """The manifest's bytes as stored: what a signature is over."""
    signature: bytes | None = None
    """The signature file as stored."""
    kept: bool = False
    """The registry did not answer, and the pinned bytes were at hand."""

    @property
    def id(self) -> ModelId:
        """The model as replies, records and metrics name it."""
        return self.manifest.id

    @property
    def graph(self) -> bytes:
        """The ONNX graph."""
        return self.files[GRAPH]

    @property
    def tokenizer(self) -> bytes:
        """The `tokenizer.json` of the tokenizers library; a text model has one."""
        return self.files[TOKENIZER]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""
        return self.manifest.labels

    @property
    def max_length(self) -> int:
        """Longest row, tokens with the special ones."""
        return self.manifest.max_length


@dataclass(frozen=True, slots=True)
class Listed:
    """A version that a store has, its files not read yet."""

    name: str
    version: str
    source: Source


@dataclass(frozen=True, slots=True)
class Unread:
    """What of a store cannot be read: a model, or a whole place, whose `name` is empty."""

    name: str
    detail: str
    """Why, in our own words."""


class Store:
    """Models by name and version in several places; the first that has a version gives it.

    `trusted` are base64 of raw Ed25519 public keys; shipped models need none. `allow_unsigned` lets
    text models through that nobody vouches for: the setting `registry.insecure_allow_unsigned`.
    That a model's inputs hold no PHI nobody can say but a trusted key. `cache` is where `Remote`
    sources keep what they fetched. Raises SettingsInvalid for a key that is none.
    """

    def __init__(
        self,
        sources: Sequence[Path | Source] = (SHIPPED,),
        *,
        trusted: Iterable[str] = (),
        allow_unsigned: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._sources = tuple(Folder(each) if isinstance(each, Path) else each for each in sources)
        self._cache = cache
        self._trust = Trust(trusted, pinned=pinned(SUMS), allow_unsigned=allow_unsigned)

    def load(
        self,
        name: str,
        version: str | None = None,
        *,
        digest: str | None = None,
        whole: bool = False,
    ) -> LoadedModel:
        """Read and verify a version of the model `name`.

        `version` None takes the highest by natural order (1.10 above 1.9) in the first place that
        has any: a site's own model goes before a shipped one of the same name. `digest` is the
        SHA-256 of the manifest that is wanted, where the caller knows it: then a registry that does
        not answer is no hindrance where those very bytes are in the cache or in another place
        (`kept`); whether they are trusted is judged by today's keys. Not `whole` leaves out what
        only torch runs.

        Raises ModelUnknown where no place has it, ModelUntrusted where nobody trusted vouches for
        it, ManifestInvalid where the manifest or a file is not what was declared,
        RegistryUnavailable where the place cannot be read.
        """
        try:
            found = self._find(name, version)
            with found.source.open(found.name, found.version) as home:
                return self._trusted(home, found.name, found.version, whole=whole)
        except RegistryUnavailable:
            kept = None
            if version is not None and digest is not None:
                kept = self._kept(name, version, digest, whole=whole)
            if kept is None:
                raise
            return kept

    def inspect(self, name: str, version: str | None = None) -> LoadedModel:
        """As `load` of the whole, but whoever vouches for it: to be read, never to be served."""
        found = self._find(name, version)
        with found.source.open(found.name, found.version) as home:
            raw = home.read(MANIFEST, most=MANIFEST_BYTES)
            signature = home.signature()
            manifest = _parsed(raw, found.name, found.version)
            signed = self._trust.judge(raw, signature)
            return LoadedModel(manifest, _files(home, manifest), signed, raw, signature)

    def describe(self, name: str, version: str | None = None) -> tuple[Manifest, Signed]:
        """Return the manifest and who vouches for it; its files are not read. Raises as `load`."""
        found = self._find(name, version)
        with found.source.open(found.name, found.version) as home:
            raw = home.read(MANIFEST, most=MANIFEST_BYTES)
            manifest = _parsed(raw, found.name, found.version)
            return manifest, self._trust.judge(raw, home.signature())

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model in all places, lowest first.

        Raises ManifestInvalid for a link, RegistryUnavailable where a place cannot be read.
        """
        found = {version for source in self._sources for version in source.versions(name)}
        return sorted(found, key=natural)

    def survey(self) -> tuple[list[Listed], list[Unread]]:
        """Return every version in all places, by name and natural order, and what is unreadable.

        Nothing is verified; one model or place that cannot be read does not hide the others.
        """
        found: dict[tuple[str, str], Listed] = {}
        unread: list[Unread] = []
        for source in self._sources:
            try:
                names = source.names()
            except RegistryUnavailable as error:
                unread.append(Unread("", error.detail))
                continue
            for name in names:
                try:
                    versions = source.versions(name)
                except (ManifestInvalid, RegistryUnavailable) as error:
                    unread.append(Unread(name, error.detail))
                    continue
                for version in versions:
                    found.setdefault((name, version), Listed(name, version, source))
        listed = sorted(found.values(), key=lambda each: (each.name, natural(each.version)))
        return listed, unread

    def _trusted(self, home: Home, name: str, version: str, *, whole: bool) -> LoadedModel:
        """Read a version in the order that the module's docstring gives."""
        raw = home.read(MANIFEST, most=MANIFEST_BYTES)
        signature = home.signature()
        signed = self._trust.require(raw, signature)
        manifest = _parsed(raw, name, version)
        if manifest.phi_free and not signed.trusted:
            raise ModelUntrusted(
                f"The model is refused: {signed}. A tensor model's inputs are not de-identified, "
                "so a trusted key must have signed it, whatever the settings say."
            )
        content = _files(home, manifest, without=() if whole else TORCH_FILES)
        return LoadedModel(manifest, content, signed, raw, signature)

    def _kept(self, name: str, version: str, digest: str, *, whole: bool) -> LoadedModel | None:
        """Return the version from the cache or from a folder, None where its bytes are in none."""
        places = [(each, name, version) for each in self._sources if isinstance(each, Folder)]
        if self._cache is not None:
            places.append((Folder(self._cache.parent), self._cache.name, digest))
        for folder, *steps in places:
            try:
                with folder.open(*steps) as home:
                    raw = home.read(MANIFEST, most=MANIFEST_BYTES)
                    if hashlib.sha256(raw).hexdigest() == digest:
                        return replace(self._trusted(home, name, version, whole=whole), kept=True)
            except ModelUntrusted:
                raise
            except (ManifestInvalid, RegistryUnavailable):
                continue
        return None

    def _find(self, name: str, version: str | None) -> Listed:
        if not NAME.fullmatch(name) or (version is not None and not VERSION.fullmatch(version)):
            raise ModelUnknown
        for source in self._sources:
            versions = source.versions(name)
            if version is None and versions:
                return Listed(name, max(versions, key=natural), source)
            if version in versions and version is not None:
                return Listed(name, version, source)
        raise ModelUnknown


def open_store(
    *,
    folder: Path | None,
    url: str | None,
    cache: Path,
    trusted: Iterable[str],
    allow_unsigned: bool,
) -> Store:
    """Return the store of a gateway: its own folder, then its URL, then the shipped models.

    `cache` is the folder of what was fetched from `url`.
    Raises SettingsInvalid for a key or a URL that is none.
    """
    sources: list[Path | Source] = []
    if folder is not None:
        sources.append(folder)
    if url is not None:
        sources.append(Remote(url, cache))
    return Store([*sources, SHIPPED], trusted=trusted, allow_unsigned=allow_unsigned, cache=cache)


_RUNS = re.compile(r"[0-9]+|[^0-9]+")


def natural(version: str) -> list[tuple[int, int, str]]:
    """Return the sort key of a version: runs of digits count as numbers, and below letters."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in _RUNS.findall(version)
    ]


def _files(home: Home, manifest: Manifest, without: Sequence[str] = ()) -> dict[str, bytes]:
    return {
        name: home.file(name, entry)
        for name, entry in manifest.files.items()
        if name not in without
    }


def _parsed(raw: bytes, name: str, version: str) -> Manifest:
    manifest = parse(raw)
    if manifest.name != name:
        raise ManifestInvalid(f"name: expected '{name}', as the folder is called.")
    if manifest.version != version:
        raise ManifestInvalid(f"version: expected '{version}', as the folder is called.")
    return manifest
