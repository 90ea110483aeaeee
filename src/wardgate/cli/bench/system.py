"""A system under test: how it is started and called. Read from `systems/<name>.toml`.

    title = "Plain FastAPI"
    about = "One route, ONNX Runtime's defaults, as FastAPI's tutorial writes it."
    requires = ["litserve"]        # packages of an environment of its own; none: Wardgate's
    command = ["{python}", "-m", "uvicorn", "fastapi_plain:app", "--port", "{port}"]
    tls = ["--ssl-certfile", "{cert}", "--ssl-keyfile", "{key}"]  # added for a scenario with TLS
    ready = "/openapi.json"        # a path that answers 200; or `ready_line = "ready "`
    token = ["{python}", "-m", "wardgate", "token"]  # a command that prints an access token

    [env]
    MODEL = "{model}"

    [call.http1]                   # a table for each protocol that it speaks
    path = "/predict"
    form = "text"                  # see `forms.py`

Names in braces: python, systems (the folder), port, grpc_port, metrics_port, state (an empty
folder), model, tokenizer (files), entry (the model's folder), registry (a folder of such), name
(the model's), labels, max_length, threads, processors, cert, key, counts (an empty folder).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wardgate.cli.bench.scenario import PROTOCOLS
from wardgate.cli.bench.table import Invalid, Table


@dataclass(frozen=True, slots=True)
class Call:
    """How a note is sent: a path, a form of bytes, and the port it goes to."""

    path: str
    form: str
    port: str
    arguments: tuple[str, ...]
    """What the command needs for this protocol."""


@dataclass(frozen=True, slots=True)
class System:
    """What a file says; words with names in braces are filled in by `launch.py`."""

    name: str
    title: str
    about: str
    folder: Path
    requires: tuple[str, ...]
    command: tuple[str, ...]
    tls: tuple[str, ...]
    ready: str
    ready_line: str
    token: tuple[str, ...]
    metrics: str
    """Path of Prometheus metrics on `{metrics_port}`; empty where it has none."""
    environment: tuple[tuple[str, str], ...]
    registry_environment: tuple[tuple[str, str], ...]
    """Variables for models other than the one that the package ships."""
    calls: tuple[tuple[str, Call], ...]

    def call(self, protocol: str) -> Call:
        """Return how it is called. Raises Invalid where it does not speak the protocol."""
        found = dict(self.calls).get(protocol)
        if found is None:
            raise Invalid(f"{self.name} does not speak {protocol}.")
        return found


def folder_of(scenario: Path) -> Path:
    """Return the folder of systems that goes with a scenario: `systems` beside it or one above."""
    for place in (scenario.resolve().parent, scenario.resolve().parents[1]):
        if (place / "systems").is_dir():
            return place / "systems"
    raise Invalid(f"{scenario}: there is no folder 'systems' beside it or one above.")


def read(folder: Path, name: str) -> System:
    """Read `<folder>/<name>.toml`. Raises Invalid."""
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.toml")))
        raise Invalid(f"There is no system '{name}'; there are {known}.")
    top = Table.read(path)
    calls = top.below("call")
    found = System(
        name=name,
        title=top.take("title", str),
        about=top.take("about", str, ""),
        folder=folder,
        requires=top.words("requires"),
        command=top.words("command"),
        tls=top.words("tls"),
        ready=top.take("ready", str, ""),
        ready_line=top.take("ready_line", str, ""),
        token=top.words("token"),
        metrics=top.take("metrics", str, ""),
        environment=_variables(top.below("env")),
        registry_environment=_variables(top.below("registry_env")),
        calls=tuple(
            (protocol, _call(calls.below(protocol))) for protocol in PROTOCOLS if protocol in calls
        ),
    )
    calls.close()
    top.close()
    if bool(found.ready) == bool(found.ready_line):
        raise Invalid(f"{path.name}: give either 'ready' or 'ready_line'.")
    return found


def _variables(table: Table) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in table.rest().items())


def _call(table: Table) -> Call:
    found = Call(
        path=table.take("path", str),
        form=table.take("form", str),
        port=table.take("port", str, "port"),
        arguments=table.words("arguments"),
    )
    table.close()
    return found
