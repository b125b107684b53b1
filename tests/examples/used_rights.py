"""Permissions of a role that no call used, by the embedded cloud's journal of IAM evaluations."""

import json
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mlops_local.cloud import Cloud


def roles_of(cloud: Cloud, part: str) -> list[str]:
    """Return the ARNs of roles whose names contain a part, such as their construct's id."""
    pages = cloud.client("iam").get_paginator("list_roles").paginate()
    return [role["Arn"] for page in pages for role in page["Roles"] if part in role["RoleName"]]


def unused_rights(cloud: Cloud, role: str, *, parts: Collection[str] = ("",)) -> set[str]:
    """Return each permission that no allowed call used: its action, and for a key the services of its condition.

    Policies shared by roles are skipped: ``tests/security/`` covers them.

    Args:
        cloud: The embedded cloud with the role's calls.
        role: Its ARN.
        parts: Parts of resource ARNs; other resources are skipped. Default: all resources.
    """
    journal = next(cloud.home.rglob("iam.jsonl"))
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    calls = [row for row in rows if row["allowed"] and row["principal"] == role]
    return {
        " ".join([action, *_list(statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", []))])
        for statement in _statements(cloud, role.rpartition("/")[2])
        for action in _list(statement["Action"])
        for resource in _list(statement["Resource"])
        if any(part in resource for part in parts)
        and not any(_uses(call, action, resource, statement.get("Condition", {})) for call in calls)
    }


def _statements(cloud: Cloud, role: str) -> Iterator[Mapping[str, Any]]:
    iam = cloud.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        inline: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        yield from (each for each in _list(inline["Statement"]) if each["Effect"] == "Allow")
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        if iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] > 1:
            continue
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document: Any = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        yield from (each for each in _list(document["Statement"]) if each["Effect"] == "Allow")


def _uses(call: Mapping[str, Any], action: str, resource: str, condition: Mapping[str, Mapping[str, Any]]) -> bool:
    return (
        call["action"] == action
        and fnmatchcase(call["resource"], resource)
        and all(
            set(_list(call["context"].get(key))) & set(_list(values))
            for key, values in condition.get("StringEquals", {}).items()
        )
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
