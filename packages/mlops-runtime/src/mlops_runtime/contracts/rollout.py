"""What the Deploy machine reads and writes: serving spec, request, lock row, live pointer, audit record, rolled back rollouts."""

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

SEAL = ".seal.json"  # end of the key of a record's seal

_KEPT = 50  # that a row keeps: windows are of hours to weeks
# "2017-08-08T11:41:54": capture files carry no more
_SECOND = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """A rollout policy as data. ``percent`` is of the green fleet's instances on SageMaker; times in seconds.

    The new fleet is stopped where it fails more often than the old one, ``tolerated_error_share`` and a tenth apart, or takes more
    than ``max_latency_ratio`` times as long; one within tolerance with the probability ``false_alarm`` at most. It trips with more
    than ``max_error_count`` errors in a period of ``alarm_period``, with a 95th percentile of model latency above
    ``max_latency_ms`` in three of five, or on one of ``metrics``, where these are given. ``golden`` is sent before any traffic,
    ``synthetic`` calls a minute of it while the rollout bakes, ``shadow`` comes before the first step. For ``probation`` seconds
    after a promotion the alarms named in ``probation_alarms`` roll back. ``keep`` versions stay for rollbacks; absent means one.
    A step bakes for ``bake`` seconds, where calls are few for up to ``max_bake``; absent means no longer.
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
    """How an endpoint is served, without saying which model: the desired version is the newest object in S3.

    A serverless endpoint, and one on EKS, has an empty ``instance_type`` and an ``instance_count`` of 0. ``online_table`` is where
    the server looks up features, if the model does. ``promises`` are what APIs allow their callers to ask of it.
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
    """An execution of the Deploy machine that was ended from outside, and what it had been asked for.

    ``status`` is Step Functions' own, ``reason`` a ``DeployReason``, or ``unknown`` where its input was no request.
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

    A rollback goes to ``model_package_arn``, or where that is absent to the version before; ``alarm`` names the alarm of the
    probation that asks for it, ``config`` the version on probation that its golden requests roll back, ``comment`` is what a
    person, or they, say why. ``died`` makes it a recovery: of what that execution left.
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
    """The live version: written only by the Deploy machine, in the endpoint's row.

    ``previous`` is the config that a rollback returns to, ``kept`` those before it, newest first. On EKS ``previous_package`` is
    its source: an idle slot may be reused, so the version is created again. ``baseline_sha256`` is of the
    baseline's bytes, ``artifact_sha256`` of the model archive's, ``container_sha256`` of the package (``registry.package``).
    ``image`` is the one that a model which is not ONNX needs, for its predictions too; any image of the runtime can load ONNX.
    ``flavor`` is what loads such a model. ``trained_until`` is up to when its training set knew anything. ``rehearsed`` is the key
    of what it answered to golden requests before it had traffic. ``slot`` is the one that runs it on EKS.
    """

    endpoint: str
    config: str
    model: str
    model_package_arn: str
    model_sha256: str
    artifact_uri: str
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
    artifact_sha256: str | None = None
    container_sha256: str | None = None
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
    head (JSON): the next writer that finds its object missing writes it. ``desired`` is the URI of the spec that the stack asks
        for.

    A unit has such a row in its automation table, whose ``endpoint`` is the unit's name: with the head of its chain and ``pause``,
    the ``PauseState`` (JSON). ``served`` is the time at which the endpoint first had a live pointer, ``locked_at`` since when the
    lock is held, by whomever, ``taken_back`` the newest ``TakenBack`` (a JSON list, oldest first), ``promoted`` the newest
    ``Promoted`` of each container (the same). ``audit_seal`` is the ``AuditSeal`` of the record at the head (JSON): signatures are
    random, so a writer that repeats the record's objects uses this one.
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
    """Start and end of a rollout that was rolled back: its calls are captured with the live model's."""

    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """Where the chain shows that a container was promoted: the record's sequence and hash. The record itself says so, not this."""

    container_sha256: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutVerdict:
    """What the comparison of both fleets came to, as it is recorded.

    ``action`` is what it asked for, ``calls`` the answers of the new fleet in ``minutes`` that did not fail, ``evidence`` an
    e-value against it: the inverse of its highest is the probability of a false alarm. The object at ``minutes_uri``, of hash
    ``minutes_sha256``, has the minutes of both fleets, beside the record where they could be kept there, from which
    ``sentence`` can be computed again. ``planned`` says how long each step was to bake and why, where ``max_bake`` allows more
    than ``bake``; ``minutes`` is what it was in all. ``allowed_share`` is what the model may fail on during its probation, by the
    live model's hours before and its part of the bake.
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
    """How a rollout, or a retraining that ended before one, came out; what was done to an endpoint or a unit's automation.

    ``ASKED`` is a retraining that trained nothing: an alarm fired on a feed that looks broken, and people are to decide.
    ``RELEASED`` is a package that other accounts may take from then on.
    ``REGISTERED`` is a package of another environment that was copied and registered here.
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
    """One immutable object a promotion, rejection or rollback, chained by hash.

    There is one chain an endpoint, and one a unit for its pauses, whose ``endpoint`` is the unit's name.
    ``serving_*`` is what SageMaker was serving when the record was written; ``candidate_package``, ``model_sha256`` and
    ``training_set_id`` say which model the execution was about. ``container_sha256`` is of its whole package, ``golden_sha256`` of
    the golden requests, with their limits, that this very container has passed, ``passport_sha256`` of the ``Passport`` that a
    promotion got. ``flavor`` and ``trust`` are of a promoted or rejected model that is not ONNX, ``verdict`` of one that got
    traffic beside the old one. A recovery's record stands for the
    execution that died too, which has none of its own: ``recovers`` is its ARN. ``source_record`` is the hash of the audit record
    in another environment's chain by which it released what this record is about.
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
    """The signature of one audit record: ``sha256`` is the record's hash, ``sequence`` its place in the chain of ``endpoint``.

    It is stored with the record and, the same bytes, in the bucket of heads, where an object is written once. ``key`` is the ARN of
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
    """Return the key of the minutes of a record's verdict: ``minutes/<endpoint>/<sequence>-<first 16 of their hash>.json``."""
    return f"minutes/{endpoint}/{sequence:08d}-{digest[:16]}.json"


