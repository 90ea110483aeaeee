"""The development issuer's routes: `/oauth2/token` and `/.well-known/jwks.json`.

The client proves itself in the header (`client_secret_basic`, RFC 6749 §2.3.1), so that here too
nothing of a body is read before the caller is known. The issuer exists only on loopback and refuses
what comes through a proxy: behind one, everybody would look local.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

import orjson

from wardgate.auth import encoding
from wardgate.auth.claims import DEFAULT_TENANT
from wardgate.auth.issuer import CLIENT, ISSUER, DevelopmentIssuer
from wardgate.errors import (
    AuditUnavailable,
    BodyIncomplete,
    BodyTimeout,
    BodyTooLarge,
    ClientInvalid,
    ContentTypeUnsupported,
    GrantInvalid,
    Overloaded,
    ProxyRefused,
    WardgateError,
)
from wardgate.flow import Flow, Head
from wardgate.types import Intent, Outcome, Permission, Principal
from wardgate.web.body import check_headers, read
from wardgate.web.middleware import Call, Receive, Scope, Send, is_proxied, send_reply
from wardgate.web.problems import problem
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import JwksReply, TokenBody, TokenReply

_FORM = b"application/x-www-form-urlencoded"
_BODY_BYTES = 4_096
_JSON = (b"content-type", b"application/json")
_RFC6749 = {
    "client-invalid": "invalid_client",
    "grant-invalid": "invalid_request",
    "grant-type": "unsupported_grant_type",
    "scope-unknown": "invalid_scope",
}
"""Codes of RFC 6749 §5.2 by an error's reason."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """The two routes."""

    issuer: DevelopmentIssuer
    flow: Flow
    body_seconds: float
    digest: Callable[[bytes], str]
    """Keyed digest of a body for the audit record, hex."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        return [
            Endpoint(
                method="POST",
                path="/oauth2/token",
                permission=Permission.PUBLIC,
                handler=self.token,
                tag="Development issuer",
                summary="Get an access token (development issuer)",
                description=(
                    "Client credentials grant (RFC 6749 §4.4). Id and secret in an `Authorization: "
                    "Basic` header. On loopback alone; a production gateway names its own issuers."
                ),
                errors=(
                    ClientInvalid,
                    GrantInvalid,
                    ProxyRefused,
                    BodyIncomplete,
                    BodyTimeout,
                    BodyTooLarge,
                    ContentTypeUnsupported,
                    AuditUnavailable,
                    Overloaded,
                ),
                body=TokenBody,
                body_media_type=_FORM.decode(),
                body_example={"grant_type": "client_credentials", "scope": "infer:sentiment deid"},
                reply=TokenReply,
                reply_example={
                    "access_token": "eyJhbGciOi...",
                    "token_type": "Bearer",
                    "expires_in": 3600,
                    "scope": "infer:sentiment deid",
                },
            ),
            Endpoint(
                method="GET",
                path="/.well-known/jwks.json",
                permission=Permission.PUBLIC,
                handler=self.jwks,
                tag="Development issuer",
                summary="Public keys of the development issuer",
                description="A JSON Web Key Set (RFC 7517 §5).",
                errors=(ProxyRefused,),
                reply=JwksReply,
                reply_example={
                    "keys": [
                        {
                            "kty": "EC",
                            "crv": "P-256",
                            "alg": "ES256",
                            "use": "sig",
                            "kid": "dev-1",
                            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                        }
                    ]
                },
            ),
        ]

    async def token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /oauth2/token`."""
        call: Call = scope["wardgate"]
        try:
            if is_proxied(scope["headers"]):
                raise ProxyRefused
            client_id, secret = _basic(scope)
            self.issuer.check_client(client_id, secret)
            check_headers(scope, media_type=_FORM, limit=_BODY_BYTES)
            raw = await read(receive, limit=_BODY_BYTES, seconds=self.body_seconds)
            granted = self.issuer.grant(_form(raw), now=time.time())
            await self._record(call, raw, str(granted["access_token"]))
        except WardgateError as error:
            client = scope.get("client")
            head = Head(
                request_id=call.request_id,
                trace_id=call.trace_id,
                route=call.route,
                permission=Permission.PUBLIC,
                authorization=(),
                peer=client[0] if client else None,
                proxied=is_proxied(scope["headers"]),
            )
            self.flow.refuse(head, error, None)
            code = _RFC6749.get(error.reason)
            if code is None:
                raise
            status, headers, body = problem(
                error, request_id=call.request_id, extra={"error": code}
            )
            await send_reply(send, status, headers, body)
            return
        await send_reply(send, 200, [_JSON], orjson.dumps(granted))

    async def _record(self, call: Call, raw: bytes, token: str) -> None:
        """Make the grant durable before the token leaves. Raises AuditUnavailable or Overloaded."""
        claims = encoding.load_object(encoding.decode(token.split(".")[1].encode()))
        client = Principal(
            issuer=ISSUER,
            subject=CLIENT,
            client=CLIENT,
            tenant=DEFAULT_TENANT,
            scopes=frozenset(claims["scope"].split()),
            token_id=claims["jti"],
            expires_at=claims["exp"],
        )
        recorder = self.flow.recorder
        intent = recorder.intent(
            Intent(
                request_id=call.request_id,
                trace_id=call.trace_id,
                principal=client,
                route=call.route,
                purpose=None,
                policy="none",
                policy_hash="",
                model=None,
                patient_pseudonym=None,
                body_digest=self.digest(raw),
            )
        )
        await recorder.outcome(
            Outcome(call.request_id, client.tenant, 200, "token-granted", hops_us={}), intent
        )

    async def jwks(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /.well-known/jwks.json`."""
        if is_proxied(scope["headers"]):
            error, client = ProxyRefused(), scope.get("client")
            self.flow.turn_away(scope["wardgate"].route, error, client[0] if client else None)
            raise error
        await send_reply(send, 200, [_JSON], orjson.dumps(self.issuer.jwks()))


def _basic(scope: Scope) -> tuple[str, str]:
    """Return client id and secret from the one `Authorization: Basic` header (RFC 7617 §2)."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1 or values[0][:6].lower() != b"basic ":
        raise ClientInvalid("Send client id and secret in one 'Authorization: Basic' header.")
    try:
        pair = base64.b64decode(values[0][6:].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ClientInvalid from None
    client_id, colon, secret = pair.partition(":")
    if not colon:
        raise ClientInvalid
    return unquote_plus(client_id), unquote_plus(secret)


def _form(raw: bytes) -> dict[str, str]:
    """Return the fields of a form; a repeated field is refused (RFC 6749 §3.2)."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), strict_parsing=bool(raw), max_num_fields=8)
    except (ValueError, UnicodeDecodeError):
        raise GrantInvalid("The body must be form fields, each once.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise GrantInvalid("A form field stands twice.")
    return found
