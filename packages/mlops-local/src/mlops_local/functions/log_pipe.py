"""Reads the complete stderr of a function's process at the end of an invocation, without waiting for more.

MiniStack waits 50 ms for lines after each invocation that wrote none, and under load attributes late lines to the next invocation.
A process writes its lines before its response, so they are in the pipe when the response arrives.
"""

import codecs
import io
import logging
import os
import select
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import request_scope

LOGGER = logging.getLogger(__name__)

_CHUNK = 65536


class LogPipe:
    """Lines of a pipe, each passed on once and in order, by whichever thread reads it."""

    def __init__(self, descriptor: int, hand_on: Callable[[str], None]) -> None:
        """Duplicate the descriptor, because MiniStack closes its own when it drops the process."""
        self._descriptor, self._hand_on = os.dup(descriptor), hand_on
        self._decoder = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder("utf-8")("backslashreplace"), translate=True
        )
        self._pending, self._ended, self._lock = "", False, threading.Lock()
        self._readable = self._poll()

    def follow(self) -> None:
        """Read lines as they come, until all writers have closed the pipe."""
        comes = self._poll()
        while not self._ended:
            comes.poll()
            self.take()
        os.close(self._descriptor)  # only here: the number may be reused immediately

    def take(self) -> None:
        """Pass on every line written so far."""
        with self._lock:
            while not self._ended and self._readable.poll(0):
                content = os.read(self._descriptor, _CHUNK)
                self._ended = not content
                *lines, self._pending = (self._pending + self._decoder.decode(content, final=self._ended)).split("\n")
                if self._ended and self._pending:
                    lines.append(self._pending)
                for line in lines:
                    self._hand_on(line)

    def _poll(self) -> select.poll:
        # one per thread: two threads must not wait on the same object
        made = select.poll()
        made.register(self._descriptor, select.POLLIN)
        return made


def install(look: Callable[[str], None]) -> None:
    """Read a function's lines as they come, and all lines of an invocation at its end."""
    pipes: weakref.WeakKeyDictionary[threading.Thread, LogPipe] = weakref.WeakKeyDictionary()
    worker_class = lambda_runtime.Worker
    drain, drain_bounded = worker_class._drain_stderr, worker_class._drain_stderr_bounded

    def read(worker: Any) -> None:
        lines = worker._stderr_queue
        _, _, _, region, account, *_ = worker.config["FunctionArn"].split(":")

        def hand_on(line: str) -> None:
            try:
                # this thread may serve no request: embedded metrics belong to the function's account and Region
                with request_scope(account, region):
                    look(line)
            except Exception:
                LOGGER.debug("a line of %s was not read", worker.func_name, exc_info=True)
            lines.put(line)

        pipe = LogPipe(worker._proc.stderr.fileno(), hand_on)
        pipes[threading.current_thread()] = pipe
        pipe.follow()

    def pipe_of(worker: Any) -> LogPipe | None:
        # None: a process of a custom runtime, or one whose thread has not begun
        return None if worker._stderr_thread is None else pipes.get(worker._stderr_thread)

    def take(worker: Any) -> str:
        if pipe := pipe_of(worker):
            pipe.take()
        return str(drain(worker))

    def take_bounded(worker: Any, **waits: float) -> str:
        return take(worker) if pipe_of(worker) else str(drain_bounded(worker, **waits))

    worker_class._read_stderr, worker_class._drain_stderr, worker_class._drain_stderr_bounded = read, take, take_bounded
