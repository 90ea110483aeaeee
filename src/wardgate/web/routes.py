"""How a route is declared: path, permission, what it takes and gives, and every error it can give.

A declaration is the single source for dispatch, for the OpenAPI document and for the check that no
route stands without a permission: `add` refuses one, so a forgotten permission fails the build.
FastAPI holds the routes and writes the document; the handlers are ASGI callables of our own,
because FastAPI's would read and parse a body before the caller is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from wardgate.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RequestMalformed,
    WardgateError,
)
from wardgate.types import Permission
from wardgate.web.middleware import App, Receive, Scope, Send
from wardgate.web.problems import responses

ANY_ROUTE: tuple[type[WardgateError], ...] = (
    WardgateError,
    RequestMalformed,
    HeadersTimeout,
    HeadersTooLarge,
    Overloaded,
)
"""Errors that the server itself can answer with, on every route."""

SEGMENTS = {
    "model": r"[a-z0-9][a-z0-9_-]{0,63}",
    "version": r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}",
}
"""What stands for a parameter of a path: a name or version that `registry/manifest.py` allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route."""

    method: str
    path: str
    """Exact, or with whole segments as parameters: `/v2/models/{model}`; see `SEGMENTS`."""
    permission: Permission
    handler: App
    tag: str
    """Heading under which the document lists it."""
    summary: str
    description: str
    errors: Sequence[type[WardgateError]] = ()
    body: type[BaseModel] | None = None
    body_example: dict[str, Any] | None = None
    body_media_type: str = "application/json"
    reply: type[BaseModel] | None = None
    reply_example: Any = None
    reply_media_type: str = "application/json"
    status: int = 200
    """Status of a reply that is no error."""
    documented: bool = True


class FlowRoute(APIRoute):
    """A FastAPI route that carries its permission and hands the request to its own handler."""

    permission: Permission

    @classmethod
    def of(cls, endpoint: Endpoint) -> FlowRoute:
        """Build the route of a declaration."""

        async def documented() -> None:
            """Stand for the handler in FastAPI's signature analysis; it is never called."""

        route = cls(
            endpoint.path,
            documented,
            methods=[endpoint.method],
            tags=[endpoint.tag],
            summary=endpoint.summary,
            description=endpoint.description,
            name=re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}"),
            status_code=endpoint.status,
            responses=_responses(endpoint),
            openapi_extra=_extra(endpoint),
            include_in_schema=endpoint.documented,
        )
        route.permission = endpoint.permission
        route.app = endpoint.handler
        return route


def add(app: FastAPI, endpoints: Iterable[Endpoint]) -> None:
    """Add the declared routes to the application.

    Raises TypeError for a route without a permission.
    """
    for endpoint in endpoints:
        if not isinstance(endpoint.permission, Permission):
            raise TypeError(f"{endpoint.method} {endpoint.path} declares no permission")
        app.router.routes.append(FlowRoute.of(endpoint))


class Dispatch:
    """Find the handler by path; FastAPI's own matching walks and copies for every request.

    A path has one spelling: what is percent-encoded, or differs in a dot, slash or case, is another
    path. A proxy in front that decides by path and the gateway see the same route therefore.
    """

    def __init__(
        self, app: FastAPI, *, refused: Callable[[str, WardgateError, str | None], None]
    ) -> None:
        """Take the routes; `refused` is told of each call that finds none, and by which address."""
        self._refused = refused
        self._paths: dict[str, dict[str, FlowRoute]] = {}
        self._templates: list[tuple[re.Pattern[str], str]] = []
        for route in app.router.routes:
            if not isinstance(route, FlowRoute):
                raise TypeError(f"{route} was not declared as an Endpoint with a permission")
            if "{" in route.path and route.path not in self._paths:
                self._templates.append((_pattern(route.path), route.path))
            for method in route.methods or ():
                self._paths.setdefault(route.path, {})[method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to its route; raises NotFound or MethodNotAllowed."""
        methods = self._find(scope)
        if methods is None:
            raise self._refusal(scope, NotFound())
        call = scope["wardgate"]
        route = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if route is None:
            allowed = {*methods, "HEAD"} if "GET" in methods else methods
            call.headers.append((b"allow", ", ".join(sorted(allowed)).encode()))
            raise self._refusal(scope, MethodNotAllowed())
        call.route = route.path
        scope["route"] = route
        await route.app(scope, receive, send)

    def _find(self, scope: Scope) -> dict[str, FlowRoute] | None:
        """Return the routes of a path by method, and leave its parameters in the scope."""
        path: str = scope["path"]
        if b"%" in scope.get("raw_path", b"") or "{" in path:
            return None
        methods = self._paths.get(path)
        if methods is None:
            for pattern, template in self._templates:
                if found := pattern.fullmatch(path):
                    scope["path_params"] = found.groupdict()
                    return self._paths[template]
        return methods

    def _refusal(self, scope: Scope, error: WardgateError) -> WardgateError:
        """Tell of a refusal; the route is named by the word of a call that has none."""
        client = scope.get("client")
        self._refused(scope["wardgate"].route, error, client[0] if client else None)
        return error


def _pattern(template: str) -> re.Pattern[str]:
    """Return what a path with parameters matches."""
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(
            f"(?P<{part}>{SEGMENTS[part]})" if place % 2 else re.escape(part)
            for place, part in enumerate(parts)
        ),
        re.ASCII,
    )


def _responses(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    found = responses({*endpoint.errors, *ANY_ROUTE})
    content: dict[str, Any] = {}
    if endpoint.reply is not None or endpoint.reply_example is not None:
        content = {endpoint.reply_media_type: {}}
        if endpoint.reply is not None:
            content[endpoint.reply_media_type]["schema"] = {
                "$ref": f"#/components/schemas/{endpoint.reply.__name__}"
            }
        if endpoint.reply_example is not None:
            content[endpoint.reply_media_type]["example"] = endpoint.reply_example
    found[endpoint.status] = {"description": "Success", "content": content}
    return found


def _extra(endpoint: Endpoint) -> dict[str, Any]:
    extra: dict[str, Any] = {"x-permission": endpoint.permission.value}
    if endpoint.permission is not Permission.PUBLIC:
        extra["security"] = [{"bearer": []}]
    names = re.findall(r"\{(\w+)\}", endpoint.path)
    if names:
        extra["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": f"^{SEGMENTS[name]}$"},
            }
            for name in names
        ]
    if endpoint.body is not None:
        media: dict[str, Any] = {
            "schema": {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        }
        if endpoint.body_example is not None:
            media["example"] = endpoint.body_example
        extra["requestBody"] = {"required": True, "content": {endpoint.body_media_type: media}}
    return extra
