"""Reports of promotion targets: the state of served models, and the events that carry it."""

import json
from typing import Any

from tests.released import SOURCE, TARGET, Released, release

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.served_model import (
    RetrainingWish,
    ServedState,
    ServedVersion,
    model_served,
    retraining_wanted,
)
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment
from mlops_runtime.promotion.served_reports import TargetSettings

GROUP = "demand-forecast"
STAGING = NamedEnvironment(name="staging", account=TARGET.account, region=TARGET.region)
PRODUCTION = NamedEnvironment(name="production", account="333333333333", region="eu-west-1")
SETTINGS = TargetSettings(unit="demand", group=GROUP, here=SOURCE, targets=(STAGING,))
ONE, TWO = release(), release(archive=b"other", model_sha256="c" * 64, execution="alarm-2", version=8)
RELEASES = {each.record.binding: each.record for each in (ONE, TWO)}


def at(minute: int) -> str:
    """Return the time of an hour."""
    return f"2017-08-01T08:{minute:02d}:00Z"


def version(released: Released = ONE, *, number: int = 3, minute: int = 10, **changes: Any) -> ServedVersion:
    """Return a version of an environment that a release of the source delivered."""
    values = {
        "model_sha256": released.record.package.model_sha256,
        "binding": released.record.binding,
        "version": f"{GROUP}/{number}",
        "at": at(minute),
    }
    return ServedVersion(**{**values, **changes})


def state(where: NamedEnvironment = STAGING, *, minute: int = 10, sequence: int = 4, **changes: Any) -> ServedState:
    """Return the state of an environment; by default it serves the first release."""
    values: dict[str, Any] = {
        "name": "" if where is STAGING else where.name,
        "account": where.account,
        "region": where.region,
        "hops": 1 if where is STAGING else 2,
        "at": at(minute),
        "sequence": sequence,
        "serves": version(minute=minute),
    }
    return ServedState(**{**values, **changes})


def event(reported: ServedState | None = None, sender: LinkedEnvironment = TARGET, **changes: Any) -> dict[str, Any]:
    """Return its EventBridge event."""
    detail = to_dict(model_served(GROUP, state() if reported is None else reported))
    return {
        "id": "one",
        "source": event_source("demand"),
        "detail-type": DetailType.MODEL_SERVED.value,
        "time": "2017-08-01T09:00:00Z",
        "account": sender.account,
        "region": sender.region,
        "resources": [],
        "detail": detail,
        **changes,
    }


def with_detail(**changes: Any) -> dict[str, Any]:
    """Return the event with another detail."""
    return {"detail": {**event()["detail"], **changes}}


def with_fields(**changes: Any) -> dict[str, Any]:
    """Return the event with other values in its state, as JSON that may violate the contract."""
    result = json.loads(event()["detail"]["attributes"]["served"])
    return with_detail(attributes={"served": json.dumps({**result, **changes})})


def wish(reported: ServedState | None = None, **changes: Any) -> dict[str, Any]:
    """Return the event by which a target requests a retraining."""
    values = {"id": "a" * 64, "alarm": "features", "reason": "in ALARM: features"}
    made = RetrainingWish(state=state() if reported is None else reported, **{**values, **changes})
    kind = {"detail-type": DetailType.RETRAINING_REQUESTED.value}
    return event(detail=to_dict(retraining_wanted(GROUP, made)), **kind)
