"""The business unit: an isolated tenant with network, key, buckets and roles."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import BusinessUnit, Network, Profile, ValidationError
from mlops_runtime.business_unit.key_policy import Place, shared_key_statements
from mlops_runtime.contracts.retraining import JobTags


def _unit(**options: Any) -> tuple[cdk.Stack, BusinessUnit]:
    stack = cdk.Stack(cdk.App(), "Demand")
    return stack, BusinessUnit(stack, "Unit", **{"name": "demand", **options})


@pytest.fixture(scope="module")
def production() -> tuple[cdk.Stack, BusinessUnit, Template]:
    """A unit with its defaults."""
    stack, unit = _unit()
    return stack, unit, Template.from_stack(stack)


@pytest.fixture(scope="module")
def development() -> tuple[cdk.Stack, BusinessUnit, Template]:
    """A DEVELOPMENT unit."""
    stack, unit = _unit(profile=Profile.DEVELOPMENT)
    return stack, unit, Template.from_stack(stack)


def test_a_name_is_enough(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """Everything but the name has a default, and data are retained."""
    _, unit, template = production

    assert (unit.name, unit.owner, unit.cost_center, unit.profile) == ("demand", "demand", "demand", Profile.PRODUCTION)
    template.resource_count_is("AWS::KMS::Key", 3)  # a data key and two keys that sign records
    template.resource_count_is("AWS::S3::Bucket", 4)
    template.resource_count_is("AWS::Lambda::Function", 0)
    for kind in ("AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Logs::LogGroup"):
        assert {r["DeletionPolicy"] for r in template.find_resources(kind).values()} == {"RetainExceptOnCreate"}


def test_audit_records_are_locked_for_a_year_in_production(
    production: tuple[cdk.Stack, BusinessUnit, Template],
) -> None:
    """Audit records cannot be deleted for a year."""
    _, _, template = production

    template.has_resource_properties(
        "AWS::S3::Bucket",
        {"ObjectLockConfiguration": {"Rule": {"DefaultRetention": {"Days": 365, "Mode": "GOVERNANCE"}}}},
    )


def test_development_deletes_everything_and_says_so(development: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """Development supports deploy, destroy, deploy: nothing is retained, locked or has a fixed name."""
    stack, _, template = development

    for name, resource in template.to_json()["Resources"].items():
        assert resource.get("DeletionPolicy", "Delete") == "Delete", name
        assert "ObjectLockConfiguration" not in resource.get("Properties", {})
        if resource["Type"].startswith("AWS::"):
            named = {"BucketName", "TableName", "QueueName", "TopicName", "RoleName", "LogGroupName"}
            assert not named & resource.get("Properties", {}).keys(), name
    Annotations.from_stack(stack).has_warning("/Demand/Unit", Match.string_like_regexp("developmentDestroysData"))


def test_every_bucket_is_emptied_before_it_goes(development: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """CloudFormation deletes in reverse order: sweep, policy, bucket; the access-log bucket last."""
    _, _, template = development
    resources = template.to_json()["Resources"]
    buckets = {name for name, r in resources.items() if r["Type"] == "AWS::S3::Bucket"}
    sweeps = {
        r["Properties"]["BucketName"]["Ref"]: name
        for name, r in resources.items()
        if r["Type"] == "Custom::BucketSweep"
    }
    logs = next(name for name in buckets if name.startswith("UnitAccessLogs"))

    assert set(sweeps) == buckets
    policies = {
        r["Properties"]["Bucket"]["Ref"]: n for n, r in resources.items() if r["Type"] == "AWS::S3::BucketPolicy"
    }
    for bucket in buckets - {logs}:
        assert policies[bucket] in resources[sweeps[bucket]]["DependsOn"]
        assert sweeps[logs] in resources[bucket]["DependsOn"]
    assert sweeps[logs] in resources[policies[logs]]["DependsOn"]


def test_the_sweeper_may_delete_what_each_bucket_lets_it(development: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """The bucket's policy grants deletion to the sweeper's role alone."""
    _, _, template = development

    role = next(n for n in template.find_resources("AWS::IAM::Role") if n.startswith("UnitSweeper"))
    template.has_resource_properties(
        "AWS::S3::BucketPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
                                "Principal": {"AWS": {"Fn::GetAtt": [role, "Arn"]}},
                            }
                        )
                    ]
                )
            }
        },
    )


@pytest.mark.parametrize(("profile", "zones"), [(Profile.PRODUCTION, 2), (Profile.DEVELOPMENT, 1)])
def test_the_profile_says_how_many_zones(profile: Profile, zones: int) -> None:
    """Development uses one zone, production two."""
    stack, unit = _unit(profile=profile)

    Template.from_stack(stack).resource_count_is("AWS::EC2::Subnet", zones)
    assert len(unit.subnet_ids) == zones


def test_the_key_lends_itself_under_conditions(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """No kms:*, grants for AWS resources only, and services for this account where they send it; EventBridge sends no account."""
    _, _, template = production
    key = next(iter(template.find_resources("AWS::KMS::Key").values()))["Properties"]

    statements = {s.get("Sid", "Bus"): s for s in key["KeyPolicy"]["Statement"]}
    actions = {a for s in statements.values() for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert key["EnableKeyRotation"] is True
    assert not [a for a in actions if "*" in a]
    assert statements["GrantToResources"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert "kms:CreateGrant" not in statements["Administer"]["Action"]
    assert statements["Alarms"]["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert "ArnLike" in statements["Logs"]["Condition"]
    assert "Condition" not in statements["Events"]


def test_the_dead_letters_admit_the_bus(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """The queue's policy names the bus by ARN; each rule's target adds its rule."""
    stack, unit, template = production
    policies = template.find_resources("AWS::SQS::QueuePolicy").values()
    statements = [s for p in policies for s in p["Properties"]["PolicyDocument"]["Statement"] if s.get("Sid") == "Bus"]

    (statement,) = statements
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == stack.resolve(unit.dead_letter_queue.queue_arn)
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": stack.resolve(unit.bus.event_bus_arn)}}


def test_the_administrator_can_use_what_the_policy_lends(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """CDK grants ``kms:ReEncrypt*`` and ``kms:GenerateDataKey*``: the key policy delegates each of their actions to the account."""
    _, _, template = production
    key = next(iter(template.find_resources("AWS::KMS::Key").values()))["Properties"]
    administer = next(s for s in key["KeyPolicy"]["Statement"] if s.get("Sid") == "Administer")

    assert {
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:GenerateDataKey",
        "kms:GenerateDataKeyWithoutPlaintext",
    } <= set(administer["Action"])


def test_the_boundary_caps_every_role(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """Every role has the boundary, which allows no IAM action but PassRole and denies other units' resources."""
    _, _, template = production

    for role in template.find_resources("AWS::IAM::Role").values():
        assert role["Properties"]["PermissionsBoundary"]["Ref"].startswith("UnitBoundary")
    boundary = next(
        p for n, p in template.find_resources("AWS::IAM::ManagedPolicy").items() if n.startswith("UnitBoundary")
    )
    statements = {s["Sid"]: s for s in boundary["Properties"]["PolicyDocument"]["Statement"]}
    assert not [a for a in statements["Services"]["Action"] if a.startswith(("iam:", "organizations:", "sts:"))]
    assert statements["PassRoles"]["Action"] == "iam:PassRole"
    assert statements["OtherUnits"]["Condition"] == {
        "Null": {"aws:ResourceTag/mlops:unit": "false"},
        "StringNotEquals": {"aws:ResourceTag/mlops:unit": "demand"},
    }
    assert "kms:ScheduleKeyDeletion" in statements["Never"]["Action"]


