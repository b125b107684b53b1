"""Processes of functions: forked from a server with their common imports, at a fraction of a cold start's CPU time.

AWS's Python runtime includes boto3 too: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html. A function that includes
its own module under one of those names, or sets a variable that Python reads at start, gets a new process instead.

A broken worker or an updated function never ends a process that serves another call. Lambda gives each concurrent call an
environment of its own, and updates and deletes a function while calls run:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html. MiniStack ends all processes of a function when one
breaks, and when the function changes, so that other calls failed without a reason. Calls of WebSocket APIs lease no process and
may still end this way; no construct has such an API.
"""

import contextlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from mlops_local.functions.process_fork import HEADER

_SHARED = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
_LAYERS = "_LAMBDA_LAYERS_DIRS"

# removed from the pool, to be ended after their current call
_leaving: weakref.WeakSet[Any] = weakref.WeakSet()


def install() -> None:
    """Fork the processes that MiniStack starts for Python functions; all other processes start as before."""
    server = ForkServer()

    def start(command: Sequence[str], **options: Any) -> "subprocess.Popen[str] | ForkedFunction":
        if not is_shareable(command, folder=options.get("cwd") or "", environment=options.get("env") or {}):
            return subprocess.Popen(command, **options)
        return server.start(command[1], folder=options["cwd"], environment=options["env"])

    lambda_runtime.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})
    _keep_busy_processes()


def is_shareable(command: Sequence[str], *, folder: str, environment: Mapping[str, str]) -> bool:
    """Return whether a process may be forked: same Python, same settings, and no own copies of the shared modules."""
    if len(command) != 2 or command[0] != sys.executable:  # Python and a script
        return False
    settings = {name for name in {*environment, *os.environ} if name.startswith("PYTHON")}
    if any(environment.get(name) != os.environ.get(name) for name in settings):
        return False
    layers = [Path(layer) for layer in environment.get(_LAYERS, "").split(os.pathsep) if layer]
    folders = [Path(folder), *layers, *(layer / "python" for layer in layers)]
    folders += [found for layer in layers for found in layer.glob("python/lib/*/site-packages")]
    return not any((one / name).exists() for one in folders for name in _SHARED)


class ForkServer:
    """The server process that others are forked from; started on first use, and again if it has ended."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def start(self, script: str, *, folder: str, environment: Mapping[str, str]) -> "ForkedFunction":
        """Start a process that runs a script.

        Raises:
            OSError: If the server ended before it responded.
        """
        pipes = [os.pipe() for _ in range(4)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0], pipes[3][0]]
        request = {"script": script, "folder": folder, "environment": dict(environment)}
        return ForkedFunction(self._start(request, theirs, ours), *ours)

    def start_module(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        loads: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
    ) -> "ForkedModule":
        """Start a process that runs a module and leads a process group, without input, and with stderr in its output.

        Args:
            arguments: Command-line arguments.
            loads: Modules to import before the fork, shared with further processes of the module.
            folder: Working directory.
            environment: The complete environment.

        Raises:
            OSError: If the server ended before it responded.
        """
        output, exit_code = os.pipe(), os.pipe()
        theirs = [os.open(os.devnull, os.O_RDONLY), output[1], os.dup(output[1]), exit_code[1]]
        ours = [output[0], exit_code[0]]
        request = {"script": module, "folder": folder, "environment": dict(environment)}
        request |= {"arguments": list(arguments), "loads": list(loads)}
        return ForkedModule(self._start(request, theirs, ours), *ours)

    def _start(self, request: Mapping[str, object], theirs: list[int], ours: list[int]) -> int:
        try:
            with self._lock:
                return self._fork(json.dumps(request).encode(), theirs)
        except OSError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def close(self) -> None:
        """End the server; its forked processes continue."""
        with self._lock:
            if self._channel is not None and self._process is not None:
                self._channel.close()
                self._process.wait()

    def _fork(self, content: bytes, descriptors: list[int]) -> int:
        try:
            return self._send_fork(self._ready(), content, descriptors)
        except OSError:
            if self._process is None or self._process.wait() == 0:
                raise
            return self._send_fork(self._ready(), content, descriptors)  # the server was killed

    def _send_fork(self, channel: socket.socket, content: bytes, descriptors: list[int]) -> int:
        socket.send_fds(channel, [len(content).to_bytes(HEADER, "big")], descriptors)
        channel.sendall(content)
        answer = channel.recv(HEADER, socket.MSG_WAITALL)
        if not answer:
            raise OSError("the process that functions are forked from has ended")
        return int.from_bytes(answer, "big")

    def _ready(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        if self._channel is not None:
            self._channel.close()
        self._channel, other = socket.socketpair()
        with other:
            command = [sys.executable, "-m", "mlops_local.functions.process_fork", str(other.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()], env=self._environment
            )
        return self._channel


class ForkedProcess:
    """A child process of the server, with the interface of a ``subprocess.Popen``."""

    def __init__(self, pid: int, exit_code: int) -> None:
        """Take ownership of the descriptor of the exit code's pipe."""
        self.pid = pid
        self.returncode: int | None = None
        self._exit_code = os.fdopen(exit_code, "rb", buffering=0)
        self._ended = select.poll()
        self._ended.register(exit_code, select.POLLIN)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code; ``None`` while the process runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once the process has ended.

        Raises:
            subprocess.TimeoutExpired: If the process runs longer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0.05)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _look(self, seconds: float) -> int | None:
        with self._lock:
            if self.returncode is None and self._ended.poll(int(seconds * 1000)):
                # a killed server sends no exit code: its processes see their input end
                self.returncode = int(self._exit_code.read() or -signal.SIGKILL)
                self._exit_code.close()
            return self.returncode


