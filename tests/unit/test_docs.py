"""The documents keep to the code: what they name exists, and nothing in them is of one machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from wardgate import telemetry
from wardgate.cli import wardgate as root_command
from wardgate.errors import tree
from wardgate.settings import NOT_SETTINGS, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[\s(/])(?<!from )wardgate ((?:[^|;>)#\n]|\n(?! ))*)")
VARIABLE = re.compile(r"\bWARDGATE_[A-Z0-9_]*[A-Z0-9]\b")
MADE_WRONG = re.compile(r"Unknown settings: (WARDGATE_\w+)\.")
"""A page that shows the refusal of a misspelt setting names it so."""

every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def fenced(text: str) -> list[tuple[str, str]]:
    return [(kind, body.replace("\\\n", " ")) for kind, body in FENCED.findall(text)]


def inline(text: str) -> list[str]:
    return INLINE.findall(FENCED.sub("", text))


def code(text: str) -> list[str]:
    """All code of a page: each line of its blocks, and each span within its prose."""
    return [line for _, body in fenced(text) for line in body.splitlines()] + inline(text)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def names_of_settings() -> set[str]:
    names = set(NOT_SETTINGS)
    for name, info in Settings.model_fields.items():
        names.add(f"WARDGATE_{name.upper()}")
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            names |= {f"WARDGATE_{name.upper()}__{leaf.upper()}" for leaf in group.model_fields}
    return names


def _context(command: click.Command) -> click.Context:
    # click keeps a command's help option as its first context has it
    return click.Context(command, **root_command.context_settings)


def commands(command: click.Command = root_command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = _context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child)


def flags_of(command: click.Command) -> set[str]:
    options = command.get_params(_context(command))
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)}


def unknown_in(line: str) -> list[str]:
    """What of `wardgate COMMAND ... --flag ...` in a line of code does not exist."""
    found = []
    for match in COMMAND.finditer(line):
        words = match[1].split()
        command: click.Command = root_command
        while words and isinstance(command, click.Group) and re.fullmatch(r"[a-z_]+", words[0]):
            child = command.get_command(_context(command), words[0])
            if child is None:
                found.append(f"wardgate {words[0]}")
                break
            command = child
            words.pop(0)
        else:
            known = flags_of(command)
            given = {re.split(r"[=\]]", word.strip("[\"'"))[0] for word in words if word[0] in "-["}
            found += sorted(
                f for f in given if re.fullmatch(r"--?[a-z][a-z-]*", f) and f not in known
            )
    return found


def test_there_are_pages() -> None:
    for name in ("README", "ARCHITECTURE", "SECURITY", "CONTRIBUTING", "CHANGELOG"):
        assert f"{name}.md" in IDS
    for folder in ("tutorial", "howto", "reference", "explanation", "adr"):
        assert list((ROOT / "docs" / folder).glob("*.md"))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        if re.match(r"(https?|mailto):", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_every_page_can_be_reached() -> None:
    seen, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8"))]
        pending += [(page.parent / place).resolve() for place in links if place]
    assert set(PAGES) <= seen


@every_page
def test_make_targets_exist(page: Path) -> None:
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for line in code(page.read_text("utf-8")):
        for target in re.findall(r"(?:^|[$;&] *)make ([a-z-]+)", line.strip()):
            assert target in rules, line


@every_page
def test_commands_and_their_flags_exist(page: Path) -> None:
    for line in code(page.read_text("utf-8")):
        assert unknown_in(line) == [], line


@every_page
def test_flags_named_alone_exist(page: Path) -> None:
    if page.parent.name == "reference" or page.name == "0001-http-server.md":
        pytest.skip("names the flags of other programs, or is written from the code")
    known = set().union(*(flags_of(command) for command in commands()))
    for span in inline(page.read_text("utf-8")):
        if span.startswith("--"):
            assert span.split()[0].split("=")[0] in known, span


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert unknown_in("$ wardgate serv --port 1") == ["wardgate serv"]
    assert unknown_in("TOKEN=$(wardgate token --scoop deid)") == ["--scoop"]
    assert unknown_in(".venv/bin/wardgate audit verfy") == ["wardgate verfy"]
    assert unknown_in("wardgate audit tail -n 20 --lines 3") == []
    assert unknown_in("wardgate audit verify | jq --slurp .") == []


@every_page
def test_settings_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    wrong, known = set(MADE_WRONG.findall(text)), names_of_settings()
    assert not wrong & known
    assert set(VARIABLE.findall(text)) - wrong <= known


@every_page
def test_toml_is_taken_as_settings(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names_of_settings():
        monkeypatch.delenv(name, raising=False)
    for kind, body in fenced(page.read_text("utf-8")):
        if kind == "toml":
            assert Settings(**tomllib.loads(body))


@every_page
def test_metrics_exist(page: Path) -> None:
    metrics = [v for v in vars(telemetry).values() if isinstance(v, MetricWrapperBase)]
    known = {n for m in metrics for n in (m._name, f"{m._name}_total", f"{m._name}_bucket")}
    known |= {v.name for v in vars(telemetry).values() if isinstance(v, telemetry.Seconds)}
    named = re.findall(r"\bwardgate_[a-z_]+\b", " ".join(code(page.read_text("utf-8"))))
    assert set(named) <= known


@every_page
def test_problems_exist(page: Path) -> None:
    named = re.findall(r"urn:wardgate:problem:([a-z0-9-]+)", page.read_text("utf-8"))
    assert set(named) <= {error.slug for error in tree()}


@every_page
def test_files_named_exist(page: Path) -> None:
    """Files of this repository, named from its root or from the package."""
    for span in inline(page.read_text("utf-8")):
        if re.fullmatch(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|json|csv|md)", span):
            places = (ROOT, ROOT / "src/wardgate", page.parent)
            assert any((place / span).is_file() for place in places), span


@every_page
def test_figures_name_results_that_are_there(page: Path) -> None:
    for name in re.findall(r"benchmarks/results/[\w.-]*\w", page.read_text("utf-8")):
        if name.endswith(".json"):
            assert (ROOT / name).is_file(), name


@every_page
def test_nothing_is_of_one_machine(page: Path) -> None:
    text = page.read_text("utf-8")
    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.])/(?:home|root|Users|work|mnt|tmp)/", text)
    hosts = r"pypi\.org|pythonhosted|artifactory|jfrog|nexus|npmjs\.org|deb\.debian|index-url"
    assert not re.search(hosts, text, re.IGNORECASE)


@every_page
def test_no_compliance_is_claimed(page: Path) -> None:
    claim = r"HIPAA[- ]compliant|is compliant|guarantees? compliance|certified"
    assert not re.search(claim, page.read_text("utf-8"), re.IGNORECASE)


def test_every_setting_and_every_error_is_documented() -> None:
    settings = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    for name, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            for leaf in group.model_fields:
                assert f"`WARDGATE_{name.upper()}__{leaf.upper()}`" in settings
        else:
            assert f"`WARDGATE_{name.upper()}`" in settings
    errors = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    for error in tree():
        assert f"`urn:wardgate:problem:{error.slug}` | {error.status} |" in errors


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(page.name[:4]) for page in sorted((ROOT / "docs/adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
