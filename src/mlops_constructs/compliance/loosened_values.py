"""Values of templates that are looser than a platform's rules: raw overrides, and resources outside the library's constructs.

Constructs reject looser values, but CDK's escape hatches bypass them: ``add_property_override``, a property of an L1 that is set
later, an L1 resource. They stay possible, and each looser value in the templates and their state machines is listed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import cx_api

from mlops_constructs._stack_values import stack_of
from mlops_constructs.business_unit.business_unit import BusinessUnit
from mlops_constructs.business_unit.imported_unit import ImportedBusinessUnit
from mlops_constructs.compliance.assembly import Assembly, Resource, is_expression
from mlops_constructs.compliance.policies import Statement, allowed, as_list, resource_statements
from mlops_constructs.compliance.state_machines import everywhere, machines, serving_specs
from mlops_runtime.business_unit.automation import read_freeze
from mlops_runtime.business_unit.platform_limits import (
    Loosening,
    loose_approval,
    loose_audit_retention,
    loose_freeze,
    loose_images,
    loose_instance_types,
    loose_key,
    loose_log_retention,
    loose_network,
    loose_organization,
    loose_rollout,
    loose_tags,
)
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.unit_entries import PLATFORM_ROOT, UNIT_ROOT, platform_parameter

# types with an image or an instance type, including those created at run time
_RUNS = (
    "AWS::SageMaker::Model",
    "AWS::SageMaker::ModelPackage",
    "AWS::SageMaker::EndpointConfig",
    "AWS::SageMaker::TrainingJob",
    "AWS::SageMaker::ProcessingJob",
    "AWS::SageMaker::TransformJob",
    "AWS::SageMaker::DataQualityJobDefinition",
    "AWS::SageMaker::ModelBiasJobDefinition",
    "AWS::SageMaker::ModelExplainabilityJobDefinition",
    "AWS::SageMaker::ModelQualityJobDefinition",
)
_IMAGES = frozenset({"Image", "ImageUri", "TrainingImage"})
_KEYS = ("kmskeyid", "kmskeyarn", "kmskey", "kmsmasterkeyid", "kmsmasterkeyarn", "kmskeyidentifier")
_SUBNETS = frozenset({"SubnetIds", "Subnets"})
_ACCOUNT = re.compile(r"[0-9]{12}")
_ORGANIZATION = "aws:principalorgid"
_DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitInStack:
    """A unit with a platform in one stack of an app: the path of its construct, and whether the stack owns its locked records."""

    template: str
    account: str
    path: str
    rules: PlatformRules
    locks_records: bool


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LoosenedValue:
    """One property of a template that is looser than a platform's rule: its location, the allowed values, and the value found."""

    path: str
    location: str
    platform: str
    rule: str
    allowed: str
    found: str


def loosened_of_app(app: cdk.App, assembly: cx_api.CloudAssembly) -> dict[str, list[LoosenedValue]]:
    """Return the loosened values in stacks of units with a platform, by stack name.

    Args:
        assembly: Its synthesized assembly.
    """
    constructs = app.node.find_all()
    units = [each for each in constructs if isinstance(each, BusinessUnit | ImportedBusinessUnit)]
    ruled = [(unit, unit.platform_rules) for unit in units if unit.platform_rules is not None]
    if not ruled:
        return {}
    taggable = frozenset(
        each.node.path for each in constructs if isinstance(each, cdk.CfnResource) and cdk.TagManager.is_taggable(each)
    )
    templates = Assembly.load(Path(each.template_full_path) for each in assembly.stacks_recursively)
    found: dict[str, list[LoosenedValue]] = {}
    for unit, rules in ruled:
        stack = stack_of(unit)
        in_stack = UnitInStack(
            template=stack.template_file.removesuffix(".template.json"),
            account=stack.account,
            path=unit.node.path,
            rules=rules,
            locks_records=isinstance(unit, BusinessUnit) and unit.profile.keeps_data,
        )
        found.setdefault(stack.stack_name, []).extend(loosened_values(templates, in_stack, taggable=taggable))
    return found


def loosened_values(
    assembly: Assembly, unit: UnitInStack, *, taggable: frozenset[str] = frozenset()
) -> list[LoosenedValue]:
    """Return the loosened values of one stack of an app, sorted by construct path.

    Args:
        assembly: The app's templates.
        unit: The unit and its stack's template.
        taggable: Paths of the resources that support tags.
    """
    found = {
        LoosenedValue(
            path=resource.path or resource.logical_id,
            location=f"{resource.state}.{location}" if resource.state else location,
            platform=unit.rules.platform,
            rule=loose.rule,
            allowed=loose.allowed,
            found=loose.found,
        )
        for resource, location, loose in _found(assembly, unit, taggable)
        if resource.template.name.partition(".")[0] == unit.template
    }
    return sorted(found)


_Found = Iterator[tuple[Resource, str, Loosening]]


def _found(assembly: Assembly, unit: UnitInStack, taggable: frozenset[str]) -> _Found:
    rules = unit.rules
    for resource in everywhere(assembly, *_RUNS):
        yield from _of_runs(rules, resource)
    for group in assembly.of("AWS::Logs::LogGroup"):
        days = group.get("RetentionInDays")
        for loose in loose_log_retention(rules, None if days is None else float(group.text(days))):
            yield group, "RetentionInDays", loose
    if unit.locks_records:
        yield from _of_records(rules, assembly, unit.path)
    for resource, spec in serving_specs(assembly):
        for loose in () if spec is None else loose_rollout(rules, spec.rollout):
            yield resource, "Spec.rollout", loose
    yield from _of_machines(rules, assembly)
    yield from _of_policies(rules, assembly, unit.account)
    for resource in assembly.by_id.values():
        yield from _of_resource(rules, resource)
        if resource.path in taggable:
            for loose in loose_tags(rules, resource.tags):
                yield resource, "Tags", loose


