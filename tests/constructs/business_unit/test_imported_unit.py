"""A unit of another stack: published values, values that the import reads, and resources that it adds."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import BusinessUnit, IBusinessUnit, ModelRegistry, Network, Profile, ValidationError
from mlops_constructs._arguments import is_of
from mlops_constructs._unit_resources import define_bucket
from mlops_constructs._warnings import DEVELOPMENT_DESTROYS_DATA, IMPORTED_UNIT
from mlops_runtime.contracts.unit_entries import UNIT_PARAMETERS, unit_parameter

DATA = ("AWS::KMS::Key", "AWS::Events::EventBus", "AWS::SNS::Topic", "AWS::DynamoDB::Table", "AWS::EC2::VPC")


def _stack() -> cdk.Stack:
    return cdk.Stack(cdk.App(), "Second")


def _read(stack: cdk.Stack) -> dict[str, str]:
    """Return the parameters that a stack reads, with their types."""
    found = Template.from_stack(stack).to_json().get("Parameters", {})
    return {p["Default"]: p["Type"] for name, p in found.items() if name.startswith("SsmParameterValue")}


def _warnings(stack: cdk.Stack, pattern: str) -> int:
    return len(Annotations.from_stack(stack).find_warning("*", Match.string_like_regexp(pattern)))


def test_an_owner_publishes_every_value() -> None:
    """Publishes one parameter per value below the unit's name and profile, lists as lists."""
    stack = cdk.Stack(cdk.App(), "Owner")
    BusinessUnit(stack, "Unit", name="demand", owner="ann", cost_center="42")
    found = Template.from_stack(stack).find_resources("AWS::SSM::Parameter").values()
    values = {p["Properties"]["Name"]: p["Properties"] for p in found}
    expected = {unit_parameter("demand", "production", p.field): p.type for p in UNIT_PARAMETERS}

    assert {name: p["Type"] for name, p in values.items() if name in expected} == expected
    assert set(values) - set(expected) == {"/mlops/demand/unit"}
    assert values["/mlops-unit/demand/1/production/owner"]["Value"] == "ann"
    assert "Fn::Join" in values["/mlops-unit/demand/1/production/subnet_ids"]["Value"]


def test_an_owner_publishes_the_network_that_it_was_given() -> None:
    """Publishes ids of subnets and zones in order, also of a subnet selection."""
    stack = cdk.Stack(cdk.App(), "Owner")
    network = Network.from_shared_vpc(
        vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["subnet-1", "subnet-2"]
    )
    unit = BusinessUnit(stack, "Unit", name="demand", network=network)
    one = Network.from_vpc(vpc=unit.vpc, subnets=ec2.SubnetSelection(availability_zones=["b"]))
    BusinessUnit(stack, "Other", name="other", network=one)
    found = Template.from_stack(stack).find_resources("AWS::SSM::Parameter").values()
    values = {p["Properties"]["Name"]: p["Properties"]["Value"] for p in found}

    assert values["/mlops-unit/demand/1/production/subnet_ids"] == "subnet-1,subnet-2"
    assert values["/mlops-unit/demand/1/production/availability_zones"] == "a,b"
    assert values["/mlops-unit/other/1/production/subnet_ids"] == "subnet-2"


def test_an_import_reads_and_defines_nothing_until_it_is_used() -> None:
    """The import has every member that constructs use, and reads only the unit's tags until a member is used."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")
    assert is_of(unit, IBusinessUnit)
    assert Template.from_stack(stack).to_json().get("Resources", {}) == {}
    assert set(_read(stack)) == {unit_parameter("demand", "production", each) for each in ("owner", "cost_center")}


def test_every_value_that_is_published_is_read() -> None:
    """Reads each value by name and type; the owner's resources are referenced and never defined again."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT, subnet_count=2)
    used: list[Any] = [unit.key.key_arn, unit.topic.topic_arn, unit.bus.event_bus_arn, unit.artifacts.bucket_arn]
    used += [unit.audit_bucket.bucket_arn, unit.heads_bucket.bucket_arn, unit.access_logs.bucket_name]
    used += [unit.signing_key.key_arn, unit.automation_table.table_arn, unit.automation_environment]
    used += [unit.permissions_boundary.managed_policy_arn, unit.function_policy.managed_policy_arn]
    used += [unit.vpc.vpc_id, unit.subnet_ids, unit.availability_zones, unit.security_group.security_group_id]
    used += [unit.vpc.select_subnets(subnet_type=unit.subnets.subnet_type).subnet_ids, dict(unit.audit_environment)]
    cdk.CfnOutput(stack, "Used", value=stack.to_json_string(used))
    kinds = {"String": "AWS::SSM::Parameter::Value<String>", "StringList": "AWS::SSM::Parameter::Value<List<String>>"}

    assert _read(stack) == {unit_parameter("demand", "development", p.field): kinds[p.type] for p in UNIT_PARAMETERS}
    assert Template.from_stack(stack).to_json().get("Resources", {}) == {}
    assert len(unit.subnet_ids) == 2


