"""History of a registry: releases offered by another environment and their outcomes, and its own releases."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.release import ReleaseRecord
from mlops_runtime.contracts.served_model import ServedState
from mlops_runtime.contracts.unit_entries import UnitEntry
from mlops_runtime.promotion.downstream_table import DownstreamTable
from mlops_runtime.promotion.offer_table import Offer, OfferTable
from mlops_runtime.promotion.stopped_rules import StoppedRule, stopped_rules
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.package_approval import BusRules, RegistryEntry, RegistryInbox
from mlops_runtime.rollout.live_fleet import read_description

PromotionState = Literal["OFFERED", "FAILED", "REFUSED", "WAITING", "APPROVED", "REJECTED", "DELETED"]
_APPROVALS: dict[str, PromotionState] = {"Approved": "APPROVED", "Rejected": "REJECTED"}


class PromotionHistoryError(ValueError):
    """A stored release record cannot be read; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A release that was offered here. Times are ISO 8601, UTC.

    ``state`` is ``OFFERED`` until a decision, ``FAILED`` if the last attempt failed, or ``REFUSED``. A registered release has the
    current state of its package: ``WAITING`` for a person, ``APPROVED``, ``REJECTED`` or ``DELETED``. ``version`` is the local
    package and ``source_version`` the source's, as ``<group>/<number>``; each is absent until it is known, and the source's stays
    absent if its record was refused. ``is_asked_again`` states whether the next check of the schedule retries it, ``is_overdue``
    whether it has been open for longer than the registry's longest wait.
    """

    state: PromotionState
    reason: str
    offered_at: str
    changed_at: str
    attempts: int
    is_asked_again: bool
    is_overdue: bool
    record_uri: str
    record_sha256: str
    source_version: str | None = None
    version: str | None = None
    model_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedVersion:
    """A version that other environments may take; ``sequence`` is that of its record in the audit ``chain``.

    ``approved_by`` is the approver's ARN and ``approval`` the approval description, both from its registry.
    """

    version: str
    released_at: str
    approved_by: str
    approval: str
    model_sha256: str
    record_uri: str
    chain: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionHistory:
    """Offers and releases of a registry, newest first.

    ``inbox`` is absent if the registry takes no releases, and ``releases`` is empty if it has none. ``targets`` are the reported
    states of each target and the environments behind it, nearest first; ``silent`` names targets without a report.
    ``undelivered`` counts events for other environments that reached no inbox and were not purged since. ``stopped`` are inactive
    rules for taking and releasing versions and for reporting live models; ``rules_unread`` is the reason if they cannot be read.
    """

    unit: str
    group: str
    inbox: RegistryInbox | None
    offers: tuple[Promotion, ...]
    releases: tuple[ReleasedVersion, ...]
    targets: tuple[ServedState, ...] = ()
    silent: tuple[str, ...] = ()
    undelivered: int | None = None
    stopped: tuple[StoppedRule, ...] = ()
    rules_unread: str | None = None


def read_history(
    client: Callable[[str], Any], *, unit: UnitEntry, registry: RegistryEntry, last: int, now: datetime
) -> PromotionHistory:
    """Return the newest offers and releases of a registry, and the models that its targets serve.

    Args:
        client: Returns the client of a service.
        unit: The registry's unit.
        last: Maximum number of offers, and of releases.
        now: Current time of the cloud.

    Raises:
        PromotionHistoryError: If the record of a release cannot be read.
    """
    offers: list[Promotion] = []
    if registry.inbox is not None:
        kept = OfferTable(client("dynamodb"), registry.inbox.table).offers()
        newest = sorted(kept, key=lambda each: (each.offered_at, each.record_sha256), reverse=True)[:last]
        max_wait = timedelta(seconds=registry.inbox.max_wait_seconds)
        offers = [_promotion(client("sagemaker"), each, is_overdue=each.is_overdue(now, max_wait)) for each in newest]
    released = [] if registry.releases is None else list(releases(client("s3"), unit, registry.group, last))
    targets = registry.targets or ()
    served = _served(client("dynamodb"), unit, registry) if targets else []
    reporters = [each.via for each in served if each.hops == 1]
    undelivered = None if registry.undelivered is None else _waiting(client("sqs"), registry.undelivered)
    stopped, rules_unread = _stopped(client("events"), registry.rules or ())
    return PromotionHistory(
        unit=unit.unit,
        group=registry.group,
        inbox=registry.inbox,
        offers=tuple(offers),
        releases=tuple(sorted(released, key=lambda each: each.released_at, reverse=True)),
        targets=tuple(served),
        silent=tuple(each.name for each in targets if each.name not in reporters),
        undelivered=undelivered,
        stopped=stopped,
        rules_unread=rules_unread,
    )


def _stopped(events: Any, rules: Sequence[BusRules]) -> tuple[tuple[StoppedRule, ...], str | None]:
    """Return the inactive rules, and the reason if not all rules could be read."""
    found: list[StoppedRule] = []
    try:
        found.extend(stopped_rules(events, rules))
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        return tuple(found), refusal(error.response["Error"], error.operation_name)
    return tuple(found), None


def _served(dynamodb: Any, unit: UnitEntry, registry: RegistryEntry) -> list[ServedState]:
    names = [each.name for each in registry.targets or ()]
    known = DownstreamTable(dynamodb, unit.automation_table, registry.group).read().states
    listed = [each for each in known if each.via in names]
    return sorted(listed, key=lambda each: (names.index(str(each.via)), each.hops, each.name, each.region))


def _waiting(sqs: Any, queue: str) -> int:
    """Return the number of messages in a queue, including those in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values()))


def _promotion(sagemaker: Any, offer: Offer, *, is_overdue: bool) -> Promotion:
    described = read_description(sagemaker, offer.package) if offer.package else None
    metadata = {} if described is None else described.get("CustomerMetadataProperties", {})
    state: PromotionState = offer.state if offer.state in ("OFFERED", "FAILED", "REFUSED") else "DELETED"
    if described is not None:
        state = _APPROVALS.get(described["ModelApprovalStatus"], "WAITING" if state == "DELETED" else state)
    source = offer.source_package or metadata.get("source_package", "")
    return Promotion(
        state=state,
        reason=offer.reason,
        offered_at=offer.offered_at,
        changed_at=offer.changed_at,
        attempts=offer.attempts,
        is_asked_again=offer.is_open,
        is_overdue=is_overdue,
        record_uri=offer.record_uri,
        record_sha256=offer.record_sha256,
        source_version=version_of(source) or None,
        version=version_of(offer.package) or None,
        model_sha256=metadata.get("model_sha256"),
    )


def releases(s3: Any, unit: UnitEntry, group: str, last: int) -> Iterator[ReleasedVersion]:
    """Yield the releases of a group, the last written object first.

    Raises:
        PromotionHistoryError: If the record of a release cannot be read.
    """
    bucket, prefix = unit.artifacts_bucket, f"releases/{group}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    listed = [entry for page in pages for entry in page.get("Contents", [])]
    for each in sorted(listed, key=lambda entry: entry["LastModified"], reverse=True)[:last]:
        uri = f"s3://{bucket}/{each['Key']}"
        try:
            record = from_json(ReleaseRecord, s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
        except ContractError as error:
            raise PromotionHistoryError(f"{uri} is not the record of a release: {error}") from error
        yield ReleasedVersion(
            version=version_of(record.package.package_arn or ""),
            released_at=record.released_at,
            approved_by=record.approved_by,
            approval=record.approval,
            model_sha256=record.package.model_sha256,
            record_uri=uri,
            chain=record.audit_chain,
            sequence=record.audit_sequence,
        )
