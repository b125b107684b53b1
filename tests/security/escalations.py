"""Every role of a unit tries to escalate its privileges in the ways of `escalations.yaml`, with names of the deployed unit."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.security.attack import Attacker
from tests.security.calls import filled
from tests.security.cross_unit import Pair
from tests.security.units import ACCOUNT, DIGEST, REGION

WAYS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
_BOUNDARY = "Boundary"
_UNIT = re.compile(r"^/mlops(?:-unit)?/([^/]+)/")
_IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops-runtime@{DIGEST}"


def escalate(pair: Pair, stack: str) -> Iterator[tuple[str, str, str]]:
    """Make every call as every role of a unit; yield the way, the role's logical id and the result.

    Args:
        pair: The deployed units.
        stack: The unit.
    """
    attacker = Attacker(pair.cloud)
    for number, (role, name) in enumerate(pair.roles[stack].items()):
        words = _words(pair, stack, role) | {"n": str(number)}
        with attacker.acting(name):
            for way in WAYS:
                arguments = filled(way["arguments"], words)
                yield way["name"], role, attacker.call(way["service"], way["operation"], arguments)


def controls(pair: Pair, stack: str) -> Iterator[tuple[str, str]]:
    """Make every call as an administrator in the name of one role; yield the way and the result.

    No caller can assume a role that trusts only services: ``Attacker.acting`` shows that its trust denies it.
    """
    attacker = Attacker(pair.cloud)
    role = next(iter(pair.roles[stack]))
    words = _words(pair, stack, role) | {"n": "control"}
    with attacker.acting(pair.administrator):
        for way in (way for way in WAYS if way["service"] != "sts"):
            yield way["name"], attacker.call(way["service"], way["operation"], filled(way["arguments"], words))


def _words(pair: Pair, stack: str, role: str) -> dict[str, str]:
    roles, iam = pair.roles[stack], pair.cloud.client("iam")
    name = roles[role]
    other = next(named for named in roles.values() if named != name)
    of_kind = _by_kind(pair, stack)
    policies = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    approver = next(named for logical, named in roles.items() if "Approver" in logical)
    boundary = next(t.words["id"] for t in pair.targets[stack] if _BOUNDARY in t.logical_id)
    others = [t.words["id"] for t in pair.targets[stack] if t.kind == "AWS::IAM::ManagedPolicy"]
    return {
        "account": ACCOUNT,
        "region": REGION,
        "image": _IMAGE,
        "unit": _UNIT.search(of_kind["AWS::SSM::Parameter"]["id"]).group(1),  # type: ignore[union-attr]
        "role": name,
        "role_arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "policy": policies[0]["PolicyArn"],
        "boundary": boundary,
        "other": other,
        "other_arn": f"arn:aws:iam::{ACCOUNT}:role/{other}",
        "other_policy": next(arn for arn in others if arn not in {policy["PolicyArn"] for policy in policies}),
        "approver_arn": f"arn:aws:iam::{ACCOUNT}:role/{approver}",
        "function": of_kind["AWS::Lambda::Function"]["id"],
        "machine": of_kind["AWS::StepFunctions::StateMachine"]["id"],
        "key": of_kind["AWS::KMS::Key"]["id"],
        "group": of_kind["AWS::SageMaker::ModelPackageGroup"]["name"],
    }


def _by_kind(pair: Pair, stack: str) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for target in pair.targets[stack]:
        found.setdefault(target.kind, target.words)
    return found