def _of_runs(rules: PlatformRules, resource: Resource) -> _Found:
    for location, key, value in _values(resource.properties):
        text = resource.text(value)
        if is_expression(value):
            continue  # only known at run time, such as the image of the serving model
        if key in _IMAGES and text:
            for loose in loose_images(rules, {"image": text}):
                yield resource, location, loose
        if key == "InstanceType":
            for loose in loose_instance_types(rules, {"type": text}):
                yield resource, location, loose


def _of_records(rules: PlatformRules, assembly: Assembly, path: str) -> _Found:
    for name in ("Audit", "Heads"):
        for bucket in assembly.of("AWS::S3::Bucket"):
            if bucket.path == f"{path}/{name}/Resource":
                lock = bucket.get("ObjectLockConfiguration.Rule.DefaultRetention") or {}
                days = float(lock.get("Days") or 0) + _DAYS_A_YEAR * float(lock.get("Years") or 0)
                for loose in loose_audit_retention(rules, days):
                    yield bucket, "ObjectLockConfiguration", loose


def _of_machines(rules: PlatformRules, assembly: Assembly) -> _Found:
    """Yield states that approve a package: they bypass the approval by a person."""
    for machine in machines(assembly):
        for state in machine.tasks():
            arguments = state.arguments
            approves = isinstance(arguments, Mapping) and arguments.get("ModelApprovalStatus") == "Approved"
            if state.call[:2] == ("sagemaker", "updateModelPackage") and approves:
                for loose in loose_approval(rules, None):
                    yield machine.resource, f"DefinitionString.{state.name}", loose


def _of_policies(rules: PlatformRules, assembly: Assembly, account: str) -> _Found:
    """Yield statements that allow principals of other accounts and are not limited to the organization."""
    endpoints = [(endpoint, endpoint.get("PolicyDocument")) for endpoint in assembly.of("AWS::EC2::VPCEndpoint")]
    roles = [(role, role.get("AssumeRolePolicyDocument")) for role in assembly.of("AWS::IAM::Role")]
    statements = [each for resource, document in (*endpoints, *roles) for each in allowed(resource, document)]
    for statement in [*statements, *(each for each, _ in resource_statements(assembly))]:
        if any(_admits_others(statement, principal, account) for principal in statement.principals("AWS")):
            for loose in loose_organization(rules, _organizations(statement)):
                yield statement.resource, f"Statement.{statement.index}", loose


def _admits_others(statement: Statement, principal: object, account: str) -> bool:
    text = statement.resource.text(principal)
    named = text.partition(":iam::")[2].partition(":")[0] if ":iam::" in text else text
    # a statement with other conditions is stricter than an organization, except in the policy of a VPC endpoint
    is_endpoint = statement.resource.type == "AWS::EC2::VPCEndpoint"
    if text == "*":
        return is_endpoint or not statement.condition_keys or _ORGANIZATION in statement.condition_keys
    return _ACCOUNT.fullmatch(named) is not None and named != account


def _organizations(statement: Statement) -> list[str]:
    conditions: Mapping[str, Any] = statement.body.get("Condition") or {}
    return [
        statement.resource.text(value)
        for operator, tests in conditions.items()
        if operator == "StringEquals" and isinstance(tests, Mapping)
        for key, values in tests.items()
        if key.lower() == _ORGANIZATION
        for value in as_list(values)
    ]


def _of_resource(rules: PlatformRules, resource: Resource) -> _Found:
    for location, key, value in _values(resource.properties):
        if key.lower().endswith(_KEYS):
            text = resource.text(value)
            expected = rules.key_arn if rules.estate is None else platform_parameter(rules.estate, "key_arn")
            if expected is not None and text and not text.startswith((expected, UNIT_ROOT)):
                limit = PlatformRules(platform=rules.platform, key_arn=expected)
                for loose in loose_key(limit, text):
                    yield resource, location, loose
        if key in _SUBNETS and isinstance(value, list):
            named = {resource.text(each) for each in value}
            foreign = {each for each in named if UNIT_ROOT not in each and PLATFORM_ROOT not in each}
            for loose in loose_network(rules, rules.vpc_id, foreign):
                yield resource, location, loose
        if key == "FREEZE" and resource.type == "AWS::Lambda::Function":
            yield from ((resource, location, loose) for loose in _of_calendar(rules, resource.text(value)))


def _of_calendar(rules: PlatformRules, text: str) -> Iterator[Loosening]:
    if text.startswith(UNIT_ROOT):  # the owner's calendar, read at deployment
        return
    try:
        yield from loose_freeze(rules, read_freeze(text))
    except ContractError:
        yield from loose_freeze(rules, read_freeze(json.dumps({"windows": []})))


def _values(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield each property below a value: its dotted path, its own name, its value."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            location = f"{path}.{key}" if path else str(key)
            yield location, str(key), each
            yield from _values(each, location)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _values(each, f"{path}.{index}")
