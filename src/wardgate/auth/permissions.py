"""The grammar of scopes, and which route a principal may use at all; what is not granted is denied.

infer:<model>     run a text model
tensor:<model>    run a model on tensors
deid              the same as deid:safe_harbor
deid:<policy>     de-identify with this policy
reidentify        turn vault codes back
models:read, models:write, audit:read
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from wardgate.errors import Forbidden
from wardgate.types import Permission, Principal

SAFE_HARBOR = "safe_harbor"
"""The policy that plain `deid` stands for, the strongest there is."""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""Name of a model or a policy."""

_PLAIN = frozenset({"reidentify", "models:read", "models:write", "audit:read"})
_NAMED = frozenset({"infer", "tensor", "deid"})


def is_scope(scope: str) -> bool:
    """Whether `scope` is one that Wardgate knows."""
    if scope in _PLAIN or scope == "deid":
        return True
    kind, _, name = scope.partition(":")
    return kind in _NAMED and NAME.fullmatch(name) is not None


def known(scopes: Iterable[str]) -> frozenset[str]:
    """Keep the scopes that Wardgate knows; a token may carry others, meant for other services."""
    return frozenset(scope for scope in scopes if is_scope(scope))


def may_infer(principal: Principal, model: str) -> bool:
    """Whether the principal may run this text model."""
    return f"infer:{model}" in principal.scopes


def may_see(principal: Principal, model: str) -> bool:
    """Whether the principal may read what this model says of itself."""
    return (
        may_infer(principal, model)
        or may_tensor(principal, model)
        or Permission.MODELS_READ.value in principal.scopes
    )


def may_tensor(principal: Principal, model: str) -> bool:
    """Whether the principal may run this model on tensors."""
    return f"tensor:{model}" in principal.scopes


def may_deidentify(principal: Principal, policy: str) -> bool:
    """Whether the principal holds the scope of this policy."""
    return f"deid:{policy}" in principal.scopes or (
        policy == SAFE_HARBOR and "deid" in principal.scopes
    )


def permit(principal: Principal, permission: Permission) -> None:
    """Decide whether a principal may use a route at all, from the request line and headers alone.

    Raises Forbidden where no scope grants it; model and policy are decided later, in `authorize`.
    """
    match permission:
        case Permission.PUBLIC:
            return
        case Permission.INFER:
            held = _any(principal, "infer:")
        case Permission.DEID:
            held = "deid" in principal.scopes or _any(principal, "deid:")
        case Permission.RUN | Permission.METADATA:
            held = _any(principal, "infer:", "tensor:") or (
                permission is Permission.METADATA
                and Permission.MODELS_READ.value in principal.scopes
            )
        case (
            Permission.MODELS_READ
            | Permission.MODELS_WRITE
            | Permission.AUDIT_READ
            | Permission.REIDENTIFY
        ):
            held = permission.value in principal.scopes
        case _:
            assert_never(permission)
    if not held:
        raise Forbidden(reason="scope-route")


def _any(principal: Principal, *kinds: str) -> bool:
    """Whether a scope of one of these kinds is held, whatever it names."""
    for scope in principal.scopes:  # noqa: SIM110 -- a generator costs more than the loop
        if scope.startswith(kinds):
            return True
    return False
