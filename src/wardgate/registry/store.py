"""Loads models that somebody trusted vouches for, and whose every file is as declared.

The order is: the manifest's bytes are read once; a signature by a trusted key over these very bytes
is required (`signature.py`); they are parsed; each file is held against them. Nothing of a model
that is not trusted is parsed beyond its manifest, and none of its files is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wardgate.errors import ManifestInvalid, ModelUnknown
from wardgate.registry.manifest import (
    GRAPH,
    MANIFEST,
    MANIFEST_BYTES,
    NAME,
    TOKENIZER,
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
    """A manifest and the verified bytes of each of its files."""

    manifest: Manifest
    files: Mapping[str, bytes]
    signed: Signed = NOBODY
    """Who vouches for it."""
    raw: bytes = b""
    """The manifest's bytes as stored: what a signature is over."""
    signature: bytes | None = None
    """The signature file as stored."""

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


class Store:
    """Models by name and version in several places; the first that has a version gives it.

    `trusted` are base64 of raw Ed25519 public keys; shipped models need none. `allow_unsigned` lets
    models through that nobody vouches for: the setting `registry.insecure_allow_unsigned`.
    Raises SettingsInvalid for a key that is none.
    """

    def __init__(
        self,
        sources: Sequence[Path | Source] = (SHIPPED,),
        *,
        trusted: Iterable[str] = (),
        allow_unsigned: bool = False,
    ) -> None:
        self._sources = tuple(Folder(each) if isinstance(each, Path) else each for each in sources)
        self._trust = Trust(trusted, pinned=pinned(SUMS), allow_unsigned=allow_unsigned)

    def load(self, name: str, version: str | None = None) -> LoadedModel:
        """Read and verify a version of the model `name`.

        `version` None takes the highest by natural order (1.10 above 1.9) in the first place that
        has any: a site's own model goes before a shipped one of the same name.
        Raises ModelUnknown where no place has it, ModelUntrusted where nobody trusted vouches for
        it, ManifestInvalid where the manifest or a file is not what was declared,
        RegistryUnavailable where the place cannot be read.
        """
        found = self._find(name, version)
        with found.source.open(found.name, found.version) as home:
            raw = home.read(MANIFEST, most=MANIFEST_BYTES)
            signature = home.signature()
            return _load(home, found, raw, signature, self._trust.require(raw, signature))

    def inspect(self, name: str, version: str | None = None) -> LoadedModel:
        """As `load`, but whoever vouches for it: for reading only, never for serving."""
        found = self._find(name, version)
        with found.source.open(found.name, found.version) as home:
            raw = home.read(MANIFEST, most=MANIFEST_BYTES)
            signature = home.signature()
            return _load(home, found, raw, signature, self._trust.judge(raw, signature))

    def describe(self, name: str, version: str | None = None) -> tuple[Manifest, Signed]:
        """Return the manifest and who vouches for it; its files are not read. Raises as `load`."""
        found = self._find(name, version)
        with found.source.open(found.name, found.version) as home:
            raw = home.read(MANIFEST, most=MANIFEST_BYTES)
            return _parsed(raw, found), self._trust.judge(raw, home.signature())

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model in all places, lowest first.

        Raises ManifestInvalid for a link, RegistryUnavailable where a place cannot be read.
        """
        return sorted({each.version for each in self.list() if each.name == name}, key=natural)

    def list(self) -> list[Listed]:
        """Return every version in all places, by name and natural order; nothing is verified.

        Raises as `versions`.
        """
        found: dict[tuple[str, str], Listed] = {}
        for source in self._sources:
            for name in source.names():
                for version in source.versions(name):
                    found.setdefault((name, version), Listed(name, version, source))
        return sorted(found.values(), key=lambda each: (each.name, natural(each.version)))

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
    return Store([*sources, SHIPPED], trusted=trusted, allow_unsigned=allow_unsigned)


_RUNS = re.compile(r"[0-9]+|[^0-9]+")


def natural(version: str) -> list[tuple[int, int, str]]:
    """Return the sort key of a version: runs of digits count as numbers, and below letters."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in _RUNS.findall(version)
    ]


def _load(
    home: Home, found: Listed, raw: bytes, signature: bytes | None, signed: Signed
) -> LoadedModel:
    manifest = _parsed(raw, found)
    files = {name: home.file(name, entry) for name, entry in manifest.files.items()}
    return LoadedModel(manifest, files, signed, raw, signature)


def _parsed(raw: bytes, found: Listed) -> Manifest:
    manifest = parse(raw)
    if manifest.name != found.name:
        raise ManifestInvalid(f"name: expected '{found.name}', as the folder is called.")
    if manifest.version != found.version:
        raise ManifestInvalid(f"version: expected '{found.version}', as the folder is called.")
    return manifest
