"""Resources and validation of a registry with `deploy_to`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import BusinessUnit, Environment, ModelRegistry, ValidationError
from mlops_constructs._roles import rendered_length
from mlops_constructs.promotion.offer import MAXIMUM_GROUP_POLICY
from mlops_runtime.contracts import from_json
from mlops_runtime.promotion.environment_link import link_role_arn, link_role_name
from mlops_runtime.registry.package_approval import RegistryEntry

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
RECOVERY = Environment("recovery", account="333333333333", region="eu-central-1")
ROOT = "arn:aws:iam::222222222222:root"
PROMOTE = link_role_arn("promote", unit="demand", model="forecast", environment=STAGING.linked)
RECHECK = link_role_arn("recheck", unit="demand", model="forecast", environment=STAGING.linked)


def _stack(*, key: bool = False) -> tuple[cdk.Stack, BusinessUnit]:
    stack = cdk.Stack(cdk.App(), "Build", env=BUILD.cdk)
    given = kms.Key.from_key_arn(stack, "Given", "arn:aws:kms:eu-west-1:111111111111:key/k") if key else None
    return stack, BusinessUnit(stack, "Unit", name="demand", encryption_key=given)


def _registry(stack: cdk.Stack, unit: BusinessUnit, deploy_to: Sequence[Environment]) -> ModelRegistry:
    return ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=deploy_to)


def _template(stack: cdk.Stack) -> dict[str, Any]:
    app = stack.node.root
    assert isinstance(app, cdk.App)
    return dict(app.synth().get_stack_by_name(stack.stack_name).template["Resources"])


def _statements(template: dict[str, Any], kind: str, path: tuple[str, str]) -> list[dict[str, Any]]:
    found = [r["Properties"] for r in template.values() if r["Type"] == kind]
    return [s for properties in found for s in properties.get(path[0], {}).get(path[1], [])]


def _of(statements: list[dict[str, Any]], principal: str) -> list[dict[str, Any]]:
    return [statement for statement in statements if statement["Principal"] == {"AWS": principal}]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The resources of a registry with two targets, and a pipeline of another name."""
    stack, unit = _stack()
    registry = _registry(stack, unit, [STAGING, RECOVERY])
    registry.register_from("demand-weekly")
    registry.register_from("demand-forecast")
    return _template(stack)


def test_the_group_lets_targets_of_its_region_describe_its_packages(template: dict[str, Any]) -> None:
    """Targets cannot change, serve or list anything; a target in another Region makes no such call."""
    statements = _statements(template, "AWS::SageMaker::ModelPackageGroup", ("ModelPackageGroupPolicy", "Statement"))

    assert [statement["Action"] for statement in statements] == [["sagemaker:DescribeModelPackage"]]
    (staging,) = _of(statements, ROOT)
    assert staging["Resource"] == "arn:aws:sagemaker:eu-west-1:111111111111:model-package/demand-forecast/*"
    assert staging["Condition"]["ArnEquals"]["aws:PrincipalArn"] == RECHECK


def test_the_bucket_lets_the_target_copy_what_the_group_and_its_pipelines_release(template: dict[str, Any]) -> None:
    """Includes pipelines defined after the registry; only the group's packages are released."""
    policies = _statements(template, "AWS::S3::BucketPolicy", ("PolicyDocument", "Statement"))
    (statement,) = _of(policies, ROOT)

    assert (statement["Action"], statement["Condition"]) == (
        "s3:GetObject",
        {"ArnEquals": {"aws:PrincipalArn": PROMOTE}},
    )
    assert [each["Fn::Join"][1][1] for each in statement["Resource"]] == [
        *(f"/{folder}/demand-forecast/*" for folder in ("models", "evaluations", "gates", "releases")),
        *(f"/{folder}/demand-weekly/*" for folder in ("models", "evaluations", "gates")),
    ]


def test_the_key_decrypts_for_the_target_and_names_no_resource_of_the_stack(template: dict[str, Any]) -> None:
    """The bucket references its key: a key that referenced the bucket would be a circular dependency."""
    keys = {name: r for name, r in template.items() if r["Type"] == "AWS::KMS::Key"}
    (statement,) = _of(_statements(keys, "AWS::KMS::Key", ("KeyPolicy", "Statement")), ROOT)

    assert statement["Action"] == "kms:Decrypt"
    assert statement["Condition"]["StringEquals"] == {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    policy = next(r for name, r in keys.items() if name.startswith("UnitKey"))["Properties"]["KeyPolicy"]
    assert "UnitArtifacts" not in json.dumps(policy)


def test_each_target_is_told_of_releases_by_the_role_that_its_inbox_admits(template: dict[str, Any]) -> None:
    """One rule per target, retried for four hours; the role may put events on inboxes only."""
    rules = {n: r["Properties"] for n, r in template.items() if r["Type"] == "AWS::Events::Rule" and "Offer" in n}
    (role,) = (n for n, r in template.items() if r["Type"] == "AWS::IAM::Role" and "MailboxSender" in n)

    targets = [target for rule in rules.values() for target in rule["Targets"]]
    inboxes = {
        "arn:aws:events:eu-west-1:222222222222:event-bus/mlops-demand-forecast-inbox",
        "arn:aws:events:eu-central-1:333333333333:event-bus/mlops-demand-forecast-inbox",
    }
    assert {target["Arn"] for target in targets} == inboxes
    for target in targets:
        assert target["RoleArn"] == {"Fn::GetAtt": [role, "Arn"]}
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [_queue(template), "Arn"]}}
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 14400, "MaximumRetryAttempts": 185}
    assert {rule["EventPattern"]["detail"]["outcome"][0] for rule in rules.values()} == {"RELEASED"}
    name = link_role_name("send", unit="demand", model="forecast", environment=BUILD.linked)
    assert template[role]["Properties"]["RoleName"] == name
    policies = [r["Properties"] for r in template.values() if r["Type"] == "AWS::IAM::ManagedPolicy"]
    (granted,) = (p["PolicyDocument"]["Statement"] for p in policies if p.get("Roles") == [{"Ref": role}])
    assert {(s["Action"], s["Resource"]) for s in granted} == {("events:PutEvents", inbox) for inbox in inboxes}


