"""The wiring: what a gateway is made of, its readiness, and the document of its routes."""

from __future__ import annotations

import functools
import json
import time

import httpx
import pytest
from prometheus_client import REGISTRY
from tests.conftest import problem_of

from wardgate.auth.issuer import AUDIENCE, ISSUER, DevelopmentIssuer
from wardgate.errors import ManifestInvalid, ModelUnknown, SettingsInvalid
from wardgate.settings import Settings
from wardgate.types import Principal, Refusal
from wardgate.web import schemas
from wardgate.web.admin import Admin
from wardgate.web.app import Gateway, application, load_models
from wardgate.web.health import Health
from wardgate.web.middleware import Door
from wardgate.web.oauth import OAuth
from wardgate.web.rest import Rest
from wardgate.web.routes import ANY_ROUTE, FlowRoute

pytestmark = pytest.mark.asyncio(loop_scope="session")

# -- the document ---------------------------------------------------------------------------------


@pytest.fixture
def document(running) -> dict:
    return json.loads(running.gateway.document)


CHANGES = ("promote", "canary", "shadow", "rollback", "retire")


def admin(running) -> Admin:
    return Admin(running.gateway.flow, running.settings.limits, None, ("sentiment",), list)


def endpoints(running):
    """Every declared endpoint of the running gateway, from its own routes."""
    flow, settings = running.gateway.flow, running.settings
    issuer = DevelopmentIssuer.open(settings.state)
    return [
        *Rest(flow, settings.limits, str).endpoints(),
        *Health(running.gateway.readiness).endpoints(),
        *admin(running).endpoints(),
        *OAuth(issuer, flow, 10.0, lambda _: "").endpoints(),
    ]


def routes(running) -> dict[str, dict[str, FlowRoute]]:
    """The dispatch table behind the door: what can really be called."""
    return running.gateway.app._app._paths


async def test_the_document_lists_every_route_but_the_static_pages(running, document) -> None:
    real = {
        (path, method.lower())
        for path, methods in routes(running).items()
        for method in methods
        if path != "/openapi.json" and not path.startswith("/docs")
    }
    listed = {(path, method) for path, item in document["paths"].items() for method in item}
    assert listed == real
    paths = {path for path, _ in listed}
    assert {path for path in paths if not path.startswith("/v2")} == {
        "/v1/predict", "/v1/deidentify", "/v1/reidentify", "/livez", "/readyz", "/oauth2/token",
        "/.well-known/jwks.json", "/v1/models", "/v1/models/{model}",
        *(f"/v1/models/{{model}}/{change}" for change in CHANGES),
    }  # fmt: skip
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    assert {path for path in paths if path.startswith("/v2")} == {
        "/v2", "/v2/health/live", "/v2/health/ready",
        *(f"{place}{end}" for place in (model, version) for end in ("", "/ready", "/config", "/infer")),
    }  # fmt: skip


async def test_the_document_has_every_status_that_a_route_declares(running, document) -> None:
    for each in endpoints(running):
        operation = document["paths"][each.path][each.method.lower()]
        errors = (*each.errors, *ANY_ROUTE)
        assert set(operation["responses"]) == {
            str(each.status),
            *(str(error.status) for error in errors),
        }
        for error in errors:
            content = operation["responses"][str(error.status)]["content"]
            assert error.slug in content["application/problem+json"]["examples"]


async def test_every_route_says_its_permission(running, document) -> None:
    for path, methods in routes(running).items():
        for method, route in methods.items():
            operation = document["paths"].get(path, {}).get(method.lower())
            if operation is not None:
                assert operation["x-permission"] == route.permission.value
                assert ("security" in operation) == (route.permission.value != "public")
                assert operation["summary"]
                assert operation["description"]


