"""Platform defaults: rules of a platform team, and values that its units inherit."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template

from mlops_constructs import (
    Approval,
    BusinessUnit,
    Freeze,
    FreezeCalendar,
    Network,
    Platform,
    PlatformDefaults,
    Profile,
    RolloutPolicy,
    ValidationError,
)
from mlops_constructs.business_unit.platform_defaults import log_days
from mlops_runtime.contracts.platform_rules import rules_digest
from mlops_runtime.contracts.unit_entries import RULE_PARAMETERS, UNIT_PARAMETERS, unit_parameter

days = cdk.Duration.days
NETWORK = Network.from_shared_vpc(
    vpc_id="vpc-1", availability_zones=["eu-west-1a", "eu-west-1b"], subnet_ids=["subnet-1", "subnet-2"]
)
KEY = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"
DEFAULTS = PlatformDefaults(
    name="retail",
    organization_id="o-a1b2c3d4e5",
    network=NETWORK,
    encryption_key_arn=KEY,
    regions=("eu-west-1",),
    profiles=(Profile.PRODUCTION,),
    tags={"platform": "retail"},
    required_tags=("data-class", "mlops:owner"),
    log_retention=days(500),
    audit_retention=days(2557),
    freeze=FreezeCalendar.of(Freeze(name="audit", start="2027-03-01T00:00+00:00", end="2027-03-08T00:00+00:00")),
)


def _stack(region: str | None = "eu-west-1") -> cdk.Stack:
    env = None if region is None else cdk.Environment(account="111122223333", region=region)
    return cdk.Stack(cdk.App(), "Demand", env=env)


def _unit(stack: cdk.Stack, **options: Any) -> BusinessUnit:
    given = {"name": "demand", "owner": "ann", "tags": {"data-class": "internal"}, "defaults": DEFAULTS, **options}
    return BusinessUnit(stack, "Unit", **given)


def _parameters(stack: cdk.Stack) -> dict[str, Any]:
    found = Template.from_stack(stack).find_resources("AWS::SSM::Parameter").values()
    return {each["Properties"]["Name"]: each["Properties"]["Value"] for each in found}


def test_a_unit_takes_what_it_does_not_say() -> None:
    """A unit inherits network, key, tags, retention, lock and freeze windows."""
    stack = _stack()
    unit = _unit(stack)
    template = Template.from_stack(stack)
    logs = template.find_resources("AWS::Logs::LogGroup").values()
    locks = [
        each["Properties"]["ObjectLockConfiguration"].get("Rule")
        for each in template.find_resources("AWS::S3::Bucket").values()
        if "ObjectLockConfiguration" in each["Properties"]
    ]

    assert unit.subnet_ids == ["subnet-1", "subnet-2"]
    assert unit.key.key_arn == KEY
    template.resource_count_is("AWS::EC2::VPC", 0)
    assert {each["Properties"]["RetentionInDays"] for each in logs} <= {545}
    assert [each["DefaultRetention"]["Days"] for each in locks if each] == [2557, 2557]
    assert "audit" in unit.automation_environment["FREEZE"]
    assert unit.tags == {
        "mlops:unit": "demand",
        "mlops:owner": "ann",
        "mlops:cost-center": "demand",
        "data-class": "internal",
        "platform": "retail",
    }


def test_every_resource_of_the_stack_has_the_platforms_tags() -> None:
    """Resources outside the unit's constructs have the tags too."""
    stack = _stack()
    _unit(stack)
    kms.CfnKey(stack, "Raw", key_policy={})
    keys = Template.from_stack(stack).find_resources("AWS::KMS::Key").values()

    assert len(keys) == 3
    assert all({"Key": "platform", "Value": "retail"} in each["Properties"]["Tags"] for each in keys)


def test_what_a_unit_loosens_is_named_at_once() -> None:
    """The error names the rule, the platform's value, the unit's value and the fix."""
    with pytest.raises(ValidationError) as caught:
        _unit(
            _stack("us-east-1"),
            owner=None,
            profile=Profile.DEVELOPMENT,
            tags={"platform": "mine"},
            network=Network.create(),
        )

    assert caught.value.code == "LooserThanPlatform"
    assert caught.value.problems == (
        "regions of platform 'retail': 'eu-west-1', got 'us-east-1'; give the stack env= with an allowed Region",
        "profiles of platform 'retail': 'production', got 'development'; set profile= to one of these",
        "tags of platform 'retail': platform='retail', got platform='mine'; omit this tag, which the platform sets",
        "required_tags of platform 'retail': 'data-class' and 'mlops:owner', got no value for 'data-class' and 'mlops:owner'; "
        "give the unit these tags",
        "network of platform 'retail': 'vpc-1', got a network of its own; omit network",
    )


