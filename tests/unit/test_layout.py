"""What an absence in the code promises, kept by checks that can fail.

Every check is a function of source text, so that a made-up module proves that it finds what it
looks for.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wardgate.errors import tree
from wardgate.setting_groups import Issuer
from wardgate.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "wardgate"
TESTS = ROOT / "tests" / "unit"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
LONGEST = 400
"""Lines of a module."""

# -- every module has its test, and every test its module -----------------------------------------

WITHOUT_TEST = {"__init__.py", "__main__.py"}
OF_NO_MODULE = {Path("test_layout.py"), Path("test_docs.py")}
"""Tests of the tree as a whole."""


def missing_tests(modules: set[Path], tests: set[Path]) -> set[Path]:
    """Modules without a test file of the mirrored path."""
    expected = {m: m.with_name(f"test_{m.name}") for m in modules if m.name not in WITHOUT_TEST}
    return {module for module, test in expected.items() if test not in tests}


def orphans(modules: set[Path], tests: set[Path]) -> set[Path]:
    """Test files of no module; `test_init.py` is that of `__init__.py`."""

    def module(test: Path) -> Path:
        name = test.name.removeprefix("test_")
        return test.with_name("__init__.py" if name == "init.py" else name)

    return {test for test in tests if module(test) not in modules} - OF_NO_MODULE


def test_every_module_has_its_test_and_every_test_its_module() -> None:
    tests = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert not missing_tests(set(MODULES), tests)
    assert not orphans(set(MODULES), tests)


def test_that_check_can_fail() -> None:
    modules = {Path("auth/jws.py"), Path("auth/__init__.py")}
    assert missing_tests(modules, {Path("test_jws.py")}) == {Path("auth/jws.py")}
    tests = {Path("auth/test_jws.py"), Path("auth/test_init.py"), Path("auth/test_gone.py")}
    assert orphans(modules, tests) == {Path("auth/test_gone.py")}
    assert not missing_tests(modules, tests)


# -- raw text is opened, and clean text made, in deid/ alone --------------------------------------


def openings(source: str) -> list[str]:
    """Uses of `.reveal` and makings of `CleanText`, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in {"reveal", "_PHI__text"}:
            found.append(f"{node.lineno}: .{node.attr}")
        elif isinstance(node, ast.Call):
            named = [_name(node.func)]
            if named[0] in {"cast", "getattr"}:
                named += [_name(argument) for argument in node.args]
            found += [f"{node.lineno}: {n}" for n in named if n in {"CleanText", "reveal"}]
    return found


def _name(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Constant(value=str() as name):
            return name
    return None


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] != "deid"], ids=str)
def test_no_module_but_those_of_deid_opens_raw_text(module) -> None:
    assert openings((SOURCE / module).read_text("utf-8")) == []


def test_deid_itself_opens_raw_text() -> None:
    inside = [openings((SOURCE / m).read_text("utf-8")) for m in MODULES if m.parts[0] == "deid"]
    assert sum(map(len, inside)) >= 2


@pytest.mark.parametrize(
    "snippet",
    [
        "text.reveal()",
        "call(ask.text.reveal)",
        "types.CleanText(raw)",
        "CleanText(raw)",
        "cast(CleanText, raw)",
        "cast('CleanText', raw)",
        "getattr(text, 'reveal')()",
        "text._PHI__text",
    ],
)
def test_the_check_for_openings_can_fail(snippet) -> None:
    assert openings(snippet)


def test_the_check_for_openings_lets_the_type_be_named() -> None:
    assert not openings("def f(text: CleanText) -> CleanText:\n    return text\n")


# -- no text is logged ----------------------------------------------------------------------------

LOGGERS = {"log", "LOG", "logger", "logging", "warnings"}
STREAMS = {"stderr", "stdout", "__stderr__", "__stdout__"}
HOLDS_TEXT = {
    "ask", "body", "chunk", "clean", "content", "data", "deidentified", "encoding", "error.args",
    "form", "given", "headers", "line", "message", "note", "patient", "payload", "raw", "reply",
    "scope", "span", "spans", "text", "token", "tokens", "value", "word", "words",
}  # fmt: skip
"""Names that may hold what a caller sent."""


def speaks(source: str) -> list[str]:
    """Imports of logging and uses of print, standard output and standard error."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [a.name for a in names if a.name.split(".")[0] in {"logging", "warnings"}]
            case ast.ImportFrom(module="logging" | "warnings" as module):
                found.append(module)
            case ast.Call(func=ast.Name(id="print" | "breakpoint" as name)):
                found.append(name)
            case ast.Attribute(value=ast.Name(id="sys"), attr=name) if name in STREAMS:
                found.append(name)
    return found


def logged(source: str) -> list[str]:
    """What calls of a logger hand over that may hold text: names, tracebacks."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=level)) if (
                name in LOGGERS
            ):
                if level == "exception" or any(k.arg == "exc_info" for k in node.keywords):
                    found.append(f"{node.lineno}: a traceback")
                found += [f"{node.lineno}: {each}" for each in _risky(node.args)]
    return found


