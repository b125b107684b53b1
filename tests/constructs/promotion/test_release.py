"""Resources that a registry with `deploy_to` adds for releases, with and without an endpoint in its stack."""

import json
from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    ValidationError,
)
from mlops_constructs.compliance.harness import check

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


def _app(
    *endpoints: str, profile: Profile = Profile.PRODUCTION, deploy_to: Sequence[Environment] = (STAGING,)
) -> cdk.App:
    app = cdk.App()
    stack = cdk.Stack(app, "Build", env=BUILD.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=deploy_to)
    for name in endpoints:
        capacity = EndpointCapacity.instances("ml.m5.large", instance_count=2)
        ModelEndpoint(
            stack, f"E{name}", business_unit=unit, registry=registry, name=name, image=IMAGE, capacity=capacity
        )
    registry.register_from("demand-weekly")
    return app


def _resources(app: cdk.App) -> dict[str, Any]:
    return dict(app.synth().get_stack_by_name("Build").template["Resources"])


def _of(resources: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    (found,) = [r for n, r in resources.items() if r["Type"] == kind and n.startswith(f"RegistryRelease{name}")]
    return dict(found["Properties"])


def _statements(resources: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return list(_of(resources, "AWS::IAM::ManagedPolicy", f"{name}RolePolicy")["PolicyDocument"]["Statement"])


@pytest.fixture(scope="module")
def approved() -> dict[str, Any]:
    """A registry without an endpoint."""
    return _resources(_app())


@pytest.fixture(scope="module")
def promoted() -> dict[str, Any]:
    """A registry whose endpoint is in its stack."""
    return _resources(_app("forecast"))


def test_without_an_endpoint_approvals_are_released_into_a_chain_of_the_groups_own(approved: dict[str, Any]) -> None:
    """Its head is in its own row of the unit's automation table."""
    rule = _of(approved, "AWS::Events::Rule", "Ready")
    environments = [
        _of(approved, "AWS::Lambda::Function", name)["Environment"]["Variables"] for name in ("Record", "Guard")
    ]

    assert rule["EventPattern"]["source"] == ["aws.sagemaker"]
    assert "EventBusName" not in rule
    for variables in environments:
        assert variables["ENDPOINT"] == "demand-forecast.releases"
        assert variables["ROLLOUT_TABLE"] == variables["AUTOMATION_TABLE"]
        assert "SERVED" not in variables
    assert environments[0]["NAMES"] == "demand-forecast,demand-weekly"


def test_with_an_endpoint_promotions_are_released_into_its_chain(promoted: dict[str, Any]) -> None:
    """The rule is on the unit's bus, and the row is that of the endpoint's rollouts."""
    rule = _of(promoted, "AWS::Events::Rule", "Ready")

    assert rule["EventPattern"] == {
        "source": ["mlops.demand"],
        "detail-type": ["MLOps Rollout Finished"],
        "detail": {"subject": ["demand-forecast"], "outcome": ["PROMOTED"]},
    }
    assert rule["EventBusName"]["Ref"].startswith("UnitBus")
    for name in ("Record", "Guard"):
        variables = _of(promoted, "AWS::Lambda::Function", name)["Environment"]["Variables"]
        assert (variables["ENDPOINT"], variables["SERVED"]) == ("demand-forecast", "true")
        assert variables["ROLLOUT_TABLE"]["Ref"].startswith("EforecastRolloutTable")


def test_no_rule_starts_the_machine(approved: dict[str, Any]) -> None:
    """Rules only feed the guard's queue."""
    queue = next(n for n in approved if n.startswith("RegistryReleaseGuardQueue") and "Policy" not in n)
    for name in ("Ready", "Recheck"):
        targets = _of(approved, "AWS::Events::Rule", name)["Targets"]
        assert [target["Arn"] for target in targets] == [{"Fn::GetAtt": [queue, "Arn"]}]


@pytest.mark.parametrize("name", ["Record", "Guard"])
def test_only_the_chains_own_row_is_read_and_moved(approved: dict[str, Any], name: str) -> None:
    """The unit's row with its pause is read only."""
    written = [
        s
        for s in _statements(approved, name)
        if "dynamodb:UpdateItem" in s["Action"] or (name == "Guard" and s["Action"] == "dynamodb:GetItem")
    ]

    rows = [s["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] for s in written if "Condition" in s]
    assert rows == [["demand-forecast.releases"]]
    assert len([s for s in written if "Condition" not in s]) == (0 if name == "Record" else 1)


def test_a_release_is_written_once_by_a_role_that_writes_nothing_else(approved: dict[str, Any]) -> None:
    """It also writes audit records, and reads objects of the group and its pipelines only."""
    statements = _statements(approved, "Record")
    (put,) = [s for s in statements if s["Action"] == "s3:PutObject"]
    reads = [s for s in statements if s["Action"] == "s3:GetObject"]

    assert put["Condition"] == {"Null": {"s3:if-none-match": "false"}}
    assert json.dumps(put["Resource"]).endswith('"/releases/demand-forecast/*"]]}')
    read = [
        each["Fn::Join"][1][-1]
        for s in reads
        for each in (s["Resource"] if isinstance(s["Resource"], list) else [s["Resource"]])
    ]
    assert sorted(read) == sorted(
        [
            *(
                f"/{folder}/{name}/*"
                for folder in ("models", "evaluations", "gates")
                for name in ("demand-forecast", "demand-weekly")
            ),
            "/releases/demand-forecast/*",
        ]
    )


def test_two_endpoints_of_one_registry_do_not_release() -> None:
    """It would be ambiguous which endpoint must have promoted the package."""
    with pytest.raises(ValidationError, match="'demand-returns' and 'demand-forecast' serve the packages"):
        _app("forecast", "returns")


def test_two_endpoints_are_as_they_were_without_targets() -> None:
    """Without targets nothing is released, and the template stays unchanged."""
    assert [n for n in _resources(_app("forecast", "returns", deploy_to=())) if n.startswith("RegistryRelease")] == []


@pytest.mark.parametrize("profile", Profile)
def test_checkers_find_nothing(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covers release and offer, with and without an endpoint."""
    monkeypatch.delenv("CDK_VALIDATION", raising=False)
    for endpoints in ((), ("forecast",)):
        problems = check(_app(*endpoints, profile=profile)).problems
        assert [problem for problem in problems if "222222222222" in problem or "/Registry" in problem] == []
