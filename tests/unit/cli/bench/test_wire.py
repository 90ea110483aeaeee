from __future__ import annotations

import datetime as dt
import ssl

from wardgate.cli.bench.wire import Target
from wardgate.engine import certificates


def test_without_an_authority_there_is_no_tls() -> None:
    assert Target("127.0.0.1", 1, "/").context("h2") is None


def test_tls_is_1_3_and_checks_the_name(tmp_path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificates.issue(dt.datetime.now(dt.UTC)).ca)
    context = Target("127.0.0.1", 1, "/", ca=str(ca)).context("http/1.1")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
