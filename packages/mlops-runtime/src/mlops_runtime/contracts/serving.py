"""On what an endpoint runs, as the serving spec carries it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSpec:
    """Fields of calls that are personal: capture keeps whole payloads, so the client changes them before they are sent.

    ``hashed`` fields are sent as a keyed hash, whose key is the secret at ``secret_arn``; ``withheld`` ones are not sent at all.
    ``plain`` ones are sent as they are, though their names read like personal ones.
    """

    hashed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    secret_arn: str | None = None
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSpec:
    """Native data capture: percent of calls (1-100) to an S3 prefix under a key."""

    percent: int
    destination: str
    kms_key: str | None = None
    personal: PersonalSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessSpec:
    """Serverless inference: memory in MB, concurrent calls at most, and how many of them are kept warm."""

    memory_mb: int
    max_concurrency: int
    provisioned_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousSpec:
    """Asynchronous inference: where answers and failures are written, and who hears of them."""

    output: str
    failures: str
    max_concurrency: int | None = None
    success_topic: str | None = None
    error_topic: str | None = None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCapacitySpec:
    """Bounds of the fleet from a time on; ``schedule`` is Application Auto Scaling's ``cron(...)`` or ``at(...)``."""

    name: str
    schedule: str
    minimum: int
    maximum: int
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """Bounds of the fleet and what it follows: calls an instance and minute, or its backlog; cool-downs in seconds."""

    minimum: int
    maximum: int
    target: float | None = None
    metric: Literal["INVOCATIONS_PER_INSTANCE", "BACKLOG_PER_INSTANCE"] = "INVOCATIONS_PER_INSTANCE"
    scale_in_cool_down: int = 300
    scale_out_cool_down: int = 60
    schedules: tuple[ScheduledCapacitySpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """A further production variant of the same model, on other instances, with its share of the calls."""

    name: str
    instance_type: str
    instance_count: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSpec:
    """A shadow variant: the candidate gets a copy of ``percent`` of the calls for ``bake`` seconds; nobody sees its answers."""

    percent: int
    bake: int
    instance_count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSpec:
    """Requests that a candidate answers before it gets traffic: a JSONL object of ``GoldenRequest``, by hash.

    ``max_deviation`` bounds the median relative difference to the live model's answers. Of each request the median time over all
    rounds is at most ``max_latency_ms``, and at most ``max_slowdown`` times that of the live model.
    """

    uri: str
    sha256: str
    max_deviation: float | None = None
    max_latency_ms: int | None = None
    max_slowdown: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """One request with bounds that every number of a right answer keeps to."""

    name: str
    body: str
    rows: int
    content_type: str = "application/json"
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """A metric of the unit's own that rolls back; with ``is_per_fleet`` the new fleet's config name is one of its dimensions."""

    namespace: str
    metric: str
    threshold: float
    statistic: str = "Sum"
    comparison: Literal[
        "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"
    ] = "GreaterThanThreshold"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    is_per_fleet: bool = False
