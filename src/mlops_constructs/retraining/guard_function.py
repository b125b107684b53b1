"""The guard of a retraining pipeline: its policy, its function, and the rules that start it."""

from dataclasses import dataclass
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import QueueConsumer, define_queue_consumer
from mlops_constructs._validation import check_duration, check_range
from mlops_constructs.retraining.retraining_permissions import WILDCARD_REASON, RetrainingAccess
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source, request_source
from mlops_runtime.retraining.retraining_guard import ENDED

# an execution that dies without Release is over by then
_LOCK_GRACE_SECONDS = 300
_YEAR = cdk.Duration.days(365)

BrokenFeed = Literal["ask", "retrain"]


@checked("InvalidGuardPolicy")
@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """When the guard lets a model be trained again, how often it checks, and the number of new labels it waits for.

    Args:
        recheck_interval: How often the guard asks again while an alarm is in ALARM, or enough labels wait: an alarm reports only
            once that it fires. Default: every hour.
        rejected_cooldown: Time between a retraining whose candidate was rejected and the next that no person asked for, at
            least ``cooldown``. Default: the same.
        broken_feed: What an alarm does whose newest report says that the feed of a feature that drifted looks broken: values in
            another unit, nulls that jumped, unknown levels, another type or schema. ``"ask"`` trains nothing and asks people, who
            fix the feed, or train on it with ``mlops train``; ``"retrain"`` trains on it. Default: ``"ask"``.
        min_labels: New rows of the label group without which nothing but a person retrains; when they have come a retraining
            is asked for. They are reported by ``MLOps Features Ingested`` events on the unit's bus. Default: rows are not counted.
        interval: How often a retraining is requested regardless of alarms. Default: never.
        cooldown: Time between two retrainings that no person asked for. Default: 24 hours.
        max_runs_per_day: Retrainings a UTC day. Default: 2.

    Example:
        >>> GuardPolicy(min_labels=10_000).recheck_interval.to_hours()
        1
    """

    recheck_interval: cdk.Duration = cdk.Duration.hours(1)  # noqa: RUF009 - a constant of CDK
    rejected_cooldown: cdk.Duration | None = None
    min_labels: int | None = None
    broken_feed: BrokenFeed = "ask"
    interval: cdk.Duration | None = None
    cooldown: cdk.Duration = cdk.Duration.hours(24)  # noqa: RUF009 - a constant of CDK
    max_runs_per_day: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """When a pipeline may be retrained; ``label_table`` of ``label_database`` is the table whose new rows are counted."""

    policy: GuardPolicy
    label_table: str | None = None
    label_database: str = ""

    @property
    def counts_labels(self) -> bool:
        """Whether new rows are counted."""
        return self.policy.min_labels is not None and self.label_table is not None

    def problems(self) -> list[str | None]:
        """Return what is not possible."""
        minute = cdk.Duration.minutes(1)
        return [
            check_range("max_runs_per_day", self.policy.max_runs_per_day, minimum=1, maximum=24),
            check_duration("cooldown", self.policy.cooldown, minimum=cdk.Duration.seconds(0), maximum=_YEAR),
            check_duration(
                "rejected_cooldown", self.policy.rejected_cooldown, minimum=self.policy.cooldown, maximum=_YEAR
            ),
            check_duration("interval", self.policy.interval, minimum=minute, maximum=_YEAR),
            check_duration("recheck_interval", self.policy.recheck_interval, minimum=minute, maximum=_YEAR),
            check_range("min_labels", self.policy.min_labels, minimum=1, maximum=10**12),
            "min_labels counts rows of the feature store's label group; a training set from S3 has none"
            if self.policy.min_labels is not None and self.label_table is None
            else None,
        ]

    def environment(self) -> dict[str, str]:
        """Return the variables that the guard reads them from."""
        variables = {
            "COOL_DOWN_SECONDS": str(int(self.policy.cooldown.to_seconds(integral=False))),
            "DAILY_BUDGET": str(self.policy.max_runs_per_day),
        }
        if self.policy.rejected_cooldown is not None:
            variables["REJECTED_COOL_DOWN_SECONDS"] = str(int(self.policy.rejected_cooldown.to_seconds(integral=False)))
        if self.policy.broken_feed != "ask":
            variables["BROKEN_FEED"] = self.policy.broken_feed
        if self.counts_labels:
            variables |= {"MINIMUM_LABELS": str(self.policy.min_labels), "LABEL_TABLE": str(self.label_table)}
            variables["LABEL_DATABASE"] = self.label_database
        return variables


