"""Documents of the Deploy machine: serving spec, request, lock row, live pointer, audit record, rolled back rollouts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.model_manifest import Flavor
from mlops_runtime.contracts.serving import (
    AsynchronousSpec,
    CaptureSpec,
    EksSpec,
    GoldenSpec,
    MetricRule,
    RequestPromise,
    ScalingSpec,
    ServerlessSpec,
    ShadowSpec,
    VariantSpec,
)

SEAL = ".seal.json"  # suffix of the key of a record's seal

_KEPT = 50  # entries of a row's ``taken_back``: monitor windows last hours to weeks
# "2017-08-08T11:41:54": capture files have a resolution of one second
_SECOND = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """A rollout policy. ``percent`` refers to the green fleet's instances on SageMaker; times are in seconds.

    The new fleet is stopped if its error rate exceeds 1.1 times (the old one's + ``tolerated_error_share``), or if its latency
    is more than ``max_latency_ratio`` times the old one's; a fleet within tolerance is stopped with a probability of at most
    ``false_alarm``. If set, these also trip: more than ``max_error_count`` errors in a period of ``alarm_period``, a 95th
    percentile of model latency above ``max_latency_ms`` in three of five periods, or any of ``metrics``. ``golden`` requests
    are sent before any traffic, ``synthetic`` of them per minute while the rollout bakes; ``shadow`` comes before the first
    step. For ``probation`` seconds after a promotion, the alarms in ``probation_alarms`` roll back. ``keep`` versions are
    retained for rollbacks; default one. A step bakes for ``bake`` seconds, extended to ``max_bake`` if there are few calls;
    default not extended.
    """

    kind: Literal["ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING"]
    bake: int
    maximum: int
    percent: int | None = None
    min_invocations: int = 0
    alarms: tuple[str, ...] = ()
    max_error_count: int | None = None
    alarm_period: int = 60
    max_latency_ms: int | None = None
    max_latency_ratio: float | None = None
    metrics: tuple[MetricRule, ...] | None = None
    golden: GoldenSpec | None = None
    synthetic: int | None = None
    shadow: ShadowSpec | None = None
    probation: int | None = None
    probation_alarms: tuple[str, ...] | None = None
    keep: int | None = None
    tolerated_error_share: float | None = None
    false_alarm: float | None = None
    max_bake: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpec:
    """How an endpoint is served, without naming the model. The newest spec object in S3 is the desired version.

    Serverless endpoints and those on EKS have an empty ``instance_type`` and an ``instance_count`` of 0. ``online_table`` is
    where the server looks up features, for models that do. ``promises`` are the request formats that APIs promise their
    callers.
    """

    endpoint: str
    variant: str
    instance_type: str
    instance_count: int
    execution_role: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    rollout: RolloutSpec
    network_isolation: bool = True
    kms_key: str | None = None
    capture: CaptureSpec | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    serverless: ServerlessSpec | None = None
    asynchronous: AsynchronousSpec | None = None
    scaling: ScalingSpec | None = None
    variants: tuple[VariantSpec, ...] | None = None
    eks: EksSpec | None = None
    online_table: str | None = None
    promises: tuple[RequestPromise, ...] | None = None
    format: Literal["mlops.serving-spec/1"] = "mlops.serving-spec/1"


class DeployReason(StrEnum):
    """Why the Deploy machine runs."""

    APPROVAL = "approval"
    SPEC = "spec"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiedExecution:
    """An execution of the Deploy machine that was stopped from outside, and its request.

    ``status`` is that of Step Functions; ``reason`` is a ``DeployReason``, or ``unknown`` if its input was not a request.
    """

    execution: str
    status: str
    started: str
    reason: str
    requested_by: str
    model_package_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """Input of the Deploy machine.

    A rollback returns to ``model_package_arn``, by default to the previous version. ``alarm`` is the probation alarm that
    requested it, ``config`` the version on probation whose golden requests failed, ``comment`` the reason given by a person or
    by these requests. ``died`` makes the request a recovery of the state that this execution left.
    """

    reason: DeployReason
    requested_by: str
    requested_at: str
    model_package_arn: str | None = None
    spec_uri: str | None = None
    alarm: str | None = None
    config: str | None = None
    comment: str | None = None
    died: DiedExecution | None = None
    format: Literal["mlops.deploy-request/1"] = "mlops.deploy-request/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePointer:
    """The live version, in the endpoint's row; only the Deploy machine writes it.

    ``previous`` is the config that a rollback returns to, ``kept`` are those before it, newest first. On EKS
    ``previous_package`` is its source: an idle slot may be reused, so the version is created again. ``baseline_sha256`` is the
    hash of the baseline, ``artifact_sha256`` of the model archive, ``container_sha256`` of the package (``registry.package``).
    ``image`` is required to run a model that is not ONNX (any image of the runtime can load ONNX), ``flavor`` is its loader.
    ``trained_until`` is the knowledge cutoff of its training set. ``rehearsed`` is the key of its responses to golden requests
    before it had traffic. ``slot`` is its slot on EKS.
    """

    endpoint: str
    config: str
    model: str
    model_package_arn: str
    container_sha256: str
    model_sha256: str
    artifact_uri: str
    artifact_sha256: str
    baseline_uri: str
    baseline_sha256: str
    evaluation_uri: str
    training_set_id: str
    spec_sha256: str
    spec_uri: str
    execution: str
    since: str
    previous: str | None = None
    kept: tuple[str, ...] | None = None
    probation_until: str | None = None
    previous_package: str | None = None
    image: str | None = None
    flavor: Flavor | None = None
    trained_until: str | None = None
    rehearsed: str | None = None
    slot: str | None = None
    format: Literal["mlops.live-pointer/1"] = "mlops.live-pointer/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    """The endpoint's row in the rollout table: lock, head of the audit chain, live pointer (JSON), desired spec.

    ``owner`` is the execution ARN that holds the lock until ``lock_until`` (epoch seconds). ``audit_last`` is the record at the
    head (JSON): the next writer that finds its object missing writes it. ``desired`` is the URI of the spec that the stack
    requests.

    A unit has such a row in its automation table, with the unit's name as ``endpoint``, the head of its chain, and ``pause``,
    the ``PauseState`` (JSON). ``served`` is when the endpoint first had a live pointer, ``locked_at`` since when the lock is
    held by any owner, ``taken_back`` the newest ``TakenBack`` (a JSON list, oldest first), ``promoted`` the newest ``Promoted``
    of each container (likewise). ``audit_seal`` is the ``AuditSeal`` of the record at the head (JSON): signatures are random,
    so a writer that repeats the record's objects reuses it.
    """

    endpoint: str
    audit_head: str = "0" * 64
    audit_sequence: int = 0
    owner: str | None = None
    lock_until: int | None = None
    live: str | None = None
    audit_last: str | None = None
    desired: str | None = None
    pause: str | None = None
    served: str | None = None
    locked_at: str | None = None
    taken_back: str | None = None
    promoted: str | None = None
    audit_seal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """Start and end of a rollout that was rolled back; its calls are captured together with the live model's."""

    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """Position of a container's promotion in the audit chain: the record's sequence and hash. Only the record itself is proof."""

    container_sha256: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutVerdict:
    """Result of comparing both fleets, as recorded.

    ``action`` is the decision, ``calls`` the new fleet's successful responses in ``minutes``, ``evidence`` an e-value against
    it: the inverse of its maximum is the probability of a false alarm. The object at ``minutes_uri``, with the hash
    ``minutes_sha256``, contains the minutes of both fleets, from which ``sentence`` can be recomputed; it is beside the record
    if it could be stored there. ``planned`` explains the planned bake time of each step, if ``max_bake`` allows more than
    ``bake``; ``minutes`` is the actual total. ``allowed_share`` is the error rate that the model may have during its probation,
    derived from the live model's preceding hours and its part of the bake.
    """

    action: Literal["stop", "enough", "continue"]
    calls: int
    evidence: float
    minutes: int
    sentence: str
    minutes_uri: str
    minutes_sha256: str
    planned: str | None = None
    allowed_share: float | None = None


class Outcome(StrEnum):
    """Result of a rollout, of a retraining that ended before one, or of an action on an endpoint or a unit's automation.

    ``ASKED`` is a retraining that trained nothing: an alarm fired on a feed that looks broken, and people must decide.
    ``RELEASED`` is a package that other accounts may import from then on. ``REGISTERED`` is a package of another environment
    that was copied and registered here.
    """

    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    REJECTED = "REJECTED"
    ASKED = "ASKED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    UNCHANGED = "UNCHANGED"
    DELETED = "DELETED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    RELEASED = "RELEASED"
    REGISTERED = "REGISTERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One immutable object per promotion, rejection, rollback or other outcome, chained by hash.

    Each endpoint has a chain, and each unit has one for its pauses, with the unit's name as ``endpoint``. ``serving_*`` is what
    SageMaker served when the record was written; ``candidate_package``, ``model_sha256`` and ``training_set_id`` identify the
    model that the execution handled. ``container_sha256`` is the hash of its whole package, ``golden_sha256`` of the golden
    requests, with their limits, that this container has passed, ``passport_sha256`` of the ``Passport`` of a promotion.
    ``flavor`` and ``trust`` are set for a promoted or rejected model that is not ONNX, ``verdict`` for one that got traffic
    beside the old one. The record of a recovery also covers the execution that was stopped, which has no record of its own:
    ``recovers`` is its ARN. ``source_record`` is the hash of the audit record with which another environment released the
    package.
    """

    endpoint: str
    sequence: int
    previous: str
    outcome: Outcome
    reason: str
    execution: str
    at: str
    requested_by: str
    serving_config: str | None = None
    serving_package: str | None = None
    candidate_package: str | None = None
    model_sha256: str | None = None
    training_set_id: str | None = None
    spec_sha256: str | None = None
    recovers: str | None = None
    container_sha256: str | None = None
    golden_sha256: str | None = None
    passport_sha256: str | None = None
    flavor: str | None = None
    trust: str | None = None
    verdict: RolloutVerdict | None = None
    source_record: str | None = None
    format: Literal["mlops.audit/1"] = "mlops.audit/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSeal:
    """The signature of one audit record: ``sha256`` is the record's hash, ``sequence`` its position in the chain of ``endpoint``.

    The same bytes are stored with the record and in the bucket of heads, where objects are write-once. ``key`` is the ARN of
    the KMS key, ``signature`` ECDSA over P-256 with SHA-256 of ``statement`` (DER, base64).
    """

    endpoint: str
    sequence: int
    sha256: str
    key: str
    signature: str
    format: Literal["mlops.audit-seal/1"] = "mlops.audit-seal/1"


def audit_key(endpoint: str, sequence: int, digest: str) -> str:
    """Return ``audit/<endpoint>/<sequence, eight digits>-<first 16 of the record's hash>.json``."""
    return f"audit/{endpoint}/{sequence:08d}-{digest[:16]}.json"


def seal_key(endpoint: str, sequence: int, digest: str) -> str:
    """Return the key of a record's seal: ``audit/<endpoint>/<sequence>-<first 16 of the record's hash>.seal.json``."""
    return f"audit/{endpoint}/{sequence:08d}-{digest[:16]}{SEAL}"


def published_key(endpoint: str, sequence: int, digest: str) -> str:
    """Return the key of a published head: ``heads/<endpoint>/<sequence>-<first 16 of the record's hash>.json``."""
    return f"heads/{endpoint}/{sequence:08d}-{digest[:16]}.json"


def minutes_key(endpoint: str, sequence: int, digest: str) -> str:
    """Return the key of the minutes of a verdict: ``minutes/<endpoint>/<sequence>-<first 16 of the minutes' hash>.json``."""
    return f"minutes/{endpoint}/{sequence:08d}-{digest[:16]}.json"


def spec_key(endpoint: str, digest: str) -> str:
    """Return ``specs/<endpoint>/<first 32 of the spec's hash>.json``."""
    return f"specs/{endpoint}/{digest[:32]}.json"


def taken_back(row: LockRow) -> tuple[TakenBack, ...]:
    """Return the newest rollouts that were rolled back, oldest first.

    Args:
        row: The endpoint's row.

    Example:
        >>> taken_back(LockRow(endpoint="demand-forecast"))
        ()
    """
    return tuple(from_dict(TakenBack, each) for each in json.loads(row.taken_back or "[]"))


def next_taken_back(row: LockRow, record: AuditRecord) -> tuple[TakenBack, ...] | None:
    """Return the newest rollouts that were rolled back, including the one that a record ends; None if it ends none.

    Args:
        row: The endpoint's row, locked by the execution of the record.
        record: Record of the outcome.
    """
    if record.outcome not in (Outcome.ROLLED_BACK, Outcome.FAILED) or row.locked_at is None:
        return None
    return (*taken_back(row), TakenBack(since=row.locked_at, until=record.at))[-_KEPT:]


def is_among(first: str, last: str, times: Sequence[TakenBack]) -> bool:
    """Return whether any call between two times may have been answered by a model that was rolled back.

    Args:
        first: Time of the first call (ISO 8601, UTC); empty if unknown, then the result is False.
        last: Time of the last call.
        times: Periods of such rollouts, both ends included.

    Example:
        >>> times = (TakenBack(since="2017-08-08T10:00:00Z", until="2017-08-08T10:20:00Z"),)
        >>> is_among("2017-08-08T09:00:00Z", "2017-08-08T10:05:00Z", times)
        True
        >>> is_among("2017-08-08T10:21:00Z", "2017-08-08T11:00:00Z", times)
        False
    """
    return bool(first) and any(
        each.since[:_SECOND] <= last[:_SECOND] and first[:_SECOND] <= each.until[:_SECOND] for each in times
    )
