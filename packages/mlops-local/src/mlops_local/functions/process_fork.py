"""``python -m mlops_local.functions.process_fork FD``: forks processes of Python functions or modules after importing for them.

Processes of functions share boto3, and processes of a module share its imports. The socket ``FD`` receives one request per
process from :mod:`mlops_local.functions.function_processes`; this process ends when the other end of the socket is closed.

A function's zip is unpacked for each of its processes; compiling its modules each time took a third of a cold start, so byte code
of installed modules serves for identical modules in a zip.
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
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType
from typing import Any

import boto3
from botocore.loaders import Loader

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


def share_byte_code(folder: str) -> None:
    """Let this process import modules below a function's unpacked zip without compiling those that are also installed."""

    class Loader(SourceFileLoader):
        """Loads modules of the folder."""

        def get_code(self, fullname: str) -> CodeType | None:
            """Return the byte code of the installed file of the same name if its content is identical."""
            name, content = self.path.removeprefix(folder).lstrip(os.sep), self.get_data(self.path)
            for place in sys.path:
                file = f"{place}{os.sep}{name}"
                if file != self.path and _is_same(file, content):
                    code = SourceFileLoader(fullname, file).get_code(fullname)
                    return None if code is None else _moved(code, self.path)
            return super().get_code(fullname)

        def set_data(self, *_: object, **__: object) -> None:
            """Write no byte code: the folder is deleted with this process."""

    finder = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES), (Loader, SOURCE_SUFFIXES), (SourcelessFileLoader, BYTECODE_SUFFIXES)
    )

    def hook(path: str) -> Any:
        if not f"{path}{os.sep}".startswith(f"{folder}{os.sep}"):
            raise ImportError(path)
        return finder(path)

    sys.path_hooks.insert(0, hook)


def _is_same(file: str, content: bytes) -> bool:
    try:
        return Path(file).read_bytes() == content
    except OSError:
        return False


def _moved(code: CodeType, path: str) -> CodeType:
    """Return code whose tracebacks name the function's own file."""
    constants = tuple(_moved(each, path) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Description of the process to fork."""

    script: str  # path of a script, or name of a module
    folder: str  # working directory
    environment: Mapping[str, str]  # the complete environment
    arguments: Sequence[str] = ()  # command-line arguments
    # modules to import before the fork; if given, `script` names a module, and the process leads a process group.
    # Default: none, and boto3 is imported
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
        share_byte_code(request.folder)
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
