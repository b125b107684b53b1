"""The report of raw overrides that loosen a platform's rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from tests.constructs.conftest import Demand

from mlops_constructs import (
    Approval,
    BusinessUnit,
    Environment,
    Freeze,
    FreezeCalendar,
    ModelRegistry,
    Network,
    PlatformDefaults,
    Profile,
    RolloutChecks,
    RolloutPolicy,
)
from mlops_constructs.compliance.harness import Evidence, StackEvidence
from mlops_constructs.compliance.loosened_values import LoosenedValue, loosened_of_app

days, minutes = cdk.Duration.days, cdk.Duration.minutes
KEY = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"
ROLLOUT = RolloutPolicy.canary(percent=50, bake=minutes(10), checks=RolloutChecks(probation=cdk.Duration.hours(1)))
DEFAULTS = PlatformDefaults(
    name="retail",
    organization_id="o-a1b2c3d4e5",
    network=Network.from_shared_vpc(
        vpc_id="vpc-1", availability_zones=["eu-west-1a", "eu-west-1b"], subnet_ids=["subnet-1", "subnet-2"]
    ),
    encryption_key_arn=KEY,
    images=("*/mlops-runtime@sha256:*",),
    instance_types=("ml.m5.*",),
    tags={"platform": "retail"},
    required_tags=("data-class",),
    log_retention=days(400),
    audit_retention=days(730),
    weakest_approval=Approval.manual(),
    weakest_rollout=ROLLOUT,
    freeze=FreezeCalendar.of(Freeze(name="audit", start="2027-03-01T00:00Z", end="2027-03-08T00:00Z")),
)


@pytest.fixture
def obedient(define: Callable[..., Demand]) -> Demand:
    """A unit with every construct, on a platform with all rules."""
    return define(
        unit={"defaults": DEFAULTS, "tags": {"data-class": "internal"}},
        registry={"approval": Approval.manual()},
        endpoint={"rollout": ROLLOUT},
    )


def _listed(stack: cdk.Stack) -> list[LoosenedValue]:
    app = stack.node.root
    assert isinstance(app, cdk.App)
    return loosened_of_app(app, app.synth()).get(stack.stack_name, [])


def _raw(scope: Any, *path: str) -> Any:
    for name in path:
        scope = scope.node.find_child(name)
    return scope if isinstance(scope, cdk.CfnResource) else scope.node.default_child


def test_constructs_loosen_nothing(obedient: Demand) -> None:
    """Constructs check their arguments, and resources created at run time follow the rules."""
    assert _listed(obedient.stack) == []


def test_a_unit_without_a_platform_lists_nothing(demand: Demand) -> None:
    """Has no rules to compare with."""
    assert _listed(demand.stack) == []


def test_overrides_are_listed_with_rule_and_values(obedient: Demand) -> None:
    """Lists an override, a later property change and a deletion."""
    unit, stack = obedient.unit, obedient.stack
    (group, *_) = [each for each in stack.node.find_all() if isinstance(each, logs.CfnLogGroup)]
    group.retention_in_days = 30
    _raw(unit, "Audit").add_property_override("ObjectLockConfiguration.Rule.DefaultRetention.Days", 30)
    _raw(unit, "Heads").add_property_deletion_override("ObjectLockConfiguration")
    _raw(unit, "Artifacts").add_property_deletion_override("Tags")
    _raw(unit, "Topic").add_property_override("KmsMasterKeyId", "alias/aws/sns")
    _raw(unit, "Automation").add_property_override("SSESpecification.KMSMasterKeyId", f"{KEY[:-1]}1")
    function = _raw(obedient.retraining, "Guard")
    function.add_property_override("Environment.Variables.FREEZE", '{"windows":[],"format":"mlops.freeze/1"}')
    function.add_property_override("VpcConfig.SubnetIds", ["subnet-1", "subnet-9"])
    found = _listed(stack)

    assert [(each.path.removeprefix("Demand/"), each.location, each.rule, each.found) for each in found] == sorted(
        [
            (group.node.path.removeprefix("Demand/"), "RetentionInDays", "log_retention", "logs kept 30 days"),
            ("Unit/Audit/Resource", "ObjectLockConfiguration", "audit_retention", "records locked for 30 days"),
            ("Unit/Heads/Resource", "ObjectLockConfiguration", "audit_retention", "records locked for 0 days"),
            ("Unit/Artifacts/Resource", "Tags", "required_tags", "no value for 'data-class'"),
            ("Unit/Artifacts/Resource", "Tags", "tags", "no tag 'platform'"),
            ("Unit/Topic/Resource", "KmsMasterKeyId", "encryption_key_arn", "'alias/aws/sns'"),
            (
                "Unit/Automation/Resource",
                "SSESpecification.KMSMasterKeyId",
                "encryption_key_arn",
                f"'{KEY[:-1]}1'",
            ),
            (
                function.node.path.removeprefix("Demand/"),
                "Environment.Variables.FREEZE",
                "freeze",
                "a calendar that does not cover all of it",
            ),
            (function.node.path.removeprefix("Demand/"), "VpcConfig.SubnetIds", "network", "subnets 'subnet-9'"),
        ]
    )


def test_what_runs_later_is_listed_too(obedient: Demand) -> None:
    """Lists the serving spec of the Deploy machine, and states that create jobs or approve."""
    stack = obedient.stack
    (spec,) = [each for each in stack.node.find_all() if _kind(each) == "Custom::MLOpsServingSpec"]
    text = json.dumps(
        {
            "endpoint": "demand-forecast",
            "variant": "AllTraffic",
            "instance_type": "ml.p4d.24xlarge",
            "instance_count": 2,
            "execution_role": "role",
            "subnets": ["subnet-1"],
            "security_groups": ["sg-1"],
            "rollout": {"kind": "ALL_AT_ONCE", "bake": 600, "maximum": 3600, "min_invocations": 20, "probation": 3600},
            "kms_key": KEY,
            "tags": {"platform": "retail", "data-class": "internal"},
            "format": "mlops.serving-spec/1",
        }
    )
    spec.add_property_override("Spec", text)
    machine = {
        "QueryLanguage": "JSONata",
        "StartAt": "Approve",
        "States": {
            "Approve": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:updateModelPackage",
                "Arguments": {"ModelPackageArn": "{% $arn %}", "ModelApprovalStatus": "Approved"},
                "End": True,
            }
        },
    }
    raw = cdk.CfnResource(
        stack,
        "Machine",
        type="AWS::StepFunctions::StateMachine",
        properties={"DefinitionString": json.dumps(machine), "RoleArn": "role"},
    )
    found = {(each.path.removeprefix("Demand/"), each.rule, each.found) for each in _listed(stack)}
    path = spec.node.path.removeprefix("Demand/")

    assert (path, "weakest_rollout", "first step 100 %") in found
    assert (path, "instance_types", "type 'ml.p4d.24xlarge'") in found
    assert (raw.node.path.removeprefix("Demand/"), "weakest_approval", "approval by policy alone") in found


def _kind(node: object) -> str:
    return str(node.cfn_resource_type) if isinstance(node, cdk.CfnResource) else ""


def test_raw_resources_are_listed(obedient: Demand) -> None:
    """Lists resources defined without our constructs."""
    stack = obedient.stack
    sagemaker.CfnModel(
        stack,
        "Model",
        execution_role_arn="role",
        primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(image="docker.io/library/x:latest"),
    )
    logs.CfnLogGroup(stack, "Short", retention_in_days=7)
    logs.CfnLogGroup(stack, "Endless")
    found = [(each.path, each.rule) for each in _listed(stack) if each.rule not in ("tags", "required_tags")]

    assert found == [("Demand/Model", "images"), ("Demand/Short", "log_retention")]


@pytest.mark.parametrize(
    ("principal", "conditions", "is_listed"),
    [
        (iam.AccountPrincipal("999999999999"), {}, True),
        (iam.ArnPrincipal("arn:aws:iam::999999999999:root"), {"ArnEquals": {"aws:PrincipalArn": "arn:x"}}, True),
        (iam.AnyPrincipal(), {"StringEquals": {"aws:PrincipalOrgID": "o-other00000"}}, True),
        (iam.AnyPrincipal(), {}, True),
        (iam.AnyPrincipal(), {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}, False),
        (
            iam.ArnPrincipal("arn:aws:iam::999999999999:root"),
            {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
            False,
        ),
        (
            iam.ArnPrincipal("arn:aws:iam::999999999999:root"),
            {"StringEquals": {"aws:PrincipalOrgID": ["a", "b"]}},
            True,
        ),
        (iam.AccountPrincipal("111122223333"), {}, False),
        (iam.ServicePrincipal("events.amazonaws.com"), {}, False),
    ],
)
def test_statements_for_other_accounts_name_the_organization(
    principal: iam.IPrincipal, conditions: dict[str, Any], is_listed: bool
) -> None:
    """Resource policies name the organization, except for the account itself."""
    stack = cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="111122223333", region="eu-west-1"))
    BusinessUnit(stack, "Unit", name="demand", defaults=PlatformDefaults(name="retail", organization_id="o-a1b2c3d4e5"))
    topic = sns.Topic(stack, "Topic")
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sns:Publish"], principals=[principal], resources=[topic.topic_arn], conditions=conditions
        )
    )

    assert [each.rule for each in _listed(stack)] == (["organization_id"] if is_listed else [])


def test_accounts_of_a_chain_are_of_the_organization() -> None:
    """A registry in the middle of a chain names the organization for both neighbor accounts."""
    stack = cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="111122223333", region="eu-west-1"))
    unit = BusinessUnit(
        stack, "Unit", name="demand", defaults=PlatformDefaults(name="retail", organization_id="o-a1b2c3d4e5")
    )
    before, after = (
        Environment(name, account=account, region="eu-west-1")
        for name, account in (("build", "222222222222"), ("production", "333333333333"))
    )
    ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name="forecast", source=before, deploy_to=[after]
    )

    assert _listed(stack) == []


def test_an_endpoint_without_the_condition_is_listed() -> None:
    """Lists an override of a network endpoint."""
    stack = cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="111122223333", region="eu-west-1"))
    unit = BusinessUnit(
        stack, "Unit", name="demand", defaults=PlatformDefaults(name="retail", organization_id="o-a1b2c3d4e5")
    )
    (endpoint, *_) = [
        each for each in unit.node.find_all() if _kind(each) == "AWS::EC2::VPCEndpoint" and "Events" in each.node.path
    ]
    endpoint.add_property_deletion_override("PolicyDocument.Statement.0.Condition.StringEquals.aws:PrincipalOrgID")
    endpoint.add_property_override(
        "PolicyDocument.Statement",
        [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}],
    )

    assert [(each.rule, each.found) for each in _listed(stack)] == [("organization_id", "no aws:PrincipalOrgID")]


def test_an_importing_stack_is_compared_with_the_same_rules(tmp_path: Path) -> None:
    """Parameters read from the owner are not listed; the stack's own overrides are."""
    stack = cdk.Stack(cdk.App(outdir=str(tmp_path)), "Second", env=cdk.Environment(region="eu-west-1"))
    unit = BusinessUnit.from_name(stack, "Unit", name="demand", defaults=DEFAULTS)
    bucket = s3.Bucket(stack, "Data", encryption_key=unit.key)
    unit.tag(bucket)
    logs.CfnLogGroup(stack, "Logs", retention_in_days=7, kms_key_id=unit.key.key_arn)
    found = [(each.path, each.rule) for each in _listed(stack)]

    assert found == [("Second/Logs", "log_retention"), ("Second/Logs", "required_tags")]


def test_development_has_no_lock_to_compare() -> None:
    """A platform that requires a lock allows only PRODUCTION."""
    stack = cdk.Stack(cdk.App(), "Demand")
    defaults = PlatformDefaults(name="retail", audit_retention=days(730))
    BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT, defaults=defaults)

    assert _listed(stack) == []


def test_the_report_lists_them() -> None:
    """Evidence and summary list them; reports without a platform do not mention them."""
    value = LoosenedValue(
        path="S/Logs",
        location="RetentionInDays",
        platform="retail",
        rule="log_retention",
        allowed="at least 400 days",
        found="logs kept 7 days",
    )
    stack = StackEvidence(stack="S", resources=1, findings=(), acknowledgements=())
    listed = StackEvidence(stack="S", resources=1, findings=(), acknowledgements=(), loosened=(value,))

    assert "loosened" not in Evidence(stacks=(stack,), validated=True).to_json()
    assert json.loads(Evidence(stacks=(listed,), validated=True).to_json())["stacks"][0]["loosened"][0]["found"]
    assert Evidence(stacks=(listed,), validated=True).summary()[1] == (
        "S: S/Logs loosens log_retention of platform 'retail': at least 400 days, got logs kept 7 days in RetentionInDays"
    )
