"""Whether the live model provably fails.

Then a successor is not compared with how fast it answers, and alarms of the unit that it keeps in ALARM are not watched.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.eks.slot_alarms import slot_fleet
from mlops_runtime.rollout.fleet_minutes import FleetMetrics, MinuteReader
from mlops_runtime.rollout.live_history import Counts, total
from mlops_runtime.rollout.verdict_request import variant_metrics

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_MINUTES = 60  # before a rollout in which answers of the live model are read

_BROKEN_SHARE = 0.1
_LEAST_FAILURES = 20
# standard deviations, one sided: 0.1 %
_SURE = 3.1


def is_broken(answers: Counts) -> bool:
    """Return whether more than a tenth of a model's answers fail, and that is not chance.

    An answer that fails at once is a quick one: beside a model that fails, one that works seems slow.

    Args:
        answers: Of the live model, before and beside a rollout.

    Example:
        >>> is_broken(Counts(calls=1000, failed=200)), is_broken(Counts(calls=10, failed=5))
        (True, False)
    """
    if answers.failed < _LEAST_FAILURES:
        return False
    share = answers.share
    return share - _SURE * math.sqrt(share * (1 - share) / answers.calls) > _BROKEN_SHARE


def live_answers(
    cloudwatch: "CloudWatchClient",
    spec: ServingSpec,
    *,
    live_slot: str | None,
    now: datetime,
    serves_since: datetime | None = None,
) -> Counts:
    """Return what the live model answered in the hour before, since it serves.

    Args:
        cloudwatch: Client.
        spec: How it is served.
        live_slot: The slot that serves, where slots do.
        now: The time in the cloud.
        serves_since: Since when it is live. Default: not known, the whole hour counts.
    """
    fleet: FleetMetrics
    fleet = variant_metrics(spec) if spec.eks is None or live_slot is None else slot_fleet(spec.eks, live_slot)
    reader = MinuteReader(cloudwatch=cloudwatch, new=fleet, old=fleet, since=now, now=now, serves_since=serves_since)
    return total(reader.failed().history[-_MINUTES:])


def ringing(alarms: Sequence[str], states: Mapping[str, str]) -> tuple[str, ...]:
    """Return the alarms that are in ALARM."""
    return tuple(name for name in alarms if states.get(name) == "ALARM")


def unwatched(alarms: Sequence[str], states: Mapping[str, str], answers: Counts | None) -> tuple[str, ...]:
    """Return the alarms that a rollout does not watch: those that a live model may keep in ALARM that provably fails.

    Watched, they would end each rollout at once, and with it the way to a model that works. The new fleet is still held to its own
    answers, and to all other alarms.

    Args:
        alarms: Those of the unit's policy.
        states: State of each.
        answers: Of the live model in the hour before, None where they were not read.
    """
    return () if answers is None or not is_broken(answers) else ringing(alarms, states)
