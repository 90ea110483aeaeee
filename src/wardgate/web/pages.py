"""The OpenAPI document and its page, from packaged files: no CDN, no inline script."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from wardgate.types import Permission
from wardgate.web.middleware import Receive, Scope, Send, send_reply
from wardgate.web.routes import Endpoint

_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@dataclass(slots=True)
class Pages:
    """The routes `/openapi.json`, `/docs` and its files."""

    document: bytes = b""
    """The OpenAPI document; set once all routes are there."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        found = [
            self._page("/openapi.json", "openapi", "application/json"),
            self._page("/docs", "docs.html", "text/html; charset=utf-8"),
        ]
        found += [self._page(f"/docs/{name}", name, kind) for name, kind in _FILES.items()]
        return found

    def _page(self, path: str, name: str, kind: str) -> Endpoint:
        content = (
            None
            if name == "openapi"
            else resources.files("wardgate.web").joinpath("static", name).read_bytes()
        )

        async def page(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
            body = self.document if content is None else content
            headers = [
                (b"content-type", kind.encode()),
                (b"content-security-policy", _POLICY),
                (b"x-frame-options", b"DENY"),
            ]
            await send_reply(send, 200, headers, body)

        return Endpoint(
            method="GET",
            path=path,
            permission=Permission.PUBLIC,
            handler=page,
            tag="Documentation",
            summary="The OpenAPI document" if content is None else "The documentation page",
            description="Static; served from packaged files.",
            documented=False,
        )
