"""What the plan asks the function ``rollout_answers``: whose captures are read, and what is tolerated."""

from dataclasses import dataclass

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import ServingSpec
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