def define_guard(
    scope: Construct,
    *,
    access: RetrainingAccess,
    limits: GuardLimits,
    machine: sfn.StateMachine,
    machine_seconds: int,
    table: dynamodb.ITable,
) -> QueueConsumer:
    """Define function and queue ``Guard`` and every rule that feeds it but that of the alarms, which come later.

    Args:
        scope: The pipeline.
        access: What its parts may do.
        limits: When it may be retrained.
        machine: The Retrain machine.
        machine_seconds: How long an execution may take.
        table: Table of state and decisions.
    """
    unit = access.business_unit
    guard = define_queue_consumer(
        scope,
        "Guard",
        business_unit=unit,
        folder="retrain_guard",
        description=f"Decides whether an event retrains {access.pipeline}",
        environment={
            "PIPELINE": access.pipeline,
            "RETRAIN_MACHINE_ARN": machine.state_machine_arn,
            "RETRAINING_TABLE": table.table_name,
            "LOCK_SECONDS": str(machine_seconds + _LOCK_GRACE_SECONDS),
            "ENDPOINT": access.endpoint,
            "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
            **limits.environment(),
            **unit.automation_environment,
        },
        statements=[
            *access.guard(table=table, machine=machine),
            *(access.label_statements() if limits.counts_labels else ()),
        ],
        timeout=cdk.Duration.seconds(30),
        wildcard_reason=WILDCARD_REASON,
    )
    if limits.counts_labels:
        access.admit_to_labels(guard.function)
    _define_rules(scope, guard, unit=unit, pipeline=access.pipeline, limits=limits, machine=machine)
    return guard


def _define_rules(
    scope: Construct,
    guard: QueueConsumer,
    *,
    unit: IBusinessUnit,
    pipeline: str,
    limits: GuardLimits,
    machine: sfn.StateMachine,
) -> None:
    asked = events.EventPattern(
        source=events.Match.prefix(request_source(unit.name, "")),
        detail_type=[DetailType.RETRAINING_REQUESTED.value],
        detail={"subject": [pipeline]},
    )
    requests = f"Requests to retrain {pipeline}"
    guard.feed(events.Rule(scope, "Requests", event_bus=unit.bus, description=requests, event_pattern=asked))
    if limits.counts_labels:
        ingested = events.EventPattern(
            source=[event_source(unit.name)],
            detail_type=[DetailType.FEATURES_INGESTED.value],
            detail={"subject": [str(limits.label_table)]},
        )
        new_data = f"New rows that {pipeline} may learn from"
        guard.feed(events.Rule(scope, "NewData", event_bus=unit.bus, description=new_data, event_pattern=ingested))
    if limits.policy.interval is not None:
        description = f"Asks regularly whether {pipeline} is to be retrained"
        guard.feed(
            events.Rule(
                scope, "Schedule", description=description, schedule=events.Schedule.rate(limits.policy.interval)
            )
        )
    # an alarm notifies once when it fires, and not again while it is in ALARM
    recheck = events.Rule(
        scope,
        "Recheck",
        description=f"Checks whether an alarm of {pipeline} is still in ALARM, or labels wait",
        schedule=events.Schedule.rate(limits.policy.recheck_interval),
    )
    guard.feed(recheck)
    guard.function.add_environment("RECHECK_RULE", recheck.rule_arn)
    # https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    ended = events.EventPattern(
        source=["aws.states"],
        detail_type=["Step Functions Execution Status Change"],
        detail={"stateMachineArn": [machine.state_machine_arn], "status": list(ENDED)},
    )
    guard.feed(
        events.Rule(scope, "Ended", description=f"Retrainings of {pipeline} that did not finish", event_pattern=ended)
    )
