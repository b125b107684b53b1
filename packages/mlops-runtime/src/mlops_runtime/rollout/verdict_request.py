"""What the plan asks the function ``rollout_verdict``: which fleets are compared, and how much of a difference is tolerated."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.fleet_capacity import error_metric
from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics
from mlops_runtime.rollout.serving_limits import step_shares

FALSE_ALARM = 0.01
TOLERATED_ERROR_SHARE = 0.0005
_SAGEMAKER = "AWS/SageMaker"
_MICROSECOND = 0.001  # of a millisecond


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRequest:
    """What is compared in a rollout.

    Args:
        endpoint: The endpoint.
        fleet: Name of the new fleet's config.
        since: When the rollout began (ISO 8601).
        new: Where the new fleet is counted.
        old: Where the old one is.
        false_alarm: Probability at which a fleet within tolerance is stopped, at most.
        tolerated: Failing answers on top of the old fleet's that are tolerated, as a share.
        max_latency_ratio: How many times as slow the new fleet may be. Default: latency is not compared.
        is_alone: Whether all traffic goes to the new fleet at once, so that the old one is not asked from its first minute.
        has_alarm: Whether an alarm of the fleet stops it; a shadow is evaluated at its end.
        not_before: Before it (ISO 8601) calls of the new fleet are those of an execution that died. Default: no call is.
        most_share: Share of the calls that the new fleet gets before the last step, at most: so many of its calls in a row show
            that the old one is asked nothing.
        before: Where the live model was counted before, whichever config it was in. Default: where the old fleet is.
        planned: How long each step was to bake and why, for the record. Default: nothing had to be planned.
    """

    endpoint: str
    fleet: str
    since: str
    new: FleetMetrics
    old: FleetMetrics
    false_alarm: float
    tolerated: float
    max_latency_ratio: float | None = None
    is_alone: bool = False
    has_alarm: bool = True
    not_before: str | None = None
    most_share: float | None = None
    before: FleetMetrics | None = None
    planned: str | None = None


def tolerated_share(spec: ServingSpec) -> float:
    """Return which failing answers on top of the live model's are tolerated, as a share."""
    own = spec.rollout.tolerated_error_share
    return TOLERATED_ERROR_SHARE if own is None else own


def verdict_request(
    spec: ServingSpec, *, fleet: str, since: str, new: FleetMetrics, old: FleetMetrics, planned: str | None = None
) -> VerdictRequest:
    """Return the request for two fleets, with what the spec tolerates."""
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
    """Return the request for two fleets of one SageMaker endpoint, which the names of their configs tell apart.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    new, old = (fleet_metrics(spec, each) for each in (config, previous))
    asked = verdict_request(spec, fleet=config, since=since, new=new, old=old, planned=planned)
    return replace(asked, before=variant_metrics(spec))


def shadow_verdict(spec: ServingSpec, *, config: str, variant: str, since: str) -> VerdictRequest:
    """Return the request for a shadow and the live model whose calls it gets copies of.

    Both are counted by variant, whichever config they are in: the live model's hours before are those of another config.

    Args:
        spec: How the endpoint is served.
        config: Name of the config with the shadow.
        variant: Name of the shadow's variant.
        since: When it began.
    """
    new, old = (_variant(spec, name) for name in (variant, spec.variant))
    asked = verdict_request(spec, fleet=config, since=since, new=new, old=old)
    return replace(asked, is_alone=False, has_alarm=False)


def endpoint_metric(spec: ServingSpec) -> FleetMetric:
    """Return where the calls of an endpoint's main variant are counted, whichever fleet answers.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    return variant_metrics(spec).calls


def variant_metrics(spec: ServingSpec) -> FleetMetrics:
    """Return where an endpoint's main variant is counted, whichever fleet answers."""
    return _variant(spec, spec.variant)


def fleet_metrics(spec: ServingSpec, config: str) -> FleetMetrics:
    """Return where one fleet is counted, by the name of its config."""
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