@pytest.mark.parametrize("profile", list(Profile))
def test_what_a_policy_of_the_owner_would_have_to_admit_is_of_the_stack(profile: Profile) -> None:
    """Adds a dead-letter queue with its alarm, and in DEVELOPMENT one function that empties the stack's buckets and registries."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand", profile=profile)
    assert unit.dead_letter_queue is unit.dead_letter_queue
    define_bucket(stack, "One", business_unit=unit)
    define_bucket(stack, "Two", business_unit=unit)
    ModelRegistry(stack, "Registry", business_unit=unit, name="returns")
    template, is_kept = Template.from_stack(stack), profile.keeps_data

    template.resource_count_is("AWS::SQS::Queue", 1)
    template.resource_count_is("AWS::CloudWatch::Alarm", 1)
    template.resource_count_is("AWS::Lambda::Function", 0 if is_kept else 1)
    template.resource_count_is("Custom::BucketSweep", 0 if is_kept else 2)
    template.resource_count_is("Custom::ModelPackageSweep", 0 if is_kept else 1)
    for kind in DATA:
        template.resource_count_is(kind, 0)
    assert _warnings(stack, DEVELOPMENT_DESTROYS_DATA.text.partition("{")[0]) == (0 if is_kept else 1)


def test_what_a_stack_adds_to_another_ones_unit_is_exported() -> None:
    """The owner's stack exports only its name, which every import references."""
    app = cdk.App()
    owner, second, third = (cdk.Stack(app, name) for name in ("Owner", "Second", "Third"))
    unit = BusinessUnit(owner, "Unit", name="demand")
    ModelRegistry(owner, "Registry", business_unit=unit, name="first")
    imported = BusinessUnit.from_name(second, "Unit", name="demand")
    ModelRegistry(second, "Registry", business_unit=imported, name="second")
    ModelRegistry(third, "Registry", business_unit=unit, name="third")  # references the owner's stack
    exports, entries = [], []
    for stack in (owner, second, third):
        template = Template.from_stack(stack).to_json()
        names = [str(each["Export"]["Name"]) for each in template["Outputs"].values() if "Export" in each]
        exports.append([name for name in names if name.startswith("mlops-unit-")])
        entries.append('\\"export\\":' in json.dumps(template["Resources"]))

    assert exports == [
        ["mlops-unit-demand"],
        ["mlops-unit-demand:registry:demand-second"],
        ["mlops-unit-demand:registry:demand-third"],
    ]
    assert entries == [False, True, True]


def test_everything_has_the_unit_and_its_tags() -> None:
    """Owner and cost center tags are those of the owner's stack at deployment."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")
    ModelRegistry(stack, "Registry", business_unit=unit, name="returns")
    (group,) = Template.from_stack(stack).find_resources("AWS::SageMaker::ModelPackageGroup").values()
    tags = {tag["Key"]: tag["Value"] for tag in group["Properties"]["Tags"]}

    assert group["Properties"]["ModelPackageGroupName"] == "demand-returns"
    assert tags["mlops:unit"] == "demand"
    assert [list(tags[key]) for key in ("mlops:owner", "mlops:cost-center")] == [["Ref"], ["Ref"]]


def test_what_only_the_owner_can_allow_is_a_warning() -> None:
    """Warns once each of network endpoints, another unit's data and rules that publish, but not of default endpoints."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")
    for services in (["kms", "glue"], ["ecr.api"], ["ecr.api", "kms"]):
        unit.reach(services)
    unit.admit_rules()
    unit.read_from("pricing")
    text = IMPORTED_UNIT.text.partition("{call}")[2]

    assert _warnings(stack, text[:60]) == 3
    for call in ("reach\\(\\['ecr.api'\\]\\)", "admit_rules\\(\\)", "read_from\\('pricing'\\)"):
        assert _warnings(stack, f"unit 'demand' is imported, and this addition needs unit.{call} in") == 1


def test_rules_of_the_owner_may_publish() -> None:
    """The topic's policy admits the owner's rules once."""
    stack = cdk.Stack(cdk.App(), "Owner")
    unit = BusinessUnit(stack, "Unit", name="demand")
    unit.admit_rules()
    unit.admit_rules()
    (policy,) = Template.from_stack(stack).find_resources("AWS::SNS::TopicPolicy").values()
    found = [each.get("Sid") for each in policy["Properties"]["PolicyDocument"]["Statement"]]
    assert found.count("Rules") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"name": "NO"},
            "name must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter, got 'NO'",
        ),
        (
            {"name": cdk.Token.as_string({"Ref": "Name"})},
            "name must be known at synthesis, as names of SSM parameters contain it; pass a literal",
        ),
        ({"name": "demand", "subnet_count": 0}, "subnet_count must be from 1 to 16, got 0"),
        ({"name": "demand", "profile": "production"}, "profile must be Profile.DEVELOPMENT or Profile.PRODUCTION"),
    ],
)
def test_fails_on_what_cannot_be_imported(arguments: dict[str, Any], problem: str) -> None:
    """Rejects invalid imports before reading parameters."""
    with pytest.raises(ValidationError) as error:
        BusinessUnit.from_name(_stack(), "Unit", **arguments)
    assert str(error.value).startswith(f"InvalidBusinessUnit: {problem}")
