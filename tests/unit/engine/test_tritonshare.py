"""What workers are told of Triton: read whole, opened by the owner alone, without the control key."""

from __future__ import annotations

import stat

from wardgate.engine.tritonlink import Endpoint
from wardgate.engine.tritonshare import Shape, Shared, publish
from wardgate.types import ModelId

SHAPE = Shape(ModelId("tiny", "1", "a" * 64), 2, 64)
FULL = Endpoint("127.0.0.1:1", b"authority", b"certificate", b"key", "header", "secret")


def test_workers_read_what_was_published_without_the_control_key(tmp_path):
    path = tmp_path / "triton.json"
    shared = Shared(path)
    assert shared.endpoint() is None
    assert shared.shapes() == ()
    publish(path, FULL, [SHAPE])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text()
    assert shared.endpoint() == Endpoint("127.0.0.1:1", b"authority", b"certificate", b"key")
    assert shared.shapes() == (SHAPE,)


def test_a_change_is_seen_and_a_file_that_goes_is_no_change(tmp_path):
    path = tmp_path / "triton.json"
    shared = Shared(path)
    publish(path, FULL, [SHAPE])
    assert shared.shapes() == (SHAPE,)
    publish(path, Endpoint("localhost:2"), [])
    assert shared.shapes() == ()
    assert shared.endpoint() == Endpoint("localhost:2")
    path.unlink()
    assert shared.endpoint() == Endpoint("localhost:2")


def test_a_draft_left_by_a_process_that_died_is_no_obstacle(tmp_path):
    path = tmp_path / "triton.json"
    (tmp_path / "triton.json.new").write_text("half")
    publish(path, FULL, [SHAPE])
    assert Shared(path).shapes() == (SHAPE,)