def test_resources_carry_the_tags_of_jobs() -> None:
    """Resources have the same tag keys as jobs that state machines start."""
    stack, unit = _unit(owner="pricing team", cost_center="4711")

    job = JobTags(unit="demand", owner="pricing team", cost_center="4711", model="m", execution="e").as_tags()
    assert [{"Key": key, "Value": value} for key, value in unit.tags.items()] == job[:3]
    key = next(iter(Template.from_stack(stack).find_resources("AWS::KMS::Key").values()))
    assert {tag["Key"]: tag["Value"] for tag in key["Properties"]["Tags"]} == dict(unit.tags)


def test_the_topic_takes_tls_only(production: tuple[cdk.Stack, BusinessUnit, Template]) -> None:
    """The topic is encrypted with the unit's key and accepts messages over TLS only."""
    _, _, template = production

    template.has_resource_properties("AWS::SNS::Topic", {"KmsMasterKeyId": Match.any_value()})
    template.has_resource_properties(
        "AWS::SNS::TopicPolicy",
        {"PolicyDocument": {"Statement": Match.array_with([Match.object_like({"Effect": "Deny"})])}},
    )


def test_a_given_network_is_used_as_it_is() -> None:
    """Adds no network, endpoint or price; one security group without ingress."""
    stack = cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="111111111111", region="eu-west-1"))
    vpc = ec2.Vpc(stack, "Vpc", max_azs=2)
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)

    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.from_vpc(vpc=vpc, subnets=subnets))

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::EC2::VPC", 1)
    template.resource_count_is("AWS::EC2::VPCEndpoint", 0)
    assert unit.vpc is vpc
    assert len(unit.subnet_ids) == 2
    template.has_resource_properties("AWS::EC2::SecurityGroup", {"SecurityGroupIngress": Match.absent()})
    Annotations.from_stack(stack).has_no_info("*", Match.string_like_regexp("USD a month"))