async def test_every_example_has_the_form_of_its_schema(running, document) -> None:
    checked = 0
    for each in endpoints(running):
        operation = document["paths"][each.path][each.method.lower()]
        for kind, example, media in (
            (each.body, each.body_example, operation.get("requestBody")),
            (each.reply, each.reply_example, operation["responses"][str(each.status)]),
        ):
            if kind is None:
                continue
            (content,) = media["content"].values()
            assert content["example"] == example
            assert content["schema"] == {"$ref": f"#/components/schemas/{kind.__name__}"}
            assert json.loads(kind.model_validate_json(json.dumps(example)).model_dump_json(
                exclude_unset=True
            )) == example  # fmt: skip
            checked += 1
    assert checked >= 8


async def test_every_problem_example_has_the_form_of_a_problem(document) -> None:
    required = set(document["components"]["schemas"]["Problem"]["required"])
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                problems = response["content"].get("application/problem+json")
                assert (problems is None) == (status in {"200", "202"})
                for example in (problems or {"examples": {}})["examples"].values():
                    assert example["value"].keys() == required
                    assert example["value"]["status"] == int(status)


async def test_every_reference_in_the_document_leads_somewhere(document) -> None:
    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(document))
    assert found
    for reference in found:
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


async def test_every_field_of_every_body_is_described(document) -> None:
    for schema in document["components"]["schemas"].values():
        for name, field in schema["properties"].items():
            assert field.get("description"), name


async def test_the_examples_are_what_the_gateway_really_answers(running, document) -> None:
    async with running.client() as client:
        for path in ("/v1/deidentify", "/v1/predict"):
            operation = document["paths"][path]["post"]
            sent = operation["requestBody"]["content"]["application/json"]["example"]
            example = operation["responses"]["200"]["content"]["application/json"]["example"]
            reply = (await client.post(path, json=sent, headers=running.bearer())).json()
            assert reply.keys() == example.keys()
            assert reply["text"] == example["text"] == schemas.EXAMPLE_CLEAN
            for key in ("label", "model", "policy", "windows"):
                assert reply.get(key) == example.get(key)
            if "spans" in example:
                assert [(s["start"], s["end"], s["label"]) for s in reply["spans"]] == [
                    (s["start"], s["end"], s["label"]) for s in example["spans"]
                ]


async def test_the_document_names_no_address_and_nothing_to_load(running) -> None:
    assert b"127.0.0.1" not in running.gateway.document
    assert str(running.settings.state).encode() not in running.gateway.document


# -- refusals of any route ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/v1/predict", 405), ("POST", "/livez", 405),
     ("GET", "/metrics", 404), ("GET", "/docs/../v1", 404), ("OPTIONS", "/v1/predict", 405)],
)  # fmt: skip
async def test_what_is_not_there_is_told_as_a_problem(running, method, path, status) -> None:
    async with running.client() as client:
        reply = await client.request(method, path)
    assert reply.status_code == status
    problem_of(reply)
    assert ("allow" in reply.headers) == (status == 405)


# -- parts ----------------------------------------------------------------------------------------


async def test_a_gateway_serves_the_shipped_model_and_is_ready(running) -> None:
    assert running.gateway.readiness.ready
    assert [state.name for state in running.gateway.readiness.states] == [
        "models",
        "detector",
        "audit",
        "keys",
    ]
    assert [model.id.name for model in running.gateway.flow.models.served()] == ["sentiment"]
    assert isinstance(running.gateway.app, Door)


async def test_the_development_issuer_refuses_proxies_and_is_off_with_issuers_of_ones_own(
    open_gateway, tmp_path
) -> None:
    keys = tmp_path / "keys.json"
    issuer = DevelopmentIssuer.open(tmp_path)
    keys.write_text(json.dumps(issuer.jwks()))
    own = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": keys, "algorithms": ["ES256"]}
    async with open_gateway(auth={"issuers": [own]}) as configured, configured.client() as client:
        assert not configured.gateway.flow.direct_only
        assert (await client.get("/.well-known/jwks.json")).status_code == 404
        assert (await client.post("/oauth2/token")).status_code == 404
        document = json.loads(configured.gateway.document)
        assert "/oauth2/token" not in document["paths"]
        headers = {
            "authorization": f"Bearer {issuer.issue(subject='a', now=time.time())}",
            "x-forwarded-for": "10.0.0.9",
        }
        reply = await client.post("/v1/deidentify", json={"text": "fine"}, headers=headers)
        assert reply.status_code == 200
        foreign = await client.post(
            "/v1/deidentify", json={"text": "fine"}, headers=configured.bearer()
        )
        assert foreign.status_code == 401


