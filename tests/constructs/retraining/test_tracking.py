"""MLflow as a mirror: what is defined for it, what it may do, and nothing without it."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_constructs import Tracking, ValidationError
from mlops_constructs.compliance.harness import check

APP = "arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1"
TRACKING = Tracking(uri="https://mlflow.shop.internal", experiment="demand")


@pytest.fixture(scope="module")
def tracked(define_once: Callable[..., Any]) -> Any:
    """A unit whose retrainings are mirrored."""
    return define_once(retraining={"tracking": TRACKING})


def _actions(made: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for statement in made.statements("TrackingRole"):
        for action in statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]:
            found.setdefault(action, []).append(statement)
    return found


def test_without_tracking_nothing_is_defined(demand: Any) -> None:
    """No function, no rule."""
    assert [name for name in demand.template["Resources"] if "Track" in name] == []


def test_retrainings_and_rollouts_reach_the_function(tracked: Any) -> None:
    """By the unit's bus, and by a schedule for what still waits; what cannot be delivered is a dead letter."""
    rule, schedule = tracked.one("AWS::Events::Rule", "Tracked"), tracked.one("AWS::Events::Rule", "TrackingSchedule")
    assert rule["EventPattern"] == {
        "source": ["mlops.demand"],
        "detail-type": ["MLOps Retraining Finished", "MLOps Rollout Finished"],
        "detail": {"subject": ["demand-forecast"]},
    }
    assert schedule["ScheduleExpression"] == "rate(15 minutes)"
    assert all("DeadLetterConfig" in rule["Targets"][0] for rule in (rule, schedule))
    environment = tracked.one("AWS::Lambda::Function", "RetrainingTracking")["Environment"]["Variables"]
    assert environment["TRACKING_URI"] == "https://mlflow.shop.internal"
    assert (environment["EXPERIMENT"], environment["PIPELINE"]) == ("demand", "demand-forecast")


def test_the_function_writes_its_outbox_alone(tracked: Any) -> None:
    """It reads evaluations, package, training job and what is live, and locks a row of its own; it changes no package."""
    found = _actions(tracked)
    ends = {
        action: sorted(str(r["Fn::Join"][1][-1]) for s in found[action] for r in _listed(s["Resource"]))
        for action in ("s3:PutObject", "s3:DeleteObject")
    }
    assert ends == {
        "s3:PutObject": ["/tracking/demand-forecast/*"],
        "s3:DeleteObject": ["/tracking/demand-forecast/waiting/*"],
    }
    (locked,) = found["dynamodb:UpdateItem"]
    assert locked["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["demand-forecast#tracking"]}}
    sagemaker = {action for action in found if action.startswith("sagemaker")}
    assert sagemaker == {"sagemaker:DescribeModelPackage", "sagemaker:DescribeTrainingJob"}


def test_managed_mlflow_is_named_by_its_arn(define: Callable[..., Any]) -> None:
    """Only then the function may call it, and it alone."""
    made = define(retraining={"tracking": Tracking(uri=APP, experiment="demand")})
    managed = [s for action, found in _actions(made).items() if action.startswith("sagemaker-mlflow:") for s in found]
    assert managed != []
    assert {statement["Resource"] for statement in managed} == {APP}


def test_every_rule_is_kept(define: Callable[..., Any]) -> None:
    """No finding comes with it, and no acknowledgement that covers nothing."""
    made = define(retraining={"tracking": TRACKING})
    evidence = check(made.stack.node.root)
    assert [problem for problem in evidence.problems if "Track" in problem] == []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"uri": "mlflow:5000", "experiment": "d"},
            r"uri must be https://, http:// or the ARN of a managed MLflow app",
        ),
        ({"uri": "https://ann:secret@mlflow", "experiment": "d"}, "uri must have no user and password"),
        ({"uri": "https://mlflow/?team=shop", "experiment": "d"}, "tracking server, without a query, got"),
        ({"uri": "https://mlflow", "experiment": " "}, "experiment must be a name of at most 500 characters"),
    ],
)
def test_fails_on_what_is_no_server(arguments: dict[str, str], words: str) -> None:
    """With the fix."""
    with pytest.raises(ValidationError, match=words):
        Tracking(**arguments)
