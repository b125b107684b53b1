"""Requests of a plan for the evidence of a rollout: fleets to compare, captured responses to read, and tolerated differences.

The functions ``rollout_verdict`` and ``rollout_answers`` receive them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import ToleranceSpec
from mlops_runtime.rollout.fleet_capacity import error_metric
from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics
from mlops_runtime.rollout.serving_limits import step_shares

FALSE_ALARM = 0.01
TOLERATED_ERROR_SHARE = 0.0005
_SAGEMAKER = "AWS/SageMaker"
_MICROSECOND = 0.001  # of a millisecond


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRequest:
    """Request to compare two fleets of a rollout."""

    endpoint: str
    fleet: str  # name of the new fleet's config
    since: str  # start of the rollout (ISO 8601)
    new: FleetMetrics
    old: FleetMetrics
    false_alarm: float  # highest probability that a fleet within tolerance is stopped
    tolerated: float  # tolerated failing share on top of the old fleet's
    # tolerated latency of the new fleet, as a multiple of the old one's. Default: latency is not compared
    max_latency_ratio: float | None = None
    # whether all traffic moves to the new fleet at once, so that the old fleet gets no calls from its first minute on
    is_alone: bool = False
    has_alarm: bool = True  # whether an alarm stops the fleet; a shadow is only evaluated at its end
    # time (ISO 8601) before which calls in the new fleet's metrics are those of a dead execution. Default: none are
    not_before: str | None = None
    # largest share of the calls that the new fleet gets before the last step; it determines the number of consecutive
    # calls that show that the old fleet gets none
    most_share: float | None = None
    before: FleetMetrics | None = None  # metrics of the live model in any config. Default: those of the old fleet
    # planned bake of each step and its reason, for the record. Default: nothing had to be planned
    planned: str | None = None


def tolerated_share(spec: ServingSpec) -> float:
    """Return the tolerated failing share on top of the live model's."""
    own = spec.rollout.tolerated_error_share
    return TOLERATED_ERROR_SHARE if own is None else own


def verdict_request(
    spec: ServingSpec, *, fleet: str, since: str, new: FleetMetrics, old: FleetMetrics, planned: str | None = None
) -> VerdictRequest:
    """Return the request to compare two fleets, with the spec's tolerances."""
    rollout = spec.rollout
    shares = step_shares(rollout.kind, rollout.percent, spec.instance_count if spec.eks is None else 100)
    return VerdictRequest(
        endpoint=spec.endpoint,
        fleet=fleet,
        since=since,
        new=new,
        old=old,
        false_alarm=FALSE_ALARM if rollout.false_alarm is None else rollout.false_alarm,
        tolerated=tolerated_share(spec),
        max_latency_ratio=rollout.max_latency_ratio,
        is_alone=rollout.kind == "ALL_AT_ONCE",
        most_share=max(shares[:-1], default=None),
        planned=planned,
    )


def sagemaker_verdict(
    spec: ServingSpec, *, config: str, previous: str, since: str, planned: str | None = None
) -> VerdictRequest:
    """Return the request for two fleets of one SageMaker endpoint, distinguished by the names of their configs.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    new, old = (fleet_metrics(spec, each) for each in (config, previous))
    request = verdict_request(spec, fleet=config, since=since, new=new, old=old, planned=planned)
    return replace(request, before=variant_metrics(spec))


def shadow_verdict(spec: ServingSpec, *, config: str, variant: str, since: str) -> VerdictRequest:
    """Return the request to compare a shadow with the live model whose calls are copied to it.

    Both are counted by variant, in any config, since the live model had another config in the hours before.
    """
    new, old = (_variant(spec, name) for name in (variant, spec.variant))
    request = verdict_request(spec, fleet=config, since=since, new=new, old=old)
    return replace(request, is_alone=False, has_alarm=False)


def endpoint_metric(spec: ServingSpec) -> FleetMetric:
    """Return the metric of the calls to an endpoint's main variant, of all fleets.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    return variant_metrics(spec).calls


def variant_metrics(spec: ServingSpec) -> FleetMetrics:
    """Return the metrics of an endpoint's main variant, of all fleets."""
    return _variant(spec, spec.variant)


def fleet_metrics(spec: ServingSpec, config: str) -> FleetMetrics:
    """Return the metrics of one fleet, by the name of its config."""
    return _counted(spec, {"VariantName": spec.variant, "EndpointConfigName": config})


def _variant(spec: ServingSpec, variant: str) -> FleetMetrics:
    return _counted(spec, {"VariantName": variant})


def _counted(spec: ServingSpec, dimensions: Mapping[str, str]) -> FleetMetrics:
    values = {"EndpointName": spec.endpoint, **dimensions}

    def of(metric: str) -> FleetMetric:
        return FleetMetric(namespace=_SAGEMAKER, metric=metric, dimensions=values)

    # claim: errors-are-counted-for-each-answer
    errors = of(error_metric(spec))
    return FleetMetrics(calls=errors, errors=(errors,), latency=of("ModelLatency"), milliseconds=_MICROSECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodiesRequest:
    """Request to check an endpoint's captured responses since a rollout began."""

    endpoint: str
    variant: str  # name of the variant, the same in both fleets
    destination: str  # `DestinationS3Uri` of its capture
    since: str  # start of the rollout (ISO 8601)
    false_alarm: float  # highest probability that responses within tolerance stop the rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsRequest:
    """Request to compare captured responses of the live model and its shadow."""

    endpoint: str
    live: str  # variant of the live model
    shadow: str  # the shadow variant
    destination: str  # `DestinationS3Uri` of the capture
    tolerance: ToleranceSpec  # tolerated difference between two responses


def pairs_request(spec: ServingSpec, *, live: str, shadow: str) -> PairsRequest | None:
    """Return the plan's request to compare a shadow's responses; None without a declared tolerance."""
    tolerance = None if spec.rollout.shadow is None else spec.rollout.shadow.tolerance
    if tolerance is None or spec.capture is None:
        return None
    place = spec.capture.destination
    return PairsRequest(endpoint=spec.endpoint, live=live, shadow=shadow, destination=place, tolerance=tolerance)


def bodies_request(spec: ServingSpec, *, since: str) -> BodiesRequest | None:
    """Return the plan's request to check captured responses; None without capture.

    Also None for an asynchronous endpoint: its responses are S3 objects that its clients read.
    """
    if spec.capture is None or spec.asynchronous is not None:
        return None
    rollout = spec.rollout
    return BodiesRequest(
        endpoint=spec.endpoint,
        variant=spec.variant,
        destination=spec.capture.destination,
        since=since,
        false_alarm=FALSE_ALARM if rollout.false_alarm is None else rollout.false_alarm,
    )
