"""Processes in place of containers: a private ``/opt/ml``, logs in CloudWatch, time limits and guaranteed termination."""

import contextlib
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_region

from mlops_local import clock, runners, settings
from mlops_local.egress.environment import container
from mlops_local.functions.function_processes import ForkedModule, ForkServer
from mlops_local.networks import security_groups
from mlops_local.networks.reach import Member
from mlops_local.sagemaker import resource_store
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.job_bounds import JobBounds
from mlops_local.sagemaker.role_clients import Identity
from mlops_local.saved_state import kept_stores
from mlops_runtime.instance_types import takes_volume_key

LOGGER = logging.getLogger(__name__)
P = ParamSpec("P")

# seconds between SIGTERM and SIGKILL; "SageMaker sends the algorithm SIGTERM, which delays termination for 120 seconds"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html
GRACE = 120.0
_FLUSH = 0.5  # longest wait of log lines for a batch, in real seconds
_WAITING = 10_000  # size of the queue of log lines; a container that prints faster is blocked
_JOB_LOG = 96 * 1024**2  # maximum bytes of a job's log; our own scripts stop earlier
_OF_A_LINE = 26  # overhead of a log line in bytes: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_LINE = 64 * 1024  # maximum bytes of a line; longer lines are split
_BATCH = 1000  # lines per request; PutLogEvents allows 10,000

# variables that containers inherit from the launcher
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "OMP_WAIT_POLICY")

_GRACE_OF_BOUNDS = 1.0  # short, because a job beyond its bounds does harm until it ends
_DAY = 86_400  # default of MaxRuntimeInSeconds in both APIs: one day
_LOOK = 0.05  # real seconds between two polls of a running process
_MESSAGE = 1024  # maximum characters of a failure or exit message
_SERVER = "mlops_runtime.serving"
_JOBS = frozenset(f"mlops_runtime.jobs.{name}" for name in ("evaluate", "predict", "train", "training_set"))
# prefixes of variables that are read at import
_READ_AT_LOAD = ("PYTHON", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "ORT_", "NPY_", "ARROW_")
_MOST = 4  # sets of variables; each needs a process with all imported modules
_servers: dict[tuple[tuple[str, str], ...], ForkServer] = kept_stores.leave(
    __name__, "_servers", {}, why="processes of this run"
)
_SERVERS_LOCK = threading.Lock()
# claim: training-job-runs-as-documented


