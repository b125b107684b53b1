"""MLflow mirroring: resources, permissions, and nothing without it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager

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
    """Adds no function and no rule."""
    assert [name for name in demand.template["Resources"] if "Track" in name] == []


def test_retrainings_and_rollouts_reach_the_function(tracked: Any) -> None:
    """Uses the unit's bus, and a schedule for waiting items; undeliverable events become dead letters."""
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
    """It reads evaluations, package, training job and live pointer, locks its own row, and changes no package."""
    found = _actions(tracked)
    ends = {
        action: sorted(str(r["Fn::Join"][1][-1]) for s in found[action] for r in _listed(s["Resource"]))
        for action in ("s3:PutObject", "s3:DeleteObject")
    }
    assert ends == {
        "s3:PutObject": ["/tracking/demand-forecast/*"],
        "s3:DeleteObject": ["/tracking/demand-forecast/*"],
    }
    (locked,) = found["dynamodb:UpdateItem"]
    assert locked["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["demand-forecast#tracking"]}}
    sagemaker = {action for action in found if action.startswith("sagemaker")}
    assert sagemaker == {"sagemaker:DescribeModelPackage", "sagemaker:DescribeTrainingJob"}


def test_managed_mlflow_is_named_by_its_arn(define: Callable[..., Any]) -> None:
    """Only then may the function call it, and no other server."""
    made = define(retraining={"tracking": Tracking(uri=APP, experiment="demand")})
    found = _actions(made)
    # one per kind of call: the service authorizes by the name of the REST operation
    assert {action for action in found if action.startswith("sagemaker-mlflow:")} == {
        f"sagemaker-mlflow:{name}"
        for name in (
            "CreateExperiment", "CreateModelVersion", "CreateRegisteredModel", "CreateRun", "GetExperimentByName", "LogBatch",
            "SearchModelVersions", "SearchRuns", "SetRegisteredModelAlias", "UpdateRun",
        )
    }  # fmt: skip
    assert {
        s["Resource"] for action, each in found.items() if action.startswith("sagemaker-mlflow:") for s in each
    } == {APP}
    (boundary,) = (s for s in made.statements("UnitBoundary") if s.get("Sid") == "Services")
    assert {"sagemaker-mlflow:*", "secretsmanager:GetSecretValue"} <= set(boundary["Action"])


def test_a_managed_mlflow_may_be_made_in_the_same_app(define: Callable[..., Any]) -> None:
    """Its ARN is a token, which the statement names; a URL as token is a self-hosted server."""
    token = cdk.Fn.import_value("mlflow-arn")
    made = define(retraining={"tracking": Tracking.managed(token, experiment="demand")})
    managed = [s for action, found in _actions(made).items() if action.startswith("sagemaker-mlflow:") for s in found]
    assert {str(statement["Resource"]) for statement in managed} == {"{'Fn::ImportValue': 'mlflow-arn'}"}
    plain = define(retraining={"tracking": Tracking(uri=token, experiment="demand")})
    assert [action for action in _actions(plain) if action.startswith("sagemaker-mlflow:")] == []


def test_a_password_is_read_by_the_function_alone(define: Callable[..., Any]) -> None:
    """The template names the secret; the unit's network reaches Secrets Manager."""

    def secret(stack: cdk.Stack) -> secretsmanager.ISecret:
        key = kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:us-east-1:111122223333:key/1")
        return secretsmanager.Secret.from_secret_attributes(
            stack,
            "Password",
            secret_partial_arn="arn:aws:secretsmanager:us-east-1:111122223333:secret:mlflow",
            encryption_key=key,
        )

    holder = cdk.Stack(cdk.App(), "Holder")
    made = define(retraining={"tracking": replace(TRACKING, secret=secret(holder))})
    found = _actions(made)
    (read,) = found["secretsmanager:GetSecretValue"]
    assert read["Resource"] == "arn:aws:secretsmanager:us-east-1:111122223333:secret:mlflow-??????"
    decrypts = [s for s in found["kms:Decrypt"] if s["Resource"] == "arn:aws:kms:us-east-1:111122223333:key/1"]
    assert "secretsmanager." in str(decrypts[0]["Condition"]["StringEquals"]["kms:ViaService"])
    environment = made.one("AWS::Lambda::Function", "RetrainingTracking")["Environment"]["Variables"]
    assert environment["TRACKING_SECRET"] == "arn:aws:secretsmanager:us-east-1:111122223333:secret:mlflow"
    endpoints = [
        str(each["Properties"]["ServiceName"])
        for each in made.template["Resources"].values()
        if each["Type"] == "AWS::EC2::VPCEndpoint"
    ]
    assert any("secretsmanager" in name for name in endpoints)
    evidence = check(made.stack.node.root)
    assert [problem for problem in evidence.problems if "Track" in problem] == []


@pytest.mark.parametrize(
    ("uri", "signed", "words"),
    [
        (
            "http://mlflow.shop.internal",
            False,
            "a password would be sent in clear text to 'http://mlflow.shop.internal'; use https",
        ),
        (APP, False, "a managed MLflow authenticates by signed requests; leave secret out"),
        (APP, True, "a managed MLflow authenticates by signed requests; leave secret out"),
    ],
)
def test_fails_on_a_password_that_helps_nobody(uri: str, signed: bool, words: str) -> None:
    """Rejects a password in clear text, or with request signing."""
    secret = secretsmanager.Secret.from_secret_name_v2(cdk.Stack(cdk.App(), "S"), "P", "mlflow")
    with pytest.raises(ValidationError, match=words):
        Tracking(uri=uri, experiment="demand", secret=secret, signed=signed)


def test_fails_on_a_managed_mlflow_that_is_an_address() -> None:
    """The error asks for the ARN."""
    with pytest.raises(
        ValidationError, match="must be the ARN of a managed MLflow app or tracking server, got 'https://mlflow'"
    ):
        Tracking.managed("https://mlflow", experiment="demand")


def test_every_rule_is_kept(define: Callable[..., Any]) -> None:
    """Adds no finding and no unused acknowledgement."""
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
        ({"uri": "https://ann:secret@mlflow", "experiment": "d"}, "uri must not contain user and password"),
        ({"uri": "https://mlflow/?team=shop", "experiment": "d"}, "tracking server, without a query, got"),
        ({"uri": "https://mlflow", "experiment": " "}, "experiment must be a name of at most 500 characters"),
    ],
)
def test_fails_on_what_is_no_server(arguments: dict[str, str], words: str) -> None:
    """The error has the fix."""
    with pytest.raises(ValidationError, match=words):
        Tracking(**arguments)
