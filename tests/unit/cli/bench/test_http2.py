from __future__ import annotations

import asyncio

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from wardgate.cli.bench import http2
from wardgate.cli.bench.wire import LOST, Target


class Peer(asyncio.Protocol):
    """A server of HTTP/2 in clear text that echoes; with `grpc`, as gRPC puts it."""

    most, grpc, reset, window = 100, False, False, 65_535
    most_open = 0
    heads: list

    def connection_made(self, transport):
        self.transport = transport
        self.wire = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.bodies = {}
        self.heads = []
        type(self).last = self
        self.wire.local_settings = type(self.wire.local_settings)(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: self.most}
        )
        self.wire.initiate_connection()
        transport.write(self.wire.data_to_send())

    def data_received(self, data):
        for event in self.wire.receive_data(data):
            match event:
                case RequestReceived():
                    self.heads.append(dict(event.headers))
                    self.bodies[event.stream_id] = b""
                    type(self).most_open = max(self.most_open, len(self.bodies))
                case DataReceived():
                    self.bodies[event.stream_id] += event.data
                    self.wire.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                case StreamEnded():
                    asyncio.get_running_loop().call_later(0.002, self.reply, event.stream_id)
        self.transport.write(self.wire.data_to_send())

    def reply(self, stream):
        body = self.bodies.pop(stream)
        if self.reset:
            self.wire.reset_stream(stream)
        elif self.grpc:
            self.wire.send_headers(stream, [(":status", "200"), ("server-timing", "infer;dur=1")])
            self.send(stream, body)
            self.wire.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        else:
            self.wire.send_headers(stream, [(":status", "200"), ("server-timing", "infer;dur=1")])
            self.send(stream, body)
            self.wire.end_stream(stream)
        self.transport.write(self.wire.data_to_send())

    def send(self, stream, body):
        for start in range(0, len(body), 16_384):
            self.wire.send_data(stream, body[start : start + 16_384])


async def ask(kind, bodies, lanes=1, grpc=False):
    """Send each body once, spread over lanes that take the next when free."""
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1], "/p", token="abc")
    got, left, done = [], list(range(len(bodies))), asyncio.Event()

    def answered(lane, status, head, body):
        got.append((status, head, body))
        if left:
            lane.send(left.pop(0))
        if len(got) == len(bodies):
            done.set()

    made = await http2.lanes(target, bodies, lanes, answered, grpc=grpc)
    for lane in made:
        if left:
            lane.send(left.pop(0))
    await asyncio.wait_for(done.wait(), 10)
    for lane in made:
        lane.close()
    server.close()
    await asyncio.sleep(0.01)  # transports close in the loop's next turns
    return got


async def test_bodies_go_and_come_back() -> None:
    bodies = [b'{"n": %d}' % n for n in range(20)]
    got = await ask(Peer, bodies, lanes=4)
    assert sorted(body for _, _, body in got) == sorted(bodies)
    assert {(status, head) for status, head, _ in got} == {(200, b"server-timing: infer;dur=1")}
    head = Peer.last.heads[0]
    assert head[":path"] == "/p"
    assert head["authorization"] == "Bearer abc"
    assert head["content-length"] == str(len(bodies[0]))


async def test_grpc_is_framed_and_judged_by_its_trailer() -> None:
    kind = type("Grpc", (Peer,), {"grpc": True})
    got = await ask(kind, [b"message"], grpc=True)
    assert got == [(200, b"server-timing: infer;dur=1", b"message")]
    assert kind.last.heads[0]["content-type"] == "application/grpc"
    assert kind.last.heads[0]["te"] == "trailers"


async def test_no_more_streams_than_the_server_allows() -> None:
    kind = type("Narrow", (Peer,), {"most": 3, "most_open": 0})
    got = await ask(kind, [b"{}"] * 12, lanes=8)
    assert [status for status, _, _ in got] == [200] * 12
    assert kind.most_open == 3


async def test_bodies_beyond_the_window_wait_for_it() -> None:
    got = await ask(Peer, [b"x" * 40_000] * 6, lanes=6)
    assert [len(body) for _, _, body in got] == [40_000] * 6


async def test_a_reset_is_lost() -> None:
    got = await ask(type("Reset", (Peer,), {"reset": True}), [b"{}"])
    assert got[0][0] == LOST


async def test_lanes_are_spread_over_connections() -> None:
    made = []
    kind = type("Counted", (Peer,), {})
    server = await asyncio.get_running_loop().create_server(
        lambda: made.append(kind()) or made[-1], "127.0.0.1", 0
    )
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1], "/p")
    lanes = await http2.lanes(target, [b"{}"], 70, lambda *_: None, grpc=False)
    assert len(lanes) == 70
    assert len(made) == 3
    for lane in lanes:
        lane.close()
    server.close()
    await asyncio.sleep(0.01)  # transports close in the loop's next turns


async def test_a_server_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(OSError):
        await http2.lanes(Target("127.0.0.1", 1, "/p"), [b""], 1, lambda *_: None, grpc=False)
