"""Glue's optimized integration in state machines: ``glue:startJobRun``, with and without ``.sync``.

A ``.sync`` task polls its run until it ends and returns the run; on failure the run is the cause. It stops the run when the
execution is stopped or the task times out. No event rule is needed, since Step Functions polls. The machine role's permissions are
checked before the task runs.

See: https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html
"""

import json
import threading
from typing import Any

from ministack.services import glue
from ministack.services import stepfunctions as machines

from mlops_local import compat
from mlops_local.sagemaker.machine_integrations import is_unwanted
from mlops_runtime.aws_api import unsupported_of_task

compat.expect("ministack.services.glue", _batch_stop_job_run="(data)", _get_job_run="(data)", _start_job_run="(data)")
compat.expect("ministack.services.stepfunctions", _SERVICE_DISPATCH=dict, _ExecutionError=type)

_RESOURCE = "arn:aws:states:::glue:startJobRun"
_LOOK = 0.05  # real seconds between two checks of a run
# https://docs.aws.amazon.com/glue/latest/dg/job-run-statuses.html
_TIMES = ("StartedOn", "LastModifiedOn", "CompletedOn")
_UNDER_WAY = ("STARTING", "RUNNING", "STOPPING", "WAITING")


def install() -> None:
    """Register the integration."""
    merged = {**machines._SERVICE_DISPATCH, _RESOURCE: _start}
    # MiniStack takes the first matching prefix: the longest must come first
    machines._SERVICE_DISPATCH = dict(sorted(merged.items(), key=lambda row: -len(row[0])))


def _start(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    # claim: machine-follows-its-glue-run
    for found in unsupported_of_task("StartJobRun", "", resource, data):
        raise machines._ExecutionError("States.Runtime", found.refusal)
    started = _answer(glue._start_job_run(data))
    name, run = data["JobName"], started["JobRunId"]
    if not resource.endswith(".sync"):
        return {"JobName": name, **started}
    return _follow(name, run)


def _follow(name: str, run: str) -> dict[str, Any]:
    # claim: machine-follows-its-glue-run
    pause, asked = threading.Event(), False
    while (found := _answer(glue._get_job_run({"JobName": name, "RunId": run}))["JobRun"])["JobRunState"] in _UNDER_WAY:
        if is_unwanted() and not asked:
            glue._batch_stop_job_run({"JobName": name, "JobRunIds": [run]})
            asked = True
        pause.wait(_LOOK)
    described = {key: value * 1000 if key in _TIMES and value else value for key, value in found.items()}
    if found["JobRunState"] != "SUCCEEDED":
        # claim: glue-run-that-failed-is-the-cause
        raise machines._ExecutionError("States.TaskFailed", json.dumps(described))
    return described


def _run(name: str, run: str) -> dict[str, Any]:
    found: dict[str, Any] = _answer(glue._get_job_run({"JobName": name, "RunId": run}))["JobRun"]
    return found


def _answer(response: Any) -> dict[str, Any]:
    """Return Glue's response, or raise its error in the naming of Step Functions."""
    status, _headers, body = response
    content: dict[str, Any] = json.loads(body)
    if status >= 400:
        # claim: glue-errors-have-the-services-names
        name = str(content.get("__type", "AWSGlueException")).rpartition("#")[2]
        message = content.get("message", content.get("Message", ""))
        raise machines._ExecutionError(
            f"Glue.{name}", f"{message} (Service: AWSGlue; Status Code: {status}; Error Code: {name})"
        )
    return content
