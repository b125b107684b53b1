"""Roles that could still write to a bucket, or register a package, after the sweep at stack deletion has emptied it."""

import json
from collections.abc import Iterator
from typing import Any

from ministack.services.cloudformation import engine

Resources = dict[str, dict[str, Any]]
FILLS = {"Custom::BucketSweep": "s3:PutObject", "Custom::ModelPackageSweep": "sagemaker:CreateModelPackage"}


def needs(resources: Resources, name: str) -> set[str]:
    """Return the direct and indirect dependencies of a resource."""
    found: set[str] = set()
    left = [name]
    while left:
        new = engine._extract_deps(resources[left.pop()], set(resources)) - found
        found |= new
        left += new
    return found


def writers(resources: Resources) -> Iterator[tuple[str, str]]:
    """Yield role policies that allow writes to a swept resource, each with its sweep."""
    for sweep, of_sweep in resources.items():
        filling = FILLS.get(of_sweep["Type"])
        if filling is None:
            continue
        for policy, body in resources.items():
            for statement in _statements(body):
                if (
                    statement["Effect"] == "Allow"
                    and filling in _actions(statement)
                    and _names(statement, of_sweep["Properties"])
                ):
                    yield policy, sweep


def late_writers(resources: Resources) -> list[str]:
    """Name each policy that may outlive the sweep of a resource it allows writing to, or on which its sweep depends."""
    found = set(writers(resources))
    late = {f"{policy} outlives {sweep}" for policy, sweep in found if sweep not in needs(resources, policy)}
    return sorted(late | {f"{sweep} needs {policy}" for policy, sweep in found if policy in needs(resources, sweep)})


def _statements(body: dict[str, Any]) -> list[dict[str, Any]]:
    properties = body.get("Properties", {})
    documents = [one["PolicyDocument"] for one in properties.get("Policies", ()) if "PolicyDocument" in one]
    if body["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::RolePolicy"):
        documents.append(properties["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def _actions(statement: dict[str, Any]) -> list[str]:
    named = statement.get("Action", [])  # boundaries use NotAction
    return named if isinstance(named, list) else [named]


def _names(statement: dict[str, Any], swept: dict[str, Any]) -> bool:
    """Return whether a statement's resources are in the bucket (by reference) or are packages of the group (by name)."""
    text = json.dumps(statement["Resource"])
    if "BucketName" in swept:
        return f'["{swept["BucketName"]["Ref"]}", "Arn"]' in text
    return f":model-package/{swept['ModelPackageGroupName']}/" in text
