"""The ``RetrainingPipeline`` construct: retrains a model on triggers and registers candidates that pass the gate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Unpack, cast

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import define_function
from mlops_constructs._platform_rules import further_tags, rule_problems
from mlops_constructs._roles import allow, grant_statements
from mlops_constructs._state_machine import define_machine
from mlops_constructs._unit_resources import define_table, mark_state
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_constructs.compliance import acknowledge
from mlops_constructs.feature_store.interface import ITrainingSetJob, IUnitFeatureStore
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.model_endpoint.endpoint_metrics import MetricOptions
from mlops_constructs.model_registry.registry_access import PIPELINE_NAME, PIPELINE_NAME_ALLOWED
from mlops_constructs.model_registry.registry_interface import IModelRegistry
from mlops_constructs.promotion.downstream import Downstream
from mlops_constructs.retraining.guard_function import GuardLimits, GuardPolicy, define_guard
from mlops_constructs.retraining.job_requests import FeaturePlan, JobEnvironment, ProcessingPlan, ServerPlan, SparkPlan
from mlops_constructs.retraining.retrain_machine import MESSAGE_VARIABLES, Registration, RetrainPlan, retrain_machine
from mlops_constructs.retraining.retraining_checks import (
    container_problems,
    evaluation_problems,
    feature_problems,
    gate_problems,
    job_problem,
    kind_problems,
    metric_problems,
    monitoring_problems,
    signature_problems,
    source_problem,
)
from mlops_constructs.retraining.retraining_permissions import WILDCARD_REASON, ChampionAccess, RetrainingAccess
from mlops_constructs.retraining.tracking import Tracking, define_tracking
from mlops_constructs.retraining.training_declaration import (
    ProcessingStep,
    ServingContainer,
    TrainingJob,
    TrainingSetSource,
)
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, event_source, request_source
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, JobTags, SignaturePlan, TrainingSetPlan
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.features.snapshot_tags import tables_of
from mlops_runtime.instance_types import instance_memory
from mlops_runtime.jobs.job_environment import SIGNATURE
from mlops_runtime.retraining.decision_metric import COUNTED, METRIC, decision_dimensions

# job names have at most 63 characters: the pipeline's name, a hyphen, 24 characters of the execution's name, and "-train"
MAXIMUM_PIPELINE_NAME = 32
_TAGS_REASON = (
    "a commit writes a new metadata file of a table, and Glue also authorizes catalog and database; "
    "rejected: commits by the job itself, which could then rewrite the table"
)
_NETWORKED_REASON = (
    "the job reads the Glue catalog and the tables itself, in the unit's network without internet access; rejected: network "
    "isolation, with which SageMaker would first have to copy every table of the store"
)
_LIVE_IMAGE_REASON = (
    "the image is the approved package's, read from the live pointer, and preflight accepts only images by digest; "
    "rejected: the pipeline's own image, which may lack the champion's requirements"
)


_LOADS_CHAMPIONS = ("live", "eval", "rows", "asks")


@checked("InvalidRetrainingPipeline")
class RetrainingPipeline(Construct):
    """Pipeline that retrains a model. Stateful.

    Defines the Retrain state machine with the roles of its jobs, the guard with its queue and table, and the rules that trigger
    the guard: requests and new labels on the unit's bus, an optional schedule, the alarms that ``DriftAlarms`` adds, and a rule
    that repeats while one of them is in ALARM. Only the guard starts the machine: it verifies and de-duplicates each trigger and
    applies cooldown, budget, pause and freeze.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit.
        registry: Registry of the candidates, with their approval.
        endpoint: Endpoint whose live model is the champion that candidates are compared with, or ``registry.downstream`` if the
            model serves in other accounts.
        name: Name of the model: letters, digits and hyphens; the pipeline is ``<unit>-<name>``, at most 32 characters.
        training_set: Plan of a training set from the feature store, or source of training sets in S3.
        training: Training script, image and instances.
        evaluation: Metrics, columns and segments of the evaluation. Its ``timestamp`` defaults to the training set's.
        store: Feature store of the training set. Default: none, for training sets from S3.
        training_set_job: Spark job for training sets that, by the tables' metadata, exceed the memory of
            ``training.instance_type``. Default: such training sets are refused.
        processing: Processing step between training set and training. Default: none.
        gate: Conditions for registering a candidate. Default: ``GateSpec()``: better than every baseline, and no worse than the
            champion.
        guard: When retrainings may start. Default: ``GuardPolicy()``: cooldown of 24 hours, two runs a day, hourly rechecks while
            an alarm is in ALARM, no schedule, and labels not counted.
        tracking: MLflow server to which retrainings are mirrored. Default: none.

    Raises:
        ValidationError: If names or limits are not allowed, or the store lacks groups or columns of the training set.

    Example:
        >>> retraining = RetrainingPipeline(self, "Retraining", business_unit=unit, registry=registry, endpoint=endpoint,
        ...     store=store, name="forecast", training_set=plan, training=training, evaluation=evaluation)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        registry: IModelRegistry,
        endpoint: IServedModel | Downstream,
        name: str,
        training_set: TrainingSetPlan | TrainingSetSource,
        training: TrainingJob,
        evaluation: EvaluationPlan,
        store: IUnitFeatureStore | None = None,
        training_set_job: ITrainingSetJob | None = None,
        processing: ProcessingStep | None = None,
        gate: GateSpec | None = None,
        guard: GuardPolicy | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        self._pipeline = f"{business_unit.name}-{name}"
        source = self._source(training_set, store)
        limits = GuardLimits(
            policy=GuardPolicy() if guard is None else guard,
            label_table=None if source.label_group is None else source.label_group.table_name,
            label_database="" if source.store is None else source.store.database_name,
        )
        gate = replace(GateSpec() if gate is None else gate, metric_sha256=training.metric_sha256)
        evaluation = replace(_with_timestamp(evaluation, source), metric_sha256=training.metric_sha256)
        raise_if_any(self, "InvalidRetrainingPipeline", [job_problem(training_set_job, source)])
        loosened = _loosened(business_unit, self, training, processing)
        self._validate(source, training, evaluation, gate, limits, name=name, trust=registry.trust, loosened=loosened)
        self._access = RetrainingAccess(
            scope=self,
            business_unit=business_unit,
            registry=registry,
            source=source,
            training=training,
            processing=processing,
            training_set_job=training_set_job,
            pipeline=self._pipeline,
            endpoint=endpoint.endpoint_name,
        )
        self._rollouts = endpoint.rollout.table
        self._table = define_table(
            self, "Table", business_unit=business_unit, partition_key="pipeline", sort_key="item", ttl="expires"
        )
        mark_state(self._table, business_unit=business_unit)
        gate_function = self._define_gate(gate, endpoint)
        tags_function = self._define_tags(source, training)
        code = s3_assets.Asset(self, "Code", path=str(training.source), exclude=["**/__pycache__"])
        step_code = (
            None
            if processing is None
            else s3_assets.Asset(self, "ProcessingCode", path=str(processing.source), exclude=["**/__pycache__"])
        )
        metric_file = training.metric_file
        metric = None if metric_file is None else s3_assets.Asset(self, "Metric", path=str(metric_file))
        roles = self._access.job_roles(code, step_code, metric)
        signature = training.signature_plan(evaluation)
        jobs = replace(
            self._render_jobs(name, training, source, {job: role.role_arn for job, role in roles.items()}, signature),
            metric_uri=None if metric is None else metric.s3_object_url,
        )
        loading = [roles[job] for job in _LOADS_CHAMPIONS if job in roles]
        champions = ChampionAccess(self, business_unit=business_unit, pipeline=self._pipeline, roles=loading)
        champions.join(endpoint.rollout.champion_readers)
        endpoint.rollout.require_image(training.image)
        if training.serving is not None:
            endpoint.rollout.require_image(training.serving.image)
        if processing is not None:
            endpoint.rollout.require_image(processing.image)
        plan = RetrainPlan(
            pipeline=self._pipeline,
            unit_name=business_unit.name,
            endpoint_name=endpoint.endpoint_name,
            jobs=jobs,
            features=None if tags_function is None else self._render_features(source, tags_function),
            processing=self._render_processing(processing, step_code),
            server=self._render_server(training.serving),
            former_server=self._render_server(training.former_serving),
            evaluation=evaluation,
            script=training.script,
            code_uri=code.s3_object_url,
            gate_arn=gate_function.function_arn,
            record_arn=endpoint.rollout.record_function.function_arn,
            rollout_table=endpoint.rollout.table.table_name,
            retraining_table=self._table.table_name,
            bus_name=business_unit.bus.event_bus_name,
            topic_arn=business_unit.topic.topic_arn,
            registration=Registration(
                group_name=registry.group_name,
                image_uri=jobs.image_uri if training.serving is None else training.serving.image.serving_uri(self),
                code_sha256=code.asset_hash,
                is_automatic=registry.approval.is_automatic,
                waiting_message=registry.waiting_message(MESSAGE_VARIABLES),
                waiting_notification=registry.waiting_notification(MESSAGE_VARIABLES),
                **({} if training.serving is None else {"content_types": tuple(training.serving.content_types)}),
            ),
        )
        self._machine = define_machine(
            self,
            "Retrain",
            business_unit=business_unit,
            definition=retrain_machine(plan, partition=cdk.Aws.PARTITION),
            statements=self._access.machine(
                functions=[
                    plan.gate_arn,
                    plan.record_arn,
                    *([] if plan.features is None else [plan.features.tags_arn]),
                ],
                rollout_table=endpoint.rollout.table,
                table=self._table,
            ),
            description=f"Trains, measures and registers {self._pipeline}",
            wildcard_reason=WILDCARD_REASON,
        )
        self._machine.role.add_managed_policy(self._access.jobs_policy(roles))
        if plan.features is not None:
            acknowledge(self._machine, "Mlops-JobIsolation[TrainingSet]", _NETWORKED_REASON)
        acknowledge(self._machine, "Mlops-ImageDigest[PredictChampion]", _LIVE_IMAGE_REASON)
        if training.holdout_container is not None:
            self._machine.role.add_managed_policy(self._access.server_policy(roles))
        registry.approve_by_policy(self._machine.role)
        registry.register_from(self._pipeline)
        # the machine is deleted before the registry, so that no run registers a package in a group that is being emptied
        self._machine.node.add_dependency(registry)
        self._guard = define_guard(
            self,
            access=self._access,
            limits=limits,
            machine=self._machine,
            machine_seconds=plan.seconds,
            table=self._table,
        )
        if tracking is not None:
            define_tracking(
                self,
                tracking,
                access=self._access,
                table=self._table,
                rollout_table=endpoint.rollout.table,
            )
        self._hear_targets(registry)
        self._alarms_rule: events.Rule | None = None
        business_unit.publish_entry(self, "Entry", self._entry(source, evaluation, gate, endpoint))
        business_unit.tag(self)

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline, ``<unit>-<name>``."""
        return self._pipeline

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint whose model is the champion, and whose monitor reports confirm alarms."""
        return self._access.endpoint

    @property
    def group_name(self) -> str:
        """Name of the package group of the candidates."""
        return self._access.registry.group_name

    @property
    def machine(self) -> sfn.IStateMachine:
        """The Retrain state machine."""
        return self._machine

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of events that may start a retraining."""
        return self._guard.queue

    @property
    def table(self) -> dynamodb.ITable:
        """Table of the guard's state and decisions."""
        return self._table

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant requesting a retraining with ``mlops train``, under the caller's own identity only, and reading its result.

        A request is an event on the unit's bus with the source ``mlops.<unit>/<UserId>``, where ``UserId`` is the caller's in
        ``sts:GetCallerIdentity``. IAM allows no other source, so a retraining records who requested it. The grantee may read the
        parameters of unit and pipeline, the guard's decisions, and the machine's executions.

        Args:
            grantee: Principal to grant access to.
        """
        put = allow(
            "events:PutEvents",
            self._unit.bus.event_bus_arn,
            conditions={
                "StringEquals": {
                    "events:source": request_source(self._unit.name),
                    "events:detail-type": DetailType.RETRAINING_REQUESTED.value,
                }
            },
        )
        return grant_statements(grantee, [put, *self._access.request(table=self._table, machine=self._machine)])

    def grant_register(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant registering externally trained models with ``mlops models register``, under the caller's own identity only.

        The grantee may write to ``registered/<pipeline>/`` of the artifacts bucket, request a run that uses the model, and read its
        result and the request schema of the endpoint's APIs. The run evaluates, gates and approves the model like a trained one.

        Args:
            grantee: Principal to grant access to. Do not grant it to a job's role: jobs must not register models.
        """
        return self.grant_request(grantee).combine(grant_statements(grantee, self._access.register(self._rollouts)))

    def grant_read_runs(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant reading the pipeline's runs and their results with ``mlops runs``.

        The grantee may read the guard's decisions, the machine's executions, evaluations and gate results, the names of packages,
        and the jobs with their logs, but no training data and no models.

        Args:
            grantee: Principal to grant access to.
        """
        return grant_statements(grantee, self._access.read_runs(table=self._table, machine=self._machine))

    def metric_decisions(self, decision: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of triggers on which the guard took a decision.

        Args:
            decision: A decision that is counted, such as ``OVER_BUDGET``.
            options: Label, period (default one hour) and statistic (default sum).

        Raises:
            ValidationError: If the decision is unknown or not counted.
        """
        if decision not in COUNTED:
            problem = f"decision must be one of {', '.join(COUNTED)}, got {decision!r}"
            raise_if_any(self, "UnknownDecision", [problem])
        return cloudwatch.Metric(
            namespace=metric_namespace(self._unit.name),
            metric_name=METRIC,
            dimensions_map=decision_dimensions(self._pipeline, decision),
            label=options.get("label"),
            statistic=options.get("statistic", cloudwatch.Stats.SUM),
            period=options.get("period", cdk.Duration.hours(1)),
        )

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Add alarms that request a retraining; the guard checks their state again before it starts one.

        Alarms on a monitor's metrics must be confirmed by the newest report of the endpoint's monitor. Other alarms must be on
        metrics that AWS publishes, in namespaces that begin with ``AWS/``, as any log line can publish all others.

        Args:
            alarms: Alarms by a name for error messages.

        Returns:
            The rule on the default bus.

        Raises:
            ValidationError: If no alarm is given, or alarms were added before.
        """
        problems = [
            None if alarms else "alarms must not be empty",
            None if self._alarms_rule is None else "alarms were added before; add all of them in one call",
        ]
        raise_if_any(self, "InvalidAlarms", problems)
        names = [alarm.alarm_name for alarm in alarms.values()]
        self._guard.function.add_environment("ALARM_NAMES", ",".join(names))
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
        pattern = events.EventPattern(
            source=["aws.cloudwatch"],
            detail_type=["CloudWatch Alarm State Change"],
            detail={"alarmName": names, "state": {"value": ["ALARM"]}},
        )
        self._alarms_rule = events.Rule(
            self, "Alarms", description=f"Alarms that retrain {self._pipeline}", event_pattern=pattern
        )
        self._guard.feed(self._alarms_rule)
        return self._alarms_rule

    def _hear_targets(self, registry: IModelRegistry) -> None:
        """Feed the guard with retraining requests of target environments, if the registry has any."""
        if not registry.retrained_by(self._pipeline):
            return
        self._guard.function.add_environment("HAS_TARGETS", "true")
        pattern = events.EventPattern(
            source=[event_source(self._unit.name)],
            detail_type=[DetailType.RETRAINING_REQUESTED.value],
            detail={"subject": [self._pipeline], "outcome": ["REQUESTED"]},
        )
        description = f"Retraining requests of targets for {self._pipeline}"
        self._guard.feed(
            events.Rule(self, "Targets", event_bus=self._unit.bus, description=description, event_pattern=pattern)
        )

    def _source(self, given: TrainingSetPlan | TrainingSetSource, store: IUnitFeatureStore | None) -> TrainingSetSource:
        raise_if_any(self, "InvalidRetrainingPipeline", [source_problem(given, store)])
        if isinstance(given, TrainingSetSource):
            return given
        return TrainingSetSource.features(store=cast("IUnitFeatureStore", store), plan=given)

    def _validate(
        self,
        source: TrainingSetSource,
        training: TrainingJob,
        evaluation: EvaluationPlan,
        gate: GateSpec,
        limits: GuardLimits,
        *,
        name: str,
        trust: Sequence[Trust],
        loosened: Sequence[str],
    ) -> None:
        raise_if_any(
            self,
            "InvalidRetrainingPipeline",
            [
                *loosened,
                check_pattern("name", name, pattern=PIPELINE_NAME, allowed=PIPELINE_NAME_ALLOWED),
                None
                if len(self._pipeline) <= MAXIMUM_PIPELINE_NAME
                else f"<unit>-<name> must have at most {MAXIMUM_PIPELINE_NAME} characters, got {self._pipeline!r}; "
                "names of jobs begin with it",
                *limits.problems(),
                None
                if evaluation.label == source.label
                else f"evaluation.label must be the training set's {source.label!r}, got {evaluation.label!r}",
                *evaluation_problems(evaluation, source),
                *gate_problems(gate, evaluation),
                *kind_problems(gate, evaluation, source),
                *metric_problems(training, evaluation),
                *monitoring_problems(evaluation),
                *signature_problems(training.signature_plan(evaluation), source),
                *feature_problems(source),
                *container_problems(training.serving, evaluation, gate, allowed=trust),
            ],
        )

    def _entry(
        self,
        source: TrainingSetSource,
        evaluation: EvaluationPlan,
        gate: GateSpec,
        endpoint: IServedModel | Downstream,
    ) -> PipelineEntry:
        return PipelineEntry(
            pipeline=self._pipeline,
            unit=self._unit.name,
            group=self._access.registry.group_name,
            retraining_table=self._table.table_name,
            retrain_machine=self._machine.state_machine_arn,
            queue_url=self._guard.queue.queue_url,
            requirements_sha256=self._access.training.image.lock_sha256,
            container_trust=None if self._access.training.serving is None else self._access.training.serving.trust,
            asks_servers=True if self._access.training.holdout_container is not None else None,
            # a model that serves elsewhere has no endpoint entry in this account
            endpoint=None if isinstance(endpoint, Downstream) else endpoint.endpoint_name,
            metric=evaluation.metric,
            label=evaluation.label,
            labels=evaluation.labels,
            timestamp=evaluation.timestamp,
            block=evaluation.block,
            period=evaluation.period,
            baselines=evaluation.baselines,
            confidence=gate.confidence,
            resamples=gate.resamples,
            seed=gate.seed,
            training_set=None if source.is_built else f"s3://{source.bucket.bucket_name}/{source.prefix}",
        )

    def _define_gate(self, gate: GateSpec, endpoint: IServedModel | Downstream) -> lambda_.Function:
        return define_function(
            self,
            "Gate",
            business_unit=self._unit,
            folder="retrain_gate",
            description=f"Verdict on each candidate of {self._pipeline}",
            environment={
                "GATE": canonical_json(gate).decode(),
                "ARTIFACTS_BUCKET": self._unit.artifacts.bucket_name,
                "PIPELINE": self._pipeline,
                "SIGNING_KEY": self._unit.signing_key.key_arn,
                "ENDPOINT": endpoint.endpoint_name,
                "ROLLOUT_TABLE": endpoint.rollout.table.table_name,
                **self._access.registry.trust_environment,
                **self._unit.automation_environment,
            },
            statements=self._access.gate(endpoint.rollout.table),
            timeout=cdk.Duration.minutes(5),
            memory_size=1024,
            wildcard_reason=WILDCARD_REASON,
        )

    def _define_tags(self, source: TrainingSetSource, training: TrainingJob) -> lambda_.Function | None:
        if source.plan is None or source.store is None:
            return None
        function = define_function(
            self,
            "Tags",
            business_unit=self._unit,
            folder="snapshot_tags",
            description=f"Tags what training sets of {self._pipeline} read",
            environment={
                "DATABASE": source.store.database_name,
                "TABLES": ",".join(tables_of(source.plan, source.store.table_names)),
                # memory that the training-set job leaves to DuckDB
                "MEMORY": str(instance_memory(training.instance_type) * 3 // 4),
            },
            files={"plan.json": canonical_json(source.plan).decode()},
            statements=self._access.tag_statements(),
            timeout=cdk.Duration.minutes(2),
            wildcard_reason=_TAGS_REASON,
        )
        self._access.admit_to_tags(function)
        return function

    def _render_jobs(
        self,
        name: str,
        training: TrainingJob,
        source: TrainingSetSource,
        roles: Mapping[str, str],
        signature: SignaturePlan | None,
    ) -> JobEnvironment:
        unit = self._unit
        written = {} if signature is None else {SIGNATURE: canonical_json(signature).decode()}
        tags = JobTags(
            unit=unit.name,
            owner=unit.owner,
            cost_center=unit.cost_center,
            model=name,
            execution="{% $execution %}",
            further=further_tags(unit) or None,
        )
        return JobEnvironment(
            pipeline=self._pipeline,
            image_uri=training.image.serving_uri(self),
            instance_type=training.instance_type,
            maximum=int(training.max_runtime.to_seconds(integral=False)),
            roles=roles,
            subnets=unit.subnet_ids,
            security_groups=[unit.security_group.security_group_id],
            kms_key=unit.key.key_arn,
            artifacts_bucket=unit.artifacts.bucket_name,
            training_set=source.root,
            tags=tags,
            volume_gigabytes=training.volume_gigabytes,
            hyperparameters={**training.hyperparameters, **written},
            environment=training.environment,
            is_isolated=training.network_isolation,
            maximum_wait=training.max_wait_seconds,
            has_checkpoints=training.checkpoints,
            trust=self._access.registry.trust_environment,
        )

    def _render_features(self, source: TrainingSetSource, tags: lambda_.Function) -> FeaturePlan | None:
        if source.plan is None or source.store is None:
            return None
        place, job = f"s3://{source.store.manifests_bucket.bucket_name}", self._access.training_set_job
        return FeaturePlan(
            plan=source.plan,
            database=source.store.database_name,
            tables=source.store.table_names,
            read=tables_of(source.plan, source.store.table_names),
            tags_arn=tags.function_arn,
            manifests=f"{place}/manifests",
            catalog=cdk.Fn.join(":", ["arn", cdk.Aws.PARTITION, "glue", cdk.Aws.REGION, cdk.Aws.ACCOUNT_ID]),
            lineage=f"{place}/lineage",
            namespace=event_source(self._unit.name),
            spark=None
            if job is None
            else SparkPlan(job_name=job.job_name, maximum=int(job.max_runtime.to_seconds(integral=False))),
        )

    def _render_processing(self, step: ProcessingStep | None, code: s3_assets.Asset | None) -> ProcessingPlan | None:
        if step is None or code is None:
            return None
        return ProcessingPlan(
            image_uri=step.image.uri(self),
            instance_type=step.instance_type,
            maximum=int(step.max_runtime.to_seconds(integral=False)),
            script=step.script,
            code_uri=code.s3_object_url,
            channel=step.channel,
        )

    def _render_server(self, serving: ServingContainer | None) -> ServerPlan | None:
        if serving is None:
            return None
        return ServerPlan(
            image_uri=serving.image.serving_uri(self),
            content_type=serving.content_types[0],
            environment=serving.environment,
            trust=serving.trust,
        )


def _with_timestamp(evaluation: EvaluationPlan, source: TrainingSetSource) -> EvaluationPlan:
    if evaluation.timestamp is not None or source.plan is None:
        return evaluation
    return replace(evaluation, timestamp=source.plan.timestamp)


def _loosened(
    unit: IBusinessUnit, scope: Construct, training: TrainingJob, processing: ProcessingStep | None
) -> list[str]:
    """Return violations of the platform's rules by the images and instance types of the jobs."""
    containers = {"training.serving.image": training.serving, "training.former_serving.image": training.former_serving}
    return rule_problems(
        unit,
        scope,
        images={
            "training.image": training.image,
            "processing.image": None if processing is None else processing.image,
            **{f"training.former_images[{at}]": image for at, image in enumerate(training.former_images)},
            **{name: None if container is None else container.image for name, container in containers.items()},
        },
        instance_types={
            "training.instance_type": training.instance_type,
            "processing.instance_type": None if processing is None else processing.instance_type,
        },
    )
