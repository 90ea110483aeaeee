"""The program `wardgate`, also as `python -m wardgate`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line; Ctrl-C ends it without a stack trace even while modules load."""
    # gRPC's own messages quote what a peer sent; it reads this when its library is loaded.
    os.environ["GRPC_VERBOSITY"] = "NONE"
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from wardgate import cli  # noqa: PLC0415 -- loaded after the line above

    signal.signal(signal.SIGINT, handler)
    cli.main()


if __name__ == "__main__":
    main()
