"""The target side in the template: fixed names, an inbox for one sender, and permissions that both sides must grant."""

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    Images,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_constructs.promotion.promotion_inbox import PromotionInbox
from mlops_runtime.promotion.environment_link import LinkedEnvironment, link_role_name

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
RECOVERY = Environment("recovery", account="222222222222", region="eu-central-1")
PULL = "ecr:GetDownloadUrlForLayer"


def _stack(here: Environment = STAGING, approval: Approval | None = None) -> tuple[cdk.Stack, ModelRegistry]:
    stack = cdk.Stack(cdk.App(), "S", env=here.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name="forecast", source=BUILD, approval=approval
    )
    return stack, registry


@pytest.fixture(scope="module")
def template() -> Mapping[str, Any]:
    """A target that approves by policy."""
    stack, _ = _stack(approval=Approval.automatic())
    return Template.from_stack(stack).to_json()


def _role_name(purpose: Any, here: Environment = STAGING) -> str:
    return link_role_name(purpose, unit="demand", model="forecast", environment=here.linked)


def _policy(template: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    found = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith(f"RegistryInbox{prefix}RolePolicy")
    ]
    assert len(found) == 1
    return list(found[0])


def _with(statements: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [
        each
        for each in statements
        if action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    ]


def test_roles_have_the_names_that_the_source_knows(template: Mapping[str, Any]) -> None:
    """Applies to the machine and the function that queries the source; only the machine has the approver's tag."""
    roles = {
        each["Properties"].get("RoleName"): each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::IAM::Role"
    }
    assert {_role_name("promote"), _role_name("recheck")} <= set(roles)
    tags = {each["Key"] for each in roles[_role_name("promote")]["Tags"]}
    assert "mlops:approves" in tags
    assert "mlops:approves" not in {each["Key"] for each in roles[_role_name("recheck")]["Tags"]}


def test_the_inbox_takes_events_of_one_sender_about_one_group(template: Mapping[str, Any]) -> None:
    """The policy names the sender's role, the rule account, Region, unit, type and group; events go to a queue."""
    found = Template.from_json(dict(template))
    found.has_resource_properties("AWS::Events::EventBus", {"Name": "mlops-demand-forecast-inbox"})
    sender = LinkedEnvironment(account="111111111111", region="eu-west-1")
    role = link_role_name("send", unit="demand", model="forecast", environment=sender)
    found.has_resource_properties(
        "AWS::Events::EventBusPolicy",
        {
            "Statement": {
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "events:PutEvents",
                "Condition": {
                    "ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::111111111111:role/{role}"},
                    "StringEquals": {"events:source": "mlops.demand"},
                },
            }
        },
    )
    found.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "account": ["111111111111"],
                "region": ["eu-west-1"],
                "source": ["mlops.demand"],
                "detail-type": ["MLOps Model Released"],
                "detail": {"subject": ["demand-forecast"]},
            },
            "Targets": [Match.object_like({"Arn": {"Fn::GetAtt": [Match.string_like_regexp("GuardQueue"), "Arn"]}})],
        },
    )


def test_the_machine_reads_the_source_and_writes_below_incoming(template: Mapping[str, Any]) -> None:
    """Restricted by account, folders of the unit and kms:ViaService; it writes nowhere that models are served from."""
    statements = _policy(template, "Promote")
    foreign = [each for each in _with(statements, "s3:GetObject") if "Condition" in each]
    assert [each["Condition"] for each in foreign] == [{"StringEquals": {"aws:ResourceAccount": "111111111111"}}]
    written = json.dumps([each["Resource"] for each in _with(statements, "s3:PutObject")])
    assert "/incoming/demand-forecast/*" in written
    assert "models/" not in written
    assert _with(statements, "sagemaker:DescribeModelPackage") == []
    assert len(_with(statements, "sagemaker:UpdateModelPackage")) == 1


def test_kept_objects_are_written_once(template: Mapping[str, Any]) -> None:
    """Only the role that has compared the objects writes them."""
    (kept,) = [
        each
        for each in _with(_policy(template, "Keep"), "s3:PutObject")
        if "models/demand-forecast" in json.dumps(each)
    ]
    assert kept["Condition"] == {"Null": {"s3:if-none-match": "false"}}