def spec_key(endpoint: str, digest: str) -> str:
    """Return ``specs/<endpoint>/<first 32 of the spec's hash>.json``."""
    return f"specs/{endpoint}/{digest[:32]}.json"


def taken_back(row: LockRow) -> tuple[TakenBack, ...]:
    """Return the newest rollouts that were rolled back, oldest first.

    Args:
        row: The endpoint's.

    Example:
        >>> taken_back(LockRow(endpoint="demand-forecast"))
        ()
    """
    return tuple(from_dict(TakenBack, each) for each in json.loads(row.taken_back or "[]"))


def next_taken_back(row: LockRow, record: AuditRecord) -> tuple[TakenBack, ...] | None:
    """Return the newest rollouts that were rolled back, with the one that a record ends; None if it ends none.

    Args:
        row: The endpoint's, with the lock of the execution that the record is of.
        record: What came of it.
    """
    if record.outcome not in (Outcome.ROLLED_BACK, Outcome.FAILED) or row.locked_at is None:
        return None
    return (*taken_back(row), TakenBack(since=row.locked_at, until=record.at))[-_KEPT:]


def is_among(first: str, last: str, times: Sequence[TakenBack]) -> bool:
    """Return whether any of the calls, from first to last, may be of a model that was rolled back.

    Args:
        first: Time of the first call (ISO 8601, UTC); empty where it is not known, and then no call is.
        last: Time of the last one.
        times: When such rollouts ran, both ends included.

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
