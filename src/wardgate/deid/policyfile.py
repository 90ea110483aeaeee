"""A site's policies from a folder of files, beside the shipped ones: all of them, or none.

`<name>.toml` or `<name>.json` is a policy of that name. `site.toml` or `site.json` holds what the
site adds to what is found, under every policy. Whatever is wrong is told with file, line and
reason, never with a value: lists name people.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardgate.deid import policy as policies
from wardgate.deid import site as sites
from wardgate.deid.fold import fold
from wardgate.deid.fpe import available
from wardgate.deid.policy import Action, Policy, Wrong, difference
from wardgate.deid.site import Identifier, Phrases, Site
from wardgate.errors import PolicyUnknown, SettingsInvalid
from wardgate.types import EntityType

SITE = "site"
"""Name of the file that holds what the site adds; no policy can have it."""
LARGEST = 4 << 20
"""Bytes of the largest file."""
MOST = 1_000
"""Files of a folder at most."""
_SALT = 16
_SUFFIXES = (".toml", ".json")
_MEANT = frozenset({".toml", ".json", ".yaml", ".yml", ".tml", ".jsonc", ".json5"})
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Catalog:
    """All policies of a gateway by name, each with what the site adds."""

    policies: Mapping[str, Policy]
    site: Site = sites.NONE

    def get(self, name: str | None) -> Policy:
        """Return a policy; None is `safe_harbor`. Raises PolicyUnknown."""
        found = self.policies.get(name or policies.DEFAULT)
        if found is None:
            raise PolicyUnknown
        return found


def shipped() -> Catalog:
    """Return the packaged policies alone."""
    return Catalog(policies.shipped())


def read(folder: Path) -> Catalog:
    """Return the shipped policies and those of a folder.

    Raises SettingsInvalid that names every wrong file with line and reason, a line for each.
    """
    if not folder.is_dir():
        raise SettingsInvalid(f"{folder}: there is no such folder of policies.")
    files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    if len(files) > MOST:
        raise SettingsInvalid(f"{folder}: more than {MOST} policies.")
    wrong = [
        f"{path.name}:1: a policy or {SITE} file ends with .toml or .json; this one is not read."
        for path in sorted(folder.iterdir())
        if path.suffix not in _SUFFIXES and _looks_meant(path)
    ]
    site = sites.NONE
    found: dict[str, Policy] = dict(policies.shipped())
    for path in files:
        try:
            if path.stem == SITE:
                if site is not sites.NONE:
                    raise SettingsInvalid(f"{path.name}:1: there is another {SITE} file.")  # noqa: TRY301
                site = read_site(path)
            else:
                policy = read_policy(path)
                if policy.name in found:
                    raise SettingsInvalid(  # noqa: TRY301
                        f"{path.name}:1: there is a policy {policy.name} already; shipped names "
                        "cannot be taken."
                    )
                found[policy.name] = policy
        except SettingsInvalid as error:
            wrong.append(error.detail)
    if wrong:
        raise SettingsInvalid("\n".join(wrong))
    return Catalog({name: policy.at(site) for name, policy in found.items()}, site)


def _looks_meant(path: Path) -> bool:
    """Whether a file that is not read would be missed: a list of persons in `site.yaml`."""
    ending = path.suffix.lower()
    return ending in _MEANT or path.name.lower() == SITE


def read_policy(path: Path) -> Policy:
    """Return the policy of a file, whose name is its own. Raises SettingsInvalid."""
    source, document = _load(path)
    try:
        policy = policies.parse(document)
        if policy.name != path.stem:
            raise Wrong("The policy's name is not that of its file.", ("name",))  # noqa: TRY301
        if policy.uses(Action.FPE) and not available():
            kind = next(kind for kind, each in policy.actions.items() if each is Action.FPE)
            raise Wrong("fpe needs the extra wardgate[fpe].", ("actions", kind))  # noqa: TRY301
    except Wrong as error:
        raise SettingsInvalid(_told(path, source, error)) from None
    return policy


def read_site(path: Path) -> Site:
    """Return what the site's file adds. Raises SettingsInvalid."""
    source, document = _load(path)
    try:
        return parse_site(document)
    except Wrong as error:
        raise SettingsInvalid(_told(path, source, error)) from None


def parse_site(document: object) -> Site:
    """Check what a site adds. Raises Wrong."""
    if not isinstance(document, dict):
        raise Wrong("What a site adds is an object.")
    known = {"salt", "identifiers", "allow", "deny", "thresholds"}
    if document.keys() - known:
        unknown = sorted(map(str, document.keys() - known))
        raise Wrong(difference("A site", [*unknown, *known], known), (unknown[0],))
    allow = [_entry(e, ("allow", i)) for i, e in _list(document.get("allow", []), ("allow",))]
    for number, (_, entry) in enumerate(_list(document.get("allow", []), ("allow",))):
        if any(c.isdigit() for c in entry):
            raise Wrong("A word never to touch holds no digit.", ("allow", number))
    deny = dict(_deny(document.get("deny", {})))
    salt = document.get("salt", "")
    if not isinstance(salt, str) or (deny and len(salt) < _SALT):
        # Replies show the policy's hash, which covers the list: nobody shall try names against it.
        raise Wrong(
            f"A list of persons to hide needs a salt: {_SALT} random characters or more.",
            ("salt",) if "salt" in document else ("deny",),
        )
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Site(
        identifiers=tuple(_identifiers(document.get("identifiers", []))),
        allow=sites.phrases(allow),
        deny=deny,
        thresholds=dict(_thresholds(document.get("thresholds", {}))),
        digest=hashlib.sha256(canonical.encode("ascii")).hexdigest(),
        document=document,
    )


