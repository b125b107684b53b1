"""Processes that stand for containers, each with a private ``/opt/ml``, its output in CloudWatch Logs, and a sure end.

A process leads its own process group, so that stopping it stops what it started. It stays in the session of the embedded cloud,
which ends with all of its processes.
"""

import contextlib
import logging
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any, ParamSpec, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_region

from mlops_local import clock, settings
from mlops_local.egress.environment import container
from mlops_local.sagemaker.roles import Identity

LOGGER = logging.getLogger(__name__)
P = ParamSpec("P")

# seconds between SIGTERM and SIGKILL; "SageMaker sends the algorithm SIGTERM, which delays termination for 120 seconds"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html
GRACE = 120.0
_FLUSH = 0.5  # real seconds that log lines wait for company
_BATCH = 1000  # lines a request; PutLogEvents takes 10,000

# what a container of ours needs from this machine; all else of the launcher's environment stays with the launcher
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


# claim: training-job-runs-as-documented
def background(name: str, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> threading.Thread:
    """Run work on a thread of its own, for the account and region of the caller; an error in it is logged."""
    context = copy_context()

    def run() -> None:
        try:
            context.run(work, *args, **kwargs)
        except Exception:
            LOGGER.exception("%s failed", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def opt_ml(*parts: str) -> Path:
    """Return a new, empty private root for what a container has under ``/opt/ml``."""
    root = Path(settings.home, "sagemaker", *parts)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root


def mapped(root: Path, text: str) -> str:
    """Return a text with the container path ``/opt/ml`` replaced by the private root.

    Example:
        >>> mapped(Path("/r"), "--data=/opt/ml/input")
        '--data=/r/input'
    """
    return text.replace("/opt/ml", str(root))


def environment(root: Path, given: Mapping[str, str], identity: Identity, *, isolated: bool) -> dict[str, str]:
    """Return the environment of a container: what AWS gives, what the caller gives, and where ``/opt/ml`` lies.

    Args:
        root: The private root.
        given: The caller's environment.
        identity: Execution role, whose temporary credentials the process gets.
        isolated: Network isolation: no credentials and no endpoint, and a proxy that refuses every host, as in a container
            that can make no outbound call.
    """
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    base |= {"AWS_REGION": get_region(), "AWS_DEFAULT_REGION": get_region(), "PYTHONUNBUFFERED": "1"}
    base |= container(isolated=isolated)
    if not isolated:
        url = settings.endpoint_url()
        base |= {"AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_S3": url, **identity.environment()}
    return base | {name: mapped(root, value) for name, value in given.items()} | {"MLOPS_OPT_ML": str(root)}


class Lines(Protocol):
    """Where a process's lines go."""

    stream: str

    def write(self, line: str) -> None:
        """Add a line."""

    def close(self) -> None:
        """Write what is left and end."""


class Process:
    """A container's process.

    Args:
        command: Program and arguments.
        env: Its whole environment.
        cwd: Its working directory.
        logs: Where its lines go.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, logs: Lines) -> None:
        self._process = subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._pump = background(f"logs of {logs.stream}", self._copy, logs)

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or ``None`` when it still runs after ``timeout`` real seconds. Default: wait for its end."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._end()
        return code

    def stop(self, grace: float = GRACE) -> int:
        """Send SIGTERM, then SIGKILL after ``grace`` real seconds, to the process and what it started.

        Returns:
            The exit code.
        """
        self._signal(signal.SIGTERM)
        if self.wait(grace) is None:
            self._signal(signal.SIGKILL)
        return self.wait() or 0

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _end(self) -> None:
        self._signal(signal.SIGKILL)  # what the process left behind in its group
        self._pump.join(timeout=5)

    def _copy(self, logs: Lines) -> None:
        stdout = self._process.stdout
        if stdout is None:
            return
        with stdout:
            for line in stdout:
                logs.write(line.decode(errors="replace").rstrip("\r\n"))
        logs.close()


class LogStream:
    """A log stream that is written with the execution role's permissions, as SageMaker does.

    A role that may not write logs loses them, as on AWS; the launcher's log then says so once.
    """

    def __init__(self, group: str, stream: str, identity: Identity) -> None:
        self.group, self.stream, self._identity = group, stream, identity.of_service()
        self._lines: queue.Queue[tuple[int, str] | None] = queue.Queue()
        self._writer = background(f"log stream {stream}", self._run)

    def write(self, line: str) -> None:
        """Add a line with the embedded cloud's time."""
        self._lines.put((int(clock.now() * 1000), line or " "))

    def close(self) -> None:
        """Write what is left and end."""
        self._lines.put(None)
        self._writer.join(timeout=5)

    def _run(self) -> None:
        client, ready, open_ = self._identity.client("logs"), False, True
        while open_:
            batch = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH and batch[-1] is not None:
                    batch.append(self._lines.get(timeout=_FLUSH))
            open_ = batch[-1] is not None
            events = [{"timestamp": item[0], "message": item[1]} for item in batch if item is not None]
            try:
                ready = ready or self._create(client)
                if events:
                    client.put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=events)
            except (ClientError, BotoCoreError) as error:
                LOGGER.warning("log lines of %s %s are lost: %s", self.group, self.stream, error)

    def _create(self, client: Any) -> bool:
        for create, names in (
            (client.create_log_group, {"logGroupName": self.group}),
            (client.create_log_stream, {"logGroupName": self.group, "logStreamName": self.stream}),
        ):
            try:
                create(**names)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        return True