def test_copies_expire_after_a_day(template: Mapping[str, Any]) -> None:
    """Refused copies and those of dead executions expire."""
    Template.from_json(dict(template)).has_resource_properties(
        "AWS::S3::Bucket",
        {
            "LifecycleConfiguration": {
                "Rules": Match.array_with(
                    [
                        {
                            "ExpirationInDays": 1,
                            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                            "Prefix": "incoming/demand-forecast/",
                            "Status": "Enabled",
                        }
                    ]
                )
            }
        },
    )


def test_people_approve_unless_it_says_otherwise() -> None:
    """By default there is no approve permission, tag or state."""
    stack, registry = _stack()
    found = Template.from_stack(stack).to_json()
    assert _with(_policy(found, "Promote"), "sagemaker:UpdateModelPackage") == []
    assert isinstance(registry.inbox, PromotionInbox)


def test_a_source_of_another_region_is_not_asked() -> None:
    """Functions cannot call its registry, as the role has no permission."""
    stack, _ = _stack(RECOVERY)
    found = Template.from_stack(stack).to_json()
    assert _with(_policy(found, "Plan"), "sagemaker:DescribeModelPackage") == []
    stack, _ = _stack()
    found = Template.from_stack(stack).to_json()
    (requested,) = _with(_policy(found, "Plan"), "sagemaker:DescribeModelPackage")
    assert requested["Resource"] == "arn:aws:sagemaker:eu-west-1:111111111111:model-package/demand-forecast/*"


def test_the_command_finds_the_offers_by_the_registry_s_parameter(template: Mapping[str, Any]) -> None:
    """Publishes table and source; the registry publishes no releases."""
    (parameter,) = (
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::SSM::Parameter"
        and each["Properties"].get("Name") == "/mlops/demand/registry/demand-forecast"
    )
    (table,) = (
        name
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::DynamoDB::Table" and name.startswith("RegistryInboxTable")
    )
    parts = parameter["Value"]["Fn::Join"][1]
    entry = json.loads("".join(each if isinstance(each, str) else f"<{each.get('Ref')}>" for each in parts))
    assert entry["inbox"] == {
        "table": f"<{table}>",
        "source": {"account": "111111111111", "region": "eu-west-1"},
        "source_name": "build",
        "max_wait_seconds": 21600,
    }
    assert "releases" not in entry


def test_a_release_that_waits_too_long_is_an_alarm(template: Mapping[str, Any]) -> None:
    """Notifies for an overdue offer in one of three checks, and for a stopped guard by insufficient data."""
    (alarm,) = (
        each["Properties"]
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::CloudWatch::Alarm" and name.startswith("RegistryInboxOverdue")
    )

    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("MLOps/demand", "OffersOverdue", "Maximum")
    assert alarm["Dimensions"] == [{"Name": "ModelPackageGroup", "Value": "demand-forecast"}]
    assert (alarm["Threshold"], alarm["Period"]) == (1, 3600)
    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == (3, 1, "missing")
    assert alarm["AlarmActions"] == alarm["InsufficientDataActions"]
    assert "6 hours after their offer" in alarm["AlarmDescription"]


def _shared(**more: Any) -> tuple[cdk.Stack, dict[str, Any]]:
    stack = cdk.Stack(more.pop("app", None) or cdk.App(), "S", env=more.pop("here", STAGING).cdk)
    unit = BusinessUnit(stack, "Unit", name="demand", profile=more.pop("profile", Profile.PRODUCTION))
    arguments = {"business_unit": unit, "name": "forecast", "source": BUILD, "images": Images.SHARED, **more}
    return stack, arguments


def _serve(stack: cdk.Stack, arguments: dict[str, Any], capacity: EndpointCapacity, account: str | None = None) -> None:
    ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=arguments["business_unit"],
        registry=ModelRegistry.from_environment(stack, "Registry", **arguments),
        name="forecast",
        image=ModelImage.from_ecr(repository_name="serving", digest="sha256:" + "1" * 64, account=account),
        capacity=capacity,
    )


