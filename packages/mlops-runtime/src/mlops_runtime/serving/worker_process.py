"""A process of other code, with the Python of its own environment: started, asked over a socket pair, and given up.

It gets no credentials, no proxy and no variables of this one; what is asked and answered goes over the socket, never a port or a
pickle. An answer is a length, a number of columns and as many bytes; a negative length has the error's one line.
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


class WorkerGoneError(ModelError):
    """The process has ended; who needs it must end too."""


class WorkerProcess:
    """One process, and the socket to it.

    Args:
        what: What it is called in errors: ``the model``.
        program: A file of the standard library and of what its environment has. It gets the descriptor of its socket, then the
            arguments.
        python: The interpreter of its environment.
        arguments: Its arguments.

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
        """Wait until it says that it has loaded what it needs.

        Raises:
            ModelError: If it says that it failed.
            SlowModelError: If it has not loaded in time.
            WorkerGoneError: If its process has ended.
        """
        self._wire.settimeout(load_seconds)
        try:
            self._answer()
        except (WorkerGoneError, OSError) as error:
            if isinstance(error, SlowModelError):
                raise
            raise self._gone(" while it loaded") from error
        self._wire.settimeout(answer_seconds)

    def ask(self, request: bytes) -> tuple[bytes, int]:
        """Return the bytes of an answer, and how many columns it has.

        Raises:
            ModelError: If it says that it failed.
            SlowModelError: If it has not answered in time.
            WorkerGoneError: If its process has ended.
        """
        try:
            self._wire.sendall(request)
            return self._answer()
        except (WorkerGoneError, OSError) as error:
            if isinstance(error, SlowModelError):
                raise
            raise self._gone() from error

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process, and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._wire.close()

    def _gone(self, when: str = "") -> WorkerGoneError:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its socket closes a little before it ends by itself
            self._process.wait(_END_SECONDS)
        self.close()
        return WorkerGoneError(
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
                raise SlowModelError(f"{self._what} has not answered within {self._wire.gettimeout():g} s") from error
            if not part:
                raise WorkerGoneError("its process has ended")
            data += part
        return bytes(data)
