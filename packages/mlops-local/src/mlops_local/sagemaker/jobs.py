"""What training and processing jobs share: a process with a time limit, and how it came to its end.

Records carry the embedded clock's times; a script's run time and ``MaxRuntimeInSeconds`` are real seconds.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from mlops_local import clock, runners
from mlops_local.networks import security_groups
from mlops_local.networks.reach import Member
from mlops_local.sagemaker import store
from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.processes import LogStream, Process, background, environment, mapped, opt_ml
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record

LOGGER = logging.getLogger(__name__)

_DAY = 86_400  # MaxRuntimeInSeconds where none is given; both APIs default to one day
_LOOK = 0.05  # real seconds between two looks at a running process
_MESSAGE = 1024  # characters of a failure or exit message that the service keeps


# claim: failure-reason-is-the-scripts-file
class End(Enum):
    """How a job's process ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    OVERRAN = "overran"
    INTERRUPTED = "interrupted"
    WAITED = "waited"


class JobError(Exception):
    """A job failed outside its script; the message is its ``FailureReason``."""


@dataclass(slots=True, kw_only=True)
class Job:
    """A job on its way.

    Args:
        kind: ``TrainingJob`` or ``ProcessingJob``.
        record: What Describe answers.
        image: Image URI.
        command: Command of this machine, paths of the container still in it.
        group: Log group.
        given: Environment that the caller gives.
        isolated: Network isolation.
        patience: Real seconds that it may take in all, with what it waits for spot capacity. Default: no limit.
    """

    kind: str
    record: Record
    image: str
    command: list[str]
    group: str
    given: dict[str, str]
    isolated: bool
    patience: float = float("inf")
    root: Path = field(init=False)
    interruption: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    @property
    def name(self) -> str:
        """Job name."""
        return str(self.record[store.KINDS[self.kind].name])

    @property
    def identity(self) -> Identity:
        """In whose name it runs."""
        # claim: isolated-jobs-load-through-their-network
        # a training job has its network beside its other members, a processing job in NetworkConfig
        config = self.record.get("VpcConfig") or self.record.get("NetworkConfig", {}).get("VpcConfig")
        member = Member.of(f"{self.kind} {self.name}", config)
        return Identity(self.record["RoleArn"], self.record[store.KINDS[self.kind].arn], member)

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked it to end."""
        return bool(self.record[f"{self.kind}Status"] == "Stopping")


def submit(job: Job, work: Callable[[Job], None], fail: Callable[[Record, str], None]) -> None:
    """Run a job on a thread of its own; its files go when it ends.

    Args:
        job: The job.
        work: What it does; a ``JobError`` of it is the job's failure reason.
        fail: Ends a record as Failed with a reason.
    """
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
    """Return the command of a job; a training job without an entry point of its own runs the image's ``train``.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html

    Raises:
        ServiceError: ``ValidationException``: nothing here runs the image or its entry point.
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
    """Refuse several instances whose security groups keep them apart; on AWS such a job waits until its time is up.

    Args:
        count: Instances.
        network: ``VpcConfig``; empty outside of a network of the account, where AWS cares for it.
        encrypted: Whether traffic between containers is encrypted.

    Raises:
        ServiceError: ``ValidationException`` with the rules that are missing.
    """
    # claim: instances-of-one-job-need-rules-to-each-other
    if count > 1 and network:
        problem = security_groups.cluster_problem(network.get("SecurityGroupIds", []), encrypted=encrypted)
        if problem is not None:
            raise validation(problem)


def request_stop(kind: str, name: str) -> Record:
    """Ask a running job to end, and return its record.

    Raises:
        ServiceError: ``ValidationException``: the job is absent or has ended.
    """
    # claim: job-stops-only-while-it-runs
    record = store.get(kind, name)
    status, word = f"{kind}Status", kind.removesuffix("Job").lower()
    with store.LOCK:
        if record[status] not in ("InProgress", "Stopping"):
            raise validation(f"The request was rejected because the {word} job is in status {record[status]}.")
        store.update(record, **{status: "Stopping"})
    return record


def run(job: Job, env: dict[str, str]) -> tuple[End, int]:
    """Run a job's process to its end, its limit or a stop.

    Args:
        job: The job.
        env: What its environment holds beside the caller's.

    Returns:
        How it ended, and its exit code.
    """
    limit = float(job.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY))
    if job.is_stopping:
        return End.STOPPED, 0
    # claim: log-streams-begin-with-the-job
    logs = LogStream(job.group, f"{job.name}/algo-1-{int(clock.now())}", job.identity)
    process = Process(
        [mapped(job.root, part) for part in job.command],
        env=environment(job.root, job.given, job.identity, isolated=job.isolated) | env,
        cwd=job.root,
        logs=logs,
    )
    started = time.monotonic()
    try:
        while (code := process.wait(_LOOK)) is None:
            if (end := _end(job, started, limit)) is not None:
                return end, process.stop()
        return End.EXITED, code
    finally:
        job.spent += time.monotonic() - started


def _end(job: Job, started: float, limit: float) -> End | None:
    """Say why a running process must end now."""
    now = time.monotonic()
    if job.is_stopping:
        return End.STOPPED
    if now - started + job.spent > limit:
        return End.OVERRAN
    if now - job.began > job.patience:
        return End.WAITED
    return End.INTERRUPTED if job.interruption.is_set() else None


def message(job: Job, name: str) -> str | None:
    """Return the text that the script left for the service in a file under ``/opt/ml/output``, cut as the service cuts it."""
    path = job.root / "output" / name
    return path.read_text(errors="replace")[:_MESSAGE] if path.is_file() else None


def failed_transfer(what: str, error: Exception) -> JobError:
    """Return the failure of a download or an upload in the service's words."""
    return JobError(f"ClientError: {what} failed: {error}"[:_MESSAGE])


TRANSFER_ERRORS = (ClientError, BotoCoreError, OSError, ValueError)
