"""When a unit's automation rests: freeze calendar, pause, and where the command finds what a unit has deployed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_runtime.contracts.serving import PersonalSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """A time, from ``start`` up to but not including ``end``, in which no model changes. Both carry an offset from UTC."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeSpec:
    """A unit's freeze calendar as functions read it (environment ``FREEZE``)."""

    windows: tuple[FreezeWindow, ...] = ()
    format: Literal["mlops.freeze/1"] = "mlops.freeze/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """Whether a unit's automation is paused: since when, by whom, why. Stored as JSON in the unit's automation row."""

    is_paused: bool
    by: str
    at: str
    reason: str
    format: Literal["mlops.pause/1"] = "mlops.pause/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEntry:
    """Parameter ``/mlops/<unit>/unit``: what the command needs to know of a unit. Without ``freeze`` it is never frozen.

    ``signing_key`` is the ARN of the key that signs the records of its endpoints, ``pause_key`` of the one that signs those of its
    own chain; ``heads_bucket`` is where heads are published.
    """

    unit: str
    automation_table: str
    audit_bucket: str
    artifacts_bucket: str
    bus: str
    freeze: FreezeSpec | None = None
    heads_bucket: str | None = None
    signing_key: str | None = None
    pause_key: str | None = None
    format: Literal["mlops.unit-entry/1"] = "mlops.unit-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointEntry:
    """Parameter ``/mlops/<unit>/endpoint/<endpoint>``: what the command needs to know of an endpoint.

    ``url`` is where a service of its own answers; without it the endpoint is SageMaker's. ``personal`` are fields that clients hash
    or leave out before they send anything.
    """

    endpoint: str
    unit: str
    group: str
    rollout_table: str
    deploy_machine: str
    target: str
    capture_bucket: str | None = None
    url: str | None = None
    personal: PersonalSpec | None = None
    format: Literal["mlops.endpoint-entry/1"] = "mlops.endpoint-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineEntry:
    """Parameter ``/mlops/<unit>/pipeline/<pipeline>``: what the command needs to know of a pipeline."""

    pipeline: str
    unit: str
    group: str
    retraining_table: str
    retrain_machine: str
    queue_url: str
    format: Literal["mlops.pipeline-entry/1"] = "mlops.pipeline-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStoreEntry:
    """Parameter ``/mlops/<unit>/features``: what the command, and any client of a unit's feature store, needs to know of it.

    The bucket that batches arrive in, with the days that it keeps them, and the online table are there where the store has them.
    """

    unit: str
    database: str
    data_bucket: str
    training_sets_bucket: str
    manifests_bucket: str
    incoming_bucket: str | None = None
    incoming_days: int | None = None
    online_table: str | None = None
    format: Literal["mlops.feature-store-entry/1"] = "mlops.feature-store-entry/1"
