"""Progress lines of steps: a terminal shows the running step with its seconds; other streams get a line for each start."""

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

_EVERY = 0.2  # seconds between updates of the live line
_COLUMNS = 80  # if the terminal reports no width


class StepLines:
    """Writes lines, and the running step with its time.

    Args:
        stream: Output stream. Default: standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._is_live = self._stream.isatty()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._name, self._started = "", 0.0
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._is_live:
            self._thread.join()
        with self._lock:
            self._clear()

    def begin(self, name: str) -> None:
        """Show a step as running."""
        with self._lock:
            self._clear()
            self._name, self._started = name, time.monotonic()
            if self._is_live:
                self._show()
            else:
                print(f"...{'':10}{name}", file=self._stream, flush=True)

    def say(self, line: str) -> None:
        """Replace the running step by a line."""
        with self._lock:
            self._clear()
            print(line, file=self._stream, flush=True)

    def _tick(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if self._name:
            line = f"...  {time.monotonic() - self._started:6.1f} s  {self._name}"
            columns = os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
            # a wrapped line could not be overwritten; ESC [K erases the rest of a line, ECMA-48 8.3.41
            self._stream.write(f"\r{line[: columns - 1]}\x1b[K")
            self._stream.flush()

    def _clear(self) -> None:
        if self._is_live and self._name:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._name = ""
