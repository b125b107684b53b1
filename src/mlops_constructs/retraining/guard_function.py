"""The guard of a retraining pipeline: its policy, its function, and the rules that trigger it."""

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

# an execution that failed without Release has ended by then
_LOCK_GRACE_SECONDS = 300
_YEAR = cdk.Duration.days(365)

BrokenFeed = Literal["ask", "retrain"]


@checked("InvalidGuardPolicy")
@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """When the guard may start retrainings, and how often it rechecks triggers.

    Args:
        recheck_interval: How often the guard rechecks while an alarm is in ALARM or enough new labels exist, as alarms report a
            state change only once. Default: every hour.
        rejected_cooldown: Cooldown after a rejected candidate, at least ``cooldown``; requests by people are exempt. Default:
            ``cooldown``.
        broken_feed: Reaction to an alarm whose newest report finds that the feed of a drifted feature looks broken: values in
            another unit, a jump in nulls, unknown levels, another type or schema. ``"ask"`` does not retrain but notifies people,
            who fix the feed or retrain with ``mlops train``; ``"retrain"`` retrains. Default: ``"ask"``.
        min_labels: Number of new rows of the label group that a retraining requires, except one requested by a person; reaching it
            requests a retraining. ``MLOps Features Ingested`` events on the unit's bus report new rows. Default: rows are not
            counted.
        interval: How often a retraining is requested regardless of alarms. Default: never.
        cooldown: Minimum time between two retrainings; requests by people are exempt. Default: 24 hours.
        max_runs_per_day: Maximum number of retrainings per UTC day. Default: 2.

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
    """A guard policy with the label table whose new rows it counts."""

    policy: GuardPolicy
    label_table: str | None = None
    label_database: str = ""

    @property
    def counts_labels(self) -> bool:
        """Whether new rows are counted."""
        return self.policy.min_labels is not None and self.label_table is not None

    def problems(self) -> list[str | None]:
        """Return the values that are not allowed."""
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
            "min_labels counts rows of the feature store's label group, and a training set from S3 has none; leave it out"
            if self.policy.min_labels is not None and self.label_table is None
            else None,
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the guard."""
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
    """Define the function and queue ``Guard`` and its rules, except that of the alarms, which are added later.

    Args:
        scope: Construct of the pipeline.
        access: Permissions of the pipeline.
        limits: Limits of the guard.
        machine: The Retrain state machine.
        machine_seconds: Maximum duration of an execution.
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
    pattern = events.EventPattern(
        source=events.Match.prefix(request_source(unit.name, "")),
        detail_type=[DetailType.RETRAINING_REQUESTED.value],
        detail={"subject": [pipeline]},
    )
    requests = f"Requests to retrain {pipeline}"
    guard.feed(events.Rule(scope, "Requests", event_bus=unit.bus, description=requests, event_pattern=pattern))
    if limits.counts_labels:
        ingested = events.EventPattern(
            source=[event_source(unit.name)],
            detail_type=[DetailType.FEATURES_INGESTED.value],
            detail={"subject": [str(limits.label_table)]},
        )
        new_data = f"New label rows of {pipeline}"
        guard.feed(events.Rule(scope, "NewData", event_bus=unit.bus, description=new_data, event_pattern=ingested))
    if limits.policy.interval is not None:
        description = f"Requests retrainings of {pipeline} on a schedule"
        guard.feed(
            events.Rule(
                scope, "Schedule", description=description, schedule=events.Schedule.rate(limits.policy.interval)
            )
        )
    # an alarm sends one event when it fires, and none while it stays in ALARM
    recheck = events.Rule(
        scope,
        "Recheck",
        description=f"Rechecks alarms and new labels of {pipeline}",
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
