"""The unit's key. Its policy names what the account may do, and lends the key to services, under conditions where they send any."""

import json
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlops_runtime.business_unit.key_policy import USE, Place, shared_key_statements, unit_statements

if TYPE_CHECKING:
    from mlops_constructs.business_unit.profile import Profile

_ADMINISTER = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:ListRetirableGrants",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)


def define_key(scope: Construct, id: str, *, unit: str, profile: "Profile") -> kms.Key:
    """Define the key of a unit.

    The account's own policies decide who uses it. Grants may be made for AWS resources only, as Control Tower's CT.KMS.PR.3 asks.
    See: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit.
        profile: Decides whether the key stays when the stack goes.
    """
    return kms.Key(
        scope,
        id,
        description=f"data of business unit {unit}",
        enable_key_rotation=True,
        pending_window=cdk.Duration.days(30 if profile.keeps_data else 7),
        policy=iam.PolicyDocument(statements=_statements(cdk.Stack.of(scope))),
        removal_policy=profile.removal_policy,
    )


def place_of(stack: cdk.Stack) -> Place:
    """Return where a stack is, in tokens where its environment is not given.

    Args:
        stack: The stack.
    """
    return Place(partition=stack.partition, region=stack.region, account=stack.account)


def printed_statements(stack: cdk.Stack) -> str:
    """Return what the owner of a key adds to its policy, as JSON for people; what is not known yet is in angle brackets.

    Args:
        stack: The unit's stack.
    """
    place = place_of(stack)
    known = {
        name: f"<{name}>" if cdk.Token.is_unresolved(value) else value
        for name, value in (("partition", place.partition), ("region", place.region), ("account", place.account))
    }
    return json.dumps(shared_key_statements(Place(**known)))


def _statements(stack: cdk.Stack) -> list[iam.PolicyStatement]:
    administer = iam.PolicyStatement(
        sid="Administer",
        principals=[iam.AccountRootPrincipal()],
        actions=sorted({*_ADMINISTER, *USE}),
        resources=["*"],
    )
    return [administer, *(iam.PolicyStatement.from_json(s) for s in unit_statements(place_of(stack)))]