def _risky(arguments: list[ast.expr]) -> Iterator[str]:
    for argument in arguments:
        for node in ast.walk(argument):
            names = {node.id} if isinstance(node, ast.Name) else set()
            if isinstance(node, ast.Attribute):
                names = {node.attr}
            yield from names & HOLDS_TEXT
            # an exception of another's making may quote its input
            if isinstance(node, ast.Name) and node.id in {"error", "exception", "exc"}:
                parents = [p for p in ast.walk(argument) if node in ast.iter_child_nodes(p)]
                ours = any(isinstance(p, ast.Attribute) and p.attr == "detail" for p in parents)
                typed = any(isinstance(p, ast.Call) and _name(p.func) == "type" for p in parents)
                if not ours and not typed:
                    yield "an exception"


SILENT = [m for m in MODULES if m.parts[0] not in {"web", "cli"}]


@pytest.mark.parametrize("module", SILENT, ids=str)
def test_below_the_shells_nothing_is_logged_or_printed(module) -> None:
    source = (SOURCE / module).read_text("utf-8")
    if module == Path("deid/process.py"):  # its standard output is the frame to its owner
        source = source.replace("sys.stdout", "")
    assert speaks(source) == []


@pytest.mark.parametrize("module", [m for m in MODULES if m not in SILENT], ids=str)
def test_the_shells_log_no_text(module) -> None:
    source = (SOURCE / module).read_text("utf-8")
    assert logged(source) == []
    if module.parts[0] == "web":
        assert not {"print", "stderr", "stdout", "warnings"} & set(speaks(source))


@pytest.mark.parametrize(
    "snippet",
    ["import logging", "from logging import getLogger", "import warnings", "print(x)",
     "sys.stderr.write(x)", "import logging.handlers"],
)  # fmt: skip
def test_the_check_for_silence_can_fail(snippet) -> None:
    assert speaks(snippet)


@pytest.mark.parametrize(
    "snippet",
    ["log.info('note %s', text)", "log.warning(f'{ask.text}')", "LOG.exception('failed')",
     "log.error('failed', exc_info=True)", "log.error('failed: %s', error)",
     "log.error('failed: %s', str(error))", "logging.info(body)"],
)  # fmt: skip
def test_the_check_for_logged_text_can_fail(snippet) -> None:
    assert logged(snippet)


@pytest.mark.parametrize(
    "snippet", ["log.info('%s', error.detail)", "log.info('%s', type(error).__name__)"]
)
def test_the_check_for_logged_text_lets_our_own_sentences_be(snippet) -> None:
    assert not logged(snippet)


# -- no module is too long ------------------------------------------------------------------------


def test_no_module_is_too_long() -> None:
    lengths = {str(m): len((SOURCE / m).read_text("utf-8").splitlines()) for m in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


# -- who may import whom --------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_the_import_contracts_can_fail(tmp_path) -> None:
    shutil.copytree(
        SOURCE, tmp_path / "src" / "wardgate", ignore=lambda folder, names: {
            n for n in names if not n.endswith(".py") and not (Path(folder) / n).is_dir()
        },
    )  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, line in {
        "auth/admit.py": "from wardgate.deid import spans",
        "flow.py": "from wardgate.web import problems",
        "engine/batch.py": "import time",
    }.items():
        path = tmp_path / "src" / "wardgate" / module
        path.write_text(path.read_text("utf-8") + f"\n{line}\n", "utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "2 broken" in done.stdout
    for chain in (
        "wardgate.auth.admit -> wardgate.deid.spans",
        "wardgate.flow -> wardgate.web.problems",
        "wardgate.engine.batch -> time",
    ):
        assert chain in done.stdout


# -- the reference is what the code says ----------------------------------------------------------


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check(generate, monkeypatch):
    """Run `docs/generate.py --check` over a folder."""

    def run(folder: Path, *arguments: str) -> int:
        monkeypatch.setattr(generate, "REFERENCE", folder)
        monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
        return generate.main()

    return run


def test_no_page_of_the_reference_is_stale() -> None:
    # in a process of its own: click keeps what the first context of a command says of its options
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_and_every_error_is_documented() -> None:
    reference = ROOT / "docs" / "reference"
    settings = (reference / "settings.md").read_text("utf-8")
    for name, info in Settings.model_fields.items():
        leaves = getattr(info.annotation, "model_fields", None)
        for variable in [name] if leaves is None else [f"{name}__{leaf}" for leaf in leaves]:
            assert f"| `WARDGATE_{variable.upper()}` |" in settings
    for leaf in Issuer.model_fields:
        assert f"| `{leaf}` |" in settings
    errors = (reference / "errors.md").read_text("utf-8")
    for error in tree():
        assert f"| `urn:wardgate:problem:{error.slug}` | {error.status} |" in errors
        assert error.sentence in errors


@pytest.mark.parametrize(
    ("page", "row"),
    [("errors.md", "problem:overloaded"), ("settings.md", "WARDGATE_LIMITS__BODY_BYTES")],
)
def test_a_page_that_misses_one_row_is_stale(check, capsys, tmp_path, page, row) -> None:
    assert check(tmp_path) == 0
    assert check(tmp_path, "--check") == 0
    path = tmp_path / page
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if row not in line), "utf-8")
    assert len(path.read_text("utf-8").splitlines()) == len(lines) - 1
    assert check(tmp_path, "--check") == 1
    assert page in capsys.readouterr().err


def test_a_page_that_is_missing_is_stale(check, capsys, tmp_path) -> None:
    check(tmp_path)
    (tmp_path / "metrics.md").unlink()
    assert check(tmp_path, "--check") == 1
    assert "metrics.md" in capsys.readouterr().err
