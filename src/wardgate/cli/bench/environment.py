"""What a system runs in: an environment of its own, and the folder of a model. Made once, kept.

Nothing of another system is ever installed beside Wardgate: each has its environment in the cache
(`$XDG_CACHE_HOME/wardgate-bench`), made with pip when it is first run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from wardgate.cli.bench.system import System
from wardgate.cli.bench.table import Invalid
from wardgate.registry.store import SHIPPED

_VERSIONS = (
    "import json, importlib.metadata as m;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)


class Absent(Exception):
    """Why a system is not in the run: it does not install here."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model in a registry: `<registry>/<name>/<version>` with graph, tokenizer and manifest."""

    name: str
    precision: str
    registry: Path
    entry: Path
    manifest: dict[str, Any]

    @property
    def shipped(self) -> bool:
        """Whether it is one of the package's own."""
        return self.registry == SHIPPED


def cache() -> Path:
    """Return the folder of environments and models."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "wardgate-bench"


def python(system: System) -> Path:
    """Return the interpreter that a system runs with, its environment made if it is not there.

    Raises Absent where pip cannot install what it needs.
    """
    if not system.requires:
        return Path(sys.executable)
    home = cache() / "environments" / system.name
    found = home / "bin" / "python"
    ready = home / "requires.json"
    if ready.is_file() and json.loads(ready.read_text()) == list(system.requires):
        return found
    click.echo(f"making an environment for {system.name} in {home}", err=True)
    venv.create(home, with_pip=True, clear=True)
    command = [str(found), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603 -- what a file of this repository names
        [*command, *system.requires], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Absent(f"pip could not install {' '.join(system.requires)}: {' '.join(said[-1:])}")
    ready.write_text(json.dumps(list(system.requires)))
    return found


def versions(interpreter: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions."""
    done = subprocess.run(  # noqa: S603 -- an interpreter that `python` gave
        [str(interpreter), "-c", _VERSIONS], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def model(name: str, precision: str, systems: Path) -> Model:
    """Return a model, the package's own or made by `models.py` beside the folder of systems.

    `python models.py NAME PRECISION REGISTRY` writes `REGISTRY/NAME/<version>/`. Raises Invalid.
    """
    for entry in sorted(SHIPPED.glob(f"{name}/*/manifest.json")):
        manifest = json.loads(entry.read_text("utf-8"))
        if manifest["precision"] == precision:
            return Model(name, precision, SHIPPED, entry.parent, manifest)
    maker = systems.parent / "models.py"
    if not maker.is_file():
        raise Invalid(f"There is no model '{name}' in {precision}, and no {maker} that makes it.")
    key = hashlib.sha256(maker.read_bytes()).hexdigest()[:12]
    registry = cache() / "models" / f"{name}-{precision}-{key}"
    if not registry.is_dir():
        _make(maker, name, precision, registry)
    entries = sorted(registry.glob(f"{name}/*/manifest.json"))
    if not entries:
        raise Invalid(f"{registry} holds no model '{name}'; remove it to have it made again.")
    manifest = json.loads(entries[0].read_text("utf-8"))
    return Model(name, precision, registry, entries[0].parent, manifest)


def _make(maker: Path, name: str, precision: str, registry: Path) -> None:
    click.echo(f"making the model {name} in {precision}", err=True)
    part = registry.with_name(registry.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    done = subprocess.run(  # noqa: S603 -- a script of this repository
        [sys.executable, str(maker), name, precision, str(part)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise Invalid(f"{maker.name} could not make {name} in {precision}: {said}")
    part.rename(registry)
