"""What the guard of a pipeline does beyond cool-down and budget."""

from dataclasses import dataclass

import aws_cdk as cdk

from mlops_constructs._arguments import checked


@checked("InvalidGuardPolicy")
@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """How often the guard asks again, how long it rests after a rejection, and how many new labels it waits for.

    Args:
        recheck_interval: How often the guard asks again while an alarm is in ALARM, or enough labels wait: an alarm reports only
            once that it fires. Default: every hour.
        rejected_cooldown: Time between a retraining whose candidate was rejected and the next that no person asked for, at
            least the pipeline's ``cooldown``. Default: the same.
        min_labels: New rows of the label group without which nothing but a person retrains; when they have come a retraining
            is asked for. They are told by ``MLOps Features Ingested`` on the unit's bus. Default: rows are not counted.

    Example:
        >>> GuardPolicy(min_labels=10_000).recheck_interval.to_hours()
        1
    """

    recheck_interval: cdk.Duration = cdk.Duration.hours(1)  # noqa: RUF009 - a constant of CDK
    rejected_cooldown: cdk.Duration | None = None
    min_labels: int | None = None
