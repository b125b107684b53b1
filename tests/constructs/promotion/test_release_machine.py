"""The Release machine, run against a fake AWS: events, messages and end states."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_constructs.promotion.release_machine import release_machine

MACHINE = release_machine(
    group_name="demand-forecast",
    unit_name="demand",
    record_arn="arn:aws:lambda:us-east-1:1:function:r",
    bus_name="demand",
    topic_arn="arn:aws:sns:us-east-1:1:demand",
)
REQUEST = {"package_arn": "arn:p/7", "requested_by": "approved e1", "requested_at": "2017-08-01T09:00:00Z"}
RELEASED = {
    "outcome": "RELEASED",
    "reason": "released as demand-forecast/7",
    "is_new": True,
    "record_uri": "s3://b/releases/demand-forecast/0.json",
    "record_sha256": "a" * 64,
}


def _answers(payload: dict[str, Any], error: Exception | None = None, at: str = "") -> Callable[..., Any]:
    def aws(name: str, arguments: dict[str, Any]) -> Any:
        del arguments
        if error is not None and name == at:
            raise error
        return {"Payload": payload} if name == "lambda:invoke" else {"FailedEntryCount": 0}

    return aws


def test_a_release_is_announced_by_its_record(run_machine: Callable[..., Any]) -> None:
    """The event has only key and hash; its id is the hash, in each repetition too."""
    run = run_machine(MACHINE, REQUEST, _answers(RELEASED))

    assert (run.status, run.output["outcome"]) == ("SUCCEEDED", "RELEASED")
    assert run.arguments("lambda:invoke")["Payload"]["request"] == REQUEST
    (entry,) = run.arguments("events:putEvents")["Entries"]
    assert (entry["Source"], entry["DetailType"]) == ("mlops.demand", "MLOps Model Released")
    assert entry["Detail"] == {
        "version": "mlops.event/1",
        "subject": "demand-forecast",
        "reason": "released as demand-forecast/7",
        "id": "a" * 64,
        "outcome": "RELEASED",
        "attributes": {"record_uri": RELEASED["record_uri"], "record_sha256": "a" * 64},
    }


def test_what_is_held_is_told_to_none(run_machine: Callable[..., Any]) -> None:
    """Nothing failed: the schedule checks again."""
    run = run_machine(MACHINE, REQUEST, _answers({"outcome": "HELD", "reason": "paused", "is_new": True}))

    assert (run.status, run.output) == ("SUCCEEDED", {"outcome": "HELD", "reason": "paused"})
    assert run.names() == ["lambda:invoke"]


@pytest.mark.parametrize(("is_new", "expected"), [(True, ["events:putEvents", "sns:publish"]), (False, [])])
def test_a_refusal_fails_and_is_told_once(run_machine: Callable[..., Any], is_new: bool, expected: list[str]) -> None:
    """The cause has every problem."""
    refused = {"outcome": "REFUSED", "reason": "demand-forecast/7 is not released: a; b", "is_new": is_new}
    run = run_machine(MACHINE, REQUEST, _answers(refused))

    assert (run.status, run.names()) == ("FAILED", ["lambda:invoke", *expected])
    assert (run.output["Error"], run.output["Cause"]) == ("REFUSED", refused["reason"])
    if is_new:
        assert run.arguments("sns:publish")["Message"] == refused["reason"]
        assert run.arguments("events:putEvents")["Entries"][0]["Detail"]["outcome"] == "REFUSED"


@pytest.mark.parametrize(("at", "ended"), [("lambda:invoke", "FAILED"), ("events:putEvents", "NOT_ANNOUNCED")])
def test_what_aws_refuses_ends_in_a_state_of_its_name(
    run_machine: Callable[..., Any], aws_error: Callable[..., Exception], at: str, ended: str
) -> None:
    """Fails after all retries; a release without its event is reported as written."""
    run = run_machine(MACHINE, REQUEST, _answers(RELEASED, aws_error("States.TaskFailed", "denied"), at))

    assert (run.status, run.output["Error"]) == ("FAILED", ended)
    assert "denied" in run.output["Cause"]
    assert run.names().count(at) == 7
    assert ended == "FAILED" or run.output["Cause"].startswith(
        "released as demand-forecast/7, but no target received its event"
    )


def test_a_lost_refusal_still_refuses(run_machine: Callable[..., Any], aws_error: Callable[..., Exception]) -> None:
    """Sends event and message without changing anything."""
    refused = {"outcome": "REFUSED", "reason": "a", "is_new": True}
    run = run_machine(MACHINE, REQUEST, _answers(refused, aws_error("States.TaskFailed", "x"), "sns:publish"))

    assert run.output["Error"] == "REFUSED"