async def test_behind_a_proxy_the_development_issuer_answers_nobody(running) -> None:
    async with running.client() as client:
        headers = {**running.bearer(), "x-forwarded-for": "10.0.0.9"}
        reply = await client.post("/v1/deidentify", json={"text": "fine"}, headers=headers)
    assert reply.status_code == 403
    assert problem_of(reply)["type"] == "urn:wardgate:problem:proxy-refused"


async def test_settings_that_serve_others_without_an_issuer_do_not_start(tmp_path) -> None:
    """The tree refuses them; the wiring does too, should a tree be made without its checks."""
    server = Settings().server.model_copy(update={"trusted_proxy": "10.0.0.2"})
    settings = Settings().model_copy(update={"state": tmp_path, "server": server})
    with pytest.raises(SettingsInvalid):
        await Gateway.open(settings, chain="worker-0")


async def test_a_fault_while_opening_ends_what_had_begun(engine, tmp_path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "audit").write_text("a file where the folder should be")
    closed = []

    class Watched:
        def __getattr__(self, name):
            return getattr(engine, name)

        async def close(self) -> None:
            closed.append(True)

    with pytest.raises(Exception):  # noqa: B017 -- whatever it is, the gateway does not start
        await Gateway.open(Settings(state=tmp_path), chain="worker-0", engine=Watched())
    assert closed == [True]


async def test_unknown_and_damaged_models_do_not_load(tmp_path) -> None:
    with pytest.raises(ModelUnknown):
        load_models(Settings(state=tmp_path, registry={"models": ("absent",)}))
    home = tmp_path / "sentiment" / "1"
    home.mkdir(parents=True)
    (home / "manifest.json").write_text("{}")
    with pytest.raises(ManifestInvalid):
        load_models(Settings(state=tmp_path, registry={"folder": tmp_path}))


async def test_the_application_is_built_from_declarations_alone(running) -> None:
    door, document = application(
        running.settings,
        running.gateway.flow,
        running.gateway.readiness,
        None,
        admin(running),
    )
    assert "/oauth2/token" not in json.loads(document)["paths"]
    assert "/oauth2/token" not in door._app._paths


# -- what is recorded -----------------------------------------------------------------------------


class Counting:
    """The recorder, with its refusals counted."""

    def __init__(self, recorder) -> None:
        self._recorder = recorder
        self.refusals, self.intents, self.outcomes = [], [], []

    def __getattr__(self, name):
        return getattr(self._recorder, name)

    def refusal(self, refusal):
        self.refusals.append(refusal)
        return self._recorder.refusal(refusal)

    def intent(self, intent):
        self.intents.append(intent)
        return self._recorder.intent(intent)

    def outcome(self, outcome, intent):
        self.outcomes.append(outcome)
        return self._recorder.outcome(outcome, intent)


