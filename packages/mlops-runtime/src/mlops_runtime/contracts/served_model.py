"""What an environment reports to its source of the model that it serves (``mlops.served/1``): by hashes, as versions differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.events import EventDetail

ATTRIBUTE = "served"  # of the event's detail, which has the state as JSON
WANTED = "WANTED"  # outcome of a request that goes to the source; one to a pipeline has another


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A version that serves, or that was rolled back ``at`` a time (ISO 8601, UTC).

    ``version`` is the environment's own, ``<group>/<number>``, ``binding`` that of the source's release. What the source keeps has
    ``released_as``, its own version, too, and ``origin``, the binding of the release that it took itself, if it did.
    """

    model_sha256: str
    binding: str
    version: str
    at: str
    released_as: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRetraining:
    """When an environment asked for a retraining, by which alarm, and the answer: who got it, or that no pipeline is there."""

    id: str
    at: str
    alarm: str
    reason: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedState:
    """What an environment serves, and what it rolled back, newest first: as of record ``sequence`` of its endpoint's chain, ``at``.

    ``hops`` is 1 for the target that tells it, 2 for the target's own target. What the source keeps has the name of the direct
    target in ``via``, and the newest retraining that was ``asked`` for. The receiver knows the names of its own targets, so
    ``name`` counts from the second hop on.
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
    asked: AskedRetraining | None = None
    format: Literal["mlops.served/1"] = "mlops.served/1"

    @property
    def versions(self) -> tuple[ServedVersion, ...]:
        """Every version that it names."""
        return self.rolled_back if self.serves is None else (self.serves, *self.rolled_back)

    @property
    def outcome(self) -> Literal["PROMOTED", "ROLLED_BACK", "DELETED"]:
        """What was done last."""
        last = self.rolled_back[0].at if self.rolled_back else ""
        if self.serves is None:
            return "DELETED"
        return "ROLLED_BACK" if last >= self.serves.at else "PROMOTED"


def model_served(group: str, state: ServedState) -> EventDetail:
    """Return the detail of ``MLOps Model Served``: what an environment serves, for its source.

    Args:
        group: The package group.
        state: What it serves.

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
    """A retraining that an environment asks its source for: which alarm of its monitor fires there, confirmed by a report.

    ``faults`` is what looks broken in the feed by that ``report``, whose URI is of the environment's own bucket.
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
        wish: What is asked for.
    """
    attributes = {
        ATTRIBUTE: canonical_json(wish.state).decode(),
        "alarm": wish.alarm,
        "faults": wish.faults,
        "report": wish.report,
    }
    return EventDetail(id=wish.id, subject=group, outcome=WANTED, reason=wish.reason, attributes=attributes)
