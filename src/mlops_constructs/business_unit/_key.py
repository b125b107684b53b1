"""The unit's key. Its policy names what the account may do, and lends the key to four services under conditions."""

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct

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
_USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
_SERVICE_USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
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


def _statements(stack: cdk.Stack) -> list[iam.PolicyStatement]:
    account = iam.AccountRootPrincipal()
    logs_arn = stack.format_arn(
        service="logs", resource="log-group", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    return [
        _statement("Administer", account, (*_ADMINISTER, *(action for action in _USE if action not in _ADMINISTER))),
        _statement("GrantToResources", account, ("kms:CreateGrant",), Bool={"kms:GrantIsForAWSResource": "true"}),
        _statement(
            "Logs",
            iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
            _SERVICE_USE,
            ArnLike={"kms:EncryptionContext:aws:logs:arn": logs_arn},
        ),
        *(
            _statement(
                name,
                iam.ServicePrincipal(f"{service}.amazonaws.com"),
                ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"),
                StringEquals={"aws:SourceAccount": stack.account},
            )
            # alarms publish to the encrypted topic, rules send to encrypted queues
            for name, service in (("Alarms", "cloudwatch"), ("Events", "events"))
        ),
    ]


def _statement(
    sid: str, principal: iam.IPrincipal, actions: tuple[str, ...], **conditions: object
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid, principals=[principal], actions=sorted(actions), resources=["*"], conditions=conditions or None
    )
