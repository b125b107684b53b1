"""SageMaker's integrations in state machines: optimized, optimized with ``.sync``, and ``aws-sdk``.

A ``.sync`` task polls its job until it ends and returns its description; on failure the description is the cause. It stops the job
when the execution is stopped or the task times out. The machine role's permissions are checked before the task runs.

See: https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
"""

import contextvars
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ministack.services import stepfunctions as machines

from mlops_local.sagemaker import resource_store, sagemaker_api, status_events
from mlops_local.sagemaker.api_shapes import Record, ServiceError, output_shape
from mlops_runtime.aws_api import unsupported_of_task

_PREFIX = "arn:aws:states:::sagemaker:"
_CREATED = ("TrainingJob", "ProcessingJob", "TransformJob", "Model", "EndpointConfig", "Endpoint")
_LOOK = 0.05  # real seconds between two polls of a job
# the Java SDK's names of the service's errors; an error that no operation's model lists has the service's own name
_MODELLED = {
    "ResourceInUse": "ResourceInUseException",
    "ResourceNotFound": "ResourceNotFoundException",
    "ResourceLimitExceeded": "ResourceLimitExceededException",
    "ConflictException": "ConflictException",
}

_execution: contextvars.ContextVar[Record | None] = contextvars.ContextVar("mlops_execution", default=None)
_late: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("mlops_task_late", default=None)


def install() -> None:
    """Register the integrations, and the detection of stopped executions and timed-out tasks."""
    names = [f"create{kind}" for kind in _CREATED] + ["updateEndpoint"]
    integrate({f"{_PREFIX}{name}": partial(_task, name[0].upper() + name[1:]) for name in names})
    machines._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    machines._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    machines._AWS_SDK_ERROR_CODE_OVERRIDES["sagemaker"] = {**_MODELLED, "ValidationException": "SageMakerException"}
    machines._execute_task = partial(_with_execution, machines._execute_task)
    machines._invoke_resource_with_timeout = partial(_with_limit, machines._invoke_resource_with_timeout)


def integrate(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Register functions that run tasks, by the prefix of their resource."""
    # MiniStack takes the first matching prefix: the longest must come first
    merged = {**machines._SERVICE_DISPATCH, **tasks}
    machines._SERVICE_DISPATCH = dict(sorted(merged.items(), key=lambda row: -len(row[0])))


def _with_execution(execute: Any, state: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
    token = _execution.set(execution)
    try:
        return execute(state, raw_input, execution, ctx)
    finally:
        _execution.reset(token)


def _with_limit(invoke: Any, resource: str, data: Any, timeout: Any) -> Any:
    late = threading.Event()
    token = _late.set(late)
    try:
        return invoke(resource, data, timeout)
    except machines._ExecutionError as error:
        if error.error == "States.Timeout":
            late.set()
        raise
    finally:
        _late.reset(token)


def is_unwanted() -> bool:
    """Return whether the calling task has timed out, or its execution is no longer running."""
    execution, late = _execution.get(), _late.get()
    return (execution is not None and execution["status"] != "RUNNING") or (late is not None and late.is_set())


def _task(name: str, resource: str, data: Record) -> Record:
    # claim: step-functions-refuses-fields-at-run-time
    # claim: task-follows-its-job
    for found in unsupported_of_task(name, "", resource, data):
        raise machines._ExecutionError("States.Runtime", found.refusal)
    try:
        created = sagemaker_api.call(name, data)
    except ServiceError as error:
        raise _failed(error) from error
    if not resource.endswith(".sync"):
        return created
    kind = name.removeprefix("Create")
    return _follow(kind, data[resource_store.KINDS[kind].name])


def _follow(kind: str, name: str) -> Record:
    # claim: task-follows-its-job
    member = resource_store.KINDS[kind].name
    pause, requested = threading.Event(), False
    while (record := resource_store.get(kind, name))[f"{kind}Status"] in ("InProgress", "Stopping"):
        if is_unwanted() and not requested:
            sagemaker_api.call(f"Stop{kind}", {member: name})
            requested = True
        pause.wait(_LOOK)
    shape = output_shape(f"Describe{kind}")
    members = {key: value for key, value in record.items() if key in shape.members}
    described: Record = status_events.timed(members, status_events.milliseconds)
    if record[f"{kind}Status"] != "Completed":
        raise machines._ExecutionError("States.TaskFailed", json.dumps(described))
    return described


def _failed(error: ServiceError) -> Exception:
    name = _MODELLED.get(error.code, "AmazonSageMakerException")
    detail = f"(Service: AmazonSageMaker; Status Code: {error.status}; Error Code: {error.code})"
    failure: Exception = machines._ExecutionError(f"SageMaker.{name}", f"{error.message} {detail}")
    return failure