@pytest.mark.parametrize("account", [None, BUILD.account])
def test_images_of_the_source_are_found_and_pulled(account: str | None) -> None:
    """The machine describes any repository that the release names; the endpoint's role pulls from one, in both accounts."""
    stack, arguments = _shared()
    _serve(stack, arguments, EndpointCapacity.instances("ml.m5.large", instance_count=1), account)
    found = Template.from_stack(stack).to_json()
    (finds,) = [each for each in _policy(found, "Promote") if f":{BUILD.account}:repository/" in json.dumps(each)]
    (policy,) = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in found["Resources"].items()
        if each["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("EndpointRole")
    ]
    pulls = sorted(each["Resource"]["Fn::Join"][1][-1] for each in _with(policy, PULL))

    assert finds["Action"] == ["ecr:BatchGetImage", "ecr:DescribeImages"]
    assert finds["Resource"] == "arn:aws:ecr:eu-west-1:111111111111:repository/*"
    assert pulls == [f":ecr:eu-west-1:{each.account}:repository/serving" for each in (BUILD, STAGING)]


@pytest.mark.parametrize("profile", Profile)
def test_checkers_find_nothing_of_shared_images(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's wildcard is acknowledged with a reason; the endpoint's role names one repository."""
    monkeypatch.delenv("CDK_VALIDATION", raising=False)
    app = cdk.App(context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    stack, arguments = _shared(app=app, profile=profile)
    _serve(stack, arguments, EndpointCapacity.instances("ml.m5.large", instance_count=1))

    found = [each for each in check(app).problems if "/Registry" in each or "/Endpoint" in each]
    assert found == []


def test_no_image_of_the_source_is_found_where_none_are_shared(template: Mapping[str, Any]) -> None:
    """Adds no permission, setting or state."""
    assert f":{BUILD.account}:repository/" not in json.dumps(template)
    assert "hares_images" not in json.dumps(template)
    assert "FindShared" not in json.dumps(template)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"here": RECOVERY}, "'build' in eu-west-1, but endpoints in eu-central-1 can only pull from their own Region"),
        (
            {"deploy_to": [Environment("production", account="333333333333", region="eu-west-1")]},
            "'production' can only copy from this account's registry",
        ),
    ],
)
def test_images_are_shared_with_a_neighbour_alone(changed: dict[str, Any], named: str) -> None:
    """SageMaker pulls from its own Region, and the next target uses this account's registry."""
    stack, arguments = _shared(**changed)
    with pytest.raises(ValidationError, match=named):
        ModelRegistry.from_environment(stack, "Registry", **arguments)


def test_a_serverless_endpoint_shares_no_images() -> None:
    """Serverless endpoints only pull from their own account."""
    stack, arguments = _shared()
    light = EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=5)
    with pytest.raises(ValidationError, match="a serverless endpoint can only pull images of its own account"):
        _serve(stack, arguments, light)


def test_how_long_a_release_may_wait_is_the_registrys_choice() -> None:
    """Guard and command use the same limit; values out of range are rejected."""
    stack = cdk.Stack(cdk.App(), "S", env=STAGING.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    arguments: dict[str, Any] = {"business_unit": unit, "name": "forecast", "source": BUILD}
    for wrong in (cdk.Duration.minutes(59), cdk.Duration.days(15)):
        with pytest.raises(ValidationError, match="max_wait must be from 1 hour to 14 days"):
            ModelRegistry.from_environment(stack, "Registry", max_wait=wrong, **arguments)
    ModelRegistry.from_environment(stack, "Registry", max_wait=cdk.Duration.hours(2), **arguments)

    resources = Template.from_stack(stack).to_json()["Resources"]
    found = [json.dumps(each["Properties"]) for name, each in resources.items() if name.startswith("RegistryEntry")]
    found += [
        each["Properties"]["Environment"]["Variables"]["PROMOTION"]
        for name, each in resources.items()
        if each["Type"] == "AWS::Lambda::Function" and name.startswith("RegistryInboxGuard")
    ]
    assert len(found) == 2
    assert all('"max_wait_seconds' in each.replace("\\", "") and "7200" in each for each in found)