def test_a_unit_may_tighten() -> None:
    """Accepts fewer subnets, and additional tags and freeze windows."""
    stack = _stack()
    one = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["eu-west-1a"], subnet_ids=["subnet-1"])
    sale = FreezeCalendar.of(Freeze(name="sale", start="2027-03-05T00:00+00:00", end="2027-03-12T00:00+00:00"))
    unit = _unit(stack, network=one, freeze=sale, tags={"data-class": "secret", "team": "a"})
    windows = json.loads(unit.automation_environment["FREEZE"])["windows"]

    assert unit.subnet_ids == ["subnet-1"]
    assert [each["name"] for each in windows] == ["audit", "sale"]
    assert unit.tags["team"] == "a"


@pytest.mark.parametrize("owner", [_stack, None])
def test_another_key_is_refused(owner: Any) -> None:
    """Rejects a key of another account, or one created by the stack."""
    stack = _stack()
    key: kms.IKey = kms.Key(stack, "Key") if owner is None else kms.Key.from_key_arn(stack, "Key", f"{KEY[:-1]}1")

    with pytest.raises(ValidationError, match="encryption_key_arn of platform 'retail'"):
        _unit(stack, encryption_key=key)


def test_a_platform_of_terraform_hands_network_and_key_over() -> None:
    """Network and key are read from the platform's parameters."""
    defaults = PlatformDefaults(name="retail", platform=Platform(name="retail"))
    stack = _stack()
    _unit(stack, defaults=defaults)
    read = {each["Default"] for each in Template.from_stack(stack).to_json()["Parameters"].values()}

    assert {"/mlops-platform/retail/1/key_arn", "/mlops-platform/retail/1/vpc_id"} <= read
    for option in ({"platform": Platform(name="other")}, {"network": NETWORK}):
        with pytest.raises(ValidationError, match="platform of platform 'retail': estate 'retail', got another"):
            _unit(_stack(), defaults=defaults, **option)


def test_principals_of_endpoints_are_of_the_organization() -> None:
    """Endpoint policies require the organization beside the account, and no broader statement is written."""
    stack = _stack()
    _unit(stack, defaults=PlatformDefaults(name="retail", organization_id="o-a1b2c3d4e5"))
    endpoints = Template.from_stack(stack).find_resources("AWS::EC2::VPCEndpoint").values()
    interface = [each["Properties"] for each in endpoints if each["Properties"]["VpcEndpointType"] == "Interface"]
    conditions = [each["PolicyDocument"]["Statement"][0]["Condition"]["StringEquals"] for each in interface]

    assert len(conditions) == 7
    assert all(
        each == {"aws:PrincipalAccount": "111122223333", "aws:PrincipalOrgID": "o-a1b2c3d4e5"} for each in conditions
    )


def test_a_unit_without_a_platform_is_as_before() -> None:
    """Defaults without limits change only the names of published values and the unit's entry."""
    plain, ruled = _stack(), _stack()
    BusinessUnit(plain, "Unit", name="demand")
    BusinessUnit(ruled, "Unit", name="demand", defaults=PlatformDefaults(name="retail"))
    digest = rules_digest(PlatformDefaults(name="retail").rules)
    before, after = (Template.from_stack(each).to_json()["Resources"] for each in (plain, ruled))
    added = {key: each for key, each in after.items() if key not in before}
    text = json.dumps({key: each for key, each in after.items() if key in before})
    entry = f',\\"platform\\":\\"retail\\",\\"platform_rules\\":\\"{digest}\\"'

    assert [each["Properties"]["Name"] for each in added.values()] == [
        f"/mlops-unit/demand/1/production.{digest}/platform_rules"
    ]
    assert text.count(entry) == 1
    assert text.replace(entry, "").replace(f"production.{digest}", "production") == json.dumps(before)


def test_the_owner_publishes_below_the_digest_of_its_rules() -> None:
    """Published names contain the digest of the rules, so no stack imports the unit with other rules; rules and tags are too."""
    owner, second = _stack(), _stack()
    _unit(owner)
    unit = BusinessUnit.from_name(second, "Unit", name="demand", defaults=DEFAULTS)
    published, rules = _parameters(owner), unit.platform_rules
    assert rules is not None
    below = f"production.{rules_digest(rules)}"
    assert unit.key.key_arn != ""
    read = {each["Default"] for each in Template.from_stack(second).to_json()["Parameters"].values()}
    read = {each for each in read if each.startswith("/mlops-unit/")}

    assert {unit_parameter("demand", below, each.field) for each in (*UNIT_PARAMETERS, *RULE_PARAMETERS)} <= set(
        published
    )
    assert json.loads(published[unit_parameter("demand", below, "platform_rules")])["log_days"] == 545
    assert published[unit_parameter("demand", below, "required_tags")] == "internal"
    assert {unit_parameter("demand", below, each) for each in ("owner", "key_arn", "required_tags")} <= read
    assert read <= set(published)


