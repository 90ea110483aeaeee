"""Write the pages of docs/reference from the code; `--check` says whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wardgate import cli, telemetry
from wardgate.errors import tree
from wardgate.settings import Settings

REFERENCE = Path(__file__).parent / "reference"
NOTE = (
    "<!-- Written by docs/generate.py from the code; change the code, then run `make docs`. -->\n"
)


def settings() -> str:
    """Return the page of all settings."""
    lines = [
        "# Settings",
        "",
        "Set by environment variable, or in the TOML file that `WARDGATE_CONFIG` names. Variables win "
        "over the file, command-line flags over variables. An unknown name is refused at start.",
        "",
    ]
    for name, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            lines += [f"## `[{name}]`", "", info.description or "", ""]
            lines += ["| variable | default | meaning |", "| --- | --- | --- |"]
            lines += [
                _row(f"WARDGATE_{name.upper()}__{leaf.upper()}", field)
                for leaf, field in group.model_fields.items()
            ]
        else:
            lines += ["| variable | default | meaning |", "| --- | --- | --- |"]
            lines.append(_row(f"WARDGATE_{name.upper()}", info))
        lines.append("")
    lines += [
        "## Variables of the client commands",
        "",
        "| variable | meaning |",
        "| --- | --- |",
        "| `WARDGATE_CONFIG` | TOML file of settings |",
        "| `WARDGATE_TOKEN` | access token for `wardgate predict` |",
        "| `WARDGATE_URL` | address of the gateway for `wardgate predict` |",
        "",
    ]
    lines += ["## Members of `WARDGATE_AUTH__ISSUERS`", ""]
    lines += ["A JSON list of objects, or `[[auth.issuers]]` tables in the TOML file.", ""]
    lines += ["| member | default | meaning |", "| --- | --- | --- |"]
    from wardgate.setting_groups import Issuer  # noqa: PLC0415 -- beside its use

    lines += [_row(leaf, field) for leaf, field in Issuer.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, info: FieldInfo) -> str:
    default = "required" if info.is_required() else _shown(info.default)
    return f"| `{name}` | {default} | {' '.join((info.description or '').split())} |"


def _shown(value: object) -> str:
    return "none" if value is None or value == () else f"`{value}`"


def errors() -> str:
    """Return the page of all errors."""
    lines = [
        "# Errors",
        "",
        "Every error of every route is RFC 9457 `application/problem+json` with the members `type`, "
        "`title`, `status`, `detail` and `instance` (the request id). `detail` never holds what was "
        "sent. A status of 429 or 503 comes with `Retry-After` where a later try may succeed.",
        "",
        "| type | status | title | what it says |",
        "| --- | --- | --- | --- |",
    ]
    for error in sorted(tree(), key=lambda cls: (cls.status, cls.slug)):
        lines.append(
            f"| `urn:wardgate:problem:{error.slug}` | {error.status} | {error.title} | "
            f"{error.sentence} |"
        )
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Return the page of all metrics."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` on the metrics port, on loopback by default. No label ever holds what "
        "a caller sent.",
        "",
        "| name | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for value in vars(telemetry).values():
        if isinstance(value, MetricWrapperBase):
            labels = ", ".join(f"`{label}`" for label in value._labelnames) or "none"
            name = value._name + ("_total" if value._type == "counter" else "")
            lines.append(f"| `{name}` | {value._type} | {labels} | {value._documentation} |")
        elif isinstance(value, telemetry.Seconds):
            labels = ", ".join(f"`{label}`" for label in value.labels)
            lines.append(f"| `{value.name}` | histogram | {labels} | {value.documentation} |")
    hops = ", ".join(f"`{hop}`" for hop in telemetry.HOPS)
    lines += ["", f"Hops, in the order of a request: {hops}."]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Return the page of the command line."""
    lines = ["# Command line", ""]
    context = click.Context(
        cli.wardgate, info_name="wardgate", terminal_width=80, **cli.wardgate.context_settings
    )
    _command(cli.wardgate, context, lines)
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context, lines: list[str]) -> None:
    help_text = command.get_help(context).replace(str(Path.home()), "~")
    lines += [f"## `{context.command_path}`", "", "```text", help_text, "```", ""]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                _command(child, click.Context(child, info_name=name, parent=context), lines)


PAGES = {
    "settings.md": settings,
    "errors.md": errors,
    "metrics.md": metrics,
    "command-line.md": commands,
}


def main() -> int:
    """Write or check every page; return the exit code."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, make in PAGES.items():
        path = REFERENCE / name
        content = NOTE + make()
        if check and (not path.exists() or path.read_text("utf-8") != content):
            stale.append(name)
        elif not check:
            path.write_text(content, "utf-8")
    for name in stale:
        print(f"docs/reference/{name} is not what the code says; run 'make docs'", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