class ForkedFunction(ForkedProcess):
    """A forked function process, with the part of ``subprocess.Popen`` that MiniStack uses."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int, exit_code: int) -> None:
        """Take ownership of the descriptors of the standard streams and the exit code's pipe."""
        super().__init__(pid, exit_code)
        self.stdin = io.TextIOWrapper(os.fdopen(stdin, "wb"), encoding="utf-8", line_buffering=True, write_through=True)
        self.stdout = io.TextIOWrapper(os.fdopen(stdout, "rb"), encoding="utf-8")
        self.stderr = io.TextIOWrapper(os.fdopen(stderr, "rb"), encoding="utf-8")


class ForkedModule(ForkedProcess):
    """A forked module process and its output."""

    def __init__(self, pid: int, stdout: int, exit_code: int) -> None:
        """Take ownership of the descriptors of its output and the exit code's pipe."""
        super().__init__(pid, exit_code)
        self.stdout = os.fdopen(stdout, "rb")


def _keep_busy_processes() -> None:
    """Keep processes that serve a call until it is over."""
    # claim: a-call-keeps-its-environment
    # claim: a-deleted-function-answers-its-calls
    release = lambda_runtime.release_worker

    def release_or_end(worker: Any) -> None:
        release(worker)
        if worker in _leaving:
            worker.kill()

    lambda_runtime.invalidate_worker = lambda_svc.invalidate_worker = _invalidate_idle
    lambda_runtime.release_worker = lambda_svc.release_worker = release_or_end
    for kind in (lambda_runtime.Worker, lambda_runtime.ProvidedWorker):
        kind.invoke = _ending(kind.invoke)


def _invalidate_idle(
    func_name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
) -> None:
    """Remove all processes of a function from the pool, and end the idle ones."""
    wanted = (account, region, func_name, qualifier)
    with lambda_runtime._lock:
        keys = [
            key
            for key in lambda_runtime._workers
            if all(want in (None, got) for want, got in zip(wanted, key.split(":"), strict=True))
        ]
        found = [worker for key in keys for worker in lambda_runtime._workers.pop(key)]
        _leaving.update(worker for worker in found if worker.in_use)
        idle = [worker for worker in found if not worker.in_use]
    lambda_runtime.kill_workers(idle)


def _ending(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """End the process of a broken call, which is in no pool any more."""

    def invoke_or_end(worker: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return invoke(worker, *arguments, **named)
        except Exception:
            worker.kill()
            raise

    return invoke_or_end
