"""Make SIGTERM end a command with its cleanup, as Ctrl-C does."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Exit the block at SIGTERM; further SIGTERMs are ignored, so that they cannot interrupt the cleanup.

    Raises:
        SystemExit: At SIGTERM, with 128 plus the signal number.
    """

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
