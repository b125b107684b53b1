"""The unit's keys: one of all data, and those that sign audit records.

The policy of the first names what the account may do, and lends the key to services, under conditions where they send any. Those of
the others say who may sign.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlops_runtime.business_unit.key_policy import USE, Place, shared_key_statements, unit_statements
from mlops_runtime.rollout.seals import ALGORITHM

if TYPE_CHECKING:
    from mlops_constructs.unit_interface import Profile

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

# rotation and grants are left out: KMS does not rotate asymmetric keys, and a grant would be another way to sign
_ADMINISTER_SIGNING = tuple(action for action in _ADMINISTER if "Rotat" not in action and not action.endswith("Grant"))
_LOOK = ("kms:GetPublicKey", "kms:Verify")
RECORDER_TAG = "mlops:recorder"
_SIGNING = {"kms:SigningAlgorithm": ALGORITHM}


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


def define_signing_key(scope: Construct, id: str, *, unit: str, profile: "Profile") -> kms.Key:
    """Define the key that signs audit records of endpoints: recorders sign, which their role's tag says; everybody else is denied.

    Asymmetric keys are not rotated: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html. A tag tells recorders,
    as their roles may be in other stacks than the key and name it in their policies.

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit, the tag's value.
        profile: Decides whether the key stays when the stack goes.
    """
    tagged = {f"aws:PrincipalTag/{RECORDER_TAG}": unit}
    return _define_signing_key(
        scope,
        id,
        description=f"audit records of business unit {unit}",
        profile=profile,
        statements=[
            iam.PolicyStatement(
                sid="RecordersSign",
                principals=[iam.AccountRootPrincipal()],
                actions=["kms:Sign"],
                resources=["*"],
                conditions={"StringEquals": {**tagged, **_SIGNING}},
            ),
            iam.PolicyStatement(
                sid="NobodyElseSigns",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["kms:Sign"],
                resources=["*"],
                conditions={"StringNotEquals": tagged},
            ),
        ],
    )


def define_pause_key(scope: Construct, id: str, *, unit: str, profile: "Profile") -> kms.Key:
    """Define the key with which people sign that they paused or resumed a unit; it signs no record of an endpoint.

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit.
        profile: Decides whether the key stays when the stack goes.
    """
    return _define_signing_key(
        scope,
        id,
        description=f"pauses of business unit {unit}",
        profile=profile,
        statements=[
            iam.PolicyStatement(
                sid="PeopleSign",
                principals=[iam.AccountRootPrincipal()],
                actions=["kms:Sign"],
                resources=["*"],
                conditions={"StringEquals": _SIGNING},
            )
        ],
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


def _define_signing_key(
    scope: Construct, id: str, *, description: str, profile: "Profile", statements: Sequence[iam.PolicyStatement]
) -> kms.Key:
    administer = iam.PolicyStatement(
        sid="Administer",
        principals=[iam.AccountRootPrincipal()],
        actions=sorted({*_ADMINISTER_SIGNING, *_LOOK}),
        resources=["*"],
    )
    return kms.Key(
        scope,
        id,
        description=description,
        key_spec=kms.KeySpec.ECC_NIST_P256,
        key_usage=kms.KeyUsage.SIGN_VERIFY,
        pending_window=cdk.Duration.days(30 if profile.keeps_data else 7),
        policy=iam.PolicyDocument(statements=[administer, *statements]),
        removal_policy=profile.removal_policy,
    )


def _statements(stack: cdk.Stack) -> list[iam.PolicyStatement]:
    administer = iam.PolicyStatement(
        sid="Administer",
        principals=[iam.AccountRootPrincipal()],
        actions=sorted({*_ADMINISTER, *USE}),
        resources=["*"],
    )
    return [administer, *(iam.PolicyStatement.from_json(s) for s in unit_statements(place_of(stack)))]
