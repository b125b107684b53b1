"""Retraining: from a trigger through the guard to a registered candidate, or to a recorded rejection."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._function import define_function
from mlops_constructs._machine import define_machine
from mlops_constructs._queue import QueueConsumer, define_queue_consumer
from mlops_constructs._table import define_table
from mlops_constructs._validation import check_duration, check_range, raise_if_any
from mlops_constructs.feature_store import FeatureStore
from mlops_constructs.model_endpoint import ModelEndpoint
from mlops_constructs.model_registry import ModelRegistry
from mlops_constructs.retraining._iam import WILDCARD_REASON, RetrainingAccess
from mlops_constructs.retraining.jobs import JobEnvironment
from mlops_constructs.retraining.retrain_machine import RetrainPlan, retrain_machine, total_seconds
from mlops_constructs.retraining.training import TrainingJob
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, JobTags, TrainingSetPlan

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

# job names have 63 characters: the pipeline's name, 24 of the execution's, "-train" and a dash
MAXIMUM_PIPELINE_NAME = 32


class RetrainingPipeline(Construct):
    """Define how a model is trained again. Stateful.

    Defines the Retrain machine with the roles of its jobs, the guard with its queue and table, and the rules that feed it:
    requests on the unit's bus, an optional schedule, and the alarms that ``DriftAlarms`` adds. No rule starts the machine: the
    guard decides, de-duplicates, and keeps to cool-down and budget.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        registry: Where candidates are registered, and how they are approved.
        endpoint: Whose champion a candidate is measured against.
        store: Features of the training set.
        name: Name of the model; the pipeline is ``<unit>-<name>``, at most 32 characters.
        training_set: What a training set is made of.
        training: What trains, and where.
        evaluation: What a candidate is measured on.
        gate: When a candidate may be registered. Default: ``GateSpec()``: better than every baseline, no worse than the champion.
        schedule: How often a retraining is asked for, whatever the alarms say. Default: never.
        cool_down: Time between two retrainings that no person asked for. Default: 24 hours.
        daily_budget: Retrainings a UTC day. Default: 2.

    Raises:
        ValidationError: If names or limits are not possible, or features are asked for that the store does not have.

    Example:
        >>> retraining = RetrainingPipeline(self, "Retraining", business_unit=unit, registry=registry, endpoint=endpoint,
        ...     store=store, name="forecast", training_set=plan, training=training, evaluation=evaluation)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: "BusinessUnit",
        registry: ModelRegistry,
        endpoint: ModelEndpoint,
        store: FeatureStore,
        name: str,
        training_set: TrainingSetPlan,
        training: TrainingJob,
        evaluation: EvaluationPlan,
        gate: GateSpec | None = None,
        schedule: cdk.Duration | None = None,
        cool_down: cdk.Duration | None = None,
        daily_budget: int = 2,
    ) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        self._pipeline = f"{business_unit.name}-{name}"
        self._cool_down = cdk.Duration.hours(24) if cool_down is None else cool_down
        self._daily_budget = daily_budget
        self._validate(store, training_set, evaluation, schedule)
        self._access = RetrainingAccess(
            scope=self,
            business_unit=business_unit,
            registry=registry,
            store=store,
            pipeline=self._pipeline,
            instance_type=training.instance_type,
        )
        self._table = define_table(
            self, "Table", business_unit=business_unit, partition_key="pipeline", sort_key="item", ttl="expires"
        )
        gate_function = self._define_gate(GateSpec() if gate is None else gate)
        code = s3_assets.Asset(self, "Code", path=str(training.source), exclude=["**/__pycache__"])
        roles = self._access.job_roles(training.image, code, training_set.name)
        plan = RetrainPlan(
            pipeline=self._pipeline,
            unit_name=business_unit.name,
            group_name=registry.group_name,
            endpoint_name=endpoint.endpoint_name,
            jobs=self._render_jobs(name, training, store, {job: role.role_arn for job, role in roles.items()}),
            training_set=training_set,
            evaluation=evaluation,
            database=store.database_name,
            tables=store.table_names,
            script=training.script,
            code_uri=code.s3_object_url,
            gate_arn=gate_function.function_arn,
            record_arn=endpoint.rollout.record_function.function_arn,
            rollout_table=endpoint.rollout.table.table_name,
            retraining_table=self._table.table_name,
            bus_name=business_unit.bus.event_bus_name,
            is_automatic=registry.approval.is_automatic,
        )
        self._machine = define_machine(
            self,
            "Retrain",
            business_unit=business_unit,
            definition=retrain_machine(plan, partition=cdk.Aws.PARTITION),
            statements=self._access.machine(
                roles=roles,
                functions=[plan.gate_arn, plan.record_arn],
                rollout_table=endpoint.rollout.table,
                table=self._table,
            ),
            description=f"Trains, measures and registers {self._pipeline}",
            wildcard_reason=WILDCARD_REASON,
        )
        registry.approve_by_policy(self._machine.role)
        # the machine goes before the registry does, so that no run registers a package in a group that is being emptied
        self._machine.node.add_dependency(registry)
        self._guard = self._define_guard(total_seconds(plan.jobs.maximum))
        self._define_rules(schedule)
        self._alarms_rule: events.Rule | None = None
        business_unit.tag(self)

    @property
    def pipeline_name(self) -> str:
        """Name of the pipeline, ``<unit>-<name>``."""
        return self._pipeline

    @property
    def group_name(self) -> str:
        """Name of the package group in which candidates are registered."""
        return self._access.registry.group_name

    @property
    def machine(self) -> sfn.IStateMachine:
        """The Retrain machine."""
        return self._machine

    @property
    def queue(self) -> sqs.IQueue:
        """Queue of what may start a retraining."""
        return self._guard.queue

    @property
    def table(self) -> dynamodb.ITable:
        """Table of the guard's state and decisions."""
        return self._table

    def grant_request(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody ask for a retraining by an event on the unit's bus.

        Args:
            grantee: Who.
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["events:PutEvents"],
            resource_arns=[self._unit.bus.event_bus_arn],
            conditions={"StringEquals": {"events:source": event_source(self._unit.name)}},
        )

    def add_alarms(self, alarms: Mapping[str, cloudwatch.IAlarm]) -> events.Rule:
        """Let alarms ask for a retraining; the guard reads each again before it starts anything.

        Args:
            alarms: The alarms, by a name for errors.

        Returns:
            The rule on the default bus.

        Raises:
            ValidationError: If there is none, or alarms were added before.
        """
        problems = [
            None if alarms else "alarms must not be empty",
            None if self._alarms_rule is None else "alarms were added before; name all of them in one call",
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
        self._feed(self._alarms_rule)
        return self._alarms_rule

    def _validate(
        self,
        store: FeatureStore,
        training_set: TrainingSetPlan,
        evaluation: EvaluationPlan,
        schedule: cdk.Duration | None,
    ) -> None:
        minute, year = cdk.Duration.minutes(1), cdk.Duration.days(365)
        raise_if_any(
            self,
            "InvalidRetrainingPipeline",
            [
                None
                if len(self._pipeline) <= MAXIMUM_PIPELINE_NAME
                else f"<unit>-<name> must have at most {MAXIMUM_PIPELINE_NAME} characters, got {self._pipeline!r}; "
                "names of jobs begin with it",
                check_range("daily_budget", self._daily_budget, minimum=1, maximum=24),
                check_duration("cool_down", self._cool_down, minimum=cdk.Duration.seconds(0), maximum=year),
                check_duration("schedule", schedule, minimum=minute, maximum=year),
                None
                if evaluation.label == training_set.label
                else f"evaluation.label must be the training set's {training_set.label!r}, got {evaluation.label!r}",
                *_feature_problems(store, training_set),
            ],
        )

    def _define_gate(self, gate: GateSpec) -> lambda_.Function:
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
            },
            statements=self._access.gate(),
            timeout=cdk.Duration.minutes(5),
            memory_size=1024,
            wildcard_reason=WILDCARD_REASON,
        )

    def _render_jobs(
        self, name: str, training: TrainingJob, store: FeatureStore, roles: Mapping[str, str]
    ) -> JobEnvironment:
        unit = self._unit
        tags = JobTags(
            unit=unit.name,
            owner=unit.owner,
            cost_center=unit.cost_center,
            model=name,
            execution="{% $execution %}",
        )
        return JobEnvironment(
            pipeline=self._pipeline,
            image_uri=training.image.serving_uri(self),
            instance_type=training.instance_type,
            maximum=int(training.maximum.to_seconds()),
            roles=roles,
            subnets=unit.subnet_ids,
            security_groups=[unit.security_group.security_group_id],
            kms_key=unit.key.key_arn,
            artifacts_bucket=unit.artifacts.bucket_name,
            training_sets_bucket=store.training_sets_bucket.bucket_name,
            tags=tags,
            hyperparameters=training.hyperparameters,
        )

    def _define_guard(self, machine_seconds: int) -> QueueConsumer:
        return define_queue_consumer(
            self,
            "Guard",
            business_unit=self._unit,
            folder="retrain_guard",
            description=f"Decides whether an event retrains {self._pipeline}",
            environment={
                "PIPELINE": self._pipeline,
                "RETRAIN_MACHINE_ARN": self._machine.state_machine_arn,
                "RETRAINING_TABLE": self._table.table_name,
                "COOL_DOWN_SECONDS": str(int(self._cool_down.to_seconds())),
                "DAILY_BUDGET": str(self._daily_budget),
                # an execution that dies without Release is over by then
                "LOCK_SECONDS": str(machine_seconds + 300),
            },
            statements=self._access.guard(table=self._table, machine_arn=self._machine.state_machine_arn),
            timeout=cdk.Duration.seconds(30),
            wildcard_reason=WILDCARD_REASON,
        )

    def _define_rules(self, schedule: cdk.Duration | None) -> None:
        pattern = events.EventPattern(
            source=[event_source(self._unit.name)],
            detail_type=[DetailType.RETRAINING_REQUESTED.value],
            detail={"subject": [self._pipeline]},
        )
        requests = events.Rule(
            self,
            "Requests",
            event_bus=self._unit.bus,
            description=f"Requests to retrain {self._pipeline}",
            event_pattern=pattern,
        )
        self._feed(requests)
        if schedule is not None:
            regular = events.Rule(
                self,
                "Schedule",
                description=f"Asks regularly whether {self._pipeline} is to be retrained",
                schedule=events.Schedule.rate(schedule),
            )
            self._feed(regular)

    def _feed(self, rule: events.Rule) -> None:
        rule.add_target(targets.SqsQueue(self._guard.queue, dead_letter_queue=self._guard.dead_letter_queue))


def _feature_problems(store: FeatureStore, plan: TrainingSetPlan) -> list[str]:
    groups = {group.name: group for group in store.groups}
    problems = [
        f"training_set names group {name!r}, the store has {', '.join(map(repr, groups))}"
        for name in (plan.label_group, *plan.features)
        if name not in groups
    ]
    wanted = {plan.label_group: (plan.timestamp, plan.label), **plan.features}
    for name, columns in wanted.items():
        known = [column.name for column in groups[name].columns] if name in groups else columns
        problems += [
            f"training_set wants {column!r} of group {name!r}, which has {', '.join(map(repr, known))}"
            for column in columns
            if column not in known
        ]
    return problems