def test_a_given_security_group_is_used() -> None:
    """Keeps the caller's security group."""
    stack = cdk.Stack(cdk.App(), "Demand")
    vpc = ec2.Vpc(stack, "Vpc", max_azs=1)
    group = ec2.SecurityGroup(stack, "Group", vpc=vpc)
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)

    unit = BusinessUnit(
        stack, "Unit", name="demand", network=Network.from_vpc(vpc=vpc, subnets=subnets, security_group=group)
    )

    assert unit.security_group is group


def test_a_shared_network_is_named_by_its_ids() -> None:
    """Uses the platform's subnets in their zones."""
    stack, unit = _unit(
        network=Network.from_shared_vpc(
            vpc_id="vpc-1", availability_zones=["eu-west-1a", "eu-west-1b"], subnet_ids=["subnet-1", "subnet-2"]
        )
    )

    assert unit.subnet_ids == ["subnet-1", "subnet-2"]
    Template.from_stack(stack).resource_count_is("AWS::EC2::VPC", 0)


def test_a_given_key_is_used_with_a_warning() -> None:
    """The warning prints the statements that the key's owner must add, with account and Region if known."""
    stack = cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="111111111111"))
    key = kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:us-east-1:111111111111:key/x")

    unit = BusinessUnit(stack, "Unit", name="demand", encryption_key=key)

    assert unit.key is key
    keys = Template.from_stack(stack).find_resources("AWS::KMS::Key").values()
    assert {key["Properties"]["KeyUsage"] for key in keys} == {"SIGN_VERIFY"}
    (warning,) = Annotations.from_stack(stack).find_warning("/Demand/Unit", Match.string_like_regexp("keyNotOwned"))
    text = str(warning.entry.data)
    printed = json.loads(text[text.index("[{") : text.rindex("}]") + 2])
    place = Place(partition="<partition>", region="<region>", account="111111111111")
    assert printed == shared_key_statements(place)


@pytest.mark.parametrize("name", ["a", "Demand", "1st", "demand_", "-demand", "demand-", "d" * 21])
def test_fails_on_a_name_that_services_refuse(name: str) -> None:
    """Rejects names that are invalid in names of endpoints, databases or events."""
    with pytest.raises(ValidationError, match="InvalidBusinessUnit: name must be 2 to 20 lower-case letters"):
        _unit(name=name)


def test_fails_with_all_problems_at_once() -> None:
    """Rejects owner and cost center values that are invalid tag values."""
    with pytest.raises(ValidationError) as caught:
        _unit(name="D", owner="", cost_center="a;b")

    assert [p.split()[0] for p in caught.value.problems] == ["name", "owner", "cost_center"]


def test_a_token_name_is_left_to_deployment() -> None:
    """Skips validation of values known at deployment only."""
    stack = cdk.Stack(cdk.App(), "Demand")

    BusinessUnit(stack, "Unit", name=cdk.CfnParameter(stack, "Name").value_as_string)


@pytest.mark.parametrize("kind", ["role", "imported", "user", "service"])
def test_grants_on_its_buckets_reach_callers(kind: str) -> None:
    """Any principal of CDK can be granted access to the unit's resources."""
    stack, unit = _unit()
    grantees: dict[str, iam.IGrantable] = {
        "role": iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal()),
        "imported": iam.Role.from_role_arn(stack, "Imported", "arn:aws:iam::111111111111:role/x"),
        "user": iam.User(stack, "User"),
        "service": iam.ServicePrincipal("glue.amazonaws.com"),
    }

    assert unit.artifacts.grant_read(grantees[kind]).success
