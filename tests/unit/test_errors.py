"""The tree of errors: one slug, one status, one title, one sentence of our own each."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from wardgate import errors
from wardgate.errors import Forbidden, Overloaded, WardgateError, tree

SOURCE = Path(errors.__file__).parent


@pytest.mark.parametrize("error", tree(), ids=lambda cls: cls.__name__)
def test_every_error_is_declared_whole(error) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", error.slug)
    assert 400 <= error.status <= 599
    assert error.title
    assert error.sentence.endswith(".")
    assert error.__doc__
    made = error()
    assert str(made) == made.detail == error.sentence
    assert made.reason == error.slug
    assert made.retry_after is None


@pytest.mark.parametrize("error", tree()[1:], ids=lambda cls: cls.__name__)
def test_no_error_takes_slug_or_title_from_its_parent(error) -> None:
    for member in ("slug", "status", "title"):
        assert member in vars(error)


def test_slugs_and_titles_are_unique() -> None:
    assert len({error.slug for error in tree()}) == len(tree())
    assert len({error.title for error in tree()}) == len(tree())


def test_the_tree_holds_every_class_of_the_module_root_first() -> None:
    classes = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if each.__module__ == errors.__name__
    ]
    assert set(tree()) == set(classes)
    assert tree()[0] is WardgateError


def test_a_detail_of_its_own_replaces_the_sentence_and_the_reason_stays_inside() -> None:
    error = Forbidden("Ask for the scope.", reason="scope-model")
    assert str(error) == error.detail == "Ask for the scope."
    assert error.reason == "scope-model"
    assert error.slug == "scope-insufficient"


def test_retry_after_is_kept() -> None:
    assert Overloaded(retry_after=2.5).retry_after == 2.5


def test_every_error_is_raised_somewhere() -> None:
    """An error that nothing gives would be documented and untrue."""
    used: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if path.name == "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                used |= {n.id for n in ast.walk(node.exc) if isinstance(n, ast.Name)}
            elif isinstance(node, ast.Call):
                names = [node.func, *node.args]
                used |= {n.id for n in names if isinstance(n, ast.Name)}
    unused = {error.__name__ for error in tree()} - used
    assert not unused
