"""States as plain dicts: what every task has, and what a machine made of them does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlops_constructs._states import (
    assign,
    choose,
    invoke,
    put_event,
    resource,
    successors,
    task,
    tasks,
    wait,
)
from mlops_runtime.aws_api import check_machine

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:gate"


def _machine(**states: dict[str, Any]) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}


def _describe(next_state: str = "Done", catch: str = "Caught", **options: Any) -> dict[str, Any]:
    arguments = {"EndpointName": "demand-forecast"}
    return task(
        "aws-sdk:sagemaker:describeEndpoint",
        arguments,
        partition="aws",
        next_state=next_state,
        catch=catch,
        **options,
    )


DONE = {"Type": "Pass", "Output": {"status": "{% $status %}"}, "End": True}
CAUGHT = {"Type": "Pass", "Output": {"caught": "{% $caught %}"}, "End": True}


def test_a_task_has_retry_catch_and_timeout() -> None:
    """No task is without them, and no state carries its result on."""
    state = _describe(timeout=30)

    assert state["Resource"] == "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"
    assert state["TimeoutSeconds"] == 30
    assert [retrier["ErrorEquals"] for retrier in state["Retry"]] == [["States.TaskFailed", "States.Timeout"]]
    assert [catcher["ErrorEquals"] for catcher in state["Catch"]] == [["States.ALL"]]
    assert (state["Output"], state["Catch"][0]["Output"]) == ({}, {})
    assert "Assign" not in state
    assert resource("events:putEvents", "aws-cn") == "arn:aws-cn:states:::events:putEvents"


def test_a_failed_job_is_not_repeated_under_its_name() -> None:
    """Only a refused call to start it is; the caller's own retriers stand in front."""
    first = {"ErrorEquals": ["SageMaker.ResourceLimitExceeded"], "MaxAttempts": 9}

    state = task(
        "sagemaker:createTrainingJob.sync", {}, partition="aws", next_state="a", catch="b", retry=[first], timeout=3600
    )

    assert state["Retry"][0] == first
    assert [retrier["ErrorEquals"] for retrier in state["Retry"][1:]] == [["SageMaker.AmazonSageMakerException"]]


def test_what_a_task_learns_is_a_variable(run_machine: Callable[..., Any]) -> None:
    """Variables pass data on; outputs stay empty."""
    machine = _machine(
        Look=_describe(assign={"status": "{% $states.result.EndpointStatus %}"}), Done=DONE, Caught=CAUGHT
    )

    run = run_machine(machine, {}, lambda *_: {"EndpointStatus": "InService"})

    assert (run.status, run.output) == ("SUCCEEDED", {"status": "InService"})
    assert check_machine(machine) == []


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            json.dumps({"TrainingJobName": "j", "FailureReason": "AlgorithmError: exit code 1", "Tags": []}),
            "AlgorithmError: exit code 1",
        ),
        (json.dumps({"Status": "Failed", "FailureReason": "no capacity"}), "no capacity"),
        ('{"FailureReason":"no spaces","Status":"Failed"}', "no spaces"),
        (
            json.dumps({"errorMessage": "spec is missing", "errorType": "SpecError", "stackTrace": ["line 1"]}),
            "spec is missing",
        ),
        ("Could not find endpoint", "Could not find endpoint"),
        (json.dumps({"Status": "Failed"}), '{"Status": "Failed"}'),
        ("", ""),
        ("{% $not(an expression) %}", "{% $not(an expression) %}"),
        ("x" * 5000, "x" * 600),
        (json.dumps({"FailureReason": "y" * 5000}), "y" * 600),
    ],
)
def test_the_one_sentence_that_counts_is_caught(
    cause: str, words: str, run_machine: Callable[..., Any], aws_error: type[Exception]
) -> None:
    """A job's description and a function's trace are cut to their sentence; nothing in a cause can fail the Catch."""

    def fail(*_: object) -> None:
        raise aws_error("SageMaker.SomeException", cause)

    run = run_machine(_machine(Look=_describe(), Done=DONE, Caught=CAUGHT), {}, fail)

    assert (run.status, run.output) == ("SUCCEEDED", {"caught": f"SageMaker.SomeException: {words}"})


