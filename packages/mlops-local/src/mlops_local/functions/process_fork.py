"""``python -m mlops_local.functions.process_fork FD``: forks processes of Python functions or modules after importing for them.

Processes of functions share boto3, and processes of a module share its imports. The socket ``FD`` receives one request per process
from :mod:`mlops_local.functions.function_processes`; this process ends when the other end of the socket is closed.
"""

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.loaders import Loader

from mlops_local.functions import byte_code

HEADER = 4  # bytes of a message's length, big endian
STREAMS = 3  # first descriptors of a request: stdin, stdout and stderr; then the pipe of the exit code

_SERVICES = (
    "sts",
    "s3",
    "dynamodb",
    "stepfunctions",
    "events",
    "cloudwatch",
    "sagemaker",
)  # many functions create clients of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Description of the process to fork.

    Args:
        script: Path of a script, or name of a module.
        folder: Working directory.
        environment: The complete environment.
        arguments: Command-line arguments. Default: none.
        loads: Modules to import before the fork; if given, ``script`` names a module, and the process leads a process group.
            Default: none, and boto3 is imported.
    """

    script: str
    folder: str
    environment: Mapping[str, str]
    arguments: Sequence[str] = ()
    loads: Sequence[str] = ()


def main(descriptor: int) -> None:
    """Import what is shared, then fork a process per request; in a forked process, run its script."""
    gc.disable()  # imported modules stay
    with socket.socket(fileno=descriptor) as channel:
        request = _serve(channel)
    if request is not None:
        gc.enable()
        _run(request)


@functools.cache
def _load(modules: tuple[str, ...]) -> None:
    """Import modules, or else boto3 and the botocore files that its sessions read."""
    for module in modules:
        with contextlib.suppress(ImportError):  # reported when the module runs
            importlib.import_module(module)
    if modules:
        return
    known: dict[tuple[str, ...], dict[Any, Any]] = {}

    def cache(loader: Loader) -> dict[Any, Any]:
        return known.setdefault(tuple(loader.search_paths), {})

        # each session creates a loader, which would list the services and read their files again

    Loader._cache = property(cache, lambda *_: None)  # type: ignore[attr-defined]
    session = boto3.Session("none", "none", region_name="us-east-1")
    for service in _SERVICES:
        session.client(service, endpoint_url="http://127.0.0.1:1")


def _serve(channel: socket.socket) -> Request | None:
    """Fork for each request and send exit codes; return the request in a forked process, and ``None`` at the end."""
    exit_codes: dict[int, int] = {}  # pid to the descriptor of its exit code
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with woken, wakes, selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                _collect(exit_codes)
            if channel not in ready:
                continue
            header, descriptors, _, _ = socket.recv_fds(channel, HEADER, STREAMS + 1)
            if not header:
                return None
            request = Request(**json.loads(_read(channel, int.from_bytes(header, "big"))))
            _load(tuple(request.loads))
            gc.freeze()  # otherwise a process scans all loaded objects at exit, which copies their pages
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _take(descriptors[:STREAMS], close=[*exit_codes.values(), *descriptors])
                return request
            if request.loads:
                with contextlib.suppress(
                    PermissionError, ProcessLookupError
                ):  # the process did so itself, or has ended
                    os.setpgid(pid, pid)
            exit_codes[pid] = descriptors[STREAMS]
            for stream in descriptors[:STREAMS]:
                os.close(stream)
            channel.sendall(pid.to_bytes(HEADER, "big"))


def _read(channel: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        parts += channel.recv(length - len(parts))
    return parts


def _collect(exit_codes: dict[int, int]) -> None:
    """Send the exit code of each ended process to its parent."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with os.fdopen(exit_codes.pop(pid), "wb", buffering=0) as reader, contextlib.suppress(BrokenPipeError):
                reader.write(str(os.waitstatus_to_exitcode(status)).encode())


def _take(streams: list[int], *, close: list[int]) -> None:
    """Make descriptors the standard streams of this process, and close those of other processes."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for descriptor in close:
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = _text(0, "r", errors="strict")  # type: ignore[misc]  # as a new interpreter sets it
    sys.stdout = sys.__stdout__ = _text(1, "w", errors="strict")  # type: ignore[misc]  # the same
    sys.stderr = sys.__stderr__ = _text(2, "w", errors="backslashreplace")  # type: ignore[misc]  # the same


def _text(descriptor: int, mode: str, *, errors: str) -> io.TextIOWrapper:
    # unbuffered output, as with PYTHONUNBUFFERED
    stream = os.fdopen(descriptor, f"{mode}b", buffering=-1 if mode == "r" else 0, closefd=False)
    return io.TextIOWrapper(stream, encoding="utf-8", errors=errors, write_through=mode == "w")


def _run(request: Request) -> None:
    """Set up this forked process for its request."""
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    sys.argv = [request.script, *request.arguments]
    if not request.loads:
        sys.path[0] = str(Path(request.script).parent)
        byte_code.share(request.folder)
        runpy.run_path(request.script, run_name="__main__")
        return
    os.setpgid(0, 0)
    sys.modules.pop(request.script, None)  # a module that is already imported runs again, as __main__
    random.seed()
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random").seed()  # seeded at import: each process would draw the same numbers
    sys.path[0] = request.folder
    runpy.run_module(request.script, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
