"""Rollout checks: limits, and golden requests as a file, with their validation, spec and permissions."""

import hashlib
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, RolloutChecks, ShadowTraffic, Tolerance, ValidationError
from mlops_constructs.rollout.rollout_checks import GoldenRequests, define_golden
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import GoldenSpec, MetricRule
from mlops_runtime.rollout.fleet_alarms import alarm_kinds

CONTENT = b'{"name": "typical", "body": "1.5\\n", "rows": 1, "content_type": "text/csv", "minimum": 0}\n'


RULE = MetricRule(namespace="Shop", metric="Refunds", threshold=5)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of one request."""
    path = tmp_path_factory.mktemp("golden") / "golden.jsonl"
    path.write_bytes(CONTENT)
    return path


def synthesized(file: Path) -> tuple[dict[str, Any], GoldenSpec]:
    """Return the template of a unit with the function, and the spec as resolved."""
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand")
    spec = GoldenRequests.from_file(file, max_deviation=0.5, max_latency=cdk.Duration.millis(250), max_slowdown=3).bind(
        unit
    )
    define_golden(stack, "Golden", business_unit=unit, endpoint_name="demand-forecast", golden=spec)
    cdk.CfnOutput(stack, "Uri", value=spec.uri)
    return Template.from_stack(stack).to_json(), spec


@pytest.fixture(scope="module")
def template(file: Path) -> dict[str, Any]:
    """The template."""
    return synthesized(file)[0]


def statements(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the function's role may do, by action."""
    found = template["Resources"].items()
    (policy,) = (r["Properties"] for name, r in found if name.startswith("GoldenRolePolicy"))
    listed = policy["PolicyDocument"]["Statement"]
    return {s["Action"]: s for s in listed if isinstance(s["Action"], str)}


def test_the_spec_names_the_file_by_its_bytes(file: Path):
    """The hash is known at synthesis; it alone names the asset."""
    template, spec = synthesized(file)
    assert spec.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (spec.max_deviation, spec.max_latency_ms, spec.max_slowdown) == (0.5, 250, 3)
    uri = template["Outputs"]["Uri"]["Value"]["Fn::Sub"]
    assert uri.startswith("s3://cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}/")
    assert uri.endswith(".jsonl")
    moved = file.parent / "moved" / "other.jsonl"
    moved.parent.mkdir(exist_ok=True)
    moved.write_bytes(CONTENT)
    assert synthesized(moved)[0]["Outputs"]["Uri"] == template["Outputs"]["Uri"]


def test_limits_are_optional(file: Path):
    """Without limits nothing is compared and any latency passes; the value is frozen."""
    golden = GoldenRequests.from_file(str(file))
    spec = golden.bind(cdk.Stack(cdk.App(), "Demand"))
    assert (spec.max_deviation, spec.max_latency_ms, spec.max_slowdown) == (None, None, None)
    with pytest.raises(FrozenInstanceError):
        golden.max_deviation = 1.0  # type: ignore[misc]


def test_the_function_calls_the_endpoint_and_its_rehearsals_alone(template: dict[str, Any]):
    """It also reads one object, and writes its announcement."""
    allowed = statements(template)
    assert allowed["s3:PutObject"]["Resource"]["Fn::Join"][1][-1] == "/synthetic/demand-forecast/*"
    resources = [r["Fn::Join"][1][-1] for r in allowed["sagemaker:InvokeEndpoint"]["Resource"]]
    assert resources == [":endpoint/demand-forecast", ":endpoint/demand-forecast-golden-*"]
    (arn,) = [allowed["s3:GetObject"]["Resource"]]
    text = str(arn)
    assert hashlib.sha256(CONTENT).hexdigest() in text or ".jsonl" in text
    assert "*" not in text
    assert {action.partition(":")[0] for action in allowed} <= {"sagemaker", "s3", "sqs", "logs", "kms"}


def test_a_check_may_take_as_long_as_a_function_may(template: dict[str, Any]):
    """Sends a hundred requests and their rows one after the other."""
    functions = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    (function,) = (f for f in functions if "Golden requests" in f.get("Description", ""))
    assert function["Timeout"] == 900


def test_fails_for_a_file_with_mistakes(tmp_path: Path):
    """Reports every problem with its line, together with those of the limits."""
    path = tmp_path / "golden.jsonl"
    path.write_bytes(
        CONTENT + b'{"name": "typical", "body": "1\\n2\\n", "rows": 3, "content_type": "text/csv"}\n{"nam": 1}\n'
    )
    with pytest.raises(ValidationError) as caught:
        GoldenRequests.from_file(path, max_deviation=-1, max_latency=cdk.Duration.minutes(2), max_slowdown=0.5)
    assert caught.value.code == "InvalidGoldenRequests"
    assert caught.value.problems == (
        "max_deviation must be from 0 to 100, got -1",
        "max_latency must be from 1 milli to 1 minute, got 2 minutes",
        "max_slowdown must be from 1 to 1000, got 0.5",
        "golden.jsonl: line 2: body must have the number of rows in the field rows, got 2 and 3; correct rows",
        "golden.jsonl: line 3: unknown field 'nam'; allowed are name, body, rows, content_type, minimum, maximum, columns, "
        "minimums, maximums, row_minimums, row_maximums",
        "golden.jsonl: line 2: name must be unique, got 'typical' as in line 1",
    )


