"""SIGTERM ends a command as Ctrl-C does, so that what it began is cleaned up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Leave the block at SIGTERM with its exit code; a second one does not cut the clean-up short.

    Raises:
        SystemExit: At SIGTERM, with 128 and its number.
    """

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
