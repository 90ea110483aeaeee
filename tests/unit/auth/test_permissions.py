from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.auth import permissions
from wardgate.errors import Forbidden
from wardgate.types import Permission

GOOD = [
    "infer:sentiment", "infer:a", "tensor:ner-2", "deid", "deid:safe_harbor",
    "deid:limited_data_set", "reidentify", "models:read", "models:write", "audit:read",
]  # fmt: skip
BAD = [
    "", "infer", "infer:", "infer:*", "infer:A", "infer:a:b", "infer:a b", "infer:.a", "infer:../a",
    "tensor", "deid:", "deid:*", "Deid", "DEID", "reidentify:x", "models", "models:*", "models:delete",
    "audit:write", "openid", "admin", "*", ":", "infer:é", "infer:a\n", "deid\n", "public",
]  # fmt: skip


@pytest.mark.parametrize("scope", GOOD)
def test_the_grammar_takes(scope: str) -> None:
    assert permissions.is_scope(scope)


@pytest.mark.parametrize("scope", BAD)
def test_the_grammar_refuses(scope: str) -> None:
    assert not permissions.is_scope(scope)


def test_only_known_scopes_are_kept() -> None:
    assert permissions.known([*GOOD, *BAD]) == frozenset(GOOD)


GRANTS = {
    Permission.INFER: {"infer:sentiment"},
    Permission.DEID: {"deid", "deid:safe_harbor", "deid:limited_data_set"},
    Permission.RUN: {"infer:sentiment", "tensor:ner-2"},
    Permission.METADATA: {"infer:sentiment", "tensor:ner-2", "models:read"},
    Permission.MODELS_READ: {"models:read"},
    Permission.MODELS_WRITE: {"models:write"},
    Permission.AUDIT_READ: {"audit:read"},
    Permission.REIDENTIFY: {"reidentify"},
}


def test_every_permission_is_in_the_table() -> None:
    assert set(GRANTS) | {Permission.PUBLIC} == set(Permission)


@pytest.mark.parametrize("permission", GRANTS)
@pytest.mark.parametrize("scope", ["infer:sentiment", *GOOD[2:]])
def test_a_route_opens_to_its_own_scopes_alone(make_principal, permission, scope) -> None:
    if scope in GRANTS[permission]:
        permissions.permit(make_principal(scope), permission)
    else:
        with pytest.raises(Forbidden):
            permissions.permit(make_principal(scope), permission)


@pytest.mark.parametrize("permission", GRANTS)
def test_nothing_is_granted_without_a_scope(make_principal, permission) -> None:
    with pytest.raises(Forbidden) as caught:
        permissions.permit(make_principal(), permission)
    assert caught.value.reason == "scope-route"


def test_public_routes_ask_for_nothing(make_principal) -> None:
    permissions.permit(make_principal(), Permission.PUBLIC)


@given(st.text(max_size=20))
def test_no_other_scope_opens_a_route(make_principal, scope: str) -> None:
    if permissions.is_scope(scope):
        return
    principal = make_principal(*permissions.known([scope]))
    for permission in GRANTS:
        with pytest.raises(Forbidden):
            permissions.permit(principal, permission)


def test_plain_deid_is_safe_harbor_and_no_other(make_principal) -> None:
    assert permissions.may_deidentify(make_principal("deid"), "safe_harbor")
    assert permissions.may_deidentify(make_principal("deid:safe_harbor"), "safe_harbor")
    assert not permissions.may_deidentify(make_principal("deid"), "limited_data_set")
    assert not permissions.may_deidentify(make_principal("deid:limited_data_set"), "safe_harbor")


def test_a_model_needs_its_own_scope(make_principal) -> None:
    assert permissions.may_infer(make_principal("infer:sentiment"), "sentiment")
    assert not permissions.may_infer(make_principal("infer:sentiment"), "sentiment2")
    assert not permissions.may_infer(make_principal("tensor:sentiment"), "sentiment")


def test_a_model_is_seen_by_its_callers_and_by_readers(make_principal) -> None:
    assert permissions.may_see(make_principal("infer:sentiment"), "sentiment")
    assert permissions.may_see(make_principal("models:read"), "sentiment")
    assert permissions.may_see(make_principal("tensor:sentiment"), "sentiment")
    assert not permissions.may_see(make_principal("infer:other", "models:write"), "sentiment")