def test_fails_for_a_file_that_is_not_there(tmp_path: Path):
    """The error has the path."""
    with pytest.raises(ValidationError, match=r"path must be a readable file, got '.*none.jsonl': No such file"):
        GoldenRequests.from_file(tmp_path / "none.jsonl")


def alarms(count: int) -> list[cloudwatch.Alarm]:
    """Alarms of a caller."""
    stack = cdk.Stack()
    metric = cloudwatch.Metric(namespace="N", metric_name="M")
    return [metric.create_alarm(stack, f"A{n}", threshold=1, evaluation_periods=1) for n in range(count)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_invocations": -1}, "min_invocations must be from 0"),
        ({"max_error_count": -1}, "max_error_count must be from 0"),
        ({"tolerated_error_share": 1.5}, "tolerated_error_share must be from 0"),
        ({"false_alarm": 0.5}, "false_alarm must be from 0.0001"),
        ({"max_latency": cdk.Duration.minutes(2)}, "max_latency must be from"),
        ({"max_latency_ratio": 0.5}, "max_latency_ratio must be from 1 to 100, got 0.5"),
        ({"alarm_period": cdk.Duration.seconds(90)}, "alarm_period must be one to five whole minutes, got 90 s"),
        ({"synthetic_invocations": 5}, "synthetic_invocations requires golden requests, got none"),
        ({"probation": cdk.Duration.minutes(1)}, "probation must be from"),
        ({"retained_versions": 0}, "retained_versions must be from 1 to 10, got 0"),
    ],
)
def test_fails_when_a_check_cannot_work(arguments: dict[str, Any], message: str):
    """Errors name each limit with the value."""
    with pytest.raises(ValidationError, match=message):
        RolloutChecks(**arguments)


def test_fails_with_more_alarms_than_a_deployment_takes():
    """SageMaker accepts ten, including those of the new fleet."""
    assert len(RolloutChecks(alarms=alarms(7)).alarms) == 7
    with pytest.raises(
        ValidationError,
        match=r"at most 10 alarms, got 6 and 5 of the new fleet \(verdict, dead, latency, metric-1, abort",
    ):
        RolloutChecks(alarms=alarms(6), max_latency=cdk.Duration.millis(9), metrics=[RULE])


def test_fails_when_alarms_have_no_probation_to_watch():
    """Such alarms could not roll back."""
    with pytest.raises(ValidationError, match="got 1 alarms and no probation; give probation"):
        RolloutChecks(probation_alarms=alarms(1))


@pytest.mark.parametrize("ratio", [None, 1.5])
@pytest.mark.parametrize("metrics", [(), (RULE, RULE)])
def test_counts_the_alarms_that_the_rollout_makes(ratio: float | None, metrics: tuple[MetricRule, ...]):
    """The number checked at synthesis equals the number created at run time."""
    checks = RolloutChecks(max_latency=cdk.Duration.millis(100), max_latency_ratio=ratio, metrics=metrics)
    spec = RolloutSpec(
        kind="ALL_AT_ONCE", bake=60, maximum=3600, max_latency_ms=100, max_latency_ratio=ratio, metrics=metrics
    )
    assert checks.own_alarms == alarm_kinds(spec)


def test_fails_with_every_problem_of_a_shadow():
    """Checks percent, bake and instances."""
    with pytest.raises(ValidationError) as error:
        ShadowTraffic(percent=0, bake=cdk.Duration.minutes(1), instance_count=0)
    assert len(error.value.problems) == 3


def test_a_tolerance_reaches_the_spec():
    """The spec has the unit's declaration, and a share that may differ."""
    shadow = ShadowTraffic(percent=10, bake=cdk.Duration.hours(1), tolerance=Tolerance(relative=0.1, absolute=2))
    tolerance = shadow.to_spec().tolerance
    assert tolerance is not None
    assert (tolerance.relative, tolerance.absolute, tolerance.max_changed) == (0.1, 2, 0.05)


def test_fails_with_every_problem_of_a_tolerance():
    """Reports all at once."""
    with pytest.raises(ValidationError) as caught:
        Tolerance(relative=-1, absolute=-1, max_changed=0)
    assert [problem.split()[0] for problem in caught.value.problems] == ["relative", "absolute", "max_changed"]
