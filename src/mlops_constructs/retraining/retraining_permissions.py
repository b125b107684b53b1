"""Permissions of a pipeline's jobs, state machine and functions, and of people who use it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._roles import (
    ROLE_REASON,
    SERVICE,
    WRITES_ONCE,
    ServiceRole,
    allow,
    allow_listing,
    container_statements,
    describe_alarms_statement,
    key_statement,
    pass_role_statement,
    placed,
    put_events_statement,
    sagemaker_arn,
    service_role,
    shared_policy,
)
from mlops_constructs._stack_values import stack_values
from mlops_constructs.feature_store.interface import ITrainingSetJob
from mlops_constructs.model_registry import ModelImage
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.retraining.job_requests import CHARACTERS_OF_NAME
from mlops_constructs.retraining.training_declaration import ProcessingStep, TrainingJob, TrainingSetSource
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.features import LINEAGE_DIGITS, lineage_name
from mlops_runtime.contracts.retraining import REGISTERED
from mlops_runtime.instance_types import takes_volume_key
from mlops_runtime.registry.package_approval import registry_parameter
from mlops_runtime.retraining.training_artifacts import METRICS_FILE
from mlops_runtime.rollout.archive_signatures import ARCHIVE_FILE

WILDCARD_REASON = (
    "jobs and executions get names at run time, prefixed by the pipeline's name, and packages numbers; "
    "rejected: one fixed job name, which SageMaker accepts only once"
)
_SET_REASON = f"lineage artifacts are named by a hash of their source, and listing has no resource type; {ROLE_REASON}"
_CHAMPION_REASON = (
    "a champion is the model of any earlier execution of a pipeline of this endpoint; rejected: one object key, which changes "
    "with every promotion"
)
_OF_SERVERS = ("rows", "asks")
_RUN_ACTIONS = ("glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun")
_RULE = "StepFunctionsGetEventsForSageMaker{}JobsRule"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingAccess:
    """A pipeline's constructs; the methods return roles and IAM statements of its parts."""

    scope: Construct
    business_unit: IBusinessUnit
    registry: IModelRegistry
    source: TrainingSetSource
    training: TrainingJob
    processing: ProcessingStep | None
    training_set_job: ITrainingSetJob | None
    pipeline: str
    endpoint: str

    def job_roles(
        self, code: s3_assets.Asset, processing_code: s3_assets.Asset | None, metric: s3_assets.Asset | None = None
    ) -> dict[str, ServiceRole]:
        """Define one role per job, each with only the data that its job reads and writes."""
        image, roles = self.training.image, {}
        if self.source.store is not None and self.source.plan is not None:
            lineage = lineage_statements(self.scope, self.source.plan.name)
            statements = [*self.source.store.build_statements(tagged=True), *lineage]
            what = "builds training sets"
            roles["set"] = self._role(
                "TrainingSetRole", what, "Processing", image, statements, reason=_SET_REASON, job="set"
            )
            self.source.store.admit(roles["set"], to="read")
        if self.processing is not None and processing_code is not None:
            statements = [
                allow("s3:GetObject", self._splits("train"), _object_of(processing_code)),
                allow("s3:PutObject", self._artifacts("processed")),
                self._list_splits(),
                _find(processing_code),
            ]
            prepares = "prepares training data"
            roles["prep"] = self._role(
                "ProcessingRole", prepares, "Processing", self.processing.image, statements, job="prep"
            )
        statements = self._training_statements(code)
        roles["train"] = self._role("TrainingRole", "trains", "Training", image, statements, job="train")
        statements = [
            allow("s3:GetObject", self._splits("holdout"), self._artifacts("models")),
            allow("s3:PutObject", self._artifacts("predictions")),
            self._list_splits(),
            self._list_artifacts("models"),
            *(
                statement
                for former in self.training.former_images
                for statement in former.pull_statements(self.scope)[1:]
            ),
        ]
        purpose = "asks the champion for its predictions"
        roles["live"] = self._role("PredictionRole", purpose, "Processing", image, statements, job="live")
        statements = [
            allow(
                "s3:GetObject",
                self._splits(),
                *(self._artifacts(folder) for folder in ("models", "predictions", REGISTERED)),
            ),
            allow("s3:PutObject", self._artifacts("evaluations")),
            self._list_splits(),
            self._list_artifacts("models"),
            self._list_artifacts("predictions"),
            self._list_artifacts(REGISTERED),
            *([] if metric is None else [allow("s3:GetObject", _object_of(metric)), _find(metric)]),
        ]
        roles["eval"] = self._role("EvaluationRole", "evaluates", "Processing", image, statements, job="eval")
        return roles | self._server_roles()

    def _server_roles(self) -> dict[str, ServiceRole]:
        """Define the roles of the job that writes the holdout for a third-party server, and of the server's transform job."""
        serving = self.training.holdout_container
        if serving is None:
            return {}
        statements = [
            allow("s3:GetObject", self._splits("holdout"), self._artifacts("models")),
            allow("s3:PutObject", self._artifacts("predictions")),
            self._list_splits(),
            self._list_artifacts("models"),
        ]
        writes = "writes the holdout for a server"
        rows = self._role("RowsRole", writes, "Processing", self.training.image, statements, job="rows?")
        statements = [
            allow("s3:GetObject", self._artifacts("models"), self._of_answers("rows")),
            allow("s3:PutObject", self._of_answers("answers")),
            self._list_artifacts("predictions"),
            *(
                statement
                for former in self.training.former_images
                for statement in former.pull_statements(self.scope)[1:]
            ),
        ]
        purpose = "answers for the holdout"
        server = self._role("ServerRole", purpose, "Transform", serving.image, statements, job="asks?")
        return {"rows": rows, "asks": server}

    def _of_answers(self, folder: str) -> str:
        return self.business_unit.artifacts.arn_for_objects(f"predictions/{self.pipeline}/*/{folder}/*")

    def _training_statements(self, code: s3_assets.Asset) -> list[iam.PolicyStatement]:
        # not the holdout, on which the model is evaluated
        read, written = [self._splits("train"), _object_of(code)], [self._artifacts("training")]
        found = [self._list_splits(), _find(code)]
        if self.processing is not None:
            read.append(self._artifacts("processed"))
            found.append(self._list_artifacts("processed"))
        if self.training.checkpoints:
            read.append(self._artifacts("checkpoints"))
            written.append(self._artifacts("checkpoints"))
            found.append(self._list_artifacts("checkpoints"))
        return [allow("s3:GetObject", *read), allow("s3:PutObject", *written), *found]

    def _role(
        self,
        role_id: str,
        what: str,
        kind: str,
        image: ModelImage,
        statements: list[iam.PolicyStatement],
        *,
        job: str,
        reason: str = ROLE_REASON,
    ) -> ServiceRole:
        key = self.business_unit.key
        foreign = self.source.foreign_key(beside=key)
        group, jobs = f"/aws/sagemaker/{kind}Jobs", f"{self.pipeline}-{'?' * CHARACTERS_OF_NAME}-{job}"
        return service_role(
            self.scope,
            role_id,
            service=SERVICE,
            statements=[
                *image.pull_statements(self.scope),
                key_statement(key, services=["s3"]),
                # volumes of the instances
                key_statement(key, services=["sagemaker"], actions=["kms:CreateGrant", "kms:DescribeKey"]),
                *([] if foreign is None else [key_statement(foreign, services=["s3"], actions=["kms:Decrypt"])]),
                *statements,
                *container_statements(self.scope, log_group=group, namespace=group, streams=[f"{jobs}/*"]),
            ],
            business_unit=self.business_unit,
            description=f"Job of {self.pipeline} that {what}",
            wildcard_reason=reason,
        )

    def _artifacts(self, folder: str) -> str:
        return self.business_unit.artifacts.arn_for_objects(f"{folder}/{self.pipeline}/*")

    def _list_artifacts(self, folder: str) -> iam.PolicyStatement:
        return allow_listing(self.business_unit.artifacts.bucket_arn, f"{folder}/{self.pipeline}/*")

    def _splits(self, split: str | None = None) -> str:
        own = "*/" if self.source.is_built else ""  # one prefix per training
        return self.source.bucket.arn_for_objects(
            f"{self.source.prefix}/*" if split is None else f"{self.source.prefix}/{own}{split}/*"
        )

    def _list_splits(self) -> iam.PolicyStatement:
        return allow_listing(self.source.bucket.bucket_arn, f"{self.source.prefix}/*")

    def jobs_policy(self, roles: dict[str, ServiceRole]) -> iam.ManagedPolicy:
        """Define the machine's permissions on jobs: start them in the declared network, watch and stop them, pass their roles.

        A separate policy: together with the machine's other statements it would exceed 6,144 characters.
        """
        unit, scope = self.business_unit, self.scope
        jobs = {kind: sagemaker_arn(scope, f"{kind}-job", f"{self.pipeline}-*") for kind in ("training", "processing")}
        conditions = placed(subnets=unit.subnet_ids, security_groups=[unit.security_group.security_group_id])
        types = [self.training.instance_type]
        (encrypted,) = self._encrypted(types)
        training = {**conditions, **encrypted}
        if self.training.network_isolation:
            training["Bool"] = {"sagemaker:NetworkIsolation": "true"}
        if self.processing is not None and self.processing.instance_type not in types:
            types.append(self.processing.instance_type)
        statements = [
            allow("sagemaker:CreateTrainingJob", jobs["training"], conditions=training),
            # the training-set job reads Glue itself, so processing may have a network
            *(
                allow("sagemaker:CreateProcessingJob", jobs["processing"], conditions={**conditions, **encrypted})
                for encrypted in self._encrypted(types)
            ),
            allow(["sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"], jobs["training"]),
            allow(["sagemaker:DescribeProcessingJob", "sagemaker:StopProcessingJob"], jobs["processing"]),
            allow(["sagemaker:AddTags", "sagemaker:ListTags"], *jobs.values()),
            *(pass_role_statement(role, service=SERVICE) for job, role in roles.items() if job not in _OF_SERVERS),
            # https://docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html
            *([] if self.training_set_job is None else [allow(_RUN_ACTIONS, self.training_set_job.job_arn)]),
        ]
        return shared_policy(
            scope,
            "RetrainJobs",
            statements=statements,
            description=f"Starts and watches the jobs of {self.pipeline}",
            wildcard_reason=WILDCARD_REASON,
        )

    def _encrypted(self, types: Sequence[str]) -> list[dict[str, object]]:
        """Return encryption conditions per group of instance types: those that support a volume key, and those that do not."""
        key = self.business_unit.key.key_arn
        found: list[dict[str, object]] = []
        for takes_key in (True, False):
            of = [each for each in types if takes_volume_key(each) is takes_key]
            if of:
                keys = {"sagemaker:VolumeKmsKey": key} if takes_key else {}
                found.append(
                    {
                        "StringEquals": {**keys, "sagemaker:OutputKmsKey": key},
                        "ForAnyValue:StringEquals": {"sagemaker:InstanceTypes": of},
                    }
                )
        return found

    def server_policy(self, roles: dict[str, ServiceRole]) -> iam.ManagedPolicy:
        """Define the machine's permissions for third-party servers: create the model, run the transform job, delete the model."""
        unit, scope = self.business_unit, self.scope
        model, job = (sagemaker_arn(scope, kind, f"{self.pipeline}-*") for kind in ("model", "transform-job"))
        rule = stack_values(scope).format_arn(
            service="events", resource="rule", resource_name=_RULE.format("Transform")
        )
        security_groups = [unit.security_group.security_group_id]
        (encrypted,) = self._encrypted([self.training.instance_type])
        statements = [
            allow(
                "sagemaker:CreateModel",
                model,
                conditions=placed(subnets=unit.subnet_ids, security_groups=security_groups, is_isolated=True),
            ),
            allow(["sagemaker:DeleteModel", "sagemaker:DescribeModel"], model),
            allow(
                "sagemaker:CreateTransformJob", job, conditions={"ArnLike": {"sagemaker:ModelArn": model}, **encrypted}
            ),
            allow(["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"], job),
            allow("sagemaker:AddTags", model, job),
            allow(["events:DescribeRule", "events:PutRule", "events:PutTargets"], rule),
            *(pass_role_statement(roles[job], service=SERVICE) for job in _OF_SERVERS),
        ]
        return shared_policy(
            scope,
            "RetrainServers",
            statements=statements,
            description=f"Asks the servers of {self.pipeline} for the holdout",
            wildcard_reason=WILDCARD_REASON,
        )

    def machine(
        self, *, functions: list[str], rollout_table: dynamodb.ITable, table: dynamodb.ITable
    ) -> list[iam.PolicyStatement]:
        """Return the machine's other permissions: invoke functions, register, approve automatically, notify, release, events."""
        unit = self.business_unit
        rules = [
            stack_values(self.scope).format_arn(service="events", resource="rule", resource_name=_RULE.format(kind))
            for kind in ("Training", "Processing")
        ]
        packages = [self.registry.group_arn, self.registry.packages_arn]
        statements = [
            # Step Functions uses these rules to learn that a job ended
            # https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
            allow(["events:DescribeRule", "events:PutRule", "events:PutTargets"], *rules),
            allow("lambda:InvokeFunction", *functions),
            allow("dynamodb:GetItem", rollout_table.table_arn, table.table_arn),
            allow("dynamodb:UpdateItem", table.table_arn),
            key_statement(unit.key, services=["dynamodb"]),
            allow("sagemaker:CreateModelPackage", *packages),
            # registering reads the image and the artifact with the machine's permissions
            self.training.serving_image.register_statement(self.scope),
            allow("s3:GetObject", self._artifacts("models")),
            # to find earlier predictions of the champion for this holdout
            self._list_splits(),
            self._list_artifacts("predictions"),
            key_statement(unit.key, services=["s3"], actions=["kms:Decrypt"]),
            put_events_statement(unit),
            # to ask people whether to train on a feed that looks broken
            allow("sns:Publish", unit.topic.topic_arn),
            key_statement(unit.key, services=["sns"]),
        ]
        return [*statements, *self.registry.approve_statements(), *self.registry.notify_statements()]

    def gate(self, rollout_table: dynamodb.ITable) -> list[iam.PolicyStatement]:
        """Return the gate's permissions: copy the trained model once, read evaluation and request schema, write its result."""
        archives = self.business_unit.artifacts.arn_for_objects(f"models/{self.pipeline}/*/{ARCHIVE_FILE}")
        return [
            allow(
                "s3:GetObject", self._artifacts("evaluations"), self._artifacts("training"), self._artifacts(REGISTERED)
            ),
            allow(
                "s3:PutObject",
                self._artifacts("gates"),
                self.business_unit.artifacts.arn_for_objects(f"evaluations/{self.pipeline}/*/{METRICS_FILE}"),
            ),
            *self._promises(rollout_table),
            # to read the copy's hash that S3 computed
            allow("s3:GetObject", archives),
            allow("s3:PutObject", archives, conditions=WRITES_ONCE),
            key_statement(self.business_unit.key, services=["s3"]),
            *self.business_unit.automation_statements(),
        ]

    def guard(self, *, table: dynamodb.ITable, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the guard's permissions: read alarms and reports, store decisions, start the machine and read its executions."""
        reports = f"monitor/{self.endpoint}/reports/*"
        return [
            *self.business_unit.automation_statements(),
            allow("states:DescribeExecution", self._executions(machine)),
            allow(["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], table.table_arn),
            key_statement(self.business_unit.key, services=["dynamodb"]),
            key_statement(self.business_unit.key, services=["s3"], actions=["kms:Decrypt"]),
            describe_alarms_statement(),
            # the newest report confirms an alarm
            allow("s3:GetObject", self.business_unit.artifacts.arn_for_objects(reports)),
            allow_listing(self.business_unit.artifacts.bucket_arn, reports),
            allow("states:StartExecution", machine.state_machine_arn),
            # to check whether an earlier registered model is still in the registry
            allow("sagemaker:DescribeModelPackage", self.registry.packages_arn),
        ]

    def register(self, rollout_table: dynamodb.ITable) -> list[iam.PolicyStatement]:
        """Return the permissions to upload an external model, and to read the approval rule and the endpoint's request schema."""
        unit = self.business_unit
        return [
            allow("s3:PutObject", self._artifacts(REGISTERED)),
            key_statement(unit.key, services=["s3"]),
            self._parameters(
                registry_parameter(unit=unit.name, group=self.registry.group_name),
                f"/mlops/{unit.name}/endpoint/{self.endpoint}",
            ),
            *self._promises(rollout_table),
        ]

    def request(self, *, table: dynamodb.ITable, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the permissions to read the pipeline's parameters, the guard's decision and the execution's result."""
        unit = self.business_unit
        return [
            key_statement(unit.key, services=["dynamodb"], actions=["kms:Decrypt"]),
            allow(
                "kms:Decrypt",
                unit.key.key_arn,
                conditions={
                    "StringEquals": {"kms:EncryptionContext:aws:states:stateMachineArn": machine.state_machine_arn}
                },
            ),
            self._parameters(f"/mlops/{unit.name}/unit", f"/mlops/{unit.name}/pipeline/{self.pipeline}"),
            allow("dynamodb:GetItem", table.table_arn),
            allow("states:DescribeExecution", self._executions(machine)),
        ]

    def read_runs(self, *, table: dynamodb.ITable, machine: sfn.StateMachine) -> list[iam.PolicyStatement]:
        """Return the permissions to read decisions, executions, evaluations, gate results, package names, jobs and their logs."""
        unit, scope = self.business_unit, self.scope
        kinds = ["Training", "Processing", *([] if self.training.holdout_container is None else ["Transform"])]
        jobs = [sagemaker_arn(scope, f"{kind.lower()}-job", f"{self.pipeline}-*") for kind in kinds]
        groups = {
            kind: stack_values(scope).format_arn(
                service="logs",
                resource="log-group",
                resource_name=f"/aws/sagemaker/{kind}Jobs",
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            )
            for kind in kinds
        }
        return [
            *self.request(table=table, machine=machine),
            allow("dynamodb:Query", table.table_arn),
            allow("states:ListExecutions", machine.state_machine_arn),
            key_statement(unit.key, services=["s3"], actions=["kms:Decrypt"]),
            allow("s3:GetObject", self._artifacts("evaluations"), self._artifacts("gates")),
            self._list_artifacts("evaluations"),
            self._list_artifacts("gates"),
            allow("sagemaker:ListModelPackages", self.registry.packages_arn),
            allow([f"sagemaker:Describe{kind}Job" for kind in kinds], *jobs),
            allow("logs:DescribeLogStreams", *(f"{arn}:*" for arn in groups.values())),
            # only of the pipeline's own jobs
            allow("logs:GetLogEvents", *(f"{arn}:log-stream:{self.pipeline}-*" for arn in groups.values())),
        ]

    def _promises(self, rollout_table: dynamodb.ITable) -> list[iam.PolicyStatement]:
        """Return the permissions to read the serving spec, which contains the request schema."""
        return [
            allow("dynamodb:GetItem", rollout_table.table_arn),
            allow("s3:GetObject", self.business_unit.artifacts.arn_for_objects(f"specs/{self.endpoint}/*")),
        ]

    def _parameters(self, *names: str) -> iam.PolicyStatement:
        stack = stack_values(self.scope)
        return allow(
            "ssm:GetParameter",
            *(stack.format_arn(service="ssm", resource="parameter", resource_name=name.lstrip("/")) for name in names),
        )

    def _executions(self, machine: sfn.StateMachine) -> str:
        return stack_values(self.scope).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{machine.state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )

    def tag_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to tag the snapshots that the training-set job reads; the job itself has none."""
        store = self.source.store
        return [] if store is None else store.tag_statements()

    def admit_to_tags(self, function: lambda_.Function) -> None:
        """Grant the function the tables' metadata in Lake Formation, and a VPC endpoint of Glue if the unit owns its network."""
        if self.source.store is not None and function.role is not None:
            self.business_unit.reach(("glue",))
            self.source.store.admit(function.role, to="tag")

    def label_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to read snapshot metadata of the label group's table, without its rows."""
        group = self.source.label_group
        return [] if group is None or self.source.store is None else self.source.store.snapshot_statements(group)

    def admit_to_labels(self, function: lambda_.Function) -> None:
        """Grant the guard the label group's table in Lake Formation, and a VPC endpoint of Glue if the unit owns its network."""
        group = self.source.label_group
        if group is not None and self.source.store is not None and function.role is not None:
            self.business_unit.reach(("glue",))
            self.source.store.admit(function.role, to="describe", groups=[group])


def lineage_statements(scope: Construct, training_set: str) -> list[iam.PolicyStatement]:
    """Return the permissions to add training sets to SageMaker's lineage graph, but not to change or delete entities.

    Artifacts are named by the hash of their source, contexts by their table, and builds by their training set.

    Args:
        scope: Any construct of the stack.
    """
    names = (
        ("artifact", "*"),
        ("action", lineage_name(f"build-{training_set}", "?" * LINEAGE_DIGITS)),
        ("context", "*"),
    )
    artifacts, builds, contexts = (sagemaker_arn(scope, kind, name) for kind, name in names)
    return [
        allow(["sagemaker:ListArtifacts", "sagemaker:ListAssociations"], "*"),
        allow("sagemaker:AddAssociation", artifacts, builds, contexts),
        allow("sagemaker:CreateArtifact", artifacts),
        allow(["sagemaker:CreateAction", "sagemaker:DescribeAction"], builds),
        allow(["sagemaker:CreateContext", "sagemaker:DescribeContext"], contexts),
    ]


def _object_of(code: s3_assets.Asset) -> str:
    return code.bucket.arn_for_objects(code.s3_object_key)


def _find(code: s3_assets.Asset) -> iam.PolicyStatement:
    return allow_listing(code.bucket.bucket_arn, code.s3_object_key)


class ChampionAccess:
    """The roles of a pipeline that load champions.

    Args:
        scope: Construct of the pipeline.
        business_unit: Owning business unit.
        roles: Roles of the jobs that load the live model.
    """

    def __init__(
        self, scope: Construct, *, business_unit: IBusinessUnit, pipeline: str, roles: Sequence[ServiceRole]
    ) -> None:
        self._scope, self._artifacts, self._roles = scope, business_unit.artifacts, roles
        self._pipeline = pipeline
        self._policy: iam.ManagedPolicy | None = None

    def join(self, readers: dict[str, Callable[[str], None]]) -> None:
        """Grant this pipeline and the others of the same endpoint read access to each other's models.

        Args:
            readers: By pipeline, the function that grants it access to another's models; this pipeline's is added.
        """
        for other, others_read in readers.items():
            others_read(self._pipeline)
            self.read_models_of(other)
        readers[self._pipeline] = self.read_models_of

    def read_models_of(self, pipeline: str) -> None:
        """Grant the roles read access to another pipeline's models."""
        models = f"models/{pipeline}/*"
        statements = [
            allow("s3:GetObject", self._artifacts.arn_for_objects(models)),
            allow_listing(self._artifacts.bucket_arn, models),
        ]
        if self._policy is not None:
            self._policy.add_statements(*statements)
            return
        self._policy = shared_policy(
            self._scope,
            "Champions",
            statements=statements,
            description=f"Reads champions of other pipelines of the endpoint for {self._pipeline}",
            wildcard_reason=_CHAMPION_REASON,
        )
        for role in self._roles:
            role.add_managed_policy(self._policy)
