"""What the parts of a rollout between two slots may do, each only to the one service."""

from dataclasses import dataclass

from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from mlops_constructs._iam import key_statement, put_events_statement
from mlops_constructs._sagemaker import describe_alarms_statement
from mlops_constructs.eks_inference._slot import look_statements
from mlops_constructs.eks_inference.cluster import EksCluster
from mlops_constructs.rollout._iam import RolloutAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class EksAccess(RolloutAccess):
    """The service and what stands around it; its methods give the statements of each part.

    Args:
        cluster: The cluster, on which access entries say what a part may do.
        rule_arn: The listener rule whose weights are shifted.
    """

    cluster: EksCluster
    rule_arn: str

    def preflight(self) -> list[iam.PolicyStatement]:
        """Read package, archive, spec, row, records, weights, alarms, whether the unit rests; slots by the cluster's own right."""
        return [
            *self.business_unit.automation_statements(),
            self._table("dynamodb:GetItem"),
            self._specs("s3:GetObject"),
            *self._evidence(),
            key_statement(self.business_unit.key, services=["s3"], actions=["kms:Decrypt"]),
            self._package(),
            *look_statements(self.cluster),
            describe_alarms_statement(),
        ]

    def record(self) -> list[iam.PolicyStatement]:
        """Read what serves, append to the audit chain, move the live pointer; sign the archives that gates passed."""
        return [*self._audit(), self._package(), *self._sign_archives(), *look_statements(self.cluster)]

    def machine(self, *, execution_role: iam.IRole, functions: list[str]) -> list[iam.PolicyStatement]:
        """Lock, call the functions, shift the weights of the one rule, watch alarms and targets, clean up, announce."""
        del execution_role  # pods take it on by themselves, it is passed to nobody
        unit = self.business_unit
        return [
            self._table("dynamodb:UpdateItem"),
            key_statement(unit.key, services=["dynamodb"]),
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=functions),
            iam.PolicyStatement(actions=["elasticloadbalancing:ModifyRule"], resources=[self.rule_arn]),
            # has no resource type
            iam.PolicyStatement(actions=["elasticloadbalancing:DescribeTargetHealth"], resources=["*"]),
            iam.PolicyStatement(
                actions=["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"],
                resources=[self._alarms()],
            ),
            describe_alarms_statement(),
            iam.PolicyStatement(actions=["cloudwatch:GetMetricStatistics"], resources=["*"]),
            put_events_statement(unit),
        ]

    def scaling(self) -> list[iam.PolicyStatement]:
        """Nothing: the cluster scales the slots."""
        return []

    def spec(self, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Store the desired spec, start the machine; on delete stop it, remove its alarms and record that."""
        return [
            self._table("dynamodb:GetItem", "dynamodb:UpdateItem"),
            self._specs("s3:GetObject", "s3:PutObject"),
            *self.business_unit.audit_statements(self.endpoint_name),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            iam.PolicyStatement(
                actions=["states:ListExecutions", "states:StartExecution"], resources=[machine.state_machine_arn]
            ),
            iam.PolicyStatement(actions=["states:StopExecution"], resources=[self._executions(machine)]),
            describe_alarms_statement(),
            iam.PolicyStatement(actions=["cloudwatch:DeleteAlarms"], resources=[self._alarms()]),
        ]

    def _package(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(actions=["sagemaker:DescribeModelPackage"], resources=[self.registry.packages_arn])
