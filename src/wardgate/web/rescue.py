"""Answers 503 for a worker that died: the supervisor holds a copy of each plain connection.

When a process dies the kernel closes its connections, and its callers see a reset. With several
workers each one hands the supervisor a copy of every plain HTTP/1.1 connection it opens, and marks
in memory that both share whether a caller waits on it. The connections of a dead worker are thus
still open; the callers that wait get a 503 that names when to come back, the idle ones a clean end.

A connection under TLS cannot be answered (its keys died with the worker), nor can one of HTTP/2
(so did its streams): they are not handed over, and their callers see the connection close. Nothing
of a request is in the shared memory: one byte for each connection.
"""

from __future__ import annotations

import array
import asyncio
import mmap
import os
import socket
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from struct import Struct

from wardgate.errors import WorkerLost
from wardgate.web.problems import own

SLOTS = 4_096
"""Connections of one worker that are held; more are served, but not answered when it dies."""
LINGER_SECONDS = 2.0
"""How long the rest of a request is read and dropped after the 503 (RFC 9112 §9.6)."""

_NOTE = Struct("<IB")
_OPENED, _CLOSED = 1, 0
_FLUSH_BYTES = 65_536


class Rescued:
    """A worker's side: tells the supervisor of connections, and marks those that wait."""

    def __init__(self, notes: socket.socket, marks: int) -> None:
        """Take this end of the socket pair and the descriptor of the shared memory."""
        notes.setblocking(False)
        self._notes = notes
        self._marks = mmap.mmap(marks, SLOTS)
        os.close(marks)
        self._free = list(range(SLOTS - 1, -1, -1))
        self._closed: deque[int] = deque()
        self._waiting = False

    def opened(self, connection: socket.socket) -> int:
        """Hand over a copy of a connection; return its slot, or -1 where it goes unheld."""
        if not self._free or self._closed:
            return -1
        slot = self._free.pop()
        try:
            socket.send_fds(self._notes, [_NOTE.pack(slot, _OPENED)], [connection.fileno()])
        except OSError:  # the supervisor is behind or gone
            self._free.append(slot)
            return -1
        return slot

    def waits(self, slot: int, waiting: bool) -> None:
        """Mark whether the caller of a connection waits for an answer."""
        if slot >= 0:
            self._marks[slot] = waiting

    def closed(self, slot: int) -> None:
        """Have the copy closed: until then the caller sees no end of the connection."""
        if slot >= 0:
            self._marks[slot] = 0
            self._closed.append(slot)
            self._flush()

    def close(self) -> None:
        """Leave the supervisor's pair; it closes what it holds."""
        if self._waiting:
            asyncio.get_running_loop().remove_writer(self._notes)
        self._notes.close()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._closed:
            try:
                self._notes.send(_NOTE.pack(self._closed[0], _CLOSED))
            except BlockingIOError:
                if not self._waiting:
                    self._waiting = True
                    loop.add_writer(self._notes, self._flush)
                return
            except OSError:  # the supervisor is gone, and this process will be soon
                self._closed.clear()
                break
            self._free.append(self._closed.popleft())
        if self._waiting:
            self._waiting = False
            loop.remove_writer(self._notes)


class Rescuer:
    """The supervisor's side for one worker process."""

    def __init__(self) -> None:
        """Make the socket pair and the shared memory; `descriptors` go to the worker."""
        self._notes, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._notes.setblocking(False)
        with tempfile.TemporaryFile() as memory:
            memory.truncate(SLOTS)
            self._file = os.dup(memory.fileno())
        self._marks = mmap.mmap(self._file, SLOTS)
        self._held: dict[int, socket.socket] = {}
        asyncio.get_running_loop().add_reader(self._notes, self._read)

    @property
    def descriptors(self) -> Sequence[int]:
        """The worker's end of the pair, and the shared memory."""
        return self._theirs.fileno(), self._file

    def started(self) -> None:
        """Close what the worker has inherited by now."""
        self._theirs.close()
        os.close(self._file)

    async def end(self) -> None:
        """Answer whoever still waits for the worker, which has ended, and close the rest."""
        self._read()
        asyncio.get_running_loop().remove_reader(self._notes)
        self._notes.close()
        waiting = []
        for slot, connection in self._held.items():
            if self._marks[slot] or _sent_more(connection):
                waiting.append(connection)
            else:
                connection.close()
        self._held.clear()
        self._marks.close()
        await asyncio.gather(*(_refuse(connection) for connection in waiting))

    def _read(self) -> None:
        """Take what the worker has told."""
        while True:
            try:
                note, ancillary, _, _ = self._notes.recvmsg(
                    _NOTE.size, socket.CMSG_SPACE(array.array("i").itemsize)
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                note, ancillary = b"", []
            copies = [
                descriptor
                for level, kind, data in ancillary
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
                for descriptor in array.array("i", data)
            ]
            if len(note) != _NOTE.size:  # the end
                asyncio.get_running_loop().remove_reader(self._notes)
                return
            slot, what = _NOTE.unpack(note)
            if what == _OPENED:
                for descriptor in copies:  # none where this process has no descriptor left
                    self._held[slot] = socket.socket(fileno=descriptor)
            elif slot in self._held:
                self._held.pop(slot).close()


def _sent_more(connection: socket.socket) -> bool:
    """Tell whether a request came that the worker did not live to read."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except OSError:  # nothing there, or the caller is gone
        return False


async def _refuse(connection: socket.socket) -> None:
    """Send the 503, end the sending side, and let the rest of the request in for a while."""
    loop = asyncio.get_running_loop()
    status, headers, body = own(WorkerLost)
    head = [f"HTTP/1.1 {status} Service Unavailable".encode()]
    head += [b": ".join(header) for header in headers]
    reply = b"\r\n".join([*head, b"connection: close", b"", body])
    connection.setblocking(False)
    with connection, suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await loop.sock_sendall(connection, reply)
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, _FLUSH_BYTES):
                pass
