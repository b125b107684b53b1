"""Permissions of a service's functions and pods: access entries, pod identity, and their roles."""

from dataclasses import dataclass

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._roles import (
    ServiceRole,
    allow,
    describe_alarms_statement,
    key_statement,
    put_events_statement,
    service_role,
)
from mlops_constructs._stack_values import stack_of
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.eks_inference.slot_function import look_statements
from mlops_constructs.rollout.rollout_permissions import RolloutAccess
from mlops_constructs.unit_interface import IBusinessUnit

CAPTURE_PREFIX = "capture"
_SERVICE = "pods.eks.amazonaws.com"
_REASON = (
    "models and captures get names at run time, below the service's own prefixes; "
    "rejected: one object for all, and a wider prefix"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EksAccess(RolloutAccess):
    """IAM statements for the parts of a service's rollout.

    Args:
        cluster: The cluster, whose access entries determine permissions in Kubernetes.
        rule_arn: The listener rule whose weights are shifted.
    """

    cluster: EksCluster
    rule_arn: str

    def preflight(self) -> list[iam.PolicyStatement]:
        """Read package, archive, spec, item, records, weights, alarms and the unit's pause; an access entry allows slots."""
        return [
            *self.business_unit.automation_statements(),
            self._table("dynamodb:GetItem"),
            self._specs("s3:GetObject"),
            *self._evidence(),
            key_statement(self.business_unit.key, services=["s3"], actions=["kms:Decrypt"]),
            self._package(),
            *look_statements(self.cluster),
            describe_alarms_statement(),
            *self._traffic(),
        ]

    def record(self) -> list[iam.PolicyStatement]:
        """Read the live state, append to the audit chain with the compared metrics, update the live pointer, sign archives."""
        return [
            *self._audit(),
            self._package(),
            *self._sign_archives(),
            *self._keep_minutes(),
            *look_statements(self.cluster),
        ]

    def machine(self, *, execution_role: iam.IRole, functions: list[str]) -> list[iam.PolicyStatement]:
        """Lock, invoke the functions, shift the weights of the one rule, read alarms and targets, clean up, publish events."""
        del execution_role  # pods assume it through Pod Identity, it is not passed
        unit = self.business_unit
        return [
            self._table("dynamodb:UpdateItem"),
            key_statement(unit.key, services=["dynamodb"]),
            allow("lambda:InvokeFunction", *functions),
            allow("elasticloadbalancing:ModifyRule", self.rule_arn),
            # has no resource type
            allow("elasticloadbalancing:DescribeTargetHealth", "*"),
            allow(
                ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"], *self._made_alarms()
            ),
            *self._watched(),
            describe_alarms_statement(),
            put_events_statement(unit),
        ]

    def watch(self) -> list[iam.PolicyStatement]:
        """Return nothing: the machine's own policy includes its alarms."""
        return []

    def scaling(self) -> list[iam.PolicyStatement]:
        """Return nothing: the cluster scales the slots."""
        return []

    def spec(self, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Store the desired spec, start the machine; on delete stop it, remove its alarms and record that."""
        return [
            self._table("dynamodb:GetItem", "dynamodb:UpdateItem"),
            self._specs("s3:GetObject", "s3:PutObject"),
            *self.business_unit.audit_statements(self.endpoint_name),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            allow(["states:ListExecutions", "states:StartExecution"], machine.state_machine_arn),
            allow("states:StopExecution", self._executions(machine)),
            describe_alarms_statement(),
            allow("cloudwatch:DeleteAlarms", self._alarms(), self._probation_alarm()),
        ]

    def _package(self) -> iam.PolicyStatement:
        return allow("sagemaker:DescribeModelPackage", self.registry.packages_arn)


def define_pod_role(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    cluster: EksCluster,
    service_name: str,
    capture_bucket: s3.IBucket | None,
) -> ServiceRole:
    """Define the role of a service's pods: read its models, write its captures.

    Its trust policy allows pods of this cluster only; the pod identity association determines which of them assume it.

    Args:
        scope: Parent.
        id: Construct id.
        capture_bucket: Bucket of captures; ``None`` without capture.
    """
    return service_role(
        scope,
        id,
        service=_SERVICE,
        source_arn=cluster.arn,
        has_session_tags=True,
        statements=pod_statements(business_unit, service_name, capture_bucket),
        business_unit=business_unit,
        description=f"Pods of {service_name}",
        wildcard_reason=_REASON,
    )


def pod_statements(
    business_unit: IBusinessUnit, service_name: str, capture_bucket: s3.IBucket | None
) -> list[iam.PolicyStatement]:
    """Return the permissions of a service's pods.

    Args:
        business_unit: The unit; provides bucket and key.
        capture_bucket: Bucket of captures; ``None`` without capture.
    """
    models = business_unit.artifacts.arn_for_objects(f"models/{service_name}/*")
    found = [allow("s3:GetObject", models)]
    if capture_bucket is None:
        found.append(key_statement(business_unit.key, services=["s3"], actions=["kms:Decrypt"]))
    else:
        found.append(key_statement(business_unit.key, services=["s3"]))
        captures = capture_bucket.arn_for_objects(f"{CAPTURE_PREFIX}/{service_name}/*")
        found.append(allow("s3:PutObject", captures))
    return found


def define_association(
    scope: Construct,
    id: str,
    *,
    cluster: EksCluster,
    namespace: str,
    service_account: str,
    role: iam.IRole,
    session: iam.PolicyDocument,
) -> eks.CfnPodIdentityAssociation:
    """Define which pods assume the role, with a session policy that limits the role's grants.

    A session policy and session tags exclude each other, so the role's trust policy has a condition on the cluster but not on the
    namespace: without tags such a condition would deny every pod.

    See: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html (policy)

    Args:
        scope: Parent.
        id: Construct id.
        namespace: Namespace of the pods.
        service_account: Service account of the pods.
        session: Session policy.
    """
    association = eks.CfnPodIdentityAssociation(
        scope,
        id,
        cluster_name=cluster.name,
        namespace=namespace,
        service_account=service_account,
        role_arn=role.role_arn,
        disable_session_tags=True,
        policy=stack_of(scope).to_json_string(session),
    )
    association.node.add_dependency(role)
    return association
