"""Managed spot training: a job whose instance is taken away starts again, with its checkpoints, on another one.

There is always another instance here, and none is taken away by itself: ``POST /_mlops/interruptions {"training_job": NAME}`` takes
it. A spot job is billed for three tenths of its time; on AWS the price moves.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

import json
import threading

from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.jobs import Job
from mlops_local.sagemaker.shapes import Record

_BILLED = 0.3
_LOCK = threading.Lock()
_RUNNING: dict[str, Job] = {}


def check(request: Record) -> None:
    """Refuse waiting times that do not fit.

    Raises:
        ServiceError: ``ValidationException``.
    """
    # claim: spot-wait-is-at-least-the-runtime
    condition = request.get("StoppingCondition", {})
    wait, run = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 86_400)
    if not request.get("EnableManagedSpotTraining", False):
        if wait is not None:
            raise validation("MaxWaitTimeInSeconds is for managed spot training only; set EnableManagedSpotTraining")
    elif wait is None or wait < run:
        raise validation(
            f"Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds ({run}), "
            f"got {wait}"
        )


def billable(record: Record, seconds: int) -> int:
    """Return the seconds of a job that are paid for."""
    return max(1, round(seconds * _BILLED)) if record["EnableManagedSpotTraining"] else seconds


def running(job: Job) -> None:
    """Let a spot job be interrupted from now on."""
    if job.record["EnableManagedSpotTraining"]:
        with _LOCK:
            _RUNNING[job.name] = job


def ended(job: Job) -> None:
    """Let a job that has ended alone."""
    with _LOCK:
        _RUNNING.pop(job.name, None)


def control(method: str, body: bytes) -> tuple[int, dict[str, object]]:
    """Answer ``/_mlops/interruptions``: POST of ``training_job``."""
    if method != "POST":
        return 405, {"message": f"POST a training_job, got {method}"}
    try:
        name = json.loads(body)["training_job"]
    except (ValueError, KeyError, TypeError) as error:
        return 400, {"message": f"expected a training_job: {type(error).__name__}: {error}"}
    with _LOCK:
        job = _RUNNING.get(name)
        if job is None or job.record["SecondaryStatus"] != "Training":
            return 409, {"message": f"{name!r} is no managed spot training job that trains now"}
        job.interruption.set()
    return 200, {"interrupted": name}