JSON = {"content-type": "application/json"}
TURNED_AWAY = {
    "no token": ("/v1/predict", b"{}", {"authorization": ""}, 401),
    "a wrong type": ("/v1/predict", b"{}", {"content-type": "text/plain"}, 415),
    "no JSON": ("/v1/predict", b"{", JSON, 400),
    "too large": ("/v1/deidentify", b" " * 2_000_000, JSON, 413),
    "too long": ("/v1/deidentify", b'{"text":"' + b"a" * 200_001 + b'"}', JSON, 413),
    "a wrong field": ("/v1/deidentify", b'{"text":1}', JSON, 422),
    "a policy that is none": ("/v1/deidentify", b'{"text":"a","policy":"b"}', JSON, 404),
    "a purpose that is none": ("/v1/deidentify", b'{"text":"a","purpose":"ZZ"}', JSON, 422),
    "no scope for the model": ("/v1/predict", b'{"text":"a","model":"b"}', JSON, 403),
    "a wrong secret": ("/oauth2/token", b"", {"authorization": "Basic eDp5"}, 401),
    "a proxy": ("/v1/predict", b"{}", {"via": "1.1 proxy"}, 403),
}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"), TURNED_AWAY.values(), ids=TURNED_AWAY
)
async def test_a_call_that_is_turned_away_is_recorded_once(  # noqa: PLR0917 -- fixtures by name
    running, monkeypatch, path, body, headers, status
) -> None:
    flow = running.gateway.flow
    counting = Counting(flow.recorder)
    monkeypatch.setattr(flow, "recorder", counting)
    async with running.client() as client:
        reply = await client.post(path, content=body, headers={**running.bearer(), **headers})
    assert reply.status_code == status
    (refusal,) = counting.refusals
    assert (refusal.route, refusal.status) == (path, status)
    assert not counting.intents


@pytest.mark.parametrize(
    ("method", "path", "headers", "route", "reason"),
    [
        ("GET", "/v1/patients/Zebulon-Quartermain?ssn=219-09-9999", {}, "other", "not-found"),
        ("DELETE", "/v1/predict", {}, "other", "method-not-allowed"),
        ("GET", "/.well-known/jwks.json", {"via": "1.1 p"}, "/.well-known/jwks.json", "proxy-refused"),
    ],
)  # fmt: skip
async def test_a_call_that_reaches_no_route_is_recorded_without_what_was_typed(  # noqa: PLR0917
    running, monkeypatch, method, path, headers, route, reason
) -> None:
    flow = running.gateway.flow
    counting = Counting(flow.recorder)
    monkeypatch.setattr(flow, "recorder", counting)
    async with running.client() as client:
        reply = await client.request(method, path, headers={**running.bearer(), **headers})
    (refusal,) = counting.refusals
    assert refusal == Refusal(route, reply.status_code, reason, None, "127.0.0.1")
    assert not counting.intents


async def test_a_call_that_is_served_is_no_refusal(running, monkeypatch) -> None:
    flow = running.gateway.flow
    counting = Counting(flow.recorder)
    monkeypatch.setattr(flow, "recorder", counting)
    async with running.client() as client:
        await client.post("/v1/deidentify", json={"text": "fine"}, headers=running.bearer())
    assert (len(counting.intents), len(counting.outcomes), counting.refusals) == (1, 1, [])


@pytest.mark.parametrize(
    ("proxy", "peer", "status"),
    [
        ("10.0.0.0/8", "10.1.2.3", 200),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 200),
        ("10.0.0.0/8", "192.0.2.1", 403),
        ("10.0.0.2", "10.0.0.3", 403),
    ],
)
async def test_text_is_taken_from_the_trusted_proxy_alone(
    open_gateway, tmp_path, proxy, peer, status
) -> None:
    issuer = DevelopmentIssuer.open(tmp_path)
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()))
    trusted = {
        "issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "jwks.json")
    }  # fmt: skip
    groups = {"server": {"trusted_proxy": proxy}, "auth": {"issuers": [trusted]}}
    async with open_gateway(**groups) as found:
        transport = httpx.ASGITransport(app=found.gateway.app, client=(peer, 1))
        token = issuer.issue(subject="x", now=time.time())
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            reply = await client.post(
                "/v1/deidentify",
                json={"text": "fine"},
                headers={"authorization": f"Bearer {token}", "x-forwarded-for": "198.51.100.7"},
            )
    assert reply.status_code == status


async def test_the_gauge_shows_the_requests_in_flight(open_gateway) -> None:
    async with open_gateway() as found:
        read = functools.partial(REGISTRY.get_sample_value, "wardgate_in_flight")
        assert read() == 0
        caller = Principal("i", "s", "c", "t", frozenset(), "id", 0.0)
        with found.gateway.flow.admission.admit(caller, time.time()):
            assert read() == 1
        assert read() == 0
