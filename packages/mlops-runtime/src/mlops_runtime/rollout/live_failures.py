"""Detection of a live model that fails significantly.

The latency of its successor is then not compared with it, and the unit's alarms that it keeps in ALARM are not watched.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.eks.slot_alarms import slot_fleet
from mlops_runtime.rollout.evidence_requests import variant_metrics
from mlops_runtime.rollout.fleet_minutes import FleetMetrics, MinuteReader
from mlops_runtime.rollout.live_history import Counts, total

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_MINUTES = 60  # before a rollout in which the live model's responses are read

_BROKEN_SHARE = 0.1
_LEAST_FAILURES = 20
# standard deviations, one sided: 0.1 %
_SURE = 3.1


def is_broken(answers: Counts) -> bool:
    """Return whether significantly more than a tenth of a model's responses fail.

    A response that fails at once is fast: compared with a failing model, a working one seems slow.

    Args:
        answers: Counts of the live model, before and during a rollout.

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
    """Return the live model's responses in the hour before, since it went live.

    Args:
        cloudwatch: Client.
        spec: The endpoint's serving spec.
        live_slot: The live slot of an endpoint on EKS; else None.
        now: Current time of the cloud.
        serves_since: When it went live. Default: unknown, the whole hour counts.
    """
    fleet: FleetMetrics
    fleet = variant_metrics(spec) if spec.eks is None or live_slot is None else slot_fleet(spec.eks, live_slot)
    reader = MinuteReader(cloudwatch=cloudwatch, new=fleet, old=fleet, since=now, now=now, serves_since=serves_since)
    return total(reader.failed().history[-_MINUTES:])


def firing(alarms: Sequence[str], states: Mapping[str, str]) -> tuple[str, ...]:
    """Return the alarms that are in ALARM."""
    return tuple(name for name in alarms if states.get(name) == "ALARM")


def unwatched(alarms: Sequence[str], states: Mapping[str, str], answers: Counts | None) -> tuple[str, ...]:
    """Return the alarms that a rollout does not watch: those in ALARM while the live model fails significantly.

    Watching them would end each rollout at once, so a failing model could not be replaced. The new fleet is still checked by its
    own responses and all other alarms.

    Args:
        alarms: Names of the alarms of the unit's policy.
        states: State of each alarm.
        answers: Responses of the live model in the hour before; None if they were not read.
    """
    return () if answers is None or not is_broken(answers) else firing(alarms, states)
