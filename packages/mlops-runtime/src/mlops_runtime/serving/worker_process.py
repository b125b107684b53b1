"""A process that runs other code with the Python of its own environment, connected by a socket pair.

It gets no credentials, no proxy and no environment variables of this process; requests and responses use the socket, never a port
or a pickle. A response is a length, a number of columns and the bytes; if the length is negative, a one-line error message.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path

from mlops_runtime.serving.served_model import ModelError, SlowModelError

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "OMP_NUM_THREADS": "1"}  # noqa: S108
_END_SECONDS = 1.0
_ANSWER = struct.Struct("<qq")


class WorkerEndedError(ModelError):
    """The process has ended; a caller that depends on it must end too."""


class WorkerProcess:
    """One process, and the socket to it.

    Args:
        what: Its name in error messages, such as ``the model``.
        program: A file that uses the standard library and packages of the environment. Its arguments are the descriptor of its
            socket, then ``arguments``.
        python: The interpreter of the environment.
        arguments: Further arguments.

    Raises:
        ModelError: If it cannot be started.
    """

    def __init__(self, what: str, program: Path, python: Path, *arguments: str) -> None:
        self._what = what
        self._wire, theirs = socket.socketpair()
        command = [str(python), "-I", str(program), str(theirs.fileno()), *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._wire.close()
            raise ModelError(f"{what}'s environment cannot run {python}: {error.strerror}") from error
        finally:
            theirs.close()

    def wait(self, load_seconds: float, answer_seconds: float) -> None:
        """Wait until the process reports that it has loaded.

        Raises:
            ModelError: If it reports an error.
            SlowModelError: If it does not load in time.
            WorkerEndedError: If it has ended.
        """
        self._wire.settimeout(load_seconds)
        try:
            self._answer()
        except (WorkerEndedError, OSError) as error:
            if isinstance(error, SlowModelError):
                raise
            raise self._ended(" while it loaded") from error
        self._wire.settimeout(answer_seconds)

    def call(self, request: bytes) -> tuple[bytes, int]:
        """Send a request; return the bytes of the response and its number of columns.

        Raises:
            ModelError: If the process reports an error.
            SlowModelError: If it does not respond in time.
            WorkerEndedError: If it has ended.
        """
        try:
            self._wire.sendall(request)
            return self._answer()
        except (WorkerEndedError, OSError) as error:
            if isinstance(error, SlowModelError):
                raise
            raise self._ended() from error

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def close(self) -> None:
        """Kill the process, and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._wire.close()

    def _ended(self, when: str = "") -> WorkerEndedError:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its socket closes shortly before it exits
            self._process.wait(_END_SECONDS)
        self.close()
        return WorkerEndedError(
            f"{self._what}'s process has ended with code {self._process.returncode}{when}; see the log"
        )

    def _answer(self) -> tuple[bytes, int]:
        size, columns = _ANSWER.unpack(self._exactly(_ANSWER.size))
        content = self._exactly(abs(size))
        if size < 0:
            raise ModelError(f"{self._what} failed: {content.decode('utf-8', 'replace')}")
        return content, columns

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part = self._wire.recv(count - len(data))
            except TimeoutError as error:
                raise SlowModelError(f"{self._what} has not responded within {self._wire.gettimeout():g} s") from error
            if not part:
                raise WorkerEndedError("its process has ended")
            data += part
        return bytes(data)
