"""How a route is declared: path, permission, what it takes and gives, and every error it can give.

A declaration is the single source for dispatch, for the OpenAPI document and for the check that no
route stands without a permission: `add` refuses one, so a forgotten permission fails the build.
FastAPI holds the routes and writes the document; the handlers are ASGI callables of our own,
because FastAPI's would read and parse a body before the caller is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route."""

    method: str
    path: str
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
            name=f"{endpoint.method.lower()}{endpoint.path.replace('/', '_')}",
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
    """Find the handler by exact path; FastAPI's own matching walks and copies for every request."""

    def __init__(self, app: FastAPI) -> None:
        self._paths: dict[str, dict[str, FlowRoute]] = {}
        for route in app.router.routes:
            if not isinstance(route, FlowRoute):
                raise TypeError(f"{route} was not declared as an Endpoint with a permission")
            for method in route.methods or ():
                self._paths.setdefault(route.path, {})[method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to its route; raises NotFound or MethodNotAllowed."""
        methods = self._paths.get(scope["path"])
        if methods is None:
            raise NotFound
        call = scope["wardgate"]
        route = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if route is None:
            allowed = {*methods, "HEAD"} if "GET" in methods else methods
            call.headers.append((b"allow", ", ".join(sorted(allowed)).encode()))
            raise MethodNotAllowed
        call.route = route.path
        scope["route"] = route
        await route.app(scope, receive, send)


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
    found[200] = {"description": "Success", "content": content}
    return found


def _extra(endpoint: Endpoint) -> dict[str, Any]:
    extra: dict[str, Any] = {"x-permission": endpoint.permission.value}
    if endpoint.permission is not Permission.PUBLIC:
        extra["security"] = [{"bearer": []}]
    if endpoint.body is not None:
        media: dict[str, Any] = {
            "schema": {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        }
        if endpoint.body_example is not None:
            media["example"] = endpoint.body_example
        extra["requestBody"] = {"required": True, "content": {endpoint.body_media_type: media}}
    return extra
