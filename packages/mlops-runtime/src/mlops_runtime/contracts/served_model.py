"""State that an environment reports to its source about the model it serves (``mlops.served/1``); versions are named by hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.events import EventDetail

ATTRIBUTE = "served"  # attribute of the event's detail with the state as JSON
WANTED = "WANTED"  # outcome of a request to the source; a request to a pipeline has another outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A version that is served, or that was rolled back at time ``at`` (ISO 8601, UTC).

    ``version`` is numbered by the environment, ``<group>/<number>``; ``binding`` is that of the source's release. In the
    source's copy, ``released_as`` is the source's own version, and ``origin`` the binding of the release that the source itself
    imported, if any.
    """

    model_sha256: str
    binding: str
    version: str
    at: str
    released_as: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRetraining:
    """An environment's request for a retraining: time, alarm, and the result, a recipient or that there is no pipeline."""

    id: str
    at: str
    alarm: str
    reason: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedState:
    """Versions that an environment serves and has rolled back, newest first, at time ``at`` and record ``sequence`` of its chain.

    ``hops`` is 1 for the reporting target, 2 for the target's own target. In the source's copy, ``via`` is the name of the
    direct target and ``requested`` the newest requested retraining. A receiver knows the names of its own targets, so ``name`` is
    only used from the second hop on.
    """

    name: str
    account: str
    region: str
    hops: int
    at: str
    sequence: int
    serves: ServedVersion | None = None
    rolled_back: tuple[ServedVersion, ...] = ()
    via: str | None = None
    requested: RequestedRetraining | None = None
    format: Literal["mlops.served/1"] = "mlops.served/1"

    @property
    def versions(self) -> tuple[ServedVersion, ...]:
        """Every version in the state, served and rolled back."""
        return self.rolled_back if self.serves is None else (self.serves, *self.rolled_back)

    @property
    def outcome(self) -> Literal["PROMOTED", "ROLLED_BACK", "DELETED"]:
        """Outcome of the last change."""
        last = self.rolled_back[0].at if self.rolled_back else ""
        if self.serves is None:
            return "DELETED"
        return "ROLLED_BACK" if last >= self.serves.at else "PROMOTED"


def model_served(group: str, state: ServedState) -> EventDetail:
    """Return the detail of ``MLOps Model Served``, with which an environment reports its state to its source.

    Args:
        group: The package group.
        state: State of the environment.

    Example:
        >>> at = "2017-08-01T09:00:00Z"
        >>> state = ServedState(name="staging", account="222222222222", region="eu-west-1", hops=1, at=at, sequence=3)
        >>> model_served("demand-forecast", state).outcome
        'DELETED'
    """
    attributes: Mapping[str, str] = {ATTRIBUTE: canonical_json(state).decode()}
    return EventDetail(id=content_hash(state), subject=group, outcome=state.outcome, attributes=attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingWish:
    """A retraining that an environment requests from its source: the alarm of its monitor, confirmed by a report.

    ``faults`` are suspected faults of the feed according to ``report``, a URI in the environment's own bucket.
    """

    state: ServedState
    id: str
    alarm: str
    reason: str
    faults: str = ""
    report: str = ""


def retraining_wanted(group: str, wish: RetrainingWish) -> EventDetail:
    """Return the detail of ``MLOps Retraining Requested`` for the source, with the state of the environment.

    Args:
        group: The package group.
        wish: The requested retraining.
    """
    attributes = {
        ATTRIBUTE: canonical_json(wish.state).decode(),
        "alarm": wish.alarm,
        "faults": wish.faults,
        "report": wish.report,
    }
    return EventDetail(id=wish.id, subject=group, outcome=WANTED, reason=wish.reason, attributes=attributes)
