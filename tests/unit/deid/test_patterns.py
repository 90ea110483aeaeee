"""Every pattern of the gateway takes linear time."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import wardgate
from wardgate.web import routes

SOURCES = Path(wardgate.__file__).parent
SIZE = 32_768
RATIO = 2.3


def _adversarial():
    path = Path(__file__).parents[3] / "benchmarks" / "deid" / "adversarial.py"
    spec = importlib.util.spec_from_file_location("adversarial", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADVERSARIAL = _adversarial()


_ELSEWHERE = ("__main__", "triton_backend.model")
"""Modules that cannot be imported here: one would run, one has its imports inside Triton alone."""


def _modules() -> Iterator[object]:
    """Every module of the package but those."""
    yield wardgate
    for found in pkgutil.walk_packages(wardgate.__path__, "wardgate."):
        if not found.name.endswith(_ELSEWHERE):
            yield importlib.import_module(found.name)


def _patterns(  # noqa: C901 -- a table of the places where one may stand
    value: object, name: str, depth: int = 6
) -> Iterator[tuple[str, re.Pattern]]:
    """Compiled patterns in a value: itself, in containers, in classes, in partials and methods."""
    if isinstance(value, re.Pattern):
        yield name, value
    elif depth == 0 or isinstance(value, str | bytes | range):
        return
    elif isinstance(value, functools.partial):
        yield from _patterns([value.func, *value.args, value.keywords], name, depth - 1)
    elif isinstance(getattr(value, "__self__", None), re.Pattern):  # a bound method kept for speed
        yield name, value.__self__
    elif isinstance(value, type):
        if value.__module__.startswith("wardgate"):
            for key, inner in vars(value).items():
                yield from _patterns(inner, f"{name}.{key}", depth - 1)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _patterns(key, f"{name}[key]", depth - 1)
            yield from _patterns(inner, f"{name}[{str(key)[:20]}]", depth - 1)
    elif isinstance(value, tuple | list | set | frozenset):
        for at, inner in enumerate(value):
            yield from _patterns(inner, f"{name}[{at}]", depth - 1)


def _all(modules: Iterable[object]) -> dict[str, re.Pattern]:
    """Each pattern once, by the first name it has."""
    found: dict[re.Pattern, str] = {}
    for module in modules:
        for key, value in vars(module).items():
            for name, pattern in _patterns(value, f"{module.__name__}.{key}"):
                found.setdefault(pattern, name.removeprefix("wardgate."))
    return {name: pattern for pattern, name in found.items()}


PATTERNS = _all(_modules())
# The paths of routes become patterns at the start; here is one with each kind of parameter.
PATTERNS["web.routes._pattern"] = routes._pattern(
    "/".join(f"/{{{kind}}}" for kind in routes.SEGMENTS)
)
MADE_AT_THE_START = {
    "cli/files/forms.py",
    "deid/policyfile.py",
    "deid/site.py",
    "web/routes.py",
}
"""Modules that make patterns in functions: of our own declarations or what the site's files say, never
of a request. `site.py` takes a small language that cannot backtrack; its tests say so."""


def _seconds(pattern: re.Pattern, text: str, repeats: int) -> float:
    given = text if isinstance(pattern.pattern, str) else text.encode()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for _ in pattern.finditer(given):
            pass
        best = min(best, time.process_time() - start)
    return best


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of the functions of `re`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            yield node


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES))
)
def test_no_pattern_is_forgotten(path):
    """A pattern made inside a function, or used without a name, would escape the test below."""
    if str(path.relative_to(SOURCES)) in MADE_AT_THE_START:
        return
    tree = ast.parse(path.read_text("utf-8"))
    inside = {
        id(call)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for call in _calls(node)
    }
    known = {pattern.pattern for pattern in PATTERNS.values()}
    for call in _calls(tree):
        assert call.func.attr in {"compile", "escape"}, f"line {call.lineno}"
        if call.func.attr == "compile":
            assert id(call) not in inside, f"line {call.lineno}"
            if isinstance(call.args[0], ast.Constant):
                assert call.args[0].value in known, f"line {call.lineno}"


def test_the_walk_reaches_every_part():
    parts = ("deid.fold", "deid.checks", "deid.rules", "registry.manifest", "web.schemas")
    for part in parts:
        assert any(name.startswith(part) for name in PATTERNS), part


def test_patterns_are_found_wherever_they_stand():
    class Kept:
        inner = ({"a": [re.compile("1")]},)

    Kept.__module__ = "wardgate.kept"

    class Module:
        __name__ = "wardgate.here"
        found = (re.compile("2").fullmatch, Kept, functools.partial(print, re.compile("3")))

    names = _all([Module])
    assert {pattern.pattern for pattern in names.values()} == {"1", "2", "3"}


@pytest.mark.parametrize("name", PATTERNS)
def test_twice_the_input_takes_twice_the_time(name):
    pattern = PATTERNS[name]
    worst = max(
        ADVERSARIAL.PIECES,
        key=lambda piece: _seconds(pattern, ADVERSARIAL.of_size(piece, 4096), 1),
    )
    for piece in {worst, "caps_letters", "digits", "underscores", "zero_width_alone"}:
        once = ADVERSARIAL.of_size(piece, SIZE)
        twice = ADVERSARIAL.of_size(piece, 2 * SIZE)
        ratio = 0.0
        for attempt in range(8):
            ratio = _seconds(pattern, twice, 3 + attempt) / max(
                _seconds(pattern, once, 3 + attempt), 1e-6
            )
            if ratio <= RATIO:
                break
        assert ratio <= RATIO, (piece, ratio)


def test_a_quadratic_pattern_would_be_caught():
    quadratic = re.compile(r"A+B")
    once, twice = "A" * 2000, "A" * 4000
    ratios = (_seconds(quadratic, twice, 3) / _seconds(quadratic, once, 3) for _ in range(8))
    assert any(ratio > RATIO for ratio in ratios)
