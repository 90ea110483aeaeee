"""Every way a request can be refused: one class, one slug, one status, one title.

The class is the single source for the HTTP reply (RFC 9457), the OpenAPI entry and the page
`docs/reference/errors.md`. A `detail` is a sentence of our own: it never holds input text, tensor
values, a stack or an upstream body. `reason` is a stable code for the audit record and the metrics;
callers see the slug alone, so that a refusal teaches an attacker nothing.
"""

from __future__ import annotations

from typing import ClassVar


class WardgateError(Exception):
    """A refusal with a stable slug, an HTTP status and a title; the root of the tree.

    `detail` overrides the class's own sentence. `reason` goes to audit and metrics only.
    `retry_after` is in seconds and becomes the `Retry-After` header.
    """

    slug: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    sentence: ClassVar[str] = "The gateway failed to handle the request. Nothing was returned."

    def __init__(
        self,
        detail: str | None = None,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep our own sentence, the audit's reason and when to come back."""
        self.detail = detail or self.sentence
        self.reason = reason or self.slug
        self.retry_after = retry_after
        super().__init__(self.detail)


# -- who is calling -------------------------------------------------------------------------------


class TokenMissing(WardgateError):
    """No bearer token came with the request (RFC 6750 §3.1)."""

    slug, status, title = "token-missing", 401, "Bearer token missing"
    sentence = "Send an access token as 'Authorization: Bearer <token>'."


class TokenInvalid(WardgateError):
    """The token is malformed, wrongly signed, expired, or not for this gateway."""

    slug, status, title = "token-invalid", 401, "Bearer token not accepted"
    sentence = "The access token is malformed, expired, wrongly signed or not for this gateway."


class ClientInvalid(WardgateError):
    """The token endpoint did not recognise the client (RFC 6749 §5.2 `invalid_client`)."""

    slug, status, title = "client-invalid", 401, "Client not recognised"
    sentence = "The client id and secret were not accepted."


class GrantInvalid(WardgateError):
    """The token endpoint was asked for a grant or a scope it does not give (RFC 6749 §5.2)."""

    slug, status, title = "grant-invalid", 400, "Grant not supported"
    sentence = "Use grant_type=client_credentials with a scope that this client may have."


# -- what they may do -----------------------------------------------------------------------------


class Forbidden(WardgateError):
    """The principal is known but holds no permission for this."""

    slug, status, title = "scope-insufficient", 403, "Permission missing"
    sentence = "The access token holds no scope for this route, model or policy."


class ProxyRefused(WardgateError):
    """The development issuer is on and the request came through a proxy."""

    slug, status, title = "proxy-refused", 403, "Not through a proxy"
    sentence = "The development issuer answers direct loopback callers alone; configure an issuer."


class PeerRefused(WardgateError):
    """The connection does not come from the trusted proxy that the settings name."""

    slug, status, title = "peer-refused", 403, "Not through the proxy"
    sentence = "This gateway answers callers behind its trusted proxy alone."


class NotFound(WardgateError):
    """There is no such route, or none that this caller may know of."""

    slug, status, title = "not-found", 404, "Not found"
    sentence = "There is nothing at this address."


class ModelUnknown(WardgateError):
    """No model of this name is served."""

    slug, status, title = "model-unknown", 404, "Model not served"
    sentence = "No model of this name is served here."


class PolicyUnknown(WardgateError):
    """No de-identification policy of this name exists."""

    slug, status, title = "policy-unknown", 404, "Policy not found"
    sentence = "No de-identification policy of this name exists here."


class CodeUnknown(WardgateError):
    """A vault code is unknown, expired, another tenant's or destroyed: all the same to a caller."""

    slug, status, title = "code-unknown", 404, "Code not found"
    sentence = "At least one of the codes stands for nothing here, so nothing was released."


class MethodNotAllowed(WardgateError):
    """The route exists but not with this method."""

    slug, status, title = "method-not-allowed", 405, "Method not allowed"
    sentence = "This route does not take this method; the Allow header lists those it takes."


class ChangeRefused(WardgateError):
    """The model cannot be changed in this way from where it stands."""

    slug, status, title = "change-refused", 409, "Change refused"
    sentence = "The model cannot be changed in this way from where it stands."


# -- how much, how often --------------------------------------------------------------------------


class RateLimited(WardgateError):
    """The principal sends faster than its rate."""

    slug, status, title = "rate-limited", 429, "Too many requests"
    sentence = "This caller sends faster than its rate; wait as long as Retry-After says."


class QuotaUsedUp(WardgateError):
    """The principal has used up its quota for the day."""

    slug, status, title = "quota-used-up", 429, "Quota used up"
    sentence = "This caller's quota for the day is used up; Retry-After says when it is renewed."


class TooManyInFlight(WardgateError):
    """The principal has as many requests in flight as it may."""

    slug, status, title = "too-many-in-flight", 429, "Too many requests in flight"
    sentence = "This caller has as many requests in flight as it may have."


class Overloaded(WardgateError):
    """A bounded queue is full; the gateway refuses at once rather than let callers wait."""

    slug, status, title = "overloaded", 503, "Gateway overloaded"
    sentence = "The gateway is at capacity; wait as long as Retry-After says."


class WorkerLost(WardgateError):
    """The process that served a request died; the supervisor answers in its place."""

    slug, status, title = "worker-lost", 503, "Gateway process lost"
    sentence = "The process that served this request ended before it answered; send it again."


# -- what was sent --------------------------------------------------------------------------------


class RequestMalformed(WardgateError):
    """The bytes on the wire are not an HTTP request."""

    slug, status, title = "request-malformed", 400, "Request malformed"
    sentence = "The bytes received are not a well-formed HTTP request."


class BodyIncomplete(WardgateError):
    """The caller closed or broke the body before its end."""

    slug, status, title = "body-incomplete", 400, "Body incomplete"
    sentence = "The request body ended before its declared length."


class BodyNotUtf8(WardgateError):
    """The body is not UTF-8 (RFC 8259 §8.1)."""

    slug, status, title = "body-not-utf8", 400, "Body is not UTF-8"
    sentence = "The request body must be JSON encoded as UTF-8."


class BodyNotJson(WardgateError):
    """The body is not JSON."""

    slug, status, title = "body-not-json", 400, "Body is not JSON"
    sentence = "The request body must be one JSON object."


class BodyTooDeep(WardgateError):
    """The body nests deeper than the limit."""

    slug, status, title = "body-too-deep", 400, "Body nests too deep"
    sentence = "The request body nests arrays or objects deeper than the limit."


class HeadersTimeout(WardgateError):
    """The request line and headers did not arrive within their deadline (RFC 9110 §15.5.9)."""

    slug, status, title = "headers-timeout", 408, "Headers arrived too slowly"
    sentence = "The request line and headers did not arrive within the time allowed."


class BodyTimeout(WardgateError):
    """The body did not arrive within its deadline."""

    slug, status, title = "body-timeout", 408, "Body arrived too slowly"
    sentence = "The request body did not arrive within the time allowed."


class BodyTooLarge(WardgateError):
    """The body is larger than the limit."""

    slug, status, title = "body-too-large", 413, "Body too large"
    sentence = "The request body is larger than the limit."


class TextTooLong(WardgateError):
    """The text has more characters than the limit."""

    slug, status, title = "text-too-long", 413, "Text too long"
    sentence = "The text has more characters than the limit."


class ContentTypeUnsupported(WardgateError):
    """The body is not sent as the content type that the route takes, or it is compressed."""

    slug, status, title = "content-type-unsupported", 415, "Content type not supported"
    sentence = "Send the body as application/json, without a content encoding."


class BodyInvalid(WardgateError):
    """The JSON does not have the fields that the route takes; no input is echoed."""

    slug, status, title = "body-invalid", 422, "Body does not match the schema"
    sentence = "The request body does not have the fields that this route takes."


class NoteExceedsModel(WardgateError):
    """The note is longer than the model and its manifest has no rule to join windows."""

    slug, status, title = "note-exceeds-model", 422, "Note too long for the model"
    sentence = "The note is longer than this model takes, and the model has no rule for windows."


class HeadersTooLarge(WardgateError):
    """The request line and headers together are larger than the limit."""

    slug, status, title = "headers-too-large", 431, "Headers too large"
    sentence = "The request line and headers are larger than the limit."


# -- what failed behind the door ------------------------------------------------------------------


class ModelOutputInvalid(WardgateError):
    """The model gave NaN, infinity or a wrong shape; such a result never leaves."""

    slug, status, title = "model-output-invalid", 500, "Model gave no valid result"
    sentence = "The model's output was not finite or not of its declared shape; it was discarded."


class DetectorFailed(WardgateError):
    """A fault in the PHI detector refuses the request; text is never passed through."""

    slug, status, title = "detector-failed", 503, "De-identification unavailable"
    sentence = "The text could not be de-identified, so nothing was done with it."


class SecondLookFailed(DetectorFailed):
    """De-identified text still held an identifier, so it never left; another try ends the same."""

    slug, status, title = "second-look", 500, "De-identification incomplete"
    sentence = "A second look found an identifier in the de-identified text, so it was discarded."


class VaultUnavailable(WardgateError):
    """The vault takes no write or cannot be read, so no code is given or released."""

    slug, status, title = "vault-unavailable", 503, "Vault unavailable"
    sentence = "The vault of codes cannot be used at the moment, so the request was not answered."


class EngineUnavailable(WardgateError):
    """The inference engine is not there or gave up; another try may succeed."""

    slug, status, title = "engine-unavailable", 503, "Inference engine unavailable"
    sentence = "The inference engine is not available at the moment."


class AuditUnavailable(WardgateError):
    """The audit sink takes no write, so no request is answered."""

    slug, status, title = "audit-unavailable", 503, "Audit record unavailable"
    sentence = "The audit record cannot be written, so the request was not answered."


class KeysUnavailable(WardgateError):
    """The issuer's keys cannot be had, so no token can be checked."""

    slug, status, title = "keys-unavailable", 503, "Signing keys unavailable"
    sentence = "The token issuer's keys are not available, so no caller can be checked."


class NotReady(WardgateError):
    """The gateway is not ready to take traffic (`/readyz`)."""

    slug, status, title = "not-ready", 503, "Not ready"
    sentence = "The gateway is not ready; the checks say which part is missing."


class DeadlineExceeded(WardgateError):
    """The caller's own deadline passed before a result was there."""

    slug, status, title = "deadline-exceeded", 504, "Deadline passed"
    sentence = "The deadline given with the request passed before the result was ready."


# -- faults that stop a start or a command, never part of a reply ---------------------------------


class SettingsInvalid(WardgateError):
    """A setting is missing, unknown or out of range; the process does not start."""

    slug, status, title = "settings-invalid", 500, "Settings invalid"


class ManifestInvalid(WardgateError):
    """A model's manifest or one of its files is not what was declared; the model is not loaded."""

    slug, status, title = "manifest-invalid", 500, "Model manifest invalid"


class ModelUntrusted(ManifestInvalid):
    """No key that the settings trust has signed the model's manifest; the model is not loaded."""

    slug, status, title = "model-untrusted", 500, "Model not trusted"


class RegistryUnavailable(WardgateError):
    """The place where models lie cannot be read, or what was fetched cannot be kept."""

    slug, status, title = "registry-unavailable", 503, "Registry unavailable"


class ControlUnavailable(WardgateError):
    """The control store takes no write, so nothing is changed."""

    slug, status, title = "control-unavailable", 503, "Control store unavailable"
    sentence = "The control store cannot be used at the moment, so nothing was changed."


class StateInvalid(WardgateError):
    """The state folder is locked, unreadable, or open to others."""

    slug, status, title = "state-invalid", 500, "State folder unusable"


def tree() -> tuple[type[WardgateError], ...]:
    """Return every error class, the root first, in the order of this file."""
    found: list[type[WardgateError]] = []
    pending: list[type[WardgateError]] = [WardgateError]
    while pending:
        cls = pending.pop(0)
        found.append(cls)
        pending.extend(cls.__subclasses__())
    return tuple(found)
