"""The documentation comes from the package: no CDN, no inline script, no caller's input."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest

from wardgate.types import Permission
from wardgate.web.pages import _FILES, Pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATHS = ["/docs", *(f"/docs/{name}" for name in _FILES)]


@pytest.mark.parametrize("path", ["/openapi.json", *PATHS])
async def test_every_page_is_served_from_the_package(running, path) -> None:
    async with running.client() as client:
        reply = await client.get(path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "http:" not in policy
    assert "https:" not in policy
    assert "*" not in policy
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["x-content-type-options"] == "nosniff"
    if path != "/openapi.json":
        name = "docs.html" if path == "/docs" else path.removeprefix("/docs/")
        packaged = resources.files("wardgate.web").joinpath("static", name).read_bytes()
        assert reply.content == packaged


async def test_the_page_loads_only_what_the_gateway_serves(running) -> None:
    async with running.client() as client:
        page = (await client.get("/docs")).text
        loaded = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
        assert loaded
        assert all(address.startswith("/docs/") for address in loaded)
        for address in loaded:
            assert (await client.get(address)).status_code == 200
    assert "http://" not in page
    assert "https://" not in page
    assert re.findall(r"<script[^>]*>([^<]+)</script>", page) == []
    assert not re.search(r"<style|\son\w+=", page)


async def test_script_and_style_load_nothing_from_elsewhere(running) -> None:
    async with running.client() as client:
        own = (await client.get("/docs/docs.js")).text
        style = (await client.get("/docs/swagger-ui.css")).text
        bundle = (await client.get("/docs/swagger-ui-bundle.js")).text
    assert "http" not in own
    assert '"/openapi.json"' in own
    assert "validatorUrl: null" in own  # its default sends the document to a public validator
    assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", style)
    assert not re.search(r"\bimport\s*\(\s*[\"']https?:|\.src\s*=\s*[\"']https?:", bundle)


async def test_the_document_is_json(running) -> None:
    async with running.client() as client:
        reply = await client.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.content)["openapi"].startswith("3.")


async def test_the_pages_are_public_and_stand_in_no_document() -> None:
    endpoints = Pages().endpoints()
    assert {each.permission for each in endpoints} == {Permission.PUBLIC}
    assert not any(each.documented for each in endpoints)
    assert {each.method for each in endpoints} == {"GET"}


async def test_every_third_party_file_comes_with_its_licence() -> None:
    static = resources.files("wardgate.web").joinpath("static")
    names = {entry.name for entry in static.iterdir()}
    assert {"swagger-ui.LICENSE", "swagger-ui.NOTICE"} <= names
