"""Retraining pipelines in a template."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import Approval, ValidationError
from mlops_constructs.retraining.retrain_machine import total_seconds
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan

PLAN = TrainingSetPlan(
    name="sales",
    label_group="sales",
    timestamp="event_time",
    label="units",
    features={"sales": ("price",)},
    holdout_days=28,
)


def actions(statements: list[dict[str, Any]]) -> set[str]:
    """All actions of statements."""
    return {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}


def test_the_guard_knows_limits_and_alarms(demand: Any):
    """Cool-down, budget, lock and alarm names reach the function."""
    variables = demand.one("AWS::Lambda::Function", "RetrainingGuard")["Environment"]["Variables"]
    assert (variables["PIPELINE"], variables["COOL_DOWN_SECONDS"], variables["DAILY_BUDGET"]) == (
        "demand-forecast",
        "86400",
        "2",
    )
    assert int(variables["LOCK_SECONDS"]) > total_seconds(3600)
    names = [part["Ref"] for part in variables["ALARM_NAMES"]["Fn::Join"][1] if part != ","]
    assert [name.rstrip("0123456789ABCDEF") for name in names] == ["AlarmsFeatures", "AlarmsQuality"]


def test_alarms_and_requests_feed_the_queue(demand: Any):
    """Alarm changes come from the default bus, requests of this pipeline from the unit's."""
    alarms = demand.one("AWS::Events::Rule", "RetrainingAlarms")
    assert alarms["EventPattern"]["detail"]["state"] == {"value": ["ALARM"]}
    assert "EventBusName" not in alarms
    requests = demand.one("AWS::Events::Rule", "RetrainingRequests")
    assert requests["EventPattern"]["source"] == ["mlops.demand"]
    assert requests["EventPattern"]["detail"] == {"subject": ["demand-forecast"]}
    assert "EventBusName" in requests


def test_a_schedule_is_a_rule_of_its_own(define: Callable[..., Any]):
    """A persisting alarm fires once, so a schedule may ask again."""
    rule = define(retraining={"schedule": cdk.Duration.days(1)}).one("AWS::Events::Rule", "RetrainingSchedule")
    assert rule["ScheduleExpression"] == "rate(1 day)"


def test_each_job_has_a_role_that_does_one_thing(demand: Any):
    """What trains reads no feature table, what builds sets writes no model, what evaluates writes neither."""
    sets, train, evaluate = (
        demand.statements(f"Retraining{name}Role") for name in ("TrainingSet", "Training", "Evaluation")
    )
    assert "glue:GetTable" in actions(sets)
    assert not [a for a in actions(train) | actions(evaluate) if a.startswith("glue:")]
    written = {
        name: [r for s in found if "s3:PutObject" in actions([s]) for r in _suffixes(s)]
        for name, found in (("sets", sets), ("train", train), ("evaluate", evaluate))
    }
    assert written["train"] == ["/models/demand-forecast/*"]
    assert written["evaluate"] == ["/evaluations/demand-forecast/*"]
    assert not [suffix for suffix in written["sets"] if "models" in suffix]


def test_jobs_start_encrypted_in_the_units_network(demand: Any):
    """Training is isolated; processing reads Glue and may have the network of the unit."""
    found = {
        s["Action"]: s["Condition"]
        for s in demand.statements("RetrainRole")
        if "Condition" in s and isinstance(s["Action"], str)
    }
    training, processing = found["sagemaker:CreateTrainingJob"], found["sagemaker:CreateProcessingJob"]
    assert training["Bool"] == {"sagemaker:NetworkIsolation": "true"}
    assert "Bool" not in processing
    for condition in (training, processing):
        assert set(condition["StringEquals"]) == {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"}
        assert condition["Null"] == {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"}


def test_only_automatic_approval_lets_the_machine_approve(demand: Any, define: Callable[..., Any]):
    """With a person in between the machine has no right to approve."""
    assert "sagemaker:UpdateModelPackage" in actions(demand.statements("RetrainRole"))
    manual = define(registry={"approval": Approval.manual()})
    assert "sagemaker:UpdateModelPackage" not in actions(manual.statements("RetrainRole"))


def test_grant_request_is_bound_to_the_units_source(define: Callable[..., Any]):
    """Nobody puts events of another unit on the bus."""
    made = define()
    made.retraining.grant_request(
        iam.Role(made.stack, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    )
    policies = Template.from_stack(made.stack).to_json()["Resources"].items()
    (policy,) = (r for n, r in policies if r["Type"] == "AWS::IAM::Policy" and n.startswith("Caller"))
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "events:PutEvents"
    assert statement["Condition"] == {"StringEquals": {"events:source": "mlops.demand"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a" * 30}, "<unit>-<name> must have at most 32 characters"),
        ({"daily_budget": 0}, "daily_budget must be from 1 to 24, got 0"),
        ({"cool_down": cdk.Duration.days(366)}, "cool_down must be from"),
        ({"schedule": cdk.Duration.seconds(1)}, "schedule must be from"),
        (
            {"evaluation": EvaluationPlan(label="price", block="b", baselines=())},
            "evaluation.label must be the training set's 'units'",
        ),
        (
            {"training_set": replace(PLAN, features={"stock": ("a",)})},
            "training_set names group 'stock', the store has 'sales'",
        ),
        (
            {"training_set": replace(PLAN, features={"sales": ("cost",)})},
            "training_set wants 'cost' of group 'sales', which has",
        ),
    ],
)
def test_fails_when_an_argument_cannot_work(define: Callable[..., Any], changes: dict[str, Any], message: str):
    """What could only fail at run time is refused at synth."""
    with pytest.raises(ValidationError, match=message):
        define(retraining=changes)


def test_fails_when_alarms_are_added_twice(define: Callable[..., Any]):
    """The guard knows one list of alarms."""
    made = define()
    with pytest.raises(ValidationError, match="alarms were added before"):
        made.retraining.add_alarms(made.alarms.alarms)


def _suffixes(statement: dict[str, Any]) -> list[str]:
    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    return [resource["Fn::Join"][1][-1] for resource in resources]
