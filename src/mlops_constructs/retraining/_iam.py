"""What the jobs, the machine and the guard of one pipeline may do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets

from constructs import Construct
from mlops_constructs._iam import ServiceRole, key_statement, pass_role_statement, service_role
from mlops_constructs._sagemaker import (
    ROLE_REASON,
    SERVICE,
    container_statements,
    describe_alarms_statement,
    placed,
    sagemaker_arn,
)
from mlops_constructs.feature_store import FeatureStore
from mlops_constructs.model_registry import ModelImage, ModelRegistry

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

WILDCARD_REASON = (
    "jobs get names at run time, below the pipeline's own name, and packages numbers; "
    "rejected: one fixed job name, which could run once"
)
_RULE = "StepFunctionsGetEventsForSageMaker{}JobsRule"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingAccess:
    """The pipeline and what stands around it; its methods give roles and statements of each part."""

    scope: Construct
    business_unit: "BusinessUnit"
    registry: ModelRegistry
    store: FeatureStore
    pipeline: str
    instance_type: str

    def job_roles(self, image: ModelImage, code: s3_assets.Asset, training_set: str) -> dict[str, ServiceRole]:
        """Define one role for each job: one reads features, one reads sets, one reads sets and models."""
        unit, artifacts, sets = self.business_unit, self.business_unit.artifacts, self.store.training_sets_bucket
        splits = sets.arn_for_objects(f"sets/{training_set}/*")
        models = artifacts.arn_for_objects(f"models/{self.pipeline}/*")
        evaluations = artifacts.arn_for_objects(f"evaluations/{self.pipeline}/*")
        key = [
            key_statement(unit.key, services=["s3"]),
            # volumes of the instances
            key_statement(unit.key, services=["sagemaker"], actions=["kms:CreateGrant", "kms:DescribeKey"]),
        ]
        common = [*image.pull_statements(self.scope), *key]
        kinds = {
            "set": ("TrainingSetRole", "builds training sets", "Processing", self.store.build_statements()),
            "train": (
                "TrainingRole",
                "trains",
                "Training",
                [
                    _objects("s3:GetObject", splits, code.bucket.arn_for_objects(code.s3_object_key)),
                    _objects("s3:PutObject", models),
                    _list(sets.bucket_arn, f"sets/{training_set}/*"),
                    _list(code.bucket.bucket_arn, code.s3_object_key),
                ],
            ),
            "eval": (
                "EvaluationRole",
                "evaluates",
                "Processing",
                [
                    _objects("s3:GetObject", splits, models),
                    _objects("s3:PutObject", evaluations),
                    _list(sets.bucket_arn, f"sets/{training_set}/*"),
                    _list(artifacts.bucket_arn, f"models/{self.pipeline}/*"),
                ],
            ),
        }
        return {
            job: service_role(
                self.scope,
                role_id,
                service=SERVICE,
                statements=[
                    *common,
                    *statements,
                    *container_statements(
                        self.scope,
                        log_group=f"/aws/sagemaker/{kind}Jobs",
                        namespace=f"/aws/sagemaker/{kind}Jobs",
                    ),
                ],
                business_unit=unit,
                description=f"Job of {self.pipeline} that {what}",
                wildcard_reason=ROLE_REASON,
            )
            for job, (role_id, what, kind, statements) in kinds.items()
        }

    def machine(
        self,
        *,
        roles: dict[str, ServiceRole],
        functions: list[str],
        rollout_table: dynamodb.ITable,
        table: dynamodb.ITable,
    ) -> list[iam.PolicyStatement]:
        """Start and watch the jobs, call the functions, register, approve where the policy says so, release, announce."""
        unit, scope = self.business_unit, self.scope
        jobs = {kind: sagemaker_arn(scope, f"{kind}-job", f"{self.pipeline}-*") for kind in ("training", "processing")}
        where = placed(subnets=unit.subnet_ids, security_groups=[unit.security_group.security_group_id])
        conditions = {
            **where,
            "StringEquals": {"sagemaker:VolumeKmsKey": unit.key.key_arn, "sagemaker:OutputKmsKey": unit.key.key_arn},
            "ForAnyValue:StringEquals": {"sagemaker:InstanceTypes": [self.instance_type]},
        }
        isolated = {**conditions, "Bool": {"sagemaker:NetworkIsolation": "true"}}
        rules = [
            cdk.Stack.of(scope).format_arn(service="events", resource="rule", resource_name=_RULE.format(kind))
            for kind in ("Training", "Processing")
        ]
        packages = [self.registry.group_arn, self.registry.packages_arn]
        statements = [
            iam.PolicyStatement(
                actions=["sagemaker:CreateTrainingJob"], resources=[jobs["training"]], conditions=isolated
            ),
            # the training-set job reads Glue itself, so processing may have a network
            iam.PolicyStatement(
                actions=["sagemaker:CreateProcessingJob"], resources=[jobs["processing"]], conditions=conditions
            ),
            iam.PolicyStatement(
                actions=["sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"], resources=[jobs["training"]]
            ),
            iam.PolicyStatement(
                actions=["sagemaker:DescribeProcessingJob", "sagemaker:StopProcessingJob"],
                resources=[jobs["processing"]],
            ),
            iam.PolicyStatement(actions=["sagemaker:AddTags", "sagemaker:ListTags"], resources=list(jobs.values())),
            # how Step Functions hears of a job's end
            # https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
            iam.PolicyStatement(
                actions=["events:DescribeRule", "events:PutRule", "events:PutTargets"], resources=rules
            ),
            *(pass_role_statement(role, service=SERVICE) for role in roles.values()),
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=functions),
            iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[rollout_table.table_arn]),
            iam.PolicyStatement(actions=["dynamodb:UpdateItem"], resources=[table.table_arn]),
            key_statement(unit.key, services=["dynamodb"]),
            iam.PolicyStatement(actions=["sagemaker:CreateModelPackage"], resources=packages),
            iam.PolicyStatement(actions=["events:PutEvents"], resources=[unit.bus.event_bus_arn]),
        ]
        return [*statements, *self.registry.approve_statements()]

    def gate(self) -> list[iam.PolicyStatement]:
        """Read an evaluation, write the gate's result."""
        artifacts = self.business_unit.artifacts
        return [
            _objects("s3:GetObject", artifacts.arn_for_objects(f"evaluations/{self.pipeline}/*")),
            _objects("s3:PutObject", artifacts.arn_for_objects(f"gates/{self.pipeline}/*")),
            key_statement(self.business_unit.key, services=["s3"]),
        ]

    def guard(self, *, table: dynamodb.ITable, machine_arn: str) -> list[iam.PolicyStatement]:
        """Read alarms again, keep state and decisions, start the Retrain machine."""
        return [
            iam.PolicyStatement(
                actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], resources=[table.table_arn]
            ),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            describe_alarms_statement(),
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine_arn]),
        ]


def _objects(action: str, *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=[action], resources=list(resources))


def _list(bucket_arn: str, prefix: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=["s3:ListBucket"], resources=[bucket_arn], conditions={"StringLike": {"s3:prefix": prefix}}
    )