def _identifiers(given: object) -> Iterator[Identifier]:
    for number, each in _list(given, ("identifiers",), dict):
        at = ("identifiers", number)
        if each.keys() - {"after"} != {"type", "pattern", "examples"}:
            expected = {"type", "pattern", "examples"}
            raise Wrong(difference("An identifier", each.keys() - {"after"}, expected), at)
        pattern = each["pattern"]
        if not isinstance(pattern, str):
            raise Wrong("A pattern is a string.", (*at, "pattern"))
        try:
            compiled = sites.compiled(pattern)
        except SettingsInvalid as error:
            raise Wrong(error.detail, (*at, "pattern")) from None
        after = [
            _entry(word, (*at, "after")) for _, word in _list(each.get("after", []), (*at, "after"))
        ]
        if any(len(words) != 1 for words in after):
            raise Wrong("What stands before is given by single words.", (*at, "after"))
        if sites.shortest(pattern) < sites.SHORTEST and not after:
            raise Wrong(
                f"A pattern that matches less than {sites.SHORTEST} characters needs after.",
                (*at, "pattern"),
            )
        examples = _list(each["examples"], (*at, "examples"))
        if not examples or not all(compiled.fullmatch(example) for _, example in examples):
            raise Wrong("The pattern does not match its own examples.", (*at, "examples"))
        yield Identifier(
            _type(each["type"], (*at, "type")), compiled, frozenset(words[0] for words in after)
        )


def _deny(given: object) -> Iterator[tuple[EntityType, Phrases]]:
    if not isinstance(given, dict):
        raise Wrong("deny has a list for each type.", ("deny",))
    for name, entries in given.items():
        at = ("deny", str(name))
        label = _type(name, at)
        yield (
            label,
            sites.phrases([_entry(entry, (*at, number)) for number, entry in _list(entries, at)]),
        )


def _thresholds(given: object) -> Iterator[tuple[EntityType, float]]:
    if not isinstance(given, dict):
        raise Wrong("thresholds has a number for each type.", ("thresholds",))
    for name, value in given.items():
        at = ("thresholds", str(name))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise Wrong("A threshold is a number from 0 to 1.", at)
        yield _type(name, at), float(value)


def _type(name: object, at: tuple[str | int, ...]) -> EntityType:
    try:
        return EntityType(name)  # type: ignore[arg-type]
    except ValueError:
        raise Wrong(f"A type is one of {', '.join(EntityType)}.", at) from None


def _list(given: object, at: tuple[str | int, ...], kind: type = str) -> list[tuple[int, Any]]:
    name = at[-1] if isinstance(at[-1], str) else at[0]
    if not isinstance(given, list) or not all(isinstance(each, kind) for each in given):
        raise Wrong(f"{name} is a list of {'strings' if kind is str else 'objects'}.", at)
    return list(enumerate(given))


def _entry(entry: str, at: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the folded words of an entry: as a note is folded before it is read."""
    words = sites.words_of(fold(entry)[0])
    if not words or len(words) > sites.MOST_WORDS or not any(c.isalnum() for c in entry):
        raise Wrong(f"An entry has 1 to {sites.MOST_WORDS} words.", at)
    if len("".join(words)) < 2:  # noqa: PLR2004 -- a lone letter is everywhere
        raise Wrong("An entry has two letters or digits at least.", at)
    return words


def _load(path: Path) -> tuple[str, object]:
    """Return the text of a file and what it says. Raises SettingsInvalid with the line."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise SettingsInvalid(f"{path.name}:1: larger than {LARGEST} bytes.")
        source = raw.decode("utf-8")
    except OSError as error:
        raise SettingsInvalid(f"{path.name}:1: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingsInvalid(f"{path.name}:{line}: is not UTF-8.") from None
    try:
        if path.suffix == ".toml":
            return source, tomllib.loads(source)
        return source, json.loads(source, object_pairs_hook=_once)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else source.count("\n") + 1
        raise SettingsInvalid(f"{path.name}:{line}: is no TOML.") from None
    except json.JSONDecodeError as error:
        raise SettingsInvalid(f"{path.name}:{error.lineno}: is no JSON.") from None
    except Wrong as error:
        raise SettingsInvalid(_told(path, source, error)) from None
    except (ValueError, RecursionError):
        raise SettingsInvalid(f"{path.name}:1: cannot be read.") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; a key that is there twice is refused."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Wrong("A key is there twice.", (key, key))
        found[key] = value
    return found


def _told(path: Path, source: str, error: Wrong) -> str:
    return f"{path.name}:{line_of(source, error.path)}: {error.detail}"


def line_of(source: str, path: tuple[str | int, ...]) -> int:
    """Return the line, from 1, where what `path` names stands in a TOML or JSON text.

    Keys are looked for in their order; where one is not there, the line of the last one counts.
    """
    at = 0
    last = ""
    for part in path:
        if isinstance(part, str):
            last = part
            pattern = rf"(?m)^[^#\n]*?(?<![\w-])({re.escape(part)})[\"']?[ \t]*[]=:.]"
            steps = 1
        elif re.compile(rf"(?m)^[ \t]*\[\[{re.escape(last)}]]").search(source):
            pattern, steps = rf"(?m)^[ \t]*\[\[({re.escape(last)})]]", part
        elif re.compile(r"[^\[]*\[\s*\{").match(source, at):
            pattern, steps = r"(\{)", part + 1
        else:
            pattern, steps = r"(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')(?=\s*[],])", part + 1
        for _ in range(steps):
            found = re.compile(pattern).search(source, at)
            if found is None:
                break
            at = found.end(1)
    return source.count("\n", 0, at) + 1
