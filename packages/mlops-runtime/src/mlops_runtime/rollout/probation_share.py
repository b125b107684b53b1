"""What share of its calls a model may fail on during its probation: a multiple of what the model before stayed below.

Counted are the hours before the rollout in which it served, and its part of the bake, by the metrics of the alarm, with the rule
that holds a fleet which is alone. Calls before were another model's: often of one that was rolled back for them.

See: docs/adr/0040-rollouts-are-compared.md
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.fleet_comparison import ComparisonRule
from mlops_runtime.rollout.fleet_minutes import FleetMetrics, MinuteReader
from mlops_runtime.rollout.live_history import Counts, seen_share, usual_share
from mlops_runtime.rollout.verdict_request import fleet_metrics, tolerated_share, variant_metrics

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# all kinds of endpoints have it, and a caller's malformed call is not counted
METRIC = "Invocation5XXErrors"
# what a model may fail on where nothing is known of the one before; less is chance at five errors in five minutes
LEAST_SHARE = 0.01
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """Where the model before is counted.

    Args:
        since: When the rollout began (ISO 8601).
        before: Where it is until then, whichever version answered: as the alarm counts.
        tolerated: Failing answers on top of its own that are tolerated, as a share.
        old: Where it alone is counted since. Default: nowhere.
        serves_since: Since when it is live (ISO 8601). Default: not known, all hours before count.
    """

    since: str
    before: FleetMetrics
    tolerated: float
    old: FleetMetrics | None = None
    serves_since: str | None = None


def counted(fleet: FleetMetrics) -> FleetMetrics:
    """Return where the alarm's errors of a fleet of SageMaker's are counted."""
    metric = replace(fleet.calls, metric=METRIC)
    return replace(fleet, calls=metric, errors=(metric,), calls_statistic="SampleCount")


def endpoint_share(
    spec: ServingSpec, *, previous: str | None, since: str, serves_since: str | None = None
) -> ShareRequest:
    """Return the request for an endpoint of SageMaker's.

    Args:
        spec: How the endpoint is served.
        previous: Name of the config of the model before. None, and a serverless endpoint, which has one fleet: since the rollout
            began it is counted nowhere.
        since: When the rollout began (ISO 8601).
        serves_since: Since when the model before is live (ISO 8601). Default: not known.
    """
    # claim: serverless-errors-are-counted-by-variant
    is_told_apart = previous is not None and spec.serverless is None
    return ShareRequest(
        since=since,
        before=counted(variant_metrics(spec)),
        tolerated=tolerated_share(spec),
        old=counted(fleet_metrics(spec, str(previous))) if is_told_apart else None,
        serves_since=serves_since,
    )


def allowed_share(minutes: Sequence[Counts], rule: ComparisonRule) -> float | None:
    """Return the share of calls that a model alone may fail on.

    Args:
        minutes: What the model before answered.
        rule: What a rollout tolerates.

    Returns:
        At least `LEAST_SHARE`, and at most half way from what it failed on to all: of few calls little is known, and a model that
        fails all is rolled back all the same. None where that model was asked nothing.
    """
    usual = usual_share(minutes)
    if usual is None:
        return None
    most = (1 + seen_share(minutes)) / 2
    return round(min(most, max(LEAST_SHARE, rule.alone * (usual + rule.extra))), _DIGITS)


def read_share(cloudwatch: "CloudWatchClient", request: ShareRequest, *, now: datetime) -> float | None:
    """Return the share, or None where the model before was asked nothing.

    Args:
        cloudwatch: Client.
        request: Where it is counted.
        now: The time in the cloud.

    Raises:
        IncompleteMetricsError: If CloudWatch does not return all.
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
