"""Operations in progress at a stop are reported and ended."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import athena, cloudformation, eventbridge, glue, lambda_svc, stepfunctions

from mlops_local.sagemaker import resource_store
from mlops_local.saved_state import interruptions
from mlops_local.saved_state.interruptions import ERROR, REASON

ROLE = "arn:aws:iam::000000000000:role/r"


@pytest.fixture(autouse=True)
def _fresh_account() -> Iterator[None]:
    with request_scope(str(uuid.uuid4().int)[:12], "eu-west-1"):
        yield


def _execution(status: str) -> dict[str, Any]:
    machine = "arn:aws:states:eu-west-1:000000000000:stateMachine:m"
    return {
        "executionArn": f"{machine}:{status}".replace("stateMachine", "execution"), "stateMachineArn": machine,
        "name": status.lower(), "status": status, "startDate": "2026-11-29T00:00:00.000Z", "stopDate": None, "input": "{}",
        "events": [],
    }  # fmt: skip


def test_executions_are_aborted_with_their_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running ones, with error and cause in record and history; rules for failed executions get the event."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(eventbridge, "_put_events", lambda data, **_options: sent.extend(data["Entries"]))
    running, ended = _execution("RUNNING"), _execution("SUCCEEDED")
    for execution in (running, ended):
        stepfunctions._executions[execution["executionArn"]] = execution
    assert interruptions.under_way() == ["execution running of m"]
    assert interruptions.end_all() == ["execution running of m"]
    assert (running["status"], running["error"], running["cause"]) == ("ABORTED", ERROR, REASON)
    (event,) = running["events"]
    assert event["type"] == "ExecutionAborted"
    assert event["executionAbortedEventDetails"] == {"error": ERROR, "cause": REASON}
    assert [entry["DetailType"] for entry in sent] == ["Step Functions Execution Status Change"]
    assert ended == _execution("SUCCEEDED")
    assert interruptions.under_way() == []


@pytest.mark.parametrize("kind", ["TrainingJob", "ProcessingJob", "TransformJob"])
@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_jobs_fail_with_the_reason(kind: str, status: str) -> None:
    """A stopping job too: its end was not seen."""
    extra: dict[str, Any] = {"SecondaryStatusTransitions": [], "EnableManagedSpotTraining": False}
    record = resource_store.add(kind, "j", {f"{kind}Status": status, "RoleArn": ROLE, **extra})
    done = resource_store.add(kind, "done", {f"{kind}Status": "Completed", "RoleArn": ROLE})
    words = f"{kind.removesuffix('Job').lower()} job j"
    assert interruptions.end_all() == [words]
    assert (record[f"{kind}Status"], record["FailureReason"]) == ("Failed", REASON)
    assert done[f"{kind}Status"] == "Completed"


def test_monitoring_fails_with_the_reason() -> None:
    """The schedule may start the next execution."""
    schedule = {"MonitoringScheduleName": "s", "MonitoringScheduleArn": "arn:aws:sagemaker:eu-west-1:000000000000:x/s"}
    hour = {"ScheduledTime": datetime(2026, 11, 29, tzinfo=UTC), "MonitoringExecutionStatus": "Pending"}
    record = resource_store.add("MonitoringExecution", "s/0", schedule | hour)
    assert interruptions.end_all() == ["monitoring of s for 2026-11-29T00:00Z"]
    assert (record["MonitoringExecutionStatus"], record["FailureReason"]) == ("Failed", REASON)


def test_runs_queries_and_replays_fail() -> None:
    """Only their records have the failure."""
    run = {"Id": "jr_1", "JobRunState": "RUNNING"}
    query = {"Status": {"State": "QUEUED"}}
    replay = {"State": "RUNNING"}
    glue._job_runs["g"] = [run, {"Id": "jr_0", "JobRunState": "SUCCEEDED"}]
    athena._executions["q"] = query
    eventbridge._replays["r"] = replay
    assert interruptions.end_all() == ["Athena query q", "replay r of events", "run jr_1 of the Glue job g"]
    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", REASON)
    assert query["Status"] == {"State": "FAILED", "StateChangeReason": REASON}
    assert (replay["State"], replay["StateReason"]) == ("FAILED", REASON)


@pytest.mark.parametrize(
    ("status", "after"),
    [
        ("CREATE_IN_PROGRESS", "CREATE_FAILED"),
        ("ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED"),
        ("DELETE_IN_PROGRESS", "DELETE_FAILED"),
        ("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"),
        ("REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS"),
        ("UPDATE_COMPLETE", "UPDATE_COMPLETE"),
    ],
)
def test_stacks_take_the_next_operation(status: str, after: str) -> None:
    """No stack stays in progress with an operation that was lost."""
    stack = {"StackStatus": status, "StackStatusReason": ""}
    cloudformation._stacks["S"] = stack
    reported = [] if status == after else [f"stack S ({status})"]
    assert interruptions.under_way() == reported
    assert interruptions.end_all() == reported
    assert stack == {"StackStatus": after, "StackStatusReason": REASON if reported else ""}


def test_calls_of_functions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are lost with their process."""
    monkeypatch.setattr(lambda_svc, "_inflight", {"000000000000:eu-west-1:f": 2, "000000000000:eu-west-1:g": 1})
    assert interruptions.under_way() == ["1 call of the function g", "2 calls of the function f"]
    assert interruptions.end_all() == []
