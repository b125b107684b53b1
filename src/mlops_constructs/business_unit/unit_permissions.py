"""A unit's permissions boundary, and the policies of its keys."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct
from mlops_constructs._functions import NETWORK_ACTIONS, TRACING_ACTIONS
from mlops_constructs._roles import allow, shared_policy
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.model_registry.package_permissions import approvals_denied
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

# without rotation and grants: KMS does not rotate asymmetric keys, and a grant would bypass the policy's conditions for signing
_ADMINISTER_SIGNING = tuple(action for action in _ADMINISTER if "Rotat" not in action and not action.endswith("Grant"))
_LOOK = ("kms:GetPublicKey", "kms:Verify")
RECORDER_TAG = "mlops:recorder"
_SIGNING = {"kms:SigningAlgorithm": ALGORITHM}

# services that the unit's functions, state machines, jobs and endpoints use
_SERVICES = (
    "application-autoscaling",
    "athena",
    "cloudwatch",
    "dynamodb",
    "ec2",
    "ecr",
    "elasticloadbalancing",
    "events",
    "glue",
    "kms",
    "lambda",
    "logs",
    "s3",
    "sagemaker",
    "sagemaker-mlflow",
    "scheduler",
    "sns",
    "sqs",
    "states",
    "xray",
)
# denied to every workload: changes of permissions, deletion of keys, logs and locks, public buckets
_NEVER = (
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:PutResourcePolicy",
    "ec2:AuthorizeSecurityGroupIngress",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "lambda:AddPermission",
    "lambda:CreateFunctionUrlConfig",
    "logs:DeleteLogGroup",
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutObjectAcl",
    "sns:AddPermission",
    "sqs:AddPermission",
)
# a role that AWS defines, created once per account when the first fleet is scaled
# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
_SERVICE_LINKED = "sagemaker.application-autoscaling.amazonaws.com"
# find a cluster; access entries are created and deleted by one function only, limited by its own policy
_CLUSTERS = (
    "eks:AssociateAccessPolicy",
    "eks:CreateAccessEntry",
    "eks:DeleteAccessEntry",
    "eks:DescribeAccessEntry",
    "eks:DescribeCluster",
)
# read the instance quotas of an account
_QUOTAS = ("servicequotas:ListServiceQuotas",)
# read the password of a team's MLflow
_SECRETS = ("secretsmanager:GetSecretValue",)
# credentials for data that Lake Formation manages, without the right to grant permissions
_VENDED = ("lakeformation:GetDataAccess",)
# read another unit's feature tables, after a call of ``read_from``
_READS = (
    "glue:GetDatabase",
    "glue:GetTable",
    "glue:GetTables",
    "kms:Decrypt",
    "s3:GetBucketLocation",
    "s3:GetObject",
    "s3:ListBucket",
)
_PASS_TO = ("events.amazonaws.com", "lambda.amazonaws.com", "sagemaker.amazonaws.com", "states.amazonaws.com")
_BOUNDARY_REASON = (
    "a permissions boundary grants nothing, it caps what the unit's exact policies may ever grant; "
    "rejected: repeating each of their actions here, which would cap nothing"
)
_FUNCTION_REASON = (
    "Lambda creates and describes network interfaces, and X-Ray takes segments, without resource-level permissions; "
    "rejected: AWS's managed policies, which grant more, and functions outside the network"
)


def define_key(scope: Construct, id: str, *, unit: str, profile: "Profile") -> kms.Key:
    """Define the encryption key of a unit.

    IAM policies of the account control its use. Grants are allowed for AWS resources only, as Control Tower's CT.KMS.PR.3 requires.
    See: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html

    Args:
        scope: Parent.
        id: Construct id.
        profile: Determines whether the key is retained when the stack is deleted.
    """
    return kms.Key(
        scope,
        id,
        description=f"data of business unit {unit}",
        enable_key_rotation=True,
        pending_window=cdk.Duration.days(30 if profile.keeps_data else 7),
        policy=iam.PolicyDocument(statements=_statements(stack_of(scope))),
        removal_policy=profile.removal_policy,
    )


def define_signing_key(scope: Construct, id: str, *, unit: str, profile: "Profile") -> kms.Key:
    """Define the key that signs audit records of endpoints: roles with the recorder tag may sign, all other principals are denied.

    Asymmetric keys are not rotated: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html. Recorders are
    identified by a tag because their roles may be in other stacks than the key, and their policies refer to it.

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit, the tag's value.
        profile: Determines whether the key is retained when the stack is deleted.
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
    """Define the key with which people sign records of pausing and resuming a unit; it signs no records of endpoints.

    Args:
        scope: Parent.
        id: Construct id.
        profile: Determines whether the key is retained when the stack is deleted.
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
    """Return partition, Region and account of a stack; tokens when its environment is not set."""
    return Place(partition=stack.partition, region=stack.region, account=stack.account)


def printed_statements(stack: cdk.Stack) -> str:
    """Return the statements for the policy of a key that the unit does not own, as JSON; unknown values are in angle brackets."""
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


@dataclass(slots=True, kw_only=True)
class Boundary:
    """The permissions boundary of a unit's roles, and the units whose data they may read."""

    unit: str
    policy: iam.ManagedPolicy
    others: iam.PolicyStatement
    reads: iam.PolicyStatement | None = None
    admitted: list[str] = field(default_factory=list)

    def admit_reads(self, unit: str) -> None:
        """Allow reading another unit's data; all other actions on resources with its tag are still denied.

        Args:
            unit: Name of the other unit.
        """
        if unit in (self.unit, *self.admitted):
            return
        self.admitted.append(unit)
        if self.reads is None:
            self.others.add_not_actions(*_READS)
            self.reads = iam.PolicyStatement(
                sid="OtherUnitsReads", effect=iam.Effect.DENY, actions=list(_READS), resources=["*"]
            )
            self.policy.add_statements(self.reads)
        self.reads.add_conditions(_tagged_by_others(self.unit, *self.admitted))