def _queue(template: dict[str, Any]) -> str:
    (name,) = (n for n, r in template.items() if r["Type"] == "AWS::SQS::Queue" and "MailboxUndelivered" in n)
    return name


def test_an_announcement_that_no_inbox_takes_is_an_alarm(template: dict[str, Any]) -> None:
    """The first message in a dedicated queue notifies; the registry publishes the queue."""
    queue = _queue(template)
    (alarm,) = (
        r["Properties"] for n, r in template.items() if r["Type"] == "AWS::CloudWatch::Alarm" and "Undelivered" in n
    )

    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
    assert (alarm["Threshold"], alarm["TreatMissingData"], len(alarm["AlarmActions"])) == (1, "notBreaching", 1)
    assert "events about demand-forecast did not reach other environments" in alarm["AlarmDescription"]
    (entry,) = (r["Properties"] for n, r in template.items() if n.startswith("RegistryEntry"))
    assert {"Ref": queue} in entry["Value"]["Fn::Join"][1]


def test_without_targets_nothing_is_added() -> None:
    """The template of a registry without targets stays unchanged."""
    stack, unit = _stack()
    registry = _registry(stack, unit, [])
    registry.register_from("demand-weekly")
    template = _template(stack)

    assert [name for name in template if "Offer" in name or "Release" in name or "Served" in name] == []
    assert "222222222222" not in json.dumps(template)
    assert _statements(template, "AWS::SageMaker::ModelPackageGroup", ("ModelPackageGroupPolicy", "Statement")) == []


def test_what_cannot_be_a_target_is_refused_with_every_reason() -> None:
    """Rejects itself and duplicate environments."""
    stack, unit = _stack()

    with pytest.raises(ValidationError, match="InvalidModelRegistry") as refused:
        _registry(stack, unit, [BUILD, STAGING, Environment("again", account="222222222222", region="eu-west-1")])

    assert "'build' is this stack's own account and Region" in str(refused.value)
    assert "'again' and 'staging' are the same account and Region" in str(refused.value)


def test_more_targets_than_the_group_policy_has_room_for_are_refused() -> None:
    """Each target takes one statement."""
    stack, unit = _stack()
    many = [Environment(f"shop-{n}", account=f"4{n:011d}", region="eu-west-1") for n in range(60)]

    with pytest.raises(ValidationError, match=f"at most {MAXIMUM_GROUP_POLICY} are allowed"):
        _registry(stack, unit, many)


def test_a_parameter_names_the_rules_and_more_than_fit_in_it_are_refused() -> None:
    """Names rules by bus, as ARNs would exceed the parameter's limit at 14 targets."""
    stack, unit = _stack()
    many = [Environment(f"shop-{n}", account=f"4{n:011d}", region="eu-west-1") for n in range(30)]
    registry = _registry(stack, unit, many[:14])
    entry = next(
        each["Properties"]["Value"]
        for each in _template(stack).values()
        if each["Type"] == "AWS::SSM::Parameter"
        and "Registry entry of demand-forecast, read by the mlops command" in str(each)
    )
    assert rendered_length(entry) < 4096
    found = from_json(RegistryEntry, _as_deployed(entry))
    assert [(each.bus is None, len(each.names)) for each in found.rules or ()] == [(False, 14), (True, 3), (False, 1)]
    assert registry.group_name == found.group

    stack, unit = _stack()
    _registry(stack, unit, many)
    with pytest.raises(
        Exception, match=r"parameter of demand-forecast has about \d+ characters, at most 4096 are allowed"
    ):
        _template(stack)


def _as_deployed(value: object) -> str:
    """Return a value with a letter in place of each token."""
    if isinstance(value, Mapping):
        return "".join(map(_as_deployed, value["Fn::Join"][1])) if "Fn::Join" in value else "x"
    return str(value)


def test_an_imported_unit_cannot_offer_anything() -> None:
    """The owner's stack defines the bucket policy."""
    stack = cdk.Stack(cdk.App(), "Second", env=BUILD.cdk)
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")

    with pytest.raises(ValidationError, match="define the registry with deploy_to in the stack that defines the unit"):
        ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=[STAGING])


def test_a_key_of_others_is_a_warning_with_the_statements() -> None:
    """The stack cannot change the key policy."""
    stack, unit = _stack(key=True)
    _registry(stack, unit, [STAGING])

    found = Annotations.from_stack(stack).find_warning("/Build/Registry/Offer", Match.string_like_regexp("keyNotOwned"))
    (warning,) = [str(each.entry.data) for each in found]
    assert "kms:Decrypt" in warning
    assert PROMOTE in warning
