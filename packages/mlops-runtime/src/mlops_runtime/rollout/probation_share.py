"""Allowed failing share of a model during its probation: a multiple of the previous model's usual share.

The previous model's share is counted by the alarm's metrics, over the hours before the rollout in which it was live and over its
part of the bake, with the rule for a fleet that gets all calls. Earlier calls belong to another model, often one that was rolled
back because of them.

See: docs/adr/0040-rollouts-are-compared.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.evidence_requests import fleet_metrics, tolerated_share, variant_metrics
from mlops_runtime.rollout.fleet_comparison import ComparisonRule
from mlops_runtime.rollout.fleet_minutes import FleetMetrics, MinuteReader
from mlops_runtime.rollout.live_history import Counts, seen_share, usual_share

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# published for all kinds of endpoints; does not count malformed requests of callers
METRIC = "Invocation5XXErrors"
# lower bound of the allowed share; a lower one would be exceeded by chance at five errors in five minutes
LEAST_SHARE = 0.01
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """Metrics of the previous model."""

    since: str  # start of the rollout (ISO 8601)
    before: FleetMetrics  # metrics for the time before the rollout, of all versions like the alarm's
    tolerated: float  # tolerated failing share on top of its own
    old: FleetMetrics | None = None  # metrics of the previous model alone since the start of the rollout
    serves_since: str | None = None  # when it went live (ISO 8601). Default: unknown, all hours before count


def counted(fleet: FleetMetrics) -> FleetMetrics:
    """Return a SageMaker fleet's metrics with the error metric of the alarm."""
    metric = replace(fleet.calls, metric=METRIC)
    return replace(fleet, calls=metric, errors=(metric,), calls_statistic="SampleCount")


def endpoint_share(
    spec: ServingSpec, *, previous: str | None, since: str, serves_since: str | None = None
) -> ShareRequest:
    """Return the request for a SageMaker endpoint.

    Args:
        spec: The endpoint's serving spec.
        previous: Name of the previous model's config. Without one, and for a serverless endpoint, which has one fleet, only the
            time before the rollout counts.
        since: Start of the rollout (ISO 8601).
        serves_since: When the previous model went live (ISO 8601). Default: unknown.
    """
    # claim: serverless-errors-are-counted-by-variant
    is_separate = previous is not None and spec.serverless is None
    return ShareRequest(
        since=since,
        before=counted(variant_metrics(spec)),
        tolerated=tolerated_share(spec),
        old=counted(fleet_metrics(spec, str(previous))) if is_separate else None,
        serves_since=serves_since,
    )


def allowed_share(minutes: Sequence[Counts], rule: ComparisonRule) -> float | None:
    """Return the allowed failing share of a model that gets all calls.

    Args:
        minutes: Responses of the previous model.
        rule: Tolerance of a rollout.

    Returns:
        At least `LEAST_SHARE`, and at most halfway between the previous model's share and 1: few calls give little certainty, but a
        model that always fails must be rolled back. None if the previous model got no calls.
    """
    usual = usual_share(minutes)
    if usual is None:
        return None
    most = (1 + seen_share(minutes)) / 2
    return round(min(most, max(LEAST_SHARE, rule.alone * (usual + rule.extra))), _DIGITS)


def read_share(cloudwatch: "CloudWatchClient", request: ShareRequest, *, now: datetime) -> float | None:
    """Return the allowed share; None if the previous model got no calls.

    Args:
        cloudwatch: Client.
        request: Metrics of the previous model.
        now: Current time of the cloud.

    Raises:
        IncompleteMetricsError: If CloudWatch does not return all metrics.
    """
    reader = MinuteReader(
        cloudwatch=cloudwatch,
        new=request.before if request.old is None else request.old,
        old=request.before,
        since=datetime.fromisoformat(request.since),
        now=now,
        serves_since=None if request.serves_since is None else datetime.fromisoformat(request.serves_since),
    )
    found = reader.failed()
    in_bake = () if request.old is None else (minute.new for minute in found.minutes)
    return allowed_share([*found.history, *in_bake], ComparisonRule(extra=request.tolerated))
