"""Requests of a plan to the function ``rollout_answers``: the captures to read, and the tolerance."""

from dataclasses import dataclass

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import ToleranceSpec
from mlops_runtime.rollout.verdict_request import FALSE_ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class BodiesRequest:
    """Request to check an endpoint's captured responses since a rollout began.

    Args:
        endpoint: Name of the endpoint.
        variant: Name of the variant, the same in both fleets.
        destination: ``DestinationS3Uri`` of its capture.
        since: Start of the rollout (ISO 8601).
        false_alarm: Highest probability that responses within tolerance stop the rollout.
    """

    endpoint: str
    variant: str
    destination: str
    since: str
    false_alarm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsRequest:
    """Request to compare captured responses of the live model and its shadow.

    Args:
        endpoint: Name of the endpoint.
        live: Variant of the live model.
        shadow: The shadow variant.
        destination: ``DestinationS3Uri`` of the capture.
        tolerance: Tolerated difference between two responses.
    """

    endpoint: str
    live: str
    shadow: str
    destination: str
    tolerance: ToleranceSpec


def pairs_request(spec: ServingSpec, *, live: str, shadow: str) -> dict[str, object]:
    """Return the plan's request to compare a shadow's responses; empty without a declared tolerance.

    Args:
        spec: The endpoint's serving spec.
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
    """Return the plan's request to check captured responses; empty without capture.

    Also empty for an asynchronous endpoint: its responses are S3 objects that its clients read.
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
