"""What the guard of a pipeline does beyond cool-down and budget."""

from dataclasses import dataclass

import aws_cdk as cdk


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """How often the guard asks again, how long it rests after a rejection, and how many new labels it waits for.

    Args:
        recheck: How often is asked again while an alarm rings, or enough labels wait: an alarm tells only once that it rings.
            Default: every hour.
        rejected_cool_down: Time between a retraining whose candidate was rejected and the next that no person asked for, at
            least the pipeline's ``cool_down``. Default: the same.
        minimum_labels: New rows of the label group without which nothing but a person retrains; when they have come a retraining
            is asked for. They are told by ``MLOps Features Ingested`` on the unit's bus. Default: rows are not counted.

    Example:
        >>> GuardPolicy(minimum_labels=10_000).recheck.to_hours()
        1
    """

    recheck: cdk.Duration = cdk.Duration.hours(1)  # noqa: RUF009 - a constant of CDK
    rejected_cool_down: cdk.Duration | None = None
    minimum_labels: int | None = None
