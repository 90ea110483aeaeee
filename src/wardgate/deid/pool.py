"""Long texts in processes of their own, so that short ones do not wait behind them.

Short texts are handled at once, on the event loop. A long one goes to a process; a process past its
deadline is killed and replaced, and the request is refused. The number that may wait is bounded.
No error says anything of the text.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from typing import Self

from wardgate.deid.deidentify import Deidentifier, Found, Reference
from wardgate.deid.policy import Policy
from wardgate.deid.process import (
    HEADER,
    READY,
    lacks_policy,
    pack_policy,
    pack_request,
    unpack_reply,
)
from wardgate.errors import DetectorFailed, Overloaded, WardgateError
from wardgate.types import PHI, Deidentified

_START_SECONDS = 60.0
_RESTART_PAUSE_SECONDS = 1.0
_STOP_SECONDS = 2.0


class LongTextPool:
    """De-identifies short texts inline and long ones in processes.

    `processes` may be 0: then all are inline. `inline_chars` is the longest text (code points) that
    is handled inline. `waiting` is how many long texts may be in the pool at once, running ones
    included. Use `start` and `stop`, or `async with`.
    """

    def __init__(
        self,
        detector: Deidentifier,
        *,
        processes: int = 1,
        inline_chars: int = 8_192,
        waiting: int = 32,
        command: tuple[str, ...] = (sys.executable, "-m", "wardgate.deid.process"),
    ) -> None:
        self._detector = detector
        self._processes = processes
        self._inline_chars = inline_chars
        self._waiting = waiting
        self._command = command
        self._idle: asyncio.Queue[asyncio.subprocess.Process] = asyncio.Queue()
        self._alive: set[asyncio.subprocess.Process] = set()
        self._dying: set[asyncio.subprocess.Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._inside = 0
        self._open = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def ready(self) -> bool:
        """Whether the processes asked for are up."""
        return self._open and len(self._alive) == self._processes

    async def start(self) -> None:
        """Start the processes and wait until each is ready. Raises DetectorFailed."""
        self._open = True
        try:
            await asyncio.gather(*(self._spawn() for _ in range(self._processes)))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all processes and wait for them."""
        self._open = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(process) for process in self._alive | self._dying))

    async def deidentify(
        self,
        text: PHI,
        *,
        policy: str | None = None,
        policy_hash: str | None = None,
        reference_date: Reference = "today",
        tenant: str = "",
        patient: PHI | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 -- the deadline kills a process; a caller's cannot
    ) -> Deidentified:
        """De-identify; see `Deidentifier.deidentify`. `timeout` is in seconds, waiting included.

        Raises PolicyUnknown, DetectorFailed on any fault or where the deadline passed while a
        process worked, and Overloaded where too many wait or none came free in time.
        """
        if self._processes == 0 or len(text) <= self._inline_chars:
            return self._detector.deidentify(
                text,
                policy=policy,
                policy_hash=policy_hash,
                reference_date=reference_date,
                tenant=tenant,
                patient=patient,
            )
        if not self._open:
            raise DetectorFailed
        chosen = self._detector.chosen(policy, policy_hash)
        if self._inside >= self._waiting:
            raise Overloaded(reason="deid-queue-full", retry_after=1.0)
        self._inside += 1
        try:
            found = await self._in_process(text, chosen, reference_date, timeout)
            finish = functools.partial(
                self._detector.finish, text.reveal(), found, chosen, tenant, patient
            )
            # what is derived from thousands of values takes a tenth of a second and more
            return await asyncio.to_thread(finish)
        except WardgateError:
            raise
        except Exception:  # noqa: BLE001 -- as where all is done here
            raise DetectorFailed from None
        finally:
            self._inside -= 1

    async def _in_process(
        self, text: PHI, policy: Policy, reference: Reference, seconds: float
    ) -> Found:
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                process = await self._idle.get()
        except TimeoutError:
            raise Overloaded(reason="deid-wait", retry_after=1.0) from None
        body: bytes | None = None
        try:
            async with asyncio.timeout_at(deadline):
                request = pack_request(text.reveal(), policy.hash, reference)
                reply = await _exchange(process, request)
                if lacks_policy(reply):
                    await _exchange(process, pack_policy(policy))
                    reply = await _exchange(process, request)
                body = reply
        except TimeoutError:
            raise DetectorFailed(reason="detector-deadline") from None
        except (OSError, EOFError, ValueError):
            raise DetectorFailed(reason="detector-process") from None
        finally:
            # A caller that left, a deadline or a fault leaves the process in the middle of a frame.
            if body is None:
                self._replace(process)
            else:
                self._idle.put_nowait(process)
        try:
            result = unpack_reply(body)
        except (ValueError, TypeError, KeyError, EOFError):
            raise DetectorFailed(reason="detector-reply") from None
        if result is None:
            raise DetectorFailed
        return result

    def _replace(self, process: asyncio.subprocess.Process) -> None:
        self._alive.discard(process)
        self._dying.add(process)
        task = asyncio.get_running_loop().create_task(self._respawn(process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respawn(self, old: asyncio.subprocess.Process) -> None:
        await self._end(old)
        while self._open:
            try:
                await self._spawn()
            except DetectorFailed:
                await asyncio.sleep(_RESTART_PAUSE_SECONDS)
            else:
                return

    async def _spawn(self) -> None:
        process: asyncio.subprocess.Process | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
                self._alive.add(process)
                if await _receive(process) != READY:
                    raise EOFError  # noqa: TRY301 -- as a process that died
        except (OSError, EOFError, TimeoutError, ValueError):
            if process is not None:
                await self._end(process)
            raise DetectorFailed(reason="detector-start") from None
        except BaseException:
            if process is not None:
                await self._end(process)
            raise
        self._idle.put_nowait(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._alive.discard(process)
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        self._dying.discard(process)


async def _exchange(process: asyncio.subprocess.Process, frame: bytes) -> bytes:
    assert process.stdin is not None
    process.stdin.write(frame)
    await process.stdin.drain()
    return await _receive(process)


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    return await process.stdout.readexactly(size)
