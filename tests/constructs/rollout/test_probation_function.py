"""The schedule and function of a probation in a template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import GoldenRequests, RolloutChecks, RolloutPolicy


@pytest.fixture
def made(define: Callable[..., Any], tmp_path: Path) -> Any:
    """An endpoint with golden requests and a probation of an hour."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"name": "typical", "body": "{\\"instances\\": [{\\"x\\": 1}]}", "rows": 1}\n')
    checks = RolloutChecks(golden=GoldenRequests.from_file(path), probation=cdk.Duration.hours(1))
    return define(endpoint={"rollout": RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)})


def actions(made: Any, role: str) -> set[str]:
    """Return the actions of a role of the template."""
    policies = [p for name, p in made.resources("AWS::IAM::ManagedPolicy").items() if name.startswith(role)]
    found = [s["Action"] for p in policies for s in p["PolicyDocument"]["Statement"]]
    return {each for one in found for each in (one if isinstance(one, list) else [one])}


def test_the_schedule_is_off_until_a_model_is_on_probation(made: Any):
    """Runs six times per hour; the machine enables it by name, and the function disables it."""
    rule = made.one("AWS::Events::Rule", "RolloutWatchSchedule")
    assert (rule["State"], rule["ScheduleExpression"]) == ("DISABLED", "rate(10 minutes)")
    assert rule["Name"] == "demand-forecast-probation"
    assert "events:EnableRule" in actions(made, "EndpointRolloutDeployWatch")
    assert "events:DisableRule" in actions(made, "EndpointRolloutWatchRole")


def test_the_function_may_ask_and_take_back(made: Any):
    """It changes no endpoint, which the Deploy machine does."""
    assert {"sagemaker:InvokeEndpoint", "states:StartExecution"} <= actions(made, "EndpointRolloutWatchRole")
    assert "sagemaker:UpdateEndpoint" not in actions(made, "EndpointRolloutWatchRole")


def test_the_alarm_of_the_probation_reaches_the_guard(made: Any):
    """Each promotion creates the alarm, with the error share of the previous model; the template has none."""
    variables = made.one("AWS::Lambda::Function", "RolloutGuard")["Environment"]["Variables"]
    assert variables["PROBATION_ALARMS"] == "demand-forecast-probation-errors"


def test_without_golden_requests_nothing_is_asked(define: Callable[..., Any]):
    """The function only ends the probation."""
    checks = RolloutChecks(probation=cdk.Duration.days(2))
    made = define(endpoint={"rollout": RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)})
    allowed = actions(made, "EndpointRolloutWatchRole")
    assert not {"sagemaker:InvokeEndpoint", "states:StartExecution"} & allowed
    assert made.one("AWS::Events::Rule", "RolloutWatchSchedule")["ScheduleExpression"] == "rate(1 hour)"


def test_without_a_probation_there_is_no_watch(demand: Any):
    """Adds neither function nor rule."""
    assert [name for name in demand.resources("AWS::Lambda::Function") if "RolloutWatch" in name] == []
