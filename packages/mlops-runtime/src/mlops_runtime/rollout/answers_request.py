"""What the plan asks the function ``rollout_answers``: whose captures are read, and what is tolerated."""

from dataclasses import dataclass

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import ToleranceSpec
from mlops_runtime.rollout.verdict_request import FALSE_ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class BodiesRequest:
    """Captured answers of an endpoint since a rollout began.

    Args:
        endpoint: The endpoint.
        variant: Its variant, of both fleets.
        destination: ``DestinationS3Uri`` of its capture.
        since: When the rollout began (ISO 8601).
        false_alarm: Probability at which answers within tolerance stop it, at most.
    """

    endpoint: str
    variant: str
    destination: str
    since: str
    false_alarm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsRequest:
    """Captured answers of the live model and of a shadow beside it.

    Args:
        endpoint: The endpoint.
        live: Variant of the live model.
        shadow: The shadow variant.
        destination: ``DestinationS3Uri`` of the capture.
        tolerance: When two answers are the same.
    """

    endpoint: str
    live: str
    shadow: str
    destination: str
    tolerance: ToleranceSpec


def pairs_request(spec: ServingSpec, *, live: str, shadow: str) -> dict[str, object]:
    """Return what a plan says of a shadow's answers; empty where no tolerance is declared.

    Args:
        spec: How the endpoint is served.
        live: Variant of the live model.
        shadow: The shadow variant.
    """
    tolerance = None if spec.rollout.shadow is None else spec.rollout.shadow.tolerance
    if tolerance is None or spec.capture is None:
        return {}
    place = spec.capture.destination
    request = PairsRequest(endpoint=spec.endpoint, live=live, shadow=shadow, destination=place, tolerance=tolerance)
    return dict(to_dict(request))


def bodies_request(spec: ServingSpec, *, since: str) -> dict[str, object]:
    """Return what a plan says of captured answers; empty where nothing is captured.

    An asynchronous endpoint answers into S3, where its own clients see what it wrote.
    """
    if spec.capture is None or spec.asynchronous is not None:
        return {}
    rollout = spec.rollout
    request = BodiesRequest(
        endpoint=spec.endpoint,
        variant=spec.variant,
        destination=spec.capture.destination,
        since=since,
        false_alarm=FALSE_ALARM if rollout.false_alarm is None else rollout.false_alarm,
    )
    return dict(to_dict(request))