def test_variables_of_an_error_stand_beside_it(run_machine: Callable[..., Any], aws_error: type[Exception]) -> None:
    """A Catch may say more than what went wrong."""
    caught = {"Type": "Pass", "Output": "{% $caught & ' after ' & $step %}", "End": True}

    def fail(*_: object) -> None:
        raise aws_error("States.Timeout", "30 s")

    run = run_machine(_machine(Look=_describe(assign_caught={"step": "Look"}), Done=DONE, Caught=caught), {}, fail)

    assert run.output == "States.Timeout: 30 s after Look"
    assert len(run.calls) == 7, "the first try and six more"


def test_a_function_is_invoked_with_its_payload(run_machine: Callable[..., Any]) -> None:
    """Its answer is read below ``Payload``."""
    look = invoke(
        FUNCTION,
        {"now": "{% $now() %}", "count": 1},
        partition="aws",
        next_state="Done",
        catch="Caught",
        assign={"status": "{% $states.result.Payload.verdict %}"},
    )
    machine = _machine(Look=look, Done=DONE, Caught=CAUGHT)

    run = run_machine(machine, {}, lambda *_: {"Payload": {"verdict": "PASSED"}})

    assert run.output == {"status": "PASSED"}
    assert run.arguments("lambda:invoke")["FunctionName"] == FUNCTION
    assert run.arguments("lambda:invoke")["Payload"]["count"] == 1
    assert check_machine(machine) == []


@pytest.mark.parametrize(("count", "status"), [(1, "few"), (5, "some"), (50, "many")])
def test_choices_are_tried_in_order(count: int, status: str, run_machine: Callable[..., Any]) -> None:
    """The first arm that holds is taken, else the default; waits and assignments pass on."""
    machine = _machine(
        Begin=assign("Wait", count=count),
        Wait=wait("{% $count * 2 %}", "Choose"),
        Choose=choose(("$count < 3", "Few"), ("$count < 10", "Some"), default="Many"),
        Few=assign("Done", status="few"),
        Some=assign("Done", status="some"),
        Many=assign("Done", status="many"),
        Done=DONE,
    )

    run = run_machine(machine, {}, lambda *_: {})

    assert (run.output, run.slept) == ({"status": status}, [count * 2])


def test_a_lost_event_changes_nothing(run_machine: Callable[..., Any], aws_error: type[Exception]) -> None:
    """The execution goes on where it would have gone."""

    def fail(*_: object) -> None:
        raise aws_error("EventBridge.EventBridgeException", "throttled")

    event = put_event(
        bus_name="demand",
        source="mlops.demand",
        detail_type="MLOps Rollout Finished",
        detail={"id": "{% $states.context.Execution.Id %}", "outcome": "PROMOTED"},
        partition="aws",
        next_state="Done",
    )
    machine = _machine(Begin=assign("Tell", status="PROMOTED"), Tell=event, Done=DONE)

    run = run_machine(machine, {}, fail)

    assert (run.status, run.output) == ("SUCCEEDED", {"status": "PROMOTED"})
    assert set(run.names()) == {"events:putEvents"}
    assert check_machine(machine) == []


def test_every_way_out_of_a_state_is_a_successor() -> None:
    """Success, each arm, the default and the caught error."""
    assert sorted(successors(_describe("Next", "Handler"))) == ["Handler", "Next"]
    assert list(successors(choose(("a", "A"), ("b", "B"), default="C"))) == ["C", "A", "B"]
    assert list(successors({"Type": "Succeed"})) == []


def test_tasks_inside_maps_are_found() -> None:
    """Rules about tasks hold inside as well."""
    inner = {"StartAt": "In", "States": {"In": _describe(), "Rest": wait(1, "In")}}
    outer = {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": inner}, "Out": _describe()}}

    assert [name for name, _ in tasks(outer)] == ["In", "Out"]