def background(name: str, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> threading.Thread:
    """Run work on a new thread in the caller's account and Region; errors are logged."""
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
    """Return a new, empty folder that serves as a container's ``/opt/ml``."""
    root = Path(settings.home, "sagemaker", *parts)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root


def mapped(root: Path, text: str) -> str:
    """Return a string with the container path ``/opt/ml`` replaced by the private root.

    Example:
        >>> mapped(Path("/r"), "--data=/opt/ml/input")
        '--data=/r/input'
    """
    return text.replace("/opt/ml", str(root))


def environment(root: Path, given: Mapping[str, str], identity: Identity, *, isolated: bool) -> dict[str, str]:
    """Return the environment of a container: AWS's variables, the caller's variables, and the location of ``/opt/ml``.

    Args:
        root: The private root.
        given: The caller's environment.
        identity: Execution role, whose temporary credentials the process gets.
        isolated: Network isolation: no credentials and no endpoint, and a proxy that rejects every host, since the container
            must not make outbound calls.
    """
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    base |= {"AWS_REGION": get_region(), "AWS_DEFAULT_REGION": get_region(), "PYTHONUNBUFFERED": "1"}
    base |= container(isolated=isolated)
    if not isolated:
        url = settings.endpoint_url()
        base |= {"AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_S3": url, **identity.environment()}
    return base | {name: mapped(root, value) for name, value in given.items()} | {"MLOPS_OPT_ML": str(root)}


class Lines(Protocol):
    """Destination of a process's log lines."""

    stream: str

    def write(self, line: str) -> None:
        """Add a line."""

    def close(self) -> None:
        """Write the remaining lines and close."""


class Process:
    """A container's process, with its complete environment; `logs` gets its lines."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, logs: Lines) -> None:
        self._process = start_process(command, env=env, cwd=cwd)
        self._pump = background(f"logs of {logs.stream}", self._copy, logs)

    @property
    def pid(self) -> int:
        """The process id, which is also the process group id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; ``None`` while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code; ``None`` if it still runs after ``timeout`` real seconds. Default: no timeout."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._end()
        return code

    def stop(self, grace: float = GRACE) -> int:
        """Send SIGTERM, then SIGKILL after ``grace`` real seconds, to the process group; return the exit code."""
        self._signal(signal.SIGTERM)
        if self.wait(grace) is None:
            self._signal(signal.SIGKILL)
        return self.wait() or 0

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _end(self) -> None:
        self._signal(signal.SIGKILL)  # remaining processes of the group
        self._pump.join(timeout=5)

    def _copy(self, logs: Lines) -> None:
        stdout = self._process.stdout
        if stdout is None:
            return
        with stdout:
            while line := stdout.readline(_LINE):
                logs.write(line.decode(errors="replace").rstrip("\r\n"))
        logs.close()


class LogStream:
    """A log stream written with the execution role's permissions, as SageMaker does.

    Logs of a role without the permission are lost, as in AWS; the launcher logs this once.

    Args:
        group: Log group.
        stream: Log stream.
        identity: Execution role.
        limit: Maximum bytes, because the embedded cloud keeps logs in memory. Default: unlimited.
    """

    def __init__(self, group: str, stream: str, identity: Identity, *, limit: float = float("inf")) -> None:
        self.group, self.stream, self._identity = group, stream, identity.of_service()
        self._lines: queue.Queue[tuple[int, str] | None] = queue.Queue(_WAITING)
        self._limit, self._kept = limit, 0
        self._writer = background(f"log stream {stream}", self._run)

    def write(self, line: str) -> None:
        """Add a line with the embedded time; the first line beyond the limit is replaced by a notice."""
        if self._kept > self._limit:
            return
        self._kept += len(line) + _OF_A_LINE
        if self._kept > self._limit:
            line = f"the embedded cloud keeps {self._limit / 1024**2:.0f} MiB of a job's log; the rest is dropped"
        self._lines.put((int(clock.now() * 1000), line or " "))

    def close(self) -> None:
        """Write the remaining lines and close."""
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


# claim: failure-reason-is-the-scripts-file
class End(Enum):
    """How a job's process ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    OVERRAN = "overran"
    INTERRUPTED = "interrupted"
    WAITED = "waited"


class JobError(Exception):
    """A job failed outside of its script; the message is its ``FailureReason``."""


@dataclass(slots=True, kw_only=True)
class Job:
    """A running job."""

    kind: str  # `TrainingJob` or `ProcessingJob`
    record: Record  # its description, as Describe returns it
    image: str  # image URI
    command: list[str]  # local command, still with container paths
    group: str  # log group
    given: dict[str, str]  # the caller's environment variables
    isolated: bool  # network isolation
    # longest total duration in real seconds, including waits for spot capacity. Default: no limit
    patience: float = float("inf")
    root: Path = field(init=False)
    interruption: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    @property
    def name(self) -> str:
        """Job name."""
        return str(self.record[resource_store.KINDS[self.kind].name])

    @property
    def identity(self) -> Identity:
        """The execution role, resource and network of the job."""
        # claim: isolated-jobs-load-through-their-network
        # a training job has VpcConfig at the top level, a processing job in NetworkConfig
        config = self.record.get("VpcConfig") or self.record.get("NetworkConfig", {}).get("VpcConfig")
        member = Member.of(f"{self.kind} {self.name}", config)
        return Identity(self.record["RoleArn"], self.record[resource_store.KINDS[self.kind].arn], member)

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""
        return bool(self.record[f"{self.kind}Status"] == "Stopping")


class Submitted(Protocol):
    """A job with a record and a private root."""

    record: Record
    root: Path

    @property
    def kind(self) -> str:
        """Kind of its record."""

    @property
    def name(self) -> str:
        """Job name."""


J = TypeVar("J", bound=Submitted)


def submit(job: J, work: Callable[[J], None], fail: Callable[[Record, str], None]) -> None:
    """Run a job on a new thread; a ``JobError`` becomes its failure reason, and its files are deleted at its end."""
    job.root = opt_ml("jobs", job.kind, job.name)

    def run() -> None:
        try:
            work(job)
        except JobError as error:
            fail(job.record, str(error))
        except Exception as error:
            LOGGER.exception("%s %s failed", job.kind, job.name)
            fail(job.record, f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(job.root, ignore_errors=True)

    background(f"{job.kind} {job.name}", run)


def command(image: str, specification: Record, *, is_processing: bool = False) -> list[str]:
    """Return the command of a job; a training job without its own entry point runs the image's ``train``.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html

    Raises:
        ServiceError: ``ValidationException`` if the image or its entry point cannot run here.
    """
    # claim: job-image-must-be-known
    try:
        # claim: training-image-runs-train
        return runners.job_command(
            image,
            specification.get("ContainerEntrypoint"),
            specification.get("ContainerArguments"),
            is_processing=is_processing,
        )
    except runners.UnknownImageError as error:
        raise validation(str(error)) from error


def check_cluster(count: int, network: Record, *, encrypted: bool) -> None:
    """Reject several instances whose security groups block traffic between them; in AWS such a job waits until its time limit.

    Args:
        count: Number of instances.
        network: ``VpcConfig``; empty outside of the account's networks, where AWS allows the traffic.
        encrypted: Whether traffic between containers is encrypted.

    Raises:
        ServiceError: ``ValidationException`` with the missing rules.
    """
    # claim: instances-of-one-job-need-rules-to-each-other
    if count > 1 and network:
        problem = security_groups.cluster_problem(network.get("SecurityGroupIds", []), encrypted=encrypted)
        if problem is not None:
            raise validation(problem)


def check_volume_key(resources: Record) -> None:
    """Reject a volume key for an instance type whose local storage is encrypted by hardware.

    Raises:
        ServiceError: ``ValidationException`` with the instance type and the fix.
    """
    # claim: jobs-on-local-storage-take-no-key
    kind = resources.get("InstanceType", "")
    if resources.get("VolumeKmsKeyId") and not takes_volume_key(kind):
        raise validation(
            f"You can't request a VolumeKmsKeyId for instance type {kind}: it has local storage, which its hardware encrypts; "
            "leave VolumeKmsKeyId out"
        )


def request_stop(kind: str, name: str) -> Record:
    """Request a stop of a running job, and return its record.

    Raises:
        ServiceError: ``ValidationException`` if the job does not exist or has ended.
    """
    # claim: job-stops-only-while-it-runs
    record = resource_store.get(kind, name)
    status, word = f"{kind}Status", kind.removesuffix("Job").lower()
    with resource_store.LOCK:
        if record[status] not in ("InProgress", "Stopping"):
            raise validation(f"The request was rejected because the {word} job is in status {record[status]}.")
        resource_store.update(record, **{status: "Stopping"})
    return record


def run(job: Job, env: dict[str, str]) -> tuple[End, int]:
    """Run a job's process until its exit, a limit or a stop; return the kind of end, and the exit code.

    Raises:
        JobError: If the environment of its image cannot be created, or the job exceeds a bound.
    """
    limit = float(job.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY))
    if job.is_stopping:
        return End.STOPPED, 0
    # claim: job-image-must-be-known
    try:
        image = runners.environment(job.image, has_network=not job.isolated)
    except runners.UnknownImageError as error:
        raise JobError(str(error)) from error
    # claim: log-streams-begin-with-the-job
    logs = LogStream(job.group, f"{job.name}/algo-1-{int(clock.now())}", job.identity, limit=_JOB_LOG)
    process = Process(
        [mapped(job.root, part) for part in job.command],
        env=image | environment(job.root, job.given, job.identity, isolated=job.isolated) | env,
        cwd=job.root,
        logs=logs,
    )
    started = time.monotonic()
    bounds = JobBounds.of(job.record, job.root)
    try:
        while (code := process.wait(_LOOK)) is None:
            if (problem := bounds.problem(process.pid)) is not None:
                process.stop(_GRACE_OF_BOUNDS)
                raise JobError(f"AlgorithmError: {problem}")
            if (end := _end(job, started, limit)) is not None:
                return end, process.stop()
        return End.EXITED, code
    finally:
        job.spent += time.monotonic() - started


def _end(job: Job, started: float, limit: float) -> End | None:
    """Return why a running process must end now, or ``None``."""
    now = time.monotonic()
    if job.is_stopping:
        return End.STOPPED
    # checked first, since it counts from the creation: of two equal limits it expires earlier
    if now - job.began > job.patience:
        return End.WAITED
    if now - started + job.spent > limit:
        return End.OVERRAN
    return End.INTERRUPTED if job.interruption.is_set() else None


def message(job: Job, name: str) -> str | None:
    """Return the message that the script left in a file below ``/opt/ml/output``, truncated as by the service."""
    path = job.root / "output" / name
    return path.read_text(errors="replace")[:_MESSAGE] if path.is_file() else None


def failed_transfer(what: str, error: Exception) -> JobError:
    """Return the error of a failed download or upload, in the service's wording."""
    return JobError(f"ClientError: {what} failed: {error}"[:_MESSAGE])


TRANSFER_ERRORS = (ClientError, BotoCoreError, Boto3Error, OSError, ValueError)


def start_process(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path
) -> "subprocess.Popen[bytes] | ForkedModule":
    """Start a process in its own process group, with stderr in its output.

    Raises:
        OSError: If it cannot be started.
    """
    server = _fork_server(env) if is_shareable(command) else None
    if server is not None:
        _, _, module, *arguments = command
        # including later imports: a job reads a split, a server captures and reads features
        loads = (module, "pyarrow.dataset") if module in _JOBS else (f"{module}.server", "boto3")
        # set by the server's import, after which the environment is replaced
        environment = {"ORT_DISABLE_TELEMETRY": "1", **env}
        return server.start_module(module, arguments, loads=loads, folder=str(cwd), environment=environment)
    return subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def is_shareable(command: Sequence[str]) -> bool:
    """Return whether a process runs our model server or jobs."""
    if list(command[:2]) != [sys.executable, "-m"]:
        return False
    module, *arguments = command[2:]
    return module in _JOBS or [module, *arguments] == [_SERVER, "serve"]


def _fork_server(env: Mapping[str, str]) -> ForkServer | None:
    """Return the fork server for a container's variables, for the first few sets of variables."""
    read = {name: value for name, value in env.items() if name.startswith(_READ_AT_LOAD)}
    key = tuple(sorted(read.items()))
    with _SERVERS_LOCK:
        if key not in _servers and len(_servers) < _MOST:
            ours = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_LOAD)}
            _servers[key] = ForkServer(ours | read)
        return _servers.get(key)