@pytest.mark.parametrize("other", [None, PlatformDefaults(name="retail", log_retention=days(400))])
def test_a_stack_with_other_rules_reads_what_does_not_exist(other: PlatformDefaults | None) -> None:
    """CloudFormation rejects the deployment before it starts; without rules names equal those of a unit without a platform."""
    owner, second = _stack(), _stack()
    _unit(owner)
    BusinessUnit.from_name(second, "Unit", name="demand", defaults=other)
    read = {each["Default"] for each in Template.from_stack(second).to_json()["Parameters"].values()}
    read = {each for each in read if each.startswith("/mlops-unit/")}

    assert read
    assert read.isdisjoint(_parameters(owner))


def test_an_importing_stack_obeys_region_and_profile() -> None:
    """Checks the importing stack's own env."""
    with pytest.raises(ValidationError, match=r"regions of platform 'retail'.*profiles of platform 'retail'"):
        BusinessUnit.from_name(_stack(None), "Unit", name="demand", defaults=DEFAULTS, profile=Profile.DEVELOPMENT)


def test_an_importing_stack_has_the_units_tags() -> None:
    """Tag values known only to the owner are read from parameters; fixed values are literals, on raw resources too."""
    stack = _stack()
    unit = BusinessUnit.from_name(stack, "Unit", name="demand", defaults=DEFAULTS)
    kms.CfnKey(stack, "Raw", key_policy={})
    (raw,) = Template.from_stack(stack).find_resources("AWS::KMS::Key").values()

    assert set(unit.tags) == {"mlops:unit", "mlops:owner", "mlops:cost-center", "data-class", "platform"}
    assert raw["Properties"]["Tags"] == [{"Key": "platform", "Value": "retail"}]


def test_impossible_defaults_are_named_at_once() -> None:
    """Rejects invalid defaults with every value, before any unit uses them."""
    with pytest.raises(ValidationError) as caught:
        PlatformDefaults(
            name="Retail",
            organization_id="retail",
            network=Network.create(),
            platform=Platform(name="retail"),
            encryption_key_arn="alias/data",
            images=(),
            instance_types=("ML.*",),
            regions=("Ireland",),
            tags={"mlops:unit": "x", "platform": "a,b"},
            required_tags=("platform", "aws:x"),
            log_retention=days(4000),
            weakest_approval=Approval.automatic(),
        )

    text = "; ".join(caught.value.problems)
    for part in (
        "name must be 2 to 32",
        "organization_id must be 'o-'",
        "network must not be set together with platform",
        "network must be a Network.from_shared_vpc",
        "encryption_key_arn must not be set together with platform",
        "encryption_key_arn must be the ARN of a key",
        "images must allow at least one",
        "instance_types must be patterns",
        "regions must be names",
        "tags must not contain 'mlops:unit'",
        "tags['platform'] must be",
        "required_tags must not contain 'aws:x'",
        "required_tags must not contain keys that tags sets, got platform",
        "log_retention must be from 1 day to 3653 days",
        "weakest_approval must be Approval.manual()",
    ):
        assert part in text


def test_defaults_hold_nothing_of_one_app() -> None:
    """Topics, roles and alarms belong to a unit, never to the defaults."""
    stack = _stack()
    unit = BusinessUnit(stack, "Unit", name="demand")

    with pytest.raises(ValidationError, match="weakest_approval must not contain a topic or role"):
        PlatformDefaults(name="retail", weakest_approval=Approval.manual(topic=unit.topic))


def test_rules_have_room_in_a_parameter() -> None:
    """Rules have at most 4,096 characters as JSON."""
    with pytest.raises(ValidationError, match="defaults must have at most 4096 characters as JSON"):
        PlatformDefaults(name="retail", images=tuple(f"{n:012d}.dkr.ecr.*.amazonaws.com/*" for n in range(120)))


def test_both_calendars_have_room_in_an_environment() -> None:
    """Calendars of unit and platform together fit into a function's environment."""
    freezes = [Freeze(name=f"{n:060d}", start=f"20{n}-01-01T00:00Z", end=f"20{n}-01-02T00:00Z") for n in range(30, 45)]
    many = FreezeCalendar.of(*freezes)

    with pytest.raises(ValidationError, match="freezes must have at most 2048 characters"):
        _unit(_stack(), freeze=many)


def test_retention_is_what_cloudwatch_offers() -> None:
    """Rounds retention up to a value of CloudWatch; the library's year remains if the platform requires less."""
    assert [log_days(days(each)) for each in (1, 365, 366, 2000, 3653)] == [365, 365, 400, 2192, 3653]


def test_a_weakest_rollout_is_data() -> None:
    """A minimum rollout uses the library's limits where it sets none."""
    policy = RolloutPolicy.canary(percent=10, bake=cdk.Duration.minutes(10))

    rules = PlatformDefaults(name="retail", weakest_rollout=policy).rules

    assert rules.rollout == policy.to_spec()
    assert PlatformDefaults(name="retail", weakest_approval=Approval.manual()).rules.approval_seconds == 7 * 86_400
