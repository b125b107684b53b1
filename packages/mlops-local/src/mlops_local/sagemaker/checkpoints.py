"""Checkpoints of training jobs: a local folder that comes from S3 and goes there while the script runs, and at its end.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_local.sagemaker import jobs, transfer
from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.jobs import Job
from mlops_local.sagemaker.processes import background, mapped
from mlops_local.sagemaker.shapes import Record

LOGGER = logging.getLogger(__name__)

_DEFAULT = "/opt/ml/checkpoints"
_EVERY = 0.5  # real seconds between two looks at the folder


def check(request: Record) -> None:
    """Refuse a folder that is not a container's own.

    Raises:
        ServiceError: ``ValidationException``.
    """
    # claim: checkpoints-are-kept-while-a-job-trains
    config = request.get("CheckpointConfig")
    if config is None:
        return
    path = config.get("LocalPath", _DEFAULT).rstrip("/")
    taken = ("/opt/ml/input", "/opt/ml/model", "/opt/ml/output", "/opt/ml/code")
    if ".." in path or not path.startswith("/opt/ml/") or path.startswith(taken):
        raise validation(
            f"CheckpointConfig.LocalPath must be a folder of its own under /opt/ml in the embedded SageMaker, got {path!r}"
        )
    if not config["S3Uri"].startswith("s3://"):
        raise validation(f"CheckpointConfig.S3Uri must begin with s3://, got {config['S3Uri']!r}")


@contextmanager
def kept(job: Job) -> Iterator[None]:
    """Bring a job's checkpoints, and keep what it writes, until its process has ended.

    Raises:
        JobError: The role may not read or write them.
    """
    # claim: checkpoints-are-kept-while-a-job-trains
    config = job.record.get("CheckpointConfig")
    if config is None:
        yield
        return
    folder, uri = Path(mapped(job.root, config.get("LocalPath", _DEFAULT))), config["S3Uri"].rstrip("/") + "/"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        transfer.download(uri, folder, job.identity)
    except jobs.TRANSFER_ERRORS as error:
        raise jobs.failed_transfer("Checkpoint download", error) from error
    known, stop = _state(folder), threading.Event()
    thread = background(f"checkpoints of {job.name}", _follow, job, folder, uri, (known, stop))
    try:
        yield
    finally:
        stop.set()
        thread.join()
    try:
        _upload(job, folder, uri, known)
    except jobs.TRANSFER_ERRORS as error:
        raise jobs.failed_transfer("Checkpoint upload", error) from error


State = dict[Path, tuple[int, int]]


def _follow(job: Job, folder: Path, uri: str, watch: tuple[State, threading.Event]) -> None:
    known, stop = watch
    while not stop.wait(_EVERY):
        try:
            _upload(job, folder, uri, known)
        except jobs.TRANSFER_ERRORS as error:
            LOGGER.warning("checkpoints of %s are not uploaded now: %s", job.name, error)


def _upload(job: Job, folder: Path, uri: str, known: State) -> None:
    """Upload what is new or other than it was."""
    bucket, prefix = transfer.split(uri)
    client = job.identity.client("s3")
    for path, state in _state(folder).items():
        if known.get(path) != state:
            client.upload_file(str(path), bucket, prefix + path.relative_to(folder).as_posix())
            known[path] = state


def _state(folder: Path) -> State:
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except FileNotFoundError:  # a file that its writer has renamed meanwhile
            continue
        if path.is_file():
            found[path] = (status.st_mtime_ns, status.st_size)
    return found
