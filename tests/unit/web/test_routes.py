"""A route is declared with its permission or not at all; dispatch is by exact path and method."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from wardgate.errors import (
    DeadlineExceeded,
    HeadersTimeout,
    HeadersTooLarge,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RequestMalformed,
    TokenMissing,
    WardgateError,
)
from wardgate.telemetry import Hops
from wardgate.types import Permission
from wardgate.web.middleware import Call
from wardgate.web.routes import ANY_ROUTE, Dispatch, Endpoint, add


class Body(BaseModel):
    text: str


async def handler(scope, receive, send) -> None:
    scope["answered"] = True


ENDPOINT = Endpoint(
    method="POST",
    path="/v1/thing",
    permission=Permission.INFER,
    handler=handler,
    tag="Tests",
    summary="A thing",
    description="Does it.",
    errors=(TokenMissing, DeadlineExceeded),
    body=Body,
    body_example={"text": "a"},
    reply=Body,
    reply_example={"text": "b"},
)


def api(*endpoints: Endpoint) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add(app, endpoints)
    return app


@pytest.mark.parametrize("permission", [None, "infer", "", True])
def test_a_route_without_a_permission_fails_the_build(permission) -> None:
    with pytest.raises(TypeError, match="POST /v1/thing declares no permission"):
        api(dataclasses.replace(ENDPOINT, permission=permission))


def test_a_permission_cannot_be_left_out() -> None:
    given = {f.name: getattr(ENDPOINT, f.name) for f in dataclasses.fields(Endpoint)}
    del given["permission"]
    with pytest.raises(TypeError, match="permission"):
        Endpoint(**given)


def test_a_route_that_was_added_in_another_way_fails_the_build() -> None:
    app = api(ENDPOINT)
    app.get("/backdoor")(lambda: None)
    with pytest.raises(TypeError, match="backdoor"):
        Dispatch(app, refused=untold)


def call() -> Call:
    return Call("id", "trace", "span", "00", Hops())


async def answered(app: FastAPI, method: str, path: str) -> dict[str, object]:
    scope = {"path": path, "method": method, "headers": [], "wardgate": call()}
    await Dispatch(app, refused=untold)(scope, None, None)  # type: ignore[arg-type]
    return scope


def untold(*_: object) -> None:
    pytest.fail("a request that has a route was told as a refusal")


async def test_a_request_goes_to_its_route() -> None:
    scope = await answered(api(ENDPOINT), "POST", "/v1/thing")
    assert scope["answered"]
    assert scope["wardgate"].route == "/v1/thing"
    assert scope["route"].permission is Permission.INFER


@pytest.mark.parametrize(
    "path", ["/v1/thing/", "/v1/Thing", "/v1", "/", "//v1/thing", "", "/v1/thing%20"]
)
async def test_any_other_path_is_not_found(path) -> None:
    told: list[object] = []
    scope = {"path": path, "method": "POST", "client": ("192.0.2.7", 1), "wardgate": call()}
    with pytest.raises(NotFound) as raised:
        await Dispatch(api(ENDPOINT), refused=lambda *given: told.append(given))(
            scope,
            None,
            None,  # type: ignore[arg-type]
        )
    assert told == [("other", raised.value, "192.0.2.7")]


async def test_another_method_is_told_which_ones_there_are() -> None:
    other = dataclasses.replace(ENDPOINT, method="DELETE")
    scope = {"path": "/v1/thing", "method": "GET", "headers": [], "wardgate": call()}
    told: list[object] = []
    dispatch = Dispatch(api(ENDPOINT, other), refused=lambda *given: told.append(given))
    with pytest.raises(MethodNotAllowed) as raised:
        await dispatch(scope, None, None)  # type: ignore[arg-type]
    assert told == [("other", raised.value, None)]
    assert scope["wardgate"].headers == [(b"allow", b"DELETE, POST")]
    assert scope["wardgate"].route == "other"


async def test_head_is_answered_as_get() -> None:
    assert (await answered(api(dataclasses.replace(ENDPOINT, method="GET")), "HEAD", "/v1/thing"))[
        "answered"
    ]


def test_the_document_says_what_the_declaration_says() -> None:
    (operation,) = api(ENDPOINT).openapi()["paths"]["/v1/thing"].values()
    assert operation["x-permission"] == "infer"
    assert operation["security"] == [{"bearer": []}]
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"text": "a"}
    assert operation["responses"]["200"]["content"]["application/json"]["example"] == {"text": "b"}
    declared = {str(error.status) for error in (*ENDPOINT.errors, *ANY_ROUTE)}
    assert set(operation["responses"]) == {"200", *declared}


def test_a_public_route_needs_no_token() -> None:
    public = dataclasses.replace(ENDPOINT, permission=Permission.PUBLIC)
    (operation,) = api(public).openapi()["paths"]["/v1/thing"].values()
    assert operation["x-permission"] == "public"
    assert "security" not in operation


def test_a_route_that_is_not_documented_is_not_in_the_document() -> None:
    hidden = dataclasses.replace(ENDPOINT, documented=False)
    assert api(hidden).openapi()["paths"] == {}


def test_what_the_server_itself_may_answer_is_on_every_route() -> None:
    assert set(ANY_ROUTE) == {
        WardgateError, RequestMalformed, HeadersTimeout, HeadersTooLarge, Overloaded,
    }  # fmt: skip


# -- paths with parameters ------------------------------------------------------------------------

TEMPLATE = dataclasses.replace(ENDPOINT, path="/v2/models/{model}/versions/{version}/ready")


async def test_whole_segments_are_parameters() -> None:
    scope = await answered(api(ENDPOINT, TEMPLATE), "POST", "/v2/models/a_b-1/versions/1.2+x/ready")
    assert scope["path_params"] == {"model": "a_b-1", "version": "1.2+x"}
    assert scope["wardgate"].route == TEMPLATE.path  # what a caller typed names no series


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/A/versions/1/ready",
        "/v2/models//versions/1/ready",
        "/v2/models/../versions/1/ready",
        "/v2/models/a/versions/./ready",
        "/v2/models/a/b/versions/1/ready",
        "/v2/models/a/versions/1/ready/",
        "/v2/models/a/versions/1/Ready",
        "/v2/models/a\n/versions/1/ready",
        "/v2/models/a/versions/1/ready\n",
        "/v2/models/é/versions/1/ready",
        "/v2/models/a/versions/٣/ready",
        "/v2/models/{model}/versions/{version}/ready",
        f"/v2/models/{'a' * 65}/versions/1/ready",
    ],
)
async def test_no_other_spelling_matches(path) -> None:
    scope = {"path": path, "method": "POST", "wardgate": call()}
    with pytest.raises(NotFound):
        await Dispatch(api(TEMPLATE), refused=lambda *_: None)(scope, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/v1/thing", "/v2/models/a/versions/1/ready"])
async def test_a_percent_encoded_path_is_another_path(path) -> None:
    raw = path.replace("n", "%6e").encode()
    scope = {"path": path, "raw_path": raw, "method": "POST", "wardgate": call()}
    with pytest.raises(NotFound):
        await Dispatch(api(ENDPOINT, TEMPLATE), refused=lambda *_: None)(scope, None, None)  # type: ignore[arg-type]


def test_parameters_are_in_the_document() -> None:
    (operation,) = api(TEMPLATE).openapi()["paths"][TEMPLATE.path].values()
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [
        ("model", "path"),
        ("version", "path"),
    ]
