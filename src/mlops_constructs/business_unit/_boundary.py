"""The permissions boundary of a unit's roles, and the policy that its functions share."""

from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._function import NETWORK_ACTIONS, TRACING_ACTIONS
from mlops_constructs._iam import shared_policy
from mlops_constructs.business_unit._key import RECORDER_TAG
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.model_registry._iam import approvals_denied

# services that the unit's functions, machines, jobs and endpoints use
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
    "scheduler",
    "sns",
    "sqs",
    "states",
    "xray",
)
# what no workload does: change who may do what, destroy keys, logs and locks, open a bucket
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
# a role that AWS itself defines, made once an account when the first fleet is scaled
# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
_SERVICE_LINKED = "sagemaker.application-autoscaling.amazonaws.com"
# of a cluster: find it, and for one function only, whose own policy says how far, an access entry while it works
_CLUSTERS = (
    "eks:AssociateAccessPolicy",
    "eks:CreateAccessEntry",
    "eks:DeleteAccessEntry",
    "eks:DescribeAccessEntry",
    "eks:DescribeCluster",
)
# how many instances an account may have
_QUOTAS = ("servicequotas:ListServiceQuotas",)
# credentials for what Lake Formation permits, and never the right to permit
_VENDED = ("lakeformation:GetDataAccess",)
# how another unit's feature tables are read, once a unit has imported them
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
    "Lambda makes and describes network interfaces, and X-Ray takes segments, without resource-level permissions; "
    "rejected: AWS's managed policies, which grant more, and functions outside the network"
)


@dataclass(slots=True, kw_only=True)
class Boundary:
    """The boundary of a unit's roles, and the units whose data these may read."""

    unit: str
    policy: iam.ManagedPolicy
    others: iam.PolicyStatement
    reads: iam.PolicyStatement | None = None
    admitted: list[str] = field(default_factory=list)

    def admit_reads(self, unit: str) -> None:
        """Let reading of another unit's data pass; all else that has its tag stays denied.

        Args:
            unit: The other unit's name.
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
    """Define the boundary: the platform's services, roles passed only to them, never another unit's tagged resources.

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit.
    """
    stack = cdk.Stack.of(scope)
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
                actions=[*(f"{service}:*" for service in _SERVICES), *_CLUSTERS, *_QUOTAS, *_VENDED],
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
    """Define what Lambda itself does in a function's name: network interfaces and traces; the code may not make interfaces.

    See: https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html

    Args:
        scope: Parent.
        id: Construct id.
    """
    functions = cdk.Stack.of(scope).format_arn(
        service="lambda", resource="function", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    return shared_policy(
        scope,
        id,
        description="Network interfaces and traces of the unit's functions",
        wildcard_reason=_FUNCTION_REASON,
        statements=[
            iam.PolicyStatement(actions=[*NETWORK_ACTIONS, *TRACING_ACTIONS], resources=["*"]),
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=list(NETWORK_ACTIONS),
                resources=["*"],
                conditions={"ArnLike": {"lambda:SourceFunctionArn": functions}},
            ),
        ],
    )