def define_boundary(scope: Construct, id: str, *, unit: str) -> Boundary:
    """Define the boundary: only the platform's services, roles passed only to them, no resources with another unit's tag."""
    stack = stack_values(scope)
    roles = stack.format_arn(service="iam", region="", resource="role", resource_name="*")
    linked = stack.format_arn(
        service="iam", region="", resource="role", resource_name=f"aws-service-role/{_SERVICE_LINKED}/*"
    )
    others = iam.PolicyStatement(
        sid="OtherUnits",
        effect=iam.Effect.DENY,
        not_actions=["ec2:*", "logs:*", "xray:*"],
        resources=["*"],
        conditions=_tagged_by_others(unit),
    )
    policy = shared_policy(
        scope,
        id,
        description=f"Upper limit of every role of business unit {unit}",
        wildcard_reason=_BOUNDARY_REASON,
        statements=[
            iam.PolicyStatement(
                sid="Services",
                actions=[*(f"{service}:*" for service in _SERVICES), *_CLUSTERS, *_QUOTAS, *_SECRETS, *_VENDED],
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="PassRoles",
                actions=["iam:PassRole"],
                resources=[roles],
                conditions={"StringEquals": {"iam:PassedToService": list(_PASS_TO)}},
            ),
            iam.PolicyStatement(
                sid="ServiceLinkedRoles",
                actions=["iam:CreateServiceLinkedRole"],
                resources=[linked],
                conditions={"StringEquals": {"iam:AWSServiceName": _SERVICE_LINKED}},
            ),
            approvals_denied(),
            iam.PolicyStatement(
                sid="RecordersSign",
                effect=iam.Effect.DENY,
                actions=["kms:Sign"],
                resources=["*"],
                conditions={"StringNotEquals": {f"aws:PrincipalTag/{RECORDER_TAG}": unit}},
            ),
            iam.PolicyStatement(sid="Never", effect=iam.Effect.DENY, actions=list(_NEVER), resources=["*"]),
            others,
        ],
    )
    acknowledge_family(policy, "IAMPolicyNoStatementsWithFullAccess", _BOUNDARY_REASON)
    return Boundary(unit=unit, policy=policy, others=others)


def _tagged_by_others(*units: str) -> dict[str, dict[str, object]]:
    return {
        "Null": {"aws:ResourceTag/mlops:unit": "false"},
        "StringNotEquals": {"aws:ResourceTag/mlops:unit": units[0] if len(units) == 1 else list(units)},
    }


def define_function_policy(scope: Construct, id: str) -> iam.ManagedPolicy:
    """Define the policy for network interfaces and traces of functions; the functions' own code may not create network interfaces.

    See: https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
    """
    functions = stack_values(scope).format_arn(
        service="lambda", resource="function", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    return shared_policy(
        scope,
        id,
        description="Network interfaces and traces of the unit's functions",
        wildcard_reason=_FUNCTION_REASON,
        statements=[
            allow([*NETWORK_ACTIONS, *TRACING_ACTIONS], "*"),
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=list(NETWORK_ACTIONS),
                resources=["*"],
                conditions={"ArnLike": {"lambda:SourceFunctionArn": functions}},
            ),
        ],
    )
