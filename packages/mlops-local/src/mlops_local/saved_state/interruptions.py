"""Work in progress when the embedded cloud ends: listed before, and ended after the next start as AWS ends failed work.

Executions are ABORTED; jobs and queries fail with their events, so that rules for failures match. Endpoints are ended by
`sagemaker.endpoint_restarts`, which restarts their servers.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import athena, cloudformation, eventbridge, glue, lambda_svc, stepfunctions

from mlops_local import clock
from mlops_local.sagemaker import (
    endpoint_restarts,
    monitoring_schedules,
    processing_jobs,
    resource_store,
    training_jobs,
    transform_jobs,
)
from mlops_local.sagemaker.api_shapes import Record

LOGGER = logging.getLogger(__name__)

REASON = endpoint_restarts.STOPPED
ERROR = "EmbeddedCloud.Stopped"
_JOBS: dict[str, tuple[str, Callable[[Record, str], None]]] = {
    "TrainingJob": ("training job", training_jobs.fail),
    "ProcessingJob": ("processing job", processing_jobs.fail),
    "TransformJob": ("transform job", transform_jobs.fail),
}
# status of a stack whose operation was interrupted: an updated stack accepts the next update
_STACKS = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
}
_UPDATED = "UPDATE_ROLLBACK_COMPLETE"


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """Work in progress: its description, account and Region, and a function that ends it."""

    text: str
    account: str
    region: str
    end: Callable[[], None]


def under_way() -> list[str]:
    """Return descriptions of all work that would be interrupted now."""
    return sorted([*(item.text for item in _found()), *endpoint_restarts.under_way(), *_calls()])


def end_all() -> list[str]:
    """End the interrupted work, and return its descriptions; called when the cloud responds, because it sends events."""
    ended = []
    for item in list(_found()):
        with request_scope(item.account, item.region):
            try:
                item.end()
            except Exception:
                LOGGER.exception("%s cannot be ended", item.text)
        ended.append(item.text)
    return sorted([*ended, *endpoint_restarts.ended()])


def _found() -> Iterator[_Interrupted]:
    # jobs before executions, which their tasks wait for
    yield from _jobs()
    yield from _monitoring()
    yield from _runs()
    yield from _executions()
    yield from _stacks()


def _calls() -> Iterator[str]:
    """Yield functions with a call in progress; such a call is lost, and its caller gets an error or nothing."""
    for key, number in list(lambda_svc._inflight.items()):
        yield f"{number} call{'s' if number > 1 else ''} of the function {key.rpartition(':')[2]}"


def _jobs() -> Iterator[_Interrupted]:
    for kind, (words, interrupt) in _JOBS.items():
        for record in resource_store.all_records(kind):
            if record[f"{kind}Status"] in ("InProgress", "Stopping"):
                yield _of_record(f"{words} {record[f'{kind}Name']}", record[f"{kind}Arn"], interrupt, record)


def _monitoring() -> Iterator[_Interrupted]:
    for record in resource_store.all_records("MonitoringExecution"):
        if record["MonitoringExecutionStatus"] in monitoring_schedules.PENDING:
            description = (
                f"monitoring of {record['MonitoringScheduleName']} for {record['ScheduledTime']:%Y-%m-%dT%H:%MZ}"
            )
            yield _of_record(description, record["MonitoringScheduleArn"], monitoring_schedules.interrupt, record)


def _of_record(description: str, arn: str, interrupt: Callable[[Record, str], None], record: Record) -> _Interrupted:
    _, _, _, region, account, _ = arn.split(":", 5)
    return _Interrupted(description, account, region, partial(interrupt, record, REASON))


def _runs() -> Iterator[_Interrupted]:
    """Yield Glue job runs, Athena queries and event replays, of which only records exist."""
    for (account, region, job), runs in list(glue._job_runs._data.items()):
        for run in runs:
            if run["JobRunState"] in ("STARTING", "RUNNING", "STOPPING", "WAITING"):
                change = {"JobRunState": "FAILED", "ErrorMessage": REASON, "CompletedOn": clock.now()}
                yield _of_fields(f"run {run['Id']} of the Glue job {job}", (account, region), run, change)
    for (account, region, query), execution in list(athena._executions._data.items()):
        if execution["Status"]["State"] in ("QUEUED", "RUNNING"):
            change = {"State": "FAILED", "StateChangeReason": REASON}
            yield _of_fields(f"Athena query {query}", (account, region), execution["Status"], change)
    for (account, region, replay), record in list(eventbridge._replays._data.items()):
        if record.get("State") in ("STARTING", "RUNNING"):
            change = {"State": "FAILED", "StateReason": REASON, "ReplayEndTime": clock.now()}
            yield _of_fields(f"replay {replay} of events", (account, region), record, change)


def _of_fields(
    description: str, scope: tuple[str, str], fields: dict[str, Any], change: dict[str, Any]
) -> _Interrupted:
    return _Interrupted(description, *scope, lambda: fields.update(change))


def _executions() -> Iterator[_Interrupted]:
    for (account, region, arn), execution in list(stepfunctions._executions._data.items()):
        if execution["status"] == "RUNNING":
            machine = execution["stateMachineArn"].rpartition(":")[2]
            description = f"execution {execution['name']} of {machine}"
            yield _Interrupted(description, account, region, partial(_stop, arn))


def _stop(arn: str) -> None:
    # claim: stopped-execution-is-aborted
    stepfunctions._stop_execution({"executionArn": arn, "error": ERROR, "cause": REASON})


def _stacks() -> Iterator[_Interrupted]:
    for (account, region, name), stack in list(cloudformation._stacks._data.items()):
        status = stack["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            change = {"StackStatus": _STACKS.get(status, _UPDATED), "StackStatusReason": REASON}
            yield _of_fields(f"stack {name} ({status})", (account, region), stack, change)
