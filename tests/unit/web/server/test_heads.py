import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.web.server import heads

HOST = (b"host", b"gate")


@pytest.mark.parametrize(
    "target",
    [b"/", b"/v1/predict", b"/a%20b", b"/v2/models/m/infer?x=1&y=[2]", b"/a;b=c,d@e:f", b"/?"],
)
def test_origin_form_is_served(target):
    assert heads.target_ok(b"GET", target)


@pytest.mark.parametrize(
    "target",
    [
        b"", b"http://a/", b"a:443", b"*", b"v1", b"/a b", b"/a#b", b"/?a#b", b"/\xc3\xa9", b"/a\tb",
        b"/%", b"/%2", b"/%zz", b"/a\\b", b"/<x>", b'/"', b"/?\x7f", b"/\n", b"/a\n", b"/a?\n",
    ],
)  # fmt: skip
def test_other_targets_are_refused(target):
    assert not heads.target_ok(b"GET", target)


def test_asterisk_is_for_options_and_connect_for_none():
    assert heads.target_ok(b"OPTIONS", b"*")
    assert not heads.target_ok(b"CONNECT", b"gate:443")
    assert not heads.target_ok(b"CONNECT", b"/")


@pytest.mark.parametrize(
    "host", [b"gate", b"gate:80", b"10.0.0.1:8080", b"[::1]", b"[::1]:8080", b"a-b.c_d", b"gate:"]
)
def test_hosts_that_are_served(host):
    assert heads.host_ok([host], required=True)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a b",
        b"a@b",
        b"a/b",
        b"a:b",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a,b",
        b"a\n",
        b"\xc3\xa9",
    ],
)
def test_hosts_that_are_refused(host):
    if host == b"a,b":  # a sub-delim of RFC 3986 reg-name
        assert heads.host_ok([host], required=True)
    else:
        assert not heads.host_ok([host], required=True)


def test_one_host_and_none_only_where_it_is_not_required():
    assert not heads.host_ok([b"a", b"a"], required=False)
    assert not heads.host_ok([], required=True)
    assert heads.host_ok([], required=False)


@pytest.mark.parametrize(
    ("headers", "header", "expects"),
    [
        ([], b"", False),
        ([(b"content-length", b"12")], b"content-length: 12", False),
        ([(b"transfer-encoding", b"Chunked")], b"transfer-encoding: chunked", False),
        ([(b"expect", b"100-Continue"), (b"content-length", b"1")], b"content-length: 1", True),
    ],
)
def test_framing(headers, header, expects):
    assert heads.framing([HOST, *headers], version="1.1") == heads.Framing(header, expects)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"1")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"transfer-encoding", b"identity")],
        [(b"transfer-encoding", b"chunked, chunked")],
        [(b"transfer-encoding", b" chunked")],
        [(b"content-length", b"+1")],
        [(b"content-length", b"1, 1")],
        [(b"content-length", b"")],
        [(b"content-length", b"0x1")],
        [(b"expect", b"200-ok")],
        [HOST],
    ],
)
def test_framing_that_is_refused(headers):
    assert heads.framing([HOST, *headers], version="1.1") is None


def test_http10_knows_no_chunked_and_needs_no_host():
    assert heads.framing([(b"transfer-encoding", b"chunked")], version="1.0") is None
    assert heads.framing([(b"expect", b"100-continue")], version="1.0") == heads.Framing(b"", False)
    assert heads.framing([], version="1.1") is None


def fields(**changes):
    found = {b":method": b"GET", b":scheme": b"https", b":authority": b"gate", b":path": b"/a?b"}
    for name, value in changes.items():
        found[b":" + name.encode()] = value
    return [(name, value) for name, value in found.items() if value is not None]


def test_http2_head_reads_as_http1_would():
    head = heads.http2_head([*fields(), (b"x", b"1")])
    assert head == heads.Head(b"GET", b"/a?b", [HOST, (b"x", b"1")])
    assert heads.http2_head([*fields(authority=None), HOST]).headers == [HOST]
    assert heads.http2_head([*fields(), HOST]).headers == [HOST]
    assert head.size == 3 + 4 + 16 + (4 + 4 + 4) + (1 + 1 + 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": None}, {"method": b"get"}, {"method": b"CONNECT"}, {"scheme": b"http"},
        {"scheme": None}, {"path": None}, {"path": b""}, {"path": b"http://a/"},
        {"authority": None}, {"authority": b""},
    ],
)  # fmt: skip
def test_http2_head_that_is_refused(changes):
    assert heads.http2_head(fields(**changes)) is None


def test_http2_hosts_must_agree():
    assert heads.http2_head([*fields(), (b"host", b"other")]) is None
    assert heads.http2_head([*fields(), HOST, HOST]) is None


def test_target_is_split_and_decoded():
    assert heads.split_target(b"/a%20%C3%A9?b=%20") == ("/a é", b"/a%20%C3%A9", b"b=%20")
    assert heads.split_target(b"/") == ("/", b"/", b"")


@given(st.binary(max_size=40))
def test_no_target_with_a_control_or_a_space_passes(data):
    target = b"/" + data
    if heads.target_ok(b"GET", target):
        assert all(0x21 <= byte <= 0x7E for byte in target)
