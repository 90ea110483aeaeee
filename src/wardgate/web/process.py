"""What every process of the gateway sets before it sees a request."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from wardgate.errors import StateInvalid

GATEWAY_FILE = "gateway.json"
"""In the state folder while a gateway runs: its addresses, for the client commands."""


def log_to_stderr() -> None:
    """Log our own sentences to standard error; no library logs a request's content there."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("wardgate")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Other loggers print no message of theirs: it may quote what a caller sent.
    logging.getLogger().handlers = [logging.NullHandler()]


def open_state(folder: Path) -> Path:
    """Make the state folder if needed and check that it is ours alone (mode 0700).

    Raises StateInvalid where it cannot be made or is open to others.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise StateInvalid(f"The state folder cannot be made: {error.strerror}.") from None
    if status.st_mode & 0o077:
        raise StateInvalid("The state folder is open to others; make its mode 0700.")
    if status.st_uid != os.geteuid():
        raise StateInvalid("The state folder belongs to another user.")
    return folder


class StateLock:
    """The running gateway's hold on its state folder; it ends with the process."""

    def __init__(self, folder: Path) -> None:
        """Take the lock. Raises StateInvalid where another gateway has it."""
        self._file = (folder / "lock").open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise StateInvalid("Another gateway runs on this state folder.") from None

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()
